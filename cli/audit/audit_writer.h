/* Records that the command line itself writes to the audit log, also beside a running server: what
 * an operator does to stores, and cases. Each names the account that runs the command and the
 * configuration. */
#ifndef CLI_AUDIT_WRITER_H
#define CLI_AUDIT_WRITER_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/conf/conf.h"
#include "whorl/plugin.h"

struct audit_writer;

/* Opens the log of the audit plugin that is configured. NULL with *fault: then nothing that has to
 * be recorded may be done. conf must outlive it. */
struct audit_writer *audit_writer_open(const struct conf *conf, struct whorl_fault *fault);
void audit_writer_close(struct audit_writer *writer);

/* The audit plugin's name. */
const char *audit_writer_name(const struct audit_writer *writer);

#define AUDIT_WRITER_FIELDS 8u

/* Begins a record with AUDIT_WRITER_FIELDS fields, of `more` further ones: v, kind, time,
 * transaction (nil), event, uid, user and policy. */
void audit_writer_begin(const struct audit_writer *writer, msgpack_packer *pk, const char *kind,
                        const char *event, size_t more);

/* Appends records in one transaction; they are durable when it returns true. *position (or NULL):
 * the first one's in the log. */
bool audit_writer_append(struct audit_writer *writer, const msgpack_sbuffer *packed, size_t count,
                         uint64_t *position, struct whorl_fault *fault);

#endif
