/* People from somebody else's database: a row is read whole or refused by the name of its column,
 * names in the settings never become SQL, and a copy's mark is neither lost nor overwritten. */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "gallery/copy.h"
#include "gallery_people.h"
#include "plugins/source/postgresql/mark.h"
#include "plugins/source/postgresql/row.h"
#include "run_suite.h"

/* ------------------------------------------------------------------ rows */

static struct pg_arena arena;
static struct gallery_person person;
static struct whorl_fault fault;
static uint8_t prints[64000];
static size_t prints_len;

static void add_part(const void *bytes, size_t len)
{
    uint32_t size = htonl((uint32_t)len);
    memcpy(prints + prints_len, &size, 4);
    memcpy(prints + prints_len + 4, bytes, len);
    prints_len += 4 + len;
}

static void add_print(const char *head, const void *bytes, size_t len)
{
    add_part(head, strlen(head));
    add_part(bytes, len);
}

/* A template as the database has it: packed, or as a record. */
static size_t make_template(bool iso, uint8_t position, uint8_t *bytes)
{
    struct afis_template tmpl;
    size_t len;
    people_finger(7, 0, position, &tmpl);
    enum afis_status status = iso ? afis_template_to_iso(&tmpl, bytes, AFIS_RECORD_MAX, &len)
                                  : afis_template_pack(&tmpl, bytes, AFIS_PACKED_MAX, &len);
    ck_assert_int_eq(status, AFIS_OK);
    return len;
}

static struct pg_row good_row(void)
{
    static const char *const values[PG_COLUMNS] = {
        [PG_ID] = "K1",
        [PG_GONE] = "f",
        [PG_IDENTIFIERS] = "{\"pncid\": \"2008/0056560Z\"}",
        [PG_NAMES] = "[{\"family\": \"O'Brien\", \"given\": \"Zo\u00eb\"}]",
        [PG_BORN] = "1990-02-28",
        [PG_SEX] = "female",
        [PG_DETAILS] = "[{\"label\": \"l\", \"value\": \"v\", \"level\": \"alert\"}]",
        [PG_SOURCE] = "custody",
        [PG_ENROLLED] = "2020-01-02 03:04:05.678+00",
        [PG_EXPIRES] = "2030-01-01",
    };
    struct pg_row row = {.len = {0}};
    uint8_t bytes[AFIS_RECORD_MAX];
    for (int i = 0; i < PG_COLUMNS; i++) {
        row.value[i] = values[i] ? values[i] : "";
        row.len[i] = (int)strlen(row.value[i]);
    }
    prints_len = 0;
    add_print("2 0 whorl", bytes, make_template(false, 2, bytes));
    add_print("7 0 iso19794-2", bytes, make_template(true, 7, bytes));
    row.value[PG_PRINTS] = (const char *)prints;
    row.len[PG_PRINTS] = (int)prints_len;
    return row;
}

static enum pg_row_kind read_row(const struct pg_row *row)
{
    pg_arena_release(&arena);
    fault = (struct whorl_fault){{0}, {0}};
    return pg_row_read(row, &arena, &person, &fault);
}

static void set(struct pg_row *row, enum pg_column column, const char *value)
{
    row->value[column] = value;
    row->len[column] = (int)strlen(value);
}

START_TEST(a_good_row_is_a_person)
{
    struct pg_row row = good_row();
    ck_assert_msg(read_row(&row) == PG_ROW_PERSON, "%s %s", fault.where, fault.text);
    ck_assert_str_eq(person.id, "K1");
    ck_assert_str_eq(person.identifiers[0].value, "2008/0056560Z");
    ck_assert_str_eq(person.names[0].family, "O'Brien");
    ck_assert_str_eq(person.details[0].level, "alert");
    ck_assert_int_eq(person.enrolled, 1577934245);
    ck_assert_int_eq(person.expires, 1893456000);
    ck_assert_uint_eq(person.print_count, 2);
    ck_assert_uint_eq(person.prints[1].position, 7);
    struct gallery_person first = person;
    struct pg_arena kept = arena;
    arena = (struct pg_arena){NULL};
    ck_assert(read_row(&row) == PG_ROW_PERSON);
    ck_assert(pg_person_same(&first, &person));
    pg_arena_release(&kept);
}
END_TEST

