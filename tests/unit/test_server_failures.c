/* The whole server with each call failing once, from its start to its end, while a device asks, its
 * figures are read and its configuration is read anew: it serves, or ends with a word why; what it
 * has answered is recorded; and it never just dies or hangs. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf_folder.h"
#include "core/control/control.h"
#include "core/isolate/spec.h"
#include "core/registry/registry.h"
#include "core/server/server.h"
#include "failing.h"
#include "loopback.h"
#include "packed.h"
#include "run_suite.h"

enum { PATIENCE_S = 20, FIRST_FD = 3 };

static struct conf_folder folder;
static struct whorl_fault fault;
static char data_dir[96], notify_path[96];

#define MODULE(name) "\"" TEST_PLUGINS "/test-told-" name ".so\""

static void write_conf(void)
{
    conf_folder_make(&folder);
    snprintf(data_dir, sizeof data_dir, "%s/var", folder.dir);
    snprintf(notify_path, sizeof notify_path, "%s/notify", folder.dir);
    conf_folder_write(&folder, "core.conf",
                      "core {\n data_dir = \"var\"\n workers = 2\n deadline = 5\n}\n"
                      "listener \"devices\" {\n address = \"127.0.0.1\"\n port = 0\n"
                      " tls = off\n device = \"phone-1\"\n}\n"
                      "monitor { address = \"127.0.0.1\" port = 0 }\n");
    conf_folder_write(&folder, "policy.conf",
                      "policy \"p\" { rule \"a\" { basis = \"consent\" consent = {\"given\"}\n"
                      " backends = {\"finder\"} require = {\"reason\"} show = \"Say why\" } }\n"
                      "force \"WMP\" { policy = \"p\" backends = {\"finder\"} }\n");
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" { module = %s isolation = in_process }\n"
                      "plugin \"keeper\" { module = %s isolation = in_process }\n",
                      MODULE("search"), MODULE("keep"));
}

static void fill_registry(void)
{
    struct registry_device device = {.id = "phone-1", .force = "WMP"};
    struct registry_officer officer = {.id = "full", .force = "WMP"};
    struct registry *registry = registry_open(data_dir, WHORL_STORE_WRITE, &fault);
    ck_assert_msg(registry != NULL, "%s", fault.text);
    ck_assert(registry_put_device(registry, &device, false, &fault));
    ck_assert(registry_put_officer(registry, &officer, false, &fault));
    registry_close(registry);
}

static void setup(void)
{
    write_conf();
    ck_assert_int_eq(mkdir(data_dir, 0700), 0);
    fill_registry();
}

static void teardown(void)
{
    conf_folder_remove(&folder);
}

/* ------------------------------------------------------------------ the server */

struct running {
    pid_t pid;
    uint16_t port;
    int notified; /* what it tells systemd comes here */
    int log;      /* its standard error, a file in memory */
    int status;
    bool ended;
};

