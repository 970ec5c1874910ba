#include "plugins/source/postgresql/mapping.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "whorl/msg.h"

#define IDENTIFIER_MAX 63u  /* bytes of a name in PostgreSQL */
#define IDENTIFIERS_MAX 16u /* a person's, see gallery_person_valid */
#define QUOTED_MAX (2 * (IDENTIFIER_MAX + 2) + 2)

/* What a column is for. The first four may be missing in pairs: see complete. */
enum field {
    VERSION,
    CHANGED,
    REMOVED_VERSION,
    REMOVED_CHANGED,
    ID,
    DELETED,
    IDENTIFIERS,
    NAMES,
    FAMILY,
    GIVEN,
    BORN,
    SEX,
    DETAILS,
    SOURCE,
    ENROLLED,
    EXPIRES,
    PRINT_PERSON,
    PRINT_POSITION,
    PRINT_IMPRESSION,
    PRINT_FORMAT,
    PRINT_TEMPLATE,
    REMOVED_ID,
    FIELDS
};

static const struct {
    const char *key, *own; /* own: the column's name in Whorl's own schema; NULL: it has none */
} fields[FIELDS] = {
    [VERSION] = {"version", "version"},
    [CHANGED] = {"changed", NULL},
    [REMOVED_VERSION] = {"removed.version", "version"},
    [REMOVED_CHANGED] = {"removed.changed", NULL},
    [ID] = {"id", "id"},
    [DELETED] = {"deleted", NULL},
    [IDENTIFIERS] = {"identifiers", "identifiers"},
    [NAMES] = {"names", "names"},
    [FAMILY] = {"family", NULL},
    [GIVEN] = {"given", NULL},
    [BORN] = {"born", "born"},
    [SEX] = {"sex", "sex"},
    [DETAILS] = {"details", "details"},
    [SOURCE] = {"source", "source"},
    [ENROLLED] = {"enrolled", "enrolled"},
    [EXPIRES] = {"expires", "expires"},
    [PRINT_PERSON] = {"prints.person", "person"},
    [PRINT_POSITION] = {"prints.position", "position"},
    [PRINT_IMPRESSION] = {"prints.impression", "impression"},
    [PRINT_FORMAT] = {"prints.format", "format"},
    [PRINT_TEMPLATE] = {"prints.template", "template"},
    [REMOVED_ID] = {"removed.id", "id"},
};

/* The names, quoted. */
struct names {
    char people[QUOTED_MAX], prints[QUOTED_MAX], removed[QUOTED_MAX]; /* removed "": none */
    char column[FIELDS][IDENTIFIER_MAX + 3];                          /* "": none */
    struct {
        char key[IDENTIFIER_MAX + 1], column[IDENTIFIER_MAX + 3];
    } identifiers[IDENTIFIERS_MAX];
    size_t identifier_count;
    long long longest; /* transaction, seconds */
};

/* ------------------------------------------------------------------ names */

/* Writes a name in double quotes. It may hold letters, digits, _ and $ alone: so the quotes are
 * enough, whatever the database's settings are. */