START_TEST(what_is_missing_in_a_row_is_not_known)
{
    struct pg_row row = good_row();
    for (int i = PG_IDENTIFIERS; i < PG_PRINTS; i++) {
        row.len[i] = -1;
    }
    ck_assert_msg(read_row(&row) == PG_ROW_PERSON, "%s %s", fault.where, fault.text);
    ck_assert_str_eq(person.born, "");
    ck_assert_int_eq(person.expires, 0);
    ck_assert_uint_eq(person.name_count, 0);
    set(&row, PG_EXPIRES, "1970-01-01"); /* long ago, not never */
    ck_assert(read_row(&row) == PG_ROW_PERSON);
    ck_assert_int_eq(person.expires, 1);
    set(&row, PG_EXPIRES, "infinity");
    set(&row, PG_BORN, "1990-02-28 00:00:00");
    set(&row, PG_NAMES, "[{\"family\": \"\"}, {\"given\": \"Al\"}]");
    ck_assert(read_row(&row) == PG_ROW_PERSON);
    ck_assert_str_eq(person.born, "1990-02-28");
    ck_assert_uint_eq(person.name_count, 1);
}
END_TEST

START_TEST(who_is_deleted_or_has_no_print_is_gone)
{
    struct pg_row row = good_row();
    set(&row, PG_GONE, "t");
    ck_assert(read_row(&row) == PG_ROW_GONE);
    row = good_row();
    row.len[PG_PRINTS] = -1;
    ck_assert(read_row(&row) == PG_ROW_GONE);
    row.len[PG_PRINTS] = 0;
    ck_assert(read_row(&row) == PG_ROW_GONE);
}
END_TEST

static const struct {
    enum pg_column column;
    const char *value, *where;
} bad[] = {
    {PG_ID, "", "id"},
    {PG_ID, "a\nb", "id"},
    {PG_IDENTIFIERS, "[]", "identifiers"},
    {PG_IDENTIFIERS, "{\"pncid\": 5}", "identifiers"},
    {PG_IDENTIFIERS, "{\"pncid\": \"a\", \"pncid\": \"b\"}", "identifiers"},
    {PG_IDENTIFIERS, "{\"PNC\": \"a\"}", "identifiers"},
    {PG_IDENTIFIERS, "{\"pncid\": \"\"}", "pncid"},
    {PG_IDENTIFIERS, "{\"pncid\": \"a\"", "identifiers"},
    {PG_IDENTIFIERS, "{\"pncid\": \"\\u0000\"}", "identifiers"},
    {PG_NAMES, "{}", "names"},
    {PG_NAMES, "[1]", "names"},
    {PG_NAMES, "[{\"family\": 1}]", "names"},
    {PG_NAMES, "[{\"first\": \"a\"}]", "names"},
    {PG_NAMES, "[{\"family\": \"\\u0007\"}]", "names.family"},
    {PG_DETAILS, "[{\"label\": \"l\", \"value\": \"v\"}]", "details.level"},
    {PG_DETAILS, "[{\"label\": \"l\", \"value\": \"v\", \"level\": \"loud\"}]", "details.level"},
    {PG_DETAILS, "[[[[", "details"},
    {PG_BORN, "28.02.1990", "born"},
    {PG_BORN, "1990-02-30", "born"},
    {PG_BORN, "4713-01-01 BC", "born"},
    {PG_BORN, "infinity", "born"},
    {PG_SEX, "F", "sex"},
    {PG_SOURCE, "\xff", "source"},
    {PG_ENROLLED, "yesterday", "enrolled"},
    {PG_ENROLLED, "infinity", "enrolled"},
    {PG_ENROLLED, "2020-01-02 03:04:05+01", "enrolled"},
    {PG_ENROLLED, "2020-13-02", "enrolled"},
    {PG_ENROLLED, "202", "enrolled"},
    {PG_ENROLLED, "2020/01-02", "enrolled"},
    {PG_ENROLLED, "2020-x1-02", "enrolled"},
    {PG_ENROLLED, "2020-01/02", "enrolled"},
    {PG_ENROLLED, "2020-01-0", "enrolled"},
    {PG_ENROLLED, "2020-01-02 3:04:05", "enrolled"},
    {PG_ENROLLED, "2020-01-02 03.04:05", "enrolled"},
    {PG_ENROLLED, "2020-01-02 03:4:05", "enrolled"},
    {PG_ENROLLED, "2020-01-02 03:04", "enrolled"},
    {PG_ENROLLED, "2020-01-02 03:04:5", "enrolled"},
    {PG_ENROLLED, "2020-01-02T03:04:05", "enrolled"},
    {PG_EXPIRES, "-infinity", "expires"},
    {PG_EXPIRES, "1969-01-01", "expires"},
};

