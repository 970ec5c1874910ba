/* The calls of a line, and its thread. */
#include "line_parts.h"

#include <errno.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backoff.h"

enum {
    MAX_REPLY = 64 << 20,
    MAX_CALLS = 64,
    CONNECT_MS = 10000,
    BACKOFF_MS = 250,
    BACKOFF_MAX_MS = 10000,
    WAIT_MAX_MS = 60000,
};

/* --- calls, on the line's thread --- */

void line_end(struct whorl_line *line, struct line_call *call,
              const struct whorl_client_reply *reply, const struct whorl_fault *fault)
{
    for (struct line_call **at = &line->calls; *at; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            line->last = call->next ? line->last : at;
            break;
        }
    }
    line->in_flight -= call->sent;
    call->call.ended(call->call.ctx, reply, fault);
    free(call);
}

void line_end_all(struct whorl_line *line, const struct whorl_fault *why)
{
    while (line->calls) {
        line_end(line, line->calls, NULL, why);
    }
}

void line_requeue(struct whorl_line *line, const struct whorl_fault *why, bool counted)
{
    for (struct line_call *call = line->calls, *next; call; call = next) {
        next = call->next;
        if (!call->sent) {
            continue;
        }
        call->attempts += counted;
        if (!call->call.repeatable || call->attempts >= LINE_ATTEMPTS) {
            line_end(line, call, NULL, why);
        } else {
            call->sent = false;
            line->in_flight--;
        }
    }
}

static uint64_t wait_before(const struct whorl_line *line, uint32_t failures)
{
    uint32_t random = 0;
    (void)RAND_bytes((unsigned char *)&random, sizeof random);
    return backoff_wait(failures, line->backoff_ms, line->backoff_max_ms, random);
}

/* Whether an error says that the request had no effect; then it is sent again if there is time. */
static bool sent_again(struct whorl_line *line, struct line_call *call, const msgpack_object *error)
{
    const msgpack_object *code = error ? whorl_map_get(error, "code") : NULL;
    const msgpack_object *retry = error ? whorl_map_get(error, "retry_ms") : NULL;
    bool draining = whorl_str_is(code, "draining");
    if (!draining && !whorl_str_is(code, "busy")) {
        return false;
    }
    uint64_t asked = retry && retry->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? retry->via.u64 : 0;
    uint64_t wait = wait_before(line, ++call->attempts);
    wait = wait > asked ? wait : asked;
    line->link.retiring |= draining; /* its successor listens, or will */
    if (wait >= backoff_left(call->until)) {
        return false;
    }
    call->not_before = backoff_now() + wait;
    call->attempts = call->attempts < LINE_ATTEMPTS ? call->attempts : LINE_ATTEMPTS - 1;
    call->sent = false;
    line->in_flight--;
    return true;
}

static bool is_message(const msgpack_object *root, uint64_t type, uint32_t size)
{
    return root->type == MSGPACK_OBJECT_ARRAY && root->via.array.size == size &&
           root->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           root->via.array.ptr[0].via.u64 == type;
}

