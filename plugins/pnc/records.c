/* The form of a PNC record. JSON is turned into msgpack first, so that one set of rules checks what
 * is imported and what comes back from the store. */
#include "plugins/pnc/records.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4 /* of JSON: record, list, object, value */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum kind { TEXT, CODE, DATE, PNCID, CRO, OBJECT };

struct rule {
    const char *name;
    enum kind kind;
    bool required;
    unsigned list;             /* 0: one value; else a list of at most so many */
    unsigned max;              /* bytes of a TEXT or CODE */
    const char *const *values; /* the values that a CODE may have; NULL: any */
    const struct rule *parts;  /* of an OBJECT */
    size_t part_count;
};

static const char *const sexes[] = {"male", "female", "unknown", NULL};
static const char *const circulation_kinds[] = {"wanted", "missing", "locate", NULL};

static const struct rule name_rules[] = {
    {"family", TEXT, true, 0, 100, NULL, NULL, 0},
    {"given", TEXT, true, 0, 100, NULL, NULL, 0},
};
static const struct rule alias_rules[] = {
    {"family", TEXT, true, 0, 100, NULL, NULL, 0},
    {"given", TEXT, true, 0, 100, NULL, NULL, 0},
    {"born", DATE, false, 0, 0, NULL, NULL, 0},
};
static const struct rule circulation_rules[] = {
    {"kind", CODE, true, 0, 16, circulation_kinds, NULL, 0},
    {"force", TEXT, true, 0, 60, NULL, NULL, 0},
    {"reference", TEXT, true, 0, 60, NULL, NULL, 0},
    {"date", DATE, true, 0, 0, NULL, NULL, 0},
    {"reason", TEXT, false, 0, 200, NULL, NULL, 0},
};
static const struct rule disqualified_rules[] = {
    {"court", TEXT, true, 0, 100, NULL, NULL, 0},
    {"order", TEXT, true, 0, 100, NULL, NULL, 0},
    {"expires", DATE, true, 0, 0, NULL, NULL, 0},
};
static const struct rule bail_rules[] = {
    {"condition", TEXT, true, 0, 250, NULL, NULL, 0},
    {"until", DATE, false, 0, 0, NULL, NULL, 0},
    {"force", TEXT, false, 0, 60, NULL, NULL, 0},
};
static const struct rule record_rules[] = {
    {"pncid", PNCID, true, 0, 0, NULL, NULL, 0},
    {"cro", CRO, false, 0, 0, NULL, NULL, 0},
    {"name", OBJECT, true, 0, 0, NULL, name_rules, COUNT_OF(name_rules)},
    {"aliases", OBJECT, false, 32, 0, NULL, alias_rules, COUNT_OF(alias_rules)},
    {"born", DATE, false, 0, 0, NULL, NULL, 0},
    {"birth_place", TEXT, false, 0, 100, NULL, NULL, 0},
    {"sex", CODE, false, 0, 16, sexes, NULL, 0},
    {"nationality", TEXT, false, 0, 60, NULL, NULL, 0},
    {"description", TEXT, false, 0, 500, NULL, NULL, 0},
    {"warnings", CODE, false, 32, 16, NULL, NULL, 0},
    {"markers", TEXT, false, 32, 100, NULL, NULL, 0},
    {"addresses", TEXT, false, 16, 200, NULL, NULL, 0},
    {"driver_number", TEXT, false, 0, 30, NULL, NULL, 0},
    {"circulations", OBJECT, false, 16, 0, NULL, circulation_rules, COUNT_OF(circulation_rules)},
    {"disqualified", OBJECT, false, 0, 0, NULL, disqualified_rules, COUNT_OF(disqualified_rules)},
    {"bail", OBJECT, false, 16, 0, NULL, bail_rules, COUNT_OF(bail_rules)},
};
#define MOST_RULES COUNT_OF(record_rules)

/* ------------------------------------------------------------------ values */

