/* The PNC plugin over a real PostgreSQL: a database with people in it, a plugin that asks it, and
 * calls. tests/e2e/with_postgres.py says where the server is. */
#ifndef TESTS_PNC_WORLD_H
#define TESTS_PNC_WORLD_H

#include <libpq-fe.h>

#include "plugin_host.h"
#include "plugins/pnc/cache.h"

/* People in whorl.pnc_people: number i has PNCID 2000/iC, CRO number i/00C, is called Fi Gi (alias
 * Ai Gi) and was born on 1970-01-01. */
#define WORLD_PEOPLE 500u

struct pnc_world {
    char dir[64]; /* the plugin's */
    PGconn *owner;
    struct plugin_host *host; /* NULL until started */
    unsigned calls;
};

/* Makes the database's schema anew, fills it, and lets `reader` read it. */
void world_make(struct pnc_world *world);
void world_remove(struct pnc_world *world);

/* Runs SQL as the database's owner. */
void world_sql(struct pnc_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Starts the plugin with source = "postgresql"; more: further NAME, VALUE, …, NULL, or NULL. The
 * first that names a setting counts. */
void world_start(struct pnc_world *world, const char *const *more);
void world_stop(struct pnc_world *world);

/* The PNCID and CRO number of person i. */
const char *world_pncid(unsigned i, char text[PNC_ID_CAP]);
const char *world_cro(unsigned i, char text[PNC_ID_CAP]);

/* What is looked up by: one of pncid, cro, or a name. */
struct asked {
    const char *pncid, *cro, *family, *given, *born;
};

/* Begins a call and returns its number. The message is freed when the world is. */
unsigned world_call(struct pnc_world *world, const struct asked *asked, unsigned deadline_ms);

/* What was answered. */
struct answered {
    char class[32], reason[300], ref[PNC_ID_CAP], details[2000];
    size_t candidates;
    int64_t age; /* -1: none */
};

/* Reads the answer to a call that is answered. */
struct answered world_answer(struct pnc_world *world, unsigned call);
/* Calls and waits for the answer. */
struct answered world_ask(struct pnc_world *world, const struct asked *asked);
/* The same until the class is what is wanted, for as long as it takes. */
struct answered world_ask_until(struct pnc_world *world, const struct asked *asked,
                                const char *class);

/* Waits until the cache has a PNCID's record. */
void world_wait_cached(struct pnc_world *world, const char *pncid);

#endif
