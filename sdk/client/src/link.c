/* A line's connection: made without waiting, written and read as far as it goes. */
#include <openssl/rand.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "backoff.h"
#include "line_parts.h"

enum {
    READS = 16, /* of at least 16 KiB before something else has its turn */
};

bool link_is_down(const struct whorl_line *line)
{
    return line->failures > 0 && line->link.state != LINK_UP;
}

static void hang_up(struct whorl_line *line)
{
    struct link *link = &line->link;
    channel_close(&link->channel);
    channel_tls_free(&link->tls);
    resolve_drop(link->resolve);
    if (link->addresses) {
        freeaddrinfo(link->addresses);
    }
    whorl_secret_release(&link->in);
    *link = (struct link){.channel.fd = -1};
}

void link_release(struct whorl_line *line)
{
    hang_up(line);
}

void link_drop(struct whorl_line *line)
{
    const struct whorl_fault why = {"", "the connection was given up"};
    hang_up(line);
    line_requeue(line, &why, false);
}

/* It can't be made: the line rests. */
static void fail(struct whorl_line *line, const struct whorl_fault *why)
{
    uint32_t random = 0;
    (void)RAND_bytes((unsigned char *)&random, sizeof random);
    hang_up(line);
    line->why = *why;
    line->failures++;
    uint64_t wait = backoff_wait(line->failures, line->backoff_ms, line->backoff_max_ms, random);
    line->retry_at = backoff_now() + wait;
    line_end_all(line, why);
    if (line->options.changed) {
        line->options.changed(line->options.ctx, why, wait);
    }
}

/* It is lost. What was under way on it waits for another, which is made at once; after one that
 * was of no use to anybody who waited, a little later: a server that hangs up as soon as it has
 * answered the ping would else be called in a loop. */
static void lose(struct whorl_line *line, const struct whorl_fault *why)
{
    if (line->link.state != LINK_UP) {
        fail(line, why);
        return;
    }
    if (line->calls && !line->link.used) {
        line->pause_until = backoff_now() + line->backoff_ms;
    }
    hang_up(line);
    line_requeue(line, why, true);
}

/* --- making it --- */

void link_come_up(struct whorl_line *line)
{
    bool news = line->failures > 0 || !line->begun;
    line->link.state = LINK_UP;
    line->failures = 0;
    line->begun = true;
    if (news && line->options.changed) {
        line->options.changed(line->options.ctx, NULL, 0);
    }
}

/* Begins with the addresses from link->address on. */
static void dial(struct whorl_line *line)
{
    struct link *link = &line->link;
    struct whorl_fault why = {"", "no address"};
    enum channel_end end = CHANNEL_LOST;
    for (; link->address && end == CHANNEL_LOST; link->address = link->address->ai_next) {
        link->dial_until = channel_dial_until(link->address, link->until);
        end = channel_dial(&link->channel, link->address, &link->tls, &why);
    }
    if (end == CHANNEL_LOST || end == CHANNEL_NEVER) {
        struct whorl_fault text = why;
        whorl_fail(&why, line->host, "cannot connect to port %s: %.150s", line->port, text.text);
        fail(line, &why);
        return;
    }
    link->state = end == CHANNEL_DONE ? LINK_SHAKING : LINK_DIALLING;
    link->wants = POLLOUT;
}

static void begin(struct whorl_line *line)
{
    struct link *link = &line->link;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct whorl_fault why = {"", ""};
    link->until = backoff_now() + line->connect_ms;
    if (line->certificate &&
        !channel_tls_load(&link->tls, line->certificate, line->key, line->ca, &why)) {
        fail(line, &why);
        return;
    }
    if (getaddrinfo(line->host, line->port, &hints, &link->addresses) == 0) {
        link->address = link->addresses;
        dial(line);
        return;
    }
    link->addresses = NULL; /* it is a name */
    link->resolve = resolve_begin(line->host, line->port);
    if (!link->resolve) {
        whorl_fail(&why, line->host, "cannot be looked up: out of memory, descriptors or threads");
        fail(line, &why);
        return;
    }
    link->state = LINK_RESOLVING;
    link->wants = POLLIN;
}

static void go_on_resolving(struct whorl_line *line)
{
    struct link *link = &line->link;
    struct whorl_fault why = {"", ""};
    int code;
    if (!resolve_take(link->resolve, &code, &link->addresses)) {
        return;
    }
    resolve_drop(link->resolve);
    link->resolve = NULL;
    if (code != 0) {
        link->addresses = NULL;
        whorl_fail(&why, line->host, "%s", gai_strerror(code));
        fail(line, &why);
        return;
    }
    link->address = link->addresses;
    dial(line);
}

