#include "core/net/door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 64u     /* let in before the loop looks after others */
#define AGAIN_MS 100u /* until the next try when nobody can be let in */
#define TELL_MS 1000u /* between two words about it */

static void on_readable(uv_poll_t *poll, int status, int events);

static int take(const struct door *door)
{
    return accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void fill_reserve(struct door *door)
{
    if (door->spare < 0) {
        door->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void tell(struct door *door, int error)
{
    uint64_t now = uv_now(door->poll.loop);
    if (door->events->kept_out != NULL && now >= door->told) {
        door->told = now + TELL_MS;
        door->events->kept_out(door->ctx, uv_strerror(uv_translate_sys_error(error)));
    }
}

static void on_again(uv_timer_t *timer)
{
    struct door *door = timer->data;
    fill_reserve(door);
    uv_poll_start(&door->poll, UV_READABLE, on_readable);
}

/* Whoever comes waits in the socket's queue meanwhile. */
static void pause_for_a_while(struct door *door, int error)
{
    tell(door, error);
    uv_poll_stop(&door->poll);
    uv_timer_start(&door->again, on_again, AGAIN_MS, 0);
}

/* Out of descriptors, which accept4 says even when nobody has come: takes one by means of the
 * reserve, and hangs up on him. false: nobody was there, or another thread was quicker. */
static bool refuse_one(struct door *door, int error)
{
    if (door->spare >= 0) {
        close(door->spare);
        door->spare = -1;
    }
    int fd = take(door);
    bool nobody = fd < 0 && errno == EAGAIN;
    if (fd >= 0) {
        close(fd);
        tell(door, error);
    }
    fill_reserve(door);
    if (door->spare < 0 || (fd < 0 && !nobody)) {
        pause_for_a_while(door, error);
        return false;
    }
    return !nobody;
}

/* Whether to go on with the next. */
static bool let_one_in(struct door *door)
{
    int fd = take(door);
    if (fd >= 0) {
        door->events->arrived(door->ctx, fd);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED:
        return true;
    case EMFILE:
    case ENFILE:
        return refuse_one(door, errno);
    default:
        pause_for_a_while(door, errno);
        return false;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct door *door = poll->data;
    (void)events;
    if (status < 0) {
        pause_for_a_while(door, -status);
        return;
    }
    for (unsigned i = 0; i < BATCH && let_one_in(door); i++) {
    }
}

int door_open(struct door *door, uv_loop_t *loop, int fd, const struct door_events *events,
              void *ctx)
{
    *door = (struct door){.fd = fd, .spare = -1, .handles = 2, .events = events, .ctx = ctx};
    int n = uv_poll_init(loop, &door->poll, fd);
    if (n != 0) {
        return n;
    }
    uv_timer_init(loop, &door->again);
    door->poll.data = door->again.data = door;
    fill_reserve(door);
    uv_poll_start(&door->poll, UV_READABLE, on_readable);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct door *door = handle->data;
    if (--door->handles == 0) {
        door->events->closed(door->ctx);
    }
}

void door_close(struct door *door)
{
    uv_close((uv_handle_t *)&door->poll, on_closed);
    uv_close((uv_handle_t *)&door->again, on_closed);
    close(door->fd);
    if (door->spare >= 0) {
        close(door->spare);
    }
}
