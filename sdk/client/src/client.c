#include "whorl/client.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "channel.h"

enum {
    MAX_REPLY = 64 << 20,
    CONNECT_MS = 10000,
    BACKOFF_MS = 250,
    BACKOFF_MAX_MS = 10000,
    METHOD_MAX = 100,
    HOST_CAP = 256,
};

struct whorl_client {
    char host[HOST_CAP], *address;
    const char *port; /* in address */
    struct channel_tls tls;
    uint32_t max_reply, connect_ms, backoff_ms, backoff_max_ms;
    struct channel channel;
    struct whorl_secret in; /* what has arrived and is not yet read */
    uint64_t last_id;
};

/* One call on its way. */
struct calling {
    struct whorl_client *client;
    const struct whorl_client_request *request;
    struct whorl_client_reply *reply;
    struct whorl_fault *fault;
    uint64_t until;
    bool sent; /* some of the request may have reached the server, with this attempt */
};

/* How an attempt ended. */
enum attempt {
    ATTEMPT_ANSWERED,
    ATTEMPT_AGAIN, /* another one may follow */
    ATTEMPT_OVER,  /* none may */
};

static void hang_up(struct whorl_client *client)
{
    channel_close(&client->channel);
    whorl_secret_release(&client->in);
}

static bool read_options(struct whorl_client *client, const struct whorl_client_options *options,
                         struct whorl_fault *fault)
{
    if (options->size < sizeof *options || !options->server) {
        return whorl_fail(fault, "", "the options have no size or no server");
    }
    client->address = strdup(options->server);
    if (!client->address) {
        return whorl_fail(fault, "", "out of memory");
    }
    if (!channel_split(client->address, client->host, sizeof client->host, &client->port)) {
        return whorl_fail(fault, "server", "expected HOST:PORT, found \"%s\"", options->server);
    }
    client->max_reply = options->max_reply ? options->max_reply : MAX_REPLY;
    client->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
    client->backoff_ms = options->backoff_ms ? options->backoff_ms : BACKOFF_MS;
    client->backoff_max_ms = options->backoff_max_ms ? options->backoff_max_ms : BACKOFF_MAX_MS;
    if (!options->certificate) {
        return true;
    }
    if (!options->key || !options->ca) {
        return whorl_fail(fault, "", "a certificate needs a key and a ca");
    }
    return channel_tls_load(&client->tls, options->certificate, options->key, options->ca, fault);
}

struct whorl_client *whorl_client_new(const struct whorl_client_options *options,
                                      struct whorl_fault *fault)
{
    struct whorl_client *client = calloc(1, sizeof *client);
    if (!client) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    client->channel.fd = -1;
    if (!read_options(client, options, fault)) {
        whorl_client_free(client);
        return NULL;
    }
    return client;
}

void whorl_client_free(struct whorl_client *client)
{
    if (client) {
        hang_up(client);
        channel_tls_free(&client->tls);
        free(client->address);
        free(client);
    }
}

static enum channel_end connect_until(struct whorl_client *client, uint64_t until,
                                      struct whorl_fault *fault)
{
    uint64_t own = backoff_now() + client->connect_ms;
    if (client->channel.fd >= 0 && channel_alive(&client->channel)) {
        return CHANNEL_DONE;
    }
    hang_up(client);
    enum channel_end end = channel_open(&client->channel, client->host, client->port, &client->tls,
                                        own < until ? own : until, fault);
    /* An attempt that took too long is a failed one as long as there is time for another. */
    return end == CHANNEL_LATE && backoff_left(until) > 0 ? CHANNEL_LOST : end;
}

bool whorl_client_connect(struct whorl_client *client, struct whorl_fault *fault)
{
    return connect_until(client, backoff_now() + client->connect_ms, fault) == CHANNEL_DONE;
}

/* --- one attempt --- */

static enum channel_end send_request(struct calling *calling)
{
    const struct whorl_client_request *request = calling->request;
    struct whorl_client *client = calling->client;
    struct whorl_secret out = {0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &out, whorl_secret_write);
    client->last_id++;
    bool packed =
        whorl_secret_reserve(&out, request->argument_len + METHOD_MAX + 32) &&
        msgpack_pack_array(&pk, 4) == 0 && msgpack_pack_int(&pk, 0) == 0 &&
        msgpack_pack_uint64(&pk, client->last_id) == 0 &&
        msgpack_pack_str_with_body(&pk, request->method, strlen(request->method)) == 0 &&
        msgpack_pack_array(&pk, 1) == 0 &&
        whorl_secret_write(&out, (const char *)request->argument, request->argument_len) == 0;
    enum channel_end end = CHANNEL_NEVER;
    if (packed) {
        end = channel_send(&client->channel, out.bytes, out.len, calling->until, &calling->sent,
                           calling->fault);
    } else {
        whorl_fail(calling->fault, "",
                   "out of memory for the request (is the limit on locked memory, ulimit -l, too "
                   "low?)");
    }
    whorl_secret_release(&out);
    return end;
}

