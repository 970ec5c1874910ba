#include <stdlib.h>
#include <string.h>

#include "core/conf/digest.h"
#include "core/conf/settings.h"
#include "core/isolate/spec.h"

/* In quotes, with what would end them escaped: no two texts print alike. */
static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_string(FILE *out, const char *indent, const char *name, const char *text)
{
    fprintf(out, "%s%s = ", indent, name);
    print_text(out, text);
    fputc('\n', out);
}

static void print_list(FILE *out, const char *indent, const char *name, conf_list list)
{
    fprintf(out, "%s%s = {", indent, name);
    for (size_t i = 0; list[i]; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_text(out, list[i]);
    }
    fputs("}\n", out);
}

static void print_real(FILE *out, const char *indent, const char *name, double value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.15g", value);
    fprintf(out, "%s%s = %.*g\n", indent, name, strtod(text, NULL) == value ? 15 : 17, value);
}

void print_core(const struct conf_core *core, FILE *out)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    const char *in = "    ";
    fputs("core {\n", out);
    print_string(out, in, "gateway", core->gateway);
    print_string(out, in, "data_dir", core->data_dir);
    print_string(out, in, "runtime_dir", core->runtime_dir);
    print_string(out, in, "plugin_dir", core->plugin_dir);
    fprintf(out, "    workers = %u\n", core->workers);
    print_real(out, in, "deadline", core->deadline_ms / 1000.0);
    fprintf(out, "    repeat = %u\n", core->repeat_s);
    fprintf(out, "    max_frame = %zu\n", core->max_frame);
    fprintf(out, "    max_connections = %u\n", core->max_connections);
    fprintf(out, "    max_connections_per_device = %u\n", core->max_connections_per_device);
    fprintf(out, "    max_calls = %u\n", core->max_calls);
    fprintf(out, "    max_calls_per_connection = %u\n", core->max_calls_per_connection);
    fprintf(out, "    max_write_queue = %zu\n", core->max_write_queue);
    fprintf(out, "    max_buffered = %zu\n", core->max_buffered);
    print_real(out, in, "device_rate", core->device_rate);
    fprintf(out, "    device_burst = %u\n", core->device_burst);
    print_real(out, in, "officer_rate", core->officer_rate);
    fprintf(out, "    officer_burst = %u\n", core->officer_burst);
    fprintf(out, "    idle_timeout = %u\n", core->idle_timeout_s);
    fprintf(out, "    handshake_timeout = %u\n", core->handshake_timeout_s);
    fprintf(out, "    message_timeout = %u\n", core->message_timeout_s);
    fprintf(out, "    stall_timeout = %u\n", core->stall_timeout_s);
    fprintf(out, "    log_level = %s\n}\n", levels[core->log_level]);
}

void print_monitor(const struct conf_monitor *monitor, FILE *out)
{
    if (monitor->on) {
        fputs("monitor {\n", out);
        print_string(out, "    ", "address", monitor->address);
        fprintf(out, "    port = %u\n}\n", monitor->port);
    }
}

void print_listener(const struct conf_listener *listener, FILE *out)
{
    const char *in = "    ";
    fprintf(out, "listener \"%s\" {\n", listener->name);
    print_string(out, in, "address", listener->address);
    fprintf(out, "    port = %u\n    tls = %s\n", listener->port, listener->tls ? "yes" : "no");
    if (listener->tls) {
        print_string(out, in, "certificate", listener->certificate);
        print_string(out, in, "key", listener->key);
        print_string(out, in, "client_ca", listener->client_ca);
        print_string(out, in, "crl", listener->crl);
    } else {
        print_string(out, in, "device", listener->device);
    }
    fputs("}\n", out);
}

void print_policy(const struct conf_policy *policy, FILE *out)
{
    const char *in = "        ";
    fprintf(out, "policy \"%s\" {\n", policy->name);
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct conf_rule *rule = &policy->rules[i];
        fprintf(out, "    rule \"%s\" {\n", rule->name);
        print_string(out, in, "basis", rule->basis);
        print_list(out, in, "subject", rule->subject);
        print_list(out, in, "consent", rule->consent);
        print_list(out, in, "backends", rule->backends);
        print_list(out, in, "require", rule->require);
        print_string(out, in, "show", rule->show);
        fputs("    }\n", out);
    }
    fputs("}\n", out);
}

void print_force(const struct conf_force *force, FILE *out)
{
    const char *in = "    ";
    fprintf(out, "force \"%s\" {\n", force->code);
    print_string(out, in, "title", force->title);
    print_string(out, in, "policy", force->policy->name);
    print_list(out, in, "backends", force->backends);
    print_list(out, in, "lends_to", force->lends_to);
    fputs("}\n", out);
}

/* With as few digits as say it exactly. */
static void print_setting(const struct whorl_setting *setting, const struct field *field,
                          const char *indent, FILE *out)
{
    switch (setting->type) {
    case WHORL_SETTING_INTEGER:
        fprintf(out, "%s%s = %lld\n", indent, setting->name, (long long)field->integer);
        break;
    case WHORL_SETTING_REAL:
        print_real(out, indent, setting->name, field->real);
        break;
    case WHORL_SETTING_BOOLEAN:
        fprintf(out, "%s%s = %s\n", indent, setting->name, field->boolean ? "yes" : "no");
        break;
    case WHORL_SETTING_LIST:
        print_list(out, indent, setting->name, field->list);
        break;
    default:
        print_string(out, indent, setting->name, field->string);
        break;
    }
}