static void go_on_dialling(struct whorl_line *line)
{
    struct whorl_fault why = {"", ""};
    if (channel_dialled(&line->link.channel, &why) == CHANNEL_DONE) {
        line->link.state = LINK_SHAKING;
    } else if (line->link.address) {
        dial(line);
    } else {
        struct whorl_fault text = why;
        whorl_fail(&why, line->host, "cannot connect to port %s: %.150s", line->port, text.text);
        fail(line, &why);
    }
}

static void go_on_shaking(struct whorl_line *line)
{
    static const char ping[] = "\x94\x00\x00\xa4ping\x91\xc0"; /* LINE_PING */
    struct link *link = &line->link;
    struct whorl_fault why = {"", ""};
    const char *name = line->name ? line->name : line->host;
    enum channel_end end =
        line->certificate ? channel_shake(&link->channel, name, &link->tls, &why) : CHANNEL_DONE;
    switch (end) {
    case CHANNEL_DONE: /* that certificates are accepted shows when something is answered */
        memcpy(link->head, ping, sizeof ping - 1);
        link->head_len = sizeof ping - 1;
        link->state = LINK_PROVING;
        break;
    case CHANNEL_READ:
        link->wants = POLLIN;
        break;
    case CHANNEL_WRITE:
        link->wants = POLLOUT;
        break;
    default:
        fail(line, &why);
        break;
    }
}

/* --- using it --- */

static struct line_call *next_call(const struct whorl_line *line)
{
    uint64_t now = backoff_now();
    if (line->link.retiring || line->in_flight >= line->options.max_calls) {
        return NULL;
    }
    for (struct line_call *call = line->calls; call; call = call->next) {
        if (!call->sent && call->not_before <= now) {
            return call;
        }
    }
    return NULL;
}

/* [0, id, method, [ and then the argument, which ends the frame. */
static bool begin_frame(struct whorl_line *line, struct line_call *call)
{
    struct link *link = &line->link;
    msgpack_sbuffer head;
    msgpack_packer pk;
    msgpack_sbuffer_init(&head);
    msgpack_packer_init(&pk, &head, msgpack_sbuffer_write);
    bool good = msgpack_pack_array(&pk, 4) == 0 && msgpack_pack_int(&pk, 0) == 0 &&
                msgpack_pack_uint64(&pk, call->id) == 0 &&
                msgpack_pack_str_with_body(&pk, call->method, strlen(call->method)) == 0 &&
                msgpack_pack_array(&pk, 1) == 0 && head.size <= sizeof link->head;
    if (good) {
        memcpy(link->head, head.data, head.size);
        link->head_len = head.size;
        link->sent = 0;
        link->sending = call;
        call->sent = link->used = true;
        line->in_flight++;
    }
    msgpack_sbuffer_destroy(&head);
    return good;
}

/* The rest of the frame that is being sent, in one of its two pieces; 0: all is sent. */
static size_t rest_of_frame(const struct link *link, const uint8_t **rest)
{
    size_t argument = link->sending ? link->sending->call.argument_len : 0;
    if (link->sent < link->head_len) {
        *rest = link->head + link->sent;
        return link->head_len - link->sent;
    }
    size_t at = link->sent - link->head_len;
    *rest = link->sending ? link->sending->call.argument + at : NULL;
    return argument - at;
}

/* Whether there is something to send, with the next call's frame begun if need be. */
static bool has_frame(struct whorl_line *line, const uint8_t **rest, size_t *len)
{
    struct link *link = &line->link;
    *len = rest_of_frame(link, rest);
    if (*len > 0) {
        return true;
    }
    link->sending = NULL;
    link->head_len = link->sent = 0;
    struct line_call *call = link->state == LINK_UP ? next_call(line) : NULL;
    if (!call) {
        return false;
    }
    if (!begin_frame(line, call)) {
        call->not_before = backoff_now() + line->backoff_ms; /* memory may come back */
        return false;
    }
    *len = rest_of_frame(link, rest);
    return true;
}

