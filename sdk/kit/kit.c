/* Trials in processes of their own. */
#include "kit.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "whorl/msg.h"

enum { FINDINGS_MAX = 8, TRIAL_SECONDS = 300 };

/* What a trial's process said, and how it ended. */
struct outcome {
    char findings[FINDINGS_MAX + 1][KIT_FINDING_MAX];
    size_t count;
    bool whole; /* it came to its end, or to a finding that ends it */
};

static _Noreturn void trial_process(const struct kit_trial *trial,
                                    const struct kit_subject *subject, const char *scratch, int fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm(TRIAL_SECONDS); /* ends the process: a trial that hangs says so by its signal */
    kit_finding_begin(fd);
    trial->run(subject, scratch);
    kit_finding_end();
    /* Through exit, so that a sanitizer can look for leaks. */
    exit(EXIT_SUCCESS);
}

static void read_findings(int fd, struct outcome *outcome)
{
    while (outcome->count < FINDINGS_MAX) {
        char *text = outcome->findings[outcome->count];
        ssize_t got = read(fd, text, KIT_FINDING_MAX);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got != KIT_FINDING_MAX) {
            return;
        }
        text[KIT_FINDING_MAX - 1] = '\0';
        outcome->whole = true;
        outcome->count += text[0] != '\0';
    }
}

static void judge_end(pid_t child, struct outcome *outcome)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    char *text = outcome->findings[outcome->count];
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        snprintf(text, KIT_FINDING_MAX, "hung: the trial was ended after %d s", TRIAL_SECONDS);
    } else if (WIFSIGNALED(status)) {
        snprintf(text, KIT_FINDING_MAX, "ended the process with %s", strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != EXIT_SUCCESS && outcome->count == 0) {
        snprintf(text, KIT_FINDING_MAX,
                 "ended the process with exit status %d (a sanitizer's report is above, if there "
                 "is one)",
                 WEXITSTATUS(status));
    } else if (!outcome->whole) {
        snprintf(text, KIT_FINDING_MAX, "ended the process");
    } else {
        return;
    }
    outcome->count++;
}

static bool run_trial(const struct kit_trial *trial, const struct kit_subject *subject,
                      const char *scratch, struct outcome *outcome)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        trial_process(trial, subject, scratch, ends[1]);
    }
    (void)close(ends[1]);
    if (child > 0) {
        read_findings(ends[0], outcome);
        judge_end(child, outcome);
    }
    (void)close(ends[0]);
    return child > 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool run_and_report(const struct kit_trial *trial, const struct kit_subject *subject,
                           void (*report)(void *ctx, const struct kit_report *report), void *ctx,
                           size_t *broken)
{
    struct outcome outcome = {.count = 0};
    const char *findings[FINDINGS_MAX + 1];
    struct kit_report said = {.trial = trial->name, .rule = trial->rule};
    char scratch[] = "/tmp/whorl-plugin-test-XXXXXX";
    said.skipped = (trial->roles >> subject->plugin->role & 1u) == 0;
    if (!said.skipped) {
        bool ran = mkdtemp(scratch) && run_trial(trial, subject, scratch, &outcome);
        (void)nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (!ran) {
            return false;
        }
    }
    for (size_t i = 0; i < outcome.count; i++) {
        findings[i] = outcome.findings[i];
    }
    said.count = outcome.count;
    said.findings = findings;
    *broken += outcome.count > 0;
    report(ctx, &said);
    return true;
}

int kit_run(const struct kit_subject *subject,
            void (*report)(void *ctx, const struct kit_report *report), void *ctx,
            struct whorl_fault *fault)
{
    size_t broken = 0;
    bool any = false;
    for (size_t i = 0; i < kit_trial_count; i++) {
        const struct kit_trial *trial = &kit_trials[i];
        if (subject->only && strcmp(subject->only, trial->name) != 0) {
            continue;
        }
        any = true;
        if (!run_and_report(trial, subject, report, ctx, &broken)) {
            whorl_fail(fault, trial->name, "no process or folder for it: %s", strerror(errno));
            return -1;
        }
    }
    if (!any) {
        whorl_fail(fault, subject->only, "is the name of no trial");
        return -1;
    }
    return (int)broken;
}

void kit_each(void (*each)(void *ctx, const char *name, const char *rule), void *ctx)
{
    for (size_t i = 0; i < kit_trial_count; i++) {
        each(ctx, kit_trials[i].name, kit_trials[i].rule);
    }
}
