/* Comma-separated values as RFC 4180 has them, read strictly: a row is one line; a quote opens a
 * field only at its beginning and doubles inside it. */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "whorl/plugin.h"

#define CSV_LINE_MAX 65536u /* bytes */
#define CSV_FIELDS_MAX 64u

/* Splits a line in place (its line end is taken off): fields[i] point into it, unquoted and
 * terminated. false with *fault (text only); line is spoilt either way. */
bool csv_split(char *line, size_t len, char *fields[CSV_FIELDS_MAX], size_t *count,
               struct whorl_fault *fault);

#endif
