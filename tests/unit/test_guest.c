/* A plugin's process serving calls, with this program as both sides. */
#include <check.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/guest/serve.h"
#include "run_suite.h"
#include "whorl/secret.h"

enum { ANSWER = 3 << 20, PATIENCE_MS = 10000 };

static struct channel channel;
static const struct whorl_host *host;
static pthread_t guest_thread;
static atomic_bool to_drain, over;
static uint8_t answer[ANSWER], payload[CHANNEL_PAYLOAD_MAX];

static int start(const struct whorl_host *abi, void **instance, struct whorl_fault *fault)
{
    (void)fault;
    host = abi;
    *instance = NULL;
    return 0;
}

static void call(void *instance, uint64_t id, const uint8_t *message, size_t len)
{
    (void)instance, (void)message, (void)len;
    host->complete(host, id, answer, sizeof answer);
}

static void stop(void *instance)
{
    (void)instance;
}

static const struct whorl_plugin plugin = {.start = start, .call = call, .stop = stop};
static const struct isolate_spec spec = {.name = "guest", .data_dir = "", .workers = 1, .calls = 1};

/* ------------------------------------------------------------------ the server */

/* Takes all that there is; how many bytes. */
static size_t drain(void)
{
    struct channel_report head;
    const char *why;
    size_t len = 0;
    enum channel_take took;
    while ((took = channel_take(&channel, &head, payload, &why)) == CHANNEL_TAKEN)
        len += head.len;
    ck_assert_int_eq(took, CHANNEL_EMPTY);
    return len;
}

static void wake_guest(void)
{
    atomic_fetch_add(&channel.orders->doorbell, 1);
    (void)syscall(SYS_futex, &channel.orders->doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* In the place of the SDK's, and called where the guest has written what it can and is about to
 * rest: just then the server has taken everything, and goes to sleep. */
void whorl_secret_forget(void)
{
    if (pthread_equal(pthread_self(), guest_thread) && atomic_exchange(&to_drain, false)) {
        ck_assert_uint_gt(drain(), 0);
        atomic_store(&channel.orders->sleep, 1);
    }
}

/* ------------------------------------------------------------------ the guest */

static void *be_guest(void *arg)
{
    struct whorl_fault fault = {"", ""};
    (void)arg;
    guest_thread = pthread_self();
    struct guest *guest = guest_new(&channel, &spec, &plugin, NULL, &fault);
    ck_assert_msg(guest != NULL && guest_start(guest, &fault), "%s", fault.text);
    guest_serve(guest);
    over = true;
    return NULL;
}

static void *shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

START_TEST(reports_that_find_room_as_it_goes_to_rest_wake_the_server)
{
    const uint64_t id = 1u << CHANNEL_CALL_BITS;
    pthread_t thread;
    int bell[2];
    channel.shape = channel_shape(spec.calls);
    channel.orders = shared(channel.shape.size);
    channel.reports = shared(sizeof *channel.reports);
    ck_assert_int_eq(pipe(bell), 0);
    ck_assert_int_eq(dup2(bell[1], ISOLATE_FD_BELL), ISOLATE_FD_BELL);
    *channel_live(&channel, 0) = id;
    ck_assert(channel_order(&channel, ORDER_CALL, id, 0));
    to_drain = true;
    ck_assert_int_eq(pthread_create(&thread, NULL, be_guest, NULL), 0);
    struct pollfd rung = {bell[0], POLLIN, 0};
    ck_assert_msg(poll(&rung, 1, PATIENCE_MS) == 1, "it sleeps, and the server knows of nothing");
    ck_assert(channel_order(&channel, ORDER_STOP, 0, 0));
    while (!over) {
        (void)drain();
        wake_guest();
        usleep(1000);
    }
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest");
    TCase *tests = tcase_create("resting");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, reports_that_find_room_as_it_goes_to_rest_wake_the_server);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
