#include "cli/server/ends_soon.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

enum { SOON_DAYS = 14 };

struct file {
    const struct conf_listener *listener;
    const char *option, *path;
};

/* end: NULL for a list that does not say when it ends. */
static void tell(const struct file *file, const ASN1_TIME *end)
{
    int days = 0, seconds = 0;
    struct tm tm;
    char text[32];
    if (end == NULL || ASN1_TIME_diff(&days, &seconds, NULL, end) != 1 || days >= SOON_DAYS ||
        ASN1_TIME_to_tm(end, &tm) != 1 || strftime(text, sizeof text, "%F %T UTC", &tm) == 0) {
        return;
    }
    const struct conf_place *place = &file->listener->place;
    fprintf(stderr, "%s:%d: warning: %s: %s %s on %s\n", place->file, place->line, file->option,
            file->path, days < 0 || seconds < 0 ? "ended" : "ends", text);
}

static void look_at_certificates(const struct file *file, FILE *in)
{
    for (X509 *one; (one = PEM_read_X509(in, NULL, NULL, NULL)) != NULL; X509_free(one)) {
        tell(file, X509_get0_notAfter(one));
    }
}

static void look_at_lists(const struct file *file, FILE *in)
{
    for (X509_CRL *one; (one = PEM_read_X509_CRL(in, NULL, NULL, NULL)) != NULL;
         X509_CRL_free(one)) {
        tell(file, X509_CRL_get0_nextUpdate(one));
    }
}

/* What can't be read is a mistake elsewhere. */
static void look(const struct conf_listener *listener, const char *option, const char *path,
                 void (*look_at)(const struct file *file, FILE *in))
{
    const struct file file = {listener, option, path};
    FILE *in = path[0] != '\0' ? fopen(path, "re") : NULL;
    if (in != NULL) {
        look_at(&file, in);
        (void)fclose(in);
    }
    ERR_clear_error();
}

void tell_what_ends_soon(const struct conf_listener *listener)
{
    if (listener->tls) {
        look(listener, "certificate", listener->certificate, look_at_certificates);
        look(listener, "client_ca", listener->client_ca, look_at_certificates);
        look(listener, "crl", listener->crl, look_at_lists);
    }
}
