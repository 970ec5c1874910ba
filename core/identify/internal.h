/* What the files of core/identify share. Loop thread only. */
#ifndef CORE_IDENTIFY_INTERNAL_H
#define CORE_IDENTIFY_INTERNAL_H

#include <limits.h>

#include "core/identify/answer.h"
#include "core/identify/claimed.h"
#include "core/identify/decode.h"
#include "core/identify/identify.h"
#include "core/identify/ledger.h"
#include "core/identify/repeat.h"
#include "core/identify/sink.h"
#include "core/identify/stamp.h"
#include "core/limit/quota.h"
#include "core/policy/policy.h"

#define FLOW_WAITERS_MAX 8u      /* calls that may join one transaction */
#define RECORD_DEADLINE_MS 5000u /* for records that belong to no transaction's own deadline */

struct flow;

struct identify {
    uv_loop_t *loop;
    uv_timer_t tick;
    struct setup *setup;
    struct registry *registry;
    struct ledger *ledger;
    struct log *log;
    struct identify_replies replies;
    struct repeats *repeats;
    struct sink_queues queues; /* of this setup, and of those before it that are still needed */
    /* The account that the server runs as; "": it has no name. Looked up before it serves, as
     * another machine may have to be asked. */
    char user[LOGIN_NAME_MAX];
    uint8_t key[32];   /* of the digests; of this process, never written anywhere */
    msgpack_zone zone; /* of the request at hand */
    bool draining;
    struct flow *flows;     /* in flight */
    struct quotas officers; /* by id */
    struct identify_stats stats;
    size_t open; /* flows, and records on their way */
};

/* Device and officer, found to be who may call. */
struct identity {
    struct registry_device device;
    struct registry_officer officer;
    const struct conf_force *force; /* the officer's; of the setup's configuration */
    const char *entitlements[REGISTRY_ENTITLEMENTS_MAX + 1];
};

/* A reply of failure. */
struct refusal {
    const char *code;
    char where[96];
    char message[256];
    unsigned retry_ms; /* with `busy`; 0: the usual time */
};

/* A backend in a transaction. */
struct check {
    struct flow *flow;
    const struct setup_plugin *plugin;
    struct policy_decision decision;
    bool asked, waiting; /* waiting: for the backend's answer */
    uint64_t call;       /* the backend's, once asked */
    uint64_t started, elapsed_ms;
    uint32_t samples;                 /* bit i: sample i goes to it */
    struct person *people;            /* look-ups: ANSWER_PEOPLE_MAX of them */
    size_t people_count, people_left; /* left: not asked about, but to be */
    struct answer answer;
};

enum flow_stage { FLOW_SEARCH, FLOW_LOOKUP, FLOW_RECORD };

/* A transaction. */
struct flow {
    struct identify *identify;
    struct setup *setup;
    struct identity who;
    struct decoded_identify request; /* its samples' data are gone once the searches run */
    const struct conf_rule *rule;    /* that decided; NULL: none fits */
    char transaction[STAMP_UUID_LEN + 1];
    int64_t accepted;           /* ms since 1970 */
    uint64_t started, deadline; /* ms, flow_now's clock */
    uint64_t began;             /* the request, in uv_hrtime's nanoseconds */
    struct repeat *repeat;
    struct {
        uint64_t connection, call;
    } waiters[FLOW_WAITERS_MAX];
    size_t waiter_count;
    enum flow_stage stage;
    size_t pending; /* what the stage waits for */
    bool ledger_done, ledger_stored, sinks_stored, replied;
    bool given_up; /* by the gateway that asked */
    struct sink_receipt *receipts;
    size_t receipt_count;
    struct flow *next, **link; /* in identify->flows */
    size_t check_count;
    struct check checks[];
};

/* Milliseconds of a clock that never jumps. */
uint64_t flow_now(void);

/* service.c */

/* Whether answers and capabilities mention the plugin: searches and look-ups do; of one that is
 * disabled the role isn't known, so there a force's list of backends has to name it. */
bool service_lists(const struct setup *setup, const struct setup_plugin *plugin);
void service_count_error(struct identify *identify, const char *code);
/* The name of the field at fault, for the log; NULL: none. That of a field that there is not is
 * somebody else's text: who knows whose name it is. */
const char *service_loggable(const char *where, const char *message);

/* flow.c */

/* Starts the transaction, whose identity, request, rule and decisions are set; the request's
 * samples are not needed after the return. */
