#include "plugins/source/upstream/settings.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "plugins/source/upstream/upstream.h"

/* Answers of a search are small; what is larger is no answer. */
enum { MAX_REPLY = 8 << 20, CONNECT_MS = 5000, BACKOFF_MS = 250, BACKOFF_MAX_MS = 30000 };

static const char *text(const struct whorl_settings *settings, const char *name)
{
    const char *value = settings->string(settings, NULL, name);
    return value ? value : "";
}

bool upstream_is_source(const struct whorl_settings *settings)
{
    return strcmp(text(settings, "source"), WHORL_SOURCE_UPSTREAM) == 0;
}

const char *upstream_source_here(const struct whorl_settings *settings)
{
    return text(settings, "cascade_data");
}

bool upstream_asks_here(const struct whorl_settings *settings)
{
    return strcmp(text(settings, "cascade"), "upstream") != 0;
}

static bool read_cascade(const char *word, enum upstream_cascade *cascade,
                         struct whorl_fault *fault)
{
    static const char *const words[] = {"upstream", "first", "all"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i]) == 0) {
            *cascade = (enum upstream_cascade)i;
            return true;
        }
    }
    return whorl_fail(fault, "cascade", "must be upstream, first or all, not \"%s\"", word);
}

/* As core { gateway }. */
static bool is_gateway(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return name[0] != '\0' && strlen(name) <= PART_NAME_MAX && !strchr("._-", name[0]) &&
           name[strspn(name, letters)] == '\0';
}

bool upstream_options_read(const struct whorl_settings *settings, struct upstream_options *options,
                           struct whorl_fault *fault)
{
    static const char *const needed[] = {"upstream_gateway", "upstream_address",
                                         "upstream_certificate", "upstream_key", "upstream_ca"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (text(settings, needed[i])[0] == '\0') {
            return whorl_fail(fault, needed[i], "is missing, and source = upstream needs it");
        }
    }
    *options = (struct upstream_options){
        .gateway = text(settings, "upstream_gateway"),
        .backend = text(settings, "upstream_backend"),
        .server_name = text(settings, "upstream_server_name"),
        .client = {.size = sizeof options->client,
                   .max_reply = MAX_REPLY,
                   .server = text(settings, "upstream_address"),
                   .certificate = text(settings, "upstream_certificate"),
                   .key = text(settings, "upstream_key"),
                   .ca = text(settings, "upstream_ca"),
                   .connect_ms = CONNECT_MS,
                   .backoff_ms = BACKOFF_MS,
                   .backoff_max_ms = BACKOFF_MAX_MS},
    };
    if (!is_gateway(options->gateway)) {
        return whorl_fail(fault, "upstream_gateway",
                          "must be letters, digits and . _ -, beginning with a letter or digit");
    }
    return read_cascade(text(settings, "cascade"), &options->cascade, fault);
}

/* Who has the key is this gateway. */
static bool check_key(const char *path, struct whorl_fault *fault)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return whorl_fail(fault, "upstream_key", "cannot be read: %s", strerror(errno));
    }
    mode_t others = st.st_uid == 0 ? 0007 : 0077; /* root may let a group read its own */
    return (st.st_mode & others) == 0 ||
           whorl_fail(fault, "upstream_key", "can be used by others (mode %04o): chmod 600",
                      (unsigned)st.st_mode & 07777u);
}

int upstream_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    struct upstream_options options;
    struct whorl_fault bad = {"", ""};
    const char *here = upstream_source_here(settings);
    if (strcmp(here, "lmdb") != 0 && strcmp(here, "postgresql") != 0) {
        whorl_fail(fault, "cascade_data", "must be lmdb or postgresql, not \"%s\"", here);
        return -1;
    }
    if (!upstream_options_read(settings, &options, fault) ||
        !check_key(options.client.key, fault)) {
        return -1;
    }
    struct whorl_client *client = whorl_client_new(&options.client, &bad);
    if (client) {
        whorl_client_free(client);
        return 0;
    }
    const char *where = strcmp(bad.where, options.client.ca) == 0    ? "upstream_ca"
                        : strcmp(bad.where, options.client.key) == 0 ? "upstream_key"
                        : strcmp(bad.where, "server") == 0           ? "upstream_address"
                        : bad.where[0] != '\0'                       ? "upstream_certificate"
                                                                     : "";
    whorl_fail(fault, where, "%s", bad.text);
    return -1;
}
