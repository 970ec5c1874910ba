#!/usr/bin/python3
"""Collection and alteration: whoever puts people into a store, or changes who may ask, is in the
audit log before it is done; and what can't be recorded is not done."""
import json
import os

from whorl import OFFICER, Server, World, answers, edit, unittest, whorl

PNC = '{{"pncid": "2021/0000123C", "name": {{"family": "{}", "given": "Ann"}}}}\n'


def records(world, *kinds):
    listed = whorl("audit", "list", "-c", world.conf, "--json").stdout.splitlines()
    found = [json.loads(line)["record"] for line in listed]
    return [record for record in found if record["kind"] in kinds]


def changes(world):
    return records(world, "collection", "alteration")


def brief(record):
    return (record["kind"], record["event"], record["store"], record["count"], record["ids"])


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Recorded(unittest.TestCase):
    """Beside a running server."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.made = changes(cls.world)  # as packaging/demo/world left it
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0
        whorl("audit", "verify", "-c", cls.world.conf)

    def new(self, count):
        found = changes(self.world)[-count:]
        for record in found:
            self.assertEqual((record["uid"], record["transaction"]), (os.getuid(), None))
            self.assertEqual(len(record["policy"]), 64)
        return found

    def manifest(self, name, source, *rows):
        return write(self.world.path(name), "person,position,impression,file,sex,source,expires\n"
                     + "".join(f"{person},{position},1,{self.world.print_of(of, position, 1)},"
                               f"{sex},{source},never\n" for person, position, of, sex in rows))

    def enrol(self, path):
        return whorl("enrol", "-c", self.world.conf, "--gallery", "ident1", path)

    def test_the_world_of_the_demo_is_in_its_log_from_the_first_command_on(self):
        self.assertEqual(brief(self.made[0]), ("alteration", "adding", "registry/devices", 1,
                                               ["phone-1"]))
        enrolled = [record for record in self.made if record["event"] == "enrolling"]
        self.assertEqual([(r["kind"], r["store"], r["count"], r["source"]) for r in enrolled],
                         [("collection", "ident1", 8, "made up"),
                          ("collection", "immigration", 5, "made up")])
        self.assertIn("K0410111", enrolled[0]["ids"])

    def test_enrolling_is_a_collection_and_replacing_an_alteration(self):
        self.enrol(self.manifest("one.csv", "custody", ("NEW1", 2, 13, ""), ("NEW2", 2, 14, "")))
        before, after = self.new(2)
        self.assertEqual(brief(before)[:4], ("collection", "enrolling", "ident1", 2))
        self.assertEqual((sorted(before["ids"]), before["source"]), (["NEW1", "NEW2"], "custody"))
        self.assertEqual(brief(after), ("collection", "enrolled", "ident1", 2, []))
        self.enrol(self.manifest("two.csv", "custody", ("NEW1", 2, 13, "female"),
                                 ("NEW2", 2, 14, "")))
        before, after = self.new(2)
        self.assertEqual(brief(before), ("alteration", "enrolling", "ident1", 1, ["NEW1"]))
        self.assertEqual(brief(after), ("alteration", "enrolled", "ident1", 1, []))
        count = len(changes(self.world))
        self.enrol(self.world.path("two.csv"))
        self.assertEqual(len(changes(self.world)), count)

    def test_each_lawful_source_has_a_record_of_its_own(self):
        rows = self.manifest("three.csv", "custody", ("NEW3", 2, 13, ""), ("NEW4", 2, 14, ""))
        edit(rows, ("^(NEW4.*),custody,", r"\1,volunteer,"))
        self.enrol(rows)
        self.assertEqual({(r["source"], tuple(r["ids"])) for r in self.new(3)},
                         {("custody", ("NEW3",)), ("volunteer", ("NEW4",)), (None, ())})

    def test_pnc_records_are_collected_and_altered(self):
        path = self.world.path("pnc.jsonl")
        whorl("pnc", "import", "-c", self.world.conf, write(path, PNC.format("Moss")))
        before, after = self.new(2)
        self.assertEqual(brief(before), ("collection", "importing", "pnc", 1, ["2021/0000123C"]))
        self.assertEqual(brief(after), ("collection", "imported", "pnc", 1, []))
        self.assertIsNone(before["source"])
        whorl("pnc", "import", "-c", self.world.conf, write(path, PNC.format("Fenn")))
        self.assertEqual([brief(record) for record in self.new(2)],
                         [("alteration", "importing", "pnc", 1, before["ids"]),
                          ("alteration", "imported", "pnc", 1, [])])
        count = len(changes(self.world))
        whorl("pnc", "import", "-c", self.world.conf, path)
        self.assertEqual(len(changes(self.world)), count)
        self.assertNotIn("Fenn", json.dumps(changes(self.world)))

    def test_made_up_people_in_a_gallery_are_recorded_likewise(self):
        world = World()
        edit(os.path.join(world.conf, "core.conf"), (r'data_dir = .*', 'data_dir = "../fresh"'))
        whorl("synth", "templates", "-c", world.conf, "--gallery", "ident1", "--people", 2100,
              "--fingers", 1, "--threads", 1)
        found = changes(world)
        self.assertEqual({(r["kind"], r["store"]) for r in found}, {("collection", "ident1")})
        self.assertEqual(len({name for r in found for name in r["ids"]}), 2100)
        self.assertTrue(all(len(r["ids"]) <= 1000 for r in found))
        self.assertEqual(brief(found[-1])[1:4], ("enrolled", "ident1", 2100))
        for args in (("-c", world.conf), ("-c", world.conf, "--gallery", "ident1", "-o", "x"), ()):
            whorl("synth", "templates", "--people", 1, *args, code=2)

    def test_who_may_ask_is_altered_on_the_record(self):
        conf = ("-c", self.world.conf)
        whorl("officer", "add", "WMP7", "--force", "WMP", "--entitle", "pnc", "--name", "Jo Marsh",
              "--until", "2030-01-01", *conf)
        before, after = self.new(2)
        self.assertEqual(brief(before), ("alteration", "adding", "registry/officers", 1, ["WMP7"]))
        self.assertEqual(brief(after)[1], "added")
        self.assertEqual(before["entry"], {"force": "WMP", "state": "active",
                                           "entitlements": ["pnc"], "from": None,
                                           "until": "2030-01-01"})
        whorl("officer", "add", "WMP7", "--force", "WMP", "--replace", *conf)
        self.assertEqual([r["event"] for r in self.new(2)], ["replacing", "replaced"])
        self.assertEqual(self.new(1)[0]["entry"]["entitlements"], [])
        for action, words, state in (("suspend", ["suspending", "suspended"], "suspended"),
                                     ("restore", ["restoring", "restored"], "active"),
                                     ("revoke", ["revoking", "revoked"], "revoked")):
            whorl("officer", action, "WMP7", *conf)
            self.assertEqual([r["event"] for r in self.new(2)], words)
            self.assertEqual(self.new(1)[0]["entry"]["state"], state)
            done = whorl("officer", "add", "WMP7", "--force", "WMP", "--replace", *conf).stdout
            self.assertEqual(self.new(1)[0]["entry"]["state"], state)
            self.assertEqual("`whorl officer restore WMP7` accepts it again" in done, state != "active")
        whorl("device", "suspend", "phone-1", *conf)
        suspended = self.new(2)
        whorl("device", "restore", "phone-1", *conf)
        self.assertEqual([brief(r) for r in suspended],
                         [("alteration", event, "registry/devices", 1, ["phone-1"])
                          for event in ("suspending", "suspended")])
        self.assertEqual(len(suspended[0]["entry"]["certificate"]), 64)
        self.assertNotIn("Marsh", json.dumps(changes(self.world)))

    def test_what_changes_nothing_is_not_recorded(self):
        count = len(changes(self.world))
        for args in (("officer", "suspend", "NOBODY"), ("officer", "add", OFFICER, "--force", "WMP"),
                     ("officer", "add", "\x1b[2J", "--force", "WMP"), ("device", "revoke", "phone-9"),
                     ("officer", "add", "XYZ1", "--force", "XYZ"),
                     # what the registry could not read back
                     ("officer", "add", "WMP9", "--force", "WMP", "--name", "Ann\r"),
                     ("device", "add", "phone-9", "--force", "WMP", "--note", "a\tb", "--cert",
                      os.path.join(self.world.tls, "server.pem"))):
            whorl(*args, "-c", self.world.conf, code=3)
        self.assertEqual(len(changes(self.world)), count)

    def test_a_look_up_says_for_whom_of_which_search(self):
        with self.server.client() as client:
            result = client.call("identify", self.world.request(3))
        ref = answers(result)["ident1"]["candidates"][0]["ref"]
        lookup, = [r for r in records(self.world, "lookup")
                   if r["transaction"] == result["transaction"]]
        self.assertEqual(lookup["asked"][0]["found_for"], {"backend": "ident1", "ref": ref})

    def test_subject_access_tells_a_person_of_it_and_nobody_else(self):
        self.enrol(self.manifest("five.csv", "custody", ("NEW5", 2, 13, ""), ("NEW6", 2, 14, "")))
        whorl("gallery", "withdraw", "-c", self.world.conf, "--gallery", "ident1", "NEW5")
        said = json.loads(whorl("report", "subject-access", "-c", self.world.conf, "--ref", "NEW5",
                                "--format", "json").stdout)
        rows = [row["values"] for row in said["tables"][0]["rows"]]
        self.assertEqual([(row["what"], row["store"], row["event"]) for row in rows],
                         [("Collection", "ident1", "enrolling"), ("Erasure", "ident1", "withdrawing")])
        self.assertEqual(rows[0]["source"], "custody")
        self.assertNotIn("NEW6", json.dumps(said))
        request = self.world.request(3)
        with self.server.client() as client:
            first = client.call("identify", request)
            client.call("identify", request)
        said = whorl("report", "subject-access", "-c", self.world.conf, "--transaction",
                     first["transaction"]).stdout
        self.assertIn("The answer went out again", said)

    def test_the_list_says_what_was_done_to_which_store_by_whom(self):
        whorl("officer", "add", "WMP8", "--force", "WMP", "-c", self.world.conf)
        line = whorl("audit", "list", "-c", self.world.conf).stdout.splitlines()[-1]
        self.assertRegex(line, r"  alteration  added  registry/officers  \S+$")


class Unrecorded(unittest.TestCase):
    """The log can't be written: nothing is put anywhere, and nobody may ask who might not."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        os.unlink(cls.world.path("var", "audit", "checkpoint.key"))

    def fails(self, *args):
        self.assertIn("checkpoint.key", whorl(*args, "-c", self.world.conf, code=3).stderr)

    def test_nobody_is_enrolled(self):
        path = write(self.world.path("one.csv"), "person,position,file,source,expires\n"
                     f"NEW1,2,{self.world.print_of(13)},custody,never\n")
        self.fails("enrol", "--gallery", "ident1", path)
        whorl("gallery", "show", "-c", self.world.conf, "--gallery", "ident1", "NEW1", code=1)
        self.fails("synth", "templates", "--people", 1, "--gallery", "ident1")

    def test_no_pnc_record_is_stored(self):
        path = write(self.world.path("pnc.jsonl"), PNC.format("Moss"))
        self.fails("pnc", "import", path)
        whorl("pnc", "show", "21/123C", "-c", self.world.conf, code=1)

    def test_no_device_or_officer_is_added_or_changed(self):
        whorl("keys", "device", "-o", self.world.tls, "--ca", self.world.tls, "--name", "phone-2")
        self.fails("device", "add", "phone-2", "--force", "WMP", "--cert",
                   os.path.join(self.world.tls, "phone-2.pem"))
        self.fails("officer", "add", "WMP9", "--force", "WMP")
        self.fails("officer", "revoke", OFFICER)
        self.assertNotIn("phone-2", whorl("device", "list", "-c", self.world.conf).stdout)
        listed = whorl("officer", "list", "-c", self.world.conf).stdout
        self.assertNotIn("WMP9", listed)
        self.assertNotIn("revoked", listed)


class Month(unittest.TestCase):
    def test_a_simulated_month_goes_beside_collections_and_never_among_real_uses(self):
        world = World()
        month = ("synth", "month", "-c", world.conf, "--month", "2026-11", "--transactions", 200,
                 "--misuse", 0)
        before = len(changes(world))
        server = Server(world)
        self.assertEqual(server.stop(), 0)
        whorl(*month)
        self.assertEqual(len(changes(world)), before)
        self.assertGreaterEqual(len(records(world, "identify")), 200)
        self.assertIn("real uses", whorl(*month, code=3).stderr)
        whorl("audit", "verify", "-c", world.conf)
        lookups = [r for r in records(world, "lookup") if r["asked"][0].get("found_for")]
        self.assertTrue(lookups)


if __name__ == "__main__":
    unittest.main()
