#include "core/identify/claimed.h"

#include <string.h>

/* Skips what doesn't count and folds ASCII letters; other UTF-8 bytes stay as they are. Returns
 * the next byte that counts, or -1 at the end. U+2019 is the typographer's apostrophe. */
static int next_byte(const char **at, const char *end)
{
    while (*at < end) {
        unsigned char c = (unsigned char)**at;
        if (end - *at >= 3 && memcmp(*at, "\xe2\x80\x99", 3) == 0) {
            *at += 3;
            continue;
        }
        (*at)++;
        if (c == ' ' || c == '-' || c == '\'') {
            continue;
        }
        return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
    }
    return -1;
}

/* Whether the text that goes on does so with another name: `at` is behind its first byte. */
static bool at_next_name(const char *begin, const char *at)
{
    return at - begin >= 2 && at[-2] == ' ';
}

/* first_names: people seldom give all their given names, so that the first of one, whole names, may
 * be all that the other has. */
static bool same(const char *claimed, const msgpack_object *found, bool first_names)
{
    const char *a = claimed;
    const char *a_end = claimed + strlen(claimed);
    const char *b = found->via.str.ptr;
    const char *b_end = b + found->via.str.size;
    for (;;) {
        int x = next_byte(&a, a_end);
        int y = next_byte(&b, b_end);
        if (x < 0 && y < 0) {
            return true;
        }
        if (x < 0 || y < 0) {
            return first_names &&
                   (x < 0 ? at_next_name(found->via.str.ptr, b) : at_next_name(claimed, a));
        }
        if (x != y) {
            return false;
        }
    }
}

static bool is_text(const msgpack_object *object)
{
    return object != NULL && object->type == MSGPACK_OBJECT_STR && object->via.str.size > 0;
}

/* One of the candidate's names. Without anything to compare it says nothing. */
static enum claimed_verdict compare(const struct decoded_subject *subject,
                                    const msgpack_object *name)
{
    const msgpack_object *family = whorl_map_get(name, "family");
    const msgpack_object *given = whorl_map_get(name, "given");
    bool families = subject->family[0] != '\0' && is_text(family);
    bool givens = subject->given[0] != '\0' && is_text(given);
    if (!families && !givens) {
        return CLAIMED_UNKNOWN;
    }
    if ((families && !same(subject->family, family, false)) ||
        (givens && !same(subject->given, given, true))) {
        return CLAIMED_DIFFERS;
    }
    return CLAIMED_SAME;
}

enum claimed_verdict claimed_name(const struct decoded_subject *subject,
                                  const msgpack_object *candidate)
{
    const msgpack_object *names = whorl_map_get(candidate, "names");
    enum claimed_verdict verdict = CLAIMED_UNKNOWN;
    if (names == NULL || names->type != MSGPACK_OBJECT_ARRAY) {
        return verdict;
    }
    for (uint32_t i = 0; i < names->via.array.size; i++) {
        enum claimed_verdict one = compare(subject, &names->via.array.ptr[i]);
        if (one == CLAIMED_SAME) {
            return one;
        }
        verdict = one == CLAIMED_DIFFERS ? one : verdict;
    }
    return verdict;
}

enum claimed_verdict claimed_born(const struct decoded_subject *subject,
                                  const msgpack_object *candidate)
{
    const msgpack_object *born = whorl_map_get(candidate, "born");
    if (subject->born[0] == '\0' || !is_text(born)) {
        return CLAIMED_UNKNOWN;
    }
    return whorl_str_is(born, subject->born) ? CLAIMED_SAME : CLAIMED_DIFFERS;
}
