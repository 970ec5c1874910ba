/* The trials: each shows one rule of whorl/plugin.h. A trial runs in a process of its own and may
 * leave it as it likes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "whorl/msg.h"

enum {
    DEADLINE_MS = 20000,
    MANY = 64,
    ROUNDS_MAX = 400,
    TRIAL_BUDGET_S = 60, /* for trials of as many rounds as there are moments */
    LEAK_BYTES = 16,     /* a call, seen in two rows of calls one after the other */
};

#define ROLE(role) (1u << (role))
#define ASKED (ROLE(WHORL_ROLE_SEARCH) | ROLE(WHORL_ROLE_LOOKUP))
#define ALL (ASKED | ROLE(WHORL_ROLE_SINK))

static const struct kit_refusals nothing = {false, false, false};

static void data_dir(char path[PATH_MAX], const char *scratch)
{
    snprintf(path, PATH_MAX, "%s/data", scratch);
}

/* An instance that has to start. */
static struct kit_host *started(const struct kit_subject *subject, const char *scratch)
{
    struct whorl_fault fault = {"", ""};
    struct kit_host *host = calloc(1, sizeof *host);
    char dir[PATH_MAX];
    data_dir(dir, scratch);
    if (!host || !kit_host_start(host, subject, dir, nothing, &fault)) {
        kit_found("did not start: %s%s%s", fault.where, fault.where[0] ? ": " : "", fault.text);
        _exit(EXIT_SUCCESS);
    }
    return host;
}

static void send_good(struct kit_host *host, unsigned deadline_ms)
{
    struct whorl_secret message = {0};
    struct kit_asked asked;
    if (!kit_message_good(host->subject, deadline_ms, &message, &asked)) {
        kit_found("the kit could not make a message: is the sample's file there?");
        _exit(EXIT_SUCCESS);
    }
    kit_host_call(host, message.bytes, message.len, &asked);
    whorl_secret_release(&message);
}

static void stopped(struct kit_host *host)
{
    kit_host_stop(host);
    free(host);
}

static void compare_holding(const struct kit_holding *before, const struct kit_holding *after,
                            const char *what)
{
    if (after->threads > before->threads) {
        kit_found("%s left %zu threads running", what, after->threads - before->threads);
    }
    if (after->descriptors > before->descriptors) {
        kit_found("%s left %zu file descriptors open", what,
                  after->descriptors - before->descriptors);
    }
}

static void check_only(const struct kit_subject *subject, const char *scratch)
{
    struct kit_holding before, after;
    struct whorl_fault fault = {"", ""};
    if (!subject->plugin->check || chdir(scratch) != 0) {
        return;
    }
    kit_holding_now(&before, scratch);
    for (int i = 0; i < 3; i++) {
        if (subject->plugin->check(subject->settings, &fault) != 0) {
            kit_found("check refused settings that it had accepted: %s: %s", fault.where,
                      fault.text);
        }
    }
    kit_holding_now(&after, scratch);
    compare_holding(&before, &after, "check, which must start nothing,");
    if (after.files > before.files) {
        kit_found("check wrote a file");
    }
}

/* Settings in which one has another value than the operator gave. */
struct changed {
    const struct whorl_settings *real;
    const char *name, *text;
    int64_t integer;
    double number;
    bool truth, empty;
};

static const struct changed *changed_of(const struct whorl_settings *settings, const char *name)
{
    const struct changed *changed = settings->ctx;
    return strcmp(changed->name, name) == 0 ? changed : NULL;
}

static const char *get_string(const struct whorl_settings *settings, const char *force,
                              const char *name)
{
    const struct whorl_settings *real = ((const struct changed *)settings->ctx)->real;
    const struct changed *changed = changed_of(settings, name);
    const char *value = real->string(real, force, name);
    return changed && value ? changed->text : value;
}

