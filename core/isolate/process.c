#include "core/isolate/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "whorl/msg.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

/* Shared memory that the server may always write and the other side can neither shrink (a touch
 * behind the end would kill the server) nor, with F_SEAL_FUTURE_WRITE among the seals, write. */
static void *make_shared(size_t size, int seals, int *fd)
{
    *fd = memfd_create("whorl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) {
        return NULL;
    }
    void *p = MAP_FAILED;
    if (ftruncate(*fd, (off_t)size) == 0) {
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    }
    if (p != MAP_FAILED && (madvise(p, size, MADV_DONTDUMP) != 0 ||
                            fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | seals) != 0 ||
                            fcntl(*fd, F_ADD_SEALS, F_SEAL_SEAL) != 0)) {
        munmap(p, size);
        p = MAP_FAILED;
    }
    if (p == MAP_FAILED) {
        int reason = errno;
        close(*fd);
        *fd = -1;
        errno = reason;
        return NULL;
    }
    return p;
}

/* The same for probes: locked into RAM. mlock2, which sanitizers leave alone. */
static void *make_locked(size_t size, int *fd)
{
    void *p = make_shared(size, F_SEAL_FUTURE_WRITE, fd);
    if (p && mlock2(p, size, 0) != 0) {
        int reason = errno;
        munmap(p, size);
        close(*fd);
        *fd = -1;
        errno = reason;
        return NULL;
    }
    return p;
}

static bool make_channel(struct process *process, const struct isolate_spec *spec, int shared[3],
                         struct whorl_fault *fault)
{
    int bell[2] = {-1, -1};
    struct channel *channel = &process->channel;
    channel->shape = channel_shape(spec->calls);
    channel->orders = make_locked(channel->shape.size, &shared[0]);
    process->orders_size = channel->shape.size;
    channel->reports = make_shared(sizeof *channel->reports, 0, &shared[1]);
    if (!channel->orders || !channel->reports || pipe2(bell, O_CLOEXEC | O_NONBLOCK) != 0) {
        return whorl_fail(
            fault, "", "the memory shared with its process can't be made, or can't be locked: %s",
            strerror(errno));
    }
    process->bell = bell[0];
    shared[2] = bell[1];
    return true;
}

struct process *process_new(const struct isolate_spec *spec, struct whorl_fault *fault)
{
    int shared[3] = {-1, -1, -1};
    char words[96];
    struct process *process = calloc(1, sizeof *process);
    if (!process) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    process->child = ISOLATE_NO_CHILD;
    process->bell = -1;
    bool good = make_channel(process, spec, shared, fault) &&
                isolate_spawn(spec, shared, &process->child, fault);
    for (size_t i = 0; i < 3; i++) {
        if (shared[i] >= 0) {
            close(shared[i]);
        }
    }
    if (!good) {
        process_free(process, words, sizeof words);
        return NULL;
    }
    return process;
}

void process_free(struct process *process, char *words, size_t cap)
{
    isolate_kill(&process->child);
    isolate_reap(&process->child, words, cap);
    if (process->channel.orders) {
        explicit_bzero(process->channel.orders, process->orders_size);
        munmap(process->channel.orders, process->orders_size);
    }
    if (process->channel.reports) {
        munmap(process->channel.reports, sizeof *process->channel.reports);
    }
    if (process->bell >= 0) {
        close(process->bell);
    }
    if (process->parts) {
        explicit_bzero(process->parts, process->parts_cap);
        free(process->parts);
    }
    explicit_bzero(process->payload, process->payload_used);
    free(process);
}

static enum process_says judge(struct process *process, const struct isolate_spec *spec,
                               const uint8_t *saying, size_t len, struct whorl_fault *fault)
{
    switch (saying[0]) {
    case ISOLATE_SAYS_STATUS:
        if (process->child.status >= 0) {
            return PROCESS_NOTHING;
        }
        whorl_fail(fault, "",
                   "its memory and threads can't be watched: past its memory limit it can have no "
                   "more, but is not made anew");
        return PROCESS_NOTE;
    case ISOLATE_SAYS_NOTE:
        isolate_fault(saying + 1, len - 1, fault); /* as a failure's: "where" is empty */
        return PROCESS_NOTE;
    case ISOLATE_SAYS_DESCRIPTOR:
        process->described = len - 1 == spec->descriptor_len &&
                             memcmp(saying + 1, spec->descriptor, spec->descriptor_len) == 0;
        if (process->described) {
            return PROCESS_NOTHING;
        }
        whorl_fail(fault, "", "its module has changed since the configuration was read");
        return PROCESS_FAILED;
    case ISOLATE_SAYS_STARTED:
        process->up = process->described;
        if (process->up) {
            return PROCESS_STARTED;
        }
        break;
    case ISOLATE_SAYS_FAILED:
        isolate_fault(saying + 1, len - 1, fault);
        return PROCESS_FAILED;
    default:
        break;
    }
    whorl_fail(fault, "", "its process says what makes no sense");
    return PROCESS_FAILED;
}

