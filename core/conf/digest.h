/* SHA-256 over the effective configuration, in the text form that `whorl check` prints. */
#ifndef CORE_CONF_DIGEST_H
#define CORE_CONF_DIGEST_H

#include <stdbool.h>
#include <stdio.h>

#include "core/conf/conf.h"

/* Sets conf's digest and those of its plugins. false: out of memory. */
bool digest_all(struct conf *conf);

/* The text form (print.c): every value, whether given or default; no places, no comments. */
void print_effective(const struct conf *conf, FILE *out);
void print_plugin(const struct conf_plugin *plugin, FILE *out);
void print_core(const struct conf_core *core, FILE *out);
void print_monitor(const struct conf_monitor *monitor, FILE *out);
void print_listener(const struct conf_listener *listener, FILE *out);
void print_policy(const struct conf_policy *policy, FILE *out);
void print_force(const struct conf_force *force, FILE *out);

#endif
