/* The table of bench/search: each row is printed as soon as it has been measured, so that a run
 * that is broken off has shown what it found. */
#include <inttypes.h>
#include <stdio.h>

#include "search_table.h"

/* They may be looked at while the run goes on. */
static void rows_end(void)
{
    fflush(stdout);
}

static void row_ms(const char *name, struct timing *timing)
{
    printf("| %s (%zu) | median %.1f ms, 95 %% %.1f, 99 %% %.1f; processor %.1f, %.1f, %.1f |\n",
           name, timing->wall.count, 1e3 * numbers_at(&timing->wall, 0.5),
           1e3 * numbers_at(&timing->wall, 0.95), 1e3 * numbers_at(&timing->wall, 0.99),
           1e3 * numbers_at(&timing->processor, 0.5), 1e3 * numbers_at(&timing->processor, 0.95),
           1e3 * numbers_at(&timing->processor, 0.99));
}

static void row_loss(const char *name, const struct loss_count losses[SETS])
{
    struct loss_count all = {0};
    printf("| %s |", name);
    for (unsigned set = 0; set < SETS; set++) {
        printf(" %s %u of %u,", set_names[set], losses[set].lost, losses[set].findable);
        all.searches += losses[set].searches;
        all.findable += losses[set].findable;
        all.lost += losses[set].lost;
        all.first += losses[set].first;
    }
    printf(" all %.2f %% (%u of %u); ranked first %u of %u |\n",
           all.findable > 0 ? 100.0 * all.lost / all.findable : 0, all.lost, all.findable,
           all.first, all.searches);
}

void report_begin(const struct bench *b)
{
    printf("\n| %" PRIu32 " people, %u to %u fingers, %u threads | measured |\n| --- | --- |\n",
           b->people, b->population.fingers_least, b->population.fingers_most, b->engine.threads);
    rows_end();
}

/* Making people up is not the gallery's work. */
void report_building(const struct bench *b)
{
    if (b->built > 0) {
        printf(
            "| building (goal: 9,000,000 in 15 minutes) | %" PRIu32 " people in %.0f s; processor "
            "a person: making up %.0f us, loading %.1f us (%.0f people/s of one core) |\n",
            b->built, b->build_seconds, 1e6 * (b->build_processor - b->load_processor) / b->built,
            1e6 * b->load_processor / b->built, b->built / b->load_processor);
    }
    printf("| writing the index | %.1f s, processor %.1f s: %.0f people/s of one core |\n",
           b->index_seconds, b->index_processor, b->people / b->index_processor);
    rows_end();
}

void report_start(const struct bench *b)
{
    printf(
        "| start, page cache warm (goal: 5 s) | ready after %.2f s, first answer after %.2f s |\n",
        b->open_seconds, b->first_answer);
    rows_end();
}

void report_searches(struct bench *b)
{
    const double bytes = 2.0 * 192 * b->people; /* that the sift reads of two fingers */
    row_ms("search, the person is there (made-up)", &b->mated);
    row_ms("search, the person is not there", &b->non_mated);
    row_ms("the same, fingers of unknown position", &b->unknown);
    printf("| unknown position against known, processor (goal: 5 times at most) | %.1f times |\n",
           numbers_at(&b->unknown.processor, 0.5) / numbers_at(&b->non_mated.processor, 0.5));
    printf("| read by the sift | at least %.1f GB/s in the fastest search, of %.1f GB/s |\n",
           bytes / numbers_at(&b->mated.wall, 0) * 1e-9, b->bandwidth * 1e-9);
    printf("| made-up mates ranked first | %u of %u; matches of people who are not there: %u |\n",
           b->mated_first, b->mated_all, b->wrong);
    rows_end();
}

void report_hidden(struct bench *b)
{
    if (!b->real) {
        return;
    }
    row_ms("search, the person is there (real prints)", &b->hidden);
    row_loss("lost by the fast stages, two fingers", b->two);
    row_loss("lost by the fast stages, one finger", b->one);
    rows_end();
}

