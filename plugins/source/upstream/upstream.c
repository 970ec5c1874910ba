#include "plugins/source/upstream/upstream.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/source/upstream/ask.h"
#include "plugins/source/upstream/merge.h"
#include "plugins/source/upstream/settings.h"
#include "whorl/answer.h"

enum {
    ROOM = 4096,           /* bytes that a request may have beyond what the host's message has */
    CANCEL_MS = 5000,      /* for telling the upstream gateway that nobody waits any more */
    CANCEL_BYTES_MAX = 96, /* {request_id} */
    STAGE_MAX = 31,        /* bytes of a stage's name that hosts take */
};

/* What one of the two has answered: bytes of an answer map, or why there are none. */
struct reply {
    msgpack_sbuffer bytes;
    bool asked, answered;
    uint64_t began, elapsed_ms;
    char failure[PART_REASON_MAX + 1];
};

/* A call on its way. */
struct passing {
    struct passing *next; /* in the instance's list; under its lock */
    struct upstream *upstream;
    uint64_t call;
    const uint8_t *message; /* the host's, until the call is completed */
    size_t len;
    uint64_t began;
    atomic_uint left; /* whom it waits for, and one for who starts them */
    struct reply own, above;

    /* Once read; by one thread at a time. */
    bool read;
    struct whorl_msg msg;
    bool readable;
    struct ask ask;
    struct whorl_fault unreadable;
    uint8_t *argument; /* secret */
    size_t argument_cap, argument_len;

    /* Under the lock. */
    uint64_t line_call; /* 0: none */
    bool given_up;
};

