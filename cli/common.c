#include "common.h"

#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clean.h"
#include "commands.h"

static void print_subcommands(const char *group, const struct subcommand *commands, FILE *out)
{
    fprintf(out, "Usage: whorl %s COMMAND [OPTION...]\n\n", group);
    for (; commands->name != NULL; commands++) {
        fprintf(out, "  %-14s %s\n", commands->name, commands->about);
    }
    fprintf(out, "\n`whorl %s COMMAND --help` says more.\n", group);
}

int subcommand_run(const char *group, const struct subcommand *commands, int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0)) {
        print_subcommands(group, commands, stdout);
        return EXIT_DONE;
    }
    for (const struct subcommand *c = commands; argc >= 2 && c->name != NULL; c++) {
        if (strcmp(argv[1], c->name) == 0) {
            char whole[64];
            snprintf(whole, sizeof whole, "whorl %s %s", group, c->name);
            argv[1] = whole;
            return c->run(argc - 1, argv + 1);
        }
    }
    if (argc >= 2) {
        fprintf(stderr, "whorl %s: there is no command \"%s\"\n", group, argv[1]);
    }
    print_subcommands(group, commands, stderr);
    return EXIT_USAGE;
}

error_t parse_conf_dir(int key, char *arg, struct argp_state *state, const char **dir)
{
    switch (key) {
    case 'c':
        *dir = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (*dir == NULL) {
            argp_error(state, "-c DIR is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_dir(int key, char *arg, struct argp_state *state)
{
    return parse_conf_dir(key, arg, state, state->input);
}

const char *parse_only_conf_dir(int argc, char **argv, const char *doc)
{
    static const struct argp_option options[] = {CONF_DIR_OPTION, {0}};
    const struct argp argp = {.options = options, .parser = parse_dir, .doc = doc};
    const char *dir = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    return dir;
}

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

/* From now on what root makes belongs to the owner of dir, where that is somebody else. Root goes
 * on reading what it can, and is still who getuid() names. */
static void own_as(const char *dir)
{
    struct stat st;
    if (geteuid() != 0 || stat(dir, &st) != 0 || st.st_uid == 0) {
        return;
    }
    /* Without this bit the change of user takes root's right to read with it (capabilities(7)). */
    int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
    if (bits >= 0) {
        (void)prctl(PR_SET_SECUREBITS, (unsigned long)bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
    }
    (void)setfsgid(st.st_gid);
    (void)setfsuid(st.st_uid);
}

struct conf *read_conf(const char *dir)
{
    struct conf *conf = conf_read(dir, complain, NULL);
    if (conf != NULL) {
        own_as(conf->core.data_dir);
    }
    return conf;
}

int print_fault(const struct whorl_fault *fault)
{
    fputs("whorl: ", stderr);
    clean_puts(fault->where, stderr);
    fputs(fault->where[0] == '\0' ? "" : ": ", stderr);
    clean_puts(fault->text, stderr);
    fputc('\n', stderr);
    return EXIT_FAILED;
}