void report_waiting(struct bench *b, enum waiting_kind kind)
{
    static const char *const names[WAITING_KINDS] = {"half of them there", "all there",
                                                     "nobody there"};
    struct waiting *w = &b->waiting[kind];
    printf("| %u searches waiting (%s), each (goal: 3 times) | %.1f ms, against %.1f ms one at a "
           "time: %.2f times (in turn, %.2f to %.2f); processor %.1f and %.1f: %.2f times |\n",
           WAITING, names[kind], 1e3 * w->together, 1e3 * w->alone, numbers_at(&w->times, 0.5),
           numbers_at(&w->times, 0), numbers_at(&w->times, 1), 1e3 * w->together_processor,
           1e3 * w->alone_processor, w->alone_processor / w->together_processor);
    numbers_free(&w->times);
    rows_end();
}

void report_cancel(struct bench *b)
{
    printf("| cancelled searches (%zu) have stopped after | median %.1f ms, longest %.1f |\n",
           b->cancelled.count, 1e3 * numbers_at(&b->cancelled, 0.5),
           1e3 * numbers_at(&b->cancelled, 1));
    rows_end();
}

void report_updates(struct bench *b, enum update_kind kind)
{
    static const char *const names[UPDATE_KINDS] = {"added, and removed again",
                                                    "replaced, at random", "removed, at random"};
    struct updating *u = &b->updates[kind];
    printf("| %s, while searching (goal: 5,000 people/s, searches + 20 %% at most) | "
           "%.0f people/s: %" PRIu32 " searches take %+.0f %% (in turn, %+.0f to %+.0f; their own "
           "processor time %+.0f %%, the writer's %.0f us a person); without a pause %.0f people/s "
           "|\n",
           names[kind], u->rate, u->searches, 100 * numbers_at(&u->slower, 0.5),
           100 * numbers_at(&u->slower, 0), 100 * numbers_at(&u->slower, 1),
           100 * u->slower_processor, 1e6 * u->writer, b->updates_most[kind]);
    numbers_free(&u->slower);
    rows_end();
}

void report_memory(const struct bench *b)
{
    printf("| disk (goal: 2,000) | %.0f bytes a person; after the updates %.0f |\n",
           (double)b->disk_before / b->people, (double)b->disk / b->people);
    printf(
        "| memory, resident | %.0f bytes a person, of which %.0f are not file pages, %.0f of these "
        "free for whoever needs memory |\n",
        (double)b->rss / b->people, (double)b->rss_anonymous / b->people,
        (double)b->rss_free / b->people);
    rows_end();
}

void report_false_matches(const struct bench *b)
{
    printf("| false matches in %" PRIu64 " searches | %" PRIu64 ", predicted %.1f; possible "
           "%" PRIu64 ", predicted %.1f |\n",
           b->false_searches, b->false_match, b->false_expected[0], b->false_possible,
           b->false_expected[1]);
    rows_end();
}

void report_cold(const struct bench *b)
{
    printf(
        "| start, page cache cold (%.1f %% of the files stayed in it) | ready after %.1f s, first "
        "answer after %.1f s; stated progress after a quarter, half, three quarters of this: %.0f, "
        "%.0f, %.0f %%; of %u searches meanwhile %u refused as not ready |\n",
        100 * b->cold.stayed, b->cold.ready, b->cold.first_answer, 100 * b->cold.progress[0],
        100 * b->cold.progress[1], 100 * b->cold.progress[2], b->cold.refused + b->cold.begun,
        b->cold.refused);
    rows_end();
}

void report_ten(struct bench *b, const struct bench *ten)
{
    char name[96];
    snprintf(name, sizeof name, "%" PRIu32 " people with 2 to 10 prints, two known fingers, there",
             ten->people);
    row_ms(name, &b->ten_known[0]);
    row_ms("... not there", &b->ten_known[1]);
    row_ms("... fingers of unknown position, there", &b->ten_unknown[0]);
    row_ms("... not there", &b->ten_unknown[1]);
    printf(
        "| ... unknown position against known, processor (goal: 5 times at most) | there %.1f "
        "times, not there %.1f; ranked first %u of %u |\n",
        numbers_at(&b->ten_unknown[0].processor, 0.5) / numbers_at(&b->ten_known[0].processor, 0.5),
        numbers_at(&b->ten_unknown[1].processor, 0.5) / numbers_at(&b->ten_known[1].processor, 0.5),
        b->ten_first, b->ten_all);
    rows_end();
}