/* Waits for one whole message and leaves it, parsed, in the reply. */
static enum channel_end next_message(struct calling *calling)
{
    struct whorl_client *client = calling->client;
    struct whorl_client_reply *reply = calling->reply;
    struct whorl_msg_walker walker = {0};
    size_t used = 0;
    enum whorl_msg_walk walk;
    while ((walk = whorl_msg_walk_on(&walker, client->in.bytes, client->in.len, client->max_reply,
                                     &used, calling->fault)) == WHORL_MSG_MORE) {
        enum channel_end end =
            channel_receive(&client->channel, &client->in, calling->until, calling->fault);
        if (end != CHANNEL_DONE) {
            return end;
        }
    }
    if (walk == WHORL_MSG_BAD) {
        return CHANNEL_NEVER;
    }
    if (whorl_secret_write(&reply->bytes, (const char *)client->in.bytes, used) != 0) {
        whorl_fail(calling->fault, "", "out of memory");
        return CHANNEL_NEVER;
    }
    whorl_secret_consume(&client->in, used);
    return whorl_msg_parse(reply->bytes.bytes, reply->bytes.len, &reply->msg, calling->fault)
               ? CHANNEL_DONE
               : CHANNEL_NEVER;
}

static bool is_message(const msgpack_object *root, uint64_t type, uint32_t size)
{
    return root->type == MSGPACK_OBJECT_ARRAY && root->via.array.size == size &&
           root->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           root->via.array.ptr[0].via.u64 == type;
}

/* Whether the message in the reply answers the call. false: it was a notification, or *end says
 * otherwise. */