static int hear_notifications(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", notify_path);
    (void)unlink(notify_path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* With a listening socket from systemd, so that its port is known whatever fails. */
static _Noreturn void serve(int listening, int log, bool failing)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (dup2(listening, FIRST_FD) < 0 || dup2(log, STDERR_FILENO) < 0 ||
        setenv("LISTEN_PID", pid, 1) != 0 || setenv("LISTEN_FDS", "1", 1) != 0 ||
        setenv("LISTEN_FDNAMES", "devices", 1) != 0 || setenv("NOTIFY_SOCKET", notify_path, 1) != 0)
        _exit(99);
    if (failing)
        failing_on();
    int code = server_run(folder.dir);
    failing_off();
    _exit(code);
}

static struct running start(bool failing)
{
    struct running running = {.notified = hear_notifications(),
                              .log = memfd_create("log", MFD_CLOEXEC)};
    int listening = loopback_listen(&running.port);
    running.pid = fork();
    ck_assert_int_ge(running.pid, 0);
    if (running.pid == 0)
        serve(listening, running.log, failing);
    close(listening);
    return running;
}

static bool has_ended(struct running *running)
{
    if (!running->ended)
        running->ended = waitpid(running->pid, &running->status, WNOHANG) == running->pid;
    return running->ended;
}

/* Whether systemd has been told this, or is before the server ends. */
static bool is_told(struct running *running, const char *word)
{
    char told[256];
    for (unsigned tries = 0; tries < PATIENCE_S * 1000; tries++) {
        bool last = has_ended(running);
        ssize_t n = recv(running->notified, told, sizeof told - 1, MSG_DONTWAIT);
        told[n > 0 ? n : 0] = '\0';
        if (strstr(told, word) != NULL)
            return true;
        if (n <= 0 && last)
            return false;
        if (n <= 0)
            usleep(1000);
    }
    ck_abort_msg("%s: neither %s nor an end", failing_off(), word);
}

static void await_end(struct running *running)
{
    for (unsigned tries = 0; !has_ended(running); tries++) {
        ck_assert_msg(tries < PATIENCE_S * 1000, "%s: it does not end", failing_off());
        usleep(1000);
    }
}

static void read_log(const struct running *running, char *text, size_t cap)
{
    ssize_t n = pread(running->log, text, cap - 1, 0);
    text[n > 0 ? n : 0] = '\0';
}

static void close_all(struct running *running)
{
    close(running->notified);
    close(running->log);
}

/* ------------------------------------------------------------------ who asks */

/* Sends a request and reads to its answer, past what is told of its progress; false when the
 * connection has ended before. */
static bool exchange(int fd, const void *bytes, size_t len, msgpack_unpacked *answer)
{
    static char reply[65536];
    size_t used = 0, next = 0;
    if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        return false;
    while (used < sizeof reply) {
        while (msgpack_unpack_next(answer, reply, used, &next) == MSGPACK_UNPACK_SUCCESS) {
            ck_assert_int_eq(answer->data.type, MSGPACK_OBJECT_ARRAY);
            if (answer->data.via.array.ptr[0].via.u64 == 1)
                return true;
        }
        ssize_t n = recv(fd, reply + used, sizeof reply - used, 0);
        ck_assert_msg(n >= 0 || errno == ECONNRESET, "%s: neither answered nor closed",
                      failing_off());
        if (n <= 0)
            return false;
        used += (size_t)n;
    }
    return false;
}

#define IDENTIFY                                                                                   \
    "[0,7,'identify',[{'request_id':'%032x','officer':'full','basis':'consent','consent':'given'," \
    "'reason':'doubted at a check','checks':['finder'],'subject':{'condition':'adult'},"           \
    "'samples':[{'modality':'finger','format':'png','position':2,'dpi':500,'data':'match'}]}]]"

/* The transaction's id when a match was answered; false when there was an error, or nothing. Never
 * is it a no_match. */
static bool identify(uint16_t port, char transaction[64])
{
    static unsigned number;
    struct packed request;
    msgpack_unpacked answer;
    int fd = loopback_connect(port);
    bool matched = false;
    if (fd < 0)
        return false;
    packed_make(&request, IDENTIFY, ++number);
    msgpack_unpacked_init(&answer);
    if (exchange(fd, request.bytes.data, request.bytes.size, &answer)) {
        const msgpack_object *result = &answer.data.via.array.ptr[3];
        const msgpack_object *answers = whorl_map_get(result, "answers");
        const msgpack_object *class =
            answers ? whorl_map_get(&answers->via.array.ptr[0], "class") : NULL;
        ck_assert(!whorl_str_is(class, "no_match"));
        matched = whorl_str_is(class, "match");
        if (matched)
            whorl_str_copy(whorl_map_get(result, "transaction"), transaction, 64);
    }
    msgpack_unpacked_destroy(&answer);
    packed_free(&request);
    close(fd);
    return matched;
}

/* Figures, and what is no request for them. */
static void look_at(uint16_t port)
{
    static const char *const requests[] = {
        "GET /metrics HTTP/1.0\r\n\r\n", "GET /readyz HTTP/1.0\r\n\r\n",
        "POST /metrics HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "GET / HTTP/1.0\r\n\r\n"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        char reply[4096];
        ssize_t n = 1;
        int fd = loopback_connect(port);
        if (fd < 0)
            return;
        (void)!send(fd, requests[i], strlen(requests[i]), MSG_NOSIGNAL);
        while (n > 0)
            n = recv(fd, reply, sizeof reply, 0);
        ck_assert_msg(n == 0 || errno == ECONNRESET, "%s: neither answered nor closed",
                      requests[i]);
        close(fd);
    }
}

static void look_at_figures(const struct running *running)
{
    static char text[65536];
    read_log(running, text, sizeof text);
    const char *line = strstr(text, "monitor listens");
    const char *port = line ? strstr(line, "\"port\":\"") : NULL;
    if (port != NULL)
        look_at((uint16_t)atoi(port + 8));
}

static void command(const char *word)
{
    char run[128];
    snprintf(run, sizeof run, "%s/run", data_dir);
    json_t *reply = control_ask(run, json_pack("{s:s}", "command", word), PATIENCE_S, &fault);
    ck_assert_msg(reply != NULL || strstr(fault.text, strerror(EAGAIN)) == NULL, "%s: %s: %s",
                  failing_off(), word, fault.text);
    json_decref(reply);
}

static bool is_recorded(const char *transaction)
{
    static char records[1 << 22];
    char path[160];
    snprintf(path, sizeof path, "%s/keeper/records", data_dir);
    FILE *in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    size_t len = fread(records, 1, sizeof records, in);
    fclose(in);
    return memmem(records, len, transaction, strlen(transaction)) != NULL;
}

static void forget_records(void)
{
    char path[160];
    snprintf(path, sizeof path, "%s/keeper/records", data_dir);
    (void)remove(path);
}

/* One life of a server. */
static const char *live(bool failing)
{
    static char log[1 << 16];
    char transactions[2][64] = {"", ""};
    struct running running = start(failing);
    bool ready = is_told(&running, "READY=1");
    if (ready) {
        (void)identify(running.port, transactions[0]);
        look_at_figures(&running);
        command("status");
        command("nonsense");
        command("reload");
        (void)identify(running.port, transactions[1]);
        kill(running.pid, SIGTERM);
    }
    await_end(&running);
    const char *failed = failing_off();
    read_log(&running, log, sizeof log);
    ck_assert_msg(WIFEXITED(running.status), "%s: ended by signal %d:\n%s", failed,
                  WTERMSIG(running.status), log);
    int code = WEXITSTATUS(running.status);
    ck_assert_msg(code == 0 || code == 3, "%s: %d:\n%s", failed, code, log);
    ck_assert_msg(code == 0 || failed != NULL, "it ended with nothing failing:\n%s", log);
    ck_assert_msg(code == 0 || strstr(log, "\"level\":\"error\"") || strstr(log, "whorl: ") ||
                      strcmp(failed, "write") == 0,
                  "%s: it ended without a word:\n%s", failed, log);
    ck_assert_msg(ready || code == 3, "%s: it ended well, but never served:\n%s", failed, log);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_msg(failed != NULL || transactions[i][0] != '\0', "not answered:\n%s", log);
        ck_assert_msg(transactions[i][0] == '\0' || is_recorded(transactions[i]),
                      "%s: answered and not recorded:\n%s", failed, log);
    }
    forget_records();
    close_all(&running);
    return failed;
}

START_TEST(a_server_serves_or_ends_with_a_word_why)
{
    unsigned rounds = 0;
    for (; failing_again(rounds == 0); rounds++)
        (void)live(true);
    ck_assert_uint_gt(rounds, ISOLATE_SANITIZED ? 90 : 100); /* some calls are the sanitizer's */
    ck_assert_ptr_null(live(false));                         /* nothing is left broken */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server_failures");
    TCase *tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 900);
    failing_often(1);
    tcase_add_test(tests, a_server_serves_or_ends_with_a_word_why);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
