/* Certificates and revocation lists have a last day, and a server that runs says nothing when it
 * comes: then it, or every device, is turned away. */
#ifndef CLI_ENDS_SOON_H
#define CLI_ENDS_SOON_H

#include "core/conf/conf.h"

/* Names on standard error whatever of the listener's files ends within two weeks, or has ended. */
void tell_what_ends_soon(const struct conf_listener *listener);

#endif
