#include "cli/server/server_ask.h"

#include <limits.h>

#include "cli/common.h"
#include "core/control/control.h"

#define PATIENCE_S 120u /* a reload starts plugins, which may have much to read */

json_t *server_ask(const char *dir, const char *command)
{
    char runtime_dir[PATH_MAX];
    struct whorl_fault fault = {0};
    json_t *reply = NULL;
    if (conf_runtime_dir(dir, runtime_dir, sizeof runtime_dir, &fault)) {
        reply =
            control_ask(runtime_dir, json_pack("{s:s}", "command", command), PATIENCE_S, &fault);
    }
    if (reply == NULL) {
        print_fault(&fault);
    }
    return reply;
}
