#include "cli/device/screen.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clean.h"

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define GREEN "\033[1;32m"
#define GREY "\033[2m"
#define RESET "\033[0m"

#define NAME_WIDTH 12u

static const struct {
    const char *class, *words, *colour;
} class_words[] = {
    {"match", "MATCH", RED},
    {"possible", "POSSIBLE", YELLOW},
    {"no_match", "NO MATCH", GREEN},
    {"poor_quality", "POOR QUALITY", YELLOW},
    {"unavailable", "UNAVAILABLE", YELLOW},
    {"not_searched", "NOT SEARCHED", GREY},
};

/* Nothing for anything but a str. */
static uint32_t str_len(const msgpack_object *o)
{
    return o && o->type == MSGPACK_OBJECT_STR ? o->via.str.size : 0;
}

/* The server's words: only those above may move the cursor. */
static void print_str(const msgpack_object *o, FILE *out)
{
    if (str_len(o) > 0) {
        clean_print(o->via.str.ptr, o->via.str.size, out);
    }
}

static bool number(const msgpack_object *o, double *value)
{
    if (!o) {
        return false;
    }
    switch (o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        *value = (double)o->via.u64;
        return true;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        *value = (double)o->via.i64;
        return true;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        *value = o->via.f64;
        return true;
    default:
        return false;
    }
}

/* The elements of an array, none for anything else. */
static uint32_t elements(const msgpack_object *o, const msgpack_object **first)
{
    if (!o || o->type != MSGPACK_OBJECT_ARRAY) {
        return 0;
    }
    *first = o->via.array.ptr;
    return o->via.array.size;
}

static void print_field(const msgpack_object *map, const char *key, const char *before, FILE *out)
{
    const msgpack_object *o = whorl_map_get(map, key);
    if (str_len(o) > 0) {
        fputs(before, out);
        print_str(o, out);
    }
}

static void print_identifiers(const msgpack_object *map, FILE *out)
{
    if (!map || map->type != MSGPACK_OBJECT_MAP) {
        return;
    }
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        fputs("  ", out);
        print_str(&kv->key, out);
        fputc(' ', out);
        print_str(&kv->val, out);
    }
}

static void print_names(const msgpack_object *names, FILE *out)
{
    const msgpack_object *name = NULL;
    uint32_t count = elements(names, &name);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i == 0 ? "  " : " / ", out);
        print_field(&name[i], "family", "", out);
        print_field(&name[i], "given", ", ", out);
    }
}

static void print_details(const msgpack_object *details, bool colour, FILE *out)
{
    const msgpack_object *detail = NULL;
    uint32_t count = elements(details, &detail);
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *level = whorl_map_get(&detail[i], "level");
        bool alert = whorl_str_is(level, "alert");
        const char *tint = alert ? RED : whorl_str_is(level, "warning") ? YELLOW : "";
        fprintf(out, "      %s%s", colour ? tint : "", alert ? "! " : "  ");
        print_field(&detail[i], "label", "", out);
        print_field(&detail[i], "value", ": ", out);
        fprintf(out, "%s\n", colour && *tint ? RESET : "");
    }
}

static void print_candidate(const msgpack_object *candidate, bool colour, FILE *out)
{
    fputs("    ", out);
    print_field(candidate, "ref", "", out);
    print_names(whorl_map_get(candidate, "names"), out);
    print_field(candidate, "born", "  born ", out);
    print_identifiers(whorl_map_get(candidate, "identifiers"), out);
    double score;
    if (number(whorl_map_get(candidate, "score"), &score)) {
        fprintf(out, "  (score %.1f dB)", score);
    }
    print_field(candidate, "found_by", "  found by ", out);
    print_field(candidate, "gateway", "  at ", out);
    fputc('\n', out);
    print_details(whorl_map_get(candidate, "details"), colour, out);
}

