/* Where a database is: settings, read and checked. */
#include "plugins/source/postgresql/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "whorl/msg.h"

/* ------------------------------------------------------------------ files */

/* Whether a file can be read; a secret must be its owner's alone. Root may lend one to a group, as
 * libpq allows for keys and systemd does with credentials. */
static bool check_file(const char *setting, const char *path, bool secret,
                       struct whorl_fault *fault)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return whorl_fail(fault, setting, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return whorl_fail(fault, setting, "%s is no regular file", path);
    }
    if (access(path, R_OK) != 0) {
        return whorl_fail(fault, setting, "%s can't be read: %s", path, strerror(errno));
    }
    mode_t open_to = info.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (secret && (info.st_mode & open_to) != 0) {
        return whorl_fail(fault, setting,
                          "%s can be used by others than its owner (mode %03o): chmod 600", path,
                          (unsigned)info.st_mode & 0777u);
    }
    return true;
}

bool pg_target_password(const struct pg_target *target, char *password, struct whorl_fault *fault)
{
    password[0] = '\0';
    if (target->password_file == NULL) {
        return true;
    }
    FILE *in = fopen(target->password_file, "re");
    if (in == NULL) {
        return whorl_fail(fault, "password_file", "%s: %s", target->password_file, strerror(errno));
    }
    setvbuf(in, NULL, _IONBF, 0); /* no copy of it in a buffer that isn't wiped */
    size_t len = 0;
    int c;
    while ((c = getc(in)) != EOF && c != '\n' && c != '\0' && len < PG_PASSWORD_MAX) {
        password[len++] = (char)c;
    }
    password[len] = '\0';
    fclose(in);
    if (len > 0 && password[len - 1] == '\r') {
        password[--len] = '\0';
    }
    if ((c == EOF || c == '\n') && len > 0) {
        return true;
    }
    explicit_bzero(password, PG_PASSWORD_MAX);
    return whorl_fail(fault, "password_file",
                      "the first line of %s must be the password, of 1 to %u bytes",
                      target->password_file, PG_PASSWORD_MAX);
}

static bool take_file(const struct whorl_settings *settings, const char *setting, bool secret,
                      char **path, struct whorl_fault *fault)
{
    const char *text = settings->string(settings, NULL, setting);
    if (text == NULL || text[0] == '\0') {
        return true;
    }
    if (!check_file(setting, text, secret, fault)) {
        return false;
    }
    *path = strdup(text);
    return *path != NULL || whorl_fail(fault, "", "out of memory");
}

static bool take_files(const struct whorl_settings *settings, struct pg_target *target,
                       struct whorl_fault *fault)
{
    char password[PG_PASSWORD_MAX + 1];
    if (!take_file(settings, "password_file", true, &target->password_file, fault) ||
        !take_file(settings, "database_ca", false, &target->ca, fault) ||
        !take_file(settings, "database_certificate", false, &target->certificate, fault) ||
        !take_file(settings, "database_key", true, &target->key, fault)) {
        return false;
    }
    if ((target->certificate == NULL) != (target->key == NULL)) {
        return whorl_fail(fault, target->key == NULL ? "database_key" : "database_certificate",
                          "is missing: a certificate and its key go together");
    }
    if (target->ca == NULL && !target->local) {
        return whorl_fail(fault, "database_ca",
                          "is missing: a database on another machine must prove who it is; name "
                          "the authority of its certificate (PEM)");
    }
    bool ok = pg_target_password(target, password, fault);
    explicit_bzero(password, sizeof(password));
    return ok;
}

/* ------------------------------------------------------------------ "host=… dbname=…" */

/* Whether every host of the list is this machine. */
static bool is_local(const char *hosts)
{
    for (const char *at = hosts;; at++) {
        size_t len = strcspn(at, ",");
        bool local = at[0] == '/' || (len == 9 && strncmp(at, "localhost", 9) == 0) ||
                     (len == 3 && strncmp(at, "::1", 3) == 0) ||
                     (strncmp(at, "127.", 4) == 0 && strspn(at, "0123456789.") == len);
        if (!local) {
            return false;
        }
        at += len;
        if (*at == '\0') {
            return true;
        }
    }
}

