/* The configuration reader over arbitrary text. The text stands in a file of a folder in memory, as
 * conf_read takes it: so the rules and schemas behind the parser are exercised, too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/whorl-fuzz-XXXXXX";
static char path[sizeof dir + 8];

static void clean_up(void)
{
    (void)remove(path);
    (void)rmdir(dir);
}

static void ignore(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx, (void)file, (void)text;
    if (line < 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (path[0] == '\0') {
        if (!mkdtemp(dir)) {
            abort();
        }
        (void)snprintf(path, sizeof path, "%s/x.conf", dir);
        (void)atexit(clean_up);
    }
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out) != 0) {
        abort();
    }
    struct conf *conf = conf_read(dir, ignore, NULL);
    conf_unref(conf);
    return 0;
}
