/* The thread that owns the connection to the database. */
#include "plugins/pnc/database.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "plugins/pnc/table.h"
#include "whorl/msg.h"

#define STATEMENT_MS 2500u /* the server itself ends one that takes longer */
#define SILENCE_MS 3000    /* nothing heard while something is in flight: the connection is lost */
#define GRACE_MS 1000      /* questions wait so long for a connection that was lost */
#define JOIN_S 1           /* how long an ending instance waits for a host's name to be looked up */
#define TICK_MS 50         /* how often it is looked whether questions are still wanted */
#define SAME_AGAIN_MS 60000 /* until a line of the log is repeated */
#define OTHER_AGAIN_MS 1000
#define IN_FLIGHT_MAX 512u
#define SLOTS ((size_t)4 * IN_FLIGHT_MAX) /* a question may bring a statement and a sync */
#define SENDS_MAX 2u                      /* of one question */
#define STATEMENTS (PNC_ALL_CLASSES + 2u)

/* What was sent and is to be answered, in that order. */
struct slot {
    enum { QUESTION, STATEMENT, SYNC } kind;
    unsigned number;               /* of the statement */
    struct pnc_question *question; /* NULL: nobody waits for it any more */
    struct pnc_moment asked;
};

/* What the log was last told. */
struct told {
    int64_t at;
    char text[256];
};

struct list {
    struct pnc_question *first, **end;
};

struct pnc_database {
    const struct whorl_host *host;
    const struct pnc_cache *now_of;
    struct pg_target *target;
    struct pnc_table table;
    const char *tables[2];
    pthread_t thread;
    int wake; /* eventfd */

    pthread_mutex_t mutex; /* guards the four below */
    struct list queue;
    bool stopping;
    bool resolving; /* the thread may be looking a host's name up, which can take long */
    bool left;      /* nobody waits for the thread: it frees everything itself */

