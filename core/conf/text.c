#include "core/conf/text.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF);
 * 0 when there is none. What follows the text is a NUL, so it is never read past its end. */
static size_t utf8_length(const unsigned char *p)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

bool text_is_clean(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        size_t length = utf8_length(p);
        if (length == 0 || *p < ' ' || *p == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0)) {
            return false;
        }
        p += length;
    }
    return true;
}

/* Replaces every byte that no file should hold. */
static void refuse_bytes(struct mistakes *mistakes, const char *file, char *text, size_t length)
{
    struct conf_place place = {file, 1};
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)text[i];
        size_t step = utf8_length((const unsigned char *)text + i);
        bool control = (c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
        if (control || step == 0) {
            mistake_at(mistakes, place, "byte 0x%02x is %s", (unsigned)c,
                       control ? "a control character" : "not UTF-8");
            text[i] = '?';
            step = 1;
        }
        place.line += c == '\n';
        i += step;
    }
}

static void blank(char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        text[i] = text[i] == '\n' ? '\n' : ' ';
    }
}

static bool starts(const char *text, const char *what)
{
    return strncmp(text, what, strlen(what)) == 0;
}

/* Where the comment or string that begins at i ends. */
static size_t skip_comment(const char *text, size_t i)
{
    if (starts(text + i, "/*")) {
        const char *end = strstr(text + i + 2, "*/");
        return end ? (size_t)(end - text) + 2 : strlen(text);
    }
    return i + strcspn(text + i, "\n");
}

static size_t skip_string(const char *text, size_t i)
{
    char quote = text[i++];
    while (text[i] != '\0' && text[i] != quote) {
        i += text[i] == '\\' && text[i + 1] != '\0' ? 2 : 1;
    }
    return text[i] == quote ? i + 1 : i;
}

/* What would stand for something else. A character by its number could be one of tree.c's marks. */
static void refuse_substitutes(struct mistakes *mistakes, struct conf_place place, char *text,
                               size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (text[i] == '\\' && i + 1 < to) {
            if (strchr("x0123456789", text[++i])) {
                mistake_at(mistakes, place,
                           "\\%c: a character can't be given by its number: write it itself",
                           text[i]);
                text[i - 1] = '?';
            }
            place.line += text[i] == '\n';
        } else if (text[i] == '$' && text[i + 1] == '{') {
            mistake_at(mistakes, place, "${...} is not replaced here: write the value itself");
            text[i] = '?';
        } else {
            place.line += text[i] == '\n';
        }
    }
}

/* What was seen before a place, but for spaces and comments. */
struct seen {
    size_t last; /* where the last word, string or other character is */
    size_t list; /* where the last brace behind an equal sign is */
};

static void mark_empty_list(struct seen *seen, char *text, size_t i)
{
    if (text[i] == '{' && text[seen->last] == '=') {
        seen->list = i;
    } else if (text[i] == '}' && text[seen->last] == '{' && seen->last == seen->list) {
        blank(text, seen->list, i + 1);
        text[seen->list] = *TEXT_EMPTY_LIST;
    }
    if (strchr(" \t\r\n", text[i]) == NULL) {
        seen->last = i;
    }
}

int text_prepare(struct mistakes *mistakes, const char *file, char *text, size_t length)
{
    struct conf_place place = {file, 1};
    text[length] = '\0';
    refuse_bytes(mistakes, file, text, length);
    struct seen seen = {0, 0};
    bool in_word = false; /* in which // and the like are no comment */
    for (size_t i = 0; i < length;) {
        size_t end = i + 1;
        bool slash = !in_word && (starts(text + i, "//") || starts(text + i, "/*"));
        if (text[i] == '#' || slash) {
            end = skip_comment(text, i);
            blank(text, i, end);
        } else if (text[i] == '"' || text[i] == '\'') {
            end = skip_string(text, i);
        }
        if (text[i] != '\'') {
            refuse_substitutes(mistakes, place, text, i, end);
        }
        mark_empty_list(&seen, text, i);
        in_word = end == i + 1 && strchr(" \t\r\n={}()+,", text[i]) == NULL;
        for (; i < end; i++) {
            place.line += text[i] == '\n';
            text[i] = text[i] == '|' ? TEXT_BAR : text[i];
        }
    }
    return place.line;
}

void text_restore(char *text)
{
    for (; *text != '\0'; text++) {
        *text = *text == TEXT_BAR ? '|' : *text;
    }
}

/* Whether a string goes on over the place: what is on one side of it alone would be read otherwise.
 */
static bool is_in_string(const char *text, size_t place)
{
    size_t end = 0;
    for (size_t i = 0; i < place; i = end) {
        end = text[i] == '"' || text[i] == '\'' ? skip_string(text, i) : i + 1;
    }
    return end > place;
}

bool text_blank_line(char *text, int line)
{
    size_t from = 0;
    for (int n = 1; n < line; n++) {
        from += strcspn(text + from, "\n");
        if (text[from] == '\0') {
            return false;
        }
        from++;
    }
    size_t length = strcspn(text + from, "\n");
    if (strspn(text + from, " \t\r") >= length || strcspn(text + from, "{}") < length ||
        is_in_string(text, from) || is_in_string(text, from + length)) {
        return false;
    }
    memset(text + from, ' ', length);
    return true;
}