static bool is_answer(struct calling *calling, enum channel_end *end)
{
    const struct whorl_client_listener *listener = calling->request->listener;
    struct whorl_client_reply *reply = calling->reply;
    const msgpack_object *root = &reply->msg.root;
    char name[METHOD_MAX + 1];
    if (is_message(root, 1, 4)) {
        const msgpack_object *part = root->via.array.ptr;
        if (part[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            part[1].via.u64 == calling->client->last_id) {
            reply->error = part[2].type == MSGPACK_OBJECT_NIL ? NULL : &part[2];
            reply->result = &part[3];
            return true;
        }
    } else if (is_message(root, 2, 3) && root->via.array.ptr[2].type == MSGPACK_OBJECT_ARRAY &&
               whorl_str_copy(&root->via.array.ptr[1], name, sizeof name)) {
        const msgpack_object_array *params = &root->via.array.ptr[2].via.array;
        if (params->size == 1 && strcmp(name, "error") == 0) { /* the connection's last word */
            reply->error = &params->ptr[0];
            hang_up(calling->client);
            return true;
        }
        if (params->size == 1 && listener && listener->notified) {
            listener->notified(listener->ctx, name, &params->ptr[0]);
        }
        return false;
    }
    whorl_fail(calling->fault, "", "the server sent a message that is no msgpack-RPC");
    *end = CHANNEL_NEVER;
    return false;
}

/* Reading looks at the time only when there is nothing to be read; a server that never stops
 * talking would be listened to for ever. */
static enum channel_end listen_on(const struct calling *calling)
{
    if (backoff_left(calling->until) > 0) {
        return CHANNEL_DONE;
    }
    whorl_fail(calling->fault, "", "the server does not answer");
    return CHANNEL_LATE;
}

static enum attempt attempt(struct calling *calling)
{
    struct whorl_client *client = calling->client;
    calling->sent = false;
    enum channel_end end = connect_until(client, calling->until, calling->fault);
    end = end == CHANNEL_DONE ? send_request(calling) : end;
    bool answered = false;
    /* A server that hangs up before it has taken everything may have said why. */
    end = end == CHANNEL_LOST && calling->sent ? CHANNEL_DONE : end;
    while (!answered && end == CHANNEL_DONE) {
        end = next_message(calling);
        answered = end == CHANNEL_DONE && is_answer(calling, &end);
        if (!answered) {
            whorl_client_reply_release(calling->reply);
            end = end == CHANNEL_DONE ? listen_on(calling) : end;
        }
    }
    if (answered) {
        return ATTEMPT_ANSWERED;
    }
    hang_up(client);
    if (end != CHANNEL_LOST) {
        return ATTEMPT_OVER;
    }
    return !calling->sent || calling->request->repeatable ? ATTEMPT_AGAIN : ATTEMPT_OVER;
}

/* --- all attempts --- */

/* Whether an error in a reply says that the request had no effect and may be sent again; *wait_ms
 * is then what the server wishes, or 0. */
static bool is_passing(struct whorl_client *client, const msgpack_object *error, uint64_t *wait_ms)
{
    const msgpack_object *code = error ? whorl_map_get(error, "code") : NULL;
    const msgpack_object *retry = error ? whorl_map_get(error, "retry_ms") : NULL;
    *wait_ms = retry && retry->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? retry->via.u64 : 0;
    if (whorl_str_is(code, "draining")) {
        hang_up(client); /* its successor listens, or will */
        return true;
    }
    return whorl_str_is(code, "busy");
}

static void say_retrying(struct calling *calling, uint64_t wait_ms)
{
    const struct whorl_client_listener *listener = calling->request->listener;
    if (listener && listener->retrying) {
        listener->retrying(listener->ctx, calling->fault, wait_ms);
    }
}

static uint64_t next_wait(const struct whorl_client *client, uint32_t failures)
{
    uint32_t random = 0;
    (void)RAND_bytes((unsigned char *)&random, sizeof random);
    return backoff_wait(failures, client->backoff_ms, client->backoff_max_ms, random);
}

/* Waits before another attempt; false if that would leave no time for it. */
static bool wait_for_next(struct calling *calling, uint64_t wait_ms)
{
    if (wait_ms >= backoff_left(calling->until)) {
        return false;
    }
    say_retrying(calling, wait_ms);
    backoff_sleep(wait_ms);
    return true;
}

static bool is_sound(const struct whorl_client_request *request,
                     const struct whorl_client_reply *reply, struct whorl_fault *fault)
{
    size_t used = 0;
    if (request->size < sizeof *request || !request->method || !request->method[0] ||
        strlen(request->method) > METHOD_MAX || request->deadline_ms < 1 || reply->bytes.len > 0) {
        return whorl_fail(fault, "",
                          "the call has no size, method or deadline, or its reply is not empty");
    }
    if (request->argument_len == 0 ||
        whorl_msg_walk(request->argument, request->argument_len, request->argument_len, &used,
                       fault) != WHORL_MSG_WHOLE ||
        used != request->argument_len) {
        return whorl_fail(fault, "argument", "is not one msgpack object");
    }
    return true;
}

bool whorl_client_call(struct whorl_client *client, const struct whorl_client_request *request,
                       struct whorl_client_reply *reply, struct whorl_fault *fault)
{
    struct whorl_fault own = {"", ""};
    struct calling calling = {
        .client = client, .request = request, .reply = reply, .fault = fault ? fault : &own};
    if (!is_sound(request, reply, calling.fault)) {
        return false;
    }
    uint64_t now = backoff_now();
    calling.until =
        request->deadline_ms < UINT64_MAX - now ? now + request->deadline_ms : UINT64_MAX;
    for (uint32_t attempts = 1;; attempts++) {
        uint64_t asked_ms = 0;
        enum attempt end = attempt(&calling);
        reply->attempts = attempts;
        if (end == ATTEMPT_ANSWERED && !is_passing(client, reply->error, &asked_ms)) {
            return true;
        }
        if (end == ATTEMPT_OVER) {
            return false;
        }
        if (end == ATTEMPT_ANSWERED) {
            whorl_fail(calling.fault, "", "the server is busy");
        }
        uint64_t wait_ms = next_wait(client, attempts);
        if (!wait_for_next(&calling, wait_ms > asked_ms ? wait_ms : asked_ms)) {
            return end == ATTEMPT_ANSWERED;
        }
        whorl_client_reply_release(reply);
    }
}

void whorl_client_reply_release(struct whorl_client_reply *reply)
{
    whorl_msg_release(&reply->msg);
    whorl_secret_release(&reply->bytes);
    *reply = (struct whorl_client_reply){0};
}
