/* Messages: good ones as docs/plugins.md specifies them, and every way to spoil one. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "whorl/msg.h"

enum { CUTS = 24, SPOILS = 9 };

static void pack_sample(msgpack_packer *pk, const struct kit_subject *subject,
                        const struct whorl_secret *sample)
{
    bool raw = strcmp(subject->format, "raw") == 0;
    msgpack_pack_map(pk, raw ? 8 : 6);
    whorl_put_int(pk, "index", 0);
    whorl_put_str(pk, "modality", subject->modality);
    whorl_put_str(pk, "format", subject->format);
    whorl_put_int(pk, "position", 2);
    whorl_put_int(pk, "dpi", 500);
    if (raw) {
        whorl_put_int(pk, "width", 64);
        whorl_put_int(pk, "height", (int64_t)(sample->len / 64));
    }
    whorl_put_bin(pk, "data", sample->bytes, sample->len);
}

static void pack_search(msgpack_packer *pk, const struct kit_subject *subject,
                        const struct whorl_secret *sample)
{
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, 1);
    pack_sample(pk, subject, sample);
}

static void pack_lookup(msgpack_packer *pk, const struct kit_subject *subject)
{
    whorl_put_str(pk, "officer", "KIT-1");
    whorl_put_str(pk, "reason", "conformance");
    whorl_put_key(pk, "people");
    msgpack_pack_array(pk, 2);
    msgpack_pack_map(pk, 2);
    whorl_put_key(pk, "found_for");
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "backend", "kit");
    whorl_put_str(pk, "ref", "P-1");
    whorl_put_key(pk, "identifiers");
    msgpack_pack_map(pk, 1);
    whorl_put_str(pk, subject->plugin->keys[0], "1/000001A");
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "family", "Doe");
    whorl_put_str(pk, "given", "Jo");
    whorl_put_str(pk, "born", "1990-01-31");
}

/* A record of the kind that needs the fewest fields. */
static void pack_record(msgpack_packer *pk)
{
    msgpack_sbuffer record;
    msgpack_packer inner;
    msgpack_sbuffer_init(&record);
    msgpack_packer_init(&inner, &record, msgpack_sbuffer_write);
    msgpack_pack_map(&inner, 9);
    whorl_put_int(&inner, "v", 1);
    whorl_put_str(&inner, "kind", "server");
    whorl_put_str(&inner, "time", "2026-01-31T12:00:00.000Z");
    whorl_put_str(&inner, "transaction", NULL);
    whorl_put_str(&inner, "event", "started");
    whorl_put_int(&inner, "uid", 0);
    whorl_put_str(&inner, "user", "root");
    whorl_put_str(&inner, "policy", "");
    whorl_put_str(&inner, "policy_before", NULL);
    whorl_put_key(pk, "records");
    msgpack_pack_array(pk, 1);
    msgpack_pack_bin_with_body(pk, record.data, record.size);
    msgpack_sbuffer_destroy(&record);
}

/* Whether it is set to pass its calls on. */
static bool passes_on(const struct kit_subject *subject)
{
    const struct whorl_plugin *plugin = subject->plugin;
    const struct whorl_settings *settings = subject->settings;
    for (size_t i = 0; plugin->abi_minor > 0 && i < plugin->setting_count; i++) {
        const struct whorl_setting *setting =
            (const void *)((const char *)plugin->settings + i * plugin->setting_size);
        const char *value = setting->type == WHORL_SETTING_STRING
                                ? settings->string(settings, NULL, setting->name)
                                : NULL;
        if ((setting->flags & WHORL_SETTING_SOURCE) != 0 && value) {
            return strcmp(value, WHORL_SOURCE_UPSTREAM) == 0;
        }
    }
    return false;
}

