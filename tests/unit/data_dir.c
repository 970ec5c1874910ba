#include "data_dir.h"

#include <stdio.h>
#include <stdlib.h>

uint8_t *data_read(const char *path, size_t *len)
{
    char full[4096];
    const char *dir = getenv("WHORL_DATA");
    snprintf(full, sizeof full, "%s/%s", dir ? dir : TEST_DATA, path);
    FILE *file = fopen(full, "rb");
    if (!file) {
        return NULL;
    }
    uint8_t *bytes = NULL;
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size > 0 && fseek(file, 0, SEEK_SET) == 0 && (bytes = malloc((size_t)size))) {
        *len = fread(bytes, 1, (size_t)size, file);
    }
    fclose(file);
    return bytes;
}
