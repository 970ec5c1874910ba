#include "report/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plugins/audit/entry.h"
#include "plugins/audit/reader.h"
#include "report/text.h"
#include "whorl/msg.h"

#define PROGRESS_STEP 65536u /* records */

struct scanning {
    scan_visit *visit;
    void *ctx;
    struct scan *scan;
    bool terminal;
};

static void count_malformed(struct scan *scan, uint64_t position, const struct whorl_fault *fault)
{
    if (scan->malformed++ == 0) {
        scan->first_malformed = position;
        snprintf(scan->why, sizeof scan->why, "%.*s%s%.*s", text_most(fault->where, 60),
                 fault->where, fault->where[0] == '\0' ? "" : ": ", text_most(fault->text, 90),
                 fault->text);
    }
}

static bool visit_entry(void *arg, const struct audit_tree *tree, uint64_t position,
                        const uint8_t *bytes, size_t len)
{
    struct scanning *s = arg;
    struct audit_entry entry;
    struct whorl_fault fault = {0};
    struct whorl_msg msg;
    struct record record;
    bool more = true;
    (void)tree;
    s->scan->records++;
    if (s->terminal && s->scan->records % PROGRESS_STEP == 0) {
        fprintf(stderr, "\rreading the audit log: record %" PRIu64 " ", s->scan->records);
    }
    if (!audit_entry_read(bytes, len, &entry)) {
        whorl_fail(&fault, "", "is no entry of an audit log");
        count_malformed(s->scan, position, &fault);
        return true;
    }
    if (entry.form == AUDIT_ERASED) {
        s->scan->erased++;
        return true;
    }
    if (!whorl_msg_parse(entry.record, entry.record_len, &msg, &fault)) {
        count_malformed(s->scan, position, &fault);
        return true;
    }
    if (record_read(&msg.root, &record, &fault)) {
        record_text_copy(&record.time, s->scan->last_time, sizeof s->scan->last_time);
        more = s->visit(s->ctx, position, &record, &msg.root);
    } else {
        count_malformed(s->scan, position, &fault);
    }
    whorl_msg_release(&msg);
    return more;
}

bool scan_log(const char *dir, scan_visit *visit, void *ctx, struct scan *scan,
              struct whorl_fault *fault)
{
    struct audit_reader reader;
    struct scanning s = {
        .visit = visit, .ctx = ctx, .scan = scan, .terminal = isatty(STDERR_FILENO) == 1};
    *scan = (struct scan){0};
    if (!audit_reader_open(&reader, dir, fault)) {
        return false;
    }
    bool ok = audit_reader_each(&reader, 0, visit_entry, &s, fault);
    audit_reader_close(&reader);
    if (s.terminal) {
        fputs("\r\033[K", stderr);
    }
    return ok;
}
