#!/usr/bin/python3
"""Enrolments end, records are erased, and both can be shown: policy explained, people withdrawn
and purged beside a running server, the audit log intact without what was erased."""
import json
import os
import subprocess
import time
import unittest

from whorl import BINARY, OFFICER, RpcError, Server, World, answers, edit, struct, whorl


def records(world, kind=None):
    listed = whorl("audit", "list", "-c", world.conf, "--json").stdout.splitlines()
    found = [json.loads(line)["record"] for line in listed]
    return [r for r in found if kind in (None, r["kind"])]


def gallery_file(world, gallery="ident1"):
    with open(world.path("var", gallery, "data.mdb"), "rb") as file:
        return file.read()


def templates(data, person):
    """The packed templates of a person in a gallery's file, wherever one is."""
    found, at = set(), data.find(person.encode())
    while at >= 0:
        start = at + len(person)
        for _ in range(2):
            length, = struct.unpack_from("<H", data, start + 2)
            packed = data[start + 4:start + 4 + length]
            if packed[:3] == b"WT\1":
                found.add(packed)
            start += 4 + length
        at = data.find(person.encode(), at + 1)
    return found


class Policy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()

    def explain(self, *args, code=0):
        return whorl("policy", "explain", "-c", self.world.conf, *args, code=code)

    def test_the_rule_that_decides_is_named_by_file_and_line(self):
        said = self.explain("--force", "WMP", "--basis", "consent", "--consent", "given").stdout
        with open(os.path.join(self.world.conf, "forces.conf"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        line = lines.index('    rule "adult" {') + 1
        self.assertIn(f"forces.conf:{line}: rule adult of policy never-without-consent", said)
        self.assertRegex(said, r"(?m)^  ident1 +allowed$")
        self.assertRegex(said, r"(?m)^  pnc +allowed, to officers entitled to pnc$")
        self.assertNotIn("audit", said)

    def test_it_is_the_decision_of_the_server(self):
        cases = [("WMP", "consent", "adult", "given", OFFICER),
                 ("WMP", "consent", "adult", "given", "WMP0001"),
                 ("WMP", "consent", "child", "given_by_guardian", OFFICER),
                 ("WMP", "consent", "adult", "not_asked", OFFICER),
                 ("WMP", "deceased", "deceased", "not_asked", OFFICER)]
        server = Server(self.world)
        for force, basis, condition, consent, officer in cases:
            with server.client() as client:
                found = answers(client.call("identify", self.world.request(
                    officer=officer, basis=basis, consent=consent,
                    subject={"condition": condition})))
            for backend, answer in found.items():
                no_sample = answer["reason"] in ("no sample was given",) or (
                    answer["reason"] or "").startswith("nobody to look up")
                said = self.explain("--force", force, "--basis", basis, "--condition", condition,
                                    "--consent", consent, "--officer", officer, "--backend",
                                    backend, code=0 if no_sample else 1).stdout
                if not no_sample:
                    self.assertIn(answer["reason"], said)
        self.assertEqual(server.stop(), 0)

    def test_what_no_rule_fits_is_denied_and_the_policy_named(self):
        said = self.explain("--force", "WMP", "--basis", "consent", "--condition", "unconscious",
                            code=1).stdout
        self.assertIn("policy never-without-consent has no rule for this", said)

    def test_officers_out_of_service_may_ask_nothing(self):
        asked = ("--force", "WMP", "--basis", "consent", "--consent", "given", "--officer")
        conf = self.world.conf
        whorl("officer", "add", "WMP3", "--force", "WMP", "-c", conf)
        self.explain(*asked, "WMP3")
        whorl("officer", "suspend", "WMP3", "-c", conf)
        self.assertIn("WMP3 is suspended", self.explain(*asked, "WMP3", code=1).stdout)
        whorl("officer", "add", "WMP4", "--force", "WMP", "--until", "2020-01-01", "-c", conf)
        self.assertIn("working dates", self.explain(*asked, "WMP4", code=1).stdout)

    def test_unknown_words_are_named(self):
        for args, code in ((("--force", "XYZ", "--basis", "consent"), 3),
                           (("--force", "WMP", "--basis", "consent", "--consent", "maybe"), 2),
                           (("--force", "WMP", "--basis", "consent", "--backend", "audit"), 3),
                           (("--force", "WMP", "--basis", "consent", "--officer", "MPS0001"), 3),
                           (("--force", "WMP"), 2)):
            self.assertTrue(self.explain(*args, code=code).stderr)


class Service(unittest.TestCase):
    """Officers and devices out of service; what is refused is recorded."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def refused(self, **more):
        with self.server.client() as client, self.assertRaises(RpcError) as caught:
            client.call("identify", self.world.request(3, **more))
        return caught.exception

    def test_a_suspended_officer_is_refused_until_restored(self):
        conf = self.world.conf
        whorl("officer", "add", "WMP5", "--force", "WMP", "-c", conf)
        whorl("officer", "suspend", "WMP5", "-c", conf)
        self.assertEqual(self.refused(officer="WMP5").code, "officer_revoked")
        whorl("officer", "restore", "WMP5", "-c", conf)
        with self.server.client() as client:
            client.call("identify", self.world.request(13, officer="WMP5", checks=["ident1"]))

    def test_working_dates_bound_an_officers_service(self):
        conf = self.world.conf
        for name, *dates in (("WMP6", "--until", "2020-01-01"), ("WMP8", "--from", "2999-01-01")):
            whorl("officer", "add", name, "--force", "WMP", *dates, "-c", conf)
            self.assertEqual(self.refused(officer=name).code, "officer_revoked")

    def test_a_suspended_device_is_refused_until_restored(self):
        whorl("device", "suspend", "phone-1", "-c", self.world.conf)
        try:
            self.assertEqual(self.refused().code, "device_revoked")
        finally:
            whorl("device", "restore", "phone-1", "-c", self.world.conf)
        with self.server.client() as client:
            client.call("identify", self.world.request(13, checks=["ident1"]))

    def test_refused_consent_takes_no_sample_and_is_recorded(self):
        request = self.world.request(3, consent="refused")
        with self.server.client() as client, self.assertRaises(RpcError) as caught:
            client.call("identify", request)
        self.assertEqual((caught.exception.code, caught.exception.where), ("invalid", "samples"))
        record, = [r for r in records(self.world, "refused")
                   if r["request_id"] == request["request_id"]]
        self.assertIn("consent was refused", record["message"])
        request = self.world.request(consent="refused")
        with self.server.client() as client:
            client.call("identify", request)
        record, = [r for r in records(self.world, "identify")
                   if r["request_id"] == request["request_id"]]
        self.assertEqual((record["consent"], record["samples"]), ("refused", []))
        self.assertEqual({a["class"] for a in record["answers"]}, {"not_searched"})

    def test_a_change_of_configuration_is_recorded_with_both_hashes_and_the_account(self):
        path = os.path.join(self.world.conf, "core.conf")
        before = [r for r in records(self.world, "server") if r["event"] == "started"][-1]
        self.assertEqual((before["uid"], before["policy_before"]), (os.getuid(), None))
        with open(path, encoding="utf-8") as file:
            kept = file.read()
        edit(path, (r"deadline = \d+", "deadline = 61"))
        self.server.reload()
        after = records(self.world, "server")[-1]
        with open(path, "w", encoding="utf-8") as file:
            file.write(kept)
        self.assertEqual(after["event"], "reloaded")
        self.assertEqual(after["policy_before"], before["policy"])
        self.assertNotEqual(after["policy"], before["policy"])
        self.assertEqual(after["uid"], os.getuid())


class Purge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()

    def identify(self, server, person):
        with server.client() as client:
            return answers(client.call("identify", self.world.request(
                person, checks=["ident1"])))["ident1"]

    def test_withdrawn_and_expired_people_are_not_found_and_leave_nothing_when_purged(self):
        conf, common = self.world.conf, ("-c", self.world.conf, "--gallery", "ident1")
        server = Server(self.world)
        self.assertEqual(self.identify(server, 3)["class"], "match")
        soon = self.world.path("soon.csv")
        with open(soon, "w", encoding="utf-8") as file:
            file.write("person,position,impression,file,source,expires\n")
            for position in (2, 7):
                file.write(f"SHORTLIVED,{position},1,{self.world.print_of(13, position, 1)},"
                           "made up,2020-01-01\n")
        whorl("enrol", *common, soon)
        self.assertEqual(self.identify(server, 13)["class"], "no_match")
        whorl("gallery", "withdraw", *common, "K0410111", "NOBODY", code=1)
        self.assertEqual(self.identify(server, 3)["class"], "no_match")
        kept = templates(gallery_file(self.world), "K0410037")
        gone = {name: templates(gallery_file(self.world), name)
                for name in ("K0410111", "SHORTLIVED")}
        self.assertEqual([len(t) for t in (kept, *gone.values())], [2, 2, 2])

        said = whorl("gallery", "purge", *common).stdout
        self.assertIn("2 people purged", said)
        data = gallery_file(self.world)
        for name, packed in gone.items():
            self.assertFalse(name.encode() in data)
            for template in packed:
                for at in range(0, len(template) - 32, 16):
                    self.assertFalse(template[at:at + 32] in data)
        self.assertFalse(b"Calloway" in data)
        self.assertTrue(all(template in data for template in kept))
        self.assertEqual(self.identify(server, 3)["class"], "no_match")
        self.assertEqual(self.identify(server, 1)["class"], "match")
        whorl("gallery", "check", *common)
        self.assertEqual(whorl("gallery", "show", *common, "K0410111", code=1).stdout, "")

        events = records(self.world, "erasure")
        self.assertEqual([e["event"] for e in events], ["withdrawing", "withdrawn", "purging", "purged"])
        self.assertEqual((events[0]["ids"], events[0]["count"]), (["K0410111"], 1))
        self.assertEqual((events[1]["ids"], events[1]["count"]), ([], 1))
        self.assertEqual(sorted(events[2]["ids"]), ["K0410111", "SHORTLIVED"])
        self.assertEqual(events[3]["count"], 2)
        for event in events:
            self.assertEqual((event["store"], event["uid"]), ("ident1", os.getuid()))
        whorl("audit", "verify", "-c", conf)
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", conf)

    def test_nothing_is_purged_that_could_not_be_recorded(self):
        world = World()
        common = ("-c", world.conf, "--gallery", "ident1")
        Server(world).stop()
        whorl("gallery", "withdraw", *common, "K0410111")
        os.unlink(world.path("var", "audit", "checkpoint"))
        whorl("gallery", "purge", *common, code=3)
        whorl("gallery", "show", *common, "K0410111")

    def test_an_enrolment_without_source_or_expiry_is_refused(self):
        world = World()
        common = ("-c", world.conf, "--gallery", "ident1")
        path = world.path("bare.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"person,position,file\nBARE,2,{world.print_of(13)}\n")
        self.assertIn("source", whorl("enrol", *common, path, code=1).stderr)
        self.assertIn("expires", whorl("enrol", *common, "--source", "made up", path,
                                       code=1).stderr)
        whorl("gallery", "show", *common, "BARE", code=1)
        whorl("enrol", *common, "--source", "made up", "--expires", "never", path)
        shown = whorl("gallery", "show", *common, "BARE").stdout
        self.assertRegex(shown, r"source +made up\n")
        self.assertRegex(shown, r"expires +never\n")


class Erase(unittest.TestCase):
    def test_erased_records_are_gone_and_the_log_is_intact_beside_a_running_server(self):
        world = World()
        whorl("synth", "month", "-c", world.conf, "--month", "2024-05", "--transactions", 20,
              "--misuse", 0)
        server = Server(world)
        word = "Doubted-" + os.urandom(8).hex()
        with server.client() as client:
            first = client.call("identify", world.request(3, reason=word))
        path = world.path("var", "audit", "data.mdb")
        listed = records(world)
        due = [i for i, r in enumerate(listed) if r["time"].startswith("2024-05")]
        transactions = {listed[i]["transaction"].encode() for i in due}
        self.assertGreaterEqual(len(transactions), 20)
        with open(path, "rb") as file:
            data = file.read()
        self.assertTrue(all(t in data for t in (*transactions, word.encode())))
        proof = whorl("audit", "prove", "-c", world.conf, due[0]).stdout
        whorl("audit", "erase", "-c", world.conf, "--before", "2020-01-01")
        self.assertEqual(len(records(world)), len(listed) + 2, "nothing is that old")
        said = whorl("audit", "erase", "-c", world.conf, "--before", "2024-06-01").stdout
        self.assertIn(f"{len(due)} records from before 2024-06-01 erased", said)
        with open(path, "rb") as file:
            data = file.read()
        self.assertFalse(any(t in data for t in transactions))
        self.assertTrue(all(t.encode() in data for t in (word, first["transaction"])))
        left = records(world)
        self.assertEqual(len(left), len(listed) - len(due) + 4)
        self.assertEqual([(r["kind"], r["event"], r["count"], r["before"]) for r in left[-2:]],
                         [("erasure", "erasing", 0, "2024-06-01"),
                          ("erasure", "erased", len(due), "2024-06-01")])
        said = whorl("audit", "verify", "-c", world.conf).stdout
        self.assertIn(f"{len(due)} of them erased", said)
        self.assertEqual(json.loads(proof)["leaf"], json.loads(
            whorl("audit", "prove", "-c", world.conf, due[0]).stdout)["leaf"])
        with server.client() as client:
            client.call("identify", world.request(1))
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)
        whorl("audit", "erase", "-c", world.conf, code=2)

    def test_what_was_erased_is_counted_also_when_the_rest_fails(self):
        world = World()
        whorl("synth", "month", "-c", world.conf, "--month", "2024-05", "--transactions", 200,
              "--misuse", 0)
        due = sum(r["time"].startswith("2024-05") for r in records(world))
        # Who reads on and on keeps what was erased from being overwritten.
        with subprocess.Popen([BINARY, "audit", "list", "-c", world.conf, "--json"],
                              stdout=subprocess.PIPE) as reader:
            reader.stdout.readline()
            done = whorl("audit", "erase", "-c", world.conf, "--before", "2024-06-01", code=3)
            self.assertIn("run it again", done.stderr)
            reader.stdout.close()
        whorl("audit", "erase", "-c", world.conf, "--before", "2024-06-01")
        self.assertIn(f"{due} of them erased", whorl("audit", "verify", "-c", world.conf).stdout)
        self.assertEqual(due, sum(r["count"] for r in records(world) if r.get("event") == "erased"))

    def test_a_day_that_is_none_or_not_yet_erases_nothing(self):
        """As text, 2026-9-  1 is later than all of 2026, and 2026- 9-01 earlier."""
        world = World()
        count = len(records(world))
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
        for day in ("soon", "2026-9-  1", "2026- 9-01", "2026-09-1 ", "+026-09-01", "2026-02-30",
                    "2026-09-01x", tomorrow, "9999-12-31"):
            whorl("audit", "erase", "-c", world.conf, "--before", day, code=2)
        self.assertEqual(len(records(world)), count)


if __name__ == "__main__":
    unittest.main()