enum process_says process_hear(struct process *process, const struct isolate_spec *spec,
                               int64_t until, struct whorl_fault *fault)
{
    enum process_says says = PROCESS_NOTHING;
    const uint8_t *saying;
    while (says == PROCESS_NOTHING) {
        ssize_t n = isolate_hear(&process->child, &saying, until);
        if (n <= 0) {
            if (n < 0) {
                whorl_fail(fault, "", "its process ended");
                says = PROCESS_FAILED;
            }
            break;
        }
        says = judge(process, spec, saying, (size_t)n, fault);
    }
    return says;
}

/* A message in memory of its own, of which the child gets a descriptor to map for reading. */
static void *send_mapped(struct process *process, const uint8_t *message, size_t len)
{
    int fd;
    void *p = make_locked(len, &fd);
    if (!p) {
        return NULL;
    }
    memcpy(p, message, len);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    bool sent = sendmsg(process->child.control, &head, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
    close(fd);
    if (!sent) {
        explicit_bzero(p, len);
        munmap(p, len);
        return NULL;
    }
    return p;
}

bool process_call(struct process *process, uint64_t call, const uint8_t *message, size_t len,
                  void **mapped)
{
    const struct channel *channel = &process->channel;
    uint32_t slot = channel_slot_of(call);
    *mapped = NULL;
    if (len > channel->shape.room) {
        *mapped = send_mapped(process, message, len);
        if (!*mapped) {
            return false;
        }
    } else if (len > 0) {
        memcpy(channel_slot(channel, slot), message, len);
    }
    atomic_store_explicit(channel_live(channel, slot), call, memory_order_relaxed);
    if (channel_order(channel, *mapped ? ORDER_CALL_MAPPED : ORDER_CALL, call, len)) {
        return true;
    }
    process_release(process, call, len, *mapped);
    *mapped = NULL;
    return false;
}

void process_release(struct process *process, uint64_t call, size_t len, void *mapped)
{
    uint32_t slot = channel_slot_of(call);
    atomic_store_explicit(channel_live(&process->channel, slot), 0, memory_order_relaxed);
    if (mapped) {
        explicit_bzero(mapped, len);
        munmap(mapped, len);
    } else {
        explicit_bzero(channel_slot(&process->channel, slot), len);
    }
}

bool process_cancel(struct process *process, uint64_t call)
{
    atomic_store_explicit(channel_live(&process->channel, channel_slot_of(call)), 0,
                          memory_order_relaxed);
    return channel_order(&process->channel, ORDER_CANCEL, call, 0);
}

bool process_stop(struct process *process)
{
    return channel_order(&process->channel, ORDER_STOP, 0, 0);
}

void process_ring(struct process *process)
{
    struct channel_orders *orders = process->channel.orders;
    struct channel_reports *reports = process->channel.reports;
    uint32_t head = atomic_load_explicit(&orders->head, memory_order_relaxed);
    /* The child says that it sleeps, or wants room, and then looks for orders, or room; we order,
     * or make room, and then look what it says. */
    atomic_thread_fence(memory_order_seq_cst);
    if ((head != process->rung_for ||
         atomic_load_explicit(&reports->want_room, memory_order_relaxed)) &&
        atomic_load_explicit(&reports->asleep, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&orders->doorbell, 1, memory_order_release);
        (void)syscall(SYS_futex, &orders->doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    process->rung_for = head;
}

bool process_sleep(struct process *process)
{
    explicit_bzero(process->payload, process->payload_used);
    process->payload_used = 0;
    struct channel_orders *orders = process->channel.orders;
    uint32_t sleep = atomic_load_explicit(&orders->sleep, memory_order_relaxed);
    atomic_store_explicit(&orders->sleep, sleep + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return !channel_waiting(&process->channel);
}

void process_awake(struct process *process)
{
    struct channel_orders *orders = process->channel.orders;
    uint32_t sleep = atomic_load_explicit(&orders->sleep, memory_order_relaxed);
    if (sleep % 2 == 1) {
        atomic_store_explicit(&orders->sleep, sleep + 1, memory_order_relaxed);
    }
}

static bool add_part(struct process *process, const struct channel_report *head, const char **why)
{
    if (process->parts_len > 0 && process->parts_call != head->call) {
        *why = "parts of two answers mixed";
        return false;
    }
    size_t len = process->parts_len + head->len;
    if (len > CHANNEL_ANSWER_MAX) {
        *why = "an answer that is too long";
        return false;
    }
    if (len > process->parts_cap) {
        size_t cap = len < CHANNEL_ANSWER_MAX / 2 ? 2 * len : CHANNEL_ANSWER_MAX;
        uint8_t *parts = malloc(cap);
        if (!parts) {
            *why = "an answer for which there is no memory";
            return false;
        }
        if (process->parts) {
            memcpy(parts, process->parts, process->parts_len);
            explicit_bzero(process->parts, process->parts_cap);
            free(process->parts);
        }
        process->parts = parts;
        process->parts_cap = cap;
    }
    memcpy(process->parts + process->parts_len, process->payload, head->len);
    process->parts_len = len;
    process->parts_call = head->call;
    return true;
}

static void fill(struct process *process, const struct channel_report *head,
                 struct process_report *report)
{
    *report = (struct process_report){.kind = head->kind, .call = head->call, .read = head->len};
    process->payload[head->len] = '\0';
    switch (report->kind) {
    case REPORT_PROGRESS:
        memcpy(&report->fraction, process->payload, sizeof report->fraction);
        report->text = (const char *)process->payload + sizeof report->fraction;
        break;
    case REPORT_LOG:
        report->level =
            head->level > WHORL_LOG_ERROR ? WHORL_LOG_ERROR : (enum whorl_log_level)head->level;
        report->text = (const char *)process->payload;
        break;
    default:
        report->bytes = head->len > 0 ? process->payload : NULL;
        report->len = head->len;
        break;
    }
}

enum channel_take process_take(struct process *process, struct process_report *report,
                               const char **why)
{
    struct channel_report head;
    if (process->parts && process->parts_len == 0) { /* the last report's */
        explicit_bzero(process->parts, process->parts_cap);
        free(process->parts);
        process->parts = NULL;
        process->parts_cap = 0;
    }
    enum channel_take took = channel_take(&process->channel, &head, process->payload, why);
    if (took != CHANNEL_TAKEN) {
        return took;
    }
    if (head.len > process->payload_used) {
        process->payload_used = head.len;
    }
    bool last = head.kind == REPORT_ANSWER && process->parts_len > 0;
    if (head.kind != REPORT_ANSWER_PART && !last) {
        fill(process, &head, report);
        return CHANNEL_TAKEN;
    }
    if (!add_part(process, &head, why)) {
        return CHANNEL_GARBAGE;
    }
    *report =
        (struct process_report){.kind = REPORT_ANSWER_PART, .call = head.call, .read = head.len};
    if (last) {
        *report = (struct process_report){.kind = REPORT_ANSWER,
                                          .call = head.call,
                                          .read = head.len,
                                          .bytes = process->parts,
                                          .len = process->parts_len};
        process->parts_len = 0;
    }
    return CHANNEL_TAKEN;
}

uint64_t process_time(const struct process *process)
{
    struct timespec used;
    clockid_t clock;
    if (process->child.pid < 0 || clock_getcpuclockid(process->child.pid, &clock) != 0 ||
        clock_gettime(clock, &used) != 0) {
        return 0;
    }
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* A number of proc(5)'s status; 0 where there is none. Names are escaped there: no other line can
 * begin so. */
static uint64_t number_of(const char *status, const char *line)
{
    const char *at = strstr(status, line);
    return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

struct process_use process_use(const struct process *process)
{
    char status[8192];
    ssize_t n = pread(process->child.status, status, sizeof status - 1, 0);
    status[n > 0 ? n : 0] = '\0';
    return (struct process_use){
        .memory = (number_of(status, "\nVmData:") + number_of(status, "\nVmStk:") +
                   number_of(status, "\nVmPTE:")) *
                  1024,
        .threads = number_of(status, "\nThreads:"),
    };
}
