/* The way of a call; see gallery/finger_search.h. What runs where:
 *
 *     loop thread   finger_search_call
 *     workers       read_job -> sample_job of each -> begin_search -> lane_job ... -> conclude
 *
 * Whoever is last to leave a stage starts the next one. A call that finds too little locked memory
 * lets go of what it has and begins again when another has ended (finger_wait.c). */
#include "gallery/finger_search.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "finger_request.h"
#include "whorl/answer.h"

const char *const finger_search_modalities[] = {"finger", NULL};

/* ------------------------------------------------------------------ the instance */

int finger_search_check(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    double match = settings->real(settings, NULL, "match_fpir");
    double possible = settings->real(settings, NULL, "possible_fpir");
    if (match <= possible) {
        return 0;
    }
    whorl_fail(fault, "possible_fpir", "must not be below match_fpir (%g)", match);
    return -1;
}

/* What an operator compares with the limit on locked memory, which the server tells at its start.
 */
static void say_needs(const struct whorl_host *host)
{
    char text[160];
    (void)snprintf(text, sizeof text,
                   "a search locks %zu kB of memory and %zu kB for each impression; one for which "
                   "there is no room waits for others to end",
                   host->workers * gallery_search_scratch_size() / 1000,
                   (gallery_search_locked_size() + afis_finger_size()) / 1000);
    host->log(host, WHORL_LOG_INFO, text);
}

int finger_search_start(const struct whorl_host *host, const struct finger_search_kind *kind,
                        const struct finger_search_copy *copy, void **out,
                        struct whorl_fault *fault)
{
    const struct whorl_settings *settings = host->settings;
    struct finger_instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        whorl_fail(fault, "", "out of memory");
        return -1;
    }
    *instance = (struct finger_instance){
        .host = host,
        .kind = kind,
        .match_fpir = settings->real(settings, NULL, "match_fpir"),
        .possible_fpir = settings->real(settings, NULL, "possible_fpir"),
        .min_quality = (unsigned)settings->integer(settings, NULL, "min_quality"),
        .max_candidates = (size_t)settings->integer(settings, NULL, "max_candidates"),
    };
    if (copy) {
        instance->copy = (struct finger_search_copy){NULL, copy->standing, copy->ctx};
    }
    instance->gallery = gallery_open(copy ? copy->dir : host->data_dir, WHORL_STORE_WRITE, fault);
    if (!instance->gallery) {
        free(instance);
        return -1;
    }
    pthread_mutex_init(&instance->mutex, NULL);
    say_needs(host);
    finger_prepare_start(instance);
    *out = instance;
    return 0;
}

void finger_search_stop(void *arg)
{
    struct finger_instance *instance = arg;
    gallery_close(instance->gallery);
    pthread_mutex_destroy(&instance->mutex);
    free(instance);
}

/* ------------------------------------------------------------------ the end of a call */

/* All that was made of the message. */
static void let_go(struct finger_request *request)
{
    const struct whorl_host *host = request->instance->host;
    for (size_t i = 0; i < request->sample_count; i++) {
        host->secret_free(host, request->samples[i].finger, afis_finger_size());
    }
    for (unsigned i = 0; request->lanes && i < request->lane_count; i++) {
        host->secret_free(host, request->lanes[i].scratch, gallery_search_scratch_size());
    }
    free(request->lanes);
    gallery_search_free(request->search);
    whorl_msg_release(&request->msg);
}

static void read_job(void *arg);
static void complete_unavailable(struct finger_request *request, const char *reason);

/* Begins again with calls that waited, now that there may be memory for them. */
static void wake(struct finger_instance *instance, bool leave)
{
    const struct whorl_host *host = instance->host;
    struct finger_request *request = finger_wait_next(instance, leave);
    while (request) {
        struct finger_request *next = request->next;
        if (!host->submit(host, read_job, request)) {
            complete_unavailable(request, "the server is stopping");
        }
        request = next;
    }
}