static bool quote(const char *name, size_t len, char *out)
{
    if (len == 0 || len > IDENTIFIER_MAX || (name[0] >= '0' && name[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool fits = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
                    (name[i] >= '0' && name[i] <= '9') || name[i] == '_' || name[i] == '$';
        if (!fits) {
            return false;
        }
    }
    snprintf(out, len + 3, "\"%.*s\"", (int)len, name);
    return true;
}

static bool read_table(const struct whorl_settings *settings, const char *setting, char *out,
                       struct whorl_fault *fault)
{
    const char *text = settings->string(settings, NULL, setting);
    const char *dot = strchr(text, '.');
    char schema[IDENTIFIER_MAX + 3], name[IDENTIFIER_MAX + 3];
    if (!dot || !quote(text, (size_t)(dot - text), schema) ||
        !quote(dot + 1, strlen(dot + 1), name)) {
        return whorl_fail(fault, setting,
                          "must be SCHEMA.NAME, each of letters, digits, _ and $, not \"%.80s\"",
                          text);
    }
    snprintf(out, QUOTED_MAX, "%s.%s", schema, name);
    return true;
}

static bool read_identifier(struct names *names, const char *item, size_t len,
                            struct whorl_fault *fault)
{
    static const char prefix[] = "identifier.";
    size_t before = sizeof prefix - 1, i = names->identifier_count;
    if (len <= before || len - before > 32 || i == IDENTIFIERS_MAX ||
        strspn(item + before, "abcdefghijklmnopqrstuvwxyz0123456789_") != len - before) {
        return whorl_fail(fault, "columns",
                          "identifier.KEY takes a key of a-z, 0-9 and _, and there may be %u",
                          IDENTIFIERS_MAX);
    }
    snprintf(names->identifiers[i].key, sizeof names->identifiers[i].key, "%.*s",
             (int)(len - before), item + before);
    if (!quote(item + len + 1, strlen(item + len + 1), names->identifiers[i].column)) {
        return whorl_fail(fault, "columns", "\"%.80s\" names no column", item);
    }
    names->identifier_count++;
    return true;
}

static bool read_column(struct names *names, const char *item, struct whorl_fault *fault)
{
    const char *sign = strchr(item, '=');
    if (!sign) {
        return whorl_fail(fault, "columns", "\"%.80s\" is not FIELD=COLUMN", item);
    }
    size_t len = (size_t)(sign - item);
    if (strncmp(item, "identifier.", 11) == 0) {
        return read_identifier(names, item, len, fault);
    }
    for (size_t i = 0; i < FIELDS; i++) {
        if (strlen(fields[i].key) != len || strncmp(fields[i].key, item, len) != 0) {
            continue;
        }
        if (names->column[i][0]) {
            return whorl_fail(fault, "columns", "%s is there twice", fields[i].key);
        }
        return quote(sign + 1, strlen(sign + 1), names->column[i]) ||
               whorl_fail(fault, "columns", "\"%.80s\" names no column", item);
    }
    return whorl_fail(fault, "columns", "there is no field \"%.*s\"", (int)(len < 80 ? len : 80),
                      item);
}

static bool complete(const struct names *names, struct whorl_fault *fault)
{
    static const enum field needed[] = {ID, PRINT_PERSON, PRINT_POSITION, PRINT_TEMPLATE};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!names->column[needed[i]][0]) {
            return whorl_fail(fault, "columns", "%s is missing", fields[needed[i]].key);
        }
    }
    bool version = names->column[VERSION][0], changed = names->column[CHANGED][0];
    if (version == changed) {
        return whorl_fail(fault, "columns",
                          "either version (of type xid8) or changed (a time) must be there");
    }
    if (names->removed[0] && (!names->column[REMOVED_ID][0] ||
                              !names->column[version ? REMOVED_VERSION : REMOVED_CHANGED][0] ||
                              names->column[version ? REMOVED_CHANGED : REMOVED_VERSION][0])) {
        return whorl_fail(fault, "columns", "removed_table needs removed.id and removed.%s",
                          version ? "version" : "changed");
    }
    if (names->column[NAMES][0] && (names->column[FAMILY][0] || names->column[GIVEN][0])) {
        return whorl_fail(fault, "columns", "names are in names, or in family and given");
    }
    if (names->column[IDENTIFIERS][0] && names->identifier_count > 0) {
        return whorl_fail(fault, "columns",
                          "identifiers are in identifiers, or each in its identifier.KEY");
    }
    return true;
}

static bool read_names(const struct whorl_settings *settings, struct names *names,
                       struct whorl_fault *fault)
{
    *names = (struct names){.identifier_count = 0};
    names->longest = settings->integer(settings, NULL, "longest_transaction");
    if (!read_table(settings, "people_table", names->people, fault) ||
        !read_table(settings, "prints_table", names->prints, fault) ||
        (settings->string(settings, NULL, "removed_table")[0] &&
         !read_table(settings, "removed_table", names->removed, fault))) {
        return false;
    }
    const char *item = settings->item(settings, NULL, "columns", 0);
    for (size_t i = 0; !item && i < FIELDS; i++) {
        if (fields[i].own) {
            quote(fields[i].own, strlen(fields[i].own), names->column[i]);
        }
    }
    for (size_t i = 0; item; item = settings->item(settings, NULL, "columns", ++i)) {
        if (!read_column(names, item, fault)) {
            return false;
        }
    }
    if (names->removed[0] == '\0' && names->column[DELETED][0] == '\0' &&
        settings->integer(settings, NULL, "compare_every") == 0) {
        return whorl_fail(fault, "removed_table",
                          "is \"\" and columns has no deleted: then only comparing shows who was "
                          "removed, and compare_every must be set");
    }
    return complete(names, fault);
}

/* ------------------------------------------------------------------ statements */

/* What is printed into `out` becomes *text. */
struct writer {
    FILE *out;
    char *text;
    size_t len;
    const struct names *names;
};

static bool begin_text(struct writer *w)
{
    w->text = NULL;
    w->out = open_memstream(&w->text, &w->len);
    return w->out != NULL;
}

