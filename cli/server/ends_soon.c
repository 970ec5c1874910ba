#include "cli/server/ends_soon.h"

#include <stdio.h>
#include <time.h>

enum { SOON_DAYS = 14, DAY_SECONDS = 86400 };

void tell_what_ends_soon(const struct conf_listener *listener, const struct listeners_ahead *ahead)
{
    const char *const paths[TLS_FILES] = {listener->certificate, listener->client_ca,
                                          listener->crl};
    time_t now = time(NULL);
    for (enum tls_file file = 0; file < TLS_FILES; file++) {
        time_t end = listeners_ahead_end(ahead, 0, file);
        struct tm tm;
        char text[32];
        if (end != 0 && end - now < (time_t)SOON_DAYS * DAY_SECONDS &&
            gmtime_r(&end, &tm) != NULL && strftime(text, sizeof text, "%F %T UTC", &tm) != 0) {
            fprintf(stderr, "%s:%d: warning: %s: %s %s on %s\n", listener->place.file,
                    listener->place.line, tls_file_name(file), paths[file],
                    end < now ? "ended" : "ends", text);
        }
    }
}
