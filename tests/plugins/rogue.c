/* A search backend that goes wrong in whatever way the first sample's text says, for the tests of
 * isolation; and one that tries what a sandbox must refuse ("escape"), and logs what it got. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/isolate/channel.h"
#include "core/isolate/spec.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"

enum { WORD_MAX = 32, BELL = ISOLATE_FD_BELL };

struct instance {
    const struct whorl_host *host;
    pthread_mutex_t lock;
};

struct task {
    struct instance *instance;
    uint64_t call;
    unsigned round, rounds;
};

static void answer(const struct instance *instance, uint64_t call)
{
    msgpack_sbuffer packed;
    msgpack_packer pk;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "class", "no_match");
    whorl_put_key(&pk, "searched");
    msgpack_pack_map(&pk, 2);
    whorl_put_int(&pk, "people", 3);
    whorl_put_int(&pk, "of", 3);
    instance->host->complete(instance->host, call, (const uint8_t *)packed.data, packed.size);
    msgpack_sbuffer_destroy(&packed);
}

static struct task *make_task(struct instance *instance, uint64_t call, unsigned rounds)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task) {
        abort();
    }
    *task = (struct task){instance, call, 0, rounds};
    return task;
}

/* A host in a process of its own begins with what its instance sees, then comes its view of the
 * channel. Nothing tells an instance so, but nothing keeps it from finding out. */
static struct channel *channel_of(const struct instance *instance)
{
    return (void *)((char *)instance->host->ctx + sizeof(struct whorl_host));
}

/* Log */

/* result: of a system call that failed if it is negative. */
static void say(const struct instance *instance, const char *what, long result)
{
    char line[200];
    (void)snprintf(line, sizeof line, "escape %s: %s", what,
                   result < 0 ? strerrorname_np(errno) : "allowed");
    instance->host->log(instance->host, WHORL_LOG_INFO, line);
}

static void try_open(const struct instance *instance, const char *what, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    say(instance, what, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void try_files(const struct instance *instance)
{
    char path[4096];
    const char *data = instance->host->data_dir;
    try_open(instance, "read_passwd", "/etc/passwd", O_RDONLY);
    try_open(instance, "read_environment", "/proc/self/environ", O_RDONLY);
    try_open(instance, "write_tmp", "/tmp/whorl-rogue", O_WRONLY | O_CREAT);
    (void)snprintf(path, sizeof path, "%s/../ident1/data.mdb", data);
    try_open(instance, "read_other_plugin", path, O_RDONLY);
    try_open(instance, "open_other_for_nothing", path, O_ACCMODE);
    say(instance, "truncate_other", truncate(path, 0));
    (void)snprintf(path, sizeof path, "%s/../../conf.d/tls/server.key", data);
    try_open(instance, "read_server_key", path, O_RDONLY);
    (void)snprintf(path, sizeof path, "%s/..", data);
    DIR *dir = opendir(path);
    say(instance, "list_data", dir ? 0 : -1);
    if (dir) {
        closedir(dir);
    }
    (void)snprintf(path, sizeof path, "%s/own", data);
    try_open(instance, "write_own_data", path, O_RDWR | O_CREAT);
    try_open(instance, "empty_own_data_as_reader", path, O_RDONLY | O_TRUNC);
    try_open(instance, "empty_own_data", path, O_WRONLY | O_TRUNC);
    say(instance, "chmod", chmod(path, 0777));
    int own = open(path, O_RDWR);
    say(instance, "set_user", fchmod(own, 04700));
    say(instance, "set_group", fchmod(own, 02700));
    say(instance, "set_mode", fchmod(own, 0700));
    close(own);
    say(instance, "symlink", symlink("/etc", "link"));
    say(instance, "unlink_own_data", unlink(path));
    say(instance, "make_set_user", open(path, O_RDWR | O_CREAT, 04700));
    say(instance, "make_set_group", open(path, O_RDWR | O_CREAT, 02700));
}

static void try_socket(const struct instance *instance, const char *what, int family)
{
    int fd = socket(family, SOCK_STREAM, 0), result = fd;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && family == AF_INET) {
        /* Nobody listens there: a refusal by the other end means that ours had none. */
        result = connect(fd, (struct sockaddr *)&to, sizeof to);
        result = result != 0 && errno == ECONNREFUSED ? 0 : result;
    }
    say(instance, what, result);
    if (fd >= 0) {
        close(fd);
    }
}

/* The owner of a descriptor is sent a signal, of the sender's choice, when there is something to
 * read. */
static void try_signals(const struct instance *instance, int server)
{
    int ends[2];
    struct f_owner_ex owner = {F_OWNER_PID, server};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        abort();
    }
    say(instance, "own_by_server", fcntl(ends[0], F_SETOWN, server));
    say(instance, "own_ex_by_server", fcntl(ends[0], F_SETOWN_EX, &owner));
    say(instance, "ioctl_own_by_server", ioctl(ends[0], FIOSETOWN, &server));
    say(instance, "choose_signal", fcntl(ends[0], F_SETSIG, SIGCONT));
    say(instance, "ask_for_signals", fcntl(ends[0], F_SETFL, O_ASYNC));
    say(instance, "not_to_wait", fcntl(ends[0], F_SETFL, O_NONBLOCK));
    close(ends[0]);
    close(ends[1]);
}