static char *end_text(struct writer *w)
{
    if (fclose(w->out) != 0) {
        free(w->text);
        w->text = NULL;
    }
    return w->text;
}

static bool by_time(const struct names *names)
{
    return names->column[CHANGED][0] != '\0';
}

/* The id of table `alias` as what it is ordered by: bytes, as LMDB does. */
static void put_id(struct writer *w, const char *alias, enum field field)
{
    fprintf(w->out, "%s.%s::text COLLATE \"C\"", alias, w->names->column[field]);
}

static void put_usable_id(struct writer *w)
{
    fprintf(w->out, "octet_length(p.%s::text) BETWEEN 1 AND 64", w->names->column[ID]);
}

/* A column as text; '' where there is none. */
static void put_column(struct writer *w, enum field field, unsigned most)
{
    if (w->names->column[field][0]) {
        fprintf(w->out, "left(p.%s::text, %u)", w->names->column[field], most);
    } else {
        fputs("''", w->out);
    }
}

static void put_now(struct writer *w)
{
    if (by_time(w->names)) {
        fprintf(w->out, "(statement_timestamp() - interval '%lld seconds')::text",
                w->names->longest);
    } else {
        fputs("pg_current_snapshot()::text", w->out);
    }
}

/* Committed since position $1. A version is the id of the transaction that wrote it: what that
 * snapshot did not see yet, whatever order transactions end in. Ids from the future are those of
 * another cluster, which this database was dumped from. */
static void put_since(struct writer *w, const char *alias, enum field version, enum field changed)
{
    const char *column = w->names->column[by_time(w->names) ? changed : version];
    if (by_time(w->names)) {
        fprintf(w->out, "%s.%s >= $1::timestamptz", alias, column);
    } else {
        fprintf(w->out,
                "%s.%s >= pg_snapshot_xmin($1::pg_snapshot) AND NOT "
                "pg_visible_in_snapshot(%s.%s, $1::pg_snapshot) AND %s.%s < "
                "pg_snapshot_xmax(pg_current_snapshot())",
                alias, column, alias, column, alias, column);
    }
}

static void put_identifiers(struct writer *w)
{
    const struct names *names = w->names;
    if (names->identifier_count == 0) {
        put_column(w, IDENTIFIERS, PG_JSON_MAX);
        return;
    }
    fputs("left((jsonb_strip_nulls(jsonb_build_object(", w->out);
    for (size_t i = 0; i < names->identifier_count; i++) {
        fprintf(w->out, "%s'%s', nullif(p.%s::text, '')", i ? ", " : "", names->identifiers[i].key,
                names->identifiers[i].column);
    }
    fprintf(w->out, ")))::text, %u)", PG_JSON_MAX);
}

static void put_names(struct writer *w)
{
    const char *family = w->names->column[FAMILY], *given = w->names->column[GIVEN];
    if (!family[0] && !given[0]) {
        put_column(w, NAMES, PG_JSON_MAX);
        return;
    }
    fprintf(w->out,
            "left(jsonb_build_array(jsonb_build_object('family', coalesce(%s%s%s, ''), 'given', "
            "coalesce(%s%s%s, '')))::text, %u)",
            family[0] ? "p." : "", family[0] ? family : "''", family[0] ? "::text" : "",
            given[0] ? "p." : "", given[0] ? given : "''", given[0] ? "::text" : "", PG_JSON_MAX);
}

/* All prints of a person in one value: the length of a head, the head "POSITION IMPRESSION FORMAT",
 * the length of the template, the template. One more than a person may have, so that it shows. They
 * are put in order where they are found, which an index does for nothing; the aggregate's own
 * sorting would cost more than all the rest. */
static void put_prints(struct writer *w)
{
    const struct names *names = w->names;
    const char *impression = names->column[PRINT_IMPRESSION], *format = names->column[PRINT_FORMAT];
    fputs(" LEFT JOIN LATERAL (SELECT string_agg(int4send(octet_length(h)) || h || "
          "int4send(octet_length(t)) || t, ''::bytea) AS prints FROM (SELECT "
          "convert_to(left(coalesce(x.",
          w->out);
    fprintf(w->out, "%s::text, '0'), 8) || ' ' || ", names->column[PRINT_POSITION]);
    if (impression[0]) {
        fprintf(w->out, "left(coalesce(x.%s::text, '-'), 8)", impression);
    } else {
        fputs("'-'", w->out);
    }
    fputs(" || ' ' || ", w->out);
    if (format[0]) {
        fprintf(w->out, "left(coalesce(x.%s::text, '-'), 32)", format);
    } else {
        fputs("'iso19794-2'", w->out);
    }
    const char *template = names->column[PRINT_TEMPLATE];
    fprintf(w->out,
            ", 'UTF8') AS h, CASE WHEN octet_length(x.%s) <= %u THEN x.%s ELSE ''::bytea END AS t "
            "FROM %s x WHERE x.%s = p.%s ORDER BY x.%s, x.%s LIMIT 41) y) g ON true",
            template, PG_TEMPLATE_MAX, template, names->prints, names->column[PRINT_PERSON],
            names->column[ID], names->column[PRINT_POSITION],
            impression[0] ? impression : template);
}