static void print_settings(const struct settings *settings, FILE *out)
{
    fputs("    settings {\n", out);
    for (size_t i = 0; i < settings->schema.count; i++) {
        print_setting(schema_at(settings->schema, i), &settings->fields[i], "        ", out);
    }
    for (size_t i = 0; i < settings->force_count; i++) {
        const struct settings_force *force = &settings->forces[i];
        fprintf(out, "        force \"%s\" {\n", force->code);
        for (size_t j = 0; j < settings->schema.count; j++) {
            if (force->fields[j].line > 0) {
                print_setting(schema_at(settings->schema, j), &force->fields[j], "            ",
                              out);
            }
        }
        fputs("        }\n", out);
    }
    fputs("    }\n", out);
}

static void print_isolation(const struct isolate_spec *process, FILE *out)
{
    if (!process) {
        fputs("    isolation = in_process\n", out);
        return;
    }
    fprintf(out,
            "    isolation = process\n    network = %s\n    memory_limit = %llu\n"
            "    cpu_limit = %u\n",
            process->limits.network ? "yes" : "no",
            (unsigned long long)process->limits.memory >> 20, process->limits.processors);
    print_string(out, "    ", "user", process->limits.user);
}

void print_plugin(const struct conf_plugin *plugin, FILE *out)
{
    fprintf(out, "plugin \"%s\" {\n    enabled = %s\n", plugin->name,
            plugin->enabled ? "yes" : "no");
    print_string(out, "    ", "module", plugin->module);
    print_real(out, "    ", "deadline", plugin->deadline_ms / 1000.0);
    fprintf(out, "    max_calls = %u\n    breaker_failures = %u\n", plugin->max_calls,
            plugin->breaker_failures);
    print_real(out, "    ", "breaker_wait", plugin->breaker_wait_ms / 1000.0);
    print_real(out, "    ", "breaker_max_wait", plugin->breaker_max_wait_ms / 1000.0);
    if (plugin->settings) {
        print_isolation(plugin->process, out);
        print_settings(settings_inside(plugin->settings), out);
    }
    fputs("}\n", out);
}

void print_effective(const struct conf *conf, FILE *out)
{
    print_core(&conf->core, out);
    print_monitor(&conf->monitor, out);
    for (size_t i = 0; i < conf->listener_count; i++) {
        print_listener(&conf->listeners[i], out);
    }
    for (size_t i = 0; i < conf->policy_count; i++) {
        print_policy(&conf->policies[i], out);
    }
    for (size_t i = 0; i < conf->force_count; i++) {
        print_force(&conf->forces[i], out);
    }
    for (size_t i = 0; i < conf->plugin_count; i++) {
        print_plugin(&conf->plugins[i], out);
    }
}

/* A list on one line; `any` when it is empty. */
static void print_words(FILE *out, const char *label, conf_list list, const char *any)
{
    fprintf(out, "    %-9s", label);
    for (size_t i = 0; list[i]; i++) {
        fprintf(out, "%s%s", i > 0 ? ", " : "", list[i]);
    }
    fprintf(out, "%s\n", list[0] ? "" : any);
}

/* What a rule lets this force's officers ask, and why the rest of it is off. */
static void print_backends(const struct conf *conf, const struct conf_force *force,
                           const struct conf_rule *rule, FILE *out)
{
    fprintf(out, "    %-9s", "ask");
    for (size_t i = 0; rule->backends[i]; i++) {
        const char *name = rule->backends[i];
        const struct conf_plugin *plugin = conf_find_plugin(conf, name);
        const char *entitlement =
            plugin && plugin->descriptor ? plugin->descriptor->entitlement : NULL;
        fprintf(out, "%s%s%s", i > 0 ? ", " : "", name,
                plugin && plugin->passes_on ? " (passed on to another gateway)" : "");
        if (!conf_list_has(force->backends, name)) {
            fputs(" (no: off for this force)", out);
        } else if (!plugin || !plugin->enabled) {
            fputs(" (no: disabled)", out);
        } else if (entitlement) {
            fprintf(out, " (officers entitled to %s)", entitlement);
        }
    }
    fprintf(out, "%s\n", rule->backends[0] ? "" : "nothing");
}

static void print_table(const struct conf *conf, const struct conf_force *force, FILE *out)
{
    fprintf(out, "\nForce %s (%s), policy %s\n", force->code, force->title, force->policy->name);
    for (size_t i = 0; i < force->policy->rule_count; i++) {
        const struct conf_rule *rule = &force->policy->rules[i];
        fprintf(out, "  %s, by rule %s (%s:%d)\n", rule->basis, rule->name, rule->place.file,
                rule->place.line);
        print_words(out, "subject", rule->subject, "any");
        print_words(out, "consent", rule->consent, "any");
        print_backends(conf, force, rule, out);
        if (rule->require[0]) {
            print_words(out, "needs", rule->require, "");
        }
        if (rule->show[0] != '\0') {
            fprintf(out, "    %-9s%s\n", "show", rule->show);
        }
    }
    fputs("  anything else: nothing may be asked\n", out);
}

void conf_print(const struct conf *conf, FILE *out)
{
    print_effective(conf, out);
    fputs("\nWho may ask what: of each force, the first row that fits decides.\n", out);
    for (size_t i = 0; i < conf->force_count; i++) {
        print_table(conf, &conf->forces[i], out);
    }
    fputs("\nSHA-256 ", out);
    for (size_t i = 0; i < sizeof conf->digest; i++) {
        fprintf(out, "%02x", conf->digest[i]);
    }
    fputc('\n', out);
}
