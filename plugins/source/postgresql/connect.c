/* A connection that comes back: connecting, checking the role, waiting before the next attempt. */
#include "plugins/source/postgresql/connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/source/postgresql/target.h"
#include "whorl/msg.h"

#define ATTEMPT_MS 10000 /* for each host */
#define DEAD_MS "8000"   /* sent bytes that nobody acknowledges for so long: the host is gone */
#define PAUSE_MIN_MS 100u
#define PAUSE_MAX_MS 5000u
#define PARAMETERS_MAX 32
#define WHY_CAP 141

enum state { PAUSED, CONNECTING, CHECKING, UP };

struct pg_link {
    const struct pg_target *target;
    struct pg_use use;
    enum state state;
    PGconn *conn;
    short events;   /* that the attempt waits for */
    int64_t until;  /* PAUSED: the next attempt; CONNECTING, CHECKING: the end of this one; UP: from
                     when on it has lasted */
    unsigned pause; /* before the next attempt */
    bool role_fits; /* CHECKING: the answer was read, and nothing spoke against the role */
    struct whorl_fault found; /* CHECKING: what did */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct pg_link *pg_link_new(const struct pg_target *target, const struct pg_use *use)
{
    struct pg_link *link = calloc(1, sizeof(*link));
    if (link != NULL) {
        link->target = target;
        link->use = *use;
        link->pause = PAUSE_MIN_MS;
        link->until = now_ms();
    }
    return link;
}

void pg_link_free(struct pg_link *link)
{
    if (link == NULL) {
        return;
    }
    PQfinish(link->conn);
    free(link);
}

/* Closes the connection; the next attempt follows after a pause. */
static void pause_link(struct pg_link *link)
{
    PQfinish(link->conn);
    link->conn = NULL;
    link->state = PAUSED;
    link->until = now_ms() + link->pause / 2 + arc4random_uniform(link->pause / 2 + 1);
    link->pause = link->pause * 2 < PAUSE_MAX_MS ? link->pause * 2 : PAUSE_MAX_MS;
}

void pg_link_lost(struct pg_link *link)
{
    if (link->state == UP && now_ms() >= link->until) {
        link->pause = PAUSE_MIN_MS; /* it was fit: it isn't just being made in vain */
    }
    pause_link(link);
}

PGconn *pg_link_conn(const struct pg_link *link)
{
    return link->state == UP ? link->conn : NULL;
}

/* ------------------------------------------------------------------ what a failure means */

/* What libpq or the server says in passing is nobody's business: it may quote values. */
static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static const struct {
    const char *says, *advice;
} advices[] = {
    {"password authentication failed", "look at user= in database and at password_file"},
    {"no password supplied", "name the role's password in password_file"},
    {"does not support SSL", "switch ssl on in its postgresql.conf"},
    {"certificate verify failed", "database_ca must name the authority of its certificate"},
    {"does not match host name", "its certificate is another host's: look at host= in database"},
    {"no pg_hba.conf entry", "its pg_hba.conf must let this machine in"},
    {"Connection refused", "is PostgreSQL running there?"},
    {"could not translate host name", "look at host= in database"},
    {"requires a valid client certificate", "name one in database_certificate and database_key"},
    {"session is read-only", "it is a standby"},
    {"too many clients", "it takes no more connections: raise max_connections"},
};

/* The first line, at most max bytes, of what the server or libpq says of a connection that failed,
 * without its repeating where that is; nothing of it if it is not clean. */
static void say_why(const char *message, size_t max, char text[WHY_CAP])
{
    static const char where_ends[] = " failed: ";
    const char *where = strstr(message, where_ends);
    const char *from = where != NULL ? where + strlen(where_ends) : message;
    size_t len = strcspn(from, "\n");
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)from[len] & 0xc0) == 0x80) { /* no half of a letter */
            len--;
        }
    }
    snprintf(text, WHY_CAP, "%.*s", (int)len, from);
    if (!whorl_text_is_clean(text, len)) {
        snprintf(text, WHY_CAP, "it answered with what is no clean text");
    }
}

static const char *advice_on(const char *message)
{
    for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        if (strstr(message, advices[i].says) != NULL) {
            return advices[i].advice;
        }
    }
    return NULL;
}

/* libpq says it of each address that it tried, e.g. of localhost's two, and goes on to the next
 * only where nobody answered: what counts is the last one. */
static const char *of_last_address(const char *message)
{
    static const char begins[] = "\nconnection to server ";
    for (const char *next; (next = strstr(message, begins)) != NULL;) {
        message = next + 1;
    }
    return message;
}

/* Ends an attempt. why: NULL if libpq knows. */
static enum pg_news attempt_failed(struct pg_link *link, const char *why, struct whorl_fault *fault)
{
    char text[WHY_CAP];
    const char *message = of_last_address(PQerrorMessage(link->conn));
    const char *advice = why == NULL ? advice_on(message) : NULL;
    if (why == NULL) {
        say_why(message, advice != NULL ? 75 : WHY_CAP - 1, text);
        why = text;
    }
    whorl_fail(fault, "", "cannot use the database %.80s: %.140s%s%s", link->target->name, why,
               advice != NULL ? ": " : "", advice != NULL ? advice : "");
    pause_link(link);
    return PG_FAILED;
}