/* Frees the request, then completes its call: nothing of a probe is left by then. */
static void complete(struct finger_request *request, struct whorl_answer *answer)
{
    struct finger_instance *instance = request->instance;
    const struct whorl_host *host = instance->host;
    uint64_t call = request->call;
    let_go(request);
    free(request);
    wake(instance, true);
    whorl_answer_give(answer, host, call, WHORL_ROLE_SEARCH);
    whorl_answer_drop(answer);
}

static void complete_plain(struct finger_request *request, const char *class, const char *reason)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    finger_answer_plain(&answer.pk, class, reason);
    complete(request, &answer);
}

static void complete_unavailable(struct finger_request *request, const char *reason)
{
    complete_plain(request, "unavailable", reason);
}

/* There is too little locked memory for it beside the others. */
static void starve(struct finger_request *request)
{
    const struct whorl_host *host = request->instance->host;
    let_go(request);
    memset(request->samples, 0, sizeof request->samples);
    request->sample_count = request->probe_count = 0;
    request->lanes = NULL;
    request->lane_count = 0;
    request->search = NULL;
    atomic_store(&request->starved, false);
    switch (finger_wait_park(request)) {
    case FINGER_WAIT_PARKED:
        break;
    case FINGER_WAIT_AGAIN:
        if (!host->submit(host, read_job, request)) {
            complete_unavailable(request, "the server is stopping");
        }
        break;
    case FINGER_WAIT_ALONE:
        complete_unavailable(request, "not enough locked memory for a search (LimitMEMLOCK)");
        break;
    }
}

static void complete_unusable(struct finger_request *request)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    finger_answer_unusable(&answer.pk, request);
    complete(request, &answer);
}

static void complete_result(struct finger_request *request, struct gallery_result *result)
{
    struct whorl_answer answer;
    whorl_answer_begin(&answer);
    finger_answer_result(&answer.pk, request, result);
    gallery_result_release(result);
    complete(request, &answer);
}

/* Whether the gallery can be searched: one that is a copy may not. */
static bool stands(struct finger_request *request)
{
    const struct finger_search_copy *copy = &request->instance->copy;
    if (copy->standing) {
        copy->standing(copy->ctx, &request->standing);
    }
    return !copy->standing || request->standing.usable;
}

static bool cancelled(void *arg)
{
    struct finger_request *request = arg;
    const struct whorl_host *host = request->instance->host;
    if (!atomic_load(&request->given_up) && host->cancelled(host, request->call)) {
        atomic_store(&request->given_up, true);
    }
    return atomic_load(&request->given_up);
}

/* ------------------------------------------------------------------ searching */

static void lane_job(void *arg);

/* Starts a chain of steps per lane. The caller holds one share of lanes_left meanwhile, so that
 * lanes which end early leave the conclusion to him or to the last of them. */
static void start_lanes(struct finger_request *request);

static void conclude(struct finger_request *request)
{
    struct gallery_result result;
    struct whorl_fault fault = {{0}, {0}};
    if (cancelled(request)) {
        complete_unavailable(request, "the search was given up");
        return;
    }
    /* Asked before the end: what it then is found to be is no older than said. */
    if (!stands(request)) {
        complete_unavailable(request, request->standing.reason);
        return;
    }
    switch (gallery_search_finish(request->search, request->lanes[0].scratch, &result, &fault)) {
    case GALLERY_FINISH_AGAIN:
        start_lanes(request);
        break;
    case GALLERY_FINISH_DONE:
        complete_result(request, &result);
        break;
    case GALLERY_FINISH_CANCELLED:
        complete_unavailable(request, "the search was given up");
        break;
    case GALLERY_FINISH_FAILED:
        complete_unavailable(request, fault.text);
        break;
    }
}

static void leave_lane(struct finger_request *request)
{
    if (atomic_fetch_sub(&request->lanes_left, 1) == 1) {
        conclude(request);
    }
}