bool pnc_date_valid(const char *text)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (strlen(text) != 10 || text[4] != '-' || text[7] != '-' || strspn(text, "0123456789") != 4 ||
        strspn(text + 5, "0123456789") != 2 || strspn(text + 8, "0123456789") != 2) {
        return false;
    }
    year = atoi(text);
    month = atoi(text + 5);
    day = atoi(text + 8);
    if (year < 1850 || year > 2199 || month < 1 || month > 12 || day < 1 || day > days[month - 1]) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month != 2 || day < 29 || leap;
}

static bool check_code(const char *text, const struct rule *rule, struct whorl_fault *fault)
{
    if (rule->values == NULL) {
        if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(text)) {
            return true;
        }
        return whorl_fail(fault, "", "must be of capital letters, digits, - and _");
    }
    char all[96] = "";
    for (size_t i = 0; rule->values[i] != NULL; i++) {
        if (strcmp(text, rule->values[i]) == 0) {
            return true;
        }
        size_t used = strlen(all);
        snprintf(all + used, sizeof(all) - used, "%s\"%s\"", i > 0 ? ", " : "", rule->values[i]);
    }
    return whorl_fail(fault, "", "must be one of %s", all);
}

static bool check_text(const msgpack_object *value, const struct rule *rule,
                       struct whorl_fault *fault)
{
    char text[512], canonical[PNC_ID_CAP];
    struct whorl_fault bad;
    unsigned max = rule->max > 0 ? rule->max : 20;
    if (value->type != MSGPACK_OBJECT_STR) {
        return whorl_fail(fault, "", "must be a string");
    }
    if (value->via.str.size < 1 || value->via.str.size > max ||
        !whorl_str_copy(value, text, sizeof(text))) {
        return whorl_fail(fault, "", "must have 1 to %u bytes", max);
    }
    if (!whorl_text_is_clean(text, value->via.str.size)) {
        return whorl_fail(fault, "", "must be UTF-8 without control characters");
    }
    switch (rule->kind) {
    case CODE:
        return check_code(text, rule, fault);
    case DATE:
        return pnc_date_valid(text) || whorl_fail(fault, "", "must be a date YYYY-MM-DD");
    case PNCID: /* any year: that it is not in the future was checked when it was canonicalised */
        return pnc_pncid_read(text, 9999, canonical, &bad) || whorl_fail(fault, "", "%s", bad.text);
    case CRO:
        return pnc_cro_read(text, canonical, &bad) || whorl_fail(fault, "", "%s", bad.text);
    default:
        return true;
    }
}

/* ------------------------------------------------------------------ objects */

/* Puts what is around a fault before its place: "circulations", then "[0]", then "date". Only what
 * is wrong pays for a name. Returns false. */
static bool fails_in(struct whorl_fault *fault, const char *around)
{
    char inner[sizeof(fault->where)];
    memcpy(inner, fault->where, sizeof(inner));
    snprintf(fault->where, sizeof(fault->where), "%.40s%s%.50s", around,
             inner[0] == '\0' || inner[0] == '[' ? "" : ".", inner);
    return false;
}

static bool check_object(const msgpack_object *object, const struct rule *rules, size_t count,
                         struct whorl_fault *fault);

static bool check_value(const msgpack_object *value, const struct rule *rule,
                        struct whorl_fault *fault)
{
    if (rule->kind != OBJECT) {
        return check_text(value, rule, fault);
    }
    if (value->type != MSGPACK_OBJECT_MAP) {
        return whorl_fail(fault, "", "must be an object");
    }
    return check_object(value, rule->parts, rule->part_count, fault);
}

static bool check_list(const msgpack_object *list, const struct rule *rule,
                       struct whorl_fault *fault)
{
    char item[24];
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > rule->list) {
        return whorl_fail(fault, "", "must be a list of at most %u", rule->list);
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (check_value(&list->via.array.ptr[i], rule, fault)) {
            continue;
        }
        snprintf(item, sizeof(item), "[%u]", i);
        return fails_in(fault, item);
    }
    return true;
}

