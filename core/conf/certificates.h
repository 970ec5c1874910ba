/* Whether the files that a TLS listener names are there and fit together. */
#ifndef CORE_CONF_CERTIFICATES_H
#define CORE_CONF_CERTIFICATES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "core/conf/conf.h"
#include "core/conf/mistakes.h"

/* The lines that name the listener's files. */
struct certificate_places {
    struct conf_place certificate, key, client_ca, crl;
};

/* Whether a private key's file is its owner's alone. Root may lend it to a group, as PostgreSQL
 * allows and systemd does with credentials. */
bool certificates_is_private(const struct stat *info);

void certificates_check(struct mistakes *mistakes, const struct conf_listener *listener,
                        const struct certificate_places *places);

#endif