void flow_start(struct flow *flow);
void flow_join(struct flow *flow, uint64_t connection, uint64_t call);
/* Ends what still runs and asks nothing more; the transaction is then recorded and answered as any.
 * false: there was nothing left to end. */
bool flow_give_up(struct flow *flow);
/* Replies that the ledger can't be written, if that has taken far too long. */
void flow_tick(struct flow *flow);
struct flow *flow_new(struct identify *identify);
void flow_free(struct flow *flow);

/* disclose.c */

/* Answers the call with a result that has gone out before, once a record of that is durable; or
 * with an error. who: of the call. The result is copied. */
void disclose(struct identify *identify, struct setup *setup, const struct identity *who,
              const char *request_id, const char *transaction, uint64_t call, const uint8_t *result,
              size_t len);

/* room.c */

/* Of the searches that this request needs, one at least must have room; those that are cut off
 * answer at once and count neither way. Where none has, it is better to come again than to be told
 * of each that it was not available. */
bool room_for(const struct flow *flow, struct refusal *refusal);
/* Whether that is sure before anything of the request is decoded: it has samples, every search that
 * takes one of them is full, and it repeats nothing. false: not sure. params: the method's, as
 * they came. */
bool room_is_out(const struct identify *identify, const uint8_t *params, size_t len);
/* Says so; returns false. */
bool room_refuse(struct refusal *refusal);

/* message.c: what goes to a backend. false: out of (locked) memory. */
bool message_search(const struct check *check, uint64_t deadline_ms, struct whorl_secret *message);
bool message_lookup(const struct check *check, uint64_t deadline_ms, struct whorl_secret *message);
/* Which samples the backend takes; 0: none. */
uint32_t message_samples(const struct decoded_identify *request,
                         const struct whorl_plugin *descriptor);
/* Whom the look-up is to ask about, into check->people. */
void message_people(struct check *check);
/* Whether the look-up has somebody to ask about whatever the searches find. */
bool message_asks_anyway(const struct check *check);
/* {found_for, identifiers, family, given, born} without what is absent; found_for only if wanted.
 */
void message_person(msgpack_packer *pk, const struct person *person, const char *const *keys);

/* record.c: audit records (docs/plugins.md), appended to an empty buffer. */
void record_identify(const struct flow *flow, msgpack_sbuffer *out);
void record_lookup(const struct check *check, msgpack_sbuffer *out);
void record_refused(const struct identity *who, const char *request_id,
                    const struct refusal *refusal, const struct conf *conf, msgpack_sbuffer *out);
void record_outcome(const struct identity *who, const struct decoded_outcome *outcome,
                    const struct conf *conf, msgpack_sbuffer *out);
void record_disclosure(const struct identity *who, const char *request_id, const char *transaction,
                       const struct conf *conf, msgpack_sbuffer *out);
void record_server(const struct identify *identify, const char *event, const uint8_t *before,
                   msgpack_sbuffer *out);

/* result.c: what the device gets, appended to an empty buffer. */
void result_identify(const struct flow *flow, msgpack_sbuffer *out);
void result_outcome(const char *transaction, const struct sink_receipt *receipts, size_t count,
                    msgpack_sbuffer *out);
void result_capabilities(const struct setup *setup, const struct identity *who,
                         msgpack_sbuffer *out);
void result_progress(const struct check *check, const char *stage, double fraction,
                     msgpack_sbuffer *out);

/* access.c */

/* Whether this device may call; then who->device is set. */
bool access_device(struct identify *identify, const struct identify_caller *caller,
                   struct identity *who, struct refusal *refusal);
/* Whether the officer may use it; then all of *who is set. */
bool access_officer(struct identify *identify, const char *officer, struct identity *who,
                    struct refusal *refusal);

/* Whether this device may send a request that came this way: only a gateway has a route, which ends
 * with its own name and must not hold this server's. */
bool access_route(struct identify *identify, const struct identity *who,
                  const struct decoded_identify *request, struct refusal *refusal);

/* Forgets of officers what need not be remembered. */
void access_forget(struct identify *identify);

/* Fills a refusal in; returns false. */
bool refuse(struct refusal *refusal, const char *code, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* rights.c: what a repeat needs */

/* The force and the backends that were permitted, each ended by a NUL, and one more; once all has
 * been decided. To be freed; NULL: out of memory. */
char *rights_of(const struct flow *flow);
/* Whether all of that is permitted to this flow too. */
bool rights_held(const struct flow *flow, const char *rights);

#endif
