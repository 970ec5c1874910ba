#!/usr/bin/python3
"""A gallery of made-up people behind the real server: those who are enrolled among them are found,
with the PNC record and the audit record that go with it."""
import os
import shutil
import time

from whorl import PATIENCE, Server, World, answers, unittest, whorl

PEOPLE = 3000  # more than are all compared: the fast stages decide whom the matcher sees


class People(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        gallery = cls.world.path("var", "ident1")
        shutil.rmtree(gallery)
        done = whorl("synth", "templates", "--people", PEOPLE, "--seed", 3, "-o", gallery)
        assert f"{PEOPLE} people added" in done.stdout, done.stdout
        whorl("enrol", "-c", cls.world.conf, "--gallery", "ident1",
              os.path.join(cls.world.prints, "ident1.csv"))
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def identify(self, person):
        """Asks until the gallery is ready: before that the answer says so, and nothing else."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with self.server.client() as client:
                result = client.call("identify", self.world.request(person))
            found = answers(result)
            if found["ident1"]["class"] != "unavailable" or time.monotonic() > deadline:
                return result, found
            self.assertRegex(found["ident1"]["reason"],
                             r"not ready to be searched: \d+ of \d+ people")
            time.sleep(0.2)

    def test_an_enrolled_person_is_found_among_made_up_ones(self):
        for person in (1, 3, 8):
            result, found = self.identify(person)
            ident1 = found["ident1"]
            self.assertEqual(ident1["class"], "match", person)
            self.assertEqual(len(ident1["candidates"]), 1)
            self.assertEqual(ident1["searched"], {"people": PEOPLE + 8, "of": PEOPLE + 8})
            self.assertFalse(ident1["candidates"][0]["ref"].startswith("syn"))
            if person == 3:
                self.assertEqual(found["pnc"]["class"], "match")
                record, = found["pnc"]["candidates"]
                self.assertEqual(record["found_for"]["backend"], "ident1")

    def test_a_stranger_is_nobody_of_them(self):
        _, found = self.identify(13)
        self.assertEqual(found["ident1"]["class"], "no_match")
        self.assertEqual(found["ident1"]["searched"], {"people": PEOPLE + 8, "of": PEOPLE + 8})

    def test_every_answer_is_in_the_audit_log(self):
        listed = whorl("audit", "list", "-c", self.world.conf).stdout.count("identify")
        self.identify(13)
        self.identify(3)
        now = whorl("audit", "list", "-c", self.world.conf).stdout.count("identify")
        self.assertGreaterEqual(now, listed + 2)

    def test_a_gallery_of_real_people_is_not_filled_up(self):
        done = whorl("synth", "templates", "--people", PEOPLE + 100, "--seed", 3, "-o",
                     self.world.path("var", "immigration"), code=3)
        self.assertIn("other people", done.stderr)


if __name__ == "__main__":
    unittest.main()
