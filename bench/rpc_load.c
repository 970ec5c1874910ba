#include "rpc_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <msgpack.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "whorl/msg.h"

#define IN_SIZE (256u << 10)
#define FRAME_MAX (1u << 20)
#define WARM_UP 0.1 /* of the time measured */
#define ID_DIGITS 32u
#define SUB 32u /* steps in each doubling of the latency: 3 % */
#define PATIENCE 60.0

struct connection {
    int fd;
    SSL *ssl;
    uint8_t *in, *out;
    size_t in_len, out_len;
    unsigned waiting;
    double sent[LOAD_DEPTH_MAX];   /* by slot; kinds without ids answer in order */
    uint8_t spare[LOAD_DEPTH_MAX]; /* slots, with a rate */
    unsigned spare_count;
    unsigned next_answered;
};

struct run {
    const struct load_target *target;
    unsigned depth;
    bool ending, counting;
    struct connection *all;
    unsigned connections, next; /* whose turn it is */
    double paced;               /* up to when requests are made, with a rate */
    uint64_t asked, answered, refused;
    uint32_t histogram[64 * SUB];
    double now, worst;
};

static uint8_t *identify_bytes; /* [0, id, "identify", [argument]] */
static size_t identify_len, identify_id_at;
static uint64_t identify_number;

void load_die(const char *what)
{
    fprintf(stderr, "bench/rpc: %s: %s\n", what, strerror(errno));
    exit(3);
}

double load_now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec at;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &at) != 0)
        return 0;
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

double load_cpu(pid_t pid)
{
    char path[64];
    int child;
    double total = cpu_of(pid);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1)
        total += cpu_of(child);
    if (file != NULL)
        fclose(file);
    return total;
}

/* ------------------------------------------------------------------ requests */

static void put_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str_with_body(pk, text, strlen(text));
}

static void put_pair(msgpack_packer *pk, const char *key, const char *text)
{
    put_text(pk, key);
    put_text(pk, text);
}

static void put_sample(msgpack_packer *pk, const struct load_sample *sample)
{
    msgpack_pack_map(pk, 4);
    put_pair(pk, "modality", sample->modality);
    put_pair(pk, "format", sample->format);
    put_text(pk, "position");
    msgpack_pack_int(pk, 2);
    put_text(pk, "data");
    msgpack_pack_bin_with_body(pk, sample->data, sample->len);
}

void load_prepare_identify(const struct load_sample *sample)
{
    static const char blank[] = "00000000000000000000000000000000";
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_sbuffer_write(&out, "\x94\x00\xce\0\0\0\0", 7);
    put_text(&pk, "identify");
    msgpack_pack_array(&pk, 1);
    msgpack_pack_map(&pk, 10);
    put_text(&pk, "request_id");
    put_text(&pk, blank);
    identify_id_at = out.size - ID_DIGITS;
    put_pair(&pk, "officer", "WMP1234");
    put_pair(&pk, "basis", "consent");
    put_pair(&pk, "consent", "given");
    put_pair(&pk, "stop_power", "rta-163");
    put_pair(&pk, "reason", "Name doubted at a road check");
    put_text(&pk, "reason_code");
    msgpack_pack_int(&pk, 1);
    put_text(&pk, "subject");
    msgpack_pack_map(&pk, 1);
    put_pair(&pk, "condition", "adult");
    put_text(&pk, "checks");
    msgpack_pack_array(&pk, 1);
    put_text(&pk, sample->check);
    put_text(&pk, "samples");
    msgpack_pack_array(&pk, 1);
    put_sample(&pk, sample);
    identify_number = (uint64_t)time(NULL) << 32 | (uint64_t)getpid() << 16;
    identify_bytes = malloc(out.size);
    identify_len = out.size;
    if (identify_bytes == NULL || out.size > FRAME_MAX)
        load_die("the sample is too large");
    memcpy(identify_bytes, out.data, out.size);
    msgpack_sbuffer_destroy(&out);
}

