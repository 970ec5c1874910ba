/* whorl capabilities: what a device and its officer may ask. */
#include <argp.h>

#include "cli/commands.h"
#include "cli/device/device_args.h"
#include "cli/device/screen.h"

enum { OPT_OFFICER = 0x100, OPT_JSON };

static const struct argp_option options_list[] = {
    {"officer", OPT_OFFICER, "ID", 0, "Who asks", 2},
    {"json", OPT_JSON, 0, 0, "Print the server's answer as JSON", 3},
    {0},
};

struct options {
    struct device_args server;
    const char *officer;
    bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->server;
        return 0;
    case OPT_OFFICER:
        o->officer = arg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->officer) {
            argp_error(state, "--officer is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_capabilities(int argc, char **argv)
{
    static const struct argp_child children[] = {{&device_argp, 0, "Server:", 1}, {0}};
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .children = children,
        .doc = "Asks a server what this device and officer may ask here, now: backends, formats, "
               "legal bases.\vExit status: 0 done, 2 wrong usage, 3 not reached or refused.",
    };
    struct options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct whorl_secret argument = {0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &argument, whorl_secret_write);
    msgpack_pack_map(&pk, 1);
    whorl_put_str(&pk, "officer", o.officer);
    struct whorl_client_reply reply = {0};
    int exit_code = device_ask(&o.server, "capabilities", true, &argument, &reply);
    whorl_secret_release(&argument);
    if (exit_code == 0 && o.json) {
        exit_code = device_print_json(reply.result) ? 0 : 3;
    } else if (exit_code == 0) {
        screen_capabilities(reply.result, stdout);
    }
    whorl_client_reply_release(&reply);
    return exit_code;
}