static void submit_lane(struct finger_lane *lane)
{
    const struct whorl_host *host = lane->request->instance->host;
    if (host->submit(host, lane_job, lane)) {
        return;
    }
    atomic_store(&lane->request->given_up, true);
    leave_lane(lane->request);
}

static void lane_job(void *arg)
{
    struct finger_lane *lane = arg;
    struct finger_request *request = lane->request;
    const struct whorl_host *host = request->instance->host;
    enum gallery_step step = gallery_search_step(request->search, lane->scratch);
    if (step != GALLERY_STEP_MORE) {
        leave_lane(request);
        return;
    }
    uint64_t people, of;
    gallery_search_progress(request->search, &people, &of);
    host->progress(host, request->call, "searching", of ? (double)people / (double)of : 1.0);
    submit_lane(lane);
}

static void start_lanes(struct finger_request *request)
{
    atomic_store(&request->lanes_left, request->lane_count + 1);
    for (unsigned i = 0; i < request->lane_count; i++) {
        submit_lane(&request->lanes[i]);
    }
    leave_lane(request);
}

static bool make_lanes(struct finger_request *request)
{
    const struct whorl_host *host = request->instance->host;
    request->lanes = calloc(host->workers, sizeof *request->lanes);
    if (!request->lanes) {
        return false;
    }
    for (; request->lane_count < host->workers; request->lane_count++) {
        struct finger_lane *lane = &request->lanes[request->lane_count];
        lane->request = request;
        lane->scratch = host->secret_alloc(host, gallery_search_scratch_size());
        if (!lane->scratch) {
            break;
        }
    }
    return request->lane_count > 0; /* fewer than there are workers will do */
}

static void begin_search(struct finger_request *request)
{
    struct finger_instance *instance = request->instance;
    struct whorl_fault fault = {{0}, {0}};
    bool short_of_memory = false;
    /* Whether the first stands alone shows the second, also where only one is to be shown. */
    const size_t wanted = instance->max_candidates > 2 ? instance->max_candidates : 2;
    struct gallery_search_params params = {.probes = request->probes,
                                           .probe_count = request->probe_count,
                                           .match_fpir = instance->match_fpir,
                                           .possible_fpir = instance->possible_fpir,
                                           .max_candidates = wanted,
                                           .now = time(NULL),
                                           .short_of_memory = &short_of_memory,
                                           .cancelled = cancelled,
                                           .ctx = request};
    if (cancelled(request)) {
        complete_unavailable(request, "the search was given up");
        return;
    }
    if (!stands(request)) {
        complete_unavailable(request, request->standing.reason);
        return;
    }
    short_of_memory = !make_lanes(request);
    if (!short_of_memory) {
        request->search = gallery_search_begin(instance->gallery, &params, &fault);
    }
    if (short_of_memory) {
        starve(request);
        return;
    }
    if (!request->search) {
        finger_prepare(instance);
        complete_unavailable(request, fault.text);
        return;
    }
    if (request->waited) {
        wake(instance, false); /* there may be enough for the next, too */
    }
    instance->host->progress(instance->host, request->call, "searching", 0.0);
    start_lanes(request);
}

/* ------------------------------------------------------------------ samples */

static void *secret_alloc(void *ctx, size_t size)
{
    const struct whorl_host *host = ctx;
    return host->secret_alloc(host, size);
}

static void secret_release(void *ctx, void *p, size_t size)
{
    const struct whorl_host *host = ctx;
    host->secret_free(host, p, size);
}

static enum sample_state lack_memory(struct finger_sample *sample)
{
    atomic_store(&sample->request->starved, true);
    return SAMPLE_FAILED;
}

