/* Certificates and revocation lists have a last day, and when it has come the server, or every
 * device, is turned away. */
#ifndef CLI_ENDS_SOON_H
#define CLI_ENDS_SOON_H

#include "core/conf/conf.h"
#include "core/net/listener.h"

/* Names on standard error whatever of the listener's files ends within two weeks, or has ended.
 * ahead: what was read for this listener alone. */
void tell_what_ends_soon(const struct conf_listener *listener, const struct listeners_ahead *ahead);

#endif
