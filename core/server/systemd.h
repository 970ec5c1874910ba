/* What systemd wants to hear (sd_notify(3)) and hands over (sd_listen_fds(3)). Without it every
 * function does nothing. */
#ifndef CORE_SYSTEMD_H
#define CORE_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>

/* status: one line for `systemctl status`. */
void systemd_ready(const char *status);
void systemd_reloading(void);
void systemd_stopping(const char *status);
void systemd_alive(void);

/* How often systemd_alive is wanted, in ms; 0: never. */
uint64_t systemd_watchdog_ms(void);

/* Whether the descriptors that LISTEN_FDS counts are there. To be asked before anything is opened: a
 * number that is free then would be one of our own later. */
bool systemd_sockets_are_there(void);

/* Calls take for each socket that was handed over; whoever takes it has to close it. */
void systemd_sockets(void (*take)(void *ctx, int fd, const char *name), void *ctx);

#endif
