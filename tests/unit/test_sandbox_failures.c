/* A plugin's process closing itself up, with each call that it makes for that failing once: it is
 * closed, or goes no further and says why; and what it had to do without is said. */
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/guest/sandbox.h"
#include "failing.h"
#include "run_suite.h"

enum { NOBODY = 65534, PATH_SIZE = 96 };

static char dir[64], data_dir[PATH_SIZE], module[PATH_SIZE], other[PATH_SIZE];

/* What is tried in the process, and what it tells of itself. */
struct said {
    bool done, forked, opened, read_own;
    char notes[1024];
    struct whorl_fault fault;
};

struct trial {
    const char *name;
    struct isolate_limits limits;
    bool root;   /* needs it */
    bool nobody; /* the process is not root's from the start */
    bool data;   /* has a data directory */
    bool steady; /* nothing fails */
};

static void setup(void)
{
    strcpy(dir, "/tmp/whorl-sandbox-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    snprintf(data_dir, sizeof data_dir, "%s/own", dir);
    snprintf(module, sizeof module, "%s/module.so", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    ck_assert_int_eq(mkdir(data_dir, 0700), 0);
    for (size_t i = 0; i < 2; i++) {
        FILE *file = fopen(i == 0 ? module : other, "w");
        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(fclose(file), 0);
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st, (void)type, (void)place;
    return remove(path);
}

static void teardown(void)
{
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ------------------------------------------------------------------ the process */

static void note(void *ctx, const char *text)
{
    struct said *said = ctx;
    size_t used = strlen(said->notes);
    snprintf(said->notes + used, sizeof said->notes - used, "%s\n", text);
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A server holds the other end of `control`, as it does of a plugin's process. */
static void be(const struct trial *trial, int control, int tell, int wait)
{
    struct said said = {.done = false};
    struct isolate_spec spec = {.task = ISOLATE_RUN,
                                .name = "tried",
                                .module = module,
                                .limits = trial->limits,
                                .data_dir = trial->data ? data_dir : "",
                                .workers = 1};
    const char *const paths[] = {data_dir, NULL};
    const struct sandbox sandbox = {&spec, paths, note, &said};
    char byte;
    if (trial->nobody && geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
         setresuid(NOBODY, NOBODY, NOBODY) != 0))
        _exit(9);
    if (dup2(control, ISOLATE_FD_CONTROL) < 0)
        _exit(9);
    if (!trial->steady)
        failing_on();
    said.done = sandbox_enter(&sandbox, &said.fault);
    (void)failing_off();
    said.forked = said.done && syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0;
    said.opened = can_open(other, O_RDONLY);
    said.read_own = can_open(data_dir, O_RDONLY | O_DIRECTORY);
    if (write(tell, &said, sizeof said) != (ssize_t)sizeof said || read(wait, &byte, 1) < 0)
        _exit(9);
    _exit(0);
}

/* ------------------------------------------------------------------ what is seen of it */

/* The value of a line of /proc/PID/status, or of /proc/PID/limits; "" if there is none. */
static void look(pid_t pid, const char *file, const char *line, char *value, size_t cap)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *in = fopen(path, "r");
    value[0] = '\0';
    ck_assert_ptr_nonnull(in);
    while (fgets(text, sizeof text, in) != NULL) {
        if (strncmp(text, line, strlen(line)) == 0)
            snprintf(value, cap, "%s", text + strlen(line) + strspn(text + strlen(line), " \t"));
    }
    fclose(in);
}

static void is_closed(const struct trial *trial, pid_t pid, const struct said *said,
                      const char *failed)
{
    char value[256];
    const char *notes = said->notes;
    int expected = geteuid() != 0  ? (int)geteuid()
                   : trial->nobody ? NOBODY
                                   : (int)trial->limits.uid;
    look(pid, "status", "NoNewPrivs:", value, sizeof value);
    ck_assert_str_eq(value, "1\n");
    look(pid, "status", "Seccomp:", value, sizeof value);
    ck_assert_str_eq(value, "2\n");
    look(pid, "status", "CapEff:", value, sizeof value);
    ck_assert_str_eq(value, "0000000000000000\n");
    look(pid, "limits", "Max core file size", value, sizeof value);
    ck_assert_msg(value[0] == '0' || strstr(notes, "core dumps stay possible"), "%s: %s", failed,
                  value);
    look(pid, "limits", "Max open files", value, sizeof value);
    ck_assert_msg(atoi(value) <= (trial->limits.network ? 1024 : 256) ||
                      strstr(notes, "open files are not limited"),
                  "%s: %s", failed, value);
    look(pid, "limits", "Max data size", value, sizeof value);
    ck_assert_msg(strncmp(value, "unlimited", 9) != 0 || trial->limits.memory == 0 ||
                      ISOLATE_SANITIZED || /* whose shadow memory would count */
                      strstr(notes, "memory is not limited"),
                  "%s: %s", failed, value);
    look(pid, "status", "Cpus_allowed_list:", value, sizeof value);
    ck_assert_msg(trial->limits.processors != 1 || strspn(value, "0123456789\n") == strlen(value) ||
                      strstr(notes, "processors are not limited"),
                  "%s: %s", failed, value);
    look(pid, "status", "Uid:", value, sizeof value);
    ck_assert_msg(atoi(value) == expected || strstr(notes, "runs as root, without capabilities"),
                  "%s: uid %s", failed, value);
    ck_assert(!said->forked);
    ck_assert_msg(!said->opened || strstr(notes, "Landlock"), "%s: it reads others' files", failed);
}

/* One process; the call that failed, or NULL. With server = false nobody holds its control. */
static const char *try_once(const struct trial *trial, bool server, struct said *said)
{
    int tell[2], wait[2], control[2], status;
    ck_assert_int_eq(pipe(tell), 0);
    ck_assert_int_eq(pipe(wait), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control), 0);
    if (!server)
        close(control[1]);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (server)
            close(control[1]);
        be(trial, control[0], tell[1], wait[0]);
    }
    ck_assert_int_eq(read(tell[0], said, sizeof *said), sizeof *said);
    const char *failed = failing_off();
    if (said->done)
        is_closed(trial, pid, said, failed != NULL ? failed : "nothing");
    ck_assert_int_eq(write(wait[1], "", 1), 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    int fds[] = {tell[0], tell[1], wait[0], wait[1], control[0], server ? control[1] : -1};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return failed;
}

#define MIB ((uint64_t)1 << 20)

static const struct trial trials[] = {
    {"a user of its own",
     {.memory = 64 * MIB, .processors = 1, .uid = NOBODY, .gid = NOBODY, .network = true},
     .root = true,
     .data = true},
    {"no user of its own", {.memory = 64 * MIB}, .root = true, .data = true},
    {"a server that is not root", {.memory = 64 * MIB, .processors = 1}, .nobody = true},
};

/* What may fail without a word, since nothing is lost: the status above shows that. Where the files
 * that it may open can't be found, they stay closed. */
static const char harmless[] = "getrlimit setrlimit prctl capset open openat fstat close";

START_TEST(a_process_is_closed_or_goes_no_further)
{
    const struct trial *trial = &trials[_i];
    unsigned rounds = 0, refused = 0;
    if (trial->root && geteuid() != 0)
        return;
    for (; failing_again(rounds == 0); rounds++) {
        struct said said;
        const char *failed = try_once(trial, true, &said);
        refused += !said.done;
        ck_assert_msg(said.done || said.fault.text[0] != '\0', "%s: %s in silence", trial->name,
                      failed);
        ck_assert_msg(said.done || failed != NULL, "%s: %s", trial->name, said.fault.text);
        ck_assert_msg(failed == NULL || !said.done || said.notes[0] != '\0' ||
                          strstr(harmless, failed) != NULL,
                      "%s: %s was passed over", trial->name, failed);
    }
    ck_assert_uint_gt(rounds, 20);
    ck_assert_uint_gt(refused, 5);
}
END_TEST

START_TEST(without_a_server_it_goes_no_further)
{
    struct said said;
    const struct trial trial = {.name = "alone", .limits = {.memory = 64 * MIB}, .steady = true};
    ck_assert(failing_again(true));
    ck_assert_ptr_null(try_once(&trial, false, &said));
    ck_assert(!said.done);
    ck_assert_str_eq(said.fault.text, "the server has gone");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_failures");
    TCase *tests = tcase_create("failures");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, a_process_is_closed_or_goes_no_further, 0,
                        sizeof trials / sizeof *trials);
    tcase_add_test(tests, without_a_server_it_goes_no_further);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
