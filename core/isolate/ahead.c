/* A process is made and waited for; whoever waits may be a thread that nobody else waits for. */
#include "core/isolate/ahead.h"

#include <stdio.h>
#include <string.h>

#include "whorl/msg.h"

enum { LINES_MAX = 200 };

static void tell(struct log *log, const struct isolate_spec *spec, const char *text)
{
    log_line(log, WHORL_LOG_WARNING, text, "plugin", spec->name, NULL);
}

static bool await_start(struct process *process, const struct isolate_spec *spec, struct log *log,
                        struct whorl_fault *fault)
{
    int64_t until = isolate_until(ISOLATE_WAIT_MS);
    for (;;) {
        switch (process_hear(process, spec, until, fault)) {
        case PROCESS_NOTE:
            tell(log, spec, fault->text);
            break;
        case PROCESS_STARTED:
            return true;
        case PROCESS_FAILED:
            return false;
        default:
            return whorl_fail(fault, "", "its process did not start within %d s",
                              ISOLATE_WAIT_MS / 1000);
        }
    }
}

/* Logs what a process said that then did not start. */
static void tell_last_words(struct process *process, const struct isolate_spec *spec,
                            struct log *log)
{
    struct process_report report;
    const char *why = NULL;
    for (unsigned i = 0; i < LINES_MAX && process_take(process, &report, &why) == CHANNEL_TAKEN;
         i++) {
        if (report.kind == REPORT_LOG) {
            char line[ISOLATE_LINE_MAX];
            log_line(log, report.level, isolate_line(line, report.text), "plugin", spec->name,
                     NULL);
        }
    }
}

const char *isolate_line(char line[ISOLATE_LINE_MAX], const char *text)
{
    (void)snprintf(line, ISOLATE_LINE_MAX, "%s", text);
    line[strcspn(line, "\r\n")] = '\0';
    return line;
}

struct process *isolate_ahead(const struct isolate_spec *given, struct log *log,
                              struct whorl_fault *fault)
{
    struct isolate_spec spec = *given;
    if (spec.calls > CHANNEL_CALLS_MAX) {
        spec.calls = CHANNEL_CALLS_MAX;
    }
    struct process *process = process_new(&spec, fault);
    if (process && !await_start(process, &spec, log, fault)) {
        tell_last_words(process, &spec, log);
        isolate_forgo(process);
        process = NULL;
    }
    return process;
}

void isolate_forgo(struct process *process)
{
    char words[96];
    if (process) {
        process_free(process, words, sizeof words);
    }
}