/* Finds the rule of a pair's key; a key that has none, or has come before, is named. */
static const struct rule *rule_of(const msgpack_object *key, const struct rule *rules, size_t count,
                                  bool *seen, struct whorl_fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        if (!whorl_str_is(key, rules[i].name)) {
            continue;
        }
        if (!seen[i]) {
            seen[i] = true;
            return &rules[i];
        }
        whorl_fail(fault, rules[i].name, "stands there twice");
        return NULL;
    }
    char name[40] = "?";
    whorl_str_copy(key, name, sizeof(name));
    if (name[0] == '\0' || !whorl_text_is_clean(name, strlen(name))) {
        snprintf(name, sizeof(name), "?");
    }
    whorl_fail(fault, name, "unknown field");
    return NULL;
}

static bool check_object(const msgpack_object *object, const struct rule *rules, size_t count,
                         struct whorl_fault *fault)
{
    bool seen[MOST_RULES] = {false};
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        const msgpack_object_kv *pair = &object->via.map.ptr[i];
        const struct rule *rule = rule_of(&pair->key, rules, count, seen, fault);
        if (rule == NULL) {
            return false;
        }
        if (!(rule->list > 0 ? check_list(&pair->val, rule, fault)
                             : check_value(&pair->val, rule, fault))) {
            return fails_in(fault, rule->name);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (rules[i].required && !seen[i]) {
            return whorl_fail(fault, rules[i].name, "is missing");
        }
    }
    return true;
}

/* ------------------------------------------------------------------ JSON */

/* JSON values other than strings, lists and objects become nil or numbers, for the rules to
 * refuse. */
static bool pack_json(msgpack_packer *pk, json_t *json, int depth)
{
    const char *key;
    json_t *value;
    size_t i;
    if (depth > DEPTH_MAX) {
        return false;
    }
    if (json_is_string(json)) {
        msgpack_pack_str_with_body(pk, json_string_value(json), json_string_length(json));
    } else if (json_is_array(json)) {
        msgpack_pack_array(pk, json_array_size(json));
        json_array_foreach(json, i, value)
        {
            if (!pack_json(pk, value, depth + 1)) {
                return false;
            }
        }
    } else if (json_is_object(json)) {
        msgpack_pack_map(pk, json_object_size(json));
        json_object_foreach(json, key, value)
        {
            msgpack_pack_str_with_body(pk, key, strlen(key));
            if (!pack_json(pk, value, depth + 1)) {
                return false;
            }
        }
    } else if (json_is_number(json)) {
        msgpack_pack_double(pk, json_number_value(json));
    } else {
        msgpack_pack_nil(pk);
    }
    return true;
}

/* Puts the canonical form of an identifier in the place of what was written. What is no string is
 * left for the rules. */
static bool canonicalise(json_t *root, const char *field, int this_year, struct whorl_fault *fault)
{
    char canonical[PNC_ID_CAP];
    struct whorl_fault bad = {{0}, {0}};
    const char *text = json_string_value(json_object_get(root, field));
    if (text == NULL) {
        return true;
    }
    bool ok = strcmp(field, "pncid") == 0 ? pnc_pncid_read(text, this_year, canonical, &bad)
                                          : pnc_cro_read(text, canonical, &bad);
    if (!ok) {
        return whorl_fail(fault, field, "%s", bad.text);
    }
    return json_object_set_new(root, field, json_string(canonical)) == 0 ||
           whorl_fail(fault, "", "out of memory");
}

static bool record_from_root(json_t *root, int this_year, struct pnc_record *out,
                             struct whorl_fault *fault)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    if (!json_is_object(root)) {
        return whorl_fail(fault, "", "must be a JSON object");
    }
    if (!canonicalise(root, "pncid", this_year, fault) ||
        !canonicalise(root, "cro", this_year, fault)) {
        return false;
    }
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    bool ok = pack_json(&pk, root, 1)
                  ? pnc_record_from_bytes((const uint8_t *)buffer.data, buffer.size, out, fault)
                  : whorl_fail(fault, "", "lists and objects nest too deep");
    msgpack_sbuffer_destroy(&buffer);
    return ok;
}

