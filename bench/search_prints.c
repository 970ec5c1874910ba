/* Real prints: hidden in the gallery, and the probes that look for them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "afis/extract.h"
#include "afis/image.h"
#include "search_bench.h"

#define FILE_MAX (4l << 20)
#define FIRST_FINGER 101u
#define FINGERS (2 * PEOPLE_A_SET)

const char *const set_names[SETS] = {"DB1_B", "DB2_B", "DB3_B", "DB4_B"};
static struct real_print *prints; /* set, finger, impression */

const struct real_print *print_of(unsigned set, unsigned finger, unsigned impression)
{
    return &prints[(set * FINGERS + finger) * IMPRESSIONS + impression];
}

static uint8_t *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rbe");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0 || info.st_size > FILE_MAX) {
        die(file == NULL ? strerror(errno) : "too large", path);
    }
    uint8_t *bytes = must_alloc((size_t)info.st_size + 1);
    *len = fread(bytes, 1, (size_t)info.st_size, file);
    fclose(file);
    return bytes;
}

static void load_print(struct real_print *print, const char *path, unsigned dpi)
{
    size_t len;
    uint8_t *bytes = read_file(path, &len);
    struct afis_image image = {0};
    enum afis_status status = afis_image_from_png(bytes, len, dpi, &afis_memory_heap, &image);
    if (status == AFIS_OK) {
        status = afis_extract(&image, &afis_memory_heap, &print->tmpl, NULL);
    }
    afis_image_release(&image, &afis_memory_heap);
    free(bytes);
    if (status == AFIS_OK) {
        status = afis_template_pack(&print->tmpl, print->packed, sizeof print->packed, &print->len);
    }
    print->finger = must_alloc(afis_finger_size());
    if (status == AFIS_OK) {
        status = afis_finger_prepare_packed(print->packed, print->len, print->finger);
    }
    if (status != AFIS_OK) {
        die(afis_status_text(status), path);
    }
}

bool prints_load(const char *folder)
{
    struct stat info;
    if (stat(folder, &info) != 0) {
        return false;
    }
    prints = must_alloc((size_t)SETS * FINGERS * IMPRESSIONS * sizeof *prints);
    for (unsigned set = 0; set < SETS; set++) {
        for (unsigned i = 0; i < FINGERS * IMPRESSIONS; i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s/%u_%u.png", folder, set_names[set],
                     FIRST_FINGER + i / IMPRESSIONS, 1 + i % IMPRESSIONS);
            load_print(&prints[set * FINGERS * IMPRESSIONS + i], path, set == 1 ? 569 : 500);
        }
    }
    return true;
}

void hidden_id(unsigned person, char id[24])
{
    snprintf(id, 24, "real-%s-%u", set_names[person / PEOPLE_A_SET], person % PEOPLE_A_SET);
}

void hidden_enrol(struct gallery *gallery, unsigned impression)
{
    char ids[HIDDEN][24];
    struct gallery_person people[HIDDEN];
    struct gallery_print enrolled[HIDDEN][2];
    const struct gallery_name name = {"Hidden", "Real print"};
    struct whorl_fault fault;
    memset(enrolled, 0, sizeof enrolled);
    for (unsigned k = 0; k < HIDDEN; k++) {
        hidden_id(k, ids[k]);
        for (unsigned f = 0; f < 2; f++) {
            const struct real_print *print =
                print_of(k / PEOPLE_A_SET, k % PEOPLE_A_SET * 2 + f, impression);
            enrolled[k][f].position = f == 0 ? 2 : 7;
            enrolled[k][f].packed = print->packed;
            enrolled[k][f].len = (uint16_t)print->len;
            enrolled[k][f].digest[0] = (uint8_t)(k + 1);
        }
        people[k] = (struct gallery_person){.id = ids[k],
                                            .names = &name,
                                            .name_count = 1,
                                            .born = "",
                                            .sex = "",
                                            .source = "benchmark",
                                            .enrolled = 1,
                                            .prints = enrolled[k],
                                            .print_count = 2};
    }
    if (!gallery_put(gallery, people, HIDDEN, NULL, &fault)) {
        die_fault("enrolling real prints", &fault);
    }
}

void hidden_remove(struct gallery *gallery)
{
    char ids[HIDDEN][24];
    const char *list[HIDDEN];
    struct whorl_fault fault;
    for (unsigned k = 0; k < HIDDEN; k++) {
        hidden_id(k, ids[k]);
        list[k] = ids[k];
    }
    if (!gallery_remove(gallery, list, HIDDEN, NULL, &fault)) {
        die_fault("removing real prints", &fault);
    }
}