/* Sends as much as goes. */
static void write_frames(struct whorl_line *line)
{
    struct link *link = &line->link;
    struct whorl_fault why = {"", ""};
    const uint8_t *rest;
    size_t len, done;
    link->wants = POLLIN;
    while (!link->deaf && has_frame(line, &rest, &len)) {
        enum channel_end end = channel_write(&link->channel, rest, len, &done, &why);
        link->sent += done;
        if (end == CHANNEL_READ || end == CHANNEL_WRITE) {
            link->wants |= end == CHANNEL_WRITE ? POLLOUT : 0;
            return;
        }
        if (end == CHANNEL_LOST) { /* what it said before it hung up is still to be read */
            link->deaf = true;
            (void)shutdown(link->channel.fd, SHUT_WR); /* it may not have: so it will */
        }
        if (end == CHANNEL_NEVER) {
            lose(line, &why);
            return;
        }
    }
}

/* Takes whole messages out of what has come; false with *why: it is not what a server says. */
static bool take_messages(struct whorl_line *line, struct whorl_fault *why)
{
    struct link *link = &line->link;
    size_t used = 0;
    for (;;) {
        struct whorl_msg msg;
        switch (whorl_msg_walk_on(&link->walker, link->in.bytes, link->in.len, line->max_reply,
                                  &used, why)) {
        case WHORL_MSG_MORE:
            return true;
        case WHORL_MSG_BAD:
            return false;
        default:
            break;
        }
        if (!whorl_msg_parse(link->in.bytes, used, &msg, why)) {
            return false;
        }
        bool good = line_message(line, &msg.root, why);
        whorl_msg_release(&msg);
        if (!good) {
            return false;
        }
        whorl_secret_consume(&link->in, used);
        whorl_msg_walker_reset(&link->walker);
    }
}

static void read_messages(struct whorl_line *line)
{
    struct link *link = &line->link;
    struct whorl_fault why = {"", ""};
    link->more = false;
    for (int i = 0; i < READS; i++) {
        enum channel_end end = channel_read(&link->channel, &link->in, &why);
        if (end == CHANNEL_READ || end == CHANNEL_WRITE) {
            return;
        }
        if (end != CHANNEL_DONE || !take_messages(line, &why)) {
            lose(line, &why);
            return;
        }
    }
    link->more = true;
}

static void use(struct whorl_line *line, short events)
{
    struct link *link = &line->link;
    if (events != 0 || link->more) {
        read_messages(line);
    }
    if (link->state == LINK_UP && link->retiring && line->in_flight == 0) {
        hang_up(line);
    }
    if (link->state == LINK_PROVING || link->state == LINK_UP) {
        write_frames(line);
    }
}

/* --- from line.c --- */

/* Whether a connection is to be made now: the first one at once, to know early. */
static bool is_wanted(const struct whorl_line *line)
{
    return line->failures > 0 ? backoff_now() >= line->retry_at
                              : (line->calls || !line->begun) && backoff_now() >= line->pause_until;
}

void link_drive(struct whorl_line *line, short events)
{
    struct link *link = &line->link;
    bool in_use = link->state == LINK_PROVING || link->state == LINK_UP;
    if (in_use) {
        use(line, events);
    }
    if (link->state == LINK_NONE && is_wanted(line)) {
        begin(line);
        events = 0;
    }
    if (link->state == LINK_RESOLVING && events != 0) {
        go_on_resolving(line);
        events = 0;
    }
    if (link->state == LINK_DIALLING && events != 0) {
        go_on_dialling(line);
    } else if (link->state == LINK_DIALLING && link->address &&
               backoff_left(link->dial_until) == 0) {
        channel_close(&link->channel);
        dial(line);
    }
    if (link->state == LINK_SHAKING) {
        go_on_shaking(line);
    }
    if (!in_use && link->state == LINK_PROVING) {
        use(line, 0);
    }
    if (link->state != LINK_NONE && link->state != LINK_UP && backoff_left(link->until) == 0) {
        struct whorl_fault why = {"", "the server does not answer"};
        if (link->state == LINK_RESOLVING) {
            whorl_fail(&why, line->host, "could not be looked up in time");
        }
        fail(line, &why);
    }
}

int link_fd(const struct whorl_line *line)
{
    const struct link *link = &line->link;
    return link->state == LINK_RESOLVING ? resolve_fd(link->resolve) : link->channel.fd;
}

uint64_t link_due(const struct whorl_line *line)
{
    const struct link *link = &line->link;
    if (link->more) {
        return 0;
    }
    if (link->state == LINK_NONE) {
        return line->failures > 0 ? line->retry_at
               : line->calls      ? line->pause_until
               : is_wanted(line)  ? 0
                                  : UINT64_MAX;
    }
    return link->state == LINK_UP         ? UINT64_MAX
           : link->state == LINK_DIALLING ? link->dial_until
                                          : link->until;
}
