/* What the tests of the flow share: the real host, real modules that do as they are told, and the
 * real ledger, under a configuration that a test may change. */
#ifndef TESTS_FLOW_WORLD_H
#define TESTS_FLOW_WORLD_H

#include <check.h>

#include "conf_folder.h"
#include "core/identify/identify.h"
#include "packed.h"

enum { REPLIES_MAX = 64 };

/* What came back for one call. */
struct reply {
    bool done;
    char code[32], where[96], message[256];
    unsigned retry_ms;
    uint8_t *bytes;
    size_t len;
    struct whorl_msg msg;
};

extern struct conf_folder folder;
extern uv_loop_t loop;
extern struct log *logger;
extern struct host *host;
extern struct registry *registry;
extern struct setup *setup;
extern struct identify *identify;
extern struct reply replies[REPLIES_MAX];
extern unsigned notified;
extern struct whorl_fault fault;
extern int finder_calls;

/* The plugins; `second` and the sink's failing are what tests change. */
void write_plugins(bool second, bool failing);
/* repeat: for how many seconds answers are kept. */
void write_core(int repeat);
/* What the folder says, started beside the setup that there is. */
struct setup *start_setup(void);
/* The same, in its place. */
void reload(void);
void start_service(void);
/* A server without a network: real host, real modules that do as they are told, real ledger. */
void set_up(void);
void tear_down(void);
/* Sends a call as the device with that certificate. The bytes are gone when this returns. */
void send_as(uint8_t seed, uint64_t call, const char *method, const char *argument);
/* Runs the loop until the call is answered. */
struct reply *await(uint64_t call);
/* identify with the given request id; more: more fields. */
void ask(uint64_t call, const char *id, const char *more);
/* A backend's answer in a reply. */
const msgpack_object *answer_of(const struct reply *reply, const char *backend);
/* The class, and what the reason holds. */
void assert_class(const struct reply *reply, const char *backend, const char *class,
                  const char *reason);
void assert_refused(const struct reply *reply, const char *code, const char *where);
/* How many records the sink has kept of this kind and transaction (NULL: any); *last gets the
 * last one, packed. */
unsigned records_of(const char *kind, const msgpack_object *transaction, struct packed *last);
const msgpack_object *transaction_of(const struct reply *reply);
/* Whether the text stands in what was logged. */
bool log_holds(const char *text);

#define ASK "'officer':'full','basis':'consent','consent':'given','reason':'doubted'"
#define SAMPLE(word) "'samples':[{'modality':'finger','format':'png','data':'" word "'}]"
#define SAMPLES(word, word2)                                                                       \
    "'samples':[{'modality':'finger','format':'png','data':'" word                                 \
    "'},{'modality':'finger','format':'raw','data':'" word2 "'}]"

#endif