static void try_processes(const struct instance *instance)
{
    char byte;
    char *const arguments[] = {(char *)"true", NULL};
    struct iovec local = {&byte, 1}, remote = {(void *)instance, 1};
    pid_t server = getppid();
    say(instance, "exec", execv("/bin/true", arguments));
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    say(instance, "fork", child);
    say(instance, "ptrace", ptrace(PTRACE_ATTACH, server, NULL, NULL));
    say(instance, "read_server_memory", process_vm_readv(server, &local, 1, &remote, 1, 0));
    say(instance, "kill_server", kill(server, SIGCONT));
    try_signals(instance, server);
    say(instance, "renice_server", setpriority(PRIO_PROCESS, (id_t)server, 19));
    struct rlimit none = {1000, 1000};
    say(instance, "limit_server", prlimit(server, RLIMIT_NOFILE, &none, NULL));
    say(instance, "setuid", syscall(SYS_setuid, 0));
}

/* What the server takes, it has to close. */
static void try_to_hand_over(const struct instance *instance)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    char letter = ISOLATE_SAYS_STATUS;
    int fd = STDIN_FILENO;
    struct iovec part = {&letter, 1};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    say(instance, "hand_over", sendmsg(ISOLATE_FD_CONTROL, &head, 0));
}

static void try_memory(const struct instance *instance)
{
    void *stack = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    say(instance, "another_stack", stack == MAP_FAILED ? -1 : 0);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    say(instance, "shared_memory", p == MAP_FAILED ? -1 : 0);
    int fd = memfd_create("x", 0);
    say(instance, "memfd", fd);
    int result = mprotect(channel_of(instance)->orders, 4096, PROT_READ | PROT_WRITE);
    say(instance, "write_orders", result);
}

static void escape(struct instance *instance)
{
    try_files(instance);
    try_socket(instance, "connect", AF_INET);
    try_socket(instance, "local_socket", AF_UNIX);
    try_processes(instance);
    try_to_hand_over(instance);
    try_memory(instance);
}

/* What goes wrong */

static void *spin(void *arg)
{
    volatile unsigned *round = arg;
    for (;;) {
        ++*round;
    }
    return NULL;
}

static void spin_beside(struct instance *instance, uint64_t call)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, spin, &make_task(instance, call, 0)->round) != 0) {
        abort();
    }
    answer(instance, call);
}

static void *wait_for_nothing(void *arg)
{
    for (;;) {
        pause();
    }
    return arg;
}

static void make_threads(struct instance *instance, uint64_t call)
{
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (unsigned i = 0; i < 600; i++) {
        (void)pthread_create(&thread, &small, wait_for_nothing, NULL);
    }
    pthread_attr_destroy(&small);
    answer(instance, call);
}

static void abort_in_job(void *arg)
{
    (void)arg;
    abort();
}

static void leak(struct instance *instance, uint64_t call)
{
    for (size_t i = 0; i < 4096; i++) {
        char *p = malloc(1 << 20);
        if (!p) {
            break;
        }
        memset(p, 1, 1 << 20);
    }
    answer(instance, call);
}

