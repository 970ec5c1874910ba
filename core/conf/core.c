/* core { } and listener "name" { }. */
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/conf/certificates.h"
#include "core/conf/sections.h"
#include "core/log/log.h"

enum {
    CORE_GATEWAY,
    CORE_DATA_DIR,
    CORE_RUNTIME_DIR,
    CORE_PLUGIN_DIR,
    CORE_WORKERS,
    CORE_DEADLINE,
    CORE_REPEAT,
    CORE_MAX_FRAME,
    CORE_MAX_CONNECTIONS,
    CORE_MAX_CONNECTIONS_PER_DEVICE,
    CORE_MAX_CALLS,
    CORE_MAX_CALLS_PER_CONNECTION,
    CORE_MAX_WRITE_QUEUE,
    CORE_MAX_BUFFERED,
    CORE_DEVICE_RATE,
    CORE_DEVICE_BURST,
    CORE_OFFICER_RATE,
    CORE_OFFICER_BURST,
    CORE_IDLE_TIMEOUT,
    CORE_HANDSHAKE_TIMEOUT,
    CORE_MESSAGE_TIMEOUT,
    CORE_STALL_TIMEOUT,
    CORE_LOG_LEVEL,
    CORE_COUNT,
};

static const struct whorl_setting core_settings[CORE_COUNT] = {
    [CORE_GATEWAY] = {"gateway", WHORL_SETTING_STRING, 0, NULL, 0, CONF_GATEWAY_MAX,
                      "this server's name among the gateways of a cascade"},
    [CORE_DATA_DIR] = {"data_dir", WHORL_SETTING_STRING,
                       WHORL_SETTING_REQUIRED | WHORL_SETTING_PATH, NULL, 1, 1024,
                       "where everything is kept, a folder per plugin"},
    [CORE_RUNTIME_DIR] = {"runtime_dir", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 1024,
                          "where the control socket of the running server is"},
    [CORE_PLUGIN_DIR] = {"plugin_dir", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 1024,
                         "where modules without a slash in their name are"},
    [CORE_WORKERS] = {"workers", WHORL_SETTING_INTEGER, 0, "0", 0, 1024,
                      "threads for the plugins' work; 0: one per processor"},
    [CORE_DEADLINE] = {"deadline", WHORL_SETTING_REAL, 0, "60", 1, 600, "seconds for a call"},
    [CORE_REPEAT] = {"repeat", WHORL_SETTING_INTEGER, 0, "600", 0, 86400,
                     "seconds for which an answer is kept for repeated requests"},
    [CORE_MAX_FRAME] = {"max_frame", WHORL_SETTING_INTEGER, 0, "8388608", 4096, 67108864,
                        "bytes of one message"},
    [CORE_MAX_CONNECTIONS] = {"max_connections", WHORL_SETTING_INTEGER, 0, "10000", 1, 1000000,
                              "devices connected at once"},
    [CORE_MAX_CONNECTIONS_PER_DEVICE] = {"max_connections_per_device", WHORL_SETTING_INTEGER, 0,
                                         "64", 1, 1000000, "connections of one device at once"},
    [CORE_MAX_CALLS] = {"max_calls", WHORL_SETTING_INTEGER, 0, "1024", 1, 65536,
                        "calls in flight at once, of all connections"},
    [CORE_MAX_CALLS_PER_CONNECTION] = {"max_calls_per_connection", WHORL_SETTING_INTEGER, 0, "64",
                                       1, 65536, "calls of one connection in flight at once"},
    [CORE_MAX_WRITE_QUEUE] = {"max_write_queue", WHORL_SETTING_INTEGER, 0, "4194304", 65536,
                              1073741824, "bytes waiting to be sent on one connection"},
    [CORE_MAX_BUFFERED] = {"max_buffered", WHORL_SETTING_INTEGER, 0, "1073741824", 1048576,
                           1099511627776,
                           "bytes of all connections waiting to be sent, or for "
                           "the end of their message"},
    [CORE_DEVICE_RATE] = {"device_rate", WHORL_SETTING_REAL, 0, "200", 0, 1e6,
                          "calls a second of one device; 0: any number"},
    [CORE_DEVICE_BURST] = {"device_burst", WHORL_SETTING_INTEGER, 0, "2000", 1, 10000000,
                           "calls that a device may save up"},
    [CORE_OFFICER_RATE] = {"officer_rate", WHORL_SETTING_REAL, 0, "50", 0, 1e6,
                           "calls a second of one officer; 0: any number"},
    [CORE_OFFICER_BURST] = {"officer_burst", WHORL_SETTING_INTEGER, 0, "500", 1, 10000000,
                            "calls that an officer may save up"},
    [CORE_IDLE_TIMEOUT] = {"idle_timeout", WHORL_SETTING_INTEGER, 0, "300", 1, 86400,
                           "seconds of silence after which a connection is closed"},
    [CORE_HANDSHAKE_TIMEOUT] = {"handshake_timeout", WHORL_SETTING_INTEGER, 0, "10", 1, 600,
                                "seconds that a TLS handshake may take"},
    [CORE_MESSAGE_TIMEOUT] = {"message_timeout", WHORL_SETTING_INTEGER, 0, "120", 1, 86400,
                              "seconds from the first byte of a message to its last"},
    [CORE_STALL_TIMEOUT] = {"stall_timeout", WHORL_SETTING_INTEGER, 0, "30", 1, 86400,
                            "seconds for which a peer may take nothing of what is sent"},
    [CORE_LOG_LEVEL] = {"log_level", WHORL_SETTING_STRING, 0, "info", 1, 16,
                        "debug, info, warning or error"},
};

