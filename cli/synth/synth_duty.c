/* Who is on duty when and where in a simulated month. */
#include <math.h>

#include "cli/synth/synth_month.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

/* What chance decided about an officer and a day (or anything else) stays so. */
static struct draw draw_of(const struct synth_month *month, uint32_t what, uint32_t a, uint32_t b)
{
    struct draw draw = {month->seed + ((uint64_t)a << 32 | b)};
    draw.state = draw_bits(&draw) ^ what;
    return draw;
}

void synth_make_ops(struct synth_month *month)
{
    struct draw draw = {month->seed ^ 0x6f7073};
    uint32_t forces = (uint32_t)month->conf->force_count;
    uint32_t bases = 1 + month->officer_count / 40;
    for (uint32_t f = 0; f < forces && month->op_count + 4 <= SYNTH_OPS_MAX; f++) {
        for (uint32_t i = 0; i < 4; i++) {
            month->ops[month->op_count++] =
                (struct synth_op){.force = f,
                                  .base = draw_below(&draw, bases),
                                  .day = draw_below(&draw, month->days)};
        }
    }
}

bool synth_posted(const struct synth_month *month, uint32_t officer, uint32_t op)
{
    struct draw draw = draw_of(month, 0x706f7374, officer, op);
    return month->officers[officer].force == month->ops[op].force && draw_chance(&draw, 60);
}

static int op_of(const struct synth_month *month, uint32_t officer, uint32_t day)
{
    for (uint32_t i = 0; i < month->op_count; i++) {
        if (month->ops[i].day == day && synth_posted(month, officer, i)) {
            return (int)i;
        }
    }
    return -1;
}

/* Two earlies (07-15), two lates (15-23), two nights (23-07), two days off. One shift in fifty runs
 * into overtime, which is entered in the roster mostly; somebody works a day off now and then
 * without its being entered; some shifts are at another base. */
bool synth_duty(const struct synth_month *month, uint32_t officer, uint32_t day,
                struct synth_duty *duty)
{
    static const unsigned starts[] = {7, 7, 15, 15, 23, 23, 15, 15};
    const struct synth_officer *who = &month->officers[officer];
    struct draw draw = draw_of(month, 0x64757479, officer, day);
    uint32_t turn = (day + who->rota) % 8;
    bool swapped = draw_below(&draw, 2000) == 0, overtime = draw_chance(&draw, 20);
    bool entered = draw_chance(&draw, 920), attached = draw_chance(&draw, 20);
    int op = op_of(month, officer, day);
    if (op < 0 && turn >= 6 && !swapped) {
        return false;
    }
    *duty = (struct synth_duty){.op = op, .turn = turn, .base = who->base};
    duty->start = month->period.from + day * DAY_MS + (op >= 0 ? 18 : starts[turn]) * HOUR_MS;
    duty->listed_end = duty->start + 8 * HOUR_MS;
    duty->end = duty->listed_end + (overtime && op < 0 ? 3 * HOUR_MS : 0);
    duty->listed = op >= 0 || turn < 6;
    if (entered) {
        duty->listed_end = duty->end;
    }
    if (attached && op < 0) {
        duty->base = draw_below(&draw, 1 + month->officer_count / 40);
    }
    return true;
}

void synth_place(const struct synth_month *month, uint32_t force, uint32_t base, double *latitude,
                 double *longitude)
{
    struct draw whole = draw_of(month, 0x706c6163, force, UINT32_MAX);
    struct draw here = draw_of(month, 0x706c6163, force, base);
    *latitude = 51.2 + 3 * draw_below(&whole, 1000) * 1e-3;
    *longitude = -2.5 + 2 * draw_below(&whole, 1000) * 1e-3;
    *latitude += 0.8 * (draw_below(&here, 1000) * 1e-3 - 0.5);
    *longitude += 1.2 * (draw_below(&here, 1000) * 1e-3 - 0.5);
}

/* How busy the hours of the day are, in 1000 of the busiest. */
static const uint16_t busy_hours[24] = {620, 500, 380, 250, 160, 130,  170, 280,
                                        420, 500, 560, 600, 640, 660,  700, 760,
                                        820, 870, 900, 940, 980, 1000, 960, 820};

/* Evenings, Fridays and Saturdays are busier, and shifts differ, whoever works them. */
bool synth_pick_time(const struct synth_month *month, uint32_t officer, struct draw *draw,
                     int64_t *time_ms, uint32_t *base)
{
    struct synth_duty duty;
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t day = draw_below(draw, month->days);
        if (!synth_duty(month, officer, day, &duty) || duty.op >= 0) {
            continue;
        }
        struct draw mood = draw_of(month, 0x6d6f6f64, officer, day);
        uint32_t lively = 150 + draw_skewed(&mood, 300, 1.8);
        int64_t time = duty.start + (int64_t)((double)(duty.end - duty.start) *
                                              (double)(draw_bits(draw) >> 11) * 0x1p-53);
        unsigned weekday = (unsigned)period_local(duty.start).weekday;
        bool busy = weekday == 4 || weekday == 5;
        if (time < month->period.until && (busy || draw_chance(draw, 750)) &&
            draw_chance(draw, lively) && draw_chance(draw, busy_hours[period_local(time).hour])) {
            *time_ms = time;
            *base = duty.base;
            return true;
        }
    }
    return false;
}
