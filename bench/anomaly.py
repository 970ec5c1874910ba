#!/usr/bin/python3
"""Recall of seeded misuse and false alerts of `whorl report unusual`, beside plain thresholds, over
several simulated months. Called by bench/anomaly."""
import argparse
import bisect
import collections
import csv
import datetime
import json
import math
import os
import resource
import shutil
import subprocess
import sys

KINDS = ["self", "colleague", "travel", "hours", "volume", "repeat", "outcome", "hit-rate",
         "reason"]
POISSON_P = 0.001


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "")).timestamp()


# ------------------------------------------------------------------ plain thresholds

def poisson_tail(count, mean):
    return 1 - sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1))
                   for i in range(count)) if mean > 0 else 1


def binomial_tails(hits, of, share):
    def log(x):
        return (math.lgamma(of + 1) - math.lgamma(x + 1) - math.lgamma(of - x + 1)
                + x * math.log(share) + (of - x) * math.log1p(-share))
    return (sum(math.exp(log(x)) for x in range(hits + 1)),
            sum(math.exp(log(x)) for x in range(hits, of + 1)))


class Officers:
    """The uses of each officer from the log's records."""

    def __init__(self, conf, whorl, roster):
        self.uses = collections.defaultdict(list)
        self.outcomes, self.last = set(), 0
        known = set()
        for line in run(whorl, "audit", "list", "-c", conf, "--json").splitlines():
            record = json.loads(line)["record"]
            self.last = max(self.last, moment(record["time"]))
            if record["kind"] == "outcome":
                self.outcomes.add(record["transaction"])
            if record["kind"] != "identify" or record["continues"] or not record["samples"]:
                continue
            known.add(record["transaction"])
            self.uses[record["officer"]].append(record)
        self.duties = collections.defaultdict(list)
        for row in roster:
            self.duties[row["officer"]].append((moment(row["from"]), moment(row["until"])))
        for duties in self.duties.values():
            duties.sort()

    def on_duty(self, officer, time):
        duties = self.duties[officer]
        at = bisect.bisect(duties, (time, math.inf))
        return any(start <= time < end for start, end in duties[max(0, at - 3):at])


def person_of(use):
    for answer in use["answers"]:
        if answer["class"] == "match":
            return answer["backend"] + answer["candidates"][0]
    return None