static void print_samples(const msgpack_object *samples, FILE *out)
{
    const msgpack_object *sample = NULL;
    uint32_t count = elements(samples, &sample);
    for (uint32_t i = 0; i < count; i++) {
        double index = 0, quality = 0;
        const msgpack_object *advice = whorl_map_get(&sample[i], "advice");
        if (str_len(advice) == 0 || !number(whorl_map_get(&sample[i], "sample"), &index)) {
            continue;
        }
        number(whorl_map_get(&sample[i], "quality"), &quality);
        fprintf(out, "    scan %.0f: quality %.0f, ", index + 1, quality);
        print_str(advice, out);
        fputc('\n', out);
    }
}

/* How old the data is that an answer was made from, where it is a copy; in the largest unit that
 * leaves it above one. */
static void print_age(const msgpack_object *answer, FILE *out)
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
    double age;
    if (!number(whorl_map_get(answer, "age"), &age)) {
        return;
    }
    size_t unit = 0;
    while (unit + 1 < sizeof units / sizeof *units && age < 2 * units[unit].seconds) {
        unit++;
    }
    fprintf(out, "  (data %.0f %s old)", age / units[unit].seconds, units[unit].name);
}

static void print_class(const msgpack_object *answer, bool colour, FILE *out)
{
    const msgpack_object *class = whorl_map_get(answer, "class");
    const char *words = "?", *tint = "";
    for (size_t i = 0; i < sizeof class_words / sizeof *class_words; i++) {
        if (whorl_str_is(class, class_words[i].class)) {
            words = class_words[i].words;
            tint = class_words[i].colour;
        }
    }
    fprintf(out, "%s%s%s", colour ? tint : "", words, colour ? RESET : "");
    print_field(answer, "reason", ": ", out);
}

static void print_searched(const msgpack_object *answer, FILE *out)
{
    const msgpack_object *searched = whorl_map_get(answer, "searched");
    double people, of;
    if (number(whorl_map_get(searched, "people"), &people) &&
        number(whorl_map_get(searched, "of"), &of)) {
        fprintf(out, "  [%.0f of %.0f people]", people, of);
    }
}

/* What each gateway of a cascade said. */
static void print_levels(const msgpack_object *levels, bool colour, FILE *out)
{
    const msgpack_object *level = NULL;
    uint32_t count = elements(levels, &level);
    for (uint32_t i = 0; i < count; i++) {
        double ms;
        print_field(&level[i], "gateway", "    asked ", out);
        print_field(&level[i], "backend", " for ", out);
        fputs(": ", out);
        print_class(&level[i], colour, out);
        print_searched(&level[i], out);
        if (number(whorl_map_get(&level[i], "elapsed_ms"), &ms)) {
            fprintf(out, "  %.0f ms", ms);
        }
        fputc('\n', out);
    }
}

static void print_answer(const msgpack_object *answer, bool colour, FILE *out)
{
    const msgpack_object *name = whorl_map_get(answer, "backend");
    double ms;
    fputs("  ", out);
    print_str(name, out);
    fprintf(out, "%*s ", str_len(name) < NAME_WIDTH ? (int)(NAME_WIDTH - str_len(name)) : 0, "");
    print_class(answer, colour, out);
    print_searched(answer, out);
    print_age(answer, out);
    if (number(whorl_map_get(answer, "elapsed_ms"), &ms)) {
        fprintf(out, "  %.0f ms", ms);
    }
    fputc('\n', out);
    print_levels(whorl_map_get(answer, "levels"), colour, out);
    const msgpack_object *candidate = NULL;
    uint32_t count = elements(whorl_map_get(answer, "candidates"), &candidate);
    for (uint32_t i = 0; i < count; i++) {
        print_candidate(&candidate[i], colour, out);
    }
    print_samples(whorl_map_get(answer, "samples"), out);
}

static bool is_true(const msgpack_object *o)
{
    return o && o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean;
}

static bool is_known(const msgpack_object *o)
{
    return o && o->type == MSGPACK_OBJECT_BOOLEAN;
}