static int64_t get_integer(const struct whorl_settings *settings, const char *force,
                           const char *name)
{
    const struct whorl_settings *real = ((const struct changed *)settings->ctx)->real;
    const struct changed *changed = changed_of(settings, name);
    return changed ? changed->integer : real->integer(real, force, name);
}

static double get_real(const struct whorl_settings *settings, const char *force, const char *name)
{
    const struct whorl_settings *real = ((const struct changed *)settings->ctx)->real;
    const struct changed *changed = changed_of(settings, name);
    return changed ? changed->number : real->real(real, force, name);
}

static bool get_boolean(const struct whorl_settings *settings, const char *force, const char *name)
{
    const struct whorl_settings *real = ((const struct changed *)settings->ctx)->real;
    const struct changed *changed = changed_of(settings, name);
    return changed ? changed->truth : real->boolean(real, force, name);
}

static const char *get_item(const struct whorl_settings *settings, const char *force,
                            const char *name, size_t index)
{
    const struct whorl_settings *real = ((const struct changed *)settings->ctx)->real;
    const struct changed *changed = changed_of(settings, name);
    if (!changed) {
        return real->item(real, force, name, index);
    }
    return changed->empty || index > 0 ? NULL : changed->text;
}

/* One setting at one value: refused in words, or good enough to start with. */
static void try_settings(const struct kit_subject *subject, const char *scratch,
                         const struct changed *changed)
{
    const struct whorl_settings settings = {sizeof settings, 0,        changed,     get_string,
                                            get_integer,     get_real, get_boolean, get_item};
    struct kit_subject with = *subject;
    struct whorl_fault fault = {"", ""};
    struct kit_host *host = calloc(1, sizeof *host);
    char dir[PATH_MAX];
    data_dir(dir, scratch);
    with.settings = &settings;
    int code = with.plugin->check ? with.plugin->check(&settings, &fault) : 0;
    if (code != 0 && (code != -1 || strnlen(fault.text, sizeof fault.text) == 0)) {
        kit_found("check returned %d without saying why", code);
    }
    if (host && code == 0 && kit_host_start(host, &with, dir, nothing, &fault)) {
        send_good(host, DEADLINE_MS);
        kit_host_give_up(host, 0);
        kit_host_stop(host);
    }
    free(host);
}

static void bounds(const struct kit_subject *subject, const char *scratch)
{
    static char longest[1001];
    memset(longest, 'x', sizeof longest - 1);
    for (size_t i = 0; i < subject->plugin->setting_count; i++) {
        const struct whorl_setting *setting =
            (const void *)((const char *)subject->plugin->settings +
                           i * subject->plugin->setting_size);
        bool bounded = setting->min != 0 || setting->max != 0;
        size_t len = bounded && setting->max < 1000 ? (size_t)setting->max : 1000;
        struct changed low = {.real = subject->settings, .name = setting->name, .text = ""};
        struct changed high = low;
        low.number = bounded ? setting->min : -1e300;
        high.number = bounded ? setting->max : 1e300;
        low.integer = bounded ? (int64_t)setting->min : INT64_MIN;
        high.integer = bounded ? (int64_t)setting->max : INT64_MAX;
        low.empty = true;
        high.truth = true;
        high.text = longest + sizeof longest - 1 - len;
        kit_doing("%s has the least value that its schema allows", setting->name);
        if (setting->type != WHORL_SETTING_STRING || setting->min <= 0) {
            try_settings(subject, scratch, &low);
        }
        kit_doing("%s has the greatest value that its schema allows", setting->name);
        try_settings(subject, scratch, &high);
    }
}

static void start_stop(const struct kit_subject *subject, const char *scratch)
{
    struct kit_holding before = {0}, after;
    for (int i = 0; i < 12; i++) {
        stopped(started(subject, scratch));
        if (i == 1) {
            kit_holding_now(&before, scratch);
        }
    }
    kit_holding_now(&after, scratch);
    compare_holding(&before, &after, "starting and stopping ten times");
}

