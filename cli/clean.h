/* Text of others on its way to a terminal: what devices' servers, manifests and records hold may
 * move the cursor, or rewrite the lines above. */
#ifndef CLI_CLEAN_H
#define CLI_CLEAN_H

#include <stddef.h>
#include <stdio.h>

/* Prints len bytes of text, with a ? for every byte that is no UTF-8, or of a control character. */
void clean_print(const char *text, size_t len, FILE *out);

/* The same of a whole string. */
void clean_puts(const char *text, FILE *out);

#endif
