/* The two sides of a witness on the command line: `whorl audit request`, `cosigned` and `witness`.
 * Each returns the exit status. */
#ifndef CLI_AUDIT_WITNESS_H
#define CLI_AUDIT_WITNESS_H

#include <stdint.h>

/* Prints the request that the log's checkpoint be cosigned. old: see audit_witness_request. */
int audit_witness_ask(const char *dir, const char *vkey, uint64_t old);

/* Reads the witness's reply from standard input, and keeps the cosigned checkpoint. */
int audit_witness_take(const char *dir, const char *vkey, const char *witness);

/* Makes a witness in `dir` and prints its verifier key. */
int audit_witness_begin(const char *dir, const char *name, const char *log_vkey);

/* The witness: reads a request from standard input, prints the reply. */
int audit_witness_serve(const char *dir);

#endif