START_TEST(a_bad_value_is_refused_by_the_name_of_its_column)
{
    struct pg_row row = good_row();
    set(&row, bad[_i].column, bad[_i].value);
    ck_assert_msg(read_row(&row) == PG_ROW_BAD, "taken: %s", bad[_i].value);
    ck_assert_str_eq(fault.where, bad[_i].where);
    ck_assert(bad[_i].value[0] == '\0' || !strstr(fault.text, bad[_i].value));
}
END_TEST

START_TEST(a_text_with_a_nul_in_it_is_refused)
{
    struct pg_row row = good_row();
    row.value[PG_SOURCE] = "a\0b";
    row.len[PG_SOURCE] = 3;
    ck_assert(read_row(&row) == PG_ROW_BAD);
    ck_assert_str_eq(fault.where, "source");
}
END_TEST

START_TEST(bad_prints_are_refused)
{
    static const struct {
        const char *head;
        size_t len; /* of the template; 0: whole */
        const char *where;
    } cases[] = {{"2 0 wsq", 0, "prints.format"},     {"11 0 whorl", 0, "prints"},
                 {"-1 0 whorl", 0, "prints"},         {"2 256 whorl", 0, "prints"},
                 {"2 x whorl", 0, "prints"},          {"2 0", 0, "prints"},
                 {"2 0 whorl", 1, "prints.template"}, {"2 0 iso19794-2", 0, "prints.template"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pg_row row = good_row();
        uint8_t bytes[AFIS_PACKED_MAX];
        size_t len = make_template(false, 2, bytes);
        prints_len = 0;
        add_print(cases[i].head, bytes, cases[i].len ? cases[i].len : len);
        row.len[PG_PRINTS] = (int)prints_len;
        ck_assert_msg(read_row(&row) == PG_ROW_BAD, "taken: %s", cases[i].head);
        ck_assert_str_eq(fault.where, cases[i].where);
    }
}
END_TEST

START_TEST(prints_cut_anywhere_are_refused)
{
    struct pg_row row = good_row();
    int whole = row.len[PG_PRINTS];
    uint32_t first;
    memcpy(&first, prints, 4);
    uint32_t head = 4 + ntohl(first), template;
    memcpy(&template, prints + head, 4);
    int one = (int)(head + 4 + ntohl(template)); /* where the first print ends */
    for (row.len[PG_PRINTS] = 1; row.len[PG_PRINTS] < whole; row.len[PG_PRINTS]++) {
        ck_assert(read_row(&row) == (row.len[PG_PRINTS] == one ? PG_ROW_PERSON : PG_ROW_BAD));
    }
}
END_TEST

START_TEST(impressions_that_are_not_told_apart_are_numbered)
{
    struct pg_row row = good_row();
    uint8_t bytes[AFIS_PACKED_MAX];
    size_t len = make_template(false, 2, bytes);
    prints_len = 0;
    for (unsigned i = 0; i < GALLERY_PRINTS_MAX; i++) {
        add_print("2 - whorl", bytes, len);
    }
    row.len[PG_PRINTS] = (int)prints_len;
    ck_assert_msg(read_row(&row) == PG_ROW_PERSON, "%s %s", fault.where, fault.text);
    ck_assert_uint_eq(person.prints[GALLERY_PRINTS_MAX - 1].impression, GALLERY_PRINTS_MAX - 1);
    add_print("2 - whorl", bytes, len);
    row.len[PG_PRINTS] = (int)prints_len;
    ck_assert(read_row(&row) == PG_ROW_BAD);
}
END_TEST

/* `count` times the same, in brackets. */
static void set_many(struct pg_row *row, enum pg_column column, const char *one, size_t count,
                     bool numbered, char *text, size_t cap)
{
    size_t used = (size_t)snprintf(text, cap, "%c", numbered ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        used += (size_t)(numbered ? snprintf(text + used, cap - used, "%s\"k%zu\": %s",
                                             i ? "," : "", i, one)
                                  : snprintf(text + used, cap - used, "%s%s", i ? "," : "", one));
    }
    snprintf(text + used, cap - used, "%c", numbered ? '}' : ']');
    set(row, column, text);
}

START_TEST(what_is_longer_than_any_person_has_is_refused_before_it_is_read)
{
    static char text[400000];
    struct pg_row row = good_row();
    set_many(&row, PG_IDENTIFIERS, "\"a\"", 65, true, text, sizeof text);
    ck_assert_int_eq(read_row(&row), PG_ROW_BAD);
    ck_assert_str_eq(fault.where, "identifiers");
    ck_assert_str_eq(fault.text, "holds too many");
    row = good_row();
    set_many(&row, PG_NAMES, "{\"family\": \"a\"}", 65, false, text, sizeof text);
    ck_assert_int_eq(read_row(&row), PG_ROW_BAD);
    ck_assert_str_eq(fault.text, "holds too many");
    row = good_row();
    memset(text, ' ', sizeof text - 1);
    set(&row, PG_DETAILS, text);
    ck_assert_int_eq(read_row(&row), PG_ROW_BAD);
    ck_assert_str_eq(fault.where, "details");
    ck_assert_str_eq(fault.text, "is too long");
}
END_TEST

START_TEST(templates_without_bytes_or_with_too_many_and_heads_too_long_are_refused)
{
    static uint8_t much[PG_TEMPLATE_MAX + 1];
    static const struct {
        const char *head;
        size_t len;
        const char *where;
    } cases[] = {
        {"2 0 whorl", 0, "prints.template"},
        {"2 0 whorl", sizeof much, "prints.template"},
        {"2 0 whorl                                                        ", 1, "prints"},
        {"2 1000 whorl", 1, "prints"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pg_row row = good_row();
        prints_len = 0;
        add_print(cases[i].head, much, cases[i].len);
        row.len[PG_PRINTS] = (int)prints_len;
        ck_assert_int_eq(read_row(&row), PG_ROW_BAD);
        ck_assert_str_eq(fault.where, cases[i].where);
    }
}
END_TEST

/* A row that can't be read now can be read later: it is not the row that is bad. */
START_TEST(without_memory_a_row_is_neither_taken_nor_called_bad)
{
    struct pg_row row = good_row();
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++) {
        pg_arena_release(&arena);
        fault = (struct whorl_fault){{0}, {0}};
        failing_on();
        enum pg_row_kind kind = pg_row_read(&row, &arena, &person, &fault);
        const char *failed = failing_off();
        ck_assert_msg(kind == (failed ? PG_ROW_NO_MEMORY : PG_ROW_PERSON), "%s: %d %s: %s", failed,
                      (int)kind, fault.where, fault.text);
    }
    ck_assert_uint_gt(rounds, 2);
}
END_TEST

/* ------------------------------------------------------------------ comparing */

static const struct {
    enum pg_column column;
    const char *value;
} others[] = {
    {PG_ID, "K2"},
    {PG_IDENTIFIERS, ""},
    {PG_IDENTIFIERS, "{\"cro\": \"2008/0056560Z\"}"},
    {PG_IDENTIFIERS, "{\"pncid\": \"2009/0056560Z\"}"},
    {PG_NAMES, ""},
    {PG_NAMES, "[{\"family\": \"O'Brian\", \"given\": \"Zo\u00eb\"}]"},
    {PG_NAMES, "[{\"family\": \"O'Brien\", \"given\": \"Zoe\"}]"},
    {PG_BORN, "1990-02-27"},
    {PG_SEX, "male"},
    {PG_DETAILS, ""},
    {PG_DETAILS, "[{\"label\": \"m\", \"value\": \"v\", \"level\": \"alert\"}]"},
    {PG_DETAILS, "[{\"label\": \"l\", \"value\": \"w\", \"level\": \"alert\"}]"},
    {PG_DETAILS, "[{\"label\": \"l\", \"value\": \"v\", \"level\": \"info\"}]"},
    {PG_SOURCE, "border"},
    {PG_ENROLLED, "2020-01-02 03:04:06+00"},
    {PG_EXPIRES, "2030-01-02"},
};

static bool same_after(void (*change)(struct pg_row *row, size_t with), size_t with)
{
    struct pg_row row = good_row();
    static uint8_t first_prints[sizeof prints];
    memcpy(first_prints, prints, prints_len); /* whose templates the first person points to */
    row.value[PG_PRINTS] = (const char *)first_prints;
    ck_assert_int_eq(read_row(&row), PG_ROW_PERSON);
    struct gallery_person first = person;
    struct pg_arena kept = arena;
    arena = (struct pg_arena){NULL};
    row = good_row();
    change(&row, with);
    ck_assert_msg(read_row(&row) == PG_ROW_PERSON, "%zu: %s: %s", with, fault.where, fault.text);
    bool same = pg_person_same(&first, &person);
    ck_assert_int_eq(same, pg_person_same(&person, &first));
    pg_arena_release(&kept);
    return same;
}

static void change_nothing(struct pg_row *row, size_t with)
{
    (void)row, (void)with;
}

static void change_column(struct pg_row *row, size_t with)
{
    set(row, others[with].column, others[with].value);
}

/* 0: the first print alone; 1: another impression; 2: another position; 3: another template. */
static void change_print(struct pg_row *row, size_t with)
{
    uint8_t bytes[AFIS_RECORD_MAX];
    prints_len = 0;
    add_print(with == 1 ? "2 1 whorl" : "2 0 whorl", bytes, make_template(false, 2, bytes));
    if (with == 2) {
        add_print("8 0 iso19794-2", bytes, make_template(true, 8, bytes));
    } else if (with == 3) {
        struct afis_template tmpl;
        size_t len;
        people_finger(9, 0, 7, &tmpl);
        ck_assert_int_eq(afis_template_pack(&tmpl, bytes, AFIS_PACKED_MAX, &len), AFIS_OK);
        add_print("7 0 whorl", bytes, len);
    } else if (with == 1) {
        add_print("7 0 iso19794-2", bytes, make_template(true, 7, bytes));
    }
    row->len[PG_PRINTS] = (int)prints_len;
}

START_TEST(people_who_differ_in_anything_are_not_the_same)
{
    ck_assert(same_after(change_nothing, 0));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert_msg(!same_after(change_column, i), "%s", others[i].value);
    }
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(!same_after(change_print, i), "print %zu", i);
    }
}
END_TEST

