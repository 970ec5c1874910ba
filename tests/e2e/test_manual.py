#!/usr/bin/python3
"""The manual pages and the ABI reference as they are installed: they render, and leave nothing out."""
import os
import re
import shutil
import subprocess
import html

from installed import Installed
from whorl import ROOT, World, unittest, whorl


class Manual(Installed):
    def page(self, name):
        """As a reader sees it, on one very wide line a paragraph."""
        env = dict(os.environ, MANWIDTH="20000", LC_ALL="C.UTF-8", MAN_KEEP_FORMATTING="")
        done = subprocess.run(["man", "-l", "-P", "cat", self.found[name]], env=env, check=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        return done.stdout

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_they_render_without_a_complaint(self):
        for name in "whorl.1", "whorl.conf.5", "whorl-plugin.7":
            done = subprocess.run(["groff", "-man", "-t", "-ww", "-Kutf8", "-Tutf8", "-z",
                                   self.found[name]], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""), name)

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_mandoc_finds_no_error(self):
        for name in "whorl.1", "whorl.conf.5", "whorl-plugin.7":
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "error", self.found[name]],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""), name)

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_every_command_and_every_option_is_there(self):
        page = self.page("whorl.1")
        listed = re.compile(r"^  ([a-z][a-z-]*) +\S", re.M)
        groups = 0
        for name in listed.findall(whorl("--help").stdout):
            said = whorl(name, "--help").stdout
            inner = listed.findall(said) if f"whorl {name} COMMAND" in said else []
            groups += len(inner) > 0
            for words in [(name, one) for one in inner] or [(name,)]:
                section = re.search(rf"^   whorl {' '.join(words)}\n(.*?)(?=^   \S|^\S)", page,
                                    re.M | re.S)
                self.assertIsNotNone(section, words)
                said = whorl(*words, "--help").stdout
                options = set(re.findall(r"^ {2,6}(?:-\w, )?(-\S+)", said, re.M))
                for option in options - {"--usage", "--help", "-?,"}:
                    self.assertIn(option, section[1], words)
                last = said.rstrip().split("\n\n")[-1]
                if last[0] == " " or "corresponding short options" in last:  # argp's own words
                    continue
                self.assertIn(" ".join(last.split()[-3:]), section[1], words)
        self.assertGreater(groups, 3)

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_every_option_of_the_configuration_is_there(self):
        page = self.page("whorl.conf.5")
        said = whorl("check", "-c", World().conf).stdout
        names = set(re.findall(r"^ *([a-z][a-z0-9_]*) = ", said, re.M))
        self.assertGreater(len(names), 30)
        for name in names:
            self.assertRegex(page, rf"\b{name}\b")

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_every_function_and_structure_of_the_sdk_is_there_with_its_words(self):
        page = self.page("whorl-plugin.7")
        with open(self.found["abi.html"], encoding="utf-8") as file:
            reference = html.unescape(file.read())
        squeezed = " ".join(page.split())
        count = 0
        for folder in "sdk/include/whorl", "sdk/client/include/whorl":
            for name in sorted(os.listdir(os.path.join(ROOT, folder))):
                with open(os.path.join(ROOT, folder, name), encoding="utf-8") as file:
                    text = file.read()
                for declared in re.findall(r"^(?:WHORL_API .*?(\w+)\(|struct (\w+) \{|enum (\w+) \{)",
                                           text, re.M):
                    declared = "".join(declared)
                    count += 1
                    self.assertIn(declared, page)
                    self.assertIn(declared, reference)
                for line in re.findall(r"^/\* (\w.*?)(?: \*/)?$", text, re.M):
                    if name != "api.h":
                        self.assertIn(" ".join(line.split()), " ".join(reference.split()))
                        self.assertIn(line.split(".")[0].split("`")[0].strip(), squeezed)
        self.assertGreater(count, 60)


if __name__ == "__main__":
    unittest.main()
