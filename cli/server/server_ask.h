/* Commands to a running server, over its control socket. */
#ifndef CLI_SERVER_ASK_H
#define CLI_SERVER_ASK_H

#include <jansson.h>

/* Asks the server of the configuration in dir. NULL on a failure, which has been printed. */
json_t *server_ask(const char *dir, const char *command);

#endif
