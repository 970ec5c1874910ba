/* One round of measuring PNC look-ups in PostgreSQL, by random PNCIDs of so many made-up people
 * (bench/source.py fills the table): through the plugin in a host as the server's, 1024 calls
 * always waiting, every one asked of the database; the same statement one at a time on a connection
 * of its own; and through the plugin from its cache. Prints a line of JSON. Every answer is looked
 * at.
 *
 *     source_pnc_bench DIR PNC_MODULE SINK_MODULE CONNINFO PASSWORD_FILE CA PEOPLE LOOKUPS
 *
 * DIR is empty; the sink is there because a configuration needs one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/host/host.h"
#include "plugins/pnc/table.h"

enum { DEPTH = 1024, LONE = 3000, KEPT = 1000 };

struct run {
    uv_loop_t *loop;
    struct backend *backend;
    unsigned people; /* of whom one is asked for */
    unsigned depth, waiting;
    unsigned long left;
    double *latency; /* NULL: not wanted */
    size_t latencies;
    uint64_t asked; /* when, of a lone call */
};

static void die(const char *what)
{
    fprintf(stderr, "source_pnc_bench: %s\n", what);
    exit(EXIT_FAILURE);
}

static void pncid_of(unsigned person, char id[PNC_ID_CAP])
{
    snprintf(id, PNC_ID_CAP, "2000/%07u%c", person % 10000000u,
             "ZABCDEFGHJKLMNPQRTUVWXY"[person % 23]);
}

static void on_progress(void *ctx, const char *stage, double fraction)
{
    (void)ctx, (void)stage, (void)fraction;
}

static void on_ended(void *ctx, enum backend_end end, const uint8_t *answer, size_t len)
{
    struct run *run = ctx;
    struct whorl_msg msg;
    struct whorl_fault fault;
    if (end != BACKEND_ANSWERED || !whorl_msg_parse(answer, len, &msg, &fault))
        die("a call was not answered");
    if (!whorl_str_is(whorl_map_get(&msg.root, "class"), "match")) {
        char reason[256];
        whorl_str_copy(whorl_map_get(&msg.root, "reason"), reason, sizeof(reason));
        die(reason);
    }
    whorl_msg_release(&msg);
    if (run->latency != NULL)
        run->latency[run->latencies++] = (double)(uv_hrtime() - run->asked) / 1000;
    run->waiting--;
}

static void make_call(struct run *run)
{
    const struct backend_listener listener = {on_progress, on_ended, run};
    struct whorl_secret secret = {0};
    char id[PNC_ID_CAP], bytes[256];
    msgpack_sbuffer out;
    msgpack_packer pk;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    pncid_of((unsigned)random() % run->people, id);
    msgpack_pack_map(&pk, 2);
    whorl_put_str(&pk, "op", "lookup");
    whorl_put_key(&pk, "people");
    msgpack_pack_array(&pk, 1);
    msgpack_pack_map(&pk, 1);
    whorl_put_key(&pk, "identifiers");
    msgpack_pack_map(&pk, 1);
    whorl_put_str(&pk, "pncid", id);
    memcpy(bytes, out.data, out.size);
    if (whorl_secret_write(&secret, bytes, out.size) != 0)
        die("no locked memory");
    msgpack_sbuffer_destroy(&out);
    run->left--;
    run->waiting++;
    run->asked = uv_hrtime();
    backend_call(run->backend, &secret, 20000, &listener);
}

static void make_calls(struct run *run)
{
    while (run->left > 0 && run->waiting < run->depth)
        make_call(run);
}

static void on_check(uv_check_t *check)
{
    struct run *run = check->data;
    make_calls(run);
    if (run->waiting == 0)
        uv_stop(run->loop);
}

/* Returns the seconds that it took. */
static double ask(struct run *run, unsigned depth, unsigned long calls)
{
    uint64_t start = uv_hrtime();
    run->depth = depth;
    run->left = calls;
    make_calls(run);
    uv_run(run->loop, UV_RUN_DEFAULT);
    return (double)(uv_hrtime() - start) / 1e9;
}

static double used_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void start_run(struct run *run, uv_check_t *check, struct host *host, struct conf *conf,
                      const char *name)
{
    struct whorl_fault fault;
    run->backend = backend_start(host, conf, conf_find_plugin(conf, name), &fault);
    if (run->backend == NULL)
        die(fault.text);
    uv_check_init(run->loop, check);
    check->data = run;
    uv_check_start(check, on_check);
}

static void end_run(struct run *run, uv_check_t *check)
{
    uv_close((uv_handle_t *)check, NULL);
    backend_unref(run->backend);
    uv_run(run->loop, UV_RUN_DEFAULT);
}

/* ------------------------------------------------------------------ what is measured */

static void measure_pipelined(uv_loop_t *loop, struct host *host, struct conf *conf,
                              unsigned people, unsigned long lookups)
{
    struct run run = {.loop = loop, .people = people};
    uv_check_t check;
    start_run(&run, &check, host, conf, "asks");
    ask(&run, DEPTH, lookups / 10);
    double before = used_us();
    double seconds = ask(&run, DEPTH, lookups);
    printf("\"pipelined_per_s\": %.0f, \"pipelined_cpu_us\": %.2f, ", (double)lookups / seconds,
           (used_us() - before) / (double)lookups);
    end_run(&run, &check);
}