    /* The thread's own. */
    struct pg_link *link;
    struct list waiting;
    struct slot slots[SLOTS];
    size_t head, used, in_flight; /* in_flight: slots of questions */
    bool prepared[STATEMENTS];    /* on this connection */
    bool unsent;
    int64_t down_since, heard, looked;
    struct told told_link, told_row;
    struct whorl_fault fault; /* why there is no connection */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ lists */

static void clear_list(struct list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void append(struct list *list, struct pnc_question *question)
{
    question->next = NULL;
    *list->end = question;
    list->end = &question->next;
}

static struct pnc_question *take_first(struct list *list)
{
    struct pnc_question *question = list->first;
    list->first = question->next;
    if (list->first == NULL) {
        list->end = &list->first;
    }
    return question;
}

/* Moves all of from before what is in list. */
static void prepend(struct list *list, struct list *from)
{
    if (from->first == NULL) {
        return;
    }
    *from->end = list->first;
    if (list->first == NULL) {
        list->end = from->end;
    }
    list->first = from->first;
    clear_list(from);
}

/* ------------------------------------------------------------------ ending questions */

static void finish(struct pnc_question *question)
{
    pnc_record_release(&question->base);
    question->answered(question);
}

static void finish_silent(struct pnc_question *question, const char *why)
{
    question->outcome = PNC_SILENT;
    whorl_fail(&question->fault, "", "%s", why);
    finish(question);
}

/* Logs trouble: the same only once a minute, and no kind of it more than once a second. */
static void log_trouble(struct pnc_database *database, struct told *told,
                        const struct whorl_fault *fault)
{
    int64_t now = now_ms();
    bool same = strcmp(fault->text, told->text) == 0;
    if (now - told->at < (same ? SAME_AGAIN_MS : OTHER_AGAIN_MS)) {
        return;
    }
    told->at = now;
    memcpy(told->text, fault->text, sizeof(told->text));
    database->host->log(database->host, WHORL_LOG_WARNING, fault->text);
}

/* Whether a question is over, because of its time or because nobody wants it. */
static bool is_over(const struct pnc_question *question, int64_t now)
{
    return now >= question->until_ms || question->unwanted(question);
}

/* Ends those that are over, and while there is no connection those that have waited long enough. */
static void look_at_waiting(struct pnc_database *database, int64_t now)
{
    struct list kept;
    bool up = pg_link_conn(database->link) != NULL;
    bool in_vain = !up && now - database->down_since >= GRACE_MS;
    clear_list(&kept);
    while (database->waiting.first != NULL) {
        struct pnc_question *question = take_first(&database->waiting);
        if (in_vain) {
            finish_silent(question, database->fault.text[0] != '\0'
                                        ? database->fault.text
                                        : "the database has not answered yet");
        } else if (is_over(question, now)) {
            finish_silent(question, "the database did not answer in time");
        } else {
            append(&kept, question);
        }
    }
    prepend(&database->waiting, &kept);
}

static void look_at_slots(struct pnc_database *database, int64_t now)
{
    for (size_t i = 0; i < database->used; i++) {
        struct slot *slot = &database->slots[(database->head + i) % SLOTS];
        struct pnc_question *question = slot->question;
        if (question != NULL && is_over(question, now)) {
            slot->question = NULL;
            finish_silent(question, "the database did not answer in time");
        }
    }
}

/* ------------------------------------------------------------------ the connection is gone */

static void lost(struct pnc_database *database, const char *why)
{
    struct whorl_fault fault;
    struct list again;
    whorl_fail(&fault, "", "the connection to the database %.80s is lost: %.150s",
               pg_target_name(database->target), why);
    log_trouble(database, &database->told_link, &fault);
    database->fault = fault;
    pg_link_lost(database->link);
    database->down_since = now_ms();
    clear_list(&again);
    for (; database->used > 0; database->used--) {
        struct pnc_question *question = database->slots[database->head].question;
        database->head = (database->head + 1) % SLOTS;
        if (question != NULL && question->times >= SENDS_MAX) {
            finish_silent(question, fault.text);
        } else if (question != NULL) {
            append(&again, question);
        }
    }
    database->in_flight = 0;
    prepend(&database->waiting, &again);
}

/* ------------------------------------------------------------------ sending */

static void push(struct pnc_database *database, struct slot slot)
{
    database->slots[(database->head + database->used++) % SLOTS] = slot;
    database->in_flight += slot.kind == QUESTION;
}

/* A statement's number: by PNCID, the set of classes. */
static unsigned number_of(const struct pnc_question *question)
{
    return question->by == PNC_BY_CRO    ? 0
           : question->by == PNC_BY_NAME ? PNC_ALL_CLASSES + 1
                                         : question->classes;
}

/* Sends a question, before it its statement if this connection doesn't have it yet. */
static bool send_one(struct pnc_database *database, PGconn *conn, struct pnc_question *question)
{
    char name[16], sql[PNC_SQL_CAP];
    const char *const values[] = {question->key};
    unsigned number = number_of(question);
    snprintf(name, sizeof(name), "whorl_%u", number);
    if (!database->prepared[number]) {
        pnc_table_sql(&database->table, question->by, question->classes, sql);
        if (PQsendPrepare(conn, name, sql, 1, NULL) != 1) {
            return false;
        }
        database->prepared[number] = true;
        push(database, (struct slot){.kind = STATEMENT, .number = number});
    }
    if (PQsendQueryPrepared(conn, name, 1, values, NULL, NULL, 0) != 1) {
        return false;
    }
    question->times++;
    push(database, (struct slot){QUESTION, number, question, pnc_cache_now(database->now_of)});
    return true;
}

/* Sends what waits, as far as there is room, with one sync: the server then sends all answers
 * together, and an error spoils this batch alone. */
static void send_waiting(struct pnc_database *database)
{
    PGconn *conn = pg_link_conn(database->link);
    bool sent = false;
    if (database->used == 0) {
        database->heard = now_ms();
    }
    while (database->waiting.first != NULL && database->in_flight < IN_FLIGHT_MAX &&
           database->used + 3 <= SLOTS) {
        struct pnc_question *question = take_first(&database->waiting);
        if (!send_one(database, conn, question)) {
            struct list back;
            clear_list(&back);
            append(&back, question);
            prepend(&database->waiting, &back);
            lost(database, "it takes no more questions");
            return;
        }
        sent = true;
    }
    if (sent) {
        if (PQpipelineSync(conn) != 1) {
            lost(database, "it takes no more questions");
            return;
        }
        push(database, (struct slot){.kind = SYNC});
    }
    int unsent = PQflush(conn);
    if (unsent < 0) {
        lost(database, "it can't be written to");
    } else {
        database->unsent = unsent > 0;
    }
}

/* ------------------------------------------------------------------ receiving */

static void pop(struct pnc_database *database)
{
    database->in_flight -= database->slots[database->head].kind == QUESTION;
    database->head = (database->head + 1) % SLOTS;
    database->used--;
}

/* Whether an error means that the connection is over (SQLSTATE classes 08 and 57P, or none), or has
 * lost a statement (26000): one that was not prepared after all, or that somebody between dropped.
 */
static bool ends_connection(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state == NULL || strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0 ||
           strcmp(state, "26000") == 0;
}

static void take_answer(struct pnc_database *database, struct slot *slot, const PGresult *result)
{
    struct pnc_question *question = slot->question;
    if (question == NULL) {
        return;
    }
    slot->question = NULL;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        pnc_table_rows(result, &slot->asked, question);
    } else {
        question->outcome = PNC_SILENT;
        pg_result_fail(result, "look people up", &question->fault);
    }
    if (question->outcome != PNC_ANSWERED) {
        log_trouble(database, &database->told_row, &question->fault);
    }
    finish(question);
}

/* Takes one result of the pipeline. again: collects questions that must be sent once more. false:
 * the connection is of no use any more, *why says so. */
static bool take_result(struct pnc_database *database, const PGresult *result, struct list *again,
                        struct whorl_fault *why)
{
    struct slot *slot = &database->slots[database->head];
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        if (slot->kind != SYNC) {
            return whorl_fail(why, "", "its answers are out of step");
        }
        pop(database);
        return true;
    case PGRES_PIPELINE_ABORTED: /* something before it in its batch went wrong */
        if (slot->kind == STATEMENT) {
            database->prepared[slot->number] = false;
        }
        if (slot->question != NULL) {
            slot->question->times--;
            append(again, slot->question);
            slot->question = NULL;
        }
        return true;
    case PGRES_TUPLES_OK:
    case PGRES_FATAL_ERROR:
        if (PQresultStatus(result) == PGRES_FATAL_ERROR && ends_connection(result)) {
            return whorl_fail(why, "", "it was ended there");
        }
        if (slot->kind != QUESTION) {
            return pg_result_fail(result, "prepare the look-ups", why);
        }
        take_answer(database, slot, result);
        return true;
    default:
        return slot->kind == STATEMENT && PQresultStatus(result) == PGRES_COMMAND_OK
                   ? true
                   : whorl_fail(why, "", "its answers make no sense");
    }
}