bool pnc_record_from_json(const char *line, size_t len, int this_year, struct pnc_record *out,
                          struct whorl_fault *fault)
{
    json_error_t error;
    if (len > PNC_LINE_MAX) {
        return whorl_fail(fault, "", "the line is longer than %zu bytes", PNC_LINE_MAX);
    }
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        /* jansson's text quotes what stands near the error: only its kind and place are told */
        return whorl_fail(fault, "", "not valid JSON at column %d", error.column);
    }
    bool ok = record_from_root(root, this_year, out, fault);
    json_decref(root);
    return ok;
}

/* ------------------------------------------------------------------ records in parts */

static const char *const class_names[PNC_CLASSES] = {"details",      "circulations", "bail",
                                                     "disqualified", "warnings",     "markers"};

const char *pnc_class_name(enum pnc_class part)
{
    return class_names[part];
}

static enum pnc_class class_of(const char *field, size_t len)
{
    for (enum pnc_class part = PNC_DETAILS + 1; part < PNC_CLASSES; part++) {
        if (strlen(class_names[part]) == len && memcmp(class_names[part], field, len) == 0) {
            return part;
        }
    }
    return PNC_DETAILS;
}

/* The pairs of a record that is being put together. */
struct assembly {
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    uint32_t pairs;
};

static void keep_base(struct assembly *to, const struct pnc_record *base, unsigned classes)
{
    const msgpack_object_map *map = &base->msg.root.via.map;
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object_str *name = &map->ptr[i].key.via.str;
        if ((classes & 1u << class_of(name->ptr, name->size)) != 0) {
            continue;
        }
        msgpack_pack_object(&to->pk, map->ptr[i].key);
        msgpack_pack_object(&to->pk, map->ptr[i].val);
        to->pairs++;
    }
}

/* The details' fields stand in the record itself. */
static bool take_details(struct assembly *to, json_t *details, struct whorl_fault *fault)
{
    const char *name;
    json_t *value;
    if (!json_is_object(details)) {
        return whorl_fail(fault, "details", "must be an object");
    }
    json_object_foreach(details, name, value)
    {
        if (class_of(name, strlen(name)) != PNC_DETAILS || strcmp(name, "pncid") == 0 ||
            strcmp(name, "cro") == 0) {
            return whorl_fail(fault, "details", "must hold no field that has a column of its own");
        }
        msgpack_pack_str_with_body(&to->pk, name, strlen(name));
        if (!pack_json(&to->pk, value, 2)) {
            return whorl_fail(fault, "details", "lists and objects nest too deep");
        }
        to->pairs++;
    }
    return true;
}

static bool take_class(struct assembly *to, enum pnc_class part, const char *text,
                       struct whorl_fault *fault)
{
    const char *name = class_names[part];
    size_t len = strlen(text);
    json_error_t error;
    if (len > PNC_LINE_MAX) {
        return whorl_fail(fault, name, "is longer than %zu bytes", PNC_LINE_MAX);
    }
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        return whorl_fail(fault, name, "not valid JSON at column %d", error.column);
    }
    bool ok;
    if (part == PNC_DETAILS) {
        ok = take_details(to, json, fault);
    } else {
        msgpack_pack_str_with_body(&to->pk, name, strlen(name));
        ok = pack_json(&to->pk, json, 2) ||
             whorl_fail(fault, name, "lists and objects nest too deep");
        to->pairs++;
    }
    json_decref(json);
    return ok;
}

static bool take_identifiers(struct assembly *to, const struct pnc_row *row, int this_year,
                             struct whorl_fault *fault)
{
    char canonical[PNC_ID_CAP];
    struct whorl_fault bad = {{0}, {0}};
    if (!pnc_pncid_read(row->pncid, this_year, canonical, &bad)) {
        return whorl_fail(fault, "pncid", "%s", bad.text);
    }
    whorl_put_str(&to->pk, "pncid", canonical);
    to->pairs++;
    if (row->cro == NULL) {
        return true;
    }
    if (!pnc_cro_read(row->cro, canonical, &bad)) {
        return whorl_fail(fault, "cro", "%s", bad.text);
    }
    whorl_put_str(&to->pk, "cro", canonical);
    to->pairs++;
    return true;
}

