#include "cli/source/fill.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gallery/copy.h"
#include "whorl/msg.h"

#define PAGE 1024u

static const char people_copy[] = "COPY whorl.people (id, identifiers, names, born, sex, details, "
                                  "source, enrolled, expires) FROM STDIN";
static const char prints_copy[] =
    "COPY whorl.prints (person, position, impression, format, template) FROM STDIN";

/* COPY's text format (PostgreSQL, COPY, File Formats): tabs between columns, \N for NULL. */
static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
}

static void put_json(FILE *out, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    put_text(out, text ? text : "null");
    free(text);
    json_decref(json);
}

static void put_or_null(FILE *out, const char *text)
{
    if (text[0]) {
        put_text(out, text);
    } else {
        fputs("\\N", out);
    }
}

static void put_time(FILE *out, int64_t seconds)
{
    char text[40];
    time_t when = (time_t)seconds;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S+00", &tm);
    fputs(text, out);
}

static void put_person(FILE *out, const struct gallery_person *person)
{
    json_t *identifiers = json_object(), *names = json_array(), *details = json_array();
    for (size_t i = 0; i < person->identifier_count; i++) {
        json_object_set_new(identifiers, person->identifiers[i].key,
                            json_string(person->identifiers[i].value));
    }
    for (size_t i = 0; i < person->name_count; i++) {
        json_array_append_new(names, json_pack("{s:s,s:s}", "family", person->names[i].family,
                                               "given", person->names[i].given));
    }
    for (size_t i = 0; i < person->detail_count; i++) {
        const struct gallery_detail *detail = &person->details[i];
        json_array_append_new(details, json_pack("{s:s,s:s,s:s}", "label", detail->label, "value",
                                                 detail->value, "level", detail->level));
    }
    put_text(out, person->id);
    fputc('\t', out);
    put_json(out, identifiers);
    fputc('\t', out);
    put_json(out, names);
    fputc('\t', out);
    put_or_null(out, person->born);
    fputc('\t', out);
    put_or_null(out, person->sex);
    fputc('\t', out);
    put_json(out, details);
    fputc('\t', out);
    put_text(out, person->source);
    fputc('\t', out);
    put_time(out, person->enrolled);
    fputc('\t', out);
    if (person->expires) {
        put_time(out, person->expires);
    } else {
        fputs("\\N", out);
    }
    fputc('\n', out);
}

static void put_prints(FILE *out, const struct gallery_person *person)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < person->print_count; i++) {
        const struct gallery_print *print = &person->prints[i];
        put_text(out, person->id);
        fprintf(out, "\t%u\t%u\twhorl\t\\\\x", print->position, print->impression);
        for (size_t k = 0; k < print->len; k++) {
            fputc(hex[print->packed[k] >> 4], out);
            fputc(hex[print->packed[k] & 15], out);
        }
        fputc('\n', out);
    }
}

struct filling {
    const struct pg_ask *ask;
    struct gallery *gallery;
    void (*put)(FILE *out, const struct gallery_person *person);
    change_people *telling; /* NULL: these people have been told of */
    void (*shown)(void *ctx, uint64_t people);
    void *ctx;
    uint64_t people;
};

static bool tell(const struct filling *filling, struct gallery_person *const *people, size_t count,
                 struct whorl_fault *fault)
{
    struct changed_person told[PAGE];
    for (size_t i = 0; i < count; i++) {
        told[i] = (struct changed_person){.id = people[i]->id, .source = people[i]->source};
    }
    return filling->telling == NULL || filling->telling(filling->ctx, told, count, fault);
}

/* Writes a page of people behind `after`, which becomes its last. */
static bool send_page(struct filling *filling, char after[GALLERY_ID_MAX + 1], size_t *count,
                      struct whorl_fault *fault)
{
    struct gallery_person *people[PAGE];
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    bool ok = out != NULL || whorl_fail(fault, "", "out of memory");
    *count = 0;
    ok = ok && gallery_next(filling->gallery, after, people, PAGE, count, fault) &&
         tell(filling, people, *count, fault);
    for (size_t i = 0; i < *count; i++) {
        if (ok) {
            filling->put(out, people[i]);
            snprintf(after, GALLERY_ID_MAX + 1, "%s", people[i]->id);
        }
        gallery_person_free(people[i]);
    }
    if (out && fclose(out) != 0) {
        ok = whorl_fail(fault, "", "out of memory");
    }
    PGconn *conn = pg_link_conn(filling->ask->link);
    if (ok && PQputCopyData(conn, text, (int)len) != 1) {
        ok = pg_result_fail(NULL, "write people", fault);
    }
    free(text);
    return ok;
}

static bool copy_in(struct filling *filling, const char *sql, struct whorl_fault *fault)
{
    char after[GALLERY_ID_MAX + 1] = "";
    PGconn *conn = pg_link_conn(filling->ask->link);
    PGresult *result = conn ? PQexec(conn, sql) : NULL;
    bool ok =
        PQresultStatus(result) == PGRES_COPY_IN || pg_result_fail(result, "write people", fault);
    PQclear(result);
    filling->people = 0;
    for (size_t count = PAGE; ok && count == PAGE;) {
        ok = send_page(filling, after, &count, fault);
        filling->people += count;
        if (ok && filling->shown) {
            filling->shown(filling->ctx, filling->people);
        }
    }
    if (!ok) {
        return false;
    }
    if (PQputCopyEnd(conn, NULL) != 1) {
        return pg_result_fail(NULL, "write people", fault);
    }
    result = pg_ask_wait(filling->ask, "write people", fault);
    PQclear(result);
    return result != NULL;
}

bool source_fill(const struct pg_ask *ask, struct gallery *gallery, change_people *telling,
                 void (*shown)(void *ctx, uint64_t people), void *ctx, uint64_t *people,
                 struct whorl_fault *fault)
{
    struct filling filling = {.ask = ask, .gallery = gallery, .telling = telling, .ctx = ctx};
    PGconn *conn = pg_link_conn(ask->link);
    *people = 0;
    if (!conn || PQsetnonblocking(conn, 0) != 0) {
        return pg_result_fail(NULL, "write people", fault);
    }
    PGresult *begun = pg_ask(ask, "BEGIN", NULL, 0, "begin", fault);
    PQclear(begun);
    if (!begun) {
        return false;
    }
    filling.put = put_person;
    if (!copy_in(&filling, people_copy, fault)) {
        return false;
    }
    filling.put = put_prints;
    filling.telling = NULL;
    filling.shown = shown;
    if (!copy_in(&filling, prints_copy, fault)) {
        return false;
    }
    PGresult *done = pg_ask(ask, "COMMIT", NULL, 0, "commit", fault);
    PQclear(done);
    *people = filling.people;
    return done != NULL;
}