/* ------------------------------------------------------------------ names */

struct fake {
    struct whorl_settings settings;
    const char *people, *prints, *removed, *channel, *columns[24];
    int64_t compare_every;
    const char *why; /* it is refused; NULL: any */
};

static const char *fake_string(const struct whorl_settings *settings, const char *force,
                               const char *name)
{
    const struct fake *fake = settings->ctx;
    (void)force;
    return strcmp(name, "people_table") == 0    ? fake->people
           : strcmp(name, "prints_table") == 0  ? fake->prints
           : strcmp(name, "removed_table") == 0 ? fake->removed
           : strcmp(name, "channel") == 0       ? fake->channel
                                                : NULL;
}

static int64_t fake_integer(const struct whorl_settings *settings, const char *force,
                            const char *name)
{
    const struct fake *fake = settings->ctx;
    (void)force;
    return strcmp(name, "compare_every") == 0 ? fake->compare_every : 60;
}

static const char *fake_item(const struct whorl_settings *settings, const char *force,
                             const char *name, size_t index)
{
    const struct fake *fake = settings->ctx;
    (void)force;
    return strcmp(name, "columns") == 0 && index < 24 ? fake->columns[index] : NULL;
}

static struct pg_mapping *read_mapping(struct fake *fake)
{
    fake->settings = (struct whorl_settings){.size = sizeof fake->settings,
                                             .ctx = fake,
                                             .string = fake_string,
                                             .integer = fake_integer,
                                             .item = fake_item};
    fault = (struct whorl_fault){{0}, {0}};
    return pg_mapping_read(&fake->settings, &fault);
}

