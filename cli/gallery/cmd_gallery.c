/* whorl gallery: what is in a gallery. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/day.h"
#include "cli/gallery/gallery_dir.h"
#include "cli/gallery/gallery_retire.h"
#include "gallery/decode.h"
#include "gallery/search.h"

#define LET_GO_MS 60000u /* that servers are given to change to a new index */

enum { OPT_GALLERY = 0x100 };

struct options {
    const char *dir, *gallery;
    char **ids;
    int id_count;
    bool wants_ids;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_GALLERY:
        o->gallery = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!o->wants_ids) {
            break;
        }
        return ARGP_ERR_UNKNOWN; /* have them all at once */
    case ARGP_KEY_ARGS:
        o->ids = state->argv + state->next;
        o->id_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!o->gallery || (o->wants_ids && o->id_count == 0)) {
            argp_error(state, o->gallery ? "no ID is given" : "--gallery NAME is missing");
        }
        break;
    default:
        break;
    }
    return parse_conf_dir(key, arg, state, &o->dir);
}

static void read_options(int argc, char **argv, const char *args_doc, const char *doc,
                         struct options *o)
{
    static const struct argp_option options_list[] = {
        CONF_DIR_OPTION,
        {"gallery", OPT_GALLERY, "NAME", 0, "The plugin whose gallery it is: ident1, immigration",
         0},
        {0},
    };
    const struct argp argp = {
        .options = options_list, .parser = parse, .args_doc = args_doc, .doc = doc};
    o->wants_ids = args_doc != NULL;
    argp_parse(&argp, argc, argv, 0, NULL, o);
}

static struct gallery *open_for(int argc, char **argv, const char *args_doc, const char *doc,
                                struct options *o)
{
    read_options(argc, argv, args_doc, doc, o);
    struct conf *conf = read_conf(o->dir);
    struct gallery *gallery =
        conf != NULL ? gallery_dir_open(conf, o->gallery, WHORL_STORE_READ) : NULL;
    conf_unref(conf);
    return gallery;
}

static void print_problem(void *ctx, const char *text)
{
    (void)ctx;
    puts(text);
}

static int run_check(int argc, char **argv)
{
    struct options o = {0};
    struct whorl_fault fault = {{0}, {0}};
    struct gallery_counts counts;
    size_t problems = 0;
    struct gallery *gallery =
        open_for(argc, argv, NULL,
                 "Reads the whole gallery and verifies checksums, templates, records and counts.\v"
                 "Exit status: 0 it is sound, 1 it is damaged, 2 wrong usage, 3 failure.",
                 &o);
    if (!gallery) {
        return EXIT_FAILED;
    }
    bool ok = gallery_check(gallery, print_problem, NULL, &problems, &fault) &&
              gallery_count(gallery, &counts, &fault);
    gallery_close(gallery);
    if (!ok) {
        return print_fault(&fault);
    }
    printf("%" PRIu64 " people, %" PRIu64 " prints, %" PRIu64 " blocks: ", counts.people,
           counts.prints, counts.blocks);
    if (problems == 0) {
        puts("sound");
    } else {
        printf("%zu problems\n", problems);
    }
    return problems == 0 ? EXIT_DONE : EXIT_NEGATIVE;
}

static int run_index(int argc, char **argv)
{
    struct options o = {0};
    struct whorl_fault fault = {{0}, {0}};
    struct gallery_counts counts;
    struct gallery *gallery = open_for(
        argc, argv, NULL,
        "Writes the gallery's search index into the file `segment` beside it, so that a server "
        "which starts can search at once. Everything in it comes from the gallery; a server works "
        "without the file, too, but has to read the whole gallery first. Also beside a running "
        "server.\vExit status: 0 done, 2 wrong usage, 3 failure.",
        &o);
    if (!gallery) {
        return EXIT_FAILED;
    }
    bool in_use;
    bool ok = gallery_index(gallery, LET_GO_MS, &in_use, &fault) &&
              gallery_count(gallery, &counts, &fault);
    gallery_close(gallery);
    if (!ok) {
        return print_fault(&fault);
    }
    printf("%" PRIu64 " people, %" PRIu64 " prints: indexed\n", counts.people, counts.prints);
    if (in_use) {
        printf(
            "The index that was replaced is still in use: it stays until the next one is written, "
            "or `whorl gallery purge`.\n");
    }
    return EXIT_DONE;
}

