/* What a plugin's process may say before it serves, which is anything: the pipe holds the input,
 * and then its end. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/isolate/process.h"
#include "fuzz.h"
#include "whorl/msg.h"

enum { PIPE_ROOM = 65536, HEARINGS = 64 };

/* What goes into the log. */
static void check_text(const struct whorl_fault *fault)
{
    FUZZ_CHECK(whorl_text_is_clean(fault->where, strlen(fault->where)));
    FUZZ_CHECK(fault->text[0] == '\0' || whorl_text_is_clean(fault->text, strlen(fault->text)));
}

/* Until it has started, or there is nothing more to hear. */
static void hear_all(struct process *process, const struct isolate_spec *spec)
{
    enum process_says says = PROCESS_NOTE;
    for (int i = 0; says == PROCESS_NOTE; i++) {
        struct whorl_fault fault = {"", ""};
        FUZZ_CHECK(i < HEARINGS);
        says = process_hear(process, spec, 0, &fault);
        check_text(&fault);
    }
    FUZZ_CHECK(says == PROCESS_FAILED || says == PROCESS_STARTED);
    FUZZ_CHECK(says == PROCESS_FAILED || process->described);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const uint8_t described[] = "as described";
    const struct isolate_spec spec = {
        .task = ISOLATE_RUN, .descriptor = described, .descriptor_len = sizeof described - 1};
    int ends[2];
    struct process *process = calloc(1, sizeof *process);
    FUZZ_CHECK(process != NULL && pipe2(ends, O_NONBLOCK) == 0);
    process->child = ISOLATE_NO_CHILD;
    process->child.sayings = ends[0];
    process->child.heard = malloc(ISOLATE_HEARD_MAX);
    len = len < PIPE_ROOM ? len : PIPE_ROOM;
    FUZZ_CHECK(write(ends[1], bytes, len) == (ssize_t)len);
    close(ends[1]);
    hear_all(process, &spec);
    close(ends[0]);
    free(process->child.heard);
    free(process);
    return 0;
}
