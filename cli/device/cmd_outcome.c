/* whorl outcome: what happened after an identification. */
#include <argp.h>

#include "cli/commands.h"
#include "cli/device/device_args.h"
#include "cli/device/screen.h"

enum { OPT_OFFICER = 0x100, OPT_CONTROL, OPT_NOTE };

static const struct argp_option options_list[] = {
    {"officer", OPT_OFFICER, "ID", 0, "Who reports", 2},
    {"contacted-control", OPT_CONTROL, 0, 0, "Command and Control was contacted", 2},
    {"note", OPT_NOTE, "TEXT", 0, "Up to 250 characters", 2},
    {0},
};

struct options {
    struct device_args server;
    const char *officer, *note, *transaction, *outcome;
    bool contacted_control;
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
    case OPT_CONTROL:
        o->contacted_control = true;
        return 0;
    case OPT_NOTE:
        o->note = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        *(state->arg_num == 0 ? &o->transaction : &o->outcome) = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->officer || !o->outcome) {
            argp_error(state, o->officer ? "expected TRANSACTION OUTCOME" : "--officer is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_outcome(int argc, char **argv)
{
    static const struct argp_child children[] = {{&device_argp, 0, "Server:", 1}, {0}};
    static const struct argp argp = {
        .options = options_list,
        .parser = parse,
        .children = children,
        .args_doc = "TRANSACTION OUTCOME",
        .doc = "Records what happened after an identification. OUTCOME is arrested_crime, "
               "arrested_immigration, reported, released, hospital, victim_identified, "
               "wrong_person or no_further_action.\v"
               "Exit status: 0 recorded, 2 wrong usage, 3 not reached or refused.",
    };
    struct options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct whorl_secret argument = {0};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &argument, whorl_secret_write);
    msgpack_pack_map(&pk, 5);
    whorl_put_str(&pk, "officer", o.officer);
    whorl_put_str(&pk, "transaction", o.transaction);
    whorl_put_str(&pk, "outcome", o.outcome);
    whorl_put_bool(&pk, "contacted_control", o.contacted_control);
    whorl_put_str(&pk, "note", o.note);
    struct whorl_client_reply reply = {0};
    int exit_code = device_ask(&o.server, "record_outcome", false, &argument, &reply);
    whorl_secret_release(&argument);
    if (exit_code == 0) {
        exit_code = device_print_json(reply.result) ? 0 : 3;
    }
    whorl_client_reply_release(&reply);
    return exit_code;
}
