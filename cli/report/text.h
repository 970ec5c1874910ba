/* Texts that must be shorter. */
#ifndef CLI_REPORT_TEXT_H
#define CLI_REPORT_TEXT_H

#include <stdint.h>
#include <string.h>

/* How many bytes of a UTF-8 text of `len` bytes make whole characters and no more than `most`: half
 * a character is no text, and JSON has no place for it. */
static inline size_t text_fit(const char *text, size_t len, size_t most)
{
    if (len <= most) {
        return len;
    }
    while (most > 0 && ((uint8_t)text[most] & 0xc0) == 0x80) {
        most--;
    }
    return most;
}

/* The same of a string, as printf's precision. */
static inline int text_most(const char *text, size_t most)
{
    return (int)text_fit(text, strnlen(text, most + 1), most);
}

#endif