#define P "whorl.people"
#define R "whorl.prints"
#define X "whorl.removed"
#define C "whorl_people"
#define OURS .people = P, .prints = R, .removed = X, .channel = C
#define OTHERS(p, r, x, c) .people = p, .prints = r, .removed = x, .channel = c
#define LEAST                                                                                      \
    "id=ref", "version=v", "prints.person=ref", "prints.position=finger", "prints.template=fmr"

#define BY_TIME                                                                                    \
    "id=ref", "changed=at", "prints.person=ref", "prints.position=finger", "prints.template=fmr"
#define DELETED OTHERS(P, R, "", C)
#define GONE "deleted=gone"

START_TEST(names_are_quoted_and_make_another_copy)
{
    struct fake ours = {OURS},
                other = {OURS, .columns = {LEAST, "removed.id=r", "removed.version=v"}};
    struct pg_mapping *a = read_mapping(&ours), *b = read_mapping(&other);
    ck_assert_msg(a && b, "%s %s", fault.where, fault.text);
    ck_assert_str_eq(a->tables[0], "\"whorl\".\"people\"");
    ck_assert_str_eq(a->listen, "LISTEN \"whorl_people\"");
    ck_assert(strstr(b->page, "p.\"ref\"::text COLLATE \"C\" > $1"));
    ck_assert(!strstr(b->page, "\"names\""));
    ck_assert_str_ne(a->digest, b->digest);
    pg_mapping_free(a);
    pg_mapping_free(b);
}
END_TEST