static void pack_request(msgpack_packer *pk)
{
    whorl_put_key(pk, "request");
    msgpack_pack_map(pk, 7);
    whorl_put_str(pk, "gateway", "kit");
    whorl_put_str(pk, "backend", "kit");
    whorl_put_str(pk, "officer", "KIT-1");
    whorl_put_str(pk, "basis", "consent");
    whorl_put_str(pk, "reason", "conformance");
    whorl_put_key(pk, "subject");
    msgpack_pack_map(pk, 0);
    whorl_put_key(pk, "route");
    msgpack_pack_array(pk, 0);
}

bool kit_message_good(const struct kit_subject *subject, unsigned deadline_ms,
                      struct whorl_secret *message, struct kit_asked *asked)
{
    static const char *const ops[] = {[WHORL_ROLE_SEARCH] = "search",
                                      [WHORL_ROLE_LOOKUP] = "lookup",
                                      [WHORL_ROLE_SINK] = "record"};
    uint32_t role = subject->plugin->role;
    struct whorl_secret sample = {0};
    msgpack_packer pk;
    message->len = 0;
    msgpack_packer_init(&pk, message, whorl_secret_write);
    bool request = passes_on(subject);
    msgpack_pack_map(&pk, (role == WHORL_ROLE_LOOKUP ? 7u : 5u) + (request ? 1 : 0));
    whorl_put_str(&pk, "op", ops[role]);
    whorl_put_str(&pk, "transaction", "0190b6a0-0000-7000-8000-000000000001");
    whorl_put_str(&pk, "force", "KIT");
    whorl_put_int(&pk, "deadline_ms", deadline_ms);
    if (request) {
        pack_request(&pk);
    }
    *asked = (struct kit_asked){.role = role, .intelligible = true};
    bool good = true;
    if (role == WHORL_ROLE_SEARCH) {
        good = kit_sample(subject, &sample);
        asked->sample = true;
        if (good) {
            pack_search(&pk, subject, &sample);
        }
    } else if (role == WHORL_ROLE_LOOKUP) {
        asked->backend = "kit";
        asked->ref = "P-1";
        pack_lookup(&pk, subject);
    } else {
        pack_record(&pk);
    }
    whorl_secret_release(&sample);
    return good && message->len > 0;
}

/* Values that stand where another is expected. */
static void pack_spoil(msgpack_packer *pk, struct whorl_secret *out, size_t spoil)
{
    static const char claim[] = "\xdd\xff\xff\xff\xff"; /* an array of 4,294,967,295 */
    static const char bad_text[] = "\xa3\xff\xfe\x80";  /* a str that is no UTF-8 */
    switch (spoil) {
    case 0:
        msgpack_pack_nil(pk);
        break;
    case 1:
        msgpack_pack_int64(pk, INT64_MIN);
        break;
    case 2:
        msgpack_pack_uint64(pk, UINT64_MAX);
        break;
    case 3:
        msgpack_pack_double(pk, __builtin_nan(""));
        break;
    case 4:
        msgpack_pack_str_with_body(pk, "", 0);
        break;
    case 5:
        msgpack_pack_array(pk, 0);
        break;
    case 6:
        msgpack_pack_map(pk, 0);
        break;
    case 7:
        (void)whorl_secret_write(out, bad_text, sizeof bad_text - 1);
        break;
    default:
        (void)whorl_secret_write(out, claim, sizeof claim - 1);
        break;
    }
}

/* Packs a tree again, with the node-th value in order replaced. Counts values in *at. */
struct spoiling {
    msgpack_packer pk;
    struct whorl_secret *out;
    size_t at, node, spoil;
    const char *field; /* the innermost name around the node */
    size_t field_len;
    bool top; /* the outermost map itself, or samples, people, records, data */
};

static bool essential(const char *field, size_t len)
{
    static const char *const names[] = {"samples", "people", "records", "data"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], field, len) == 0) {
            return true;
        }
    }
    return false;
}