static bool assemble(struct assembly *to, const struct pnc_row *row, unsigned classes,
                     const struct pnc_record *base, int this_year, struct whorl_fault *fault)
{
    if (base != NULL) {
        keep_base(to, base, classes);
    }
    if ((classes & 1u << PNC_DETAILS) != 0 && !take_identifiers(to, row, this_year, fault)) {
        return false;
    }
    for (enum pnc_class part = PNC_DETAILS; part < PNC_CLASSES; part++) {
        if ((classes & 1u << part) != 0 && row->json[part] != NULL &&
            !take_class(to, part, row->json[part], fault)) {
            return false;
        }
    }
    return true;
}

bool pnc_record_from_row(const struct pnc_row *row, unsigned classes, const struct pnc_record *base,
                         int this_year, struct pnc_record *out, struct whorl_fault *fault)
{
    struct assembly pairs = {.pairs = 0}, whole = {.pairs = 0};
    msgpack_sbuffer_init(&pairs.buffer);
    msgpack_packer_init(&pairs.pk, &pairs.buffer, msgpack_sbuffer_write);
    msgpack_sbuffer_init(&whole.buffer);
    msgpack_packer_init(&whole.pk, &whole.buffer, msgpack_sbuffer_write);
    bool ok = assemble(&pairs, row, classes, base, this_year, fault);
    if (ok) {
        msgpack_pack_map(&whole.pk, pairs.pairs);
        if (msgpack_sbuffer_write(&whole.buffer, pairs.buffer.data, pairs.buffer.size) != 0) {
            ok = whorl_fail(fault, "", "out of memory");
        }
    }
    ok = ok &&
         pnc_record_from_bytes((const uint8_t *)whole.buffer.data, whole.buffer.size, out, fault);
    msgpack_sbuffer_destroy(&pairs.buffer);
    msgpack_sbuffer_destroy(&whole.buffer);
    return ok;
}

/* ------------------------------------------------------------------ stored records */

