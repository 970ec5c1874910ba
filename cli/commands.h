/* The sub-commands. Each takes the arguments from its own name on, and returns an exit code. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

enum { EXIT_DONE = 0, EXIT_NEGATIVE = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

int cmd_audit(int argc, char **argv);
int cmd_capabilities(int argc, char **argv);
int cmd_case(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_device(int argc, char **argv);
int cmd_enrol(int argc, char **argv);
int cmd_extract(int argc, char **argv);
int cmd_gallery(int argc, char **argv);
int cmd_identify(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_officer(int argc, char **argv);
int cmd_outcome(int argc, char **argv);
int cmd_plugin(int argc, char **argv);
int cmd_plugin_host(int argc, char **argv);
int cmd_pnc(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_source(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_synth(int argc, char **argv);
int cmd_synth_month(int argc, char **argv);
int cmd_synth_templates(int argc, char **argv);

#endif
