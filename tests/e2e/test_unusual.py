#!/usr/bin/python3
"""Unusual activity and cases on the real log: seeded misuse is flagged with the records that show
it, counted again here; the sample can be drawn again; and whatever is done to a case is in the
audit log."""
import collections
import csv
import datetime
import hashlib
import json
import os
import uuid

from whorl import OFFICER, Server, World, edit, unittest, whorl

KINDS = {"self", "colleague", "travel", "hours", "volume", "repeat", "outcome", "hit-rate",
         "reason"}
SEED = "Lotto of 2026-12-05: 3 14 15 26 35 58"


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def entries_of(world):
    """[(position, record)]"""
    lines = whorl("audit", "list", "-c", world.conf, "--json").stdout.splitlines()
    return [(entry["position"], entry["record"]) for entry in map(json.loads, lines)]


def tables_of(path):
    with open(path, encoding="utf-8") as file:
        return {table["id"]: table["rows"] for table in json.load(file)["tables"]}


def wall(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M")


class Simulated(unittest.TestCase):
    """A month with misuse of every kind (November: the clock on the wall is UTC)."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.files = cls.world.path("files")
        whorl("synth", "month", "-c", cls.world.conf, "--month", "2026-11", "--transactions",
              30000, "--seed", 5, "--misuse", "3,hours=4", "--files", cls.files)
        whorl("audit", "verify", "-c", cls.world.conf)
        cls.entries = dict(entries_of(cls.world))
        cls.labels = {(row["officer"], row["kind"])
                      for row in rows_of(os.path.join(cls.files, "labels.csv"))}
        cls.tables = cls.report("WMP")

    @classmethod
    def report(cls, force, *args, files=("roster", "identities", "positions"), code=0):
        out = cls.world.path("unusual")
        others = [arg for name in files
                  for arg in ("--" + name, os.path.join(cls.files, name + ".csv"))]
        whorl("report", "unusual", "-c", cls.world.conf, "--force", force, "2026-11", "-o", out,
              "--seed", SEED, *others, *args, code=code)
        return tables_of(out + ".json") if code == 0 else None

    def evidence(self, flag):
        return [row for row in self.tables["evidence"]
                if row["code"].rsplit("-", 1)[0] == flag["code"]]

    def flags(self, kind):
        found = [row for row in self.tables["flags"] if row["values"]["kind"] == kind]
        self.assertTrue(found, kind)
        return found

    def records(self, flag):
        return [self.entries[row["values"]["record"]] for row in self.evidence(flag)]

    def test_nearly_all_seeded_misuse_is_flagged_and_little_else(self):
        self.assertEqual({kind for _, kind in self.labels}, KINDS)
        seeded = {label for label in self.labels if label[0].startswith("WMP")}
        flagged = {(row["values"]["officer"], row["values"]["kind"])
                   for row in self.tables["flags"]}
        self.assertGreaterEqual(len(seeded & flagged), 0.8 * len(seeded), seeded - flagged)
        officers = {label[0] for label in self.labels}
        false = [flag for flag in flagged if flag[0] not in officers]
        summary = {row["code"]: row["values"]["value"] for row in self.tables["summary"]}
        self.assertLess(len(false), max(10, 0.02 * summary["officers"]), false)

    def test_labels_are_not_in_the_log(self):
        fields = {key for record in self.entries.values() for key in record}
        self.assertFalse(fields & {"label", "misuse", "seeded"})
        kinds = collections.Counter(record["kind"] for record in self.entries.values())
        self.assertEqual(set(kinds) - {"collection", "alteration"},  # of the demo's world
                         {"identify", "lookup", "refused", "outcome"})

    def test_each_flag_rests_on_records_of_the_officer_that_are_there(self):
        for flag in self.tables["flags"]:
            rows = self.evidence(flag)
            self.assertEqual(len(rows), flag["values"]["count"])
            self.assertTrue(rows)
            self.assertGreater(len(flag["values"]["why"]), 30)
            for row in rows:
                record = self.entries[row["values"]["record"]]
                self.assertEqual(record["transaction"], row["label"])
                self.assertEqual(record["officer"], flag["values"]["officer"])
                self.assertEqual(record["kind"], "identify")

    def test_records_out_of_hours_are_out_of_hours(self):
        duties = collections.defaultdict(list)
        for row in rows_of(os.path.join(self.files, "roster.csv")):
            duties[row["officer"]].append((wall(row["from"]), wall(row["until"])))
        grace = datetime.timedelta(minutes=15)
        for flag in self.flags("hours"):
            officer = flag["values"]["officer"]
            outside = {record["transaction"] for record in self.entries.values()
                       if record["kind"] == "identify" and record["officer"] == officer
                       and record["samples"] and not record["continues"]
                       and not any(start - grace <= wall(record["time"][:16]) <= end + grace
                                   for start, end in duties[officer])}
            self.assertEqual({row["label"] for row in self.evidence(flag)}, outside)

    def test_own_and_colleagues_references_were_returned(self):
        own = collections.defaultdict(set)
        for row in rows_of(os.path.join(self.files, "identities.csv")):
            own[row["officer"]].add((row["backend"], row["reference"]))
        everybody = set().union(*own.values())

        def returned(record):
            return {(answer["backend"], ref) for answer in record["answers"]
                    for ref in answer["candidates"]}
        for flag in self.flags("self"):
            for record in self.records(flag):
                self.assertTrue(returned(record) & own[record["officer"]])
        for flag in self.flags("colleague"):
            for record in self.records(flag):
                self.assertTrue(returned(record) & (everybody - own[record["officer"]]))
        # Without the vetting unit's list, nobody is looked for.
        tables = self.report("WMP", files=("roster", "positions"))
        self.assertFalse([row for row in tables["flags"]
                          if row["values"]["kind"] in ("self", "colleague")])
        kinds = {row["code"]: row["values"]["usual"] for row in tables["kinds"]}
        self.assertIn("not looked for", kinds["self"])

    def test_the_others_rest_on_what_they_say(self):
        for flag in self.flags("repeat"):
            people = [frozenset(ref for answer in record["answers"] if answer["class"] == "match"
                                for ref in answer["candidates"])
                      for record in self.records(flag)]
            self.assertGreaterEqual(len(people), 4)
            self.assertEqual(len(frozenset.intersection(*people) & people[0]) > 0, True)
        for flag in self.flags("reason"):
            self.assertEqual(len({record["reason"].lower() for record in self.records(flag)}), 1)
        outcomes = {record["transaction"] for record in self.entries.values()
                    if record["kind"] == "outcome"}
        for flag in self.flags("outcome"):
            self.assertFalse(outcomes & {row["label"] for row in self.evidence(flag)})
        for flag in self.flags("volume"):
            times = sorted(record["time"] for record in self.records(flag))
            self.assertGreaterEqual(len(times), 7)
            span = datetime.datetime.fromisoformat(times[-1][:23]) \
                - datetime.datetime.fromisoformat(times[0][:23])
            self.assertLess(span, datetime.timedelta(hours=12))
        for flag in self.flags("travel"):
            records = self.records(flag)
            for before, after in zip(records[::2], records[1::2]):
                self.assertNotEqual(before["device"], after["device"])

    def test_without_a_roster_hours_and_volume_are_not_judged(self):
        tables = self.report("WMP", files=())
        kinds = {row["code"]: row["values"] for row in tables["kinds"]}
        for kind in ("hours", "volume", "travel"):
            self.assertIn("not looked for", kinds[kind]["usual"])
            self.assertEqual(kinds[kind]["flags"], 0)
        self.assertGreater(kinds["repeat"]["flags"], 0)

    def test_a_report_is_recorded_with_whom_it_flags(self):
        tables = self.report("WMP", "--budget", "5")
        record = entries_of(self.world)[-1][1]
        self.assertEqual((record["kind"], record["event"], record["force"]),
                         ("report", "unusual", "WMP"))
        self.assertEqual((record["from"], record["to"]), ("2026-11-01", "2026-11-30"))
        self.assertEqual((record["flags"], record["sample"]),
                         (len(tables["flags"]), len(tables["sample"])))
        self.assertTrue(record["user"])
        flagged = [flag["values"]["officer"] for flag in tables["flags"]]
        self.assertEqual(record["officers"], list(dict.fromkeys(flagged)))

    def test_anybody_draws_the_same_sample_from_the_seed(self):
        uses = [record["transaction"] for record in self.entries.values()
                if record["kind"] == "identify" and record["force"] == "WMP"
                and not (record["consent"] == "refused" and not record["samples"])]
        drawn = sorted(uses, key=lambda text: hashlib.sha256(
            SEED.encode() + b"\0" + uuid.UUID(text).bytes).digest())
        count = -(-len(uses) // 100)
        self.assertEqual([row["label"] for row in self.tables["sample"]], drawn[:count])
        other = self.report("WMP", "--seed", "another", "--sample", "2.5")
        self.assertEqual(len(other["sample"]), -(-len(uses) * 25 // 1000))
        self.assertNotEqual([row["label"] for row in other["sample"]][:count], drawn[:count])

    def test_a_smaller_budget_flags_less(self):
        few = self.report("WMP", "--budget", "0.1")
        flags = {(row["values"]["officer"], row["values"]["kind"]) for row in few["flags"]}
        usual = {(row["values"]["officer"], row["values"]["kind"]) for row in self.tables["flags"]}
        self.assertLess(flags, usual)

    def test_bad_files_are_refused_by_line(self):
        bad = self.world.path("bad.csv")
        with open(bad, "w", encoding="utf-8") as file:
            file.write("officer,from,until,duty\nWMP1,2026-11-01T07:00,yesterday,early\n")
        done = whorl("report", "unusual", "-c", self.world.conf, "--force", "WMP", "2026-11",
                     "-o", self.world.path("x"), "--seed", "s", "--roster", bad, code=3)
        self.assertIn(bad + ":2", done.stderr)
        self.assertFalse(os.path.exists(self.world.path("x.json")))
        done = whorl("report", "unusual", "-c", self.world.conf, "--force", "WMP", "2026-11", "-o",
                     self.world.path("x"), "--seed", "s", "--roster", self.world.conf, code=3)
        self.assertIn("cannot be read", done.stderr)  # a folder, which is not an empty file
        for args in (("--force", "WMP"), ("--seed", "s"),
                     ("--force", "WMP", "--seed", "s", "--budget", "0")):
            whorl("report", "unusual", "-c", self.world.conf, "2026-11", "-o", "x", *args, code=2)
        whorl("synth", "month", "-c", self.world.conf, "--month", "2026-11", "--misuse",
              "nothing=1", code=2)

    def test_html_loads_and_runs_nothing(self):
        with open(self.world.path("unusual.html"), encoding="utf-8") as file:
            page = file.read()
        for bad in ("<script", "http://", "https://", "<link", "<img", "@import", "url("):
            self.assertNotIn(bad, page)


class Cases(unittest.TestCase):
    """Beside a running server."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.server = Server(cls.world)
        with cls.server.client() as client:
            cls.uses = [client.call("identify", cls.world.request(3))["transaction"]
                        for _ in range(2)]

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0
        whorl("audit", "verify", "-c", cls.world.conf)

    def case(self, action, *args, **kwargs):
        return whorl("case", action, "-c", self.world.conf, *args, **kwargs)

    def open(self, *uses):
        return self.case("open", "--force", "WMP", "--officer", OFFICER, "--why",
                         "A tip: searches for a friend", *uses).stdout.strip()

    def events(self, number):
        return [(position, record) for position, record in entries_of(self.world)
                if record["kind"] == "case" and (record["case"] or position) == int(number)]

    def test_a_case_from_opening_to_finding_is_in_the_log(self):
        number = self.open(*self.uses)
        self.case("assign", number, "Insp Hale")
        shown = json.loads(self.case("show", number, "--format", "json").stdout)
        self.case("close", number, "--finding", "explained", "--note", "Asked: a road check")
        events = self.events(number)
        self.assertEqual([record["event"] for _, record in events],
                         ["opened", "assigned", "viewed", "closed"])
        opened, assigned, _, closed = [record for _, record in events]
        positions = {record["transaction"]: position
                     for position, record in entries_of(self.world)
                     if record["kind"] == "identify"}
        self.assertEqual(opened["transactions"], self.uses)
        self.assertEqual(opened["records"], [positions[use] for use in self.uses])
        self.assertEqual((opened["officer"], opened["force"]), (OFFICER, "WMP"))
        self.assertEqual(assigned["assignee"], "Insp Hale")
        self.assertEqual((closed["finding"], closed["note"]), ("explained", "Asked: a road check"))
        for _, record in events:
            self.assertEqual(record["uid"], os.getuid())
            self.assertEqual(len(record["policy"]), 64)
        text = json.dumps(shown)
        for said in (OFFICER, "Insp Hale", "A tip: searches for a friend", *self.uses):
            self.assertIn(said, text)
        again = self.case("show", number).stdout  # the finding, and both views
        self.assertIn("Asked: a road check", again)
        self.assertEqual(again.count("Event: viewed"), 2)

    def test_a_closed_case_stays_closed(self):
        number = self.open(self.uses[0])
        self.case("close", number, "--finding", "false_alert", "--note", "Roster was wrong")
        count = len(self.events(number))
        self.case("close", number, "--finding", "criminal", "--note", "No", code=1)
        self.case("assign", number, "Insp Hale", code=1)
        self.assertEqual(len(self.events(number)), count)

    def test_the_list_names_no_officer_and_who_sees_one_is_recorded(self):
        number = self.open(self.uses[1])
        before = len(entries_of(self.world))
        listed = json.loads(self.case("list", "--format", "json").stdout)
        self.assertEqual(len(entries_of(self.world)), before)
        self.assertNotIn(OFFICER, json.dumps(listed))
        rows = {row["code"]: row["values"] for row in listed["tables"][0]["rows"]}
        self.assertEqual(rows[number]["state"], "open")
        self.case("show", number)
        self.assertEqual(self.events(number)[-1][1]["event"], "viewed")

    def test_nothing_is_shown_that_can_not_be_recorded(self):
        number = self.open(self.uses[1])
        vkey = self.world.path("var", "audit", "checkpoint.vkey")
        key = self.world.path("var", "audit", "checkpoint.key")
        os.rename(key, key + ".away")
        try:
            shown = self.case("show", number, code=3)
            self.assertNotIn(OFFICER, shown.stdout)
            self.case("close", number, "--finding", "explained", "--note", "x", code=3)
            out = self.world.path("unrecorded")
            month = entries_of(self.world)[-1][1]["time"][:7]
            whorl("report", "unusual", "-c", self.world.conf, "--force", "WMP", month, "-o", out,
                  "--seed", SEED, code=3)
            self.assertFalse(os.path.exists(out + ".json"))
        finally:
            if os.path.exists(key):
                os.remove(key)
            os.rename(key + ".away", key)
        self.assertTrue(os.path.exists(vkey))
        self.assertEqual([record["event"] for _, record in self.events(number)], ["opened"])

    def test_only_what_stands_in_the_log_opens_a_case(self):
        before = len(entries_of(self.world))
        base = ("--force", "WMP", "--officer", OFFICER, "--why", "w")
        self.case("open", *base, str(uuid.uuid4()), code=3)
        self.case("open", *base, "no-transaction", code=3)
        self.case("open", "--force", "WMP", "--officer", "WMP0001", "--why", "w", self.uses[0],
                  code=3)
        self.case("open", "--force", "XXX", "--officer", OFFICER, "--why", "w", self.uses[0],
                  code=2)
        for action in ("show", "close", "assign"):
            more = {"close": ("--finding", "explained", "--note", "n"),
                    "assign": ("Insp Hale",)}.get(action, ())
            self.case(action, "99999999", *more, code=1)
        self.case("close", "1", "--finding", "nonsense", "--note", "n", code=2)
        self.assertEqual(len(entries_of(self.world)), before)

    def test_nobody_follows_their_own_case(self):
        number = self.open(self.uses[0])
        self.case("assign", number, OFFICER, code=2)
        self.assertEqual(len(self.events(number)), 1)

    def test_a_report_opens_cases_and_a_forged_one_does_not(self):
        world = World()
        files, out = world.path("files"), world.path("unusual")
        whorl("synth", "month", "-c", world.conf, "--month", "2026-11", "--transactions", 4000,
              "--seed", 3, "--misuse", "0,self=3,repeat=3", "--files", files)
        whorl("report", "unusual", "-c", world.conf, "--force", "WMP", "2026-11", "-o", out,
              "--seed", SEED, "--identities", os.path.join(files, "identities.csv"))
        tables = tables_of(out + ".json")
        flag = tables["flags"][0]
        number = int(whorl("case", "open", "-c", world.conf, "--report", out + ".json",
                           flag["code"]).stdout)
        record = dict(entries_of(world))[number]
        self.assertEqual(record["why"], flag["values"]["why"])
        self.assertEqual(record["flag"], flag["values"]["kind"])
        self.assertEqual(record["transactions"],
                         [row["label"] for row in tables["evidence"]
                          if row["code"].startswith(flag["code"] + "-")])
        whorl("case", "open", "-c", world.conf, "--report", out + ".json", "F9999", code=3)
        with open(out + ".json", encoding="utf-8") as file:
            report = json.load(file)
        for table in report["tables"]:
            if table["id"] == "evidence":
                table["rows"] = []
        with open(out + "-bare.json", "w", encoding="utf-8") as file:
            json.dump(report, file)
        count = len(entries_of(world))
        refused = whorl("case", "open", "-c", world.conf, "--report", out + "-bare.json",
                        flag["code"], code=3)
        self.assertIn("rests on no transaction", refused.stderr)
        self.assertEqual(len(entries_of(world)), count)
        edit(out + ".json", (f'"officer": "{flag["values"]["officer"]}"', '"officer": "WMP0001"'))
        whorl("case", "open", "-c", world.conf, "--report", out + ".json", flag["code"], code=3)


if __name__ == "__main__":
    unittest.main()
