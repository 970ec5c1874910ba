/* What goes to a backend: only what it needs for its part. */
#include <string.h>

#include "core/identify/internal.h"

static bool listed(const char *const *list, const char *text)
{
    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, text) == 0) {
            return true;
        }
    }
    return false;
}

uint32_t message_samples(const struct decoded_identify *request,
                         const struct whorl_plugin *descriptor)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < request->sample_count; i++) {
        if (listed(descriptor->modalities, request->samples[i].modality) &&
            listed(descriptor->formats, request->samples[i].format)) {
            mask |= 1u << i;
        }
    }
    return mask;
}

/* The texts of a map that are there, under their names. */
struct text {
    const char *name, *value;
};

static size_t count_texts(const struct text *texts, size_t count)
{
    size_t there = 0;
    for (size_t i = 0; i < count; i++) {
        there += texts[i].value[0] != '\0' ? 1 : 0;
    }
    return there;
}

static void put_texts(msgpack_packer *pk, const struct text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i].value[0] != '\0') {
            whorl_put_str(pk, texts[i].name, texts[i].value);
        }
    }
}

static void put_subject(msgpack_packer *pk, const struct decoded_identify *request)
{
    const struct decoded_subject *subject = &request->subject;
    const struct text texts[] = {
        {"condition", request->condition_given ? subject->condition : ""},
        {"family", subject->family},
        {"given", subject->given},
        {"born", subject->born},
        {"gender", subject->gender},
        {"age_band", subject->age_band},
        {"ethnicity_officer", subject->ethnicity_officer},
        {"ethnicity_self", subject->ethnicity_self},
    };
    whorl_put_key(pk, "subject");
    msgpack_pack_map(pk, count_texts(texts, sizeof texts / sizeof *texts));
    put_texts(pk, texts, sizeof texts / sizeof *texts);
}

/* Who asks and why, as the device said it: for a backend that asks another gateway. */
static void put_request(msgpack_packer *pk, const struct check *check)
{
    const struct flow *flow = check->flow;
    const struct decoded_identify *request = &flow->request;
    const struct text texts[] = {
        {"gateway", flow->setup->conf->core.gateway},
        {"backend", check->plugin->conf->name},
        {"officer", flow->who.officer.id},
        {"basis", request->basis},
        {"stop_power", request->stop_power},
        {"reason", request->reason},
        {"consent", request->consent_given ? request->consent : ""},
    };
    bool code = request->reason_code != DECODE_ABSENT;
    whorl_put_key(pk, "request");
    msgpack_pack_map(pk, count_texts(texts, sizeof texts / sizeof *texts) + (code ? 3 : 2));
    put_texts(pk, texts, sizeof texts / sizeof *texts);
    if (code) {
        whorl_put_int(pk, "reason_code", request->reason_code);
    }
    put_subject(pk, request);
    whorl_put_key(pk, "route");
    msgpack_pack_array(pk, request->route_count);
    for (size_t i = 0; i < request->route_count; i++) {
        msgpack_pack_str_with_body(pk, request->route[i], strlen(request->route[i]));
    }
}

/* A map of so many fields more than these: four, and where calls are passed on `request`. */
static void head(msgpack_packer *pk, const struct check *check, const char *op,
                 uint64_t deadline_ms, size_t more)
{
    bool passes_on = check->plugin->conf->passes_on;
    msgpack_pack_map(pk, 4 + more + (passes_on ? 1u : 0u));
    whorl_put_str(pk, "op", op);
    whorl_put_str(pk, "transaction", check->flow->transaction);
    whorl_put_str(pk, "force", check->flow->who.force->code);
    whorl_put_int(pk, "deadline_ms", (int64_t)deadline_ms);
    if (passes_on) {
        put_request(pk, check);
    }
}

