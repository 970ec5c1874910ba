#!/usr/bin/python3
"""The SDK's examples, built outside of this tree against what is installed alone, and asked by the
real server."""
import json
import os
import shutil

from installed import Installed
from whorl import OFFICER, ROOT, Server, World, answers, edit, unittest, whorl

NAMES = ("missing-persons", "tattoo-words")


class Examples(Installed):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.modules = {}
        for name in NAMES:
            folder = os.path.join(cls.root, "built", name)
            shutil.copytree(os.path.join(ROOT, "sdk", "examples", name), folder)
            cls.run_in(folder, "meson", "setup", "build")
            cls.run_in(folder, "meson", "compile", "-C", "build")
            cls.modules[name] = os.path.join(folder, "build", f"whorl-{name}.so")

    def test_both_keep_the_abi(self):
        for name, more in ("missing-persons", ()), ("tattoo-words", ("described.txt",)):
            sample = [f"--sample=tattoo:words:{file}" for file in more]
            folder = os.path.dirname(os.path.dirname(self.modules[name]))
            said = self.run_in(folder, "whorl", "plugin", "test", self.modules[name], "--conf",
                               name + ".conf", *sample)
            self.assertIn(", 0 broken", said)

    def world(self):
        """A world in which both are on."""
        world = World()
        for name in NAMES:
            example = os.path.join(ROOT, "sdk", "examples", name)
            for file in os.listdir(example):
                if file.endswith((".conf", ".csv")):
                    shutil.copy(os.path.join(example, file), world.conf)
            edit(os.path.join(world.conf, name + ".conf"),
                 (r'module = .*', f'module = "{self.modules[name]}"'))
        edit(os.path.join(world.conf, "forces.conf"),
             (r'"pnc"}', '"pnc", "missing-persons", "tattoo-words"}'))
        return world

    def identify(self, server, *args, code):
        world = server.world
        done = whorl("identify", "--connect", f"localhost:{server.ports['devices']}", "--cert",
                     os.path.join(world.tls, "phone-1.pem"), "--officer", OFFICER, "--basis",
                     "consent", "--consent", "given", "--stop-power", "rta-163", "--reason",
                     "Found wandering, says nothing", "--json", *args, code=code)
        return answers(json.loads(done.stdout))

    def test_identify_finds_by_a_modality_that_the_server_has_never_heard_of(self):
        server = Server(self.world())
        words = os.path.join(server.world.dir, "words.txt")
        with open(words, "w", encoding="utf-8") as file:
            file.write("Swallow on left hand")
        found = self.identify(server, "--sample", f"tattoo:words:{words}", code=0)
        self.assertEqual(found["tattoo-words"]["class"], "possible")
        first = found["tattoo-words"]["candidates"][0]
        self.assertEqual((first["ref"], first["names"][0]["family"]), ("T-0001", "Calloway"))
        # swallow: 2 of 10 tattoos, left: 4 of 10, hand: 1 of 10
        self.assertAlmostEqual(first["score"], 20.97, places=2)
        self.assertEqual(found["tattoo-words"]["searched"], {"people": 10, "of": 10})
        # The PNC goes on from there, and finger searches had nothing to search for.
        self.assertEqual(found["pnc"]["candidates"][0]["found_for"],
                         {"backend": "tattoo-words", "ref": "T-0001"})
        self.assertEqual(found["ident1"]["class"], "not_searched")
        with open(words, "w", encoding="utf-8") as file:
            file.write("mermaid")
        found = self.identify(server, "--sample", f"tattoo:words:{words}", code=1)
        self.assertEqual(found["tattoo-words"]["class"], "no_match")
        with open(words, "wb") as file:
            file.write(b"\xff\xfe mermaid")
        found = self.identify(server, "--sample", f"tattoo:words:{words}", code=3)
        self.assertEqual(found["tattoo-words"]["class"], "poor_quality")
        self.assertEqual(server.stop(), 0)

    def test_identify_finds_a_missing_person_by_prints_and_by_name(self):
        server = Server(self.world())
        found = self.identify(server, "--finger", "2=" + server.world.print_of(2, 2), "--finger",
                              "7=" + server.world.print_of(2, 7), code=0)["missing-persons"]
        self.assertEqual(found["class"], "match")
        candidate = found["candidates"][0]
        self.assertEqual((candidate["ref"], candidate["found_by"], candidate["found_for"]["backend"]),
                         ("GMP/26/88213", "pncid", "ident1"))
        self.assertEqual([(d["label"], d["level"]) for d in candidate["details"]],
                         [("Missing", "alert"), ("Risk", "alert"), ("If found", "warning")])
        found = self.identify(server, "--family", "OKAFOR", "--given", "Daniel", "--born",
                              "2009-05-17", code=0)["missing-persons"]
        self.assertEqual((found["class"], found["candidates"][0]["found_by"]), ("possible", "name"))
        found = self.identify(server, "--family", "Okafor", "--given", "Dan", "--born",
                              "2009-05-17", code=1)["missing-persons"]
        self.assertEqual(found["class"], "no_match")
        # Other records are an edit and a reload; with a mistake in them nothing changes.
        old = os.path.join(server.world.conf, "missing-persons.csv")
        new = shutil.copy(old, os.path.join(server.world.conf, "newer.csv"))
        edit(os.path.join(server.world.conf, "missing-persons.conf"),
             ("missing-persons.csv", "newer.csv"))
        edit(new, ("Daniel Chidi", "Dan"), ("2009-05-17", "2009-02-30"))
        self.assertNotEqual(server.reload()["text"], "reloaded")
        said = whorl("check", "-c", server.world.conf, code=None)
        self.assertIn("newer.csv:3: born", said.stderr)
        edit(new, ("2009-02-30", "2009-05-17"))
        self.assertEqual(server.reload()["text"], "reloaded")
        found = self.identify(server, "--family", "Okafor", "--given", "Dan", "--born",
                              "2009-05-17", code=0)["missing-persons"]
        self.assertEqual(found["class"], "possible")
        self.assertEqual(server.stop(), 0)

    def test_a_sample_that_is_none_is_refused(self):
        for sample in "tattoo", "tattoo:words", "tattoo::x", ":words:x":
            done = whorl("identify", "--connect", "localhost:1", "--officer", OFFICER, "--basis",
                         "consent", "--sample", sample, code=2)
            self.assertIn("MODALITY:FORMAT:FILE", done.stderr)


if __name__ == "__main__":
    unittest.main()
