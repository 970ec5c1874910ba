/* The measurements of bench/search, one after the other, and their table. */
#ifndef BENCH_SEARCH_TABLE_H
#define BENCH_SEARCH_TABLE_H

#include "search_bench.h"

/* Who is there of searches that wait together: half of them, all, nobody. */
enum waiting_kind { WAITING_HALF, WAITING_ALL, WAITING_NOBODY, WAITING_KINDS };
struct waiting { /* seconds a search */
    double alone, together, alone_processor, together_processor;
    struct numbers times; /* how many times as fast, by the clock: each turn's */
};

/* Mated searches with real prints. */
struct loss_count {
    unsigned searches, findable, lost, first;
};

/* Changes beside searches: search_updates.c. */
enum update_kind { UPDATE_ADD, UPDATE_REPLACE, UPDATE_REMOVE, UPDATE_KINDS };
#define UPDATE_PACE 5000.0 /* people a second that are to be kept up */
struct updating {
    uint32_t searches;       /* beside the changes, and as many without */
    double rate;             /* people a second */
    struct numbers slower;   /* searches, against those without changes: each turn's; 0.1 = 10 % */
    double slower_processor; /* the same of all turns, the writer's time not counted */
    double writer;           /* processor seconds a person */
};

/* A start with nothing in the page cache: search_start.c. */
enum { COLD_LOOKS = 3 };
struct cold {
    double stayed;               /* share of the files that could not be dropped */
    double ready, first_answer;  /* seconds */
    double progress[COLD_LOOKS]; /* stated after a quarter, half, three quarters of the time */
    unsigned refused, begun;     /* searches before it was ready */
};

struct bench {
    /* what is wanted */
    struct synth_population population;
    struct engine engine;
    uint32_t probes, rounds, false_matches;
    bool real; /* there are real prints */

    /* the gallery */
    char dir[4096];
    uint32_t people, built;
    double build_seconds, build_processor, load_processor, index_seconds, index_processor;

    /* what was measured; seconds */
    double bandwidth, open_seconds, first_answer;
    struct timing mated, non_mated, unknown, hidden;
    struct loss_count two[SETS], one[SETS];
    unsigned mated_first, mated_all, wrong;
    struct waiting waiting[WAITING_KINDS];
    struct numbers cancelled; /* seconds */
    struct cold cold;
    struct timing ten_known[2], ten_unknown[2]; /* ten prints: the person is there, is not */
    unsigned ten_first, ten_all;                /* of those there, ranked first */
    struct updating updates[UPDATE_KINDS];
    double updates_most[UPDATE_KINDS]; /* people a second without a pause */
    uint64_t false_searches, false_match, false_possible;
    double false_expected[2];
    uint64_t rss, rss_anonymous; /* bytes */
    uint64_t rss_free;           /* of these: kept by us, but the system's for the taking */
    uint64_t disk_before, disk;  /* before: the updates */
};

/* Measuring. */
void bench_machine(struct bench *b);  /* prints its name and bandwidth */
void bench_start(struct bench *b);    /* opens the gallery as a server does */
void bench_searches(struct bench *b); /* made-up probes */
void bench_hidden(struct bench *b);   /* real prints; the gallery is as before afterwards */
void bench_waiting(struct bench *b, enum waiting_kind kind);
void bench_cancel(struct bench *b);
void bench_updates(struct bench *b, enum update_kind kind);
void bench_cold(struct bench *b); /* of a gallery that is closed */
/* Searches of `ten`, whose people have up to ten prints, for the figures of b. */
void bench_ten(struct bench *b, struct bench *ten);
void bench_false_matches(struct bench *b);
void bench_memory(struct bench *b);

/* The table: search_report.c. Each prints the rows of what was measured, at once. */
void report_begin(const struct bench *b);
void report_building(const struct bench *b);
void report_start(const struct bench *b);
void report_searches(struct bench *b);
void report_hidden(struct bench *b);
void report_waiting(struct bench *b, enum waiting_kind kind);
void report_cancel(struct bench *b);
void report_updates(struct bench *b, enum update_kind kind);
void report_memory(const struct bench *b);
void report_false_matches(const struct bench *b);
void report_cold(const struct bench *b);
void report_ten(struct bench *b, const struct bench *ten);

#endif