static struct fake refused[] = {
    {OTHERS("people", R, X, C)},
    {OTHERS("a.b.c", R, X, C)},
    {OTHERS("a.\"b\"", R, X, C)},
    {OTHERS("a.b; DROP TABLE x", R, X, C)},
    {OTHERS("a.9b", R, X, C)},
    {OTHERS(P, "a.", X, C)},
    {OTHERS(P, R, "removed", C)},
    {OTHERS(P, R, X, "a\"; DROP")},
    {OURS, .columns = {"id=ref"}},
    {OURS, .columns = {LEAST, "id=twice"}},
    {OURS, .columns = {LEAST, "nonsense=x"}},
    {OURS, .columns = {LEAST, "sex"}},
    {OURS, .columns = {LEAST, "sex="}},
    {OURS, .columns = {LEAST, "sex=a b"}},
    {OURS, .columns = {LEAST, "sex=a\"b"}},
    {OURS, .columns = {LEAST, "identifier.=x"}},
    {OURS, .columns = {LEAST, "identifier.PNC=x"}},
    {OURS, .columns = {LEAST, "identifier.a'b=x"}},
    {OURS, .columns = {LEAST, "changed=x"}},
    {OURS, .columns = {LEAST, "names=n", "family=f"}},
    {OURS, .columns = {LEAST}},
    {OURS, .columns = {LEAST, "removed.id=r"},
     .why = "removed_table needs removed.id and removed.version"},
    {OURS, .columns = {LEAST, "removed.id=r", "removed.version=v", "removed.changed=c"},
     .why = "removed_table needs removed.id and removed.version"},
    {OURS, .columns = {BY_TIME, "removed.id=r", "removed.version=v"},
     .why = "removed_table needs removed.id and removed.changed"},
    {OTHERS(P, R, "", C), .columns = {LEAST}},
    {DELETED, .columns = {LEAST, GONE, "names=n", "given=g"},
     .why = "names are in names, or in family and given"},
    {DELETED, .columns = {LEAST, GONE, "identifiers=i", "identifier.cro=c"},
     .why = "identifiers are in identifiers, or each in its identifier.KEY"},
    {DELETED, .columns = {LEAST, GONE, "identifier.cro="},
     .why = "\"identifier.cro=\" names no column"},
    {DELETED, .columns = {LEAST, GONE, "identifier.abcdefghijklmnopqrstuvwxyz0123456=c"}},
    {OTHERS("whorl.a234567890123456789012345678901234567890123456789012345678901234567890", R, X,
            C)},
};

START_TEST(a_mapping_with_a_mistake_is_refused)
{
    ck_assert(read_mapping(&refused[_i]) == NULL);
    if (refused[_i].why) {
        ck_assert_str_eq(fault.text, refused[_i].why);
    }
    ck_assert_str_ne(fault.where, "");
    ck_assert_str_ne(fault.text, "");
}
END_TEST

START_TEST(removals_may_be_seen_in_any_of_three_ways)
{
    struct fake compare = {OTHERS(P, R, "", C), .columns = {LEAST}, .compare_every = 24};
    struct fake flag = {OTHERS(P, R, "", C), .columns = {LEAST, "deleted=gone"}};
    struct pg_mapping *mapping = read_mapping(&compare);
    ck_assert_msg(mapping != NULL, "%s", fault.text);
    ck_assert(mapping->gone == NULL);
    pg_mapping_free(mapping);
    mapping = read_mapping(&flag);
    ck_assert_msg(mapping != NULL, "%s", fault.text);
    pg_mapping_free(mapping);
}
END_TEST

START_TEST(names_and_identifiers_may_have_columns_of_their_own)
{
    struct fake fake = {
        DELETED, .columns = {LEAST, GONE, "family=last", "identifier.pncid=p", "identifier.cro=c"}};
    struct pg_mapping *mapping = read_mapping(&fake);
    ck_assert_msg(mapping != NULL, "%s: %s", fault.where, fault.text);
    ck_assert(strstr(mapping->people, "'family', coalesce(p.\"last\"::text, ''), 'given', "
                                      "coalesce('', '')"));
    ck_assert(strstr(mapping->people, "'pncid', nullif(p.\"p\"::text, ''), 'cro', "
                                      "nullif(p.\"c\"::text, '')"));
    struct fake other = {
        DELETED, .columns = {LEAST, GONE, "given=first", "identifier.pncid=p", "identifier.cro=d"}};
    struct pg_mapping *second = read_mapping(&other);
    ck_assert_msg(second != NULL, "%s: %s", fault.where, fault.text);
    ck_assert(strstr(second->people, "'family', coalesce('', ''), 'given', "
                                     "coalesce(p.\"first\"::text, '')"));
    ck_assert_str_ne(mapping->digest, second->digest);
    pg_mapping_free(mapping);
    pg_mapping_free(second);
}
END_TEST