struct upstream {
    const struct whorl_host *host;
    enum whorl_role role;
    struct upstream_options options;
    struct upstream_local local;
    struct whorl_host inner_host; /* what local sees: its answers come here */
    void *inner;
    struct whorl_line *line;
    pthread_mutex_t lock;
    struct passing *calls;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* With the lock held. */
static struct passing *find(struct upstream *upstream, uint64_t call)
{
    struct passing *passing = upstream->calls;
    while (passing && passing->call != call) {
        passing = passing->next;
    }
    return passing;
}

/* ------------------------------------------------------------------ the end of a call */

static void forget(struct reply *reply)
{
    if (reply->bytes.data) {
        explicit_bzero(reply->bytes.data, reply->bytes.alloc);
    }
    msgpack_sbuffer_destroy(&reply->bytes);
}

static void release(struct passing *passing)
{
    struct upstream *upstream = passing->upstream;
    pthread_mutex_lock(&upstream->lock);
    for (struct passing **at = &upstream->calls; *at; at = &(*at)->next) {
        if (*at == passing) {
            *at = passing->next;
            break;
        }
    }
    pthread_mutex_unlock(&upstream->lock);
    upstream->host->secret_free(upstream->host, passing->argument, passing->argument_cap);
    if (passing->readable) {
        whorl_msg_release(&passing->msg);
    }
    forget(&passing->own);
    forget(&passing->above);
    free(passing);
}

/* Reads the host's message, once. */
static bool read_message(struct passing *passing)
{
    if (!passing->read) {
        struct whorl_fault *fault = &passing->unreadable;
        passing->read = true;
        passing->readable = whorl_msg_parse(passing->message, passing->len, &passing->msg, fault);
        if (passing->readable &&
            ask_read(&passing->msg.root, passing->upstream->role, &passing->ask, fault)) {
            fault->text[0] = '\0';
        }
    }
    return passing->unreadable.text[0] == '\0';
}

/* Makes a part of a reply; msg holds what it points into. */
static void judge(const struct passing *passing, struct reply *reply, struct whorl_msg *msg,
                  struct part *part)
{
    struct whorl_fault fault = {"", ""};
    part->elapsed_ms = reply->elapsed_ms;
    if (!reply->answered) {
        part_set(part, PART_UNAVAILABLE, "%s", reply->failure);
    } else if (!whorl_msg_parse((const uint8_t *)reply->bytes.data, reply->bytes.size, msg,
                                &fault)) {
        part_set(part, PART_UNAVAILABLE, "the answer could not be read: %s", fault.text);
    } else {
        (void)part_read(&msg->root, &passing->ask.question, part, &fault);
    }
}

static void conclude(struct passing *passing)
{
    struct upstream *upstream = passing->upstream;
    const struct whorl_host *host = upstream->host;
    const struct ask *ask = &passing->ask;
    struct part parts[2] = {{.renumbered = false}, {.renumbered = true}};
    const struct part *asked[2];
    struct whorl_msg msgs[2] = {{.zone = NULL}, {.zone = NULL}};
    struct whorl_answer answer;
    size_t count = 0;
    (void)read_message(passing);
    const char *backend =
        upstream->options.backend[0] != '\0' ? upstream->options.backend : ask->backend;
    snprintf(parts[0].gateway, sizeof parts[0].gateway, "%s",
             ask->gateway[0] != '\0' ? ask->gateway : "here");
    snprintf(parts[0].backend, sizeof parts[0].backend, "%s",
             ask->backend[0] != '\0' ? ask->backend : "local");
    snprintf(parts[1].gateway, sizeof parts[1].gateway, "%s", upstream->options.gateway);
    snprintf(parts[1].backend, sizeof parts[1].backend, "%s",
             backend[0] != '\0' ? backend : "unknown");
    if (passing->own.asked) {
        judge(passing, &passing->own, &msgs[0], &parts[0]);
        asked[count++] = &parts[0];
    }
    if (passing->above.asked) {
        judge(passing, &passing->above, &msgs[1], &parts[1]);
        asked[count++] = &parts[1];
    }
    whorl_answer_begin(&answer);
    merge_pack(&answer.pk, asked, count, &ask->question);
    uint64_t call = passing->call;
    for (size_t i = 0; i < 2; i++) {
        if (msgs[i].zone) {
            whorl_msg_release(&msgs[i]);
        }
    }
    release(passing); /* nothing of a probe is left when the call is completed */
    whorl_answer_give(&answer, host, call, upstream->role);
    whorl_answer_drop(&answer);
}

/* One of those that the call waits for is done. */
static void leave(struct passing *passing)
{
    if (atomic_fetch_sub(&passing->left, 1) == 1) {
        conclude(passing);
    }
}

/* ------------------------------------------------------------------ asking upstream */

__attribute__((format(printf, 2, 3))) static void fail(struct passing *passing, const char *format,
                                                       ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!whorl_text_is_clean(text, strlen(text))) {
        snprintf(text, sizeof text, "it failed, and what it said of that is no text");
    }
    part_clip(text, PART_REASON_MAX);
    memcpy(passing->above.failure, text, strlen(text) + 1);
    passing->above.elapsed_ms = now_ms() - passing->above.began;
}

/* The answer of the backend that was asked; NULL with the failure said. */
static const msgpack_object *answer_in(struct passing *passing, const msgpack_object *result)
{
    const struct upstream *upstream = passing->upstream;
    const char *wanted =
        upstream->options.backend[0] != '\0' ? upstream->options.backend : passing->ask.backend;
    const msgpack_object *gateway = whorl_map_get(result, "gateway");
    const msgpack_object *answers = whorl_map_get(result, "answers");
    if (gateway && gateway->type != MSGPACK_OBJECT_NIL &&
        !whorl_str_is(gateway, upstream->options.gateway)) {
        fail(passing, "another gateway answers at its address");
        return NULL;
    }
    for (uint32_t i = 0;
         answers && answers->type == MSGPACK_OBJECT_ARRAY && i < answers->via.array.size; i++) {
        const msgpack_object *answer = &answers->via.array.ptr[i];
        if (whorl_str_is(whorl_map_get(answer, "backend"), wanted)) {
            return answer;
        }
    }
    fail(passing, "the answer holds nothing of backend %s", wanted);
    return NULL;
}

