#include "score.h"

#include <math.h>
#include <string.h>

void score_probe_init(struct score_probe *out, const struct gallery_probe *probes, size_t count)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        size_t finger = out->fingers;
        for (size_t k = 0; k < out->fingers; k++) {
            if (probes[i].position != 0 && out->position[k] == probes[i].position) {
                finger = k;
            }
        }
        if (finger == out->fingers) {
            out->position[out->fingers++] = probes[i].position;
        }
        out->finger[out->impressions] = probes[i].finger;
        out->of[out->impressions++] = (uint8_t)finger;
    }
}

void score_begin(struct score_person *person)
{
    person->slots = 0;
    memset(person->comparisons, 0, sizeof person->comparisons);
}

size_t score_slot(struct score_person *person, uint8_t position)
{
    for (size_t i = 0; position != 0 && i < person->slots; i++) {
        if (person->slot_position[i] == position) {
            return i;
        }
    }
    person->slot_position[person->slots] = position;
    for (size_t i = 0; i < GALLERY_PROBES_MAX; i++) {
        person->best[i][person->slots] = -1;
    }
    return person->slots++;
}

bool score_comparable(const struct score_probe *probe, size_t finger, uint8_t position)
{
    return probe->position[finger] == 0 || position == 0 || probe->position[finger] == position;
}

void score_add(struct score_person *person, size_t finger, size_t slot, float score)
{
    person->comparisons[finger]++;
    if (score > person->best[finger][slot]) {
        person->best[finger][slot] = fmaxf(score, 0);
    }
}

/* The best of a finger's slots that are not taken yet; -1 when there is none. */
static int best_slot(const struct score_person *person, size_t finger, const bool *taken)
{
    int best = -1;
    for (size_t s = 0; s < person->slots; s++) {
        if (!taken[s] && person->best[finger][s] >= 0 &&
            (best < 0 || person->best[finger][s] > person->best[finger][best])) {
            best = (int)s;
        }
    }
    return best;
}

/* Gives each finger a slot of its own, highest score first; returns how many got one. That is not
 * always the assignment of the highest sum, but it never gives more, and differs only where two
 * fingers of a stranger resemble the same print. */
static size_t assign(const struct score_probe *probe, const struct score_person *person,
                     float *scores, size_t *fingers)
{
    bool slot_taken[GALLERY_PRINTS_MAX] = {false}, finger_taken[GALLERY_PROBES_MAX] = {false};
    for (size_t given = 0;; given++) {
        int finger = -1, slot = -1;
        for (size_t f = 0; f < probe->fingers; f++) {
            int s = finger_taken[f] ? -1 : best_slot(person, f, slot_taken);
            if (s >= 0 &&
                (finger < 0 || person->best[f][s] > person->best[(size_t)finger][(size_t)slot])) {
                finger = (int)f;
                slot = s;
            }
        }
        if (finger < 0) {
            return given;
        }
        finger_taken[finger] = slot_taken[slot] = true;
        scores[given] = person->best[finger][slot];
        fingers[given] = (size_t)finger;
    }
}

float score_end(const struct score_probe *probe, struct score_person *person)
{
    float scores[GALLERY_PROBES_MAX];
    size_t fingers[GALLERY_PROBES_MAX], compared = 0;
    for (size_t f = 0; f < probe->fingers; f++) {
        compared += person->comparisons[f] > 0;
    }
    if (compared == 0) {
        return -1;
    }
    size_t given = assign(probe, person, scores, fingers);
    /* The best of n tries is n times as likely by chance (Bonferroni); so is the choice of which
     * fingers count where the person has fewer than were given. */
    for (size_t i = 0; i < given; i++) {
        double tries = (double)person->comparisons[fingers[i]] * (double)compared / (double)given;
        scores[i] = fmaxf(scores[i] - (float)(10 * log10(tries)), 0);
    }
    return afis_fuse(scores, given);
}
