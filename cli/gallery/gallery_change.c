#include "cli/gallery/gallery_change.h"

#include "cli/common.h"
#include "cli/gallery/gallery_dir.h"

static bool open_change(struct gallery_change *change, const char *conf_dir, const char *name,
                        bool own)
{
    struct whorl_fault fault = {0};
    *change = (struct gallery_change){.conf = read_conf(conf_dir), .name = name};
    if (change->conf == NULL) {
        return false;
    }
    change->log = audit_writer_open(change->conf, &fault);
    if (change->log == NULL) {
        print_fault(&fault);
    } else {
        change->gallery = own ? gallery_dir_open_own(change->conf, name, WHORL_STORE_READ)
                              : gallery_dir_open(change->conf, name, WHORL_STORE_WRITE);
    }
    if (change->gallery == NULL) {
        gallery_change_close(change);
    }
    return change->gallery != NULL;
}

bool gallery_change_open(struct gallery_change *change, const char *conf_dir, const char *name)
{
    return open_change(change, conf_dir, name, false);
}

bool gallery_change_open_own(struct gallery_change *change, const char *conf_dir, const char *name)
{
    return open_change(change, conf_dir, name, true);
}

void gallery_change_close(struct gallery_change *change)
{
    gallery_close(change->gallery);
    audit_writer_close(change->log);
    conf_unref(change->conf);
    *change = (struct gallery_change){0};
}

bool gallery_change_enrolling(void *ctx, const struct changed_person *people, size_t count,
                              struct whorl_fault *fault)
{
    struct gallery_change *change = ctx;
    return change_record_people(change->log, "enrolling", change->name, people, count, fault);
}

bool gallery_change_enrolled(struct gallery_change *change, uint64_t added, uint64_t changed,
                             struct whorl_fault *fault)
{
    return change_record_done(change->log, "enrolled", change->name, added, changed, fault);
}
