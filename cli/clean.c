#include "cli/clean.h"

#include <string.h>

#include "whorl/msg.h"

/* How many bytes the clean character at the beginning of text has; 0: there is none. */
static size_t clean_size(const char *text, size_t len)
{
    for (size_t size = 1; size <= 4 && size <= len; size++) {
        if (whorl_text_is_clean(text, size)) {
            return size;
        }
    }
    return 0;
}

void clean_print(const char *text, size_t len, FILE *out)
{
    if (whorl_text_is_clean(text, len)) {
        (void)fwrite(text, 1, len, out);
        return;
    }
    while (len > 0) {
        size_t size = clean_size(text, len);
        if (size > 0) {
            (void)fwrite(text, 1, size, out);
        } else {
            fputc('?', out);
            size = 1;
        }
        text += size;
        len -= size;
    }
}

void clean_puts(const char *text, FILE *out)
{
    clean_print(text, strlen(text), out);
}