/* Tables of pages without any memory behind them. */
static void leak_tables(struct instance *instance, uint64_t call)
{
    const size_t much = (size_t)100 << 30, table = 2 << 20;
    const volatile char *p =
        mmap(NULL, much, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || madvise((void *)p, much, MADV_NOHUGEPAGE) != 0) {
        abort();
    }
    for (size_t at = 0; at < much; at += table) {
        (void)p[at];
    }
    answer(instance, call);
}

/* So that only root could look into its directory. */
static void lock_out(const struct instance *instance)
{
    int dir = open(instance->host->data_dir, O_RDONLY | O_DIRECTORY);
    if (fchmod(dir, 0333) != 0) {
        abort();
    }
    _exit(0);
}

/* Reports without end, none of which answers. */
static void flood(void *arg)
{
    struct task *task = arg;
    const struct channel *channel = channel_of(task->instance);
    const struct channel_report noise = {.kind = REPORT_LOG, .level = WHORL_LOG_INFO};
    for (;;) {
        (void)channel_report(channel, &noise, "noise", 5, NULL, 0);
    }
}

/* The same with as much as a report may hold. */
static void flood_widely(void *arg)
{
    static const uint8_t much[CHANNEL_PAYLOAD_MAX];
    struct task *task = arg;
    const struct channel *channel = channel_of(task->instance);
    const struct channel_report noise = {.kind = REPORT_ANSWER, .call = UINT64_MAX};
    for (;;) {
        (void)channel_report(channel, &noise, much, sizeof much, NULL, 0);
    }
}

static void report_too_much(struct instance *instance, uint16_t kind)
{
    static const uint8_t much[CHANNEL_LINE_MAX + 1];
    const struct channel_report report = {.kind = kind, .level = WHORL_LOG_INFO};
    size_t len = kind == REPORT_LOG ? sizeof much : sizeof(double) + CHANNEL_STAGE_MAX + 1;
    (void)channel_report(channel_of(instance), &report, much, len, NULL, 0);
    (void)!write(BELL, "", 1);
}

static void scribble(struct instance *instance, const char *how)
{
    struct channel_reports *reports = channel_of(instance)->reports;
    uint32_t head = reports->head;
    struct channel_report bad = {.kind = REPORT_LOG, .len = 8};
    if (strcmp(how, "scribble head") == 0) {
        reports->head = head + 0x40000008;
    } else if (strcmp(how, "scribble kind") == 0) {
        memset(reports->ring, 0xee, sizeof reports->ring);
        reports->head = head + 64;
    } else if (strcmp(how, "scribble length") == 0) {
        bad.len = 0xfffffff0;
        memcpy(reports->ring + head % CHANNEL_RING, &bad, sizeof bad);
        reports->head = head + 64;
    } else { /* parts that never become an answer */
        bad = (struct channel_report){.kind = REPORT_ANSWER_PART, .call = 1 << 16};
        static const uint8_t part[CHANNEL_PAYLOAD_MAX];
        for (unsigned i = 0; i < 100000; i++) {
            if (!channel_report(channel_of(instance), &bad, part, sizeof part, NULL, 0)) {
                usleep(100);
                (void)!write(BELL, "", 1);
            }
        }
    }
    (void)!write(BELL, "", 1);
}

static void answer_slowly(void *arg)
{
    struct task *task = arg;
    const struct whorl_host *host = task->instance->host;
    host->progress(host, task->call, "waiting", (double)task->round / task->rounds);
    usleep(30000);
    if (++task->round == task->rounds || !host->submit(host, answer_slowly, task)) {
        answer(task->instance, task->call);
        free(task);
    }
}

