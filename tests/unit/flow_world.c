#include "flow_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/identify/stamp.h"

#define MODULE(name) "\"" TEST_PLUGINS "/test-told-" name ".so\""

struct conf_folder folder;
uv_loop_t loop;
struct log *logger;
struct host *host;
struct registry *registry;
struct setup *setup;
struct identify *identify;
struct reply replies[REPLIES_MAX];
unsigned notified;
struct whorl_fault fault;
int finder_calls = 64;

static int log_fd;

static void on_result(void *ctx, uint64_t call, const uint8_t *result, size_t len)
{
    (void)ctx;
    struct reply *reply = &replies[call];
    ck_assert(!reply->done);
    reply->done = true;
    reply->bytes = malloc(len);
    memcpy(reply->bytes, result, len);
    reply->len = len;
    ck_assert(whorl_msg_parse(reply->bytes, len, &reply->msg, &fault));
}

static void on_error(void *ctx, uint64_t call, const char *code, const char *where,
                     const char *message, unsigned retry_ms)
{
    (void)ctx;
    struct reply *reply = &replies[call];
    ck_assert(!reply->done);
    reply->done = true;
    strcpy(reply->code, code);
    strcpy(reply->where, where);
    strcpy(reply->message, message);
    reply->retry_ms = retry_ms;
}

static void on_notify(void *ctx, uint64_t connection, const char *method, const uint8_t *argument,
                      size_t len)
{
    (void)ctx;
    struct whorl_msg msg;
    ck_assert_uint_eq(connection, 1);
    ck_assert_str_eq(method, "progress");
    ck_assert(whorl_msg_parse(argument, len, &msg, &fault));
    ck_assert_ptr_nonnull(whorl_map_get(&msg.root, "transaction"));
    ck_assert(whorl_str_is(whorl_map_get(&msg.root, "stage"), "searching"));
    ck_assert_double_eq(whorl_map_get(&msg.root, "fraction")->via.f64, 0.5);
    whorl_msg_release(&msg);
    notified++;
}

/* The plugins; `second` and the sink's failing are what tests change. */
void write_plugins(bool second, bool failing)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" { module = %s deadline = 1 max_calls = %d\n"
                      " breaker_failures = 3 breaker_wait = 0.05 breaker_max_wait = 0.1\n"
                      " settings { source = upstream } }\n"
                      "plugin \"second\" { module = %s enabled = %s }\n"
                      "plugin \"records\" { module = %s }\n"
                      "plugin \"keeper\" { module = %s max_calls = 1 settings { fail = %s } }\n",
                      MODULE("search"), finder_calls, MODULE("search2"), second ? "yes" : "no",
                      MODULE("lookup"), MODULE("keep"), failing ? "yes" : "no");
}

void write_core(int repeat)
{
    conf_folder_write(
        &folder, "core.conf",
        "core {\n gateway = \"nation\" data_dir = \"var\"\n workers = 4\n deadline = 5\n"
        " officer_rate = 0.001 officer_burst = 40 repeat = %d\n}\n",
        repeat);
}

static void write_folder(void)
{
    conf_folder_make(&folder);
    write_core(600);
    conf_folder_write(&folder, "policy.conf",
                      "policy \"p\" {\n"
                      " rule \"a\" { basis = \"consent\" consent = {\"given\"}\n"
                      "  backends = {\"finder\", \"second\", \"records\"}\n"
                      "  require = {\"reason\"} show = \"Say why\" }\n"
                      " rule \"b\" { basis = \"consent\" backends = {} }\n"
                      " rule \"c\" { basis = \"narrow\" backends = {\"finder\"} }\n"
                      "}\n"
                      "force \"WMP\" { policy = \"p\" backends = {\"finder\", \"second\", "
                      "\"records\"} lends_to = {\"BTP\"} }\n"
                      "force \"MPS\" { policy = \"p\" backends = {\"finder\"} }\n"
                      "force \"BTP\" { policy = \"p\" backends = {\"finder\"} }\n");
    write_plugins(true, false);
}