START_TEST(changes_may_be_told_by_their_time)
{
    struct fake fake = {OTHERS(P, R, X, ""),
                        .columns = {BY_TIME, "removed.id=r", "removed.changed=t"}};
    struct pg_mapping *mapping = read_mapping(&fake);
    ck_assert_msg(mapping != NULL, "%s: %s", fault.where, fault.text);
    ck_assert(strstr(mapping->people, "p.\"at\" >= $1::timestamptz"));
    ck_assert(strstr(mapping->gone, ".\"t\" >= $1::timestamptz"));
    ck_assert_ptr_null(mapping->listen);
    pg_mapping_free(mapping);
}
END_TEST

static struct pg_mapping *mapped;
static struct fake whole = {OURS};

static void nothing(void)
{
}

static bool map(void)
{
    mapped = read_mapping(&whole);
    return mapped != NULL;
}

static void release_mapping(bool done)
{
    (void)done;
    pg_mapping_free(mapped);
}

START_TEST(a_mapping_is_read_whole_or_its_fault_is_told)
{
    static const struct failing_deed deed = {"read the mapping", nothing, map, release_mapping,
                                             NULL};
    failing_try(&deed, &fault);
}
END_TEST

/* ------------------------------------------------------------------ marks */

static struct pg_mark *new_mark(void)
{
    struct pg_mark *mark = calloc(1, sizeof *mark);
    ck_assert_ptr_nonnull(mark);
    strcpy(mark->database, "7/5");
    strcpy(mark->place, "people at db");
    strcpy(mark->mapping, "abc");
    strcpy(mark->position, "10:20:10,15");
    mark->timeline = 3;
    mark->whole = mark->pass = true;
    mark->agreed = 1700000000;
    strcpy(mark->after, "K\001");
    mark->done = 5;
    mark->of = 9;
    mark->overflow = PG_OVERFLOW;
    pg_mark_add_unreadable(mark, "a");
    pg_mark_add_unreadable(mark, "b\377");
    return mark;
}

START_TEST(a_mark_is_read_as_it_was_packed_and_no_part_of_it_is)
{
    struct pg_mark *mark = new_mark(), *read = malloc(sizeof *read);
    msgpack_sbuffer bytes;
    msgpack_sbuffer_init(&bytes);
    pg_mark_pack(mark, &bytes);
    ck_assert_msg(pg_mark_read((uint8_t *)bytes.data, bytes.size, read, &fault), "%s %s",
                  fault.where, fault.text);
    ck_assert_int_eq(memcmp(mark, read, sizeof *mark), 0);
    for (size_t len = 0; len < bytes.size; len++) {
        ck_assert(!pg_mark_read((uint8_t *)bytes.data, len, read, &fault));
    }
    msgpack_sbuffer_destroy(&bytes);
    free(mark);
    free(read);
}
END_TEST

START_TEST(who_cannot_be_read_is_counted_once_and_forgotten_by_range)
{
    struct pg_mark *mark = new_mark();
    pg_mark_add_unreadable(mark, "a");
    ck_assert_uint_eq(pg_mark_missing(mark), 2);
    pg_mark_drop_range(mark, "a", NULL);
    ck_assert_uint_eq(pg_mark_missing(mark), 1);
    pg_mark_drop_range(mark, "", "A");
    ck_assert_uint_eq(pg_mark_missing(mark), 1);
    pg_mark_drop_unreadable(mark, "a");
    ck_assert_uint_eq(pg_mark_missing(mark), 0);
    mark->overflow = PG_OVERFLOW_NONE;
    for (unsigned i = 0; i <= PG_UNREADABLE_MAX; i++) {
        char id[16];
        ck_assert_int_eq(mark->overflow, PG_OVERFLOW_NONE);
        snprintf(id, sizeof id, "%u", i);
        pg_mark_add_unreadable(mark, id);
    }
    ck_assert_int_eq(mark->overflow, PG_OVERFLOW);
    pg_mark_begin_pass(mark, 1, 0);
    ck_assert_uint_eq(pg_mark_missing(mark), 0);
    pg_mark_end_pass(mark, 1);
    ck_assert_int_eq(mark->overflow, PG_OVERFLOW_NONE);
    free(mark);
}
END_TEST

static enum gallery_applied apply(struct gallery *gallery, const struct gallery_person *people,
                                  size_t count, struct gallery_mark *before, const char *text)
{
    struct gallery_mark after;
    const struct gallery_change change = {.people = people,
                                          .count = count,
                                          .before = before,
                                          .mark = (const uint8_t *)text,
                                          .mark_len = strlen(text)};
    enum gallery_applied applied = gallery_apply(gallery, &change, &after, &fault);
    if (applied == GALLERY_APPLIED) {
        gallery_mark_release(before);
        *before = after;
    }
    return applied;
}