/* Judges a decoded sample and prepares it for comparing. */
static enum sample_state prepare(struct finger_sample *sample, const struct afis_template *tmpl)
{
    const struct finger_instance *instance = sample->request->instance;
    sample->quality = tmpl->quality;
    sample->reasons = tmpl->reasons;
    sample->position = tmpl->position;
    if (!decode_usable(tmpl, decode_is_image(sample->format), instance->min_quality,
                       &sample->fault)) {
        return SAMPLE_POOR;
    }
    sample->finger = instance->host->secret_alloc(instance->host, afis_finger_size());
    if (!sample->finger) {
        return lack_memory(sample);
    }
    enum afis_status status = afis_finger_prepare(tmpl, sample->finger);
    if (status == AFIS_OK) {
        return SAMPLE_USABLE;
    }
    whorl_fail(&sample->fault, "", "%s", afis_status_text(status));
    return SAMPLE_POOR;
}

static enum sample_state decode(struct finger_sample *sample)
{
    const struct whorl_host *host = sample->request->instance->host;
    const struct afis_memory memory = {secret_alloc, secret_release, (void *)(uintptr_t)host};
    if (cancelled(sample->request)) {
        whorl_fail(&sample->fault, "", "the search was given up");
        return SAMPLE_FAILED;
    }
    struct afis_template *tmpl = host->secret_alloc(host, sizeof *tmpl);
    if (!tmpl) {
        return lack_memory(sample);
    }
    enum afis_status status = decode_finger(&sample->source, &memory, tmpl, &sample->fault);
    enum sample_state state = status == AFIS_OK          ? prepare(sample, tmpl)
                              : status == AFIS_NO_MEMORY ? lack_memory(sample)
                                                         : SAMPLE_POOR;
    host->secret_free(host, tmpl, sizeof *tmpl);
    return state;
}

