/* What a force's other systems would say of a simulated month, as files. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/synth/synth_month.h"

#define DAY_MS INT64_C(86400000)

/* A moment as duty systems print it: the clock on the wall. */
static void wall(int64_t time_ms, char text[32])
{
    struct local_time t = period_local(time_ms);
    snprintf(text, 32, "%04d-%02d-%02dT%02d:%02d", t.year, t.month, t.day, t.hour,
             (int)(time_ms / 60000 % 60));
}

static void write_roster(const struct synth_month *month, FILE *out)
{
    static const char *const turns[] = {"early", "early", "late", "late", "night", "night"};
    struct synth_duty duty;
    char from[32], until[32], posting[32];
    fputs("officer,from,until,duty\n", out);
    for (uint32_t i = 0; i < month->officer_count; i++) {
        for (uint32_t day = 0; day < month->days; day++) {
            if (synth_duty(month, i, day, &duty) && duty.listed) {
                wall(duty.start, from);
                wall(duty.listed_end, until);
                snprintf(posting, sizeof posting, "operation %d", duty.op + 1);
                fprintf(out, "%s,%s,%s,%s\n", month->officers[i].id, from, until,
                        duty.op >= 0 ? posting : turns[duty.turn]);
            }
        }
    }
}

static void write_identities(const struct synth_month *month, FILE *out)
{
    char reference[24];
    fputs("officer,backend,reference\n", out);
    for (size_t p = 0; p < month->conf->plugin_count; p++) {
        const struct conf_plugin *plugin = &month->conf->plugins[p];
        if (!plugin->enabled || plugin->descriptor->role != WHORL_ROLE_SEARCH) {
            continue;
        }
        for (uint32_t i = 0; i < month->officer_count; i++) {
            if (month->officers[i].on_record) {
                synth_reference(plugin->name, SYNTH_OFFICER_PERSON + i, reference);
                fprintf(out, "%s,%s,%s\n", month->officers[i].id, plugin->name, reference);
            }
        }
        return; /* the first database is the one that knows them */
    }
}

static void write_position(const struct synth_month *month, const char *device, int64_t time,
                           uint32_t force, uint32_t base, FILE *out)
{
    double latitude, longitude;
    char from[32];
    synth_place(month, force, base, &latitude, &longitude);
    wall(time, from);
    fprintf(out, "%s,%s,%.4f,%.4f\n", device, from, latitude, longitude);
}

/* Devices stand at their bases; those of officers who are posted go with them. */
static void write_positions(const struct synth_month *month, FILE *out)
{
    struct synth_duty duty;
    char device[65];
    fputs("device,from,latitude,longitude\n", out);
    for (uint32_t f = 0; f < month->conf->force_count; f++) {
        for (uint32_t b = 0; b <= month->officer_count / 40; b++) {
            for (unsigned d = 1; d <= SYNTH_POOL; d++) {
                snprintf(device, sizeof device, "%.20s-b%02u-%02u", month->conf->forces[f].code, b,
                         d);
                write_position(month, device, month->period.from - DAY_MS, f, b, out);
            }
        }
    }
    for (uint32_t op = 0; op < month->op_count; op++) {
        for (uint32_t i = 0; i < month->officer_count; i++) {
            if (synth_posted(month, i, op) && synth_duty(month, i, month->ops[op].day, &duty) &&
                duty.op == (int)op) {
                uint32_t force = month->ops[op].force;
                struct synth_use use = {.officer = i, .base = duty.base, .time_ms = duty.start};
                synth_name_device(month, &use, device);
                write_position(month, device, duty.start, force, month->ops[op].base, out);
                write_position(month, device, duty.end, force, duty.base, out);
            }
        }
    }
}

static void write_labels(const struct synth_month *month, FILE *out)
{
    char transaction[40];
    fputs("officer,kind,transaction\n", out);
    for (uint32_t i = 0; i < month->label_count; i++) {
        const struct synth_label *label = &month->labels[i];
        synth_name_transaction(&month->uses[label->use], transaction);
        fprintf(out, "%s,%s,%s\n", month->officers[label->officer].id,
                synth_misuse_names[label->kind], transaction);
    }
}

bool synth_month_files(const struct synth_month *month, const char *dir, struct whorl_fault *fault)
{
    static const struct {
        const char *name;
        void (*write)(const struct synth_month *month, FILE *out);
    } files[] = {{"roster.csv", write_roster},
                 {"identities.csv", write_identities},
                 {"positions.csv", write_positions},
                 {"labels.csv", write_labels}};
    char path[PATH_MAX];
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return whorl_fail(fault, dir, "cannot be made: %s", strerror(errno));
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, files[i].name) >= sizeof path) {
            return whorl_fail(fault, dir, "the path is too long");
        }
        FILE *out = fopen(path, "we");
        if (out == NULL) {
            return whorl_fail(fault, path, "cannot be written: %s", strerror(errno));
        }
        files[i].write(month, out);
        bool ok = !ferror(out);
        if (fclose(out) != 0 || !ok) {
            return whorl_fail(fault, path, "cannot be written");
        }
    }
    return true;
}