static void pack_sample(msgpack_packer *pk, const struct decoded_sample *sample, size_t index)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"position", sample->position},
                   {"dpi", sample->dpi},
                   {"width", sample->width},
                   {"height", sample->height}};
    size_t count = 4;
    for (size_t i = 0; i < 4; i++) {
        count += numbers[i].value != DECODE_ABSENT ? 1 : 0;
    }
    msgpack_pack_map(pk, count);
    whorl_put_int(pk, "index", (int64_t)index);
    whorl_put_str(pk, "modality", sample->modality);
    whorl_put_str(pk, "format", sample->format);
    for (size_t i = 0; i < 4; i++) {
        if (numbers[i].value != DECODE_ABSENT) {
            whorl_put_int(pk, numbers[i].name, numbers[i].value);
        }
    }
    whorl_put_bin(pk, "data", sample->data, sample->len);
}

/* A packer's write that remembers a failure: msgpack-c's own helpers drop its return value. */
struct guarded {
    struct whorl_secret *secret;
    bool failed;
};

static int guarded_write(void *data, const char *bytes, size_t len)
{
    struct guarded *guarded = data;
    if (!guarded->failed && whorl_secret_write(guarded->secret, bytes, len) != 0) {
        guarded->failed = true;
    }
    return guarded->failed ? -1 : 0;
}

bool message_search(const struct check *check, uint64_t deadline_ms, struct whorl_secret *message)
{
    const struct decoded_identify *request = &check->flow->request;
    size_t room = check->plugin->conf->passes_on ? 2048 : 256;
    size_t count = 0;
    for (size_t i = 0; i < request->sample_count; i++) {
        if ((check->samples >> i & 1u) != 0) {
            room += request->samples[i].len + 256;
            count++;
        }
    }
    struct guarded guarded = {.secret = message};
    if (!whorl_secret_reserve(message, room)) {
        return false;
    }
    msgpack_packer pk;
    msgpack_packer_init(&pk, &guarded, guarded_write);
    head(&pk, check, "search", deadline_ms, 1);
    whorl_put_key(&pk, "samples");
    msgpack_pack_array(&pk, count);
    for (size_t i = 0; i < request->sample_count; i++) {
        if ((check->samples >> i & 1u) != 0) {
            pack_sample(&pk, &request->samples[i], i);
        }
    }
    return !guarded.failed;
}

/* Whether the map has an identifier that the backend can find a record by. */
static bool has_key(const msgpack_object *identifiers, const char *const *keys)
{
    for (const char *const *key = keys; key != NULL && *key != NULL; key++) {
        if (whorl_map_get(identifiers, *key) != NULL) {
            return true;
        }
    }
    return false;
}

static void add_person(struct check *check, const struct person *person)
{
    if (check->people_count < ANSWER_PEOPLE_MAX) {
        check->people[check->people_count++] = *person;
    } else {
        check->people_left++;
    }
}

/* The candidate of this rank of a search, if there is one, and the backend has a key to find them
 * by. Without one there is nothing of theirs to look up. */
static void person_of(struct check *check, const struct check *search, uint32_t rank)
{
    const msgpack_object *list = search->answer.candidates;
    if (list == NULL || rank >= list->via.array.size) {
        return;
    }
    const msgpack_object *candidate = &list->via.array.ptr[rank];
    const msgpack_object *identifiers = whorl_map_get(candidate, "identifiers");
    const msgpack_object *ref = whorl_map_get(candidate, "ref");
    if (has_key(identifiers, check->plugin->descriptor->keys)) {
        add_person(check, &(struct person){.backend = search->plugin->conf->name,
                                           .ref = ref->via.str.ptr,
                                           .ref_len = ref->via.str.size,
                                           .identifiers = identifiers});
    }
}

/* Whom the searches found, the best of each first, lest one leaves the others no room. */
static void people_found(struct check *check)
{
    const struct flow *flow = check->flow;
    for (uint32_t rank = 0; rank < ANSWER_CANDIDATES_MAX; rank++) {
        for (size_t i = 0; i < flow->check_count; i++) {
            const struct check *other = &flow->checks[i];
            if (other->plugin->descriptor != NULL &&
                other->plugin->descriptor->role == WHORL_ROLE_SEARCH) {
                person_of(check, other, rank);
            }
        }
    }
}