/* All samples are decoded: goes on with those that can be used. */
static void leave_samples(struct finger_request *request)
{
    if (atomic_fetch_sub(&request->samples_left, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < request->sample_count; i++) {
        if (request->samples[i].state == SAMPLE_USABLE) {
            request->probes[request->probe_count++] =
                (struct gallery_probe){request->samples[i].finger, request->samples[i].position};
        }
    }
    if (atomic_load(&request->starved)) {
        starve(request);
    } else if (request->probe_count == 0) {
        complete_unusable(request);
    } else {
        begin_search(request);
    }
}

static void sample_job(void *arg)
{
    struct finger_sample *sample = arg;
    struct finger_request *request = sample->request;
    const struct whorl_host *host = request->instance->host;
    if (sample->state == SAMPLE_USABLE) {
        sample->state = decode(sample);
    }
    unsigned left = atomic_load(&request->samples_left);
    host->progress(host, request->call, "extracting",
                   1.0 - (double)left / (double)(request->sample_count + 1));
    leave_samples(request);
}

/* ------------------------------------------------------------------ the message */

enum { INDEX, MODALITY, FORMAT, POSITION, DPI, WIDTH, HEIGHT, DATA, SAMPLE_FIELDS };

static uint32_t whole(const struct whorl_field *field)
{
    return field->value ? (uint32_t)field->value->via.u64 : 0;
}

/* Reads one element of `samples`. The device's values are bounded by the protocol; what a finger
 * cannot have is the sample's fault, not the call's. */
static bool read_sample(struct finger_sample *sample, const msgpack_object *object,
                        const char *path, struct whorl_fault *fault)
{
    struct whorl_field fields[SAMPLE_FIELDS] = {
        [INDEX] = {"index", WHORL_FIELD_INT, true, 0, 1000, NULL},
        [MODALITY] = {"modality", WHORL_FIELD_STR, true, 1, 32, NULL},
        [FORMAT] = {"format", WHORL_FIELD_STR, true, 1, 32, NULL},
        [POSITION] = {"position", WHORL_FIELD_INT, false, 0, 255, NULL},
        [DPI] = {"dpi", WHORL_FIELD_INT, false, 1, 10000, NULL},
        [WIDTH] = {"width", WHORL_FIELD_INT, false, 0, 1000000, NULL},
        [HEIGHT] = {"height", WHORL_FIELD_INT, false, 0, 1000000, NULL},
        [DATA] = {"data", WHORL_FIELD_BIN, true, 1, UINT32_MAX, NULL},
    };
    if (!whorl_fields_read_lenient(object, path, fields, SAMPLE_FIELDS, fault) ||
        !whorl_str_copy(fields[FORMAT].value, sample->format, sizeof sample->format)) {
        return false;
    }
    uint32_t position = whole(&fields[POSITION]);
    sample->index = (int64_t)whole(&fields[INDEX]);
    sample->source = (struct decode_sample){
        .format = sample->format,
        .bytes = (const uint8_t *)fields[DATA].value->via.bin.ptr,
        .len = fields[DATA].value->via.bin.size,
        .dpi = whole(&fields[DPI]),
        .width = whole(&fields[WIDTH]),
        .height = whole(&fields[HEIGHT]),
        .position = (uint8_t)(position <= 10 ? position : 0),
    };
    sample->position = sample->source.position;
    if (position > 10) {
        whorl_fail(&sample->fault, "", "position %u is not a finger's (0 to 10)", position);
        sample->state = SAMPLE_POOR;
    }
    return true;
}

static bool read_message(struct finger_request *request, struct whorl_fault *fault)
{
    if (!whorl_msg_parse(request->message, request->len, &request->msg, fault)) {
        return false;
    }
    struct whorl_field fields[] = {
        {"force", WHORL_FIELD_STR, true, 1, sizeof request->force - 1, NULL},
        {"samples", WHORL_FIELD_ARRAY, true, 1, GALLERY_PROBES_MAX, NULL},
    };
    if (!whorl_fields_read_lenient(&request->msg.root, "", fields, 2, fault) ||
        !whorl_str_copy(fields[0].value, request->force, sizeof request->force)) {
        return false;
    }
    const msgpack_object_array *array = &fields[1].value->via.array;
    for (size_t i = 0; i < array->size; i++) {
        char path[24];
        snprintf(path, sizeof path, "samples[%zu]", i);
        request->samples[i].request = request;
        request->sample_count++;
        if (!read_sample(&request->samples[i], &array->ptr[i], path, fault)) {
            return false;
        }
    }
    return true;
}

/* Reads the message and gives each sample a job. */
static void read_job(void *arg)
{
    struct finger_request *request = arg;
    const struct whorl_host *host = request->instance->host;
    struct whorl_fault fault = {{0}, {0}};
    if (request->waited && cancelled(request)) {
        complete_unavailable(request, "the search was given up");
        return;
    }
    if (!read_message(request, &fault)) {
        char reason[400];
        snprintf(reason, sizeof reason, "the call could not be read: %s %s", fault.where,
                 fault.text);
        complete_unavailable(request, reason);
        return;
    }
    host->progress(host, request->call, "extracting", 0.0);
    atomic_store(&request->samples_left, (unsigned)request->sample_count + 1);
    for (size_t i = 0; i < request->sample_count; i++) {
        struct finger_sample *sample = &request->samples[i];
        if (host->submit(host, sample_job, sample)) {
            continue;
        }
        whorl_fail(&sample->fault, "", "the server is stopping");
        sample->state = SAMPLE_FAILED;
        leave_samples(request);
    }
    leave_samples(request);
}

void finger_search_call(void *arg, uint64_t call, const uint8_t *message, size_t len)
{
    struct finger_instance *instance = arg;
    const struct whorl_host *host = instance->host;
    struct finger_request *request = calloc(1, sizeof *request);
    if (!request) {
        whorl_answer_refuse(host, call, WHORL_ROLE_SEARCH, "out of memory");
        return;
    }
    request->instance = instance;
    request->call = call;
    request->message = message;
    request->len = len;
    finger_wait_enter(request);
    if (!host->submit(host, read_job, request)) {
        complete_unavailable(request, "the server is stopping");
    }
}
