/* The configuration: every file `*.conf` of one directory, read in order of their names.
 *
 *     core { }  listener "name" { }  policy "name" { rule "name" { } }  force "CODE" { }
 *     plugin "name" { module = …  settings { }  }  monitor { }
 *
 * A configuration is read-only after conf_read and reference-counted: calls in flight keep the one
 * that they started under while a reload puts another in its place. */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "whorl/plugin.h"

struct isolate_spec; /* core/isolate */

#define CONF_GATEWAY_MAX 32 /* bytes of a gateway's name */
#define CONF_NAME_MAX 32    /* a force, plugin, policy, listener or rule name, without its NUL */

/* A NULL-terminated list of strings. */
typedef const char *const *conf_list;

struct conf_place {
    const char *file; /* as given to the operator: DIR/name.conf */
    int line;
};

struct conf_core {
    const char *gateway;        /* this server's name among gateways; "" = none */
    const char *data_dir;       /* absolute */
    const char *runtime_dir;    /* absolute; of the control socket */
    const char *plugin_dir;     /* absolute; where a module without a slash is looked for */
    const char *own_plugin_dir; /* absolute; where Whorl's own modules are */
    unsigned workers;     /* threads for plugins' jobs; never 0 (0 in the file = one per core) */
    unsigned deadline_ms; /* of a whole call, default 60000 */
    unsigned repeat_s;    /* for how long an answer is kept for repeated requests, default 600 */
    size_t max_frame;     /* bytes, default 8 MiB */
    unsigned max_connections, max_connections_per_device;
    unsigned max_calls, max_calls_per_connection; /* in flight */
    size_t max_write_queue;                       /* bytes waiting to be sent, per connection */
    size_t max_buffered;              /* bytes waiting to be sent, or for a message's end, in all */
    double device_rate, officer_rate; /* calls a second; 0: any */
    unsigned device_burst, officer_burst;
    unsigned idle_timeout_s, handshake_timeout_s, message_timeout_s, stall_timeout_s;
    enum whorl_log_level log_level;
};

struct conf_listener {
    struct conf_place place;
    const char *name;
    const char *address; /* numeric */
    uint16_t port;       /* 0: the system's choice, written to the log */
    bool tls;
    const char *certificate, *key, *client_ca, *crl; /* absolute paths; crl "" = none */
    const char *device;  /* the registered device id that plain connections count as (tls = off) */
    uint8_t content[32]; /* SHA-256 of certificate, client_ca and crl; zero without TLS */
};

/* Where figures are read over HTTP; on loopback. */
struct conf_monitor {
    bool on;
    const char *address; /* numeric */
    uint16_t port;       /* 0: the system's choice, written to the log */
};

/* One row of a policy: the first that fits basis, condition and consent decides. No row: deny. */
struct conf_rule {
    struct conf_place place;
    const char *name;
    const char *basis;
    conf_list subject;  /* conditions; empty = any */
    conf_list consent;  /* empty = any */
    conf_list backends; /* what may be asked; empty = nothing */
    conf_list require;  /* identify fields that must be there: "reason", "subject.family", … */
    const char *show;   /* "" = nothing */
};

struct conf_policy {
    struct conf_place place;
    const char *name;
    const struct conf_rule *rules;
    size_t rule_count;
};

struct conf_force {
    struct conf_place place;
    const char *code; /* [A-Z0-9-]+ */
    const char *title;
    const struct conf_policy *policy;
    conf_list backends; /* plugins that are on for this force's officers */
    conf_list lends_to; /* other forces whose officers may use this force's devices */
};

struct conf_plugin {
    struct conf_place place;
    const char *name;
    const char *module; /* absolute path of the .so */
    bool enabled;
    unsigned deadline_ms;         /* of one call, default 20000 */
    unsigned max_calls;           /* in flight at once, default 64 */
    unsigned breaker_failures;    /* in a row that cut it off, default 5; 0: never */
    unsigned breaker_wait_ms;     /* before it is tried again, default 1000 */
    unsigned breaker_max_wait_ms; /* the wait is doubled up to this, default 60000 */
    /* Loaded for its schema and check, or told by a process that has; NULL if disabled. */
    const struct whorl_plugin *descriptor;
    const struct whorl_settings *settings; /* NULL if disabled */
    bool passes_on; /* its calls go to another gateway, and say who asks (WHORL_SETTING_SOURCE) */
    /* How its process is made; NULL: it runs in the server's own. What only the host knows (its
     * data directory, workers, calls) is left to it. */
    const struct isolate_spec *process;
    uint8_t content[32]; /* SHA-256 of the module's file; zero if disabled */
    /* SHA-256 over all of this, the settings, where its data is and the module's content: same =
     * unchanged. */
    uint8_t digest[32];
};

struct conf {
    const char *dir; /* absolute */
    struct conf_core core;
    struct conf_monitor monitor;
    const struct conf_listener *listeners;
    size_t listener_count;
    const struct conf_policy *policies;
    size_t policy_count;
    const struct conf_force *forces;
    size_t force_count;
    const struct conf_plugin *plugins; /* in order of file and place, disabled ones too */
    size_t plugin_count;
    uint8_t digest[32]; /* SHA-256 over the effective configuration: "policy" in audit records */
};

/* Called for each mistake: text without file and line. */
typedef void conf_complaint(void *ctx, const char *file, int line, const char *text);

/* Reads and validates everything, plugin settings included (their modules are loaded, not
 * started). Reports every mistake that it can find and returns NULL if there was one. Release with
 * conf_unref. Any thread, one at a time; may take seconds, when an isolated plugin does. */
struct conf *conf_read(const char *dir, conf_complaint *complain, void *ctx);

/* For tools that judge one plugin: a configuration that holds nothing but it. file: a *.conf file
 * with its one section; NULL: every setting has its default. module: the absolute path of the
 * shared object, whatever the file says. Relative paths in settings count from the file's folder.
 * Otherwise as conf_read. */
struct conf *conf_read_plugin(const char *file, const char *module, conf_complaint *complain,
                              void *ctx);

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf);

/* The runtime_dir of the configuration in dir, whatever mistakes there are in the rest of it: for
 * commands to a running server. false with *fault when it can't be told. */
bool conf_runtime_dir(const char *dir, char *path, size_t cap, struct whorl_fault *fault);

/* Tells, in words, each difference between two configurations. */
void conf_changes(const struct conf *before, const struct conf *after,
                  void (*change)(void *ctx, const char *text), void *ctx);

const struct conf_force *conf_find_force(const struct conf *conf, const char *code);
const struct conf_plugin *conf_find_plugin(const struct conf *conf, const char *name);
/* 1 to CONF_GATEWAY_MAX letters, digits and . _ -, beginning with a letter or digit. */
bool conf_is_gateway(const char *name);
bool conf_list_has(conf_list list, const char *text);

/* Prints the effective configuration and who may ask what, for `whorl check`. */
void conf_print(const struct conf *conf, FILE *out);

#endif