/* ------------------------------------------------------------------ connecting */

struct parameters {
    const char *keys[PARAMETERS_MAX + 1], *values[PARAMETERS_MAX + 1];
    size_t count;
};

static void set(struct parameters *parameters, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0' || parameters->count == PARAMETERS_MAX) {
        return;
    }
    parameters->keys[parameters->count] = key;
    parameters->values[parameters->count++] = value;
}

static void set_all(struct parameters *parameters, const struct pg_link *link, const char *options)
{
    const struct pg_target *target = link->target;
    set(parameters, "host", target->host);
    set(parameters, "port", target->port);
    set(parameters, "dbname", target->dbname);
    set(parameters, "user", target->user);
    set(parameters, "target_session_attrs", target->session_attrs);
    set(parameters, "sslmode", !target->local || target->ca != NULL ? "verify-full" : "prefer");
    set(parameters, "sslrootcert", target->ca);
    set(parameters, "sslcert", target->certificate);
    set(parameters, "sslkey", target->key);
    set(parameters, "gssencmode", "disable");
    set(parameters, "application_name", link->use.application);
    set(parameters, "client_encoding", "UTF8");
    set(parameters, "replication", link->use.replication ? "database" : NULL);
    set(parameters, "options", options);
    set(parameters, "keepalives", "1");
    set(parameters, "keepalives_idle", "5");
    set(parameters, "keepalives_interval", "2");
    set(parameters, "keepalives_count", "3");
    set(parameters, "tcp_user_timeout", DEAD_MS);
}

static unsigned hosts_of(const struct pg_target *target)
{
    unsigned hosts = 1;
    for (const char *at = target->host; *at != '\0'; at++) {
        hosts += *at == ',';
    }
    return hosts;
}

static enum pg_news begin(struct pg_link *link, struct whorl_fault *fault)
{
    char password[PG_PASSWORD_MAX + 1], options[200];
    struct parameters parameters = {.count = 0};
    struct whorl_fault bad;
    if (!pg_target_password(link->target, password, &bad)) {
        return attempt_failed(link, bad.text, fault);
    }
    /* A search_path of the server's own functions alone: nobody can put another in their place.
     * With row_security off, rows that a policy would hide are an error: who is hidden is not
     * nobody. */
    snprintf(options, sizeof(options),
             "-c search_path=pg_catalog -c row_security=off -c statement_timeout=%u "
             "-c default_transaction_read_only=%s",
             link->use.statement_ms, link->use.write ? "off" : "on");
    set_all(&parameters, link, options);
    set(&parameters, "password", password);
    link->conn = PQconnectStartParams(parameters.keys, parameters.values, 0);
    explicit_bzero(password, sizeof(password));
    if (link->conn == NULL) {
        return attempt_failed(link, "out of memory", fault);
    }
    PQsetNoticeProcessor(link->conn, ignore_notice, NULL);
    if (PQstatus(link->conn) == CONNECTION_BAD) {
        return attempt_failed(link, NULL, fault);
    }
    link->state = CONNECTING;
    link->events = POLLOUT;
    link->until = now_ms() + (int64_t)ATTEMPT_MS * hosts_of(link->target);
    return PG_NOTHING;
}

/* ------------------------------------------------------------------ the role */

/* Three columns: whether the role is a superuser; a table that it may write; one that it can't
 * read or that isn't there. %s: the tables' names, a line each, as a literal. */
static const char role_query[] =
    "WITH t AS (SELECT n, to_regclass(n)::oid AS o"
    " FROM unnest(string_to_array(%s, E'\\n')) AS n)"
    " SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
    " (SELECT min(n) FROM t WHERE has_table_privilege(o, 'INSERT, UPDATE, DELETE, TRUNCATE')"
    " OR has_any_column_privilege(o, 'INSERT, UPDATE')"
    " OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = o), 'USAGE')),"
    " (SELECT min(n) FROM t WHERE o IS NULL OR NOT has_any_column_privilege(o, 'SELECT'))";

static enum pg_news ask_for_role(struct pg_link *link, struct whorl_fault *fault)
{
    char names[1024] = "", query[2 * sizeof(names) + sizeof(role_query)];
    size_t used = 0;
    for (size_t i = 0; link->use.tables != NULL && link->use.tables[i] != NULL; i++) {
        int len = snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? "\n" : "",
                           link->use.tables[i]);
        if (len < 0 || used + (size_t)len >= sizeof(names)) {
            return attempt_failed(link, "the names of its tables are too long", fault);
        }
        used += (size_t)len;
    }
    char *literal = PQescapeLiteral(link->conn, names, used);
    if (literal == NULL) {
        return attempt_failed(link, NULL, fault);
    }
    snprintf(query, sizeof(query), role_query, literal);
    PQfreemem(literal);
    /* The simple protocol: a replication connection takes no other. */
    if (PQsetnonblocking(link->conn, 1) != 0 || PQsendQuery(link->conn, query) != 1) {
        return attempt_failed(link, NULL, fault);
    }
    link->state = CHECKING;
    link->events = POLLIN | POLLOUT;
    link->role_fits = false;
    link->found = (struct whorl_fault){{0}, {0}};
    return PG_NOTHING;
}