static void add_device(const char *id, uint8_t seed, enum registry_state state)
{
    struct registry_device device = {.state = state, .gateway = strcmp(id, "region") == 0};
    strcpy(device.id, id);
    strcpy(device.force, "WMP");
    memset(device.certificate, seed, sizeof device.certificate);
    ck_assert(registry_put_device(registry, &device, false, &fault));
}

static void add_officer(const char *id, const char *force, bool entitled, int64_t until,
                        enum registry_state state)
{
    struct registry_officer officer = {
        .state = state, .valid_until = until, .entitlement_count = entitled ? 1 : 0};
    strcpy(officer.id, id);
    strcpy(officer.force, force);
    strcpy(officer.entitlements[0], entitled ? "records" : "");
    ck_assert(registry_put_officer(registry, &officer, false, &fault));
}

static void fill_registry(void)
{
    add_device("phone-1", 1, REGISTRY_ACTIVE);
    add_device("lost", 2, REGISTRY_REVOKED);
    add_device("region", 3, REGISTRY_ACTIVE);
    add_officer("full", "WMP", true, 0, REGISTRY_ACTIVE);
    add_officer("plain", "WMP", false, 0, REGISTRY_ACTIVE);
    add_officer("gone", "WMP", true, 1, REGISTRY_ACTIVE);
    add_officer("out", "WMP", true, 0, REGISTRY_SUSPENDED);
    add_officer("other", "MPS", true, 0, REGISTRY_ACTIVE);
    add_officer("guest", "BTP", true, 0, REGISTRY_ACTIVE);
    add_officer("nowhere", "XXX", true, 0, REGISTRY_ACTIVE);
}

struct setup *start_setup(void)
{
    const struct conf_plugin *culprit;
    struct conf *conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "%s", folder.complaints);
    struct setup *started = setup_start(host, conf, setup, NULL, &culprit, &fault);
    ck_assert_msg(started != NULL, "%s", fault.text);
    conf_unref(conf);
    return started;
}

void reload(void)
{
    struct setup *old = setup;
    setup = start_setup();
    identify_use(identify, setup);
    setup_unref(old);
}

void start_service(void)
{
    const struct identify_replies to = {NULL, on_result, on_error, on_notify};
    identify = identify_new(&loop, setup, registry, logger, &to, &fault);
    ck_assert_msg(identify != NULL, "%s", fault.text);
}