static void receive(struct pnc_database *database)
{
    PGconn *conn = pg_link_conn(database->link);
    struct whorl_fault why = {{0}, {0}};
    struct list again;
    bool fit = PQconsumeInput(conn) == 1 || whorl_fail(&why, "", "it was cut");
    database->heard = now_ms();
    clear_list(&again);
    while (fit && database->used > 0 && PQisBusy(conn) == 0) {
        PGresult *result = PQgetResult(conn);
        if (result != NULL) {
            fit = take_result(database, result, &again, &why);
        } else if (database->slots[database->head].kind == SYNC) {
            break;
        } else {
            pop(database);
        }
        PQclear(result);
    }
    prepend(&database->waiting, &again);
    if (fit && database->used == 0 && PQstatus(conn) != CONNECTION_OK) {
        fit = whorl_fail(&why, "", "it was ended there");
    }
    if (!fit) {
        lost(database, why.text);
    }
}

/* ------------------------------------------------------------------ the thread */

static void connection_up(struct pnc_database *database)
{
    char text[200];
    snprintf(text, sizeof(text), "connected to the database %s", pg_target_name(database->target));
    database->host->log(database->host, WHORL_LOG_INFO, text);
    database->fault = (struct whorl_fault){{0}, {0}};
    memset(database->prepared, 0, sizeof(database->prepared));
    database->unsent = false;
    if (PQenterPipelineMode(pg_link_conn(database->link)) != 1) {
        lost(database, "it knows no pipeline");
    }
}

/* Waits for something to do. Returns whether the connection has something to say. */
static bool wait_for_news(struct pnc_database *database)
{
    struct pollfd fds[2] = {{.fd = database->wake, .events = POLLIN}};
    uint64_t counted;
    int ms = pg_link_wants(database->link, &fds[1]);
    bool open = database->waiting.first != NULL || database->used > 0;
    if (database->unsent && pg_link_conn(database->link) != NULL) {
        fds[1].events |= POLLOUT;
    }
    if (open && (ms < 0 || ms > TICK_MS)) {
        ms = TICK_MS;
    }
    if (poll(fds, 2, ms) < 0 && errno != EINTR) {
        return false;
    }
    if (fds[0].revents != 0 && read(database->wake, &counted, sizeof(counted)) < 0 &&
        errno != EAGAIN) {
        return false;
    }
    return fds[1].revents != 0;
}

/* Takes over what was asked. false: the thread is to end. */
static bool take_queue(struct pnc_database *database)
{
    pthread_mutex_lock(&database->mutex);
    bool going = !database->stopping;
    struct list all = database->queue;
    if (all.first == NULL) {
        clear_list(&all);
    }
    clear_list(&database->queue);
    pthread_mutex_unlock(&database->mutex);
    /* Behind what waits already. */
    prepend(&all, &database->waiting);
    clear_list(&database->waiting);
    prepend(&database->waiting, &all);
    return going;
}

/* Goes on with connecting. false: the thread is to end, and must touch nothing of the host's. */
static bool connect_on(struct pnc_database *database, enum pg_news *news, struct whorl_fault *fault)
{
    *news = PG_NOTHING;
    if (pg_link_conn(database->link) != NULL) {
        return true;
    }
    pthread_mutex_lock(&database->mutex);
    database->resolving = true;
    pthread_mutex_unlock(&database->mutex);
    *news = pg_link_step(database->link, fault);
    pthread_mutex_lock(&database->mutex);
    database->resolving = false;
    bool going = !database->stopping;
    pthread_mutex_unlock(&database->mutex);
    return going;
}

