#include "core/guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/conf/settings.h"
#include "core/conf/settings_pack.h"
#include "core/guest/sandbox.h"
#include "core/guest/serve.h"
#include "core/module/describe.h"
#include "core/module/module.h"
#include "whorl/msg.h"

enum { EXIT_SERVED = 0, EXIT_MISUSED = 2, EXIT_GAVE_UP = 3 };

/* Of address space: for a little, and for settings of so many bytes. */
#define ARENA_SIZE(settings) (((size_t)1 << 20) + 96 * (settings))
#define PATHS_MAX 256u

/* What main's steps share. */
struct beginning {
    struct isolate_spec spec;
    struct whorl_msg spec_message, settings_message;
    struct arena arena;
    const char *paths[PATHS_MAX + 1];
    struct channel channel;
};

static bool write_all(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = write(ISOLATE_FD_SAYINGS, at, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool send_saying(char letter, const void *bytes, size_t len)
{
    uint32_t whole = (uint32_t)len + 1;
    return write_all(&whole, sizeof whole) && write_all(&letter, 1) && write_all(bytes, len);
}

static void say_fault(char letter, const struct whorl_fault *fault)
{
    char text[sizeof fault->where + sizeof fault->text];
    int n = snprintf(text, sizeof text, "%s%c%s", fault->where, 0, fault->text);
    (void)send_saying(letter, text, (size_t)n + 1);
}

static void note(void *ctx, const char *text)
{
    (void)ctx;
    struct whorl_fault fault = {"", ""};
    whorl_fail(&fault, "", "%s", text);
    say_fault(ISOLATE_SAYS_NOTE, &fault);
}

static int give_up(const struct whorl_fault *fault)
{
    say_fault(ISOLATE_SAYS_FAILED, fault);
    return EXIT_GAVE_UP;
}

/* Whether the descriptors are there: nobody calls this by hand. */
static bool was_made_by_a_server(void)
{
    int type = 0, seals = fcntl(ISOLATE_FD_SPEC, F_GET_SEALS);
    socklen_t len = sizeof type;
    return getsockopt(ISOLATE_FD_CONTROL, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_SEQPACKET && seals >= 0 && (seals & F_SEAL_WRITE) != 0;
}

static bool read_spec(struct beginning *beginning, struct whorl_fault *fault)
{
    struct stat st;
    if (fstat(ISOLATE_FD_SPEC, &st) != 0 || st.st_size <= 0) {
        return whorl_fail(fault, "", "its process was told nothing");
    }
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, ISOLATE_FD_SPEC, 0);
    if (bytes == MAP_FAILED || !arena_init(&beginning->arena, ARENA_SIZE(len))) {
        return whorl_fail(fault, "", "out of memory");
    }
    close(ISOLATE_FD_SPEC);
    if (!whorl_msg_parse(bytes, len, &beginning->spec_message, fault) ||
        !isolate_spec_read(&beginning->spec_message.root, &beginning->spec, fault)) {
        return false;
    }
    const struct isolate_spec *spec = &beginning->spec;
    if (spec->task == ISOLATE_DESCRIBE) {
        return true;
    }
    if (!whorl_msg_parse(spec->settings, spec->settings_len, &beginning->settings_message, fault)) {
        return false;
    }
    const msgpack_object *packed = &beginning->settings_message.root;
    size_t count = settings_pack_paths(packed);
    for (size_t i = 0; i < count && i < PATHS_MAX; i++) {
        beginning->paths[i] = settings_pack_path(&beginning->arena, packed, i);
    }
    return true;
}

/* Maps the memory that is shared with the server, and drops the descriptors. */
static bool map_channel(struct beginning *beginning, struct whorl_fault *fault)
{
    struct channel *channel = &beginning->channel;
    channel->shape = channel_shape(beginning->spec.calls);
    void *orders = mmap(NULL, channel->shape.size, PROT_READ, MAP_SHARED, ISOLATE_FD_ORDERS, 0);
    void *reports = mmap(NULL, sizeof *channel->reports, PROT_READ | PROT_WRITE, MAP_SHARED,
                         ISOLATE_FD_REPORTS, 0);
    if (orders == MAP_FAILED || reports == MAP_FAILED) {
        return whorl_fail(fault, "", "the shared memory can't be mapped: %s", strerror(errno));
    }
    /* The pages are locked already, through the server's mapping. */
    (void)madvise(orders, channel->shape.size, MADV_DONTDUMP);
    (void)madvise(reports, sizeof *channel->reports, MADV_DONTDUMP);
    channel->orders = orders;
    channel->reports = reports;
    close(ISOLATE_FD_ORDERS);
    close(ISOLATE_FD_REPORTS);
    return true;
}

/* Hands the server what its memory and threads are read from. The server can't open that itself
 * where /proc shows it only what it may trace (hidepid, systemd's ProtectProc), and nobody may
 * trace this process. Without it the server hears that it has been sent, and finds nothing. */
static void hand_over_status(void)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    union {
        char bytes[CMSG_SPACE(sizeof fd)];
        struct cmsghdr align;
    } control = {{0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        head.msg_control = control.bytes;
        head.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    (void)sendmsg(ISOLATE_FD_CONTROL, &head, 0);
    if (fd >= 0) {
        close(fd);
    }
}

/* From here on nothing can be handed to the server. */
static bool shut_way_back(const struct isolate_spec *spec, struct whorl_fault *fault)
{
    if (spec->task == ISOLATE_RUN) {
        hand_over_status();
    }
    if (shutdown(ISOLATE_FD_CONTROL, SHUT_WR) != 0) {
        return whorl_fail(fault, "", "its socket to the server can't be shut: %s", strerror(errno));
    }
    return spec->task != ISOLATE_RUN || send_saying(ISOLATE_SAYS_STATUS, NULL, 0) ||
           whorl_fail(fault, "", "the server has gone");
}

static bool describe(const struct whorl_plugin *plugin, struct whorl_fault *fault)
{
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    module_describe(plugin, &packed);
    bool said = packed.size <= DESCRIBE_MAX &&
                send_saying(ISOLATE_SAYS_DESCRIPTOR, packed.data, packed.size);
    msgpack_sbuffer_destroy(&packed);
    return said || whorl_fail(fault, "module", "its descriptor is too large to be told");
}

static void add_refusal(void *ctx, size_t view, struct whorl_fault *fault)
{
    msgpack_sbuffer *refusals = ctx;
    char text[sizeof fault->where + sizeof fault->text + 32];
    fault->where[sizeof fault->where - 1] = fault->text[sizeof fault->text - 1] = '\0';
    int n = snprintf(text, sizeof text, "%zu%c%s%c%s", view, 0, fault->where, 0, fault->text);
    if (refusals->size + sizeof text < ISOLATE_SAYING_MAX) {
        msgpack_sbuffer_write(refusals, text, (size_t)n + 1);
    }
}

static int check(struct beginning *beginning, const struct whorl_plugin *plugin,
                 const struct whorl_settings *settings)
{
    msgpack_sbuffer refusals;
    msgpack_sbuffer_init(&refusals);
    settings_check(&beginning->arena, plugin, settings, add_refusal, &refusals);
    bool said = send_saying(ISOLATE_SAYS_CHECKED, refusals.data, refusals.size);
    msgpack_sbuffer_destroy(&refusals);
    return said ? EXIT_SERVED : EXIT_GAVE_UP;
}

static int run(struct beginning *beginning, const struct whorl_plugin *plugin,
               const struct whorl_settings *settings)
{
    struct whorl_fault fault = {"", ""};
    if (!describe(plugin, &fault)) {
        return give_up(&fault);
    }
    struct guest *guest =
        guest_new(&beginning->channel, &beginning->spec, plugin, settings, &fault);
    if (!guest || !guest_start(guest, &fault)) {
        return give_up(&fault);
    }
    if (!send_saying(ISOLATE_SAYS_STARTED, NULL, 0)) {
        return EXIT_GAVE_UP;
    }
    close(ISOLATE_FD_SAYINGS); /* nothing is said any more */
    guest_serve(guest);
    return EXIT_SERVED;
}

/* With the module loaded: from here on nothing is to be trusted. */
static int act(struct beginning *beginning, const struct whorl_plugin *plugin)
{
    struct whorl_fault fault = {"", ""};
    if (beginning->spec.task == ISOLATE_DESCRIBE) {
        return describe(plugin, &fault) ? EXIT_SERVED : give_up(&fault);
    }
    const struct whorl_settings *settings =
        settings_unpack(&beginning->arena, plugin, &beginning->settings_message.root);
    if (!settings) {
        whorl_fail(&fault, "", "its module has changed since the configuration was read");
        return give_up(&fault);
    }
    return beginning->spec.task == ISOLATE_CHECK ? check(beginning, plugin, settings)
                                                 : run(beginning, plugin, settings);
}

/* The server ends this process; what is meant for the server's whole group is not for us. */
static void ignore_signals(void)
{
    static const int numbers[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)sigaction(numbers[i], &ignore, NULL);
    }
}

int guest_main(void)
{
    struct beginning beginning = {.spec = {.task = ISOLATE_DESCRIBE}};
    struct whorl_fault fault = {"", ""};
    if (!was_made_by_a_server()) {
        return EXIT_MISUSED;
    }
    ignore_signals();
    if (!read_spec(&beginning, &fault) || !shut_way_back(&beginning.spec, &fault) ||
        (beginning.spec.task == ISOLATE_RUN && !map_channel(&beginning, &fault))) {
        return give_up(&fault);
    }
    const struct sandbox sandbox = {&beginning.spec, beginning.paths, note, NULL};
    if (!sandbox_enter(&sandbox, &fault)) {
        return give_up(&fault);
    }
    const struct whorl_plugin *plugin = module_load(beginning.spec.module, &fault);
    return plugin ? act(&beginning, plugin) : give_up(&fault);
}
