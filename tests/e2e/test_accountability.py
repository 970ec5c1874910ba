#!/usr/bin/python3
"""docs/accountability.md against the tree, and the promises of configuration that no other test
has."""
import os
import re

from whorl import ROOT, World, unittest, whorl

DOCUMENT = os.path.join(ROOT, "docs", "accountability.md")
TEST = re.compile(r"`(test_\w+\.(?:c|py)):(\w+)`")


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as file:
        return file.read()


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = read("docs", "accountability.md")
        cls.rows = [[cell.strip() for cell in line.strip("|").split("|")]
                    for line in cls.text.splitlines()
                    if line.startswith("|") and not line.startswith(("| ---", "| promise"))]

    def test_every_test_that_it_names_is_there_and_is_run(self):
        named = TEST.findall(self.text)
        self.assertGreater(len(named), 100)
        for name, test in named:
            with self.subTest(f"{name}:{test}"):
                if name.endswith(".py"):
                    self.assertTrue(f"    def {test}(self" in read("tests", "e2e", name))
                    continue
                source = read("tests", "unit", name)
                self.assertTrue(f"START_TEST({test})" in source)
                self.assertTrue(re.search(rf"tcase_add_(loop_)?test\(\s*\w+,\s*{test}\b", source))

    def test_every_promise_has_a_test_a_benchmark_or_the_word_that_it_is_not_held(self):
        self.assertGreater(len(self.rows), 60)
        for row in self.rows:
            with self.subTest(row[0]):
                self.assertEqual(len(row), 3)
                benches = re.findall(r"`(bench/\w+)`", row[1])
                for bench in benches:
                    self.assertTrue(os.access(os.path.join(ROOT, bench), os.X_OK), bench)
                self.assertTrue(TEST.search(row[1]) or benches or row[1].startswith("not held"))

    def test_every_command_that_it_names_exists(self):
        for command in set(re.findall(r"`whorl (\w+)", self.text)):
            self.assertIn("Usage: ", whorl(command, "--help").stdout, command)
        for command, action in set(re.findall(r"`whorl (audit|gallery|policy|report) ([a-z-]+)",
                                              self.text)):
            with self.subTest(f"{command} {action}"):
                self.assertRegex(whorl(command, "--help").stdout, rf"\b{action}\b")


class Shipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()

    def explain(self, force, basis, *args, code):
        return whorl("policy", "explain", "-c", self.world.conf, "--force", force, "--basis", basis,
                     *args, code=code).stdout

    def test_both_published_policies_are_shipped_and_differ_on_consent(self):
        suspected = ("--condition", "adult", "--consent", "not_asked", "--backend", "ident1")
        self.assertIn("rule suspect of policy legal-cause",
                      self.explain("MPS", "pace-61-6a", *suspected, code=0))
        never = "policy never-without-consent"
        self.assertIn(never, self.explain("WMP", "pace-61-6a", *suspected, code=None))
        self.assertIn(never, self.explain("WMP", "consent", *suspected, code=1))
        for consent, code in (("given", 0), ("refused", 1), ("not_asked", 1)):
            self.explain("WMP", "consent", "--condition", "adult", "--consent", consent,
                         "--backend", "ident1", code=code)
        for force in ("WMP", "MPS"):
            for condition in ("deceased", "unconscious"):
                asked = ("--condition", condition, "--consent", "not_asked", "--backend")
                self.explain(force, condition, *asked, "ident1", code=0)
                self.explain(force, condition, *asked, "immigration", code=1)

    def test_check_prints_every_rule_and_the_hash(self):
        said = whorl("check", "-c", self.world.conf).stdout
        with open(os.path.join(self.world.conf, "forces.conf"), encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(said, r"\b[0-9a-f]{64}\b")
        names = re.findall(r'^    rule "([\w-]+)"', text, re.M)
        shows = re.findall(r'^        show = "(.+)"', text, re.M)
        self.assertGreater(len(names), 6)
        for word in names + shows:
            self.assertIn(word, said)


if __name__ == "__main__":
    unittest.main()