bool pnc_record_from_bytes(const uint8_t *bytes, size_t len, struct pnc_record *out,
                           struct whorl_fault *fault)
{
    *out = (struct pnc_record){.len = len};
    if (len == 0 || len > PNC_LINE_MAX) {
        return whorl_fail(fault, "", "a record must have 1 to %zu bytes", PNC_LINE_MAX);
    }
    out->bytes = malloc(len);
    if (out->bytes == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    memcpy(out->bytes, bytes, len);
    bool ok = whorl_msg_parse(out->bytes, len, &out->msg, fault);
    if (ok && out->msg.root.type != MSGPACK_OBJECT_MAP) {
        ok = whorl_fail(fault, "", "must be an object");
    }
    if (ok) {
        ok = check_object(&out->msg.root, record_rules, COUNT_OF(record_rules), fault);
    }
    if (!ok) {
        pnc_record_release(out);
        return false;
    }
    whorl_str_copy(whorl_map_get(&out->msg.root, "pncid"), out->pncid, sizeof(out->pncid));
    whorl_str_copy(whorl_map_get(&out->msg.root, "cro"), out->cro, sizeof(out->cro));
    return true;
}

void pnc_record_release(struct pnc_record *record)
{
    whorl_msg_release(&record->msg);
    free(record->bytes);
    *record = (struct pnc_record){0};
}

/* ------------------------------------------------------------------ names */

/* The plain letters of U+00C0 to U+017F (Latin-1 Supplement and Latin Extended-A), in order; a
 * space stands for none. Two-letter ones are told apart below. */
static const char latin[] = "AAAAAAACEEEEIIIIDNOOOOO OUUUUYTS"
                            "AAAAAAACEEEEIIIIDNOOOOO OUUUUYTY"
                            "AAAAAACCCCCCCCDDDDEEEEEEEEEEGGGG"
                            "GGGGHHHHIIIIIIIIIIIIJJKKKLLLLLLL"
                            "LLLNNNNNNNNNOOOOOOOORRRRRRSSSSSS"
                            "SSTTTTTTUUUUUUUUUUUUWWYYYZZZZZZS";
_Static_assert(sizeof(latin) - 1 == 0x180 - 0xc0, "one letter each");

/* The second letter of those that are written with two. */
static char second_letter(unsigned character)
{
    switch (character) {
    case 0xc6:
    case 0xe6:
    case 0x152:
    case 0x153:
        return 'E';
    case 0xde:
    case 0xfe:
        return 'H';
    case 0xdf:
        return 'S';
    case 0x132:
    case 0x133:
        return 'J';
    default:
        return '\0';
    }
}

static void add(char *key, size_t cap, size_t *at, char c)
{
    if (c != '\0' && c != ' ' && *at + 1 < cap) {
        key[(*at)++] = c;
    }
}

static bool parts_words(char c)
{
    return c == ' ' || c == '-' || c == '.' || c == ',';
}

/* Appends a name's letters; of the given names only the first word. Letters beyond Latin stay as
 * they are. */
static void fold(const char *text, bool first_word, char *key, size_t cap, size_t *at)
{
    size_t start = *at;
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (first_word && *at > start && parts_words((char)*p)) {
            break;
        }
        unsigned wide = (*p & 0xe0) == 0xc0 ? (*p & 0x1fu) << 6 | (p[1] & 0x3fu) : 0;
        if (wide >= 0xc0 && wide < 0x180) {
            add(key, cap, at, latin[wide - 0xc0]);
            add(key, cap, at, second_letter(wide));
            p++;
        } else if (*p >= 'a' && *p <= 'z') {
            add(key, cap, at, (char)(*p - 'a' + 'A'));
        } else if ((*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p >= 0x80) {
            add(key, cap, at, (char)*p);
        }
    }
}

void pnc_name_key(const char *family, const char *given, const char *born, char key[PNC_KEY_CAP])
{
    size_t at = 0;
    fold(family, false, key, PNC_KEY_CAP - 16, &at);
    bool some = at > 0;
    key[at++] = '|';
    size_t after_family = at;
    fold(given, true, key, PNC_KEY_CAP - 14, &at);
    some = some && at > after_family;
    snprintf(key + at, PNC_KEY_CAP - at, "|%.10s", born);
    if (!some) {
        key[0] = '\0';
    }
}

/* ------------------------------------------------------------------ what a record is found by */

static void name_key_of(const msgpack_object *name, const char *born, char key[PNC_KEY_CAP])
{
    char family[101], given[101], own[16];
    whorl_str_copy(whorl_map_get(name, "family"), family, sizeof(family));
    whorl_str_copy(whorl_map_get(name, "given"), given, sizeof(given));
    if (whorl_str_copy(whorl_map_get(name, "born"), own, sizeof(own))) {
        born = own;
    }
    key[0] = '\0';
    if (born[0] != '\0') {
        pnc_name_key(family, given, born, key);
    }
}

int pnc_record_keys(const struct pnc_record *record,
                    int (*each)(void *arg, enum pnc_key by, const char *key), void *arg)
{
    char born[16], key[PNC_KEY_CAP];
    const msgpack_object *root = &record->msg.root, *aliases = whorl_map_get(root, "aliases");
    uint32_t others = aliases != NULL ? aliases->via.array.size : 0;
    whorl_str_copy(whorl_map_get(root, "born"), born, sizeof(born));
    int rc = each(arg, PNC_BY_PNCID, record->pncid);
    if (rc == 0 && record->cro[0] != '\0') {
        rc = each(arg, PNC_BY_CRO, record->cro);
    }
    for (uint32_t i = 0; rc == 0 && i <= others; i++) {
        name_key_of(i == 0 ? whorl_map_get(root, "name") : &aliases->via.array.ptr[i - 1], born,
                    key);
        if (key[0] != '\0') {
            rc = each(arg, PNC_BY_NAME, key);
        }
    }
    return rc;
}

struct wanted {
    enum pnc_key by;
    const char *key;
};

static int is_wanted(void *arg, enum pnc_key by, const char *key)
{
    const struct wanted *wanted = arg;
    return by == wanted->by && strcmp(key, wanted->key) == 0;
}

bool pnc_record_has_key(const struct pnc_record *record, enum pnc_key by, const char *key)
{
    struct wanted wanted = {by, key};
    return pnc_record_keys(record, is_wanted, &wanted) != 0;
}