/* An answer to a call that has been given up is nobody's. */
static bool take_answer(struct whorl_line *line, const msgpack_object *part)
{
    if (part[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
        return false;
    }
    struct line_call *call = line->calls;
    if (line->link.state == LINK_PROVING) {
        if (part[1].via.u64 != LINE_PING) {
            return false;
        }
        link_come_up(line);
        return true;
    }
    while (call && (call->id != part[1].via.u64 || !call->sent)) {
        call = call->next;
    }
    const struct whorl_client_reply reply = {.error = part[2].type == MSGPACK_OBJECT_NIL ? NULL
                                                                                         : &part[2],
                                             .result = &part[3],
                                             .attempts = call ? call->attempts + 1 : 0};
    if (call && call != line->link.sending && !sent_again(line, call, reply.error)) {
        line_end(line, call, &reply, NULL);
    }
    return true;
}

/* The connection's last word. */
static bool last_word(const msgpack_object *error, struct whorl_fault *fault)
{
    char code[64] = "", message[160] = "";
    whorl_str_copy(whorl_map_get(error, "code"), code, sizeof code);
    whorl_str_copy(whorl_map_get(error, "message"), message, sizeof message);
    return whorl_fail(fault, "", "the server ended the connection: %s%s%s", code,
                      message[0] ? ": " : "", message);
}

bool line_message(struct whorl_line *line, const msgpack_object *root, struct whorl_fault *fault)
{
    char name[LINE_METHOD_MAX + 1];
    if (is_message(root, 1, 4) && take_answer(line, root->via.array.ptr)) {
        return true;
    }
    if (is_message(root, 2, 3) && root->via.array.ptr[2].type == MSGPACK_OBJECT_ARRAY &&
        root->via.array.ptr[2].via.array.size == 1 &&
        whorl_str_copy(&root->via.array.ptr[1], name, sizeof name)) {
        const msgpack_object *argument = &root->via.array.ptr[2].via.array.ptr[0];
        if (strcmp(name, "error") == 0) {
            return last_word(argument, fault);
        }
        if (line->options.notified) {
            line->options.notified(line->options.ctx, name, argument);
        }
        return true;
    }
    return whorl_fail(fault, "", "the server sent a message that is no msgpack-RPC");
}

/* A frame of which a part has left can't be taken back. */
static void give_up(struct whorl_line *line, struct line_call *call, const char *why)
{
    struct whorl_fault fault = {"", ""};
    bool stuck = line->link.sending == call;
    whorl_fail(&fault, "", "%s", why);
    if (stuck) {
        line->link.sending = NULL;
    }
    line_end(line, call, NULL, &fault);
    if (stuck) {
        link_drop(line);
    }
}

static void expire(struct whorl_line *line)
{
    uint64_t now = backoff_now();
    struct line_call *call = line->calls;
    while (call) {
        struct line_call *next = call->next;
        if (call->until <= now) {
            give_up(line, call, "the server did not answer in time");
            next = line->calls; /* link_drop may have ended others */
        }
        call = next;
    }
}

/* --- the thread --- */

static void take_incoming(struct whorl_line *line, struct line_call *call)
{
    while (call) {
        struct line_call *next = call->next;
        call->next = NULL;
        *line->last = call;
        line->last = &call->next;
        if (link_is_down(line)) {
            line_end(line, call, NULL, &line->why);
        }
        call = next;
    }
}

static void take_cancels(struct whorl_line *line, const uint64_t *cancels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct line_call *call = line->calls;
        while (call && call->id != cancels[i]) {
            call = call->next;
        }
        if (call) {
            give_up(line, call, "the call was given up");
        }
    }
}

/* What other threads have asked for; false: to stop. */
static bool take_orders(struct whorl_line *line)
{
    uint64_t count;
    (void)!read(line->wake, &count, sizeof count);
    pthread_mutex_lock(&line->lock);
    struct line_call *incoming = line->incoming;
    uint64_t *cancels = line->cancels;
    size_t cancel_count = line->cancel_count;
    bool stopping = line->stopping;
    line->incoming = NULL;
    line->incoming_last = &line->incoming;
    line->cancels = NULL;
    line->cancel_count = line->cancel_cap = 0;
    pthread_mutex_unlock(&line->lock);
    take_incoming(line, incoming);
    take_cancels(line, cancels, cancel_count);
    free(cancels);
    return !stopping;
}

/* Milliseconds that poll may wait. */
static int wait_ms(const struct whorl_line *line)
{
    uint64_t due = link_due(line), now = backoff_now();
    for (const struct line_call *call = line->calls; call; call = call->next) {
        due = call->until < due ? call->until : due;
        bool waits = !call->sent && call->not_before > now;
        due = waits && call->not_before < due ? call->not_before : due;
    }
    uint64_t left = backoff_left(due);
    return left < WAIT_MAX_MS ? (int)left : WAIT_MAX_MS;
}

static void *run(void *arg)
{
    struct whorl_line *line = arg;
    const struct whorl_fault closed = {"", "the line was closed"};
    short events = 0;
    while (take_orders(line)) {
        expire(line);
        link_drive(line, events);
        struct pollfd wanted[] = {{.fd = line->wake, .events = POLLIN},
                                  {.fd = link_fd(line), .events = line->link.wants}};
        whorl_secret_forget();
        int ready = poll(wanted, 2, wait_ms(line));
        events = ready > 0 ? wanted[1].revents : 0;
    }
    line_end_all(line, &closed);
    link_release(line);
    return NULL;
}

/* --- any thread --- */

static void wake(struct whorl_line *line)
{
    (void)eventfd_write(line->wake, 1);
}

