#include "an2k_file.h"

#include <stdio.h>
#include <string.h>

static void put(struct an2k_file *file, const void *bytes, size_t len)
{
    if (len <= sizeof file->records - file->records_len) {
        memcpy(file->records + file->records_len, bytes, len);
        file->records_len += len;
    }
}

static void separators(char *text)
{
    for (; *text; text++) {
        *text = *text == '|' ? 0x1d : *text == '^' ? 0x1e : *text == '~' ? 0x1f : *text;
    }
}

static void list(struct an2k_file *file, unsigned type, unsigned idc)
{
    size_t len = strlen(file->contents);
    snprintf(file->contents + len, sizeof file->contents - len, "^%u~%02u", type, idc);
    file->count++;
}

/* "TYPE.001:LEN" whose length counts itself, before the rest of the record. */
static size_t head(char *to, size_t cap, unsigned type, size_t rest)
{
    size_t len = 0;
    for (int again = 0; again < 3; again++) {
        len = (size_t)snprintf(to, cap, "%u.001:%zu\x1d", type, rest + len);
    }
    return len;
}

void an2k_file_begin(struct an2k_file *file)
{
    memset(file, 0, sizeof *file);
    an2k_file_tagged(file, 2, 0, "2.003:made for a test", NULL, 0);
}

void an2k_file_tagged(struct an2k_file *file, unsigned type, unsigned idc, const char *fields,
                      const uint8_t *data, size_t len)
{
    char text[8192], start[40];
    snprintf(text, sizeof text, "%u.002:%02u|%s", type, idc, fields);
    if (data) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "|%u.999:", type);
    }
    separators(text);
    size_t rest = strlen(text) + len + 1;
    put(file, start, head(start, sizeof start, type, rest));
    put(file, text, strlen(text));
    if (data) {
        put(file, data, len);
    }
    put(file, "\x1c", 1);
    list(file, type, idc);
}

void an2k_file_type4(struct an2k_file *file, unsigned idc, unsigned position, unsigned width,
                     unsigned height, unsigned coding, const uint8_t *data, size_t len)
{
    size_t all = len + 18;
    uint8_t start[18] = {(uint8_t)(all >> 24),
                         (uint8_t)(all >> 16),
                         (uint8_t)(all >> 8),
                         (uint8_t)all,
                         (uint8_t)idc,
                         3,
                         (uint8_t)position,
                         255,
                         255,
                         255,
                         255,
                         255,
                         0,
                         (uint8_t)(width >> 8),
                         (uint8_t)width,
                         (uint8_t)(height >> 8),
                         (uint8_t)height,
                         (uint8_t)coding};
    put(file, start, sizeof start);
    put(file, data, len);
    list(file, 4, idc);
}

void an2k_file_end(struct an2k_file *file)
{
    char text[4096], start[40];
    snprintf(text, sizeof text,
             "1.002:0500|1.003:1~%u%s|1.004:TEST|1.005:20260101|1.007:TO|1.008:FROM|1.009:1|"
             "1.011:19.69|1.012:19.69",
             file->count, file->contents);
    separators(text);
    size_t len = head(start, sizeof start, 1, strlen(text) + 1);
    file->len = (size_t)snprintf((char *)file->bytes, sizeof file->bytes, "%.*s%s\x1c", (int)len,
                                 start, text);
    if (file->records_len <= sizeof file->bytes - file->len) {
        memcpy(file->bytes + file->len, file->records, file->records_len);
        file->len += file->records_len;
    }
}

const char *an2k_file_type14(unsigned width, unsigned height, const char *coding, unsigned position)
{
    static char text[256];
    snprintf(text, sizeof text,
             "14.003:0|14.004:FROM|14.005:20260101|14.006:%u|14.007:%u|14.008:1|14.009:500|"
             "14.010:500|14.011:%s|14.012:8|14.013:%u",
             width, height, coding, position);
    return text;
}