static size_t put_head(uint8_t *to, unsigned slot, const char *method)
{
    size_t len = strlen(method);
    memcpy(to, "\x94\x00\xce\0\0\0", 6);
    to[6] = (uint8_t)slot;
    to[7] = (uint8_t)(0xa0 | len);
    memcpy(to + 8, method, len);
    to[8 + len] = 0x91;
    return 9 + len;
}

/* A request of LOAD_REQUEST bytes whose argument is a text up to its end. */
static size_t put_rpc(uint8_t *to, unsigned slot, const char *method, const char *quote)
{
    size_t at = put_head(to, slot, method);
    to[at] = 0xd9;
    to[at + 1] = (uint8_t)(LOAD_REQUEST - at - 2);
    memset(to + at + 2, 'x', LOAD_REQUEST - at - 2);
    if (quote[0] != '\0')
        to[at + 2] = to[LOAD_REQUEST - 1] = (uint8_t)quote[0];
    return LOAD_REQUEST;
}

static size_t put_identify(uint8_t *to, unsigned slot)
{
    char digits[ID_DIGITS + 1];
    memcpy(to, identify_bytes, identify_len);
    to[6] = (uint8_t)slot;
    snprintf(digits, sizeof digits, "%032llx", (unsigned long long)identify_number++);
    memcpy(to + identify_id_at, digits, ID_DIGITS);
    return identify_len;
}

static size_t put_request(uint8_t *to, enum load_kind kind, unsigned slot)
{
    switch (kind) {
    case LOAD_RPC:
        return put_rpc(to, slot, "ping", "");
    case LOAD_NVIM:
        return put_rpc(to, slot, "nvim_eval", "'");
    case LOAD_IDENTIFY:
        return put_identify(to, slot);
    case LOAD_REDIS:
        memcpy(to, "*2\r\n$4\r\nECHO\r\n$64\r\n", 19);
        memset(to + 19, 'x', LOAD_REQUEST);
        memcpy(to + 19 + LOAD_REQUEST, "\r\n", 2);
        return 21 + LOAD_REQUEST;
    case LOAD_RAW:
        break;
    }
    memset(to, 'x', LOAD_REQUEST);
    return LOAD_REQUEST;
}

/* ------------------------------------------------------------------ answers */

static void count_answer(struct run *run, struct connection *c, unsigned slot, bool refused)
{
    double took = run->now - c->sent[slot];
    c->waiting--;
    if (!run->counting)
        return;
    run->answered++;
    run->refused += refused;
    if (refused)
        return;
    run->worst = took > run->worst ? took : run->worst;
    double ns = took * 1e9 < 1 ? 1 : took * 1e9;
    uint64_t whole = (uint64_t)ns;
    unsigned top = 63u - (unsigned)__builtin_clzll(whole);
    unsigned sub = (unsigned)((ns / (double)(1ull << top) - 1) * SUB);
    run->histogram[top * SUB + (sub < SUB ? sub : SUB - 1)]++;
}

static double quantile(const struct run *run, double share)
{
    uint64_t wanted = (uint64_t)((double)(run->answered - run->refused) * share), seen = 0;
    for (unsigned i = 0; i < 64 * SUB; i++) {
        seen += run->histogram[i];
        if (seen > wanted)
            return 1e-9 * (double)(1ull << i / SUB) * (1 + (i % SUB + 0.5) / SUB);
    }
    return run->worst;
}

static void ask(struct run *run, struct connection *c, unsigned slot)
{
    c->out_len += put_request(c->out + c->out_len, run->target->kind, slot);
    c->sent[slot] = run->now;
    c->waiting++;
}

static void answered(struct run *run, struct connection *c, unsigned slot, bool refused)
{
    if (slot >= run->depth)
        load_die("an answer to nothing");
    count_answer(run, c, slot, refused);
    if (run->target->rate > 0)
        c->spare[c->spare_count++] = (uint8_t)slot;
    else if (!run->ending)
        ask(run, c, slot);
}

/* Answers without an id, of one length, in order. */
static size_t take_plain(struct run *run, struct connection *c, size_t len)
{
    size_t used = 0;
    for (; c->in_len - used >= len; used += len) {
        answered(run, c, c->next_answered, false);
        c->next_answered = (c->next_answered + 1) % run->depth;
    }
    return used;
}