static void say_refused(struct passing *passing, const msgpack_object *error)
{
    char code[64], message[200];
    if (!whorl_str_copy(whorl_map_get(error, "code"), code, sizeof code) ||
        !whorl_str_copy(whorl_map_get(error, "message"), message, sizeof message)) {
        fail(passing, "it refused, and did not say why");
        return;
    }
    fail(passing, "it refused (%s): %s", code, message);
}

/* Line's thread. */
static void ended(void *ctx, const struct whorl_client_reply *reply, const struct whorl_fault *why)
{
    struct passing *passing = ctx;
    struct upstream *upstream = passing->upstream;
    msgpack_packer pk;
    pthread_mutex_lock(&upstream->lock);
    passing->line_call = 0;
    pthread_mutex_unlock(&upstream->lock);
    const msgpack_object *answer = NULL;
    if (!reply) {
        fail(passing, "%s%s%s", why->where, why->where[0] != '\0' ? ": " : "", why->text);
    } else if (reply->error) {
        say_refused(passing, reply->error);
    } else {
        answer = answer_in(passing, reply->result);
    }
    if (answer) {
        msgpack_packer_init(&pk, &passing->above.bytes, msgpack_sbuffer_write);
        passing->above.answered = msgpack_pack_object(&pk, *answer) == 0;
        fail(passing, "out of memory"); /* counts only where it was not answered */
    }
    leave(passing);
}

/* A packer's write into the argument's memory, which remembers that it was too small. */
static int write_argument(void *data, const char *bytes, size_t len)
{
    struct passing *passing = data;
    if (passing->argument_len > passing->argument_cap ||
        len > passing->argument_cap - passing->argument_len) {
        passing->argument_len = SIZE_MAX;
        return -1;
    }
    memcpy(passing->argument + passing->argument_len, bytes, len);
    passing->argument_len += len;
    return 0;
}

/* Packs the request into secret memory; false with the failure said. */
static bool prepare(struct passing *passing, struct ask_time *time)
{
    struct upstream *upstream = passing->upstream;
    const struct whorl_host *host = upstream->host;
    const struct ask *ask = &passing->ask;
    struct whorl_fault fault = {"", ""};
    msgpack_packer pk;
    if (!read_message(passing)) {
        fail(passing, "%s%s%s", passing->unreadable.where,
             passing->unreadable.where[0] != '\0' ? ": " : "", passing->unreadable.text);
        return false;
    }
    if (!ask_may_pass(ask, upstream->options.gateway, &fault)) {
        fail(passing, "%s", fault.text);
        return false;
    }
    uint64_t gone = now_ms() - passing->began;
    *time = ask_time(ask->deadline_ms > gone ? ask->deadline_ms - gone : 0);
    if (time->given_ms == 0) {
        fail(passing, "too little time was left to ask it");
        return false;
    }
    passing->argument_cap = passing->len + ROOM;
    passing->argument = host->secret_alloc(host, passing->argument_cap);
    if (!passing->argument) {
        fail(passing, "not enough locked memory to ask it");
        return false;
    }
    msgpack_packer_init(&pk, passing, write_argument);
    ask_pack(&pk, ask,
             upstream->options.backend[0] != '\0' ? upstream->options.backend : ask->backend,
             time->given_ms);
    if (passing->argument_len > passing->argument_cap) {
        fail(passing, "the request is too large to be passed on");
        return false;
    }
    return true;
}

