/* PNC records in somebody else's PostgreSQL: questions by key, many in flight on one connection.
 *
 * A thread of its own owns the connection and sends questions in libpq's pipeline mode, as they
 * come. A question that is in flight when the connection is lost is asked once more on the next
 * one. While there is none, questions wait, but no longer than a second from the loss on: then they
 * are answered at once that there is no answer. A server that says nothing for 3 s while something
 * is in flight counts as lost.
 *
 * What a row says is believed only if it makes a valid record (records.h) that has the key asked
 * for. A table without any rows is no answer either: it is not known that nobody has a key. */
#ifndef PLUGINS_PNC_DATABASE_H
#define PLUGINS_PNC_DATABASE_H

#include "plugins/pnc/cache.h"
#include "plugins/source/postgresql/connect.h"

/* Settings: the table, and the columns' names where they are not those below. */
#define PNC_DATABASE_SETTINGS                                                                      \
    PG_SETTINGS,                                                                                   \
        {"records_table",                                                                          \
         WHORL_SETTING_STRING,                                                                     \
         0,                                                                                        \
         "whorl.pnc_people",                                                                       \
         0,                                                                                        \
         127,                                                                                      \
         "the database's table or view of PNC records, \"schema.table\""},                         \
    {                                                                                              \
        "columns", WHORL_SETTING_LIST, 0, NULL, 0, 0,                                              \
            "what its columns are called where not as in Whorl's own table, "                      \
            "\"circulations=circs\""                                                               \
    }

struct pnc_database;

enum pnc_outcome {
    PNC_ANSWERED, /* news: everybody who has the key, perhaps nobody */
    PNC_SILENT,   /* the database can't be asked: *fault says why */
    PNC_WRONG     /* what it says can't be used: *fault says what, without a value */
};

/* A question. Zero it, set the first part, and leave it alone until it is answered. */
struct pnc_question {
    enum pnc_key by;
    char key[PNC_KEY_CAP];
    unsigned classes; /* PNC_ALL_CLASSES, or by PNCID the classes of base that are to be renewed */
    struct pnc_record base;               /* released when the question is answered */
    struct pnc_moment asked[PNC_CLASSES]; /* when base's classes were asked for */
    int64_t until_ms;                     /* answered by then (CLOCK_MONOTONIC) */
    bool (*unwanted)(const struct pnc_question *question); /* nobody waits for it any more */
    void (*answered)(struct pnc_question *question); /* the database's thread; must not block */
    void *arg;

    enum pnc_outcome outcome;
    struct pnc_news *news; /* the receiver's to free */
    struct whorl_fault fault;

    struct pnc_question *next; /* the database's own from here on */
    unsigned times;            /* sent */
};

/* Validates the settings. false with *fault. Does not connect. */
bool pnc_database_check(const struct whorl_settings *settings, struct whorl_fault *fault);

/* Starts the thread, which begins to connect. now_of: whose clock dates the answers. NULL with
 * *fault. */
struct pnc_database *pnc_database_open(const struct whorl_host *host,
                                       const struct pnc_cache *now_of, struct whorl_fault *fault);

/* Ends the thread. No question may be open. Waits a second at most for a host's name that is being
 * looked up: the thread then ends by itself, later, and touches nothing of the host's or the
 * cache's.
 */
void pnc_database_close(struct pnc_database *database);

/* Asks a list of questions (by next). Any thread; never blocks. */
void pnc_database_ask(struct pnc_database *database, struct pnc_question *questions);

#endif
