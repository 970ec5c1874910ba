/* whorl identify: a complete device. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/device/device_args.h"
#include "cli/device/screen.h"
#include "cli/print/file.h"

enum { MAX_SAMPLES = 20, MAX_CHECKS = 16 };

enum {
    OPT_OFFICER = 0x100,
    OPT_FINGER,
    OPT_FACE,
    OPT_SAMPLE,
    OPT_DPI,
    OPT_SIZE,
    OPT_BASIS,
    OPT_STOP,
    OPT_REASON,
    OPT_CODE,
    OPT_CONSENT,
    OPT_CONDITION,
    OPT_FAMILY,
    OPT_GIVEN,
    OPT_BORN,
    OPT_GENDER,
    OPT_AGE,
    OPT_ETHNICITY,
    OPT_ETHNICITY_SELF,
    OPT_CHECKS,
    OPT_CONTINUES,
    OPT_REQUEST,
    OPT_JSON
};

static const struct argp_option options_list[] = {
    {"officer", OPT_OFFICER, "ID", 0, "Who asks", 2},
    {"finger", OPT_FINGER, "POSITION=FILE", 0,
     "A scan: ISO finger position 1 to 10 (2 right index, 7 left index; 0 unknown) and a PNG "
     "image, "
     "ISO/IEC 19794-2 record or, with --size, raw pixels. May be repeated",
     2},
    {"face", OPT_FACE, "FILE", 0, "A photograph (PNG)", 2},
    {"sample", OPT_SAMPLE, "MODALITY:FORMAT:FILE", 0,
     "A sample of any other kind, sent as it is; `whorl capabilities` says what backends take", 2},
    {"dpi", OPT_DPI, "N", 0, "Resolution of the images (default 500)", 2},
    {"size", OPT_SIZE, "WIDTHxHEIGHT", 0, "Size of raw images, 8-bit grey", 2},
    {"basis", OPT_BASIS, "NAME", 0, "Legal basis of the check; `whorl capabilities` lists them", 3},
    {"stop-power", OPT_STOP, "NAME", 0, "Power under which the person was stopped", 3},
    {"reason", OPT_REASON, "TEXT", 0, "Why, in the officer's words (3 to 250 characters)", 3},
    {"reason-code", OPT_CODE, "0-9", 0, "PNC reason code", 3},
    {"consent", OPT_CONSENT, "WORD", 0,
     "given, given_by_guardian, refused, not_asked (default) or unable", 3},
    {"condition", OPT_CONDITION, "WORD", 0, "adult (default), child, unconscious or deceased", 4},
    {"family", OPT_FAMILY, "NAME", 0, "Family name as claimed", 4},
    {"given", OPT_GIVEN, "NAME", 0, "Given names as claimed", 4},
    {"born", OPT_BORN, "YYYY-MM-DD", 0, "Date of birth as claimed", 4},
    {"gender", OPT_GENDER, "WORD", 0, "male, female, other or unknown", 4},
    {"age-band", OPT_AGE, "BAND", 0, "0-9, 10-17, 18-24, 25-34, 35-49, 50-64 or 65+", 4},
    {"ethnicity", OPT_ETHNICITY, "0-6", 0, "As defined by the officer", 4},
    {"ethnicity-self", OPT_ETHNICITY_SELF, "CODE", 0, "As defined by the person (W1 to NS)", 4},
    {"checks", OPT_CHECKS, "NAME,NAME…", 0, "Backends wanted; left out: all that are allowed", 5},
    {"continues", OPT_CONTINUES, "TRANSACTION", 0, "The transaction that this scans again for", 5},
    {"request-id", OPT_REQUEST, "ID", 0, "Repeat an earlier request; left out: a new one", 5},
    {"json", OPT_JSON, 0, 0, "Print the server's answer as JSON", 6},
    {0},
};

struct sample {
    const char *modality, *file;
    const char *format; /* NULL: an image or a record of minutiae; its first bytes say which */
    int position;
};

struct request {
    struct device_args server;
    const char *officer, *basis, *stop_power, *reason, *consent, *checks, *continues;
    const char *condition, *family, *given, *born, *gender, *age_band, *ethnicity, *ethnicity_self;
    char request_id[65];
    long reason_code, dpi, width, height; /* reason_code -1: none */
    struct sample samples[MAX_SAMPLES];
    size_t sample_count;
    bool json;
};

static long parse_number(struct argp_state *state, const char *option, const char *arg, long min,
                         long max)
{
    char *end;
    errno = 0;
    long n = strtol(arg, &end, 10);
    if (errno || end == arg || *end || n < min || n > max) {
        argp_error(state, "--%s: expected %ld to %ld, found \"%s\"", option, min, max, arg);
    }
    return n;
}