static void judge_role(struct pg_link *link, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        PQnfields(result) != 3) {
        pg_result_fail(result, "look at its role", &link->found);
        return;
    }
    const char *writes = PQgetvalue(result, 0, 1), *lacks = PQgetvalue(result, 0, 2);
    if (!link->use.write && PQgetvalue(result, 0, 0)[0] == 't') {
        whorl_fail(&link->found, "",
                   "its role is a superuser: take one that has nothing but SELECT");
    } else if (!link->use.write && writes[0] != '\0') {
        whorl_fail(&link->found, "",
                   "its role may write to %.60s: take one that has nothing but SELECT", writes);
    } else if (lacks[0] != '\0') {
        whorl_fail(&link->found, "", "%.60s is not there, or its role lacks SELECT on it", lacks);
    } else {
        link->role_fits = true;
    }
}

static enum pg_news go_on_checking(struct pg_link *link, struct whorl_fault *fault)
{
    int unsent = PQflush(link->conn);
    if (unsent < 0 || PQconsumeInput(link->conn) != 1) {
        return attempt_failed(link, NULL, fault);
    }
    link->events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0));
    while (PQisBusy(link->conn) == 0) {
        PGresult *result = PQgetResult(link->conn);
        if (result == NULL) {
            if (!link->role_fits) {
                return attempt_failed(link, link->found.text[0] != '\0' ? link->found.text : NULL,
                                      fault);
            }
            link->state = UP;
            link->until = now_ms() + PAUSE_MAX_MS;
            return PG_UP;
        }
        judge_role(link, result);
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status != PGRES_TUPLES_OK) { /* a COPY that nobody asked for would never end */
            return attempt_failed(link, link->found.text, fault);
        }
    }
    return PG_NOTHING;
}

/* ------------------------------------------------------------------ steps */

static enum pg_news go_on_connecting(struct pg_link *link, struct whorl_fault *fault)
{
    switch (PQconnectPoll(link->conn)) {
    case PGRES_POLLING_READING:
        link->events = POLLIN;
        return PG_NOTHING;
    case PGRES_POLLING_WRITING:
        link->events = POLLOUT;
        return PG_NOTHING;
    case PGRES_POLLING_OK:
        return ask_for_role(link, fault);
    default:
        return attempt_failed(link, NULL, fault);
    }
}

int pg_link_wants(const struct pg_link *link, struct pollfd *fd)
{
    *fd = (struct pollfd){.fd = -1};
    if (link->state != PAUSED) {
        fd->fd = PQsocket(link->conn);
    }
    fd->events = link->state == UP ? POLLIN : link->events;
    if (link->state == UP) {
        return -1;
    }
    int64_t left = link->until - now_ms();
    return left > 0 ? (int)left : 0;
}

enum pg_news pg_link_step(struct pg_link *link, struct whorl_fault *fault)
{
    struct pollfd fd;
    int left = pg_link_wants(link, &fd);
    if (link->state == UP) {
        return PG_NOTHING;
    }
    if (link->state == PAUSED) {
        return left > 0 ? PG_NOTHING : begin(link, fault);
    }
    /* libpq must not be called before the socket is ready: it would take silence for success. */
    if (poll(&fd, 1, 0) == 1) {
        return link->state == CONNECTING ? go_on_connecting(link, fault)
                                         : go_on_checking(link, fault);
    }
    return left > 0 ? PG_NOTHING : attempt_failed(link, "it did not answer in time", fault);
}

bool pg_link_wait(struct pg_link *link, int wake, unsigned give_up_ms, struct whorl_fault *fault)
{
    int64_t end = now_ms() + give_up_ms;
    *fault = (struct whorl_fault){{0}, {0}};
    while (link->state != UP) {
        struct pollfd fds[2] = {{.fd = wake, .events = POLLIN}};
        int ms = pg_link_wants(link, &fds[1]);
        int64_t left = end - now_ms();
        if (give_up_ms > 0 && left <= 0) {
            if (fault->text[0] == '\0') {
                whorl_fail(fault, "", "the database %.80s did not answer in time",
                           link->target->name);
            }
            return false;
        }
        if (give_up_ms > 0 && left < ms) {
            ms = (int)left;
        }
        if (poll(fds, 2, ms) < 0 && errno != EINTR) {
            return whorl_fail(fault, "", "cannot wait: %s", strerror(errno));
        }
        if (fds[0].revents != 0) {
            return false;
        }
        if (pg_link_step(link, fault) == PG_FAILED && give_up_ms == 0) {
            return false;
        }
    }
    return true;
}