/* A candidate that shows nothing to compare (as immigration's) has no line. */
static void print_claimed(const msgpack_object *claimed, bool colour, FILE *out)
{
    const msgpack_object *found = NULL;
    uint32_t count = elements(whorl_map_get(claimed, "found"), &found);
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *name = whorl_map_get(&found[i], "name_differs");
        const msgpack_object *born = whorl_map_get(&found[i], "born_differs");
        if (!is_known(name) && !is_known(born)) {
            continue;
        }
        bool differs = is_true(name) || is_true(born);
        const char *words = is_true(name) && is_true(born) ? "name and date of birth DIFFER from "
                            : is_true(name)                ? "name DIFFERS from "
                            : is_true(born)                ? "date of birth DIFFERS from "
                            : is_known(name) && is_known(born)
                                ? "name and date of birth agree with "
                            : is_known(name) ? "name agrees with "
                                             : "date of birth agrees with ";
        fprintf(out, "  claimed      %s%s%s", colour && differs ? YELLOW : "", words,
                colour && differs ? RESET : "");
        print_field(&found[i], "backend", "", out);
        print_field(&found[i], "ref", " ", out);
        fputc('\n', out);
    }
}

void screen_identity(const msgpack_object *result, bool colour, FILE *out)
{
    print_field(result, "transaction", "Transaction ", out);
    double ms;
    if (number(whorl_map_get(result, "elapsed_ms"), &ms)) {
        fprintf(out, "  (%.0f ms)", ms);
    }
    fputc('\n', out);
    const msgpack_object *show = whorl_map_get(result, "show");
    if (str_len(show) > 0) {
        print_field(result, "show", "  note         ", out);
        fputc('\n', out);
    }
    const msgpack_object *answer = NULL;
    uint32_t count = elements(whorl_map_get(result, "answers"), &answer);
    for (uint32_t i = 0; i < count; i++) {
        print_answer(&answer[i], colour, out);
    }
    print_claimed(whorl_map_get(result, "claimed"), colour, out);
    const msgpack_object *audit = NULL;
    count = elements(whorl_map_get(result, "audit"), &audit);
    for (uint32_t i = 0; i < count; i++) {
        double position = 0;
        number(whorl_map_get(&audit[i], "position"), &position);
        print_field(&audit[i], "sink", "  recorded     ", out);
        fprintf(out, " #%.0f\n", position);
    }
}

static void print_list(const msgpack_object *map, const char *key, const char *before, FILE *out)
{
    const msgpack_object *item = NULL;
    uint32_t count = elements(whorl_map_get(map, key), &item);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i == 0 ? before : ", ", out);
        print_str(&item[i], out);
    }
}

void screen_capabilities(const msgpack_object *result, FILE *out)
{
    print_field(result, "server", "Server ", out);
    print_field(result, "device", "\nDevice ", out);
    print_field(result, "force", " of ", out);
    const msgpack_object *officer = whorl_map_get(result, "officer");
    print_field(officer, "id", "\nOfficer ", out);
    print_field(officer, "force", " of ", out);
    print_list(officer, "entitlements", ", entitled to ", out);
    fputs("\nBackends\n", out);
    const msgpack_object *item = NULL;
    uint32_t count = elements(whorl_map_get(result, "backends"), &item);
    for (uint32_t i = 0; i < count; i++) {
        print_field(&item[i], "name", "  ", out);
        print_field(&item[i], "title", "  ", out);
        fputs(is_true(whorl_map_get(&item[i], "allowed")) ? "  allowed" : "  not allowed", out);
        print_field(&item[i], "reason", ": ", out);
        print_list(&item[i], "formats", "  takes ", out);
        print_list(&item[i], "keys", "  finds by ", out);
        fputc('\n', out);
    }
    count = elements(whorl_map_get(result, "audit"), &item);
    for (uint32_t i = 0; i < count; i++) {
        if (!is_true(whorl_map_get(&item[i], "ok"))) {
            print_field(&item[i], "sink", "NO ANSWERS NOW: audit records can't be stored in ", out);
            fputc('\n', out);
        }
    }
    fputs("Legal bases, first that fits decides\n", out);
    count = elements(whorl_map_get(result, "bases"), &item);
    for (uint32_t i = 0; i < count; i++) {
        print_field(&item[i], "basis", "  ", out);
        print_list(&item[i], "subject", "  for ", out);
        print_list(&item[i], "consent", "  consent ", out);
        print_list(&item[i], "backends", "  asks ", out);
        print_list(&item[i], "require", "  needs ", out);
        fputc('\n', out);
    }
}