/* The id of [1, id, error, result], however it is written; where the error stands in *error. */
static unsigned read_id(const uint8_t *frame, size_t len, size_t *error)
{
    if (len > 4 && frame[2] < 0x80) {
        *error = 3;
        return frame[2];
    }
    if (len > 5 && frame[2] == 0xcc) {
        *error = 4;
        return frame[3];
    }
    if (len < 9 || frame[2] != 0xce)
        load_die("an answer with an unknown id");
    *error = 7;
    return frame[6];
}

/* Why an answer [1, id, ERROR, nil] refuses. */
static void say_refused(const uint8_t *frame, size_t len)
{
    struct whorl_msg msg;
    struct whorl_fault fault;
    char why[256] = "no reason";
    if (!whorl_msg_parse(frame, len, &msg, &fault))
        load_die(fault.text);
    whorl_str_copy(whorl_map_get(&msg.root.via.array.ptr[2], "message"), why, sizeof why);
    fprintf(stderr, "refused: %s\n", why);
    whorl_msg_release(&msg);
}

static size_t take_frames(struct run *run, struct connection *c)
{
    size_t used = 0, len = 0, error = 0;
    struct whorl_fault fault;
    while (used < c->in_len) {
        const uint8_t *frame = c->in + used;
        enum whorl_msg_walk got = whorl_msg_walk(frame, c->in_len - used, FRAME_MAX, &len, &fault);
        if (got == WHORL_MSG_MORE)
            break;
        if (got == WHORL_MSG_BAD)
            load_die(fault.text);
        if (frame[0] == 0x94) {
            unsigned slot = read_id(frame, len, &error);
            bool refused = frame[error] != 0xc0;
            if (run->counting && refused && run->refused == 0)
                say_refused(frame, len);
            answered(run, c, slot, refused);
        }
        used += len;
    }
    return used;
}

static void take(struct run *run, struct connection *c)
{
    size_t used;
    if (run->target->kind == LOAD_RAW)
        used = take_plain(run, c, LOAD_REQUEST);
    else if (run->target->kind == LOAD_REDIS)
        used = take_plain(run, c, LOAD_REQUEST + 7);
    else
        used = take_frames(run, c);
    memmove(c->in, c->in + used, c->in_len - used);
    c->in_len -= used;
}

/* ------------------------------------------------------------------ connections */

int load_connect(uint16_t port)
{
    const int on = 1;
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        load_die("can't connect");
    return fd;
}

SSL *load_handshake(SSL_CTX *tls, int fd, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(tls);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        (session != NULL && SSL_set_session(ssl, session) != 1) || SSL_connect(ssl) != 1)
        load_die("no TLS handshake");
    return ssl;
}