/* In the build tree modules lie in plugins/ beside the executable. */
static const char *default_plugin_dir(struct arena *arena)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len > 0) {
        path[len] = '\0';
        char *slash = strrchr(path, '/');
        const char *dir = arena_printf(arena, "%.*s/plugins", (int)(slash - path), path);
        struct stat st;
        if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) {
            return dir;
        }
    }
    return WHORL_PLUGIN_DIR;
}

static unsigned processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > 1024 ? 1024 : (unsigned)count;
}

static void core_fill(struct reading *reading, struct conf_core *core, const struct field *fields)
{
    const char *runtime_dir = fields[CORE_RUNTIME_DIR].string;
    const char *plugin_dir = fields[CORE_PLUGIN_DIR].string;
    const char *own_plugin_dir = default_plugin_dir(reading->arena);
    const char *data_dir = fields[CORE_DATA_DIR].string;
    unsigned workers = (unsigned)fields[CORE_WORKERS].integer;
    *core = (struct conf_core){
        .gateway = fields[CORE_GATEWAY].string,
        .data_dir = data_dir,
        .runtime_dir =
            runtime_dir[0] != '\0' ? runtime_dir : fields_path(reading->arena, data_dir, "run"),
        .plugin_dir = plugin_dir[0] != '\0' ? plugin_dir : own_plugin_dir,
        .own_plugin_dir = own_plugin_dir,
        .workers = workers > 0 ? workers : processors(),
        .deadline_ms = (unsigned)(fields[CORE_DEADLINE].real * 1000),
        .repeat_s = (unsigned)fields[CORE_REPEAT].integer,
        .max_frame = (size_t)fields[CORE_MAX_FRAME].integer,
        .max_connections = (unsigned)fields[CORE_MAX_CONNECTIONS].integer,
        .max_connections_per_device = (unsigned)fields[CORE_MAX_CONNECTIONS_PER_DEVICE].integer,
        .max_calls = (unsigned)fields[CORE_MAX_CALLS].integer,
        .max_calls_per_connection = (unsigned)fields[CORE_MAX_CALLS_PER_CONNECTION].integer,
        .max_write_queue = (size_t)fields[CORE_MAX_WRITE_QUEUE].integer,
        .max_buffered = (size_t)fields[CORE_MAX_BUFFERED].integer,
        .device_rate = fields[CORE_DEVICE_RATE].real,
        .device_burst = (unsigned)fields[CORE_DEVICE_BURST].integer,
        .officer_rate = fields[CORE_OFFICER_RATE].real,
        .officer_burst = (unsigned)fields[CORE_OFFICER_BURST].integer,
        .idle_timeout_s = (unsigned)fields[CORE_IDLE_TIMEOUT].integer,
        .handshake_timeout_s = (unsigned)fields[CORE_HANDSHAKE_TIMEOUT].integer,
        .message_timeout_s = (unsigned)fields[CORE_MESSAGE_TIMEOUT].integer,
        .stall_timeout_s = (unsigned)fields[CORE_STALL_TIMEOUT].integer,
        .log_level = WHORL_LOG_INFO,
    };
}

void core_read(struct reading *reading, struct conf *conf, const struct sources *cores)
{
    const struct tree_section *section = cores->count > 0 ? cores->sections[0] : NULL;
    struct conf_place place = section ? section->place : (struct conf_place){reading->name, 0};
    if (!section) {
        if (reading->whole) {
            mistake_at(reading->mistakes, place, "no file has a section core { }");
        }
    } else {
        sections_refuse_inner(reading, section, NULL);
    }
    for (size_t i = 1; i < cores->count; i++) {
        mistake_at(reading->mistakes, cores->sections[i]->place,
                   "core { } is there twice, first in %s:%d", place.file, place.line);
    }
    struct tree_section nothing = {.complete = false, .place = place};
    struct field *fields =
        fields_read(reading, SCHEMA(core_settings), section ? section : &nothing, place, "core");
    core_fill(reading, &conf->core, fields);
    if (conf->core.gateway[0] != '\0' && !conf_is_gateway(conf->core.gateway)) {
        mistake_at(reading->mistakes, field_place(&fields[CORE_GATEWAY], place),
                   "gateway must be letters, digits and . _ -, beginning with a letter or digit, "
                   "not \"%s\"",
                   conf->core.gateway);
    }
    if (!log_level_from_name(fields[CORE_LOG_LEVEL].string, &conf->core.log_level)) {
        mistake_at(reading->mistakes, field_place(&fields[CORE_LOG_LEVEL], place),
                   "log_level must be debug, info, warning or error, not \"%s\"",
                   fields[CORE_LOG_LEVEL].string);
    }
}

