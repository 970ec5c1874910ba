/* The control socket's address. */
#ifndef CORE_CONTROL_PLACE_H
#define CORE_CONTROL_PLACE_H

#include <sys/un.h>

#define CONTROL_NAME "control"

/* The name in the directory, by its open descriptor, so that a long path to it does not matter. */
void control_place(int dir_fd, const char *name, struct sockaddr_un *address);

#endif