void screen_error(const msgpack_object *error, FILE *out)
{
    print_field(error, "code", "", out);
    print_field(error, "where", ": ", out);
    print_field(error, "message", ": ", out);
    fputc('\n', out);
}

void screen_progress(const msgpack_object *argument, FILE *out)
{
    print_field(argument, "backend", "\r\033[K  ", out);
    print_field(argument, "stage", ": ", out);
    double fraction;
    if (number(whorl_map_get(argument, "fraction"), &fraction)) {
        fprintf(out, " %.0f %%", fraction * 100);
    }
    fflush(out);
}

static json_t *hex_of(const char *bytes, uint32_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * (size_t)len + 1);
    if (!text) {
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[(uint8_t)bytes[i] >> 4];
        text[2 * i + 1] = digits[(uint8_t)bytes[i] & 15];
    }
    json_t *json = json_stringn(text, 2 * (size_t)len);
    free(text);
    return json;
}

/* JSON has no place for what is no UTF-8: a ? is better than nothing. */
static json_t *text_of(const char *bytes, uint32_t len)
{
    json_t *json = json_stringn(bytes, len);
    char *text = NULL;
    size_t size;
    FILE *memory = json ? NULL : open_memstream(&text, &size);
    if (memory) {
        clean_print(bytes, len, memory);
        json = fclose(memory) == 0 ? json_stringn(text, size) : NULL;
    }
    free(text);
    return json;
}

static json_t *json_of(const msgpack_object *o);

/* NULL, as all of these: out of memory. What has no name in words is left out; of fields of one
 * name the first counts, as it does for everything else here. */
static json_t *json_of_map(const msgpack_object *o)
{
    json_t *json = json_object();
    for (uint32_t i = 0; json && i < o->via.map.size; i++) {
        const msgpack_object *key = &o->via.map.ptr[i].key;
        if (key->type != MSGPACK_OBJECT_STR) {
            continue;
        }
        json_t *name = text_of(key->via.str.ptr, key->via.str.size);
        bool again = name && json_object_get(json, json_string_value(name));
        if (!name || (!again && json_object_set_new(json, json_string_value(name),
                                                    json_of(&o->via.map.ptr[i].val)) != 0)) {
            json_decref(json);
            json = NULL;
        }
        json_decref(name);
    }
    return json;
}

static json_t *json_of_array(const msgpack_object *o)
{
    json_t *json = json_array();
    for (uint32_t i = 0; json && i < o->via.array.size; i++) {
        if (json_array_append_new(json, json_of(&o->via.array.ptr[i])) != 0) {
            json_decref(json);
            json = NULL;
        }
    }
    return json;
}

/* Jansson's integers end at INT64_MAX, and JSON has no word for what is no number. */
static json_t *json_of_number(const msgpack_object *o)
{
    double value;
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ||
        (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)) {
        return json_integer(o->via.i64);
    }
    return number(o, &value) && isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_of(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_of_number(o);
    case MSGPACK_OBJECT_STR:
        return text_of(o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return hex_of(o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
        return json_of_array(o);
    case MSGPACK_OBJECT_MAP:
        return json_of_map(o);
    default:
        return json_null();
    }
}

bool screen_json(const msgpack_object *object, FILE *out)
{
    json_t *json = json_of(object);
    bool ok = json && json_dumpf(json, out, JSON_INDENT(2) | JSON_ENCODE_ANY) == 0;
    json_decref(json);
    fputc('\n', out);
    return ok;
}

bool screen_json_line(const msgpack_object *object, FILE *out)
{
    json_t *json = json_of(object);
    bool ok = json && json_dumpf(json, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0;
    json_decref(json);
    return ok;
}
