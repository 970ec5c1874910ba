#include "cli/device/device_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/clean.h"
#include "cli/common.h"
#include "cli/device/screen.h"

enum { OPT_CONNECT = 0x1000, OPT_CERT, OPT_KEY, OPT_CA, OPT_TIMEOUT };

static const struct argp_option device_options_list[] = {
    {"connect", OPT_CONNECT, "HOST:PORT", 0, "The server to ask", 1},
    {"cert", OPT_CERT, "FILE", 0,
     "This device's certificate (PEM); without it: plain TCP, to this machine alone", 1},
    {"key", OPT_KEY, "FILE", 0, "Its private key; left out: FILE of --cert with .key for .pem", 1},
    {"ca", OPT_CA, "FILE", 0,
     "The authority that the server's certificate must come from; left "
     "out: ca.pem beside --cert",
     1},
    {"timeout", OPT_TIMEOUT, "SECONDS", 0,
     "How long to wait for an answer, over however many connections it takes (default 90)", 1},
    {0},
};

/* FILE.pem -> FILE.key */
static bool key_beside(const char *cert, char *key, size_t cap)
{
    size_t len = strlen(cert);
    size_t stem = len > 4 && strcmp(cert + len - 4, ".pem") == 0 ? len - 4 : len;
    return (size_t)snprintf(key, cap, "%.*s.key", (int)stem, cert) < cap;
}

static bool ca_beside(const char *cert, char *ca, size_t cap)
{
    const char *slash = strrchr(cert, '/');
    int dir = slash ? (int)(slash - cert) + 1 : 0;
    return (size_t)snprintf(ca, cap, "%.*sca.pem", dir, cert) < cap;
}

static error_t complete(struct argp_state *state, struct device_args *args)
{
    struct whorl_client_options *options = &args->options;
    if (!options->server) {
        argp_error(state, "--connect HOST:PORT is missing");
    }
    if (!options->certificate && (options->key || options->ca)) {
        argp_error(state, "--key and --ca make sense with --cert only");
    }
    if (options->certificate) {
        if (!key_beside(options->certificate, args->key, sizeof args->key) ||
            !ca_beside(options->certificate, args->ca, sizeof args->ca)) {
            argp_error(state, "--cert: the path is too long");
        }
        options->key = options->key ? options->key : args->key;
        options->ca = options->ca ? options->ca : args->ca;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct device_args *args = state->input;
    struct whorl_client_options *options = &args->options;
    char *end;
    unsigned long seconds;
    switch (key) {
    case ARGP_KEY_INIT:
        *options = (struct whorl_client_options){.size = sizeof *options};
        args->timeout_s = 90;
        return 0;
    case OPT_CONNECT:
        options->server = arg;
        return 0;
    case OPT_CERT:
        options->certificate = arg;
        return 0;
    case OPT_KEY:
        options->key = arg;
        return 0;
    case OPT_CA:
        options->ca = arg;
        return 0;
    case OPT_TIMEOUT:
        seconds = strtoul(arg, &end, 10);
        if (*end || end == arg || seconds < 1 || seconds > 3600) {
            argp_error(state, "--timeout: expected 1 to 3600 seconds, found \"%s\"", arg);
        }
        args->timeout_s = (unsigned)seconds;
        return 0;
    case ARGP_KEY_END:
        return complete(state, args);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp device_argp = {.options = device_options_list, .parser = parse};

static void show_progress(void *ctx, const char *method, const msgpack_object *argument)
{
    (void)ctx;
    if (strcmp(method, "progress") == 0) {
        screen_progress(argument, stderr);
    }
}

static void show_retrying(void *ctx, const struct whorl_fault *why, uint64_t wait_ms)
{
    (void)ctx;
    fputs("whorl: ", stderr);
    clean_puts(why->where, stderr);
    fputs(*why->where ? ": " : "", stderr);
    clean_puts(why->text, stderr);
    fprintf(stderr, "; trying again in %.1f s\n", (double)wait_ms / 1000);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Packing goes on when memory has run out. */
static bool is_whole(const struct whorl_secret *argument, struct whorl_fault *fault)
{
    size_t used = 0;
    return (whorl_msg_walk(argument->bytes, argument->len, argument->len, &used, NULL) ==
                WHORL_MSG_WHOLE &&
            used == argument->len) ||
           whorl_fail(fault, "", "out of memory for the request, or of locked memory (ulimit -l)");
}

int device_ask(const struct device_args *args, const char *method, bool repeatable,
               const struct whorl_secret *argument, struct whorl_client_reply *reply)
{
    struct whorl_fault fault = {0};
    bool terminal = isatty(STDERR_FILENO) == 1;
    struct whorl_client_options options = args->options;
    const struct whorl_client_listener listener = {.notified = terminal ? show_progress : NULL,
                                                   .retrying = show_retrying};
    struct whorl_client_request request = {.size = sizeof request,
                                           .repeatable = repeatable,
                                           .method = method,
                                           .argument = argument->bytes,
                                           .argument_len = argument->len,
                                           .listener = &listener};
    options.connect_ms = args->timeout_s * 1000;
    uint64_t began = now_ms();
    struct whorl_client *client = whorl_client_new(&options, &fault);
    /* A person wants to know at once that there is no such server. */
    bool ok = client && is_whole(argument, &fault) && whorl_client_connect(client, &fault);
    uint64_t gone = now_ms() - began;
    request.deadline_ms = gone < options.connect_ms ? options.connect_ms - gone : 1;
    ok = ok && whorl_client_call(client, &request, reply, &fault);
    whorl_client_free(client);
    if (terminal) {
        fputs("\r\033[K", stderr);
    }
    if (!ok) {
        return print_fault(&fault);
    }
    if (reply->error) {
        fputs("whorl: the server refused: ", stderr);
        screen_error(reply->error, stderr);
        return 3;
    }
    return 0;
}

bool device_print_json(const msgpack_object *result)
{
    bool ok = screen_json(result, stdout);
    if (!ok) {
        fputs("whorl: the answer could not be written whole as JSON\n", stderr);
    }
    return ok;
}
