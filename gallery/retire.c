/* The end of an enrolment. */
#include "store.h"

bool gallery_withdraw(struct gallery *gallery, const char *id, int64_t when, bool *found,
                      struct whorl_fault *fault)
{
    struct gallery_person *person;
    if (!gallery_get(gallery, id, true, &person, fault))
        return false;
    *found = person != NULL;
    if (person == NULL)
        return true;
    struct gallery_person changed = *person;
    changed.expires = when;
    bool ok = gallery_put(gallery, &changed, 1, NULL, fault);
    gallery_person_free(person);
    return ok;
}

bool gallery_erase(struct gallery *gallery, struct whorl_store_erased *done,
                   struct whorl_fault *fault)
{
    return whorl_store_erase(gallery->store, done, fault);
}