enum {
    LISTENER_ADDRESS,
    LISTENER_PORT,
    LISTENER_TLS,
    LISTENER_CERTIFICATE,
    LISTENER_KEY,
    LISTENER_CLIENT_CA,
    LISTENER_CRL,
    LISTENER_DEVICE,
    LISTENER_COUNT,
};

static const struct whorl_setting listener_settings[LISTENER_COUNT] = {
    [LISTENER_ADDRESS] = {"address", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED, NULL, 2, 64,
                          "the numeric address to listen on"},
    [LISTENER_PORT] = {"port", WHORL_SETTING_INTEGER, WHORL_SETTING_REQUIRED, NULL, 0, 65535,
                       "the TCP port; 0: one that the system chooses"},
    [LISTENER_TLS] = {"tls", WHORL_SETTING_BOOLEAN, 0, "yes", 0, 0,
                      "TLS 1.3 with client certificates"},
    [LISTENER_CERTIFICATE] = {"certificate", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0,
                              1024, "the server's certificate chain (PEM)"},
    [LISTENER_KEY] = {"key", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 1024,
                      "the server's private key (PEM)"},
    [LISTENER_CLIENT_CA] = {"client_ca", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 1024,
                            "the authority that signs the devices' certificates (PEM)"},
    [LISTENER_CRL] = {"crl", WHORL_SETTING_STRING, WHORL_SETTING_PATH, NULL, 0, 1024,
                      "its revocation list (PEM)"},
    [LISTENER_DEVICE] = {"device", WHORL_SETTING_STRING, 0, NULL, 0, 64,
                         "the device that plain connections count as"},
};

/* Whether text is a numeric address, and one that no other machine can reach. */
static bool is_address(const char *text, bool *loopback)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *loopback = ntohl(v4.s_addr) >> 24 == 127;
        return true;
    }
    *loopback = inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    return inet_pton(AF_INET6, text, &v6) == 1;
}

static void digest_file(EVP_MD_CTX *ctx, const char *path)
{
    uint8_t piece[4096];
    FILE *in = path[0] != '\0' ? fopen(path, "re") : NULL;
    for (size_t n; in != NULL && (n = fread(piece, 1, sizeof piece, in)) > 0;) {
        EVP_DigestUpdate(ctx, piece, n);
    }
    EVP_DigestUpdate(ctx, "", 1); /* what one file loses another can't gain */
    if (in != NULL) {
        (void)fclose(in);
    }
}

/* So that a reload can say whether certificates have changed. Files that can't be read are mistakes
 * elsewhere. */
static void listener_digest(struct conf_listener *listener)
{
    EVP_MD_CTX *ctx = listener->tls ? EVP_MD_CTX_new() : NULL;
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        digest_file(ctx, listener->certificate);
        digest_file(ctx, listener->client_ca);
        digest_file(ctx, listener->crl);
        EVP_DigestFinal_ex(ctx, listener->content, NULL);
    }
    EVP_MD_CTX_free(ctx);
}

static void listener_check_address(struct reading *reading, const struct conf_listener *listener,
                                   const struct field *fields)
{
    struct mistakes *mistakes = reading->mistakes;
    bool loopback = false;
    if (fields[LISTENER_ADDRESS].line == 0) {
        return;
    }
    if (!is_address(listener->address, &loopback)) {
        mistake_at(mistakes, field_place(&fields[LISTENER_ADDRESS], listener->place),
                   "address must be a numeric IPv4 or IPv6 address, not \"%.60s\"",
                   listener->address);
    } else if (!listener->tls && !loopback) {
        mistake_at(mistakes, field_place(&fields[LISTENER_TLS], listener->place),
                   "tls = off is for loopback addresses only, and %s is none", listener->address);
    }
}

