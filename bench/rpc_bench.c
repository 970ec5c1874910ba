/* Measures servers for bench/rpc, which starts them:
 *
 *     rpc_bench [-t DIR] [-s CHECK,MODALITY,FORMAT,FILE] echo ROUNDS SECONDS NAME,KIND,PORT,PID …
 *     rpc_bench -t DIR shake COUNT ROUNDS NAME,PORT,PID …
 *     rpc_bench -t DIR idle COUNT PORT PID
 *     rpc_bench [-s …] [-r RATE] load CONNECTIONS DEPTH SECONDS NAME,KIND,PORT,PID
 *
 * KIND: raw, rpc, nvim, redis, identify; with + at its end over TLS. DIR: ca.pem, phone-1.pem and
 * phone-1.key. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc_load.h"

#define TARGETS_MAX 16u
#define ROUNDS_MAX 64u
#define CONNECTIONS 64u

static SSL_CTX *tls;
static double pace;         /* load_target.rate, of load */
static SSL_SESSION *newest; /* that the server has given */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], by_value);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(newest);
    newest = session;
    return 1;
}

static void read_tls(const char *dir)
{
    char ca[512], certificate[512], key[512];
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(certificate, sizeof certificate, "%s/phone-1.pem", dir);
    snprintf(key, sizeof key, "%s/phone-1.key", dir);
    tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_file(tls, ca) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        load_die(dir);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls, keep_session);
}

static void read_sample(char *text)
{
    static uint8_t data[64 << 10];
    struct load_sample sample = {.check = strtok(text, ","), .data = data};
    sample.modality = strtok(NULL, ",");
    sample.format = strtok(NULL, ",");
    const char *path = strtok(NULL, ",");
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (file == NULL)
        load_die("the sample can't be read");
    sample.len = fread(data, 1, sizeof data, file);
    fclose(file);
    load_prepare_identify(&sample);
}

static enum load_kind read_kind(const char *word)
{
    static const char *const kinds[] = {"raw", "rpc", "nvim", "redis", "identify"};
    for (unsigned i = 0; word != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(word, kinds[i], strlen(kinds[i])) == 0)
            return (enum load_kind)i;
    fprintf(stderr, "rpc_bench: no kind %s\n", word == NULL ? "" : word);
    exit(2);
}

static struct load_target read_target(char *text, bool has_kind)
{
    struct load_target target = {.name = strtok(text, ",")};
    const char *kind = has_kind ? strtok(NULL, ",") : "raw+";
    const char *port = strtok(NULL, ","), *pid = strtok(NULL, ",");
    if (pid == NULL) {
        fputs("rpc_bench: a target is NAME,KIND,PORT,PID\n", stderr);
        exit(2);
    }
    target.kind = read_kind(kind);
    target.tls = kind[strlen(kind) - 1] == '+' ? tls : NULL;
    target.port = (uint16_t)strtoul(port, NULL, 10);
    target.pid = (pid_t)strtol(pid, NULL, 10);
    return target;
}

/* ------------------------------------------------------------------ echoes */

static void compare_at(unsigned depth, unsigned rounds, double seconds,
                       const struct load_target *targets, unsigned count)
{
    static double each[TARGETS_MAX][ROUNDS_MAX], ratio[TARGETS_MAX][ROUNDS_MAX];
    static double p99[TARGETS_MAX][ROUNDS_MAX], rate[TARGETS_MAX][ROUNDS_MAX];
    struct load_result result;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < count; i++) {
            load_run(&targets[i], CONNECTIONS, depth, seconds, &result);
            each[i][round] = 1e6 * result.cpu / (double)result.answered;
            ratio[i][round] = each[i][round] / each[0][round];
            p99[i][round] = 1e3 * result.p99;
            rate[i][round] = (double)result.answered / result.seconds;
            if (result.refused > 0)
                printf("%s refused %" PRIu64 " of %" PRIu64 "\n", targets[i].name, result.refused,
                       result.answered);
        }
    }
    printf("\n%u connections x %u\n%-34s %12s %8s %10s %9s\n", CONNECTIONS, depth, "",
           "CPU us/call", "x first", "calls/s", "p99 ms");
    for (unsigned i = 0; i < count; i++)
        printf("%-34s %12.2f %8.2f %10.0f %9.2f\n", targets[i].name, median(each[i], rounds),
               median(ratio[i], rounds), median(rate[i], rounds), median(p99[i], rounds));
    fflush(stdout);
}

static int echo(int argc, char **argv)
{
    struct load_target targets[TARGETS_MAX];
    unsigned rounds = (unsigned)strtoul(argv[0], NULL, 10), count = 0;
    double seconds = strtod(argv[1], NULL);
    for (int i = 2; i < argc && count < TARGETS_MAX; i++)
        targets[count++] = read_target(argv[i], true);
    if (rounds == 0 || rounds > ROUNDS_MAX)
        return 2;
    compare_at(1, rounds, seconds, targets, count);
    compare_at(16, rounds, seconds, targets, count);
    return 0;
}

static int load(char **argv)
{
    unsigned connections = (unsigned)strtoul(argv[0], NULL, 10);
    unsigned depth = (unsigned)strtoul(argv[1], NULL, 10);
    struct load_target target = read_target(argv[3], true);
    struct load_result result;
    if (connections == 0 || depth == 0 || depth > LOAD_DEPTH_MAX)
        return 2;
    target.rate = pace;
    load_run(&target, connections, depth, strtod(argv[2], NULL), &result);
    if (pace > 0)
        printf("%-34s %.0f asked/s, %.0f served/s\n", target.name,
               (double)result.asked / result.seconds,
               (double)(result.answered - result.refused) / result.seconds);
    printf("%-34s %ux%u: %.0f calls/s, %.1f us of CPU each, p50 %.2f ms, p99 %.2f ms, worst %.1f "
           "ms, %" PRIu64 " refused of %" PRIu64 "\n",
           target.name, connections, depth, (double)result.answered / result.seconds,
           1e6 * result.cpu / (double)result.answered, 1e3 * result.p50, 1e3 * result.p99,
           1e3 * result.worst, result.refused, result.answered);
    return 0;
}