/* What a row shows, from what `put_from` gives as p; see enum pg_column. */
static void put_rows(struct writer *w, void (*put_from)(struct writer *w))
{
    const char *deleted = w->names->column[DELETED];
    fprintf(w->out, "SELECT p.%s::text, ", w->names->column[ID]);
    if (deleted[0]) {
        fprintf(w->out,
                "CASE WHEN coalesce(p.%s::text, 'false') IN ('false', '0') THEN 'f' ELSE 't' END, ",
                deleted);
    } else {
        fputs("'f', ", w->out);
    }
    put_identifiers(w);
    fputs(", ", w->out);
    put_names(w);
    static const enum field plain[] = {BORN, SEX, DETAILS, SOURCE, ENROLLED, EXPIRES};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        fputs(", ", w->out);
        put_column(w, plain[i], plain[i] == DETAILS ? PG_JSON_MAX : 1000);
    }
    fputs(", g.prints FROM (", w->out);
    put_from(w);
    fputs(") p", w->out);
    put_prints(w);
    fputs(" ORDER BY ", w->out);
    put_id(w, "p", ID);
}

static void put_page_from(struct writer *w)
{
    fprintf(w->out, "SELECT p.* FROM %s p WHERE ", w->names->people);
    put_id(w, "p", ID);
    fputs(" > $1 AND ", w->out);
    put_usable_id(w);
    fputs(" ORDER BY ", w->out);
    put_id(w, "p", ID);
    fprintf(w->out, " LIMIT %u", PG_PAGE);
}

/* OFFSET 0 keeps the planner from walking all people by id in search of the few that have changed:
 * the index on versions is what finds them. */
static void put_changed_from(struct writer *w)
{
    fprintf(w->out, "SELECT p.* FROM (SELECT p.* FROM %s p WHERE ", w->names->people);
    put_since(w, "p", VERSION, CHANGED);
    fputs(" OFFSET 0) p WHERE ", w->out);
    put_id(w, "p", ID);
    fputs(" > $2 AND ", w->out);
    put_usable_id(w);
    fputs(" ORDER BY ", w->out);
    put_id(w, "p", ID);
    fprintf(w->out, " LIMIT %u", PG_PAGE);
}

static void put_begin(struct writer *w)
{
    fputs("SELECT ", w->out);
    put_now(w);
    fputs(", count(*)::text, (count(*) - count(*) FILTER (WHERE ", w->out);
    put_usable_id(w);
    fprintf(w->out, "))::text FROM %s p", w->names->people);
}

static void put_poll(struct writer *w)
{
    fputs("SELECT ", w->out);
    put_now(w);
    fputs(", a.n::text, a.bad::text, b.n::text, (", w->out);
    fputs(by_time(w->names) ? "$1::timestamptz <= statement_timestamp()"
                            : "pg_snapshot_xmax($1::pg_snapshot) <= "
                              "pg_snapshot_xmax(pg_current_snapshot())",
          w->out);
    fputs(")::text FROM (SELECT count(*) AS n, count(*) - count(*) FILTER (WHERE ", w->out);
    put_usable_id(w);
    fprintf(w->out, ") AS bad FROM (SELECT p.%s FROM %s p WHERE ", w->names->column[ID],
            w->names->people);
    put_since(w, "p", VERSION, CHANGED);
    fprintf(w->out, " LIMIT %u) p) a, ", PG_CHANGES_MAX + 1);
    if (!w->names->removed[0]) {
        fputs("(SELECT 0 AS n) b", w->out);
        return;
    }
    fprintf(w->out, "(SELECT count(*) AS n FROM (SELECT FROM %s r WHERE ", w->names->removed);
    put_since(w, "r", REMOVED_VERSION, REMOVED_CHANGED);
    fprintf(w->out, " LIMIT %u) r) b", PG_CHANGES_MAX + 1);
}

