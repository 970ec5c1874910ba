/* Looking people up in somebody else's database, with a cache before it.
 *
 * What the cache has of a person or key, and is no older than its class may be, is answered from
 * there. Otherwise the database is asked: for a person found by PNCID only for the classes that are
 * too old, else for everything. That nobody has a key, or who has it, is believed for as long as
 * the shortest-lived class. When the database can't be asked, the cache answers while it is not
 * older than `stale_limit`, except that nobody has a key: that is then unavailable, never no_match.
 */
#ifndef PLUGINS_PNC_REMOTE_H
#define PLUGINS_PNC_REMOTE_H

#include "plugins/pnc/database.h"
#include "plugins/pnc/lookup.h"

#define PNC_REMOTE_SETTINGS                                                                        \
    PNC_DATABASE_SETTINGS,                                                                         \
        {"cache",                                                                                  \
         WHORL_SETTING_LIST,                                                                       \
         0,                                                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "for how many seconds each class of fields is answered from the cache, each as "          \
         "\"CLASS=SECONDS\""},                                                                     \
        {"cache_size",                                                                             \
         WHORL_SETTING_INTEGER,                                                                    \
         0,                                                                                        \
         "1024",                                                                                   \
         16,                                                                                       \
         1048576,                                                                                  \
         "MiB that the cache may take: beyond, the oldest goes"},                                  \
    {                                                                                              \
        "stale_limit", WHORL_SETTING_INTEGER, 0, "3600", 0, 2592000,                               \
            "seconds that the cache answers without the database"                                  \
    }

struct pnc_remote;

/* Validates the settings. false with *fault. */
bool pnc_remote_check(const struct whorl_settings *settings, struct whorl_fault *fault);

/* Opens the cache and begins to connect. NULL with *fault. */
struct pnc_remote *pnc_remote_open(const struct whorl_host *host, struct whorl_fault *fault);
/* After the last look-up is answered. Writes what the cache still has to take. Blocks for the disk.
 */
void pnc_remote_close(struct pnc_remote *remote);

/* Makes a look-up that was read, and answers it, now or later. Any thread; never blocks for the
 * database. */
void pnc_remote_look_up(struct pnc_remote *remote, struct pnc_lookup *lookup);

#endif