static void one_call(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *host = started(subject, scratch);
    send_good(host, DEADLINE_MS);
    kit_host_settle(host);
    stopped(host);
}

static void parallel(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *host = started(subject, scratch);
    for (size_t i = 0; i < MANY; i++) {
        send_good(host, DEADLINE_MS);
    }
    kit_host_settle(host);
    stopped(host);
}

static void malformed(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *host = started(subject, scratch);
    struct whorl_secret message = {0};
    struct kit_asked asked;
    char name[128];
    for (size_t i = 0; kit_message_spoilt(subject, i, &message, &asked, name); i++) {
        kit_doing("a message is sent in which %s", name);
        kit_host_call(host, message.bytes, message.len, &asked);
        kit_host_settle(host);
        if (host->call_count == KIT_CALLS_MAX) {
            stopped(host);
            host = started(subject, scratch);
        }
    }
    whorl_secret_release(&message);
    kit_doing("a good message follows the bad ones");
    stopped(host);
    one_call(subject, scratch);
}

static bool in_time(time_t began)
{
    return time(NULL) - began < TRIAL_BUDGET_S;
}

static void cancelled(const struct kit_subject *subject, const char *scratch)
{
    time_t began = time(NULL);
    bool reached = true;
    for (unsigned long n = 0; reached && n < ROUNDS_MAX && in_time(began); n++) {
        struct kit_host *host = started(subject, scratch);
        kit_doing("a call is given up at moment %lu of its life", n);
        host->events = 0;
        host->give_up_at = n;
        send_good(host, DEADLINE_MS);
        if (n == 0) {
            kit_host_give_up(host, 0);
        }
        kit_host_settle(host);
        reached = n == 0 || host->events >= n;
        /* Once more for a call that has ended, and for one that never was. */
        kit_host_give_up(host, 0);
        if (subject->plugin->cancel) {
            subject->plugin->cancel(host->instance, 12345);
        }
        stopped(host);
    }
}

static void deadline(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *host = started(subject, scratch);
    for (unsigned ms = 0; ms < 4; ms++) {
        kit_doing("a call has %u ms until its deadline", ms);
        send_good(host, ms);
        kit_host_give_up(host, ms);
    }
    kit_host_settle(host);
    stopped(host);
}

static void reload(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *old = started(subject, scratch);
    for (size_t i = 0; i < 8; i++) {
        send_good(old, DEADLINE_MS);
    }
    kit_doing("a second instance starts while the first has calls");
    struct kit_host *new = started(subject, scratch);
    for (size_t i = 0; i < 8; i++) {
        send_good(new, DEADLINE_MS);
    }
    kit_host_settle_both(old, new);
    kit_doing("the first of two instances is stopped");
    stopped(old);
    send_good(new, DEADLINE_MS);
    kit_host_settle(new);
    stopped(new);
}

static void refusing(const struct kit_subject *subject, const char *scratch)
{
    static const struct {
        struct kit_refusals refuses;
        const char *what;
    } ways[] = {
        {{.submit = true}, "the host is stopping and takes no job"},
        {{.timers = true}, "the host has no timer left"},
        {{.secrets = true}, "the limit on locked memory is reached"},
    };
    char dir[PATH_MAX];
    data_dir(dir, scratch);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct whorl_fault fault = {"", ""};
        struct kit_host *host = calloc(1, sizeof *host);
        kit_doing("%s", ways[i].what);
        if (host && kit_host_start(host, subject, dir, ways[i].refuses, &fault)) {
            send_good(host, DEADLINE_MS);
            kit_host_stop(host);
        }
        free(host);
    }
}