static void act_in_process(struct instance *instance, uint64_t call, const char *word)
{
    if (strcmp(word, "crash") == 0) {
        *(volatile int *)NULL = 1;
    } else if (strcmp(word, "exit") == 0) {
        _exit(0);
    } else if (strcmp(word, "abort") == 0) {
        instance->host->submit(instance->host, abort_in_job, NULL);
    } else if (strcmp(word, "spin") == 0) {
        unsigned round = 0;
        spin(&round);
    } else if (strcmp(word, "deadlock") == 0) {
        pthread_mutex_lock(&instance->lock);
        pthread_mutex_lock(&instance->lock);
    } else if (strcmp(word, "spin beside") == 0) {
        spin_beside(instance, call);
    } else if (strcmp(word, "threads") == 0) {
        make_threads(instance, call);
    } else if (strcmp(word, "leak") == 0) {
        leak(instance, call);
    } else if (strcmp(word, "leak tables") == 0) {
        leak_tables(instance, call);
    } else if (strcmp(word, "lock out") == 0) {
        lock_out(instance);
    } else if (strcmp(word, "flood") == 0) {
        instance->host->submit(instance->host, flood, make_task(instance, call, 0));
    } else if (strcmp(word, "flood widely") == 0) {
        instance->host->submit(instance->host, flood_widely, make_task(instance, call, 0));
    } else if (strcmp(word, "long line") == 0) {
        report_too_much(instance, REPORT_LOG);
    } else if (strcmp(word, "long stage") == 0) {
        report_too_much(instance, REPORT_PROGRESS);
    } else if (strcmp(word, "close bell") == 0) {
        close(BELL);
    } else if (strncmp(word, "scribble", 8) == 0) {
        scribble(instance, word);
    }
}

static void act(struct instance *instance, uint64_t call, const char *word)
{
    const struct whorl_host *host = instance->host;
    if (strcmp(word, "none") == 0) {
        answer(instance, call);
    } else if (strcmp(word, "twice") == 0) {
        answer(instance, call);
        answer(instance, call);
    } else if (strcmp(word, "foreign") == 0) {
        answer(instance, UINT64_MAX);
        answer(instance, call + (1u << 16));
        answer(instance, call);
    } else if (strcmp(word, "garbage") == 0) {
        host->complete(host, call, (const uint8_t *)"\xc1\xff", 2);
    } else if (strcmp(word, "slow") == 0) {
        host->submit(host, answer_slowly, make_task(instance, call, 10));
    } else if (strcmp(word, "slower") == 0) {
        host->submit(host, answer_slowly, make_task(instance, call, 200));
    } else if (strcmp(word, "escape") == 0) {
        escape(instance);
        answer(instance, call);
    } else if (strcmp(word, "hang") != 0) {
        act_in_process(instance, call, word);
    }
}

/* The first sample's text up to a '|', behind which a test may have put what it looks for later. */
static void call(void *arg, uint64_t id, const uint8_t *bytes, size_t len)
{
    struct instance *instance = arg;
    struct whorl_fault fault;
    struct whorl_msg message;
    char word[WORD_MAX] = "";
    if (!whorl_msg_parse(bytes, len, &message, &fault)) {
        abort();
    }
    const msgpack_object *samples = whorl_map_get(&message.root, "samples");
    const msgpack_object *data = whorl_map_get(&samples->via.array.ptr[0], "data");
    for (size_t i = 0; i < data->via.bin.size && i < WORD_MAX - 1; i++) {
        if (data->via.bin.ptr[i] == '|') {
            break; /* the rest is to stay where it is */
        }
        word[i] = data->via.bin.ptr[i];
    }
    whorl_msg_release(&message);
    act(instance, id, word);
}

static int start(const struct whorl_host *host, void **out, struct whorl_fault *fault)
{
    const char *when = host->settings->string(host->settings, NULL, "start");
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        return -1;
    }
    if (strcmp(when, "crash") == 0) {
        abort();
    } else if (strcmp(when, "refuse") == 0) {
        free(instance);
        whorl_fail(fault, "start", "was told to");
        return -1;
    }
    if (strcmp(when, "mumble") == 0) {
        free(instance);
        whorl_fail(fault, "start", "caf\xe9 is shut");
        return -1;
    }
    while (strcmp(when, "hang") == 0) {
        pause();
    }
    instance->host = host;
    pthread_mutex_init(&instance->lock, NULL);
    host->log(host, WHORL_LOG_INFO, "rogue is up");
    *out = instance;
    return 0;
}

static void stop(void *arg)
{
    struct instance *instance = arg;
    instance->host->log(instance->host, WHORL_LOG_INFO, "rogue is down");
    free(instance);
}

static const char *const modalities[] = {"word", NULL};
static const char *const formats[] = {"utf8", NULL};
static const struct whorl_setting settings[] = {
    {"start", WHORL_SETTING_STRING, 0, "well", 0, 0, "how it starts"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1",
    .title = "Rogue",
    .role = WHORL_ROLE_SEARCH,
    .modalities = modalities,
    .formats = formats,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .start = start,
    .call = call,
    .stop = stop,
};
