#include "cli/audit/audit_witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "core/identify/stamp.h"
#include "plugins/audit/witness.h"
#include "whorl/msg.h"

static int complain(const struct whorl_fault *fault, int status)
{
    fprintf(stderr, "whorl audit: %s\n", fault->text);
    return status;
}

static int finish(void)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_FAILED;
}

/* All of standard input as text; false when it is longer than cap - 1 or holds a NUL. */
static bool read_input(char *text, size_t cap, struct whorl_fault *fault)
{
    size_t len = fread(text, 1, cap, stdin);
    if (ferror(stdin) || len == cap || memchr(text, '\0', len) != NULL) {
        return whorl_fail(fault, "", "standard input can't be read, or is no such message");
    }
    text[len] = '\0';
    return len > 0 || whorl_fail(fault, "", "nothing came on standard input");
}

int audit_witness_ask(const char *dir, const char *vkey, uint64_t old)
{
    struct audit_checkpoint checkpoint;
    struct whorl_fault fault;
    char request[AUDIT_REQUEST_CAP];
    if (!audit_checkpoint_read(dir, vkey, &checkpoint, &fault) ||
        !audit_witness_request(dir, &checkpoint, old, request, &fault)) {
        return complain(&fault, EXIT_FAILED);
    }
    fputs(request, stdout);
    return finish();
}

int audit_witness_take(const char *dir, const char *vkey, const char *witness)
{
    struct whorl_fault fault;
    char reply[AUDIT_REQUEST_CAP], when[STAMP_TIME_LEN + 1];
    uint64_t count, time;
    if (!read_input(reply, sizeof(reply), &fault) ||
        !audit_witness_reply(dir, vkey, witness, reply, &count, &time, &fault)) {
        return complain(&fault, EXIT_FAILED);
    }
    stamp_time((int64_t)time * 1000, when);
    printf("cosigned: %" PRIu64 " records, %s\n", count, when);
    return finish();
}

int audit_witness_begin(const char *dir, const char *name, const char *log_vkey)
{
    struct whorl_fault fault;
    char vkey[AUDIT_VKEY_CAP];
    if (!audit_witness_make(dir, name, log_vkey, vkey, &fault)) {
        return complain(&fault, EXIT_FAILED);
    }
    puts(vkey);
    return finish();
}

int audit_witness_serve(const char *dir)
{
    struct whorl_fault fault;
    char request[AUDIT_REQUEST_CAP], reply[AUDIT_LINE_CAP];
    if (!read_input(request, sizeof(request), &fault)) {
        return complain(&fault, EXIT_FAILED);
    }
    enum audit_witnessed how =
        audit_witness_answer(dir, request, (uint64_t)time(NULL), reply, &fault);
    fputs(reply, stdout);
    if (how == AUDIT_WITNESSED) {
        return finish();
    }
    bool contrary = how == AUDIT_CONTRARY || how == AUDIT_REFUSED;
    return complain(&fault, contrary ? EXIT_NEGATIVE : EXIT_FAILED);
}
