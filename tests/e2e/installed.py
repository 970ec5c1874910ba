"""What `meson install` puts somewhere, for tests of what others build with it."""
import os
import shutil
import subprocess
import tempfile
import unittest

from whorl import BINARY, SANITIZED

BUILD = os.path.dirname(BINARY)


@unittest.skipIf(SANITIZED,
                 "what a sanitizer instruments can't be linked with what it doesn't")
class Installed(unittest.TestCase):
    """An installation in cls.root; run_in runs commands that find it and nothing of the tree."""

    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="whorl-test-")
        cls.addClassCleanup(shutil.rmtree, cls.root, True)
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir",
                        cls.root], check=True, stdout=subprocess.DEVNULL)
        cls.found = {}
        for base, _, files in os.walk(cls.root):
            for name in files:
                cls.found.setdefault(name, os.path.join(base, name))
        cls.binary = cls.found["whorl"]
        cls.env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(cls.found["whorl-sdk.pc"]),
                       PKG_CONFIG_SYSROOT_DIR=cls.root,
                       PATH=os.path.dirname(cls.binary) + os.pathsep + os.environ["PATH"],
                       LD_LIBRARY_PATH=os.path.dirname(cls.found["libwhorl-sdk.so.1"]))

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="whorl-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    @classmethod
    def run_in(cls, folder, *args, env=None):
        done = subprocess.run(args, cwd=folder, env=dict(cls.env, **(env or {})),
                              stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}")
        return done.stdout