static void add_sample(struct argp_state *state, struct request *r, const char *modality, char *arg)
{
    if (r->sample_count == MAX_SAMPLES) {
        argp_error(state, "more than %d samples", MAX_SAMPLES);
        return;
    }
    r->samples[r->sample_count++] = (struct sample){.modality = modality, .file = arg};
}

/* --finger POSITION=FILE */
static void add_finger(struct argp_state *state, struct request *r, char *arg)
{
    char *equals = strchr(arg, '=');
    if (!equals || !equals[1]) {
        argp_error(state, "--finger: expected POSITION=FILE, found \"%s\"", arg);
        return;
    }
    *equals = '\0';
    int position = (int)parse_number(state, "finger", arg, 0, 10);
    add_sample(state, r, "finger", equals + 1);
    r->samples[r->sample_count - 1].position = position;
}

/* --sample MODALITY:FORMAT:FILE */
static void add_other(struct argp_state *state, struct request *r, char *arg)
{
    char *rest = arg;
    const char *modality = strsep(&rest, ":"), *format = strsep(&rest, ":");
    if (!format || !rest || !*modality || !*format || !*rest) {
        argp_error(state, "--sample: expected MODALITY:FORMAT:FILE");
        return;
    }
    add_sample(state, r, modality, rest);
    r->samples[r->sample_count - 1].format = format;
}

static void parse_size(struct argp_state *state, struct request *r, char *arg)
{
    char *x = strchr(arg, 'x');
    if (!x) {
        argp_error(state, "--size: expected WIDTHxHEIGHT, found \"%s\"", arg);
        return;
    }
    *x = '\0';
    r->width = parse_number(state, "size", arg, 1, 1000000);
    r->height = parse_number(state, "size", x + 1, 1, 1000000);
}

/* Where a plain text option goes; NULL for other options. */
static const char **text_option(struct request *r, int key)
{
    switch (key) {
    case OPT_OFFICER:
        return &r->officer;
    case OPT_BASIS:
        return &r->basis;
    case OPT_STOP:
        return &r->stop_power;
    case OPT_REASON:
        return &r->reason;
    case OPT_CONSENT:
        return &r->consent;
    case OPT_CONDITION:
        return &r->condition;
    case OPT_FAMILY:
        return &r->family;
    case OPT_GIVEN:
        return &r->given;
    case OPT_BORN:
        return &r->born;
    case OPT_GENDER:
        return &r->gender;
    case OPT_AGE:
        return &r->age_band;
    case OPT_ETHNICITY:
        return &r->ethnicity;
    case OPT_ETHNICITY_SELF:
        return &r->ethnicity_self;
    case OPT_CHECKS:
        return &r->checks;
    case OPT_CONTINUES:
        return &r->continues;
    default:
        return NULL;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct request *r = state->input;
    const char **text = text_option(r, key);
    if (text) {
        *text = arg;
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->server;
        return 0;
    case OPT_FINGER:
        add_finger(state, r, arg);
        return 0;
    case OPT_FACE:
        add_sample(state, r, "face", arg);
        return 0;
    case OPT_SAMPLE:
        add_other(state, r, arg);
        return 0;
    case OPT_DPI:
        r->dpi = parse_number(state, "dpi", arg, 1, 10000);
        return 0;
    case OPT_SIZE:
        parse_size(state, r, arg);
        return 0;
    case OPT_CODE:
        r->reason_code = parse_number(state, "reason-code", arg, 0, 9);
        return 0;
    case OPT_REQUEST:
        if (strlen(arg) < 8 || strlen(arg) >= sizeof r->request_id) {
            argp_error(state, "--request-id: expected 8 to 64 characters");
        }
        snprintf(r->request_id, sizeof r->request_id, "%s", arg);
        return 0;
    case OPT_JSON:
        r->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!r->officer || !r->basis) {
            argp_error(state, "--%s is missing", r->officer ? "basis" : "officer");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *format_of(const struct whorl_secret *bytes, bool raw)
{
    if (raw) {
        return "raw";
    }
    if (file_is_minutiae_record(bytes)) {
        return "iso19794-2";
    }
    if (file_is_wsq(bytes)) {
        return "wsq";
    }
    return "png"; /* whatever else it is, the server says what is wrong with it */
}

static bool pack_sample(msgpack_packer *pk, const struct request *r, const struct sample *sample)
{
    struct whorl_secret bytes = {0};
    struct whorl_fault fault = {0};
    if (!file_read(sample->file, &bytes, &fault)) {
        fprintf(stderr, "whorl: %s: %s\n", fault.where, fault.text);
        whorl_secret_release(&bytes);
        return false;
    }
    bool image = !sample->format, raw = image && r->width > 0;
    msgpack_pack_map(pk, 3u + (image ? 2 : 0) + (raw ? 2 : 0));
    whorl_put_str(pk, "modality", sample->modality);
    whorl_put_str(pk, "format", image ? format_of(&bytes, raw) : sample->format);
    if (image) {
        whorl_put_int(pk, "position", sample->position);
        whorl_put_int(pk, "dpi", r->dpi);
    }
    if (raw) {
        whorl_put_int(pk, "width", r->width);
        whorl_put_int(pk, "height", r->height);
    }
    whorl_put_bin(pk, "data", bytes.bytes, bytes.len);
    whorl_secret_release(&bytes);
    return true;
}

static void pack_subject(msgpack_packer *pk, const struct request *r)
{
    msgpack_pack_map(pk, 8);
    whorl_put_str(pk, "condition", r->condition);
    whorl_put_str(pk, "family", r->family);
    whorl_put_str(pk, "given", r->given);
    whorl_put_str(pk, "born", r->born);
    whorl_put_str(pk, "gender", r->gender);
    whorl_put_str(pk, "age_band", r->age_band);
    whorl_put_str(pk, "ethnicity_officer", r->ethnicity);
    whorl_put_str(pk, "ethnicity_self", r->ethnicity_self);
}

static void pack_checks(msgpack_packer *pk, const char *checks)
{
    uint32_t count = 1;
    for (const char *c = checks; *c; c++) {
        count += *c == ',';
    }
    msgpack_pack_array(pk, count);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strcspn(checks, ",");
        msgpack_pack_str_with_body(pk, checks, len);
        checks += len + 1;
    }
}

static bool pack_request(msgpack_packer *pk, const struct request *r)
{
    bool code = r->reason_code >= 0;
    msgpack_pack_map(pk, 9u + code + (r->checks != NULL));
    whorl_put_str(pk, "request_id", r->request_id);
    whorl_put_str(pk, "officer", r->officer);
    whorl_put_str(pk, "basis", r->basis);
    whorl_put_str(pk, "stop_power", r->stop_power);
    whorl_put_str(pk, "reason", r->reason);
    whorl_put_str(pk, "consent", r->consent);
    whorl_put_str(pk, "continues", r->continues);
    if (code) {
        whorl_put_int(pk, "reason_code", r->reason_code);
    }
    if (r->checks) {
        whorl_put_key(pk, "checks");
        pack_checks(pk, r->checks);
    }
    whorl_put_key(pk, "subject");
    pack_subject(pk, r);
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, r->sample_count);
    for (size_t i = 0; i < r->sample_count; i++) {
        if (!pack_sample(pk, r, &r->samples[i])) {
            return false;
        }
    }
    return true;
}

static void new_request_id(char id[65])
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort(); /* cannot happen: 16 bytes never block once the system has booted */
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
}