/* Under the lock, so that who cancels finds either nothing or the line's call. */
static bool send_request(struct passing *passing, const struct ask_time *time)
{
    struct upstream *upstream = passing->upstream;
    const struct whorl_line_call call = {.size = sizeof call,
                                         .repeatable = true, /* by its request id */
                                         .method = "identify",
                                         .argument = passing->argument,
                                         .argument_len = passing->argument_len,
                                         .deadline_ms = time->waited_ms,
                                         .ctx = passing,
                                         .ended = ended};
    pthread_mutex_lock(&upstream->lock);
    bool given_up = passing->given_up;
    passing->line_call = given_up ? 0 : whorl_line_call(upstream->line, &call);
    bool sent = passing->line_call != 0;
    if (!sent) { /* nobody else ends it */
        fail(passing, "%s", given_up ? "the call was given up" : "out of memory");
    }
    pthread_mutex_unlock(&upstream->lock);
    return sent;
}

/* Worker thread. */
static void ask_job(void *arg)
{
    struct passing *passing = arg;
    struct ask_time time;
    if (!prepare(passing, &time) || !send_request(passing, &time)) {
        leave(passing);
    }
    whorl_secret_forget(); /* what was copied */
}

/* The call waits for it already. */
static void ask_upstream(struct passing *passing)
{
    const struct whorl_host *host = passing->upstream->host;
    passing->above.asked = true;
    passing->above.began = now_ms();
    if (!host->submit(host, ask_job, passing)) {
        fail(passing, "the server is stopping");
        leave(passing);
    }
}

/* Line's thread: how far the upstream gateway is, for its own officers and ours. */
static void notified(void *ctx, const char *method, const msgpack_object *argument)
{
    struct upstream *upstream = ctx;
    const struct whorl_host *host = upstream->host;
    const msgpack_object *id = whorl_map_get(argument, "request_id");
    const msgpack_object *fraction = whorl_map_get(argument, "fraction");
    char stage[32], shown[80];
    if (strcmp(method, "progress") != 0 || !id ||
        !whorl_str_copy(whorl_map_get(argument, "stage"), stage, sizeof stage)) {
        return;
    }
    bool named = strchr(stage, '/') != NULL; /* by a gateway further up */
    snprintf(shown, sizeof shown, "%.16s%s%s", named ? "" : upstream->options.gateway,
             named ? "" : "/", stage);
    shown[STAGE_MAX] = '\0';
    pthread_mutex_lock(&upstream->lock);
    for (struct passing *passing = upstream->calls; passing; passing = passing->next) {
        if (passing->line_call != 0 && whorl_str_is(id, passing->ask.request_id)) {
            bool known = fraction && fraction->type == MSGPACK_OBJECT_FLOAT64;
            host->progress(host, passing->call, shown, known ? fraction->via.f64 : -1.0);
        }
    }
    pthread_mutex_unlock(&upstream->lock);
}

/* Line's thread. */
static void changed(void *ctx, const struct whorl_fault *why, uint64_t wait_ms)
{
    const struct upstream *upstream = ctx;
    const struct whorl_host *host = upstream->host;
    char text[512];
    if (why) {
        snprintf(text, sizeof text,
                 "gateway %s is not reached: %s%s%s; it is tried again in %llu ms",
                 upstream->options.gateway, why->where, why->where[0] != '\0' ? ": " : "",
                 why->text, (unsigned long long)wait_ms);
    } else {
        snprintf(text, sizeof text, "gateway %s is reached", upstream->options.gateway);
    }
    if (whorl_text_is_clean(text, strlen(text))) {
        host->log(host, why ? WHORL_LOG_WARNING : WHORL_LOG_INFO, text);
    }
}

/* ------------------------------------------------------------------ asking the data here */

static struct upstream *of(const struct whorl_host *inner)
{
    return inner->ctx;
}

static bool is_match(const uint8_t *answer, size_t len)
{
    struct whorl_msg msg;
    struct whorl_fault fault;
    bool match = whorl_msg_parse(answer, len, &msg, &fault);
    if (match) {
        match = whorl_str_is(whorl_map_get(&msg.root, "class"), "match");
        whorl_msg_release(&msg);
    }
    return match;
}