def fixed_limits(log, poisson):
    """Flags as rules of thumb have them: fixed limits, or (poisson) Poisson and binomial ones at
    p = 0.001 that take all officers for alike."""
    flags = set()
    total = sum(len(uses) for uses in log.uses.values())
    hours = sum(end - start for duties in log.duties.values() for start, end in duties) / 3600
    hits = sum(person_of(u) is not None for uses in log.uses.values() for u in uses) / total
    old = [u for uses in log.uses.values() for u in uses
           if moment(u["time"]) < log.last - 7 * 86400]
    silent = sum(u["transaction"] not in log.outcomes for u in old) / max(1, len(old))
    for officer, uses in log.uses.items():
        outside = sum(not log.on_duty(officer, moment(u["time"])) for u in uses)
        per_hour = collections.Counter(int(moment(u["time"]) // 3600) for u in uses)
        people = collections.Counter(p for p in map(person_of, uses) if p)
        reasons = collections.Counter(u["reason"] for u in uses if u["reason"])
        mine = [u for u in uses if moment(u["time"]) < log.last - 7 * 86400]
        missing = sum(u["transaction"] not in log.outcomes for u in mine)
        found = sum(person_of(u) is not None for u in uses)
        busiest = max(per_hour.values())
        most = max(people.values(), default=0)
        typed = max(reasons.values(), default=0)
        if outside >= 1:
            flags.add((officer, "hours"))
        if typed >= 0.9 * sum(reasons.values()) and sum(reasons.values()) >= 10:
            flags.add((officer, "reason"))
        if most >= 3:
            flags.add((officer, "repeat"))
        if poisson:
            if poisson_tail(busiest, total / hours) < POISSON_P:
                flags.add((officer, "volume"))
            if len(mine) >= 10 and 0 < silent < 1 \
                    and binomial_tails(missing, len(mine), silent)[1] < POISSON_P:
                flags.add((officer, "outcome"))
            if len(uses) >= 10 and min(binomial_tails(found, len(uses), hits)) < POISSON_P / 2:
                flags.add((officer, "hit-rate"))
        else:
            if busiest > 6:
                flags.add((officer, "volume"))
            if len(mine) >= 10 and missing > 0.3 * len(mine):
                flags.add((officer, "outcome"))
            if len(uses) >= 10 and not 0.15 <= found / len(uses) <= 0.75:
                flags.add((officer, "hit-rate"))
    return flags


# ------------------------------------------------------------------ scoring

class Score:
    def __init__(self):
        self.planted = collections.Counter()
        self.found = collections.Counter()
        self.false = collections.Counter()
        self.beside = 0
        self.officers = 0

    def add(self, flags, labels, officers):
        misusers = {officer for officer, _ in labels}
        self.officers += len(officers - misusers)
        for officer, kind in labels:
            self.planted[kind] += 1
            self.found[kind] += (officer, kind) in flags
        for officer, kind in flags:
            if officer not in misusers:
                self.false[kind] += 1
            elif (officer, kind) not in labels:
                self.beside += 1

    def per_thousand(self, kind=None):
        count = self.false[kind] if kind else sum(self.false.values())
        return 1000 * count / self.officers


def month(args, seed, folder):
    """One simulated month: (labels, officers, {method: flags}, seconds of the report)."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(args.conf, os.path.join(folder, "conf.d"))
    conf, files = os.path.join(folder, "conf.d"), os.path.join(folder, "files")
    run(args.whorl, "synth", "month", "-c", conf, "--month", "2026-11", "--transactions",
        args.transactions, "--seed", seed, "--misuse", args.misuse, "--files", files)
    labels = {(row["officer"], row["kind"]) for row in rows_of(os.path.join(files, "labels.csv"))}
    flags = set()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    for force in args.force:
        out = os.path.join(folder, "unusual")
        run(args.whorl, "report", "unusual", "-c", conf, "--force", force, "2026-11", "-o", out,
            "--roster", os.path.join(files, "roster.csv"),
            "--identities", os.path.join(files, "identities.csv"),
            "--positions", os.path.join(files, "positions.csv"), "--seed", "bench")
        with open(out + ".json", encoding="utf-8") as file:
            tables = {table["id"]: table for table in json.load(file)["tables"]}
        found = {(row["values"]["officer"], row["values"]["kind"])
                 for row in tables["flags"]["rows"]}
        flags |= found
        if args.verbose:
            for row in tables["flags"]["rows"]:
                key = (row["values"]["officer"], row["values"]["kind"])
                print(seed, "hit  " if key in labels else "FALSE", *key,
                      row["values"].get("p", ""), row["values"]["why"], file=sys.stderr)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    if args.verbose:
        print(seed, "missed", sorted(labels - flags), file=sys.stderr)
    log = Officers(conf, args.whorl, rows_of(os.path.join(files, "roster.csv")))
    rules = {flag for flag in flags if flag[1] in ("self", "colleague", "travel")}
    return labels, set(log.uses), {
        "whorl": flags,
        "Poisson": fixed_limits(log, True) | rules,
        "fixed": fixed_limits(log, False) | rules}, seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--whorl", required=True)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--force", action="append", required=True)
    parser.add_argument("--transactions", type=int, default=100000)
    parser.add_argument("--misuse", default="6")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("seeds", nargs="+", type=int)
    args = parser.parse_args()
    scores = collections.defaultdict(Score)
    for seed in args.seeds:
        labels, officers, methods, seconds = month(args, seed, os.path.join(args.dir, "month"))
        for name, flags in methods.items():
            scores[name].add(flags, labels, officers)
        print(f"seed {seed}: {len(officers)} officers, {seconds:.1f} s of CPU for the reports",
              flush=True)
    names = ["whorl", "Poisson", "fixed"]
    print(f"\n{'':12}{'seeded':>8}" + "".join(f"{name + ' recall':>16}{'false':>8}"
                                                for name in names))
    for kind in KINDS + [None]:
        line = f"{kind or 'all':12}"
        for name in names:
            score = scores[name]
            planted = score.planted[kind] if kind else sum(score.planted.values())
            found = score.found[kind] if kind else sum(score.found.values())
            if name == "whorl":
                line += f"{planted:8}"
            share = f"{100 * found / planted:.1f} %" if planted else "-"
            line += f"{share:>16}{score.per_thousand(kind):8.2f}"
        print(line)
    print("\nfalse: alerts for 1,000 officers of whom nothing was seeded, in a month. Flags of "
          "another kind than\nthe seeded one, on officers who misuse the service: "
          + ", ".join(f"{name} {scores[name].beside}" for name in names))


main()