/* 0: something is known. 1: all that was asked answered no_match. 3: anything short of that, also
 * an answer of a class that is not known here. */
static int verdict(const msgpack_object *result)
{
    const msgpack_object *answers = whorl_map_get(result, "answers");
    bool positive = false, negative = false, open = false;
    for (uint32_t i = 0;
         answers && answers->type == MSGPACK_OBJECT_ARRAY && i < answers->via.array.size; i++) {
        const msgpack_object *class = whorl_map_get(&answers->via.array.ptr[i], "class");
        bool found = whorl_str_is(class, "match") || whorl_str_is(class, "possible");
        bool nobody = whorl_str_is(class, "no_match");
        positive |= found;
        negative |= nobody;
        open |= !found && !nobody && !whorl_str_is(class, "not_searched");
    }
    return positive ? 0 : negative && !open ? 1 : 3;
}

int cmd_identify(int argc, char **argv)
{
    static const struct argp_child children[] = {{&device_argp, 0, "Server:", 1}, {0}};
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .children = children,
        .doc = "Identifies a person by the scans of a device: sends them to a server, shows its "
               "progress, prints its answer.\v"
               "Exit status: 0 somebody is known, 1 every backend that was asked answered "
               "no_match, 2 wrong usage, 3 anything else (not reached, refused, unavailable, poor "
               "quality, nothing searched)."};
    struct request r = {.reason_code = -1, .dpi = 500};
    argp_parse(&argp, argc, argv, 0, NULL, &r);
    if (!r.request_id[0]) {
        new_request_id(r.request_id);
    }
    struct whorl_secret argument = {0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &argument, whorl_secret_write);
    struct whorl_client_reply reply = {0};
    int exit_code = 3;
    if (pack_request(&pk, &r)) {
        exit_code = device_ask(&r.server, "identify", true, &argument, &reply);
    }
    whorl_secret_release(&argument);
    if (exit_code == 0 && r.json) {
        exit_code = device_print_json(reply.result) ? verdict(reply.result) : 3;
    } else if (exit_code == 0) {
        screen_identity(reply.result, isatty(STDOUT_FILENO) == 1, stdout);
        exit_code = verdict(reply.result);
    }
    whorl_client_reply_release(&reply);
    return exit_code;
}
