/* whorl keys: an authority, certificates for a server and devices, and revoking them. */
#include <argp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/registry/keys.h"
#include "core/registry/registry.h"
#include "whorl/msg.h"

enum { OPT_CA = 0x100, OPT_NAME, OPT_ADDRESS, OPT_DAYS };

#define CA_NAME_MAX 64 /* RFC 5280, ub-common-name */
#define CA_DAYS 3650
/* What clients accept of a server at most. */
#define CERTIFICATE_DAYS 825
#define LIST_DAYS 30

struct options {
    const char *out, *ca, *name, *address, *file;
    long days;
    bool takes_file;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    char *end;
    switch (key) {
    case 'o':
        o->out = arg;
        return 0;
    case OPT_CA:
        o->ca = arg;
        return 0;
    case OPT_NAME:
        o->name = arg;
        return 0;
    case OPT_ADDRESS:
        o->address = arg;
        return 0;
    case OPT_DAYS:
        o->days = strtol(arg, &end, 10);
        if (*end != '\0' || end == arg || o->days < 1 || o->days > 36500) {
            argp_error(state, "--days: expected 1 to 36500, found \"%s\"", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (!o->takes_file || o->file != NULL) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        o->file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define OUT_OPTION                                                                                 \
    {                                                                                              \
        "output", 'o', "DIR", 0, "Where to write; made if missing", 1                              \
    }
#define CA_OPTION                                                                                  \
    {                                                                                              \
        "ca", OPT_CA, "DIR", 0, "Where ca.pem and ca.key are", 1                                   \
    }
#define TEXT_OF(value) #value
#define DAYS_OPTION(days)                                                                          \
    {                                                                                              \
        "days", OPT_DAYS, "N", 0, "For how many days it is valid (default " TEXT_OF(days) ")", 2   \
    }

static int missing(const char *command, const char *what)
{
    fprintf(stderr, "whorl keys %s: %s is needed\n", command, what);
    return EXIT_USAGE;
}

/* A name becomes part of a file name and of a certificate's list of names. */
static bool name_good(const char *name, struct whorl_fault *fault)
{
    return (registry_id_valid(name, REGISTRY_DEVICE_MAX) && strchr(name, '/') == NULL) ||
           whorl_fail(fault, "--name", "must be 1 to %d letters, digits and . _ - @",
                      REGISTRY_DEVICE_MAX);
}

/* So that it is one address, and its error names it. */
static bool address_good(const char *address, struct whorl_fault *fault)
{
    struct in6_addr place;
    return address == NULL || inet_pton(AF_INET, address, &place) == 1 ||
           inet_pton(AF_INET6, address, &place) == 1 ||
           whorl_fail(fault, "--address", "must be an IPv4 or IPv6 address");
}

static int ca(int argc, char **argv)
{
    static const struct argp_option list[] = {
        OUT_OPTION, {"name", OPT_NAME, "TEXT", 0, "Its name", 2}, DAYS_OPTION(CA_DAYS), {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Makes a certificate authority: DIR/ca.pem and, private, DIR/ca.key."};
    struct options o = {.name = "Whorl demo authority", .days = CA_DAYS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.out == NULL) {
        return missing("ca", "-o DIR");
    }
    size_t len = strlen(o.name);
    if (len == 0 || len > CA_NAME_MAX || !whorl_text_is_clean(o.name, len)) {
        fprintf(
            stderr,
            "whorl keys ca: --name must have 1 to %d bytes of UTF-8 without control characters\n",
            CA_NAME_MAX);
        return EXIT_USAGE;
    }
    struct whorl_fault fault = {0};
    const struct keys_wish wish = {.use = KEYS_CA, .name = o.name, .days = o.days};
    if (!keys_make(o.out, "ca", &wish, NULL, &fault)) {
        return print_fault(&fault);
    }
    printf("%s/ca.pem, %s/ca.key\n", o.out, o.out);
    return EXIT_DONE;
}

/* A certificate that an authority signs. */
static int issue(const struct options *o, enum keys_use use, const char *file)
{
    struct whorl_fault fault = {0};
    struct keys_authority authority = {0};
    const struct keys_wish wish = {
        .use = use, .name = o->name, .address = o->address, .days = o->days};
    bool good = name_good(o->name, &fault) && address_good(o->address, &fault) &&
                keys_authority_read(o->ca, &authority, &fault) &&
                keys_make(o->out, file, &wish, &authority, &fault);
    keys_authority_release(&authority);
    if (!good) {
        return print_fault(&fault);
    }
    printf("%s/%s.pem, %s/%s.key\n", o->out, file, o->out, file);
    return EXIT_DONE;
}

static int server(int argc, char **argv)
{
    static const struct argp_option list[] = {
        OUT_OPTION,
        CA_OPTION,
        {"name", OPT_NAME, "HOST", 0, "The name that devices connect to", 2},
        {"address", OPT_ADDRESS, "IP", 0, "An address that they may connect to as well", 2},
        DAYS_OPTION(CERTIFICATE_DAYS),
        {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Makes a server's certificate: DIR/server.pem and, private, DIR/server.key."};
    struct options o = {.days = CERTIFICATE_DAYS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.out == NULL || o.ca == NULL || o.name == NULL) {
        return missing("server", "each of -o DIR, --ca DIR and --name HOST");
    }
    return issue(&o, KEYS_SERVER, "server");
}

static int device(int argc, char **argv)
{
    static const struct argp_option list[] = {OUT_OPTION,
                                              CA_OPTION,
                                              {"name", OPT_NAME, "ID", 0, "The device's id", 2},
                                              DAYS_OPTION(CERTIFICATE_DAYS),
                                              {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Makes a device's certificate: DIR/ID.pem and, private, DIR/ID.key."};
    struct options o = {.days = CERTIFICATE_DAYS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.out == NULL || o.ca == NULL || o.name == NULL) {
        return missing("device", "each of -o DIR, --ca DIR and --name ID");
    }
    return issue(&o, KEYS_DEVICE, o.name);
}

static int revoke(int argc, char **argv)
{
    static const struct argp_option list[] = {CA_OPTION, DAYS_OPTION(LIST_DAYS), {0}};
    static const struct argp argp = {
        .options = list,
        .parser = parse,
        .args_doc = "[CERTIFICATE]",
        .doc = "Adds a certificate to the authority's list of revoked ones, DIR/crl.pem, and signs "
               "the list anew; without a certificate it only does the latter, which has to happen "
               "before the list's days are over."};
    struct options o = {.days = LIST_DAYS, .takes_file = true};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.ca == NULL) {
        return missing("revoke", "--ca DIR");
    }
    struct whorl_fault fault = {0};
    struct keys_authority authority = {0};
    bool good = keys_authority_read(o.ca, &authority, &fault) &&
                keys_revoke(o.ca, &authority, o.file, o.days, &fault);
    keys_authority_release(&authority);
    if (!good) {
        return print_fault(&fault);
    }
    printf("%s/crl.pem\n", o.ca);
    return EXIT_DONE;
}

int cmd_keys(int argc, char **argv)
{
    static const struct subcommand commands[] = {
        {"ca", ca, "make a certificate authority"},
        {"server", server, "make a server's certificate"},
        {"device", device, "make a device's certificate"},
        {"revoke", revoke, "revoke a certificate, renew the list"},
        {NULL, NULL, NULL},
    };
    return subcommand_run("keys", commands, argc, argv);
}
