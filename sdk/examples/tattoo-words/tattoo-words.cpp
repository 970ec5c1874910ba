// tattoo-words: a search backend for Whorl in C++17, with a modality of its own. An officer
// describes a tattoo in words; whose tattoos share telling words with it is a candidate. Words
// never identify anybody: the answer is `possible` at best.
#include <algorithm>
#include <exception>
#include <memory>
#include <new>

#include "tattoos.hpp"
#include "whorl/answer.h"
#include "whorl/msg.h"
#include "whorl/plugin.h"
#include "whorl/secret.h"

namespace
{

constexpr std::size_t samples_max = 20, sample_max = 2000, candidates_max = 20;

struct Instance {
    const whorl_host *host;
    Tattoos tattoos; // never changes: another file is another instance
    double possible_db;
};

// One call on its way. The message is the host's until the call is completed.
struct Search {
    Instance *instance;
    std::uint64_t call;
    const std::uint8_t *message;
    std::size_t len;
};

// No exception may pass the ABI: each function that the host calls catches all.

int check(const whorl_settings *settings, whorl_fault *fault)
{
    try {
        Tattoos(settings->string(settings, nullptr, "records"));
        return 0;
    } catch (const std::exception &wrong) {
        whorl_fail(fault, "records", "%s", wrong.what());
        return -1;
    }
}

int start(const whorl_host *host, void **out, whorl_fault *fault)
{
    const whorl_settings *settings = host->settings;
    try {
        *out = new Instance{host, Tattoos(settings->string(settings, nullptr, "records")),
                            settings->real(settings, nullptr, "possible_db")};
        return 0;
    } catch (const std::exception &wrong) {
        whorl_fail(fault, "records", "%s", wrong.what());
        return -1;
    }
}

void stop(void *instance)
{
    delete static_cast<Instance *>(instance);
}

// An answer; what is packed when memory runs out is never sent (whorl/answer.h).
class Answer
{
  public:
    Answer()
    {
        whorl_answer_begin(&answer_);
    }
    ~Answer()
    {
        whorl_answer_drop(&answer_);
    }
    Answer(const Answer &) = delete;
    Answer &operator=(const Answer &) = delete;

    msgpack_packer *pk()
    {
        return &answer_.pk;
    }
    void give(const Search &search)
    {
        whorl_answer_give(&answer_, search.instance->host, search.call, WHORL_ROLE_SEARCH);
    }

  private:
    whorl_answer answer_;
};

void finish_without(const Search &search, const char *what, const char *reason)
{
    Answer answer;
    msgpack_pack_map(answer.pk(), 2);
    whorl_put_str(answer.pk(), "class", what);
    whorl_put_str(answer.pk(), "reason", reason);
    answer.give(search);
}

void put_candidate(msgpack_packer *pk, const Tattoo &tattoo, double score)
{
    bool pncid = !tattoo.pncid.empty(), born = !tattoo.born.empty();
    msgpack_pack_map(pk, 5u + born);
    whorl_put_str(pk, "ref", tattoo.reference.c_str());
    whorl_put_real(pk, "score", score);
    whorl_put_key(pk, "identifiers"); // what look-ups find the person by
    msgpack_pack_map(pk, pncid ? 1 : 0);
    if (pncid) {
        whorl_put_str(pk, "pncid", tattoo.pncid.c_str());
    }
    whorl_put_key(pk, "names");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 2);
    whorl_put_str(pk, "family", tattoo.family.c_str());
    whorl_put_str(pk, "given", tattoo.given.c_str());
    if (born) {
        whorl_put_str(pk, "born", tattoo.born.c_str());
    }
    whorl_put_key(pk, "details");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 3);
    whorl_put_str(pk, "label", "Tattoo");
    whorl_put_str(pk, "value", tattoo.words.c_str());
    whorl_put_str(pk, "level", "info");
}

void finish_found(const Search &search, const std::vector<Scored> &found)
{
    const Tattoos &tattoos = search.instance->tattoos;
    auto end = std::find_if(found.begin(), found.end(), [&](const Scored &one) {
        return one.score < search.instance->possible_db;
    });
    auto count = std::min(static_cast<std::size_t>(end - found.begin()), candidates_max);
    Answer answer;
    msgpack_pack_map(answer.pk(), count > 0 ? 3 : 2);
    whorl_put_str(answer.pk(), "class", count > 0 ? "possible" : "no_match");
    if (count > 0) {
        whorl_put_key(answer.pk(), "candidates");
        msgpack_pack_array(answer.pk(), count);
    }
    for (std::size_t i = 0; i < count; i++) {
        put_candidate(answer.pk(), tattoos.at(found[i].tattoo), found[i].score);
    }
    whorl_put_key(answer.pk(), "searched");
    msgpack_pack_map(answer.pk(), 2);
    whorl_put_int(answer.pk(), "people", static_cast<std::int64_t>(tattoos.size()));
    whorl_put_int(answer.pk(), "of", static_cast<std::int64_t>(tattoos.size()));
    answer.give(search);
}

