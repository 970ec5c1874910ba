/* The serving side. */
#include "core/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/control/place.h"
#include "core/net/door.h"
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
    uv_loop_t *loop;
    struct door door;
    int dir_fd;
    struct stat place; /* of our socket's name */
    control_handler *handler;
    void *ctx;
    struct control_call *calls;
    unsigned call_count;
    unsigned references; /* the door and the calls */
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
    size_t used = call->asked ? 0 : call->len; /* what comes then is thrown away */
    *buf = uv_buf_init(call->request + used, (unsigned)(sizeof call->request - used));
}

/* What comes after the request's line has no meaning; that the caller has gone has. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct control_call *call = stream->data;
    if (n < 0) {
        end_call(call);
        return;
    }
    if (n == 0 || call->asked) {
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
static bool is_allowed(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static struct control_call *new_call(struct control *control)
{
    struct control_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->control = control;
    call->pipe.data = call->timer.data = call->write.data = call;
    uv_pipe_init(control->loop, &call->pipe, 0);
    uv_timer_init(control->loop, &call->timer);
    call->handles = 2;
    call->next = control->calls;
    control->calls = call;
    control->call_count++;
    control->references++;
    return call;
}

static void on_arrived(void *ctx, int fd)
{
    struct control *control = ctx;
    bool welcome = control->call_count < CALLS_MAX && is_allowed(fd);
    struct control_call *call = welcome ? new_call(control) : NULL;
    bool taken = call != NULL && uv_pipe_open(&call->pipe, fd) == 0;
    if (!taken) {
        close(fd);
    }
    if (taken && uv_read_start((uv_stream_t *)&call->pipe, on_alloc, on_read) == 0) {
        uv_timer_start(&call->timer, on_patience_over, PATIENCE_MS, 0);
    } else if (call != NULL) {
        end_call(call);
    }
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

/* Locks the directory for as long as a look at the name and a change of it take. Whoever may read
 * the directory may hold the lock too, so nobody waits for it without end. */
static bool lock_name(int dir_fd)
{
    static const struct timespec pause = {.tv_nsec = 2000000};
    for (int tries = 0; tries < 50; tries++) {
        if (flock(dir_fd, LOCK_EX | LOCK_NB) == 0) {
            return true;
        }
        nanosleep(&pause, NULL);
    }
    return false;
}

/* Gives the socket its own name. Locked, lest a server that leaves looks before this whose the name
 * is, and removes it after; that small chance is better than a server that does not start, where
 * the lock can't be had. false: errno. */
static bool take_name(int dir_fd, const char *from)
{
    bool locked = lock_name(dir_fd);
    bool taken = renameat(dir_fd, from, dir_fd, CONTROL_NAME) == 0;
    int error = errno;
    if (locked) {
        (void)flock(dir_fd, LOCK_UN);
    }
    errno = error;
    return taken;
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
        fstatat(dir_fd, fresh, place, AT_SYMLINK_NOFOLLOW) == 0 && take_name(dir_fd, fresh)) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void on_closed(void *ctx)
{
    let_go(ctx);
}

static const struct door_events door_events = {.arrived = on_arrived, .closed = on_closed};

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
    control->loop = loop;
    control->handler = handler;
    control->ctx = ctx;
    control->references = 1;
    int n = door_open(&control->door, loop, fd, &door_events, control);
    if (n != 0) {
        whorl_fail(fault, "runtime_dir", "the control socket can't be listened at: %s",
                   uv_strerror(n));
        close(fd);
        let_go(control);
        return NULL;
    }
    return control;
}

/* Takes the socket's name away unless it is another server's by now, or one is just taking it. */
static void leave(struct control *control)
{
    struct stat now;
    if (flock(control->dir_fd, LOCK_EX | LOCK_NB) == 0) {
        if (fstatat(control->dir_fd, CONTROL_NAME, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            now.st_ino == control->place.st_ino && now.st_dev == control->place.st_dev) {
            (void)unlinkat(control->dir_fd, CONTROL_NAME, 0);
        }
        (void)flock(control->dir_fd, LOCK_UN);
    }
    door_close(&control->door);
}

void control_close(struct control *control)
{
    while (control->calls != NULL) {
        end_call(control->calls);
    }
    leave(control);
}