/* ------------------------------------------------------------------ handshakes */

/* One connection: handshake, a message back, goodbye. */
static void shake(const struct load_target *target, SSL_SESSION *session)
{
    static const char ping[] = "\x94\x00\x01\xa4ping\x90";
    char back[64];
    size_t len = 0;
    int fd = load_connect(target->port);
    SSL *ssl = load_handshake(target->tls, fd, session);
    if ((session != NULL) != (SSL_session_reused(ssl) == 1)) {
        fprintf(stderr, "rpc_bench: %s %s\n", target->name,
                session == NULL ? "resumed a session" : "did not resume a session");
        exit(3);
    }
    if (SSL_write_ex(ssl, ping, sizeof ping - 1, &len) != 1 ||
        SSL_read_ex(ssl, back, sizeof back, &len) != 1)
        load_die("no answer after the handshake");
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static double shake_round(const struct load_target *target, unsigned count, bool resume)
{
    if (resume)
        shake(target, NULL);
    double before = load_cpu(target->pid);
    for (unsigned i = 0; i < count; i++) {
        SSL_SESSION *session = resume ? newest : NULL;
        newest = resume ? NULL : newest;
        shake(target, session);
        SSL_SESSION_free(session);
    }
    usleep(20000); /* the server's goodbye counts */
    return 1e6 * (load_cpu(target->pid) - before) / count;
}

static int shake_hands(int argc, char **argv)
{
    static double each[2][TARGETS_MAX][ROUNDS_MAX], ratio[2][TARGETS_MAX][ROUNDS_MAX];
    struct load_target targets[TARGETS_MAX];
    unsigned number = (unsigned)strtoul(argv[0], NULL, 10), count = 0;
    unsigned rounds = (unsigned)strtoul(argv[1], NULL, 10);
    for (int i = 2; i < argc && count < TARGETS_MAX; i++)
        targets[count++] = read_target(argv[i], false);
    if (number == 0 || rounds == 0 || rounds > ROUNDS_MAX)
        return 2;
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned resume = 0; resume < 2; resume++)
            for (unsigned i = 0; i < count; i++) {
                each[resume][i][round] = shake_round(&targets[i], number, resume == 1);
                ratio[resume][i][round] = each[resume][i][round] / each[resume][0][round];
            }
    printf("\n%-34s %12s %8s %12s %8s\n", "mutual handshakes, CPU us each", "full", "x first",
           "resumed", "x first");
    for (unsigned i = 0; i < count; i++)
        printf("%-34s %12.0f %8.2f %12.0f %8.2f\n", targets[i].name, median(each[0][i], rounds),
               median(ratio[0][i], rounds), median(each[1][i], rounds),
               median(ratio[1][i], rounds));
    return 0;
}

/* ------------------------------------------------------------------ idle devices */

static double resident_kb(pid_t pid)
{
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %lf", &kb) == 1)
            break;
    if (file == NULL || kb == 0)
        load_die("the server's memory can't be read");
    fclose(file);
    return kb;
}

static int idle(char **argv)
{
    unsigned count = (unsigned)strtoul(argv[0], NULL, 10);
    struct load_target target = {.name = "ping",
                                 .kind = LOAD_RPC,
                                 .port = (uint16_t)strtoul(argv[1], NULL, 10),
                                 .pid = (pid_t)strtol(argv[2], NULL, 10),
                                 .tls = tls};
    struct load_result alone, among;
    SSL **all = calloc(count, sizeof *all);
    if (all == NULL || count == 0)
        return 2;
    load_run(&target, CONNECTIONS, 1, 2, &alone);
    double before = resident_kb(target.pid);
    for (unsigned i = 0; i < count; i++)
        all[i] = load_handshake(tls, load_connect(target.port), NULL);
    load_run(&target, CONNECTIONS, 1, 2, &among);
    double each = (resident_kb(target.pid) - before) / count;
    printf(
        "\n%u idle TLS devices: %.1f KB each; ping over TLS 64x1: p99 %.2f ms, without them %.2f "
        "ms; %.2f us of CPU, without them %.2f\n",
        count, each, 1e3 * among.p99, 1e3 * alone.p99, 1e6 * among.cpu / (double)among.answered,
        1e6 * alone.cpu / (double)alone.answered);
    for (unsigned i = 0; i < count; i++) {
        close(SSL_get_fd(all[i]));
        SSL_free(all[i]);
    }
    free(all);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    for (int option; (option = getopt(argc, argv, "t:s:r:")) != -1;) {
        if (option == 't')
            read_tls(optarg);
        else if (option == 's')
            read_sample(optarg);
        else if (option == 'r')
            pace = strtod(optarg, NULL);
        else
            return 2;
    }
    argc -= optind;
    argv += optind;
    if (argc > 3 && strcmp(argv[0], "echo") == 0)
        return echo(argc - 1, argv + 1);
    if (argc > 3 && strcmp(argv[0], "shake") == 0 && tls != NULL)
        return shake_hands(argc - 1, argv + 1);
    if (argc == 4 && strcmp(argv[0], "idle") == 0 && tls != NULL)
        return idle(argv + 1);
    if (argc == 5 && strcmp(argv[0], "load") == 0)
        return load(argv + 1);
    fputs("usage: see the head of rpc_bench.c\n", stderr);
    return 2;
}
