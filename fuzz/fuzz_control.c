/* The operator's socket, the real one: whatever comes in whatever pieces, at most one request is
 * heard of a connection, it is an object, and it is answered or the connection ended. The first
 * byte says how the rest is cut, whether the answer comes late, and who hangs up when. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/control/control.h"
#include "fuzz.h"

#define SPINS 10000

static uv_loop_t loop;
static char dir[] = "/dev/shm/whorl-fuzz-XXXXXX";
static struct control *control;
static bool late;
static unsigned heard;
static struct control_call *waiting;

static void clean_up(void)
{
    char path[sizeof dir + 16];
    control_close(control);
    uv_run(&loop, UV_RUN_DEFAULT);
    FUZZ_CHECK(uv_loop_close(&loop) == 0);
    snprintf(path, sizeof path, "%s/control", dir);
    unlink(path);
    rmdir(dir);
}

static void on_request(void *ctx, struct control_call *call, const json_t *request)
{
    (void)ctx;
    FUZZ_CHECK(json_is_object(request));
    heard++;
    if (late) {
        waiting = call;
    } else {
        control_reply(call, json_pack("{s:b}", "ok", 1));
    }
}

static void prepare(void)
{
    struct whorl_fault fault = {0};
    FUZZ_CHECK(mkdtemp(dir) != NULL && uv_loop_init(&loop) == 0);
    control = control_open(&loop, dir, on_request, NULL, &fault);
    FUZZ_CHECK(control != NULL);
    atexit(clean_up);
}

static int connect_to_it(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/control", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* false: the server has ended the connection. */
static bool send_piece(int fd, const uint8_t *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return n == (ssize_t)len;
}

/* Reads until the connection ends; what came is the whole answer or nothing. */
static void await_end(int fd)
{
    char answer[4096];
    size_t len = 0;
    for (int spin = 0; spin < SPINS; spin++) {
        ssize_t n = recv(fd, answer + len, sizeof answer - len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            json_t *said = len > 0 ? json_loadb(answer, len, 0, NULL) : NULL;
            FUZZ_CHECK(len == 0 || json_is_boolean(json_object_get(said, "ok")));
            json_decref(said);
            return;
        }
        len += n > 0 ? (size_t)n : 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    fputs("the connection never ends\n", stderr);
    abort();
}

static void answer_late(void)
{
    if (waiting != NULL) {
        control_reply(waiting, json_pack("{s:b, s:[s]}", "ok", 0, "mistakes", "late"));
        waiting = NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (control == NULL) {
        prepare();
    }
    if (len == 0) {
        return 0;
    }
    size_t piece = 1u + (bytes[0] & 0x3fu) * 16u;
    bool hang_up = (bytes[0] & 0x80) != 0;
    late = (bytes[0] & 0x40) != 0;
    heard = 0;
    int fd = connect_to_it();
    uv_run(&loop, UV_RUN_NOWAIT);
    for (size_t at = 1; at < len; at += piece) {
        if (!send_piece(fd, bytes + at, piece < len - at ? piece : len - at)) {
            break;
        }
    }
    if (!hang_up) {
        answer_late();
    }
    shutdown(fd, SHUT_WR);
    if (hang_up) {
        close(fd);
        uv_run(&loop, UV_RUN_NOWAIT);
    } else {
        await_end(fd);
        close(fd);
    }
    answer_late();
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    FUZZ_CHECK(heard <= 1);
    return 0;
}