/* false: the thread is to end. */
static bool step(struct pnc_database *database, bool ready)
{
    struct whorl_fault fault;
    enum pg_news news;
    if (!connect_on(database, &news, &fault)) {
        return false;
    }
    switch (news) {
    case PG_UP:
        connection_up(database);
        break;
    case PG_FAILED:
        log_trouble(database, &database->told_link, &fault);
        database->fault = fault;
        break;
    case PG_NOTHING:
        if (ready && pg_link_conn(database->link) != NULL) {
            receive(database);
        }
        break;
    }
    int64_t now = now_ms();
    if (database->used > 0 && now - database->heard >= SILENCE_MS) {
        lost(database, "it has fallen silent");
    }
    if (now - database->looked >= TICK_MS || pg_link_conn(database->link) == NULL) {
        database->looked = now;
        look_at_slots(database, now);
        look_at_waiting(database, now);
    }
    return true;
}

static void free_database(struct pnc_database *database)
{
    pg_link_free(database->link);
    pg_target_free(database->target);
    if (database->wake >= 0) {
        close(database->wake);
    }
    pthread_mutex_destroy(&database->mutex);
    free(database);
}

static void *run(void *arg)
{
    struct pnc_database *database = arg;
    bool ready = false;
    while (take_queue(database) && step(database, ready)) {
        if (pg_link_conn(database->link) != NULL) {
            send_waiting(database);
        }
        ready = wait_for_news(database);
    }
    pthread_mutex_lock(&database->mutex);
    bool left = database->left;
    pthread_mutex_unlock(&database->mutex);
    if (left) {
        free_database(database);
    }
    return NULL;
}

/* ------------------------------------------------------------------ from outside */

bool pnc_database_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    struct pnc_table table;
    if (!pnc_table_read(settings, &table, fault)) {
        return false;
    }
    struct pg_target *target = pg_target_read(settings, fault);
    pg_target_free(target);
    return target != NULL;
}

/* Starts the thread with all signals blocked: they are the host's. */
static bool start_thread(struct pnc_database *database, struct whorl_fault *fault)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&database->thread, NULL, run, database);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 || whorl_fail(fault, "", "cannot start a thread: %s", strerror(rc));
}

struct pnc_database *pnc_database_open(const struct whorl_host *host,
                                       const struct pnc_cache *now_of, struct whorl_fault *fault)
{
    struct pnc_database *database = calloc(1, sizeof(*database));
    if (database == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    database->host = host;
    database->now_of = now_of;
    pthread_mutex_init(&database->mutex, NULL);
    clear_list(&database->queue);
    clear_list(&database->waiting);
    database->down_since = now_ms();
    database->told_link.at = database->told_row.at = -SAME_AGAIN_MS;
    database->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    database->tables[0] = database->table.name;
    const struct pg_use use = {
        .application = "whorl pnc", .statement_ms = STATEMENT_MS, .tables = database->tables};
    bool ok = pnc_table_read(host->settings, &database->table, fault) &&
              (database->target = pg_target_read(host->settings, fault)) != NULL;
    if (ok) {
        database->link = pg_link_new(database->target, &use);
        ok = (database->link != NULL && database->wake >= 0) ||
             whorl_fail(fault, "", "out of memory or descriptors");
    }
    if (ok && start_thread(database, fault)) {
        return database;
    }
    free_database(database);
    return NULL;
}

static void ring(struct pnc_database *database)
{
    const uint64_t one = 1;
    while (write(database->wake, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void pnc_database_close(struct pnc_database *database)
{
    if (database == NULL) {
        return;
    }
    struct timespec limit;
    pthread_mutex_lock(&database->mutex);
    database->stopping = true;
    pthread_mutex_unlock(&database->mutex);
    ring(database);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += JOIN_S;
    bool joined = pthread_timedjoin_np(database->thread, NULL, &limit) == 0;
    pthread_t thread = database->thread;
    if (!joined) {
        pthread_mutex_lock(&database->mutex);
        bool leave = database->left = database->resolving;
        pthread_mutex_unlock(&database->mutex);
        if (leave) {
            pthread_detach(thread);
            return;
        }
        pthread_join(thread, NULL);
    }
    free_database(database);
}

void pnc_database_ask(struct pnc_database *database, struct pnc_question *questions)
{
    struct pnc_question *next;
    pthread_mutex_lock(&database->mutex);
    bool was_empty = database->queue.first == NULL;
    for (struct pnc_question *question = questions; question != NULL; question = next) {
        next = question->next;
        append(&database->queue, question);
    }
    pthread_mutex_unlock(&database->mutex);
    if (was_empty) {
        ring(database);
    }
}
