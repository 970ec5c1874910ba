#include "core/server/systemd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

void systemd_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void systemd_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=Reloading",
               (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void systemd_stopping(const char *status)
{
    sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void systemd_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

uint64_t systemd_watchdog_ms(void)
{
    uint64_t usec = 0;
    if (sd_watchdog_enabled(0, &usec) <= 0) {
        return 0;
    }
    return usec >= 2000 ? usec / 2000 : 1; /* twice as often as it must be */
}

bool systemd_sockets_are_there(void)
{
    return sd_listen_fds(0) >= 0;
}

void systemd_sockets(void (*take)(void *ctx, int fd, const char *name), void *ctx)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    for (int i = 0; i < count; i++) {
        take(ctx, SD_LISTEN_FDS_START + i, names[i]);
        free(names[i]);
    }
    free(names);
}
