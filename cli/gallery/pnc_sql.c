/* PNC records as a script for psql: a COPY into a table that goes with the session, and from there
 * into Whorl's own. */
#include "cli/gallery/pnc_sql.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS "pncid, cro, details, circulations, bail, disqualified, warnings, markers"

/* ------------------------------------------------------------------ JSON */

/* A valid record holds texts, lists and maps alone. */
static json_t *json_of(const msgpack_object *object)
{
    json_t *json = NULL;
    if (object->type == MSGPACK_OBJECT_STR) {
        return json_stringn(object->via.str.ptr, object->via.str.size);
    }
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        json = json_array();
        for (uint32_t i = 0; i < object->via.array.size; i++) {
            json_array_append_new(json, json_of(&object->via.array.ptr[i]));
        }
    } else if (object->type == MSGPACK_OBJECT_MAP) {
        json = json_object();
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            const msgpack_object_kv *pair = &object->via.map.ptr[i];
            json_object_setn_new(json, pair->key.via.str.ptr, pair->key.via.str.size,
                                 json_of(&pair->val));
        }
    }
    return json;
}

/* A value of COPY's text format (PostgreSQL, COPY): backslashes doubled, \N for none. Records hold
 * no control characters, nor does compact JSON. */
static bool put_json(FILE *out, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    putc('\t', out);
    if (text == NULL) {
        fputs("\\N", out);
    }
    for (const char *at = text; at != NULL && *at != '\0'; at++) {
        if (*at == '\\') {
            putc('\\', out);
        }
        putc(*at, out);
    }
    free(text);
    return text != NULL || json == NULL;
}

/* ------------------------------------------------------------------ the script */

void pnc_sql_begin(FILE *out)
{
    fputs("BEGIN;\n"
          "CREATE TEMPORARY TABLE pnc_new (line bigserial, pncid text, cro text, details jsonb, "
          "circulations jsonb, bail jsonb, disqualified jsonb, warnings jsonb, markers jsonb) "
          "ON COMMIT DROP;\n"
          "COPY pnc_new (" COLUMNS ") FROM STDIN;\n",
          out);
}

bool pnc_sql_record(FILE *out, const struct pnc_record *record)
{
    json_t *details = json_of(&record->msg.root);
    json_object_del(details, "pncid");
    json_object_del(details, "cro");
    json_t *parts[PNC_CLASSES] = {details};
    for (enum pnc_class part = PNC_DETAILS + 1; part < PNC_CLASSES; part++) {
        parts[part] = json_incref(json_object_get(details, pnc_class_name(part)));
        json_object_del(details, pnc_class_name(part));
    }
    fprintf(out, "%s\t%s", record->pncid, record->cro[0] != '\0' ? record->cro : "\\N");
    bool ok = details != NULL;
    for (enum pnc_class part = PNC_DETAILS; part < PNC_CLASSES; part++) {
        ok = put_json(out, parts[part]) && ok;
        json_decref(parts[part]);
    }
    putc('\n', out);
    return ok;
}

void pnc_sql_end(FILE *out)
{
    fputs("\\.\n"
          "INSERT INTO whorl.pnc_people (" COLUMNS ") SELECT DISTINCT ON (pncid) " COLUMNS
          " FROM pnc_new ORDER BY pncid, line DESC ON CONFLICT (pncid) DO UPDATE SET "
          "cro = excluded.cro, details = excluded.details, circulations = excluded.circulations, "
          "bail = excluded.bail, disqualified = excluded.disqualified, "
          "warnings = excluded.warnings, markers = excluded.markers;\n"
          "COMMIT;\n",
          out);
}
