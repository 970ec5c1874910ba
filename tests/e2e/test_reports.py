#!/usr/bin/python3
"""Reports from the real log: their numbers are those of what was done, counted again here from the
records; and what the public report withholds can't be computed from what it says."""
import collections
import csv
import datetime
import json
import math
import os
import shutil
import stat
from fractions import Fraction

from whorl import OFFICER, RpcError, Server, World, unittest, whorl


def read_report(out):
    """{table: {code: {measure: value}}} from the JSON file, and the same from the CSV file."""
    with open(out + ".json", encoding="utf-8") as file:
        report = json.load(file)
    tables = {table["id"]: {row["code"]: row["values"] for row in table["rows"]}
              for table in report["tables"]}
    from_csv = collections.defaultdict(lambda: collections.defaultdict(dict))
    with open(out + ".csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            from_csv[row["table"]][row["code"]][row["measure"]] = row["value"]
    return tables, from_csv


def records_of(world):
    lines = whorl("audit", "list", "-c", world.conf, "--json").stdout.splitlines()
    return [json.loads(line)["record"] for line in lines]


def values(table, measure="value"):
    return {code: row.get(measure) for code, row in table.items()}


class Real(unittest.TestCase):
    """A few transactions by the real server."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.server = Server(cls.world)
        cls.month = datetime.datetime.now(datetime.timezone.utc)
        subject = {"condition": "adult", "gender": "female", "age_band": "25-34",
                   "ethnicity_officer": "3", "ethnicity_self": "B1", "family": "Moss",
                   "given": "Ann", "born": "1990-02-03"}
        with cls.server.client() as client:
            def ask(person, **more):
                return client.call("identify", cls.world.request(person, **more))["transaction"]
            cls.match = ask(3, subject=subject)
            cls.miss = ask(13, reason="=HYPERLINK(\"http://x\")")
            cls.again = ask(13, continues=cls.miss)
            cls.history = ask(10)
            cls.refused = ask(None, consent="refused", reason=None, reason_code=None)
            for bad in ({"basis": "because"}, {"stop_power": None}):
                try:
                    ask(3, **bad)
                    raise AssertionError("was answered")
                except RpcError:
                    pass

            def outcome(transaction, text, control=False):
                client.call("record_outcome", {"officer": OFFICER, "transaction": transaction,
                                               "outcome": text, "contacted_control": control,
                                               "note": "<b>bold</b>"})
            outcome(cls.match, "reported")
            outcome(cls.match, "arrested_crime")
            outcome(cls.history, "released", True)
        assert cls.server.stop() == 0

    def report(self, *args, name="out"):
        out = self.world.path(name)
        # Should the month end between the first request and here, the log says which one it was.
        month = records_of(self.world)[-1]["time"][:7]
        whorl("report", args[0], "-c", self.world.conf, *args[1:], month, "-o", out)
        return out

    def test_month_counts_what_was_done(self):
        tables, from_csv = read_report(self.report("month", "--force", "WMP"))
        summary = values(tables["summary"])
        self.assertEqual(
            {key: summary[key] for key in
             ("uses", "persons", "identifications", "refusals", "transactions",
              "without_outcome", "contacted_control", "devices_used", "devices",
              "uses_per_100_devices", "custody_trips_avoided", "custody_hours_avoided",
              "custody_pounds_avoided")},
            {"uses": 4, "persons": 3, "identifications": 2, "refusals": 1, "transactions": 5,
             "without_outcome": 2, "contacted_control": 1, "devices_used": 1, "devices": 1,
             "uses_per_100_devices": 400, "custody_trips_avoided": 1,
             "custody_hours_avoided": 14, "custody_pounds_avoided": 420})
        self.assertEqual(tables["ethnicity_officer"]["3"],
                         {"uses": 1, "persons": 1, "identifications": 1})
        self.assertEqual(tables["ethnicity_self"][""]["uses"], 3)
        self.assertEqual(tables["outcome"]["arrested_crime"]["uses"], 1)
        self.assertEqual(tables["outcome"]["reported"]["uses"], 0)
        self.assertEqual(tables["answers"]["ident1"]["match"], 1)
        self.assertEqual(tables["answers"]["immigration"]["match"], 1)
        self.assertEqual(tables["officer"], {OFFICER: {"uses": 4, "persons": 3,
                                                       "identifications": 2}})
        self.assertEqual(tables["device"]["phone-1"]["uses"], 4)
        self.assertEqual(tables["refused"], {"invalid": {"requests": 2}})
        self.assertEqual(from_csv["summary"]["uses"]["value"], "4")

    def test_only_their_owner_reads_files_that_are_not_for_publication(self):
        old = os.umask(0o022)
        try:
            for args, mode in ((("month", "--force", "WMP"), 0o600), (("public",), 0o644)):
                bystander = self.world.path("bystander")
                for name in (bystander, self.world.path("modes.csv")):
                    with open(name, "w", encoding="utf-8") as file:
                        file.write("old")
                self.replace_by_link(self.world.path("modes.json.part"), bystander)
                self.replace_by_link(self.world.path("modes.html"), bystander)
                out = self.report(*args, name="modes")
                for form in (".html", ".csv", ".json"):
                    self.assertFalse(os.path.islink(out + form))
                    self.assertEqual(stat.S_IMODE(os.stat(out + form).st_mode), mode, form)
                with open(bystander, encoding="utf-8") as file:
                    self.assertEqual(file.read(), "old")
                self.assertEqual({name for name in os.listdir(os.path.dirname(out))
                                  if name.startswith("modes.")},
                                 {"modes.html", "modes.csv", "modes.json", "modes.json.part"})
        finally:
            os.umask(old)

    @staticmethod
    def replace_by_link(path, target):
        if os.path.lexists(path):
            os.remove(path)
        os.symlink(target, path)

    def test_gateways_are_no_devices(self):
        tls = self.world.tls
        whorl("keys", "device", "-o", tls, "--ca", tls, "--name", "region")
        whorl("device", "add", "region", "--gateway", "--cert", os.path.join(tls, "region.pem"),
              "--force", "WMP", "-c", self.world.conf)
        tables, _ = read_report(self.report("month", "--force", "WMP"))
        self.assertEqual(tables["summary"]["devices"]["value"], 1)

    def test_a_registry_that_can_not_be_read_is_told_and_none_is_none(self):
        registry, away = self.world.path("var", "registry"), self.world.path("var", "away")
        month = records_of(self.world)[-1]["time"][:7]
        args = ("report", "month", "-c", self.world.conf, "--force", "WMP", month, "-o",
                self.world.path("registry"))
        os.rename(registry, away)
        try:
            whorl(*args)
            tables, _ = read_report(args[-1])
            self.assertEqual(tables["summary"]["uses_per_100_devices"]["value"], 400)
            os.mkdir(registry)
            with open(os.path.join(registry, "data.mdb"), "wb") as file:
                file.write(b"damaged" * 1000)
            count = len(records_of(self.world))
            self.assertIn("registry", whorl(*args, code=3).stderr)
            self.assertEqual(len(records_of(self.world)), count)
        finally:
            shutil.rmtree(registry, ignore_errors=True)
            os.rename(away, registry)

    def test_rates_are_options(self):
        tables, _ = read_report(self.report("month", "--force", "WMP", "--custody-hours", 10,
                                            "--custody-pounds", 2.5))
        self.assertEqual(tables["summary"]["custody_pounds_avoided"]["value"], 25)

    def test_html_loads_and_runs_nothing(self):
        with open(self.report("month", "--force", "WMP") + ".html", encoding="utf-8") as file:
            page = file.read()
        for bad in ("<script", "http://", "https://", "<link", "<img", "@import", "url("):
            self.assertNotIn(bad, page)

    def test_another_force_and_month_have_nothing(self):
        out = self.world.path("none")
        whorl("report", "month", "-c", self.world.conf, "--force", "MPS", "2026-11", "-o", out)
        whorl("report", "month", "-c", self.world.conf, "--force", "WMP", "2001-02", "-o", out)
        self.assertEqual(read_report(out)[0]["summary"]["uses"]["value"], 0)

    def test_so_few_uses_are_not_published(self):
        tables, _ = read_report(self.report("public"))
        self.assertEqual(tables["summary"]["uses"]["value"], "[c]")
        self.assertEqual(set(tables), {"summary", "definitions"})

    def test_subject_access_by_number_name_and_reference(self):
        for query in (("--transaction", self.match), ("--ref", "K0410111"),
                      ("--family", "moss", "--given", "ANN", "--born", "1990-02-03")):
            report = json.loads(whorl("report", "subject-access", "-c", self.world.conf, *query,
                                      "--format", "json").stdout)
            rows = report["tables"][0]["rows"]
            held = [row for row in rows if row["values"]["what"] == "Collection"]
            rows = [row for row in rows if row["values"]["what"] != "Collection"]
            # How the person came into the gallery and, as the search found them, among the records.
            self.assertEqual([row["values"]["store"] for row in held], ["ident1", "pnc"])
            self.assertEqual({row["code"] for row in rows}, {self.match})
            self.assertEqual([row["values"]["what"] for row in rows],
                             ["Identification", "Look-up", "Outcome", "Outcome"])
            first = rows[0]["values"]
            self.assertIn("Ann Moss, born 1990-02-03", first["claimed"])
            self.assertIn("ident1: Match, reference K0410111", first["databases"])
            text = json.dumps(report)
            self.assertNotIn(OFFICER, text)
            self.assertNotIn("phone-1", text)
        both = json.loads(whorl("report", "subject-access", "-c", self.world.conf,
                                "--transaction", self.again, "--format", "json").stdout)
        self.assertEqual({row["code"] for row in both["tables"][0]["rows"]},
                         {self.miss, self.again})
        whorl("report", "subject-access", "-c", self.world.conf, "--ref", "nobody", code=1)
        whole = json.loads(whorl("report", "subject-access", "-c", self.world.conf, "--ref",
                                 "ident1/K0410111", "--format", "json").stdout)
        self.assertEqual({row["code"] for row in whole["tables"][0]["rows"]
                          if row["values"]["what"] == "Identification"}, {self.match})
        whorl("report", "subject-access", "-c", self.world.conf, "--ref", "immigration/K0410111",
              code=1)

    def test_what_no_record_can_hold_is_not_answered_with_nothing(self):
        for query in (("--family", b"M\xf6ller"), ("--family", "m" * 101), ("--family", ""),
                      ("--family", "Moss", "--given", b"Ren\xe9"), ("--ref", b"K\xff"),
                      ("--family", "Moss", "--born", "03/02/1990"),
                      ("--family", "Moss", "--born", "1990-2-3")):
            query = [os.fsdecode(part) for part in query]
            done = whorl("report", "subject-access", "-c", self.world.conf, *query, code=2)
            self.assertEqual(done.stdout, "")
        done = whorl("audit", "list", "-c", self.world.conf, "--transaction", self.match.upper(),
                     code=2)
        self.assertIn("is no transaction", done.stderr)

    def test_formulas_are_no_formulas_in_csv(self):
        done = whorl("report", "subject-access", "-c", self.world.conf, "--transaction", self.miss,
                     "--format", "csv")
        reasons = [row["value"] for row in csv.DictReader(done.stdout.splitlines())
                   if row["measure"] == "reason"]
        self.assertIn("'=HYPERLINK(\"http://x\")", reasons)

    def test_open_lists_uses_without_an_outcome(self):
        done = whorl("report", "open", "-c", self.world.conf, "--days", 0, "--format", "json",
                     code=1)
        rows = json.loads(done.stdout)["tables"][0]["rows"]
        self.assertEqual([row["code"] for row in rows], [self.miss, self.again])
        whorl("report", "open", "-c", self.world.conf, "--days", 1, code=0)

    def named(self, code, *args):
        """Runs a report; the records that it leaves."""
        before = len(records_of(self.world))
        whorl("report", args[0], "-c", self.world.conf, *args[1:], code=code)
        return records_of(self.world)[before:]

    def test_reports_that_name_anybody_are_recorded_first(self):
        out, month, day = self.world.path("named"), f"{self.month:%Y-%m}", f"{self.month:%Y-%m-%d}"
        by_force = ("--force", "WMP")
        nobody = dict.fromkeys(("from", "flags", "sample", "officers", "transactions"))
        for code, args, expected in (
                (0, ("month", *by_force, month, "-o", out),
                 {"force": "WMP", "from": month + "-01", "officers": [OFFICER]}),
                (1, ("open", "--days", "0"), {"force": None, "officers": [OFFICER]}),
                (0, ("open", "--days", "1", *by_force), {"force": "WMP", "officers": []}),
                (0, ("subject-access", "--transaction", self.miss),
                 {"force": None, "transactions": [self.miss, self.again]}),
                (1, ("subject-access", "--ref", "nobody"), {"force": None, "transactions": []})):
            with self.subTest(args[0]):
                record, = self.named(code, *args)
                self.assertEqual((record["kind"], record["event"]), ("report", args[0]))
                self.assertTrue(record["user"])
                expected = {**nobody, **expected}
                self.assertEqual({field: record[field] for field in expected}, expected)
                self.assertEqual(record["to"] is None, record["from"] is None)
        self.assertEqual(self.named(0, "public", month, "-o", out), [])
        self.assertEqual(self.named(0, "foi", "--from", day, "--to", day), [])

    def test_no_report_names_anybody_that_can_not_be_recorded(self):
        out = self.world.path("unrecorded")
        key = self.world.path("var", "audit", "checkpoint.key")
        os.rename(key, key + ".away")
        try:
            for args in (("month", "--force", "WMP", f"{self.month:%Y-%m}", "-o", out),
                         ("open", "--days", "0"), ("subject-access", "--transaction", self.miss)):
                shown = whorl("report", args[0], "-c", self.world.conf, *args[1:], code=3)
                self.assertEqual(shown.stdout, "")
                self.assertFalse(os.path.exists(out + ".json"))
        finally:
            if os.path.exists(key):
                os.remove(key)
            os.rename(key + ".away", key)

    def test_foi_answers_for_a_period(self):
        day = records_of(self.world)[-1]["time"][:10]
        done = whorl("report", "foi", "-c", self.world.conf, "--from", "2020-01-01", "--to", day,
                     "--format", "json")
        tables = {table["id"]: {row["code"]: row["values"] for row in table["rows"]}
                  for table in json.loads(done.stdout)["tables"]}
        self.assertEqual(tables["period"]["period"]["uses"], 4)
        self.assertEqual(tables["period"]["period"]["refusals"], 1)
        self.assertEqual(tables["gender"]["female"]["arrested_crime"], 1)
        self.assertEqual(sum(row["uses"] for row in tables["month"].values()), 4)

    def test_wrong_usage_is_told(self):
        conf = ("-c", self.world.conf)
        for args in (("month", *conf, "--force", "WMP", "2026-13", "-o", "x"),
                     ("month", *conf, "2026-11", "-o", "x"), ("nothing",),
                     ("month", *conf, "--force", "NONE", "2026-11", "-o", "x"),
                     ("public", *conf, "2026-11", "-o", "x", "--threshold", "1"),
                     ("foi", *conf, "--from", "2026-11-02", "--to", "2026-11-01"),
                     ("subject-access", *conf), ("open", *conf, "--format", "pdf")):
            whorl("report", *args, code=2)
        whorl("report", "month", *conf, "--force", "WMP", "2026-11", "-o", "/nowhere/x", code=3)
        whorl("synth", "month", *conf, "--month", "2026-11", code=3)


class Simulated(unittest.TestCase):
    """A simulated month, counted again from the records."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        whorl("synth", "month", "-c", cls.world.conf, "--month", "2026-11", "--transactions", 3000,
              "--seed", 11)
        whorl("audit", "verify", "-c", cls.world.conf)
        cls.records = records_of(cls.world)
        cls.out = cls.world.path("month")
        whorl("report", "month", "-c", cls.world.conf, "--force", "WMP", "2026-11", "-o", cls.out)
        cls.tables, cls.csv = read_report(cls.out)

    def recount(self):
        """The uses of WMP as dicts, with what the definitions say of each."""
        uses, by_id = [], {}
        lookups = {r["backend"] for r in self.records if r["kind"] == "lookup"}
        for record in self.records:
            if record["kind"] == "identify" and record["force"] == "WMP":
                use = dict(record, outcome=None, control=False)
                use["refusal"] = record["consent"] == "refused" and not record["samples"]
                use["identified"] = any(a["class"] == "match" and a["backend"] not in lookups
                                        for a in record["answers"])
                before = by_id.get(record["continues"])
                use["first"] = before["first"] if before else record["transaction"]
                by_id[record["transaction"]] = use
                uses.append(use)
            elif record["kind"] == "outcome" and record["transaction"] in by_id:
                use = by_id[record["transaction"]]
                use["outcome"] = record["outcome"]
                use["control"] |= bool(record["contacted_control"])
        return uses

    def test_every_number_is_that_of_the_records(self):
        everything = self.recount()
        uses = [use for use in everything if not use["refusal"]]
        times = sorted(use["elapsed_ms"] for use in uses)
        summary = values(self.tables["summary"])
        self.assertEqual(summary["uses"], len(uses))
        self.assertEqual(summary["refusals"], len(everything) - len(uses))
        self.assertEqual(summary["persons"], len({use["first"] for use in uses}))
        self.assertLess(summary["persons"], summary["uses"])
        self.assertEqual(summary["identifications"], sum(use["identified"] for use in uses))
        self.assertEqual(summary["contacted_control"], sum(use["control"] for use in uses))
        self.assertEqual(summary["elapsed_p95_s"],
                         times[math.ceil(0.95 * len(times)) - 1] / 1000)
        self.assertEqual(summary["custody_trips_avoided"],
                         sum(use["identified"] and use["outcome"] is not None
                             and not use["outcome"].startswith("arrested") for use in uses))
        keys = {
            "officer": lambda use: use["officer"], "device": lambda use: use["device"],
            "basis": lambda use: use["basis"], "stop_power": lambda use: use["stop_power"],
            "reason_code": lambda use: str(use["reason_code"]),
            "consent": lambda use: use["consent"],
            "condition": lambda use: use["subject"]["condition"],
            "gender": lambda use: use["subject"]["gender"],
            "age_band": lambda use: use["subject"]["age_band"],
            "ethnicity_officer": lambda use: use["subject"]["ethnicity_officer"],
            "ethnicity_self": lambda use: use["subject"]["ethnicity_self"] or "",
            "outcome": lambda use: use["outcome"] or "",
            "hour": lambda use: use["time"][11:13],  # November is GMT
            "weekday": lambda use: str(datetime.date.fromisoformat(use["time"][:10]).isoweekday()),
        }
        for table, key in keys.items():
            counted = collections.Counter(key(use) for use in uses)
            found = collections.Counter(key(use) for use in uses if use["identified"])
            reported = {code: row["uses"] for code, row in self.tables[table].items()}
            self.assertEqual({k: v for k, v in reported.items() if v}, dict(counted), table)
            for code, row in self.tables[table].items():
                self.assertEqual(row["identifications"], found[code], (table, code))
            for measure in ("uses", "persons", "identifications"):
                self.assertEqual(sum(row[measure] for row in self.tables[table].values()),
                                 summary[measure], (table, measure))

    def test_answers_by_database_and_class(self):
        uses = [use for use in self.recount() if not use["refusal"]]
        counted = collections.Counter((a["backend"], a["class"])
                                      for use in uses for a in use["answers"])
        for backend, row in self.tables["answers"].items():
            self.assertEqual(sum(row.values()), len(uses))
            for name, value in row.items():
                self.assertEqual(value, counted[(backend, name)], (backend, name))

    def test_csv_says_what_json_says(self):
        for table, rows in self.tables.items():
            for code, row in rows.items():
                if code == "":
                    continue  # definitions share the empty code
                for measure, value in row.items():
                    text = self.csv[table][code][measure]
                    same = float(text) == value if isinstance(value, (int, float)) \
                        else text == value
                    self.assertTrue(same, (table, code, measure, text, value))

    def test_of_many_officers_all_are_recorded(self):
        """More than one record holds."""
        world = World()
        whorl("synth", "month", "-c", world.conf, "--month", "2026-11", "--transactions", 20000)
        done = whorl("report", "open", "-c", world.conf, "--days", 0, "--format", "json", code=1)
        shown = {row["values"]["officer"] for row in json.loads(done.stdout)["tables"][0]["rows"]}
        records = [record for record in records_of(world) if record["kind"] == "report"]
        self.assertGreater(len(records), 1)
        recorded = [officer for record in records for officer in record["officers"]]
        self.assertEqual(len(recorded), len(set(recorded)))
        self.assertEqual(set(recorded), shown)

    def test_the_same_seed_gives_the_same_month(self):
        other = World()
        whorl("synth", "month", "-c", other.conf, "--month", "2026-11", "--transactions", 3000,
              "--seed", 11)
        def essence(records):
            return [{k: v for k, v in r.items() if k not in ("policy", "rule")} for r in records]
        self.assertEqual(essence(records_of(other)), essence(self.records))

    def publish(self, *args):
        out = self.world.path("public")
        whorl("report", "public", "-c", self.world.conf, "2026-11", *args, "-o", out)
        truth = self.world.path("truth")
        return out, truth

    def test_no_small_number_is_published_nor_computable(self):
        threshold = 15
        out, truth = self.publish("--force", "WMP", "--threshold", threshold)
        shutil.copy(self.out + ".json", truth + ".json")
        shutil.copy(self.out + ".csv", truth + ".csv")
        published, _ = read_report(out)
        true, _ = read_report(truth)
        with open(out + ".json", encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn("WMP1", text)
        hidden = small = 0
        system, unknowns = [], {}
        summary = values(published["summary"])
        for table, rows in published.items():
            if table in ("definitions", "summary", "custody") or not rows:
                continue
            measures = {"uses", "identifications"} & set(next(iter(rows.values())))
            for measure in measures:
                equation, rest = {}, summary[measure]
                for code, row in rows.items():
                    if row[measure] == "[c]":
                        hidden += 1
                        equation[unknowns.setdefault((table, code, measure), len(unknowns))] = 1
                    else:
                        self.assertTrue(row[measure] == 0 or row[measure] >= threshold,
                                        (table, code, row))
                        rest -= row[measure]
                system.append((equation, rest))
        for (table, code, measure), place in unknowns.items():
            value = true.get(table, {}).get(code, {}).get(measure)
            small += value is not None and 0 < value < threshold
        self.assertGreater(hidden, 10)
        self.assertGreater(small, 5)
        for unknown in solved(system, len(unknowns)):
            name = [key for key, place in unknowns.items() if place == unknown]
            self.fail(f"{name} can be computed")

    def test_the_dictionary_explains_all_columns_tables_and_measures(self):
        out, _ = self.publish()
        _, entries = read_report(out + "-dictionary")
        with open(out + ".csv", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            self.assertEqual(set(reader.fieldnames), set(entries["columns"]))
            for row in reader:
                self.assertIn(row["table"], entries["tables"])
                self.assertIn(row["measure"], entries["measures"])
                if row["table"] == "summary":
                    self.assertIn(row["code"], entries["summary_codes"])


def solved(system, count):
    """The unknowns that linear equations fix: rows of the reduced system with one of them."""
    rows = []
    for equation, _ in system:
        rows.append([Fraction(equation.get(i, 0)) for i in range(count)])
    rank = 0
    for column in range(count):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        rows[rank] = [value / rows[rank][column] for value in rows[rank]]
        for r in range(len(rows)):
            if r != rank and rows[r][column]:
                factor = rows[r][column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank])]
        rank += 1
    return [next(i for i, value in enumerate(row) if value) for row in rows
            if sum(1 for value in row if value) == 1]


if __name__ == "__main__":
    unittest.main()