/* The local data have answered. */
static void inner_complete(const struct whorl_host *inner, uint64_t call, const uint8_t *answer,
                           size_t len)
{
    struct upstream *upstream = of(inner);
    pthread_mutex_lock(&upstream->lock);
    struct passing *passing = find(upstream, call);
    pthread_mutex_unlock(&upstream->lock);
    if (!passing) {
        return; /* it completes each call once, so that this can't be */
    }
    struct reply *own = &passing->own;
    own->elapsed_ms = now_ms() - own->began;
    own->answered = msgpack_sbuffer_write(&own->bytes, (const char *)answer, len) == 0;
    snprintf(own->failure, sizeof own->failure, "out of memory");
    if (upstream->options.cascade == CASCADE_FIRST && !is_match(answer, len)) {
        ask_upstream(passing);
    } else {
        leave(passing);
    }
}

static void inner_log(const struct whorl_host *inner, enum whorl_log_level level, const char *text)
{
    const struct whorl_host *host = of(inner)->host;
    host->log(host, level, text);
}

static void inner_progress(const struct whorl_host *inner, uint64_t call, const char *stage,
                           double fraction)
{
    const struct whorl_host *host = of(inner)->host;
    host->progress(host, call, stage, fraction);
}

static bool inner_cancelled(const struct whorl_host *inner, uint64_t call)
{
    const struct whorl_host *host = of(inner)->host;
    return host->cancelled(host, call);
}

static bool inner_submit(const struct whorl_host *inner, void (*job)(void *arg), void *arg)
{
    const struct whorl_host *host = of(inner)->host;
    return host->submit(host, job, arg);
}

static uint64_t inner_timer_start(const struct whorl_host *inner, uint64_t milliseconds,
                                  void (*expired)(void *arg), void *arg)
{
    const struct whorl_host *host = of(inner)->host;
    return host->timer_start(host, milliseconds, expired, arg);
}

static void inner_timer_stop(const struct whorl_host *inner, uint64_t timer)
{
    const struct whorl_host *host = of(inner)->host;
    host->timer_stop(host, timer);
}

static void *inner_secret_alloc(const struct whorl_host *inner, size_t size)
{
    const struct whorl_host *host = of(inner)->host;
    return host->secret_alloc(host, size);
}

static void inner_secret_free(const struct whorl_host *inner, void *p, size_t size)
{
    const struct whorl_host *host = of(inner)->host;
    host->secret_free(host, p, size);
}

static const void *inner_extension(const struct whorl_host *inner, const char *name)
{
    const struct whorl_host *host = of(inner)->host;
    return host->extension(host, name);
}

/* ------------------------------------------------------------------ the instance */

static bool open_line(struct upstream *upstream, struct whorl_fault *fault)
{
    const struct upstream_options *options = &upstream->options;
    const struct whorl_line_options line = {
        .size = sizeof line,
        .client = &options->client,
        .server_name = options->server_name[0] != '\0' ? options->server_name : NULL,
        .ctx = upstream,
        .notified = notified,
        .changed = changed};
    upstream->line = whorl_line_new(&line, fault);
    return upstream->line != NULL;
}

/* After the line, because the local data begin to work at once and can't be stopped before a call
 * to stop. */
static bool open_inner(struct upstream *upstream, struct whorl_fault *fault)
{
    const struct whorl_host *host = upstream->host;
    upstream->inner_host = (struct whorl_host){
        .size = sizeof upstream->inner_host,
        .abi_major = host->abi_major,
        .abi_minor = host->abi_minor,
        .ctx = upstream,
        .settings = host->settings,
        .data_dir = host->data_dir,
        .workers = host->workers,
        .log = inner_log,
        .complete = inner_complete,
        .progress = inner_progress,
        .cancelled = inner_cancelled,
        .submit = inner_submit,
        .timer_start = inner_timer_start,
        .timer_stop = inner_timer_stop,
        .secret_alloc = inner_secret_alloc,
        .secret_free = inner_secret_free,
        .extension = inner_extension,
    };
    return upstream->options.cascade == CASCADE_UPSTREAM ||
           upstream->local.start(upstream->local.ctx, &upstream->inner_host, &upstream->inner,
                                 fault) == 0;
}

