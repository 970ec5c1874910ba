#include "csv.h"

#include <string.h>

#include "whorl/msg.h"

/* Unquotes the field at *at in place, up to its comma or the end. */
static bool take_quoted(char **at, struct whorl_fault *fault)
{
    char *from = *at + 1, *to = *at;
    for (; *from; from++) {
        if (*from == '"' && *++from != '"') {
            if (*from != ',' && *from != '\0') {
                return whorl_fail(fault, "", "text follows a closing quote");
            }
            char end = *from;
            *to = '\0';
            *at = end ? from + 1 : NULL;
            return true;
        }
        *to++ = *from;
    }
    return whorl_fail(fault, "", "a quote is not closed on its line");
}

static bool take_plain(char **at, struct whorl_fault *fault)
{
    size_t len = strcspn(*at, ",\"");
    if ((*at)[len] == '"') {
        return whorl_fail(fault, "", "a quote stands inside a field that does not begin with one");
    }
    char *end = *at + len;
    *at = *end ? end + 1 : NULL;
    *end = '\0';
    return true;
}

bool csv_split(char *line, size_t len, char *fields[CSV_FIELDS_MAX], size_t *count,
               struct whorl_fault *fault)
{
    *count = 0;
    if (len > CSV_LINE_MAX) {
        return whorl_fail(fault, "", "the line is longer than %u bytes", CSV_LINE_MAX);
    }
    if (memchr(line, '\0', len)) {
        return whorl_fail(fault, "", "the line holds a NUL byte");
    }
    if (len > 0 && line[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    line[len] = '\0';
    for (char *at = line; at;) {
        if (*count == CSV_FIELDS_MAX) {
            return whorl_fail(fault, "", "the line has more than %u fields", CSV_FIELDS_MAX);
        }
        fields[(*count)++] = at;
        if (!(*at == '"' ? take_quoted(&at, fault) : take_plain(&at, fault))) {
            return false;
        }
    }
    return true;
}
