/* Who may use this server: devices, each a client certificate that belongs to a force, and
 * officers, each of a force and with entitlements. Kept in LMDB under DATA_DIR/registry.
 *
 * `whorl device` and `whorl officer` write from their own processes while a server runs; every
 * look-up is a read transaction of its own, so the server's next call sees the change. A look-up
 * takes microseconds and blocks on nothing: the loop thread may do it. Writing blocks (fsync):
 * tools only. */
#ifndef CORE_REGISTRY_H
#define CORE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whorl/plugin.h"
#include "whorl/store.h"

#define REGISTRY_DEVICE_MAX 64  /* bytes of a device's id, without its NUL */
#define REGISTRY_OFFICER_MAX 32 /* bytes of an officer's id */
#define REGISTRY_FORCE_MAX 32
#define REGISTRY_NAME_MAX 100
#define REGISTRY_NOTE_MAX 200
#define REGISTRY_ENTITLEMENTS_MAX 16 /* for one officer */
#define REGISTRY_ENTITLEMENT_MAX 32  /* bytes of one */

enum registry_state { REGISTRY_ACTIVE, REGISTRY_SUSPENDED, REGISTRY_REVOKED };

struct registry_device {
    char id[REGISTRY_DEVICE_MAX + 1];
    uint8_t certificate[32]; /* SHA-256 of the client certificate (DER) */
    char force[REGISTRY_FORCE_MAX + 1];
    enum registry_state state;
    bool gateway;  /* another Whorl, which asks for its own devices */
    int64_t added; /* seconds since 1970 */
    char note[REGISTRY_NOTE_MAX + 1];
};

struct registry_officer {
    char id[REGISTRY_OFFICER_MAX + 1];
    char force[REGISTRY_FORCE_MAX + 1];
    char name[REGISTRY_NAME_MAX + 1]; /* "" = none */
    char entitlements[REGISTRY_ENTITLEMENTS_MAX][REGISTRY_ENTITLEMENT_MAX + 1];
    size_t entitlement_count;
    int64_t valid_from, valid_until; /* seconds since 1970, until is exclusive; 0 = no bound */
    enum registry_state state;
    int64_t added;
};

struct registry;

enum registry_found { REGISTRY_FAILED = -1, REGISTRY_ABSENT = 0, REGISTRY_PRESENT = 1 };

/* WHORL_STORE_READ: the registry must exist; WHORL_STORE_WRITE: it is made when missing. NULL with
 * *fault. */
struct registry *registry_open(const char *data_dir, enum whorl_store_mode mode,
                               struct whorl_fault *fault);
void registry_close(struct registry *registry);

/* Look-ups. FAILED sets *fault (the store can't be read, or a record in it is damaged); *out is
 * set when PRESENT only, whatever the state of the entry. Any thread. */
enum registry_found registry_device(struct registry *registry, const char *id,
                                    struct registry_device *out, struct whorl_fault *fault);
enum registry_found registry_device_of(struct registry *registry, const uint8_t certificate[32],
                                       struct registry_device *out, struct whorl_fault *fault);
enum registry_found registry_officer(struct registry *registry, const char *id,
                                     struct registry_officer *out, struct whorl_fault *fault);

/* Stores an entry. An id that exists is refused unless `replace`, which leaves the entry in the
 * state that it is in, suspended or revoked, and repairs one that is damaged, which is suspended
 * then. Refused, too, is a certificate that another device has, and always a text that is no UTF-8
 * or holds a control character. false with *fault. */
bool registry_put_device(struct registry *registry, const struct registry_device *device,
                         bool replace, struct whorl_fault *fault);
bool registry_put_officer(struct registry *registry, const struct registry_officer *officer,
                          bool replace, struct whorl_fault *fault);

/* Whether an entry could be stored as the registry is now; false with the *fault that storing it
 * would have. */
bool registry_check_device(struct registry *registry, const struct registry_device *device,
                           bool replace, struct whorl_fault *fault);
bool registry_check_officer(struct registry *registry, const struct registry_officer *officer,
                            bool replace, struct whorl_fault *fault);

/* Changes an entry's state. An unknown id is a fault. */
bool registry_set_device_state(struct registry *registry, const char *id, enum registry_state state,
                               struct whorl_fault *fault);
bool registry_set_officer_state(struct registry *registry, const char *id,
                                enum registry_state state, struct whorl_fault *fault);

/* Calls each() for every entry in order of ids. */
bool registry_each_device(struct registry *registry,
                          void (*each)(void *ctx, const struct registry_device *device), void *ctx,
                          struct whorl_fault *fault);
bool registry_each_officer(struct registry *registry,
                           void (*each)(void *ctx, const struct registry_officer *officer),
                           void *ctx, struct whorl_fault *fault);

/* An id is 1 to max letters, digits and . _ - @ /, and starts with a letter or digit: safe in a
 * log line, a file and a terminal. */
bool registry_id_valid(const char *id, size_t max);

const char *registry_state_name(enum registry_state state);

bool registry_officer_has(const struct registry_officer *officer, const char *entitlement);

#endif