static bool list_person(void *ctx, const struct gallery_person *person)
{
    (void)ctx;
    printf("%s\t%zu prints", person->id, person->print_count);
    for (size_t i = 0; i < person->identifier_count; i++) {
        printf("\t%s %s", person->identifiers[i].key, person->identifiers[i].value);
    }
    if (person->name_count > 0) {
        printf("\t%s, %s", person->names[0].family, person->names[0].given);
    }
    putchar('\n');
    return !ferror(stdout);
}

static int run_list(int argc, char **argv)
{
    struct options o = {0};
    struct whorl_fault fault = {{0}, {0}};
    struct gallery *gallery =
        open_for(argc, argv, NULL, "Lists everyone in the gallery, a line each.", &o);
    if (!gallery) {
        return EXIT_FAILED;
    }
    bool ok = gallery_each(gallery, list_person, NULL, &fault);
    gallery_close(gallery);
    return ok ? EXIT_DONE : print_fault(&fault);
}

static void show_text(const char *label, const char *value)
{
    if (value[0]) {
        printf("  %-12s %s\n", label, value);
    }
}

static void show_person(const struct gallery_person *person)
{
    char enrolled[16] = "", expires[16] = "never";
    print_day(person->enrolled, enrolled);
    if (person->expires) {
        print_day(person->expires, expires);
    }
    printf("%s\n", person->id);
    for (size_t i = 0; i < person->identifier_count; i++) {
        show_text(person->identifiers[i].key, person->identifiers[i].value);
    }
    for (size_t i = 0; i < person->name_count; i++) {
        printf("  %-12s %s, %s\n", i ? "alias" : "name", person->names[i].family,
               person->names[i].given);
    }
    show_text("born", person->born);
    show_text("sex", person->sex);
    for (size_t i = 0; i < person->detail_count; i++) {
        printf("  %-12s %s (%s)\n", person->details[i].label, person->details[i].value,
               person->details[i].level);
    }
    show_text("source", person->source);
    show_text("enrolled", enrolled);
    show_text("expires", expires);
    for (size_t i = 0; i < person->print_count; i++) {
        printf("  %-12s %s, impression %u\n", "print",
               decode_position_name(person->prints[i].position), person->prints[i].impression);
    }
}

static int run_show(int argc, char **argv)
{
    struct options o = {0};
    struct whorl_fault fault = {{0}, {0}};
    int code = EXIT_DONE;
    struct gallery *gallery = open_for(argc, argv, "ID…",
                                       "Shows people of the gallery.\vExit status: 1 if one is not "
                                       "in it.",
                                       &o);
    if (!gallery) {
        return EXIT_FAILED;
    }
    for (int i = 0; i < o.id_count && code != EXIT_FAILED; i++) {
        struct gallery_person *person;
        if (!gallery_get(gallery, o.ids[i], false, &person, &fault)) {
            code = print_fault(&fault);
        } else if (!person) {
            fprintf(stderr, "whorl: %s: is not in the gallery\n", o.ids[i]);
            code = EXIT_NEGATIVE;
        } else {
            show_person(person);
            gallery_person_free(person);
        }
    }
    gallery_close(gallery);
    return code;
}

static int run_withdraw(int argc, char **argv)
{
    struct options o = {0};
    read_options(
        argc, argv, "ID…",
        "Ends the enrolment of people: from now on no search finds them, and purge removes "
        "them. Recorded in the audit log. Take them out of the manifest, too: enrolling "
        "it again enrols them again.\v"
        "Exit status: 0 done, 1 one was not in it, 2 wrong usage, 3 failure.",
        &o);
    return gallery_withdraw_people(o.dir, o.gallery, o.ids, o.id_count);
}

static int run_purge(int argc, char **argv)
{
    struct options o = {0};
    read_options(argc, argv, NULL,
                 "Removes everyone whose enrolment has expired or was withdrawn, overwrites what "
                 "the file held of them, reads back that they are gone and the gallery is sound, "
                 "and records it in the audit log. Also beside a running server.\v"
                 "Exit status: 0 done, 2 wrong usage, 3 failure.",
                 &o);
    return gallery_purge(o.dir, o.gallery);
}

int cmd_gallery(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"check", run_check, "verify all of it"},
        {"index", run_index, "write the file that makes a server ready at once"},
        {"list", run_list, "list everyone"},
        {"show", run_show, "show people"},
        {"withdraw", run_withdraw, "end the enrolment of people"},
        {"purge", run_purge, "remove who has expired or was withdrawn"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("gallery", commands, argc, argv);
}
