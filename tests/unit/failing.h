/* Makes one call fail that Whorl's own code makes of a library: memory, files, LMDB, OpenSSL,
 * libuv. failing_try does a thing again and again, each time with one such call failing: of every
 * place in the code that calls, the first, then the second, and some more. It looks each time that
 * the failure was told; after() looks that nothing was lost.
 *
 * Only calls from the executable itself and from libwhorl-* count, not what the libraries do
 * inside. A process that is forked goes on where this one was: what failed in it is known here.
 * Memory fails only where no sanitizer stands in for it. */
#ifndef TESTS_FAILING_H
#define TESTS_FAILING_H

#include <pthread.h>
#include <stdbool.h>

#include "whorl/plugin.h"

struct failing_deed {
    const char *name;
    void (*before)(void); /* makes what is needed */
    /* The one thing that is tried; false with the fault. Without Check's assertions: they allocate
     * too. */
    bool (*act)(void);
    void (*after)(bool done);
    const char *shrugged; /* functions that may fail without it failing; NULL: none */
};

void failing_try(const struct failing_deed *deed, struct whorl_fault *fault);

/* The same step by step, for what ends in another way than with a fault. */

/* Whether there is a further round: not after one in which no call was left to fail. */
bool failing_again(bool first);
/* How often each place fails, each time a call later: 4 times unless this is called. */
void failing_often(unsigned times);
/* The next call in turn fails, unless failing_off comes before it. */
void failing_on(void);
/* The same, where only that thread's calls count. */
void failing_on_in(pthread_t thread);
/* The same, where that thread's calls do not count. */
void failing_on_but(pthread_t thread);
/* The same in the plugins' processes that this program makes (see conf_folder.h), and only there.
 */
void failing_on_in_guests(void);
/* Every call of that function fails, until failing_off. */
void failing_every(const char *name);
/* The same, where only that thread's calls count. */
void failing_every_in(pthread_t thread, const char *name);
/* The name of the function that failed; NULL: none was left. */
const char *failing_off(void);

/* Where its files had better be, as there are many rounds: in memory, if there is such a folder. */
const char *failing_folder(void);

#endif
