/* whorl device: the registry's devices. */
#include <argp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/day.h"
#include "cli/registry/registry_command.h"

enum { OPT_CERT = 0x100, OPT_FORCE, OPT_NOTE, OPT_GATEWAY, OPT_REPLACE };

static void print_device(void *ctx, const struct registry_device *device)
{
    (void)ctx;
    char day[16];
    print_day(device->added, day);
    printf("%-24s %-8s %-8s %-10s %-11s ", device->id, device->gateway ? "gateway" : "device",
           device->force, registry_state_name(device->state), day);
    for (size_t i = 0; i < 8; i++) {
        printf("%02x", device->certificate[i]);
    }
    printf("  %s\n", device->note);
}

static bool print_all(struct registry *registry, struct whorl_fault *fault)
{
    printf("%-24s %-8s %-8s %-10s %-11s %-17s %s\n", "ID", "KIND", "FORCE", "STATE", "ADDED",
           "CERTIFICATE", "NOTE");
    return registry == NULL || registry_each_device(registry, print_device, NULL, fault);
}

/* The certificate by its hash, as the registry knows it. The note stays out: it may name people. */
static void pack_device(msgpack_packer *pk, const struct registry_device *device)
{
    char certificate[65];
    for (size_t i = 0; i < sizeof device->certificate; i++) {
        snprintf(certificate + 2 * i, 3, "%02x", device->certificate[i]);
    }
    msgpack_pack_map(pk, 4);
    whorl_put_str(pk, "kind", device->gateway ? "gateway" : "device");
    whorl_put_str(pk, "force", device->force);
    whorl_put_str(pk, "state", registry_state_name(device->state));
    whorl_put_str(pk, "certificate", certificate);
}

static bool describe(struct registry *registry, const char *id, enum registry_state state,
                     msgpack_packer *pk, struct whorl_fault *fault)
{
    struct registry_device device;
    enum registry_found found = registry_device(registry, id, &device, fault);
    if (found != REGISTRY_PRESENT) {
        return found == REGISTRY_ABSENT && whorl_fail(fault, "id", "there is no device %s", id);
    }
    device.state = state;
    pack_device(pk, &device);
    return true;
}

static const struct registry_kind devices = {
    .noun = "device",
    .store = "registry/devices",
    .describe = describe,
    .list_doc = "Lists the registered devices.",
    .set_docs =
        {
            [REGISTRY_REVOKED] =
                "Revokes a device: a running server refuses it from its next call on.",
            [REGISTRY_SUSPENDED] = "Suspends a device for the time being.",
            [REGISTRY_ACTIVE] = "Makes a device active again.",
        },
    .set_state = registry_set_device_state,
    .print_all = print_all,
};

struct options {
    const char *dir, *id, *certificate, *force, *note;
    bool gateway, replace;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_CERT:
        o->certificate = arg;
        return 0;
    case OPT_FORCE:
        o->force = arg;
        return 0;
    case OPT_NOTE:
        o->note = arg;
        return 0;
    case OPT_GATEWAY:
        o->gateway = true;
        return 0;
    case OPT_REPLACE:
        o->replace = true;
        return 0;
    default:
        return parse_registry_id(&devices, key, arg, state, &o->id, &o->dir);
    }
}

/* SHA-256 over the certificate's DER, as the server will see it. */
static bool certificate_hash(const char *path, uint8_t hash[32], struct whorl_fault *fault)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return whorl_fail(fault, path, "cannot be read");
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    unsigned len = 0;
    bool good = certificate != NULL && X509_digest(certificate, EVP_sha256(), hash, &len) == 1;
    X509_free(certificate);
    return good || whorl_fail(fault, path, "holds no certificate in PEM");
}

struct adding {
    const struct registry_device *device;
    bool replace;
};

static bool pack_add(struct registry *registry, const void *arg, msgpack_packer *pk,
                     struct whorl_fault *fault)
{
    (void)registry;
    (void)fault;
    pack_device(pk, ((const struct adding *)arg)->device);
    return true;
}

static bool apply_add(struct registry *registry, const void *arg, struct whorl_fault *fault)
{
    const struct adding *adding = arg;
    return registry_put_device(registry, adding->device, adding->replace, fault);
}