static void open_connection(struct run *run, struct connection *c)
{
    size_t largest = identify_len > 128 ? identify_len : 128;
    c->fd = load_connect(run->target->port);
    c->ssl = run->target->tls == NULL ? NULL : load_handshake(run->target->tls, c->fd, NULL);
    c->in = malloc(IN_SIZE);
    c->out = malloc(largest * run->depth);
    if (c->in == NULL || c->out == NULL || fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        load_die("no memory for a connection");
}

static void close_connection(struct connection *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    free(c->in);
    free(c->out);
}

/* What the socket does not take now waits: there is never more than depth requests. */
static void send_out(struct connection *c)
{
    while (c->out_len > 0) {
        size_t sent = 0;
        if (c->ssl != NULL) {
            if (SSL_write_ex(c->ssl, c->out, c->out_len, &sent) != 1)
                return;
        } else {
            ssize_t n = write(c->fd, c->out, c->out_len);
            if (n < 0 && errno == EAGAIN)
                return;
            if (n < 0)
                load_die("can't send");
            sent = (size_t)n;
        }
        memmove(c->out, c->out + sent, c->out_len - sent);
        c->out_len -= sent;
    }
}

/* false: nothing is there now. */
static bool receive(struct connection *c)
{
    size_t got = 0;
    if (c->ssl != NULL) {
        int n = SSL_read_ex(c->ssl, c->in + c->in_len, IN_SIZE - c->in_len, &got);
        if (n != 1 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
            load_die("the server has closed a connection");
    } else {
        ssize_t n = read(c->fd, c->in + c->in_len, IN_SIZE - c->in_len);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            load_die("the server has closed a connection");
        got = n < 0 ? 0 : (size_t)n;
    }
    c->in_len += got;
    return got > 0;
}

static void serve(struct run *run, struct connection *c)
{
    bool more = true;
    while (more && receive(c)) {
        run->now = load_now();
        take(run, c);
        more = c->ssl != NULL && SSL_pending(c->ssl) > 0;
    }
    send_out(c);
}

/* ------------------------------------------------------------------ a run */

static bool any_waiting(const struct run *run)
{
    for (unsigned i = 0; i < run->connections; i++)
        if (run->all[i].waiting > 0)
            return true;
    return false;
}

static void start(struct run *run, int epoll)
{
    for (unsigned i = 0; i < run->connections; i++) {
        struct connection *c = &run->all[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        open_connection(run, c);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
            load_die("epoll");
    }
    run->now = run->paced = load_now();
    for (unsigned i = 0; i < run->connections; i++) {
        struct connection *c = &run->all[i];
        for (unsigned slot = 0; slot < run->depth; slot++) {
            if (run->target->rate > 0)
                c->spare[c->spare_count++] = (uint8_t)slot;
            else
                ask(run, c, slot);
        }
        send_out(c);
    }
}

/* Makes the requests that are due. Those for which every slot is taken are never made: they are
 * missing from what was asked. */
static void keep_pace(struct run *run)
{
    uint64_t due = (uint64_t)((run->now - run->paced) * run->target->rate);
    run->paced += (double)due / run->target->rate;
    for (unsigned full = 0; due > 0 && full < run->connections;) {
        struct connection *c = &run->all[run->next++ % run->connections];
        full = c->spare_count > 0 ? 0 : full + 1;
        for (unsigned n = 0; n < 8 && due > 0 && c->spare_count > 0; n++, due--) {
            ask(run, c, c->spare[--c->spare_count]);
            run->asked += run->counting;
        }
        send_out(c);
    }
}

static void turn(struct run *run, int epoll)
{
    struct epoll_event events[256];
    bool paced = run->target->rate > 0 && !run->ending;
    int n = epoll_wait(epoll, events, 256, paced ? 1 : 1000);
    for (int i = 0; i < n; i++)
        serve(run, events[i].data.ptr);
    if (paced) {
        run->now = load_now();
        keep_pace(run);
    }
}

static void until(struct run *run, int epoll, double when)
{
    do
        turn(run, epoll);
    while ((run->now = load_now()) < when);
}

void load_run(const struct load_target *target, unsigned connections, unsigned depth,
              double seconds, struct load_result *result)
{
    struct run *run = calloc(1, sizeof *run);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run == NULL || epoll < 0 || (run->all = calloc(connections, sizeof *run->all)) == NULL)
        load_die("no memory");
    run->target = target;
    run->depth = depth;
    run->connections = connections;
    start(run, epoll);
    until(run, epoll, run->now + WARM_UP * seconds);
    run->counting = true;
    double began = run->now, cpu = load_cpu(target->pid);
    until(run, epoll, began + seconds);
    *result = (struct load_result){.asked = run->asked,
                                   .answered = run->answered,
                                   .refused = run->refused,
                                   .seconds = load_now() - began,
                                   .cpu = load_cpu(target->pid) - cpu,
                                   .p50 = quantile(run, 0.5),
                                   .p99 = quantile(run, 0.99),
                                   .worst = run->worst};
    run->counting = false;
    run->ending = true;
    double patience = load_now() + PATIENCE;
    while (any_waiting(run)) {
        turn(run, epoll);
        if (load_now() > patience) {
            errno = ETIMEDOUT;
            load_die(target->name);
        }
    }
    for (unsigned i = 0; i < connections; i++)
        close_connection(&run->all[i]);
    close(epoll);
    free(run->all);
    free(run);
}