/* Those whom a gateway names; false: it names none. It has named those alone whom it wants to know
 * about, so that one without a key for this backend is left. */
static bool people_named(struct check *check)
{
    const struct people *named = &check->flow->request.people;
    const char *const *keys = check->plugin->descriptor->keys;
    for (size_t i = 0; i < named->count; i++) {
        struct person person = people_at(named, i);
        if (person.identifiers != NULL ? has_key(person.identifiers, keys) : listed(keys, "name")) {
            add_person(check, &person);
        } else {
            check->people_left++;
        }
    }
    return named->count > 0;
}

/* The name claimed is worth a look-up by this backend. */
static bool claims_name(const struct check *check)
{
    return check->flow->request.subject.family[0] != '\0' &&
           listed(check->plugin->descriptor->keys, "name");
}

bool message_asks_anyway(const struct check *check)
{
    return check->flow->request.people.count > 0 || claims_name(check);
}

void message_people(struct check *check)
{
    check->people_count = check->people_left = 0;
    if (people_named(check)) {
        return;
    }
    people_found(check);
    const struct decoded_subject *claimed = &check->flow->request.subject;
    if (check->people_count == 0 && claims_name(check)) {
        check->people[check->people_count++] =
            (struct person){.family = claimed->family,
                            .given = claimed->given[0] != '\0' ? claimed->given : NULL,
                            .born = claimed->born[0] != '\0' ? claimed->born : NULL};
    }
}

/* The identifiers that the backend declared, no others. */
static void pack_identifiers(msgpack_packer *pk, const msgpack_object *identifiers,
                             const char *const *keys)
{
    size_t count = 0;
    for (const char *const *key = keys; *key != NULL; key++) {
        count += whorl_map_get(identifiers, *key) != NULL ? 1 : 0;
    }
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, count);
    for (const char *const *key = keys; *key != NULL; key++) {
        const msgpack_object *value = whorl_map_get(identifiers, *key);
        if (value != NULL) {
            whorl_put_object(pk, *key, value);
        }
    }
}

void message_person(msgpack_packer *pk, const struct person *person, const char *const *keys)
{
    if (person->identifiers == NULL) {
        msgpack_pack_map(pk,
                         1 + (person->given != NULL ? 1u : 0u) + (person->born != NULL ? 1u : 0u));
        whorl_put_str(pk, "family", person->family);
        if (person->given != NULL) {
            whorl_put_str(pk, "given", person->given);
        }
        if (person->born != NULL) {
            whorl_put_str(pk, "born", person->born);
        }
        return;
    }
    msgpack_pack_map(pk, 2);
    whorl_put_key(pk, "found_for");
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "backend", person->backend);
    whorl_put_key(pk, "ref");
    msgpack_pack_str_with_body(pk, person->ref, person->ref_len);
    pack_identifiers(pk, person->identifiers, keys);
}

bool message_lookup(const struct check *check, uint64_t deadline_ms, struct whorl_secret *message)
{
    const struct flow *flow = check->flow;
    const struct decoded_identify *request = &flow->request;
    struct guarded guarded = {.secret = message};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &guarded, guarded_write);
    bool reason = request->reason[0] != '\0';
    bool code = request->reason_code != DECODE_ABSENT;
    head(&pk, check, "lookup", deadline_ms, 2 + (reason ? 1u : 0u) + (code ? 1u : 0u));
    whorl_put_str(&pk, "officer", flow->who.officer.id);
    if (reason) {
        whorl_put_str(&pk, "reason", request->reason);
    }
    if (code) {
        whorl_put_int(&pk, "reason_code", request->reason_code);
    }
    whorl_put_key(&pk, "people");
    msgpack_pack_array(&pk, check->people_count);
    for (size_t i = 0; i < check->people_count; i++) {
        message_person(&pk, &check->people[i], check->plugin->descriptor->keys);
    }
    return !guarded.failed;
}