static void listener_check_security(struct reading *reading, const struct conf_listener *listener,
                                    const struct tree_section *section, const struct field *fields)
{
    static const int needed[] = {LISTENER_CERTIFICATE, LISTENER_KEY, LISTENER_CLIENT_CA};
    struct mistakes *mistakes = reading->mistakes;
    bool all = true;
    if (!listener->tls) {
        if (listener->device[0] == '\0' && section->complete) {
            mistake_at(mistakes, listener->place,
                       "listener %s has tls = off and so needs device: %s", listener->name,
                       listener_settings[LISTENER_DEVICE].about);
        }
        return;
    }
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        const struct whorl_setting *setting = &listener_settings[needed[i]];
        if (fields[needed[i]].string[0] == '\0') {
            all = false;
            if (section->complete) {
                mistake_at(mistakes, field_place(&fields[needed[i]], listener->place),
                           "listener %s lacks %s: %s", listener->name, setting->name,
                           setting->about);
            }
        }
    }
    if (all) {
        struct certificate_places places = {
            field_place(&fields[LISTENER_CERTIFICATE], listener->place),
            field_place(&fields[LISTENER_KEY], listener->place),
            field_place(&fields[LISTENER_CLIENT_CA], listener->place),
            field_place(&fields[LISTENER_CRL], listener->place),
        };
        certificates_check(mistakes, listener, &places);
    }
}

static void listener_read(struct reading *reading, const struct tree_section *section,
                          struct conf_listener *listener)
{
    const char *what = arena_printf(reading->arena, "listener %s", section->title);
    sections_refuse_inner(reading, section, NULL);
    struct field *fields =
        fields_read(reading, SCHEMA(listener_settings), section, section->place, what);
    *listener = (struct conf_listener){
        .place = section->place,
        .name = section->title,
        .address = fields[LISTENER_ADDRESS].string,
        .port = (uint16_t)fields[LISTENER_PORT].integer,
        .tls = fields[LISTENER_TLS].boolean,
        .certificate = fields[LISTENER_CERTIFICATE].string,
        .key = fields[LISTENER_KEY].string,
        .client_ca = fields[LISTENER_CLIENT_CA].string,
        .crl = fields[LISTENER_CRL].string,
        .device = fields[LISTENER_DEVICE].string,
    };
    listener_check_address(reading, listener, fields);
    listener_check_security(reading, listener, section, fields);
    listener_digest(listener);
}

void listeners_read(struct reading *reading, struct conf *conf, const struct sources *sources)
{
    struct conf_listener *list = arena_alloc(reading->arena, (sources->count + 1) * sizeof *list);
    sections_check_titles(reading, sources, false);
    for (size_t i = 0; i < sources->count; i++) {
        listener_read(reading, sources->sections[i], &list[i]);
        for (size_t j = 0; j < i; j++) {
            if (list[i].port != 0 && list[i].port == list[j].port &&
                strcmp(list[i].address, list[j].address) == 0) {
                mistake_at(reading->mistakes, list[i].place,
                           "listener %s has the address and port of listener %s (%s:%d)",
                           list[i].name, list[j].name, list[j].place.file, list[j].place.line);
            }
        }
    }
    conf->listeners = list;
    conf->listener_count = sources->count;
}

enum { MONITOR_ADDRESS, MONITOR_PORT, MONITOR_COUNT };

static const struct whorl_setting monitor_settings[MONITOR_COUNT] = {
    [MONITOR_ADDRESS] = {"address", WHORL_SETTING_STRING, 0, "\"127.0.0.1\"", 2, 64,
                         "the numeric loopback address to listen on"},
    [MONITOR_PORT] = {"port", WHORL_SETTING_INTEGER, WHORL_SETTING_REQUIRED, NULL, 0, 65535,
                      "the TCP port; 0: one that the system chooses"},
};

void monitor_read(struct reading *reading, struct conf *conf, const struct sources *monitors)
{
    conf->monitor = (struct conf_monitor){.on = monitors->count > 0, .address = ""};
    for (size_t i = 0; i < monitors->count; i++) {
        const struct tree_section *section = monitors->sections[i];
        bool loopback = false;
        if (i > 0) {
            mistake_at(reading->mistakes, section->place,
                       "monitor { } is there twice, first in %s:%d",
                       monitors->sections[0]->place.file, monitors->sections[0]->place.line);
            continue;
        }
        sections_refuse_inner(reading, section, NULL);
        struct field *fields =
            fields_read(reading, SCHEMA(monitor_settings), section, section->place, "monitor");
        conf->monitor.address = fields[MONITOR_ADDRESS].string;
        conf->monitor.port = (uint16_t)fields[MONITOR_PORT].integer;
        if (!is_address(conf->monitor.address, &loopback) || !loopback) {
            mistake_at(reading->mistakes, field_place(&fields[MONITOR_ADDRESS], section->place),
                       "address must be a loopback address, not \"%.60s\": whoever may read it "
                       "is not asked who they are",
                       conf->monitor.address);
        }
    }
}
