"""The SDK: `whorl plugin`, the conformance kit, and the ABI, with modules that are built outside of
this tree against what `meson install` puts there."""
import os
import platform
import re
import shutil
import subprocess
import tempfile
import unittest

from installed import BUILD, Installed
from whorl import ROOT, SANITIZED, World, whorl

PLUGINS = os.path.join(BUILD, "plugins")
TEST_PLUGINS = os.path.join(BUILD, "tests", "plugins")

# What `unruly.c` breaks, by its number: the trial that has to notice, and words that it has to say.
UNRULY = {
    1: ("call", "completed a call twice"),
    2: ("cancel", "did not complete 1 of 1 calls"),
    3: ("call", "wrote into a call's message"),
    4: ("call", "after it had completed the call"),
    5: ("traces", "left part of a sample in memory"),
    6: ("call", "blocked the loop thread"),
    7: ("start-stop", "called host->log after stop"),
    8: ("malformed", "crashed with Aborted, while a message is sent"),
    9: ("malformed", "a failure must not look like an answer"),
    10: ("reload", "did not start: no, while a second instance starts"),
    11: ("shortage", "crashed with Segmentation fault, while its allocation number"),
    12: ("leaks", "leaks memory"),
    13: ("leaks", "file descriptors that it never closes"),
    14: ("check", "check wrote a file"),
    15: ("bounds", "check returned -1 without saying why"),
    16: ("call", "logged what is no line of text"),
    17: ("traces", "wrote part of a sample into a file (seen)"),
    18: ("call", "reported a progress of 1.5"),
    19: ("refusals", "did not complete 1 of 1 calls"),
    20: ("call", "answered what the host refuses: class"),
    21: ("call", "read beyond the end of a call's message"),
    22: ("start-stop", "left 10 threads running"),
    23: ("call", "ended the process"),
    24: ("call", "called host->timer_start on another thread"),
}


# A sanitizer has findings of its own, and what it instruments can't be linked with what it doesn't.
ordinary = unittest.skipIf(SANITIZED, "needs a build without sanitizers")


