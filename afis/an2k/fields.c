/* Tagged fields: "TYPE.NUMBER:value", values of subfields, subfields of items. */
#include <string.h>

#include "an2k/internal.h"

/* Digits up to the character `until`, which is taken too. */
static bool take_tag_part(struct an2k_text *text, uint8_t until, uint32_t max, unsigned *out)
{
    const uint8_t *end = memchr(text->at, until, text->len < 10 ? text->len : 10);
    uint32_t value;
    if (end == NULL ||
        !an2k_number((struct an2k_text){text->at, (size_t)(end - text->at)}, max, &value)) {
        return false;
    }
    text->len -= (size_t)(end - text->at) + 1;
    text->at = end + 1;
    *out = value;
    return true;
}

bool an2k_next_field(struct an2k_text *record, struct an2k_field *out, bool *bad)
{
    if (record->at == NULL) {
        return false;
    }
    if (!take_tag_part(record, '.', 99, &out->type) ||
        !take_tag_part(record, ':', AN2K_IMAGE_FIELD, &out->number)) {
        *bad = true;
        return false;
    }
    if (out->number == AN2K_IMAGE_FIELD) {
        out->value = *record;
        *record = (struct an2k_text){0};
        return true;
    }
    return an2k_next_part(record, AN2K_GS, &out->value);
}

bool an2k_next_part(struct an2k_text *text, uint8_t separator, struct an2k_text *out)
{
    if (text->at == NULL) {
        return false;
    }
    const uint8_t *end = text->len > 0 ? memchr(text->at, separator, text->len) : NULL;
    if (end == NULL) {
        *out = *text;
        *text = (struct an2k_text){0};
        return true;
    }
    *out = (struct an2k_text){text->at, (size_t)(end - text->at)};
    text->len -= out->len + 1;
    text->at = end + 1;
    return true;
}

bool an2k_number(struct an2k_text text, uint32_t max, uint32_t *out)
{
    uint32_t value = 0;
    if (text.len == 0 || text.len > 9) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text.at[i] - '0');
    }
    *out = value;
    return value <= max;
}

bool an2k_item(struct an2k_text subfield, unsigned index, uint32_t max, uint32_t *out)
{
    struct an2k_text item;
    for (unsigned i = 0; i <= index; i++) {
        if (!an2k_next_part(&subfield, AN2K_US, &item)) {
            return false;
        }
    }
    return an2k_number(item, max, out);
}

bool an2k_is(struct an2k_text text, const char *word)
{
    size_t len = strlen(word);
    return text.len == len && memcmp(text.at, word, len) == 0;
}

uint32_t an2k_dpi(uint32_t pixels_per_cm)
{
    return (pixels_per_cm * 254 + 50) / 100;
}

struct an2k_text an2k_record_text(const struct afis_an2k *an2k, unsigned record)
{
    const struct afis_an2k_record *r = &an2k->records[record];
    return (struct an2k_text){an2k->bytes + r->at, r->len - 1};
}

const uint8_t *afis_an2k_field(const struct afis_an2k *an2k, unsigned record, unsigned field,
                               size_t *len)
{
    if (record >= an2k->count ||
        (an2k->records[record].type >= 3 && an2k->records[record].type <= 8)) {
        return NULL;
    }
    struct an2k_text text = an2k_record_text(an2k, record);
    struct an2k_field f;
    bool bad = false;
    while (an2k_next_field(&text, &f, &bad)) {
        if (f.number == field) {
            *len = f.value.len;
            return f.value.at;
        }
    }
    return NULL;
}

bool an2k_field_number(const struct afis_an2k *an2k, unsigned record, unsigned field, uint32_t max,
                       uint32_t *out)
{
    struct an2k_text value;
    value.at = afis_an2k_field(an2k, record, field, &value.len);
    return value.at != NULL && an2k_number(value, max, out);
}