/* Who came back is in the table of people again, whatever that of the removed says. */
static void put_gone(struct writer *w)
{
    fputs("SELECT DISTINCT ", w->out);
    put_id(w, "r", REMOVED_ID);
    fprintf(w->out, " AS id FROM (SELECT r.* FROM %s r WHERE ", w->names->removed);
    put_since(w, "r", REMOVED_VERSION, REMOVED_CHANGED);
    fputs(" OFFSET 0) r WHERE ", w->out);
    put_id(w, "r", REMOVED_ID);
    const char *id = w->names->column[REMOVED_ID];
    fprintf(w->out,
            " > $2 AND octet_length(r.%s::text) BETWEEN 1 AND 64 AND NOT EXISTS (SELECT FROM %s p "
            "WHERE p.%s = r.%s) ORDER BY id LIMIT %u",
            id, w->names->people, w->names->column[ID], id, PG_PAGE);
}

static void put_page(struct writer *w)
{
    put_rows(w, put_page_from);
}

static void put_people(struct writer *w)
{
    put_rows(w, put_changed_from);
}

static char *text_of(const struct names *names, void (*put)(struct writer *w))
{
    struct writer w = {.names = names};
    if (!begin_text(&w)) {
        return NULL;
    }
    put(&w);
    return end_text(&w);
}

/* What is read, whatever the statements look like: so that another version of them keeps the copy.
 */
static void put_what(struct writer *w)
{
    const struct names *names = w->names;
    fprintf(w->out, "%s\n%s\n%s\n", names->people, names->prints, names->removed);
    for (size_t i = 0; i < FIELDS; i++) {
        fprintf(w->out, "%s=%s\n", fields[i].key, names->column[i]);
    }
    for (size_t i = 0; i < names->identifier_count; i++) {
        fprintf(w->out, "%s=%s\n", names->identifiers[i].key, names->identifiers[i].column);
    }
}

static bool digest(struct pg_mapping *mapping, const struct names *names)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    char *what = text_of(names, put_what);
    bool ok = what && EVP_Digest(what, strlen(what), md, NULL, EVP_sha256(), NULL) == 1;
    free(what);
    for (size_t i = 0; ok && i < 32; i++) {
        snprintf(mapping->digest + 2 * i, 3, "%02x", md[i]);
    }
    return ok;
}

static bool make(struct pg_mapping *mapping, const struct names *names, const char *channel)
{
    mapping->tables[0] = strdup(names->people);
    mapping->tables[1] = strdup(names->prints);
    mapping->tables[2] = names->removed[0] ? strdup(names->removed) : NULL;
    mapping->begin = text_of(names, put_begin);
    mapping->page = text_of(names, put_page);
    mapping->poll = text_of(names, put_poll);
    mapping->people = text_of(names, put_people);
    mapping->gone = names->removed[0] ? text_of(names, put_gone) : NULL;
    if (channel[0] && asprintf(&mapping->listen, "LISTEN %s", channel) < 0) {
        mapping->listen = NULL;
        return false;
    }
    return mapping->tables[0] && mapping->tables[1] && mapping->begin && mapping->page &&
           mapping->poll && mapping->people &&
           (!names->removed[0] || (mapping->gone && mapping->tables[2])) && digest(mapping, names);
}

struct pg_mapping *pg_mapping_read(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    struct names *names = malloc(sizeof *names);
    struct pg_mapping *mapping = calloc(1, sizeof *mapping);
    const char *name = settings->string(settings, NULL, "channel");
    char channel[IDENTIFIER_MAX + 3] = "";
    bool ok = names && mapping ? read_names(settings, names, fault)
                               : whorl_fail(fault, "", "out of memory");
    if (ok && name[0] && !quote(name, strlen(name), channel)) {
        ok = whorl_fail(fault, "channel", "must be a name of letters, digits, _ and $");
    }
    if (ok && !make(mapping, names, channel)) {
        ok = whorl_fail(fault, "", "out of memory");
    }
    if (ok) {
        mapping->compare_every = (unsigned)settings->integer(settings, NULL, "compare_every");
    } else {
        pg_mapping_free(mapping);
        mapping = NULL;
    }
    free(names);
    return mapping;
}

void pg_mapping_free(struct pg_mapping *mapping)
{
    if (!mapping) {
        return;
    }
    char *const parts[] = {mapping->tables[0], mapping->tables[1], mapping->tables[2],
                           mapping->listen,    mapping->begin,     mapping->page,
                           mapping->poll,      mapping->people,    mapping->gone};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        free(parts[i]);
    }
    free(mapping);
}