static char **place_of(struct pg_target *target, const char *keyword)
{
    return strcmp(keyword, "host") == 0                   ? &target->host
           : strcmp(keyword, "port") == 0                 ? &target->port
           : strcmp(keyword, "dbname") == 0               ? &target->dbname
           : strcmp(keyword, "user") == 0                 ? &target->user
           : strcmp(keyword, "target_session_attrs") == 0 ? &target->session_attrs
                                                          : NULL;
}

static bool take_option(struct pg_target *target, const PQconninfoOption *option,
                        struct whorl_fault *fault)
{
    if (strcmp(option->keyword, "password") == 0 || strcmp(option->keyword, "passfile") == 0) {
        return whorl_fail(fault, "database",
                          "must hold no password: put it in a file and name that in password_file");
    }
    char **place = place_of(target, option->keyword);
    if (place == NULL) {
        return whorl_fail(fault, "database",
                          "%s can't be set there: host, port, dbname, user and "
                          "target_session_attrs can",
                          option->keyword);
    }
    if (!whorl_text_is_clean(option->val, strlen(option->val))) {
        return whorl_fail(fault, "database", "%s must be UTF-8 without control characters",
                          option->keyword);
    }
    *place = strdup(option->val);
    return *place != NULL || whorl_fail(fault, "", "out of memory");
}

static bool take_database(struct pg_target *target, const char *text, struct whorl_fault *fault)
{
    char *error = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &error);
    PQfreemem(error); /* repeats what was written, perhaps a password */
    if (options == NULL) {
        return whorl_fail(fault, "database",
                          "must be written as \"host=… dbname=… user=…\", values with spaces in "
                          "'single quotes'");
    }
    bool ok = true;
    for (const PQconninfoOption *option = options; ok && option->keyword != NULL; option++) {
        ok = option->val == NULL || option->val[0] == '\0' || take_option(target, option, fault);
    }
    PQconninfoFree(options);
    if (!ok) {
        return false;
    }
    if (target->host == NULL || target->dbname == NULL || target->user == NULL) {
        return whorl_fail(fault, "database", "%s= is missing",
                          target->host == NULL     ? "host"
                          : target->dbname == NULL ? "dbname"
                                                   : "user");
    }
    target->local = is_local(target->host);
    snprintf(target->name, sizeof(target->name), "%.36s at %.30s%s%.8s", target->dbname,
             target->host, target->port != NULL ? ":" : "",
             target->port != NULL ? target->port : "");
    if (!whorl_text_is_clean(target->name, strlen(target->name))) { /* a letter was cut in two */
        snprintf(target->name, sizeof(target->name), "of a name that is too long to show");
    }
    return true;
}

/* ------------------------------------------------------------------ the target */

struct pg_target *pg_target_read(const struct whorl_settings *settings, struct whorl_fault *fault)
{
    const char *text = settings->string(settings, NULL, "database");
    if (text == NULL || text[0] == '\0') {
        whorl_fail(fault, "database",
                   "is missing: say where the database is, \"host=… dbname=… user=…\"");
        return NULL;
    }
    struct pg_target *target = calloc(1, sizeof(*target));
    if (target == NULL) {
        whorl_fail(fault, "", "out of memory");
        return NULL;
    }
    if (take_database(target, text, fault) && take_files(settings, target, fault)) {
        return target;
    }
    pg_target_free(target);
    return NULL;
}

void pg_target_free(struct pg_target *target)
{
    if (target == NULL) {
        return;
    }
    char *const all[] = {target->host,        target->port, target->dbname,
                         target->user,        target->ca,   target->session_attrs,
                         target->certificate, target->key,  target->password_file};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        free(all[i]);
    }
    free(target);
}

const char *pg_target_name(const struct pg_target *target)
{
    return target->name;
}