struct MessageDeleter {
    void operator()(whorl_msg *message) const
    {
        whorl_msg_release(message);
    }
};

// The words of one sample. The host has checked its modality and format, not what it holds.
bool read_words(const msgpack_object &sample, Query &query)
{
    whorl_field data = {"data", WHORL_FIELD_BIN, true, 1, sample_max, nullptr};
    if (!whorl_fields_read_lenient(&sample, "samples", &data, 1, nullptr)) {
        return false;
    }
    const msgpack_object_bin &bytes = data.value->via.bin;
    return whorl_text_is_clean(bytes.ptr, bytes.size) &&
           query.read(std::string_view(bytes.ptr, bytes.size));
}

// Several samples are several tattoos: each known one counts by the sample that fits it best.
void search_all(const Search &search, const msgpack_object_array &samples)
{
    const Tattoos &tattoos = search.instance->tattoos;
    std::map<std::uint32_t, double> bests;
    for (std::uint32_t i = 0; i < samples.size; i++) {
        Query query;
        if (!read_words(samples.ptr[i], query)) {
            finish_without(search, "poor_quality",
                           "a sample is no text of 1 to 32 words, each of up to 32 bytes");
            return;
        }
        if (search.instance->host->cancelled(search.instance->host, search.call)) {
            finish_without(search, "unavailable", "the search was given up");
            return;
        }
        for (const Scored &one : tattoos.search(query)) {
            double &best = bests[one.tattoo];
            best = std::max(best, one.score);
        }
    }
    std::vector<Scored> found;
    for (auto [tattoo, score] : bests) {
        found.push_back({tattoo, score});
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Scored &a, const Scored &b) { return a.score > b.score; });
    finish_found(search, found);
}

// A worker's thread.
void work(void *arg)
{
    std::unique_ptr<Search> search(static_cast<Search *>(arg));
    whorl_msg message;
    if (!whorl_msg_parse(search->message, search->len, &message, nullptr)) {
        finish_without(*search, "unavailable", "the call's message could not be read");
        return;
    }
    std::unique_ptr<whorl_msg, MessageDeleter> release(&message);
    whorl_field samples = {"samples", WHORL_FIELD_ARRAY, true, 1, samples_max, nullptr};
    if (!whorl_fields_read_lenient(&message.root, "", &samples, 1, nullptr)) {
        finish_without(*search, "not_searched", "no sample that can be read");
        return;
    }
    try {
        search_all(*search, samples.value->via.array);
    } catch (const std::exception &) { // memory, the one thing that can be short here
        whorl_answer_refuse(search->instance->host, search->call, WHORL_ROLE_SEARCH,
                            "out of memory");
    }
    whorl_secret_forget();
}

// The loop's thread: must not wait.
void call(void *arg, std::uint64_t id, const std::uint8_t *message, std::size_t len)
{
    auto *instance = static_cast<Instance *>(arg);
    auto *search = new (std::nothrow) Search{instance, id, message, len};
    if (search == nullptr) {
        whorl_answer_refuse(instance->host, id, WHORL_ROLE_SEARCH, "out of memory");
    } else if (!instance->host->submit(instance->host, work, search)) {
        finish_without(*search, "unavailable", "the server is stopping");
        delete search;
    }
}

constexpr const char *modalities[] = {"tattoo", nullptr};
constexpr const char *formats[] = {"words", nullptr};

constexpr whorl_setting settings[] = {
    {"records", WHORL_SETTING_STRING, WHORL_SETTING_REQUIRED | WHORL_SETTING_PATH, nullptr, 0, 0,
     "the CSV file of tattoos, read once: give a new one a new name, and reload"},
    {"possible_db", WHORL_SETTING_REAL, 0, "10", 0.1, 1000,
     "from which score on, in dB, a candidate is shown: 10 is a word that every tenth tattoo has"},
};

} // namespace

extern "C" {
extern WHORL_EXPORT const whorl_plugin whorl_plugin;
const struct whorl_plugin whorl_plugin = {
    WHORL_PLUGIN_MAGIC,
    WHORL_ABI_MAJOR,
    WHORL_ABI_MINOR,
    sizeof(struct whorl_plugin),
    sizeof(struct whorl_setting),
    "1.0",               // version
    "Tattoos, by words", // title
    WHORL_ROLE_SEARCH,
    0, // flags
    modalities,
    formats,
    nullptr, // keys: a look-up's
    nullptr, // entitlement
    settings,
    sizeof settings / sizeof settings[0],
    check,
    start,
    call,
    nullptr, // cancel: the search asks host->cancelled
    stop,
    nullptr, // extension
};
}