static void respoil(struct spoiling *s, const msgpack_object *value, const char *field, size_t len,
                    unsigned depth)
{
    if (s->at++ == s->node) {
        s->field = field;
        s->field_len = len;
        s->top = depth == 0 || (essential(field, len) && value->type != MSGPACK_OBJECT_MAP);
        pack_spoil(&s->pk, s->out, s->spoil);
        return;
    }
    if (value->type == MSGPACK_OBJECT_MAP) {
        msgpack_pack_map(&s->pk, value->via.map.size);
        for (uint32_t i = 0; i < value->via.map.size; i++) {
            const msgpack_object_kv *pair = &value->via.map.ptr[i];
            msgpack_pack_object(&s->pk, pair->key);
            respoil(s, &pair->val, pair->key.via.str.ptr, pair->key.via.str.size, depth + 1);
        }
    } else if (value->type == MSGPACK_OBJECT_ARRAY) {
        msgpack_pack_array(&s->pk, value->via.array.size);
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            respoil(s, &value->via.array.ptr[i], field, len, depth + 1);
        }
    } else {
        msgpack_pack_object(&s->pk, *value);
    }
}

static bool replaced(const struct whorl_secret *good, size_t index, struct whorl_secret *message,
                     struct kit_asked *asked, char name[128])
{
    struct whorl_fault fault;
    struct whorl_msg msg;
    struct spoiling s = {.out = message, .node = index / SPOILS, .spoil = index % SPOILS};
    if (!whorl_msg_parse(good->bytes, good->len, &msg, &fault)) {
        return false;
    }
    message->len = 0;
    msgpack_packer_init(&s.pk, message, whorl_secret_write);
    respoil(&s, &msg.root, "message", 7, 0);
    snprintf(name, 128, "%.*s is replaced by something else (%zu)", (int)s.field_len,
             s.field ? s.field : "", s.spoil);
    whorl_msg_release(&msg);
    /* Which other fields a plugin needs is its own business; these it can't do without. Broken
     * msgpack (8 claims what is not there) can't be understood at all; any bytes are data (7). */
    bool text = s.spoil == 7 && s.field_len == 4 && memcmp(s.field, "data", 4) == 0;
    asked->intelligible = (!s.top && s.spoil != 8) || text;
    return s.at > s.node;
}

/* Things that are wrong with the message as a whole. */
static bool odd(const struct whorl_secret *good, size_t index, struct whorl_secret *message,
                struct kit_asked *asked, char name[128])
{
    msgpack_packer pk;
    message->len = 0;
    msgpack_packer_init(&pk, message, whorl_secret_write);
    asked->intelligible = false;
    if (index < CUTS) {
        size_t len = good->len * index / CUTS;
        snprintf(name, 128, "it ends after %zu of its %zu bytes", len, good->len);
        return whorl_secret_write(message, (const char *)good->bytes, len > 0 ? len : 1) == 0;
    }
    if (index == CUTS) {
        snprintf(name, 128, "10,000 arrays stand inside one another");
        for (size_t i = 0; i < 10000; i++) {
            msgpack_pack_array(&pk, 1);
        }
        msgpack_pack_nil(&pk);
        return true;
    }
    if (index == CUTS + 1) {
        snprintf(name, 128, "bytes follow its end");
        (void)whorl_secret_write(message, (const char *)good->bytes, good->len);
        return whorl_secret_write(message, "\xc0\xc0", 2) == 0;
    }
    if (index == CUTS + 2) {
        snprintf(name, 128, "its operation is unknown");
        msgpack_pack_map(&pk, 1);
        whorl_put_str(&pk, "op", "dance");
        return true;
    }
    return false;
}

bool kit_message_spoilt(const struct kit_subject *subject, size_t index,
                        struct whorl_secret *message, struct kit_asked *asked, char name[128])
{
    struct whorl_secret good = {0};
    bool there = kit_message_good(subject, 5000, &good, asked);
    if (there && index < CUTS + 3) {
        there = odd(&good, index, message, asked, name);
    } else if (there) {
        there = replaced(&good, index - (CUTS + 3), message, asked, name);
    }
    whorl_secret_release(&good);
    return there;
}
