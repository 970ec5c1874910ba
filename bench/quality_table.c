#include "quality_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void make_room(struct quality_table *table, size_t count)
{
    if (count <= table->room) {
        return;
    }
    table->room = count < 512 ? 512 : 2 * count;
    table->pairs = realloc(table->pairs, table->room * sizeof *table->pairs);
    if (table->pairs == NULL) {
        fprintf(stderr, "accuracy: out of memory\n");
        exit(3);
    }
}

static void add_print(struct quality_table *table, uint8_t quality, bool matched)
{
    size_t ten = quality < 100 ? quality / 10 : 9;
    table->seen[ten]++;
    table->matched[ten] += matched;
    if (quality < QUALITY_REJECTED) {
        table->rejected++;
        table->rejected_matched += matched;
    }
}

void quality_table_add(struct quality_table *table, uint8_t a, uint8_t b, float score)
{
    bool matched = score >= QUALITY_MATCH_DB;
    add_print(table, a, matched);
    add_print(table, b, matched);
    make_room(table, table->count + 1);
    table->pairs[table->count++] = (struct quality_pair){.score = score, .low = a < b ? a : b};
}

void quality_table_append(struct quality_table *to, const struct quality_table *from)
{
    for (size_t i = 0; i < 10; i++) {
        to->seen[i] += from->seen[i];
        to->matched[i] += from->matched[i];
    }
    to->rejected += from->rejected;
    to->rejected_matched += from->rejected_matched;
    make_room(to, to->count + from->count);
    for (size_t i = 0; i < from->count; i++) {
        to->pairs[to->count++] = from->pairs[i];
    }
}

void quality_table_release(struct quality_table *table)
{
    free(table->pairs);
    *table = (struct quality_table){0};
}

void quality_table_head(void)
{
    printf("\ngenuine comparisons that reach %.0f dB, %% (of how many), by a print's quality\n%-8s",
           (double)QUALITY_MATCH_DB, "set");
    for (int i = 0; i < 10; i++) {
        printf(" %6d-%-5d", 10 * i, i < 9 ? 10 * i + 9 : 100);
    }
    printf(" below %u\n", QUALITY_REJECTED);
}

static void print_share(size_t part, size_t whole)
{
    if (whole == 0) {
        printf(" %12s", "-");
    } else {
        printf(" %5.1f (%4zu)", 100 * (double)part / (double)whole, whole);
    }
}

void quality_table_row(const char *name, const struct quality_table *table)
{
    printf("%-8s", name);
    for (int i = 0; i < 10; i++) {
        print_share(table->matched[i], table->seen[i]);
    }
    print_share(table->rejected_matched, table->rejected);
    printf("\n");
}

static const int reject_percent[] = {0, 1, 2, 5, 10, 20, 30, 50};
#define REJECTS (sizeof reject_percent / sizeof *reject_percent)

void quality_reject_head(void)
{
    printf("\ngenuine comparisons below %.0f dB, %%, after the worst have been left out: %%\n%-8s",
           (double)QUALITY_MATCH_DB, "set");
    for (size_t i = 0; i < REJECTS; i++) {
        printf(" %6d", reject_percent[i]);
    }
    printf("\n");
}

static int by_quality(const void *a, const void *b)
{
    const struct quality_pair *p = a;
    const struct quality_pair *q = b;
    if (p->low != q->low) {
        return (p->low > q->low) - (p->low < q->low);
    }
    return (p->score < q->score) - (p->score > q->score); /* ties to quality's disadvantage */
}

void quality_reject_row(const char *name, struct quality_table *table)
{
    printf("%-8s", name);
    if (table->count > 0) {
        qsort(table->pairs, table->count, sizeof *table->pairs, by_quality);
    }
    for (size_t i = 0; i < REJECTS; i++) {
        size_t missed = 0;
        size_t first = table->count * (size_t)reject_percent[i] / 100;
        for (size_t k = first; k < table->count; k++) {
            missed += table->pairs[k].score < QUALITY_MATCH_DB;
        }
        size_t left = table->count - first;
        printf(" %6.2f", left > 0 ? 100 * (double)missed / (double)left : 0.0);
    }
    printf("\n");
}