START_TEST(a_mark_is_never_written_over_what_others_did)
{
    char dir[64];
    static struct test_person one, two;
    struct gallery_mark mine, theirs, now;
    people_mkdir(dir);
    people_make(&one, 1, 2);
    people_make(&two, 2, 2);
    struct gallery *gallery = gallery_open(dir, WHORL_STORE_WRITE, &fault);
    ck_assert_ptr_nonnull(gallery);
    ck_assert(gallery_mark_read(gallery, &mine, &fault));
    ck_assert(mine.len == 0 && mine.untouched);
    ck_assert_int_eq(apply(gallery, &one.person, 1, &mine, "first"), GALLERY_APPLIED);
    ck_assert(gallery_mark_read(gallery, &theirs, &fault));
    ck_assert(theirs.len == 5 && theirs.untouched && theirs.stamp == mine.stamp);

    /* Another one writes; what I read before is not true any more. */
    ck_assert_int_eq(apply(gallery, NULL, 0, &theirs, "second"), GALLERY_APPLIED);
    ck_assert_int_eq(apply(gallery, &two.person, 1, &mine, "third"), GALLERY_APPLY_LATE);
    struct gallery_counts counts;
    ck_assert(gallery_count(gallery, &counts, &fault));
    ck_assert_uint_eq(counts.people, 1);

    /* Somebody changes people without a mark. */
    ck_assert(gallery_put(gallery, &two.person, 1, NULL, &fault));
    ck_assert_int_eq(apply(gallery, &two.person, 1, &theirs, "fourth"), GALLERY_APPLY_LATE);
    ck_assert(gallery_mark_read(gallery, &now, &fault));
    ck_assert(!now.untouched);
    ck_assert_int_eq(apply(gallery, NULL, 0, &now, "fifth"), GALLERY_APPLIED);
    gallery_mark_release(&now);
    ck_assert(gallery_mark_read(gallery, &now, &fault) && now.untouched);
    gallery_mark_release(&mine);
    gallery_mark_release(&theirs);
    gallery_mark_release(&now);
    gallery_close(gallery);
    people_rmdir(dir);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source_rows");
    TCase *rows = tcase_create("rows"), *names = tcase_create("names"),
          *marks = tcase_create("marks");
    tcase_add_test(rows, a_good_row_is_a_person);
    tcase_add_test(rows, what_is_missing_in_a_row_is_not_known);
    tcase_add_test(rows, who_is_deleted_or_has_no_print_is_gone);
    tcase_add_loop_test(rows, a_bad_value_is_refused_by_the_name_of_its_column, 0,
                        sizeof bad / sizeof *bad);
    tcase_add_test(rows, a_text_with_a_nul_in_it_is_refused);
    tcase_add_test(rows, bad_prints_are_refused);
    tcase_add_test(rows, prints_cut_anywhere_are_refused);
    tcase_add_test(rows, impressions_that_are_not_told_apart_are_numbered);
    tcase_add_test(rows, what_is_longer_than_any_person_has_is_refused_before_it_is_read);
    tcase_add_test(rows, templates_without_bytes_or_with_too_many_and_heads_too_long_are_refused);
    tcase_add_test(rows, without_memory_a_row_is_neither_taken_nor_called_bad);
    tcase_add_test(rows, people_who_differ_in_anything_are_not_the_same);
    tcase_add_test(names, names_are_quoted_and_make_another_copy);
    tcase_add_loop_test(names, a_mapping_with_a_mistake_is_refused, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(names, removals_may_be_seen_in_any_of_three_ways);
    tcase_add_test(names, names_and_identifiers_may_have_columns_of_their_own);
    tcase_add_test(names, changes_may_be_told_by_their_time);
    tcase_add_test(names, a_mapping_is_read_whole_or_its_fault_is_told);
    tcase_add_test(marks, a_mark_is_read_as_it_was_packed_and_no_part_of_it_is);
    tcase_add_test(marks, who_cannot_be_read_is_counted_once_and_forgotten_by_range);
    tcase_add_test(marks, a_mark_is_never_written_over_what_others_did);
    suite_add_tcase(suite, rows);
    suite_add_tcase(suite, names);
    suite_add_tcase(suite, marks);
    int code = run_suite(suite);
    pg_arena_release(&arena);
    return code;
}
