/* Figures and health over HTTP, on loopback: /metrics, /healthz, /readyz. Runs on the loop. */
#ifndef CORE_MONITOR_H
#define CORE_MONITOR_H

#include <stdbool.h>

#include "core/conf/conf.h"

struct monitor;
struct server;

/* *monitor, which may be NULL, becomes one that is as conf says: itself where nothing has changed,
 * a new one, or NULL where it is off. The old one still runs. false with *fault. */
bool monitor_match(struct monitor **monitor, struct server *server, const struct conf_monitor *conf,
                   struct whorl_fault *fault);
/* NULL is ignored. Freed when the loop has closed its handles. */
void monitor_close(struct monitor *monitor);

#endif