/* Stores it in the state of the one that it replaces, recorded before and after. */
static bool put(const struct registry_use *use, struct registry_device *device, bool replace,
                struct whorl_fault *fault)
{
    struct registry_device old = {0};
    const struct adding adding = {device, replace};
    if (!registry_check_device(use->registry, device, replace, fault)) {
        return false;
    }
    /* One that is damaged is there as well. */
    enum registry_found found = registry_device(use->registry, device->id, &old, fault);
    bool there = found != REGISTRY_ABSENT;
    device->state = registry_state_after(found, old.state);
    const struct registry_change change = {.kind = &devices,
                                           .doing = there ? "replacing" : "adding",
                                           .done = there ? "replaced" : "added",
                                           .id = device->id,
                                           .pack = pack_add,
                                           .apply = apply_add,
                                           .arg = &adding};
    if (!registry_change(use, &change, fault)) {
        return false;
    }
    printf("%s %s of force %s is registered\n", device->gateway ? "gateway" : "device", device->id,
           device->force);
    registry_tell_kept(&devices, device->id, found, device->state);
    return true;
}

static int add_to(const struct registry_use *use, const void *options)
{
    const struct options *o = options;
    struct whorl_fault fault = {0};
    struct registry_device device = {.gateway = o->gateway, .added = time(NULL)};
    if (conf_find_force(use->conf, o->force) == NULL) {
        whorl_fail(&fault, "--force", "force %s is not configured in %s", o->force, use->conf->dir);
        return print_fault(&fault);
    }
    if (strlen(o->id) > REGISTRY_DEVICE_MAX || strlen(o->note) > REGISTRY_NOTE_MAX) {
        whorl_fail(&fault, "", "an ID has at most %d bytes, a note %d", REGISTRY_DEVICE_MAX,
                   REGISTRY_NOTE_MAX);
        return print_fault(&fault);
    }
    if (!whorl_text_is_clean(o->note, strlen(o->note))) {
        whorl_fail(&fault, "--note",
                   "must be UTF-8 without control characters (a line's end or a tab "
                   "among them)");
        return print_fault(&fault);
    }
    if (o->gateway && !conf_is_gateway(o->id)) {
        whorl_fail(&fault, "", "a gateway's ID is its name: at most %d letters, digits and . _ -",
                   CONF_GATEWAY_MAX);
        return print_fault(&fault);
    }
    snprintf(device.id, sizeof device.id, "%s", o->id);
    snprintf(device.force, sizeof device.force, "%s", o->force);
    snprintf(device.note, sizeof device.note, "%s", o->note);
    if (!certificate_hash(o->certificate, device.certificate, &fault) ||
        !put(use, &device, o->replace, &fault)) {
        return print_fault(&fault);
    }
    return EXIT_DONE;
}

static int add(int argc, char **argv)
{
    static const struct argp_option list[] = {
        CONF_DIR_OPTION,
        {"cert", OPT_CERT, "FILE", 0, "Its client certificate (PEM)", 2},
        {"force", OPT_FORCE, "CODE", 0, "The force that owns it", 2},
        {"note", OPT_NOTE, "TEXT", 0, "Whatever helps to find it, up to 200 bytes", 2},
        {"gateway", OPT_GATEWAY, 0, 0,
         "It is another Whorl, which passes its devices' calls on; ID is its gateway name", 2},
        {"replace", OPT_REPLACE, 0, 0, "Replace the entry, e.g. for a new certificate", 2},
        {0}};
    static const struct argp argp = {.options = list,
                                     .parser = parse,
                                     .args_doc = "ID",
                                     .doc = "Registers a device: a client certificate that belongs "
                                            "to a force."};
    struct options o = {.note = ""};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.certificate == NULL || o.force == NULL) {
        fputs("whorl device add: --cert FILE and --force CODE are needed\n", stderr);
        return EXIT_USAGE;
    }
    return with_registry(o.dir, true, add_to, &o);
}

static int list(int argc, char **argv)
{
    return registry_list(&devices, argc, argv);
}

static int revoke(int argc, char **argv)
{
    return registry_set(&devices, REGISTRY_REVOKED, argc, argv);
}

static int suspend(int argc, char **argv)
{
    return registry_set(&devices, REGISTRY_SUSPENDED, argc, argv);
}

static int restore(int argc, char **argv)
{
    return registry_set(&devices, REGISTRY_ACTIVE, argc, argv);
}

int cmd_device(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"add", add, "register a device"},
        {"list", list, "list the devices"},
        {"revoke", revoke, "refuse a device from now on"},
        {"suspend", suspend, "refuse a device for the time being"},
        {"restore", restore, "accept it again"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("device", commands, argc, argv);
}
