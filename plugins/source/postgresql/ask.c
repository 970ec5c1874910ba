#include "plugins/source/postgresql/ask.h"

#include <errno.h>
#include <string.h>

#include "whorl/msg.h"

static bool lost(const struct pg_ask *ask, const char *doing, struct whorl_fault *fault)
{
    pg_result_fail(NULL, doing, fault);
    pg_link_lost(ask->link);
    return false;
}

/* Waits for the connection. 1: it is ready; 0: the time is up; -1: woken. */
static int wait_for(const struct pg_ask *ask, PGconn *conn, short events, int ms)
{
    struct pollfd fds[2] = {{.fd = ask->wake, .events = POLLIN},
                            {.fd = PQsocket(conn), .events = events}};
    int ready = poll(fds, 2, ms);
    if (ready < 0) {
        return errno == EINTR ? 1 : 0;
    }
    return fds[0].revents != 0 ? -1 : ready > 0;
}

bool pg_ask_send(const struct pg_ask *ask, const char *sql, const char *const *parameters,
                 int count, const char *doing, struct whorl_fault *fault)
{
    PGconn *conn = pg_link_conn(ask->link);
    if (conn == NULL || PQsendQueryParams(conn, sql, count, NULL, parameters, NULL, NULL, 1) != 1 ||
        PQflush(conn) < 0) {
        return lost(ask, doing, fault);
    }
    return true;
}

/* Until a result can be taken without waiting. false: the link is lost; with "" when woken. */
static bool await(const struct pg_ask *ask, PGconn *conn, const char *doing,
                  struct whorl_fault *fault)
{
    while (PQisBusy(conn)) {
        int unsent = PQflush(conn);
        short events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0));
        int ready = unsent < 0 ? 0 : wait_for(ask, conn, events, (int)ask->patience_ms);
        if (ready < 0) {
            *fault = (struct whorl_fault){{0}, {0}};
            pg_link_lost(ask->link);
            return false;
        }
        if (unsent >= 0 && ready == 0) {
            whorl_fail(fault, "", "cannot %s in the database: it has been silent for %u s", doing,
                       ask->patience_ms / 1000);
            pg_link_lost(ask->link);
            return false;
        }
        if (unsent < 0 || PQconsumeInput(conn) != 1) {
            return lost(ask, doing, fault);
        }
    }
    return true;
}

/* Whether the server has begun a COPY, which nobody asked for: libpq would say so for ever. */
static bool moves_rows(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH;
}

PGresult *pg_ask_wait(const struct pg_ask *ask, const char *doing, struct whorl_fault *fault)
{
    PGconn *conn = pg_link_conn(ask->link);
    PGresult *result = NULL;
    while (conn != NULL) {
        if (!await(ask, conn, doing, fault)) {
            PQclear(result);
            return NULL;
        }
        PGresult *next = PQgetResult(conn);
        if (next == NULL) {
            break;
        }
        if (moves_rows(next)) {
            PQclear(next);
            PQclear(result);
            lost(ask, doing, fault);
            return NULL;
        }
        PQclear(result); /* a statement has one result: of more, the last says how it ended */
        result = next;
    }
    ExecStatusType status = PQresultStatus(result);
    if (result != NULL && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)) {
        return result;
    }
    if (conn == NULL || PQstatus(conn) != CONNECTION_OK) {
        lost(ask, doing, fault);
    } else {
        pg_result_fail(result, doing, fault);
    }
    PQclear(result);
    return NULL;
}

PGresult *pg_ask(const struct pg_ask *ask, const char *sql, const char *const *parameters,
                 int count, const char *doing, struct whorl_fault *fault)
{
    return pg_ask_send(ask, sql, parameters, count, doing, fault) ? pg_ask_wait(ask, doing, fault)
                                                                  : NULL;
}

bool pg_ask_idle(const struct pg_ask *ask, int ms, bool *told, struct whorl_fault *fault)
{
    PGconn *conn = pg_link_conn(ask->link);
    *told = false;
    if (conn == NULL) {
        return lost(ask, "wait", fault);
    }
    if (wait_for(ask, conn, POLLIN, ms) > 0 && PQconsumeInput(conn) != 1) {
        return lost(ask, "wait", fault);
    }
    for (PGnotify *notify; (notify = PQnotifies(conn)) != NULL;) {
        *told = true;
        PQfreemem(notify);
    }
    return true;
}
