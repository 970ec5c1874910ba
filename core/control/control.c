/* The serving side. */
#include "core/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/control/place.h"
#include "whorl/msg.h"

#define CALLS_MAX 8u       /* open at once */
#define REQUEST_MAX 4096u  /* bytes */
#define PATIENCE_MS 10000u /* for a request to come, or an answer to be taken */
#define BACKLOG 8

struct control_call {
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    struct control *control;
    char *reply_text;
    char request[REQUEST_MAX];
    size_t len;
    unsigned handles;             /* not yet closed */
    bool asked, replied, closing; /* freed when it is replied or was never asked, and closed */
    struct control_call *next;
};

struct control {
    uv_pipe_t pipe;
    int dir_fd;
    struct stat place; /* of our socket's name */
    control_handler *handler;
    void *ctx;
    struct control_call *calls;
    unsigned call_count;
    unsigned references; /* open handles and calls */
    uv_pipe_t door;      /* takes callers that there is no memory for, and closes */
    bool door_shuts, another_waits;
};

static void let_go(struct control *control)
{
    if (--control->references == 0) {
        close(control->dir_fd);
        free(control);
    }
}

/* --- Calls ---------------------------------------------------------------------------------- */

static void free_if_over(struct control_call *call)
{
    if (call->handles == 0 && (call->replied || !call->asked)) {
        struct control *control = call->control;
        free(call->reply_text);
        free(call);
        let_go(control);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct control_call *call = handle->data;
    call->handles--;
    free_if_over(call);
}

static void end_call(struct control_call *call)
{
    if (call->closing) {
        return;
    }
    call->closing = true;
    struct control_call **link = &call->control->calls;
    while (*link != call) {
        link = &(*link)->next;
    }
    *link = call->next;
    call->control->call_count--;
    uv_close((uv_handle_t *)&call->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&call->timer, on_handle_closed);
}

static void on_patience_over(uv_timer_t *timer)
{
    end_call(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    end_call(write->data);
}

void control_reply(struct control_call *call, json_t *reply)
{
    call->replied = true;
    call->reply_text = call->closing ? NULL : json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    if (call->reply_text == NULL) {
        if (!call->closing) {
            end_call(call);
        } else {
            free_if_over(call);
        }
        return;
    }
    uv_buf_t buf = uv_buf_init(call->reply_text, (unsigned)strlen(call->reply_text));
    uv_timer_start(&call->timer, on_patience_over, PATIENCE_MS, 0);
    if (uv_write(&call->write, (uv_stream_t *)&call->pipe, &buf, 1, on_written) != 0) {
        end_call(call);
    }
}

static void ask(struct control_call *call)
{
    json_error_t error;
    json_t *request = json_loadb(call->request, call->len, JSON_REJECT_DUPLICATES, &error);
    uv_timer_stop(&call->timer);
    call->asked = true;
    if (json_is_object(request)) {
        call->control->handler(call->control->ctx, call, request);
    } else {
        control_reply(
            call, json_pack("{s:b, s:[s]}", "ok", 0, "mistakes", "the request is no JSON object"));
    }
    json_decref(request);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct control_call *call = handle->data;
    *buf = uv_buf_init(call->request + call->len, (unsigned)(sizeof call->request - call->len));
}

/* What comes after the request's line has no meaning; that the caller has gone has. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct control_call *call = stream->data;
    if (n == 0) {
        return;
    }
    if (n < 0 || call->asked) {
        end_call(call);
        return;
    }
    const char *end = memchr(buf->base, '\n', (size_t)n);
    call->len += (size_t)n;
    if (end != NULL) {
        call->len = (size_t)(end - call->request);
        ask(call);
    } else if (call->len == sizeof call->request) {
        end_call(call);
    }
}

/* Only the server's own user and root may ask, whatever the file modes have become. */
static bool is_allowed(uv_pipe_t *pipe)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    uv_os_fd_t fd;
    return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void turn_away(struct control *control);

static void on_turned_away(uv_handle_t *door)
{
    struct control *control = door->data;
    control->door_shuts = false;
    if (control->another_waits) {
        control->another_waits = false;
        turn_away(control);
    }
    let_go(control);
}

/* libuv listens no more until whoever has come was let in. */
static void turn_away(struct control *control)
{
    if (control->door_shuts) {
        control->another_waits = true;
        return;
    }
    uv_pipe_init(control->pipe.loop, &control->door, 0);
    (void)uv_accept((uv_stream_t *)&control->pipe, (uv_stream_t *)&control->door);
    control->door.data = control;
    control->door_shuts = true;
    control->references++;
    uv_close((uv_handle_t *)&control->door, on_turned_away);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct control *control = server->data;
    struct control_call *call = status == 0 ? calloc(1, sizeof *call) : NULL;
    if (call == NULL) {
        turn_away(control);
        return;
    }
    call->control = control;
    call->pipe.data = call->timer.data = call->write.data = call;
    uv_pipe_init(server->loop, &call->pipe, 0);
    uv_timer_init(server->loop, &call->timer);
    call->handles = 2;
    call->next = control->calls;
    control->calls = call;
    control->call_count++;
    control->references++;
    if (uv_accept(server, (uv_stream_t *)&call->pipe) != 0 || control->call_count > CALLS_MAX ||
        !is_allowed(&call->pipe) ||
        uv_read_start((uv_stream_t *)&call->pipe, on_alloc, on_read) != 0) {
        end_call(call);
        return;
    }
    uv_timer_start(&call->timer, on_patience_over, PATIENCE_MS, 0);
}

/* --- The socket ----------------------------------------------------------------------------- */

/* The runtime directory, which only this user can enter; -1 with *fault. */
static int open_directory(const char *path, struct whorl_fault *fault)
{
    struct stat info;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        whorl_fail(fault, "runtime_dir", "%s can't be made: %s", path, strerror(errno));
        return -1;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        whorl_fail(fault, "runtime_dir", "%s can't be opened: %s", path, strerror(errno));
    } else if (info.st_uid != geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        whorl_fail(fault, "runtime_dir",
                   "%s must belong to the server's user, and nobody else "
                   "may write in it (mode is %04o)",
                   path, (unsigned)info.st_mode & 07777u);
    } else {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* A listening socket in the directory, made under another name and then given its own, so that
 * nobody finds it missing or closed. -1: errno. */
static int bind_in(int dir_fd, struct stat *place)
{
    static const char fresh[] = CONTROL_NAME ".new";
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    control_place(dir_fd, fresh, &address);
    (void)unlinkat(dir_fd, fresh, 0);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        fchmodat(dir_fd, fresh, 0600, 0) == 0 && listen(fd, BACKLOG) == 0 &&
        fstatat(dir_fd, fresh, place, AT_SYMLINK_NOFOLLOW) == 0 &&
        renameat(dir_fd, fresh, dir_fd, CONTROL_NAME) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

struct control *control_open(uv_loop_t *loop, const char *runtime_dir, control_handler *handler,
                             void *ctx, struct whorl_fault *fault)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    control->dir_fd = open_directory(runtime_dir, fault);
    if (control->dir_fd < 0) {
        free(control);
        return NULL;
    }
    int fd = bind_in(control->dir_fd, &control->place);
    if (fd < 0) {
        whorl_fail(fault, "runtime_dir", "no socket can be made in %s: %s", runtime_dir,
                   strerror(errno));
        close(control->dir_fd);
        free(control);
        return NULL;
    }
    control->handler = handler;
    control->ctx = ctx;
    control->references = 1;
    control->pipe.data = control;
    uv_pipe_init(loop, &control->pipe, 0);
    bool taken = uv_pipe_open(&control->pipe, fd) == 0;
    if (!taken) {
        (void)close(fd);
    }
    bool listening = taken && uv_listen((uv_stream_t *)&control->pipe, BACKLOG, on_connection) == 0;
    if (!listening) {
        whorl_fail(fault, "runtime_dir", "the control socket can't be listened at");
        uv_close((uv_handle_t *)&control->pipe, on_closed);
        return NULL;
    }
    return control;
}

/* Takes the socket's name away unless it is another server's by now. */
static void leave(struct control *control)
{
    struct stat now;
    if (fstatat(control->dir_fd, CONTROL_NAME, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        now.st_ino == control->place.st_ino && now.st_dev == control->place.st_dev) {
        (void)unlinkat(control->dir_fd, CONTROL_NAME, 0);
    }
    uv_close((uv_handle_t *)&control->pipe, on_closed);
}

void control_close(struct control *control)
{
    while (control->calls != NULL) {
        end_call(control->calls);
    }
    leave(control);
}
