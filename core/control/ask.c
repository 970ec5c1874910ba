/* The asking side. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/control/control.h"
#include "core/control/place.h"
#include "whorl/msg.h"

#define REPLY_MAX ((size_t)4 << 20) /* bytes */

void control_place(int dir_fd, const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", dir_fd,
                   name);
}

/* -1 with *fault. */
static int connect_to(const char *runtime_dir, unsigned seconds, struct whorl_fault *fault)
{
    struct sockaddr_un address;
    const struct timeval patience = {.tv_sec = (time_t)seconds};
    int dir = open(runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = false;
    if (fd >= 0) {
        control_place(dir, CONTROL_NAME, &address);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        connected = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    }
    int error = errno;
    if (dir >= 0) {
        close(dir);
    }
    if (connected) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    whorl_fail(fault, "", "no server can be reached at %s/" CONTROL_NAME ": %s", runtime_dir,
               strerror(error));
    return -1;
}

static bool send_line(int fd, const json_t *request, struct whorl_fault *fault)
{
    char *text = json_dumps(request, JSON_COMPACT);
    if (text == NULL) {
        return whorl_fail(fault, "", "out of memory");
    }
    size_t len = strlen(text);
    text[len++] = '\n';
    bool sent = send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
    free(text);
    return sent || whorl_fail(fault, "", "the server does not listen: %s", strerror(errno));
}

/* Everything to the end of the connection; NULL with *fault. */
static char *receive_all(int fd, size_t *len, struct whorl_fault *fault)
{
    char *text = malloc(REPLY_MAX);
    if (text == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    ssize_t n = 0;
    *len = 0;
    while (*len < REPLY_MAX && (n = recv(fd, text + *len, REPLY_MAX - *len, 0)) != 0) {
        if (n < 0 && errno != EINTR) {
            break;
        }
        *len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0 || *len == 0 || *len == REPLY_MAX) {
        whorl_fail(fault, "", "the server gave no answer%s%s", n < 0 ? ": " : "",
                   n < 0 ? strerror(errno) : "");
        free(text);
        return NULL;
    }
    return text;
}

json_t *control_ask(const char *runtime_dir, json_t *request, unsigned seconds,
                    struct whorl_fault *fault)
{
    size_t len = 0;
    int fd = connect_to(runtime_dir, seconds, fault);
    char *text = NULL;
    if (fd >= 0) {
        text = send_line(fd, request, fault) ? receive_all(fd, &len, fault) : NULL;
        close(fd);
    }
    json_decref(request);
    if (text == NULL) {
        return NULL;
    }
    json_error_t error;
    json_t *reply = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!json_is_object(reply)) {
        whorl_fail(fault, "", "the server's answer can't be understood: %s",
                   reply == NULL ? error.text : "it is no object");
        json_decref(reply);
        return NULL;
    }
    return reply;
}
