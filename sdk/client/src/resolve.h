/* A host's name, looked up by a thread of its own: the system's resolver takes as long as it likes,
 * and a line has calls to end meanwhile. */
#ifndef CLIENT_RESOLVE_H
#define CLIENT_RESOLVE_H

#include <netdb.h>
#include <stdbool.h>

struct resolve;

/* Begins to look up. NULL: out of memory, descriptors or threads. To be dropped. */
struct resolve *resolve_begin(const char *host, const char *port);

/* A descriptor that becomes readable when the answer is there. */
int resolve_fd(const struct resolve *resolve);

/* Takes the answer: *code is getaddrinfo's, and if it is 0 *list is the caller's to free. false:
 * there is none yet. Once. */
bool resolve_take(struct resolve *resolve, int *code, struct addrinfo **list);

/* Lets go, without waiting for the answer. NULL is ignored. */
void resolve_drop(struct resolve *resolve);

#endif