class Scratch(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="whorl-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def kit(self, module, *args, code=0):
        return whorl("plugin", "test", module, *args, code=code, cwd=self.dir).stdout


class OurOwn(Scratch):
    """Our backends keep the rules that they ask of others."""

    def assert_kept(self, module, *args):
        """All trials; a sanitizer's code leaves copies on the stack, which tell nothing of ours."""
        said = self.kit(module, *args, code=None)
        broken = re.findall(r"^BROKEN +(\S+)", said, re.M)
        self.assertRegex(said, r"\n1[23] trials, ")
        self.assertLessEqual(set(broken), {"traces"} if SANITIZED else set(), said)

    def test_the_look_up_and_the_sink_keep_the_abi(self):
        for name in "pnc", "audit":
            self.assert_kept(os.path.join(PLUGINS, f"whorl-{name}.so"))

    def test_finger_search_keeps_the_abi_with_a_real_print(self):
        world = World()
        conf = self.write("x.conf", 'plugin "immigration" { settings { contact = "the desk" } }')
        for args in [("whorl-ident1.so",), ("whorl-immigration.so", "--conf", conf)]:
            self.assert_kept(os.path.join(PLUGINS, args[0]), *args[1:], "--sample",
                             f"finger:png:{world.path('prints', 'p0003_02_2.png')}")

    def test_the_example_keeps_the_abi(self):
        conf = self.write("x.conf", 'plugin "example" { settings { people = {"E-1=open sesame"} } }')
        self.assert_kept(os.path.join(PLUGINS, "whorl-example.so"), "--conf", conf)


@ordinary
class Unruly(Scratch):
    def test_a_backend_that_breaks_no_rule_passes(self):
        self.assertIn("13 trials, 0 broken",
                      self.kit(os.path.join(TEST_PLUGINS, "test-unruly-0.so")))

    def test_each_broken_rule_is_found_and_named(self):
        for number, (trial, words) in UNRULY.items():
            with self.subTest(number):
                module = os.path.join(TEST_PLUGINS, f"test-unruly-{number}.so")
                said = self.kit(module, "--only", trial, "--patience", "2", code=1)
                self.assertIn(words, said)
                self.assertIn("1 trials, 1 broken", said)

    def test_settings_that_the_schema_refuses_are_said_with_their_line(self):
        conf = self.write("x.conf", 'plugin "x" {\n settings { number = 101 }\n}\n')
        done = whorl("plugin", "test", os.path.join(TEST_PLUGINS, "test-unruly-0.so"), "--conf", conf,
                     code=3)
        self.assertRegex(done.stderr, r"x\.conf:2: .*number")

    def test_a_trial_of_no_name_is_refused(self):
        done = whorl("plugin", "test", os.path.join(TEST_PLUGINS, "test-unruly-0.so"), "--only", "luck",
                     code=3)
        self.assertIn("luck", done.stderr)


class Abi(Scratch):
    """ABI 1 is kept."""

    @unittest.skipUnless(platform.machine() == "x86_64", "the kept module is of x86-64")
    def test_the_module_built_for_1_0_still_works(self):
        kept = shutil.copy(os.path.join(ROOT, "tests", "abi", "first-1.0-x86_64.so"), self.dir)
        self.assertIn("13 trials, 0 broken", self.kit(kept))
        self.assertIn("First (ABI 1.0)", whorl("plugin", "describe", kept).stdout)

    @unittest.skipUnless(shutil.which("abidiff"), "libabigail's abidiff is not installed")
    def test_the_recorded_abi_is_todays(self):
        subprocess.run([os.path.join(ROOT, "tests", "abi", "record"), self.dir], check=True)
        for name in "libwhorl-sdk.abi", "libwhorl-client.abi", "plugin.abi":
            done = subprocess.run(["abidiff", "--no-added-syms",
                                   os.path.join(ROOT, "tests", "abi", name), self.path(name)],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)


class Outside(Installed):
    """From nothing to a backend that runs, with what is installed alone."""

    def test_a_new_plugin_builds_and_passes_straight_away(self):
        self.run_in(self.dir, "whorl", "plugin", "new", "library-cards")
        folder = self.path("whorl-library-cards")
        self.run_in(folder, "meson", "setup", "build")
        self.run_in(folder, "meson", "compile", "-C", "build")
        module = os.path.join("build", "whorl-library-cards.so")
        said = self.run_in(folder, "whorl", "plugin", "describe", module)
        self.assertRegex(said, r"title +library-cards\n")
        self.assertRegex(said, r"modalities +word\n")
        said = self.run_in(folder, "whorl", "plugin", "test", module, "--conf", "library-cards.conf")
        self.assertIn("13 trials, 0 broken", said)
        self.run_in(folder, "meson", "test", "-C", "build")

    def test_a_new_plugin_overwrites_nothing(self):
        os.mkdir(self.path("whorl-mine"))
        done = whorl("plugin", "new", "mine", code=3, cwd=self.dir)
        self.assertIn("whorl-mine", done.stderr)
        self.assertEqual(os.listdir(self.path("whorl-mine")), [])

    def test_a_name_that_is_none_is_refused(self):
        for name in "Mine", "../mine", "9lives", "a" * 33:
            whorl("plugin", "new", name, code=2, cwd=self.dir)
        self.assertEqual(os.listdir(self.dir), [])


class Listing(Scratch):
    def test_the_list_names_every_backend_of_the_configuration(self):
        said = whorl("plugin", "list", "-c", World().conf).stdout
        for name, role in ("ident1", "search"), ("pnc", "look-up"), ("audit", "sink"):
            self.assertRegex(said, rf"(?m)^{name} +yes +{role} ")


if __name__ == "__main__":
    unittest.main()
