/* whorl gallery withdraw and purge. */
#ifndef CLI_GALLERY_RETIRE_H
#define CLI_GALLERY_RETIRE_H

/* What a command line says; ids of withdraw. Both return an exit code, having said what was done.
 */
int gallery_withdraw_people(const char *conf_dir, const char *gallery, char *const *ids, int count);
int gallery_purge(const char *conf_dir, const char *gallery);

#endif
