/* Immigration fingerprints. A candidate shows a reference and whom to contact, and nothing else: a
 * match says that the person has an immigration history, which any visa gives. */
#include <string.h>

#include "gallery/decode.h"
#include "gallery/finger_search.h"
#include "plugins/source/search.h"
#include "whorl/msg.h"

/* The reference under which the Home Office finds the person; the gallery's own id where the
 * record has none. */
static const char *reference_of(const struct gallery_person *person)
{
    for (size_t i = 0; i < person->identifier_count; i++) {
        if (strcmp(person->identifiers[i].key, "reference") == 0) {
            return person->identifiers[i].value;
        }
    }
    return person->id;
}

static void pack_candidate(msgpack_packer *pk, const struct gallery_person *person, float score,
                           const struct whorl_settings *settings, const char *force)
{
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "ref", reference_of(person));
    whorl_put_real(pk, "score", (double)score);
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, 2);
    finger_search_pack_detail(pk, "meaning",
                              "This person has an immigration history, as anyone has who was "
                              "granted a visa. It is not an offence",
                              "info");
    finger_search_pack_detail(pk, "contact", settings->string(settings, force, "contact"), "info");
}

static const struct finger_search_kind kind = {.candidate = pack_candidate};

static int start(const struct whorl_host *host, void **instance, struct whorl_fault *fault)
{
    return source_search_start(host, &kind, instance, fault);
}

static const struct whorl_setting settings[] = {
    SOURCE_SEARCH_SETTINGS,
    {"contact", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED | WHORL_SETTING_PER_FORCE, NULL, 1,
     200, "whom an officer contacts about a candidate, quoting the reference"},
};

WHORL_EXPORT extern const struct whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    .magic = WHORL_PLUGIN_MAGIC,
    .abi_major = WHORL_ABI_MAJOR,
    .abi_minor = WHORL_ABI_MINOR,
    .size = sizeof(struct whorl_plugin),
    .setting_size = sizeof(struct whorl_setting),
    .version = "1.0",
    .title = "Immigration fingerprints",
    .role = WHORL_ROLE_SEARCH,
    .modalities = finger_search_modalities,
    .formats = finger_search_formats,
    .entitlement = "immigration",
    .settings = settings,
    .setting_count = sizeof settings / sizeof settings[0],
    .check = source_search_check,
    .start = start,
    .call = source_search_call,
    .cancel = source_search_cancel,
    .stop = source_search_stop,
};
