#!/usr/bin/python3
"""docs/accountability.md, security.md and operations.md against the tree, and the promises of
configuration that no other test has."""
import glob
import os
import re

from whorl import ROOT, World, unittest, whorl

TEST = re.compile(r"`(test_\w+\.(?:c|py)):(\w+)`")


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as file:
        return file.read()


class Page:
    """A page of docs that names tests, benchmarks and commands."""

    page, fewest_tests = None, 0

    @classmethod
    def setUpClass(cls):
        cls.text = read("docs", cls.page)

    @staticmethod
    def rows(text):
        """Those of its tables, without their heads."""
        lines = text.splitlines()
        return [[cell.strip() for cell in line.strip("|").split("|")]
                for line, after in zip(lines, lines[1:] + [""])
                if line.startswith("|") and not line.startswith("| ---")
                and not after.startswith("| ---")]

    def test_every_test_that_it_names_is_there_and_is_run(self):
        named = TEST.findall(self.text)
        self.assertGreaterEqual(len(named), self.fewest_tests)
        for name, test in named:
            with self.subTest(f"{name}:{test}"):
                if name.endswith(".py"):
                    self.assertTrue(f"    def {test}(self" in read("tests", "e2e", name))
                    continue
                source = read("tests", "unit", name)
                self.assertTrue(f"START_TEST({test})" in source)
                self.assertTrue(re.search(rf"tcase_add_(loop_)?test\(\s*\w+,\s*{test}\b", source))

    def test_every_benchmark_that_it_names_can_be_run(self):
        for bench in set(re.findall(r"`(bench/\w+)", self.text)):
            self.assertTrue(os.access(os.path.join(ROOT, bench), os.X_OK), bench)

    def test_every_command_that_it_names_exists(self):
        commands = r"(?:`|^    )whorl "
        for command in set(re.findall(commands + r"(\w+)", self.text, re.M)):
            self.assertIn("Usage: ", whorl(command, "--help").stdout, command)
        for command, action in set(re.findall(
                commands + r"(audit|device|gallery|keys|officer|policy|report) ([a-z-]+)", self.text,
                re.M)):
            with self.subTest(f"{command} {action}"):
                self.assertRegex(whorl(command, "--help").stdout, rf"\b{action}\b")


class Accountability(Page, unittest.TestCase):
    page, fewest_tests = "accountability.md", 100

    def test_every_promise_has_a_test_a_benchmark_or_the_word_that_it_is_not_held(self):
        rows = self.rows(self.text)
        self.assertGreater(len(rows), 60)
        for row in rows:
            with self.subTest(row[0]):
                self.assertEqual(len(row), 3)
                self.assertTrue(TEST.search(row[1]) or "`bench/" in row[1]
                                or row[1].startswith("not held"))


class Security(Page, unittest.TestCase):
    page, fewest_tests = "security.md", 70

    def test_every_threat_has_a_control_and_a_test_or_a_benchmark(self):
        rows = self.rows(self.text[self.text.index("## The door"):])
        self.assertGreater(len(rows), 25)
        for row in rows:
            with self.subTest(row[0]):
                self.assertEqual(len(row), 3)
                self.assertTrue(row[1])
                self.assertTrue(TEST.search(row[2]) or "`bench/" in row[2])


class Operations(Page, unittest.TestCase):
    page = "operations.md"

    def test_every_alarm_of_the_server_is_in_it(self):
        alarm = re.compile(r'WHORL_LOG_(?:WARNING|ERROR),\s*(?:\w+ \? )?"([^"]+)"')
        texts = set()
        for path in glob.glob(os.path.join(ROOT, "core", "*", "*.c")):
            with open(path, encoding="utf-8") as file:
                texts.update(alarm.findall(file.read()))
        self.assertGreater(len(texts), 10)
        for text in texts:
            self.assertIn(f"`{text}`", self.text)

    def test_every_metric_is_explained(self):
        explained = read("docs", "monitoring.md")
        metrics = set(re.findall(r'"((?:whorl|process)_\w+)", *\n? *"(?:gauge|counter|histogram)"|'
                                 r'(?:gauge|counter)\(out, "(\w+)"', read("core", "server", "figures.c")))
        metrics = {one or other for one, other in metrics}
        self.assertGreater(len(metrics), 15)
        self.assertEqual(metrics, set(re.findall(r"`((?:whorl|process)_\w+)[`{]", explained)))
        for metric in re.findall(r"`(whorl_\w+)", self.text):
            self.assertIn(metric, explained)


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
