#include "conf_folder.h"

#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/guest/guest.h"
#include "core/isolate/spawn.h"

/* Before main, which knows nothing of it. glibc gives constructors main's arguments. */
__attribute__((constructor)) static void serve_a_plugin(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) {
        _exit(guest_main());
    }
}

void conf_folder_make(struct conf_folder *folder)
{
    strcpy(folder->dir, "/tmp/whorl-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder->dir));
    ck_assert_int_eq(chmod(folder->dir, 0755), 0); /* a plugin may have a user of its own */
    folder->isolation = NULL;
    folder->complaints[0] = '\0';
}

void conf_folder_write(const struct conf_folder *folder, const char *name, const char *format, ...)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder->dir, name);
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    va_list args;
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    ck_assert_int_eq(fclose(out), 0);
}

void conf_folder_fill(const struct conf_folder *folder)
{
    conf_folder_write(folder, "core.conf", "core {\n    data_dir = \"var\"\n    workers = 2\n}\n");
    conf_folder_write(folder, "force.conf",
                      "force \"WMP\" {\n    policy = \"normal\"\n    backends = {\"finder\"}\n}\n"
                      "force \"MPS\" {\n    policy = \"normal\"\n}\n");
    conf_folder_write(folder, "policy.conf",
                      "policy \"normal\" {\n"
                      "    rule \"consent\" {\n"
                      "        basis = \"consent\"\n"
                      "        consent = {\"given\"}\n"
                      "        backends = {\"finder\"}\n"
                      "        require = {\"reason\"}\n"
                      "        show = \"Say why\"\n"
                      "    }\n"
                      "}\n");
    char isolation[64] = "";
    if (folder->isolation) {
        snprintf(isolation, sizeof isolation, "    isolation = %s\n", folder->isolation);
    }
    conf_folder_write(folder, "plugins.conf",
                      "plugin \"finder\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    settings {\n"
                      "        word = \"hello\"\n"
                      "        force \"MPS\" {\n"
                      "            word = \"goodbye\"\n"
                      "        }\n"
                      "    }\n"
                      "%s"
                      "}\n"
                      "plugin \"keeper\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings {\n"
                      "        word = \"kept\"\n"
                      "    }\n"
                      "%s"
                      "}\n",
                      isolation, isolation);
}

static void complain(void *ctx, const char *file, int line, const char *text)
{
    struct conf_folder *folder = ctx;
    size_t used = strlen(folder->complaints);
    size_t prefix = strlen(folder->dir);
    if (strncmp(file, folder->dir, prefix) == 0) {
        file += prefix + (file[prefix] == '/');
    }
    snprintf(folder->complaints + used, sizeof folder->complaints - used, "%s:%d: %s\n", file, line,
             text);
}

struct conf *conf_folder_read(struct conf_folder *folder)
{
    folder->complaints[0] = '\0';
    return conf_read(folder->dir, complain, folder);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void conf_folder_remove(const struct conf_folder *folder)
{
    ck_assert_int_eq(nftw(folder->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}