static void shortage(const struct kit_subject *subject, const char *scratch)
{
    time_t began = time(NULL);
    struct kit_holding before = {0}, after;
    char dir[PATH_MAX];
    data_dir(dir, scratch);
    bool struck = kit_shortage_install(subject);
    unsigned long n = 1;
    for (; struck && n < ROUNDS_MAX && in_time(began); n++) {
        struct whorl_fault fault = {"", ""};
        struct kit_host *host = calloc(1, sizeof *host);
        kit_doing("its allocation number %lu fails", n);
        kit_shortage_at(n);
        if (host && kit_host_start(host, subject, dir, nothing, &fault)) {
            send_good(host, DEADLINE_MS);
            kit_host_stop(host);
        }
        struck = kit_shortage_struck();
        kit_shortage_at(0);
        free(host);
        if (n == 1) {
            kit_holding_now(&before, scratch);
        }
    }
    if (n > 1) {
        kit_holding_now(&after, scratch);
        kit_doing("allocations failed");
        compare_holding(&before, &after, "starting, calling and stopping");
    }
}

static void traces(const struct kit_subject *subject, const char *scratch)
{
    struct kit_host *host = started(subject, scratch);
    for (size_t i = 0; i < 3; i++) {
        send_good(host, DEADLINE_MS);
    }
    kit_host_settle(host);
    kit_traces_of_sample(subject, host, host->data_dir);
    stopped(host);
}

/* Four rows of calls; what grows in the last two is what no cache explains. */
static void leaks(const struct kit_subject *subject, const char *scratch)
{
    enum { ROWS = 4, PER_ROW = 100 };
    const size_t most = (size_t)LEAK_BYTES * PER_ROW;
    struct kit_holding held[ROWS];
    struct kit_host *host = started(subject, scratch);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < PER_ROW; i++) {
            send_good(host, DEADLINE_MS);
            kit_host_settle(host);
        }
        kit_holding_now(&held[row], scratch);
    }
    stopped(host);
    size_t grown[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        const struct kit_holding *a = &held[i + 1], *b = &held[i + 2];
        grown[i] = b->heap > a->heap ? b->heap - a->heap : 0;
        if (i == 1 && b->descriptors > a->descriptors && a->descriptors > held[0].descriptors) {
            kit_found("opens file descriptors that it never closes (%zu in %d calls)",
                      b->descriptors - a->descriptors, PER_ROW);
        }
        if (i == 1 && b->threads > a->threads && a->threads > held[0].threads) {
            kit_found("starts threads that never end (%zu in %d calls)", b->threads - a->threads,
                      PER_ROW);
        }
    }
    if (grown[0] > most && grown[1] > most) {
        kit_found("leaks memory: about %zu bytes a call", grown[1] / PER_ROW);
    }
}

const struct kit_trial kit_trials[] = {
    {"check", "checking settings starts nothing and writes nothing", ALL, check_only},
    {"bounds", "every value that the schema allows is refused in words, or works", ALL, bounds},
    {"start-stop", "an instance that is stopped leaves no thread and no descriptor", ALL,
     start_stop},
    {"call", "a call is completed once, by a well-formed answer, and its message left alone", ALL,
     one_call},
    {"parallel", "64 calls at once are each completed once", ALL, parallel},
    {"malformed", "no message crashes it, and none that asks nothing gets a positive answer", ALL,
     malformed},
    {"cancel", "a call that is given up at any moment is still completed", ALL, cancelled},
    {"deadline", "a deadline that has all but passed is no trouble", ALL, deadline},
    {"reload", "two instances side by side, of which the first is stopped, keep apart", ALL,
     reload},
    {"refusals", "a host that takes no job, timer or locked memory still gets its answers", ALL,
     refusing},
    {"shortage", "an allocation that fails ends no process and loses no call", ALL, shortage},
    {"traces", "nothing is left of a sample in memory, in a file, a log line or an answer",
     ROLE(WHORL_ROLE_SEARCH), traces},
    {"leaks", "calls leave no memory, thread or descriptor behind", ALL, leaks},
};
const size_t kit_trial_count = sizeof kit_trials / sizeof *kit_trials;
