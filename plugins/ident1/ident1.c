/* IDENT1: criminal fingerprints. A candidate shows who it is and what leads to further records. */
#include "gallery/decode.h"
#include "gallery/finger_search.h"
#include "plugins/source/search.h"
#include "whorl/msg.h"

static void pack_details(msgpack_packer *pk, const struct gallery_person *person)
{
    bool sex = person->sex[0] != '\0';
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, person->detail_count + sex);
    if (sex) {
        finger_search_pack_detail(pk, "sex", person->sex, "info");
    }
    for (size_t i = 0; i < person->detail_count; i++) {
        finger_search_pack_detail(pk, person->details[i].label, person->details[i].value,
                                  person->details[i].level);
    }
}

static void pack_candidate(msgpack_packer *pk, const struct gallery_person *person, float score,
                           const struct whorl_settings *settings, const char *force)
{
    (void)settings;
    (void)force;
    bool born = person->born[0] != '\0';
    msgpack_pack_map(pk, 5u + born);
    whorl_put_str(pk, "ref", person->id);
    whorl_put_real(pk, "score", (double)score);
    finger_search_pack_identifiers(pk, person);
    finger_search_pack_names(pk, person);
    if (born) {
        whorl_put_str(pk, "born", person->born);
    }
    pack_details(pk, person);
}

static const struct finger_search_kind kind = {.candidate = pack_candidate};

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    return source_search_start(host, &kind, instance, fault);
}

static const struct whorl_setting settings[] = {SOURCE_SEARCH_SETTINGS};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Criminal fingerprints (IDENT1)",
    .role = WHORL_ROLE_SEARCH,
    .modalities = finger_search_modalities,
    .formats = finger_search_formats,
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = source_search_check,
    .start = start,
    .call = source_search_call,
    .cancel = source_search_cancel,
    .stop = source_search_stop,
};
