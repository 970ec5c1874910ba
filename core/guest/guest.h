/* A plugin's process, from the inside: `whorl plugin-host`. */
#ifndef CORE_GUEST_H
#define CORE_GUEST_H

/* Loads the one module that it was made for and serves its server, on the descriptors that
 * core/isolate/spec.h names, until that ends it. Returns an exit code, 2 when nobody but a person
 * can have called it. */
int guest_main(void);

#endif