struct upstream *upstream_open(const struct whorl_host *host, enum whorl_role role,
                               const struct upstream_local *local, struct whorl_fault *fault)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (!upstream) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    upstream->host = host;
    upstream->role = role;
    upstream->local = *local;
    pthread_mutex_init(&upstream->lock, NULL);
    if (upstream_options_read(host->settings, &upstream->options, fault) &&
        open_line(upstream, fault) && open_inner(upstream, fault)) {
        return upstream;
    }
    whorl_line_free(upstream->line);
    pthread_mutex_destroy(&upstream->lock);
    free(upstream);
    return NULL;
}

void upstream_close(struct upstream *upstream)
{
    whorl_line_free(upstream->line);
    if (upstream->options.cascade != CASCADE_UPSTREAM) {
        upstream->local.stop(upstream->inner);
    }
    pthread_mutex_destroy(&upstream->lock);
    free(upstream);
}

void upstream_call(struct upstream *upstream, uint64_t call, const uint8_t *message, size_t len)
{
    enum upstream_cascade cascade = upstream->options.cascade;
    struct passing *passing = calloc(1, sizeof *passing);
    if (!passing) {
        whorl_answer_refuse(upstream->host, call, upstream->role, "out of memory");
        return;
    }
    passing->upstream = upstream;
    passing->call = call;
    passing->message = message;
    passing->len = len;
    passing->began = passing->own.began = now_ms();
    passing->own.asked = cascade != CASCADE_UPSTREAM;
    atomic_store(&passing->left, cascade == CASCADE_ALL ? 3 : 2);
    pthread_mutex_lock(&upstream->lock);
    passing->next = upstream->calls;
    upstream->calls = passing;
    pthread_mutex_unlock(&upstream->lock);
    if (cascade != CASCADE_FIRST) {
        ask_upstream(passing);
    }
    if (cascade != CASCADE_UPSTREAM) {
        upstream->local.call(upstream->inner, call, message, len);
    }
    leave(passing);
}

static void told(void *ctx, const struct whorl_client_reply *reply, const struct whorl_fault *why)
{
    (void)reply;
    (void)why;
    free(ctx);
}

/* Tells the upstream gateway that nobody waits for an answer any more. */
static void tell_given_up(struct upstream *upstream, const char *request_id)
{
    msgpack_sbuffer packed;
    msgpack_packer pk;
    uint8_t *bytes = malloc(CANCEL_BYTES_MAX);
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 1);
    whorl_put_str(&pk, "request_id", request_id);
    bool sent = false;
    if (bytes && packed.size > 0 && packed.size <= CANCEL_BYTES_MAX) {
        memcpy(bytes, packed.data, packed.size);
        const struct whorl_line_call call = {.size = sizeof call,
                                             .method = "cancel",
                                             .argument = bytes,
                                             .argument_len = packed.size,
                                             .deadline_ms = CANCEL_MS,
                                             .ctx = bytes,
                                             .ended = told};
        sent = whorl_line_call(upstream->line, &call) != 0;
    }
    if (!sent) {
        free(bytes);
    }
    msgpack_sbuffer_destroy(&packed);
}

void upstream_cancel(struct upstream *upstream, uint64_t call)
{
    char request_id[ASK_ID_MAX + 1] = "";
    pthread_mutex_lock(&upstream->lock);
    struct passing *passing = find(upstream, call);
    if (passing) {
        passing->given_up = true;
        if (passing->line_call != 0) {
            memcpy(request_id, passing->ask.request_id, sizeof request_id);
            whorl_line_cancel(upstream->line, passing->line_call);
        }
    }
    pthread_mutex_unlock(&upstream->lock);
    if (request_id[0] != '\0') {
        tell_given_up(upstream, request_id);
    }
}