void set_up(void)
{
    write_folder();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    logger = log_new(log_fd, WHORL_LOG_DEBUG);
    host = host_new(&loop, 4, logger, &fault);
    ck_assert_ptr_nonnull(host);
    setup = start_setup();
    registry = registry_open(setup->conf->core.data_dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(registry != NULL, "%s", fault.text);
    fill_registry();
    start_service();
}

static void forget_replies(void)
{
    for (size_t i = 0; i < REPLIES_MAX; i++) {
        if (replies[i].bytes != NULL) {
            whorl_msg_release(&replies[i].msg);
            free(replies[i].bytes);
        }
        replies[i] = (struct reply){0};
    }
}

void tear_down(void)
{
    while (identify_open(identify) > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    identify_close(identify);
    setup_unref(setup);
    while (host_running(host) > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    registry_close(registry);
    log_free(logger);
    close(log_fd);
    forget_replies();
    conf_folder_remove(&folder);
}

/* Sends a call as the device with that certificate. The bytes are gone when this returns. */
void send_as(uint8_t seed, uint64_t call, const char *method, const char *argument)
{
    struct packed packed;
    uint8_t certificate[32];
    memset(certificate, seed, sizeof certificate);
    const struct identify_caller caller = {
        .connection = 1, .call = call, .certificate = certificate};
    packed_make(&packed, "[%s]", argument);
    uv_update_time(&loop); /* a loaded machine may have spent a deadline on setting up */
    identify_request(identify, &caller, method, (const uint8_t *)packed.bytes.data,
                     packed.bytes.size);
    memset(packed.bytes.data, 0xa5, packed.bytes.size);
    packed_free(&packed);
}

struct reply *await(uint64_t call)
{
    while (!replies[call].done) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    return &replies[call];
}

/* identify with the given request id; more: more fields. */
void ask(uint64_t call, const char *id, const char *more)
{
    char text[2048];
    snprintf(text, sizeof text, "{'request_id':'%s'," ASK "%s%s}", id, more[0] != '\0' ? "," : "",
             more);
    send_as(1, call, "identify", text);
}

const msgpack_object *answer_of(const struct reply *reply, const char *backend)
{
    ck_assert_msg(reply->bytes != NULL, "%s: %s", reply->code, reply->message);
    const msgpack_object *answers = whorl_map_get(&reply->msg.root, "answers");
    ck_assert_ptr_nonnull(answers);
    for (uint32_t i = 0; i < answers->via.array.size; i++) {
        const msgpack_object *answer = &answers->via.array.ptr[i];
        if (whorl_str_is(whorl_map_get(answer, "backend"), backend)) {
            return answer;
        }
    }
    ck_abort_msg("no answer of %s", backend);
}

void assert_class(const struct reply *reply, const char *backend, const char *class,
                  const char *reason)
{
    const msgpack_object *answer = answer_of(reply, backend);
    char found[32];
    char why[256];
    whorl_str_copy(whorl_map_get(answer, "class"), found, sizeof found);
    whorl_str_copy(whorl_map_get(answer, "reason"), why, sizeof why);
    ck_assert_msg(strcmp(found, class) == 0 && strstr(why, reason) != NULL,
                  "%s: expected %s (%s), found %s (%s)", backend, class, reason, found, why);
}

void assert_refused(const struct reply *reply, const char *code, const char *where)
{
    ck_assert_str_eq(reply->code, code);
    ck_assert_str_eq(reply->where, where);
    ck_assert_str_ne(reply->message, "");
}

/* How many records the sink has kept of this kind and transaction (NULL: any); *last gets the last
 * one, packed. */
unsigned records_of(const char *kind, const msgpack_object *transaction, struct packed *last)
{
    static uint8_t bytes[1 << 20];
    char path[512];
    snprintf(path, sizeof path, "%s/keeper/records", setup->conf->core.data_dir);
    FILE *file = fopen(path, "re");
    size_t len = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
    if (file != NULL) {
        fclose(file);
    }
    unsigned count = 0;
    for (size_t at = 0, used; at < len; at += used) {
        struct whorl_msg msg;
        ck_assert_int_eq(whorl_msg_walk(bytes + at, len - at, len, &used, &fault), WHORL_MSG_WHOLE);
        ck_assert(whorl_msg_parse(bytes + at, used, &msg, &fault));
        const msgpack_object *of = whorl_map_get(&msg.root, "transaction");
        if (whorl_str_is(whorl_map_get(&msg.root, "kind"), kind) &&
            (transaction == NULL || msgpack_object_equal(*of, *transaction))) {
            count++;
            if (last != NULL) {
                msgpack_sbuffer_clear(&last->bytes);
                msgpack_sbuffer_write(&last->bytes, (const char *)bytes + at, used);
            }
        }
        whorl_msg_release(&msg);
    }
    if (last != NULL && count > 0) {
        ck_assert(whorl_msg_parse((const uint8_t *)last->bytes.data, last->bytes.size, &last->msg,
                                  &fault));
    }
    return count;
}

const msgpack_object *transaction_of(const struct reply *reply)
{
    return whorl_map_get(&reply->msg.root, "transaction");
}

bool log_holds(const char *text)
{
    static char lines[1 << 20];
    ssize_t n = pread(log_fd, lines, sizeof lines - 1, 0);
    ck_assert_int_ge(n, 0);
    lines[n] = '\0';
    return strstr(lines, text) != NULL;
}