uint64_t whorl_line_call(struct whorl_line *line, const struct whorl_line_call *asked)
{
    size_t len = asked->method ? strnlen(asked->method, LINE_METHOD_MAX + 1) : 0, used = 0;
    struct whorl_fault fault;
    if (asked->size < sizeof *asked || len == 0 || len > LINE_METHOD_MAX ||
        asked->deadline_ms == 0 || asked->argument_len == 0 || !asked->ended ||
        whorl_msg_walk(asked->argument, asked->argument_len, asked->argument_len, &used, &fault) !=
            WHORL_MSG_WHOLE ||
        used != asked->argument_len) {
        return 0;
    }
    struct line_call *call = calloc(1, sizeof *call);
    if (!call) {
        return 0;
    }
    uint64_t now = backoff_now();
    call->call = *asked;
    call->until = asked->deadline_ms < UINT64_MAX - now ? now + asked->deadline_ms : UINT64_MAX;
    memcpy(call->method, asked->method, len);
    pthread_mutex_lock(&line->lock);
    uint64_t id = 0;
    if (!line->stopping) { /* what the last callbacks ask for would be neither sent nor ended */
        id = call->id = ++line->last_id;
        *line->incoming_last = call;
        line->incoming_last = &call->next;
    }
    pthread_mutex_unlock(&line->lock);
    if (id == 0) {
        free(call);
        return 0;
    }
    wake(line);
    return id;
}

void whorl_line_cancel(struct whorl_line *line, uint64_t call)
{
    pthread_mutex_lock(&line->lock);
    if (line->cancel_count == line->cancel_cap) {
        size_t cap = line->cancel_cap * 2 + 16;
        uint64_t *grown = realloc(line->cancels, cap * sizeof *grown);
        line->cancels = grown ? grown : line->cancels;
        line->cancel_cap = grown ? cap : line->cancel_cap;
    }
    if (line->cancel_count < line->cancel_cap) { /* else it ends at its deadline */
        line->cancels[line->cancel_count++] = call;
    }
    pthread_mutex_unlock(&line->lock);
    wake(line);
}

static char *copy(const char *text, bool *good)
{
    char *copied = text ? strdup(text) : NULL;
    *good = *good && (copied || !text);
    return copied;
}

static bool read_options(struct whorl_line *line, const struct whorl_line_options *options,
                         struct whorl_fault *fault)
{
    const struct whorl_client_options *client = options->client;
    if (options->size < sizeof *options || !client || client->size < sizeof *client ||
        !client->server) {
        return whorl_fail(fault, "", "the options have no size or no server");
    }
    bool good = true;
    line->options = *options;
    line->server = copy(client->server, &good);
    line->certificate = copy(client->certificate, &good);
    line->key = copy(client->key, &good);
    line->ca = copy(client->ca, &good);
    line->name = copy(options->server_name, &good);
    if (!good) {
        return whorl_fail(fault, "", "out of memory");
    }
    if (!channel_split(line->server, line->host, sizeof line->host, &line->port)) {
        return whorl_fail(fault, "server", "expected HOST:PORT, found \"%s\"", line->server);
    }
    line->options.max_calls = options->max_calls ? options->max_calls : MAX_CALLS;
    line->max_reply = client->max_reply ? client->max_reply : MAX_REPLY;
    line->connect_ms = client->connect_ms ? client->connect_ms : CONNECT_MS;
    line->backoff_ms = client->backoff_ms ? client->backoff_ms : BACKOFF_MS;
    line->backoff_max_ms = client->backoff_max_ms ? client->backoff_max_ms : BACKOFF_MAX_MS;
    if (!line->certificate) {
        return true;
    }
    if (!line->key || !line->ca) {
        return whorl_fail(fault, "", "a certificate needs a key and a ca");
    }
    struct channel_tls tls = {NULL, NULL};
    good = channel_tls_load(&tls, line->certificate, line->key, line->ca, fault);
    channel_tls_free(&tls);
    return good;
}

static void release(struct whorl_line *line)
{
    if (line->wake >= 0) {
        (void)close(line->wake);
    }
    pthread_mutex_destroy(&line->lock);
    free(line->cancels);
    free(line->server);
    free(line->certificate);
    free(line->key);
    free(line->ca);
    free(line->name);
    free(line);
}

/* The process's signals are not this thread's. */
static bool start_thread(struct whorl_line *line)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&line->thread, NULL, run, line);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0;
}

struct whorl_line *whorl_line_new(const struct whorl_line_options *options,
                                  struct whorl_fault *fault)
{
    struct whorl_line *line = calloc(1, sizeof *line);
    if (!line) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    line->last = &line->calls;
    line->incoming_last = &line->incoming;
    line->link.channel.fd = -1;
    pthread_mutex_init(&line->lock, NULL);
    line->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool good = line->wake >= 0 || whorl_fail(fault, "", "out of file descriptors");
    good = good && read_options(line, options, fault);
    good = good && (start_thread(line) || whorl_fail(fault, "", "a thread could not be made"));
    if (!good) {
        release(line);
        return NULL;
    }
    return line;
}

void whorl_line_free(struct whorl_line *line)
{
    if (line) {
        pthread_mutex_lock(&line->lock);
        line->stopping = true;
        pthread_mutex_unlock(&line->lock);
        wake(line);
        (void)pthread_join(line->thread, NULL);
        release(line);
    }
}