static void measure_cached(uv_loop_t *loop, struct host *host, struct conf *conf,
                           unsigned long lookups)
{
    static double latency[LONE];
    struct run run = {.loop = loop, .people = KEPT};
    uv_check_t check;
    start_run(&run, &check, host, conf, "keeps");
    ask(&run, DEPTH, 20L * KEPT);
    end_run(&run, &check); /* writes what is left */
    start_run(&run, &check, host, conf, "keeps");
    ask(&run, DEPTH, KEPT);
    double before = used_us();
    double seconds = ask(&run, DEPTH, lookups);
    double cpu = (used_us() - before) / (double)lookups;
    run.latency = latency;
    ask(&run, 1, LONE);
    qsort(latency, run.latencies, sizeof(latency[0]), ascending);
    printf("\"cached_per_s\": %.0f, \"cached_cpu_us\": %.2f, \"cached_lone_us\": %.2f",
           (double)lookups / seconds, cpu, latency[run.latencies / 2]);
    end_run(&run, &check);
}

/* The plugin's statement by libpq alone: send, wait, next. */
static void measure_one_at_a_time(const char *conninfo, const char *password_file, const char *ca,
                                  unsigned people, unsigned long lookups)
{
    char all[2048], password[128] = "", sql[PNC_SQL_CAP], id[PNC_ID_CAP];
    const char *const values[] = {id};
    struct pnc_table table = {.name = "\"whorl\".\"pnc_people\"",
                              .columns = {"pncid", "cro", "name_keys", "details", "circulations",
                                          "bail", "disqualified", "warnings", "markers"}};
    FILE *in = fopen(password_file, "r");
    if (in == NULL || fscanf(in, "%127s", password) != 1)
        die(password_file);
    fclose(in);
    snprintf(all, sizeof(all), "%s password=%s sslmode=verify-full sslrootcert=%s", conninfo,
             password, ca);
    PGconn *conn = PQconnectdb(all);
    pnc_table_sql(&table, PNC_BY_PNCID, PNC_ALL_CLASSES, sql);
    PQclear(PQprepare(conn, "one", sql, 1, NULL));
    uint64_t start = uv_hrtime();
    for (unsigned long i = 0; i < lookups; i++) {
        pncid_of((unsigned)random() % people, id);
        PGresult *result = PQexecPrepared(conn, "one", 1, values, NULL, NULL, 0);
        if (PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), id) != 0)
            die(PQerrorMessage(conn));
        PQclear(result);
    }
    printf("\"one_at_a_time_per_s\": %.0f, ",
           (double)lookups / ((double)(uv_hrtime() - start) / 1e9));
    PQfinish(conn);
}

/* ------------------------------------------------------------------ the configuration */

static void complain(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

static struct conf *make_conf(char **argv)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/bench.conf", argv[1]);
    FILE *out = fopen(path, "w");
    if (out == NULL)
        die(strerror(errno));
    fprintf(out,
            "core { data_dir = \"var\" workers = 2 }\n"
            "policy p { rule a { basis = a backends = {asks} } }\n"
            "force \"F\" { policy = p backends = {asks} }\n"
            "plugin keeper { module = \"%s\" isolation = in_process }\n",
            argv[3]);
    for (int i = 0; i < 2; i++)
        fprintf(out,
                "plugin %s { module = \"%s\" isolation = in_process max_calls = %d settings { "
                "source = postgresql database = \"%s\" password_file = \"%s\" database_ca = \"%s\" "
                "cache = {%s} } }\n",
                i == 0 ? "asks" : "keeps", argv[2], DEPTH, argv[4], argv[5], argv[6],
                i == 0 ? "\"circulations=0\", \"details=0\", \"bail=0\", \"disqualified=0\", "
                         "\"warnings=0\", \"markers=0\""
                       : "\"circulations=9999\", \"details=9999\", \"bail=9999\", "
                         "\"disqualified=9999\", \"warnings=9999\", \"markers=9999\"");
    if (fclose(out) != 0)
        die(strerror(errno));
    struct conf *conf = conf_read(argv[1], complain, NULL);
    if (conf == NULL)
        die("its own configuration is refused");
    return conf;
}

int main(int argc, char **argv)
{
    struct whorl_fault fault;
    uv_loop_t loop;
    if (argc != 9)
        die("usage: source_pnc_bench DIR PNC_MODULE SINK_MODULE CONNINFO PASSWORD_FILE CA PEOPLE "
            "LOOKUPS");
    unsigned people = (unsigned)strtoul(argv[7], NULL, 10);
    unsigned long lookups = strtoul(argv[8], NULL, 10);
    struct conf *conf = make_conf(argv);
    uv_loop_init(&loop);
    struct log *log = log_new(STDERR_FILENO, WHORL_LOG_ERROR);
    struct host *host = host_new(&loop, 2, log, &fault);
    if (host == NULL)
        die(fault.text);
    printf("{");
    measure_pipelined(&loop, host, conf, people, lookups);
    measure_one_at_a_time(argv[4], argv[5], argv[6], people, lookups / 10);
    measure_cached(&loop, host, conf, lookups);
    puts("}");
    conf_unref(conf);
    host_close(host);
    uv_run(&loop, UV_RUN_DEFAULT);
    log_free(log);
    return EXIT_SUCCESS;
}
