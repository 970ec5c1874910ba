#!/usr/bin/python3
"""What the binary, its modules and the running process are protected by."""
import os
import re
import resource
import subprocess
import unittest

from whorl import BINARY, COVERAGE, SANITIZED, Server, World, is_closed, readelf

BUILD = os.path.dirname(BINARY)


def modules():
    folder = os.path.join(BUILD, "plugins")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
            if name.endswith(".so")]


class Binary(unittest.TestCase):
    """psABI and GNU linker's names, as readelf(1) shows them."""

    def every(self):
        found = [BINARY, *modules()]
        self.assertGreater(len(found), 3)
        return found

    def test_it_is_loaded_anywhere(self):
        self.assertRegex(readelf("-h", BINARY), r"Type:\s+DYN")
        self.assertRegex(readelf("-d", BINARY), r"FLAGS_1.*\bPIE\b")

    def test_nothing_is_writable_and_executable(self):
        for path in self.every():
            segments = readelf("-l", path)
            self.assertRegex(segments, r"GNU_STACK\s+(0x[0-9a-f]+\s+){5}RW\s", path)
            self.assertNotRegex(segments, r"LOAD\s+(0x[0-9a-f]+\s+){5}RWE", path)
            self.assertNotIn("TEXTREL", readelf("-d", path), path)

    @unittest.skipIf(SANITIZED, "sanitizers bring their own")
    def test_tables_of_functions_are_read_only(self):
        for path in self.every():
            self.assertIn("GNU_RELRO", readelf("-l", path), path)
            self.assertRegex(readelf("-d", path), r"BIND_NOW|FLAGS_1.*\bNOW\b", path)

    @unittest.skipIf(SANITIZED or COVERAGE, "sanitizers bring their own; without optimization, none")
    def test_stacks_and_copies_are_checked(self):
        for path in self.every():
            symbols = readelf("--dyn-syms", path)
            self.assertIn("__stack_chk_fail", symbols, path)
        self.assertRegex(readelf("--dyn-syms", BINARY), r"__\w+_chk@")

    @unittest.skipUnless(os.uname().machine == "x86_64", "CET is x86's")
    def test_jumps_and_returns_are_guarded(self):
        """Every object of ours is marked. Of the whole the linker says so only where the system's
        own start-up files are marked too, which Debian 12's are not."""
        objects = [os.path.join(folder, name) for folder, _, names in os.walk(BUILD)
                   for name in names if name.endswith(".c.o") and "/tests/" not in folder]
        self.assertGreater(len(objects), 100)
        for path in objects:
            notes = readelf("-n", path)
            self.assertRegex(notes, r"x86 feature:.*IBT.*SHSTK", path)

    def test_modules_export_their_descriptor_alone(self):
        for path in modules():
            exported = re.findall(r"(?:FUNC|OBJECT)\s+GLOBAL\s+DEFAULT\s+\d+\s+(\w+)",
                                  readelf("--dyn-syms", path))
            self.assertIn("whorl_plugin", exported, path)

    def test_no_library_is_looked_for_in_a_place_that_others_write(self):
        for path in self.every():
            for found in re.findall(r"R(?:UN)?PATH.*\[(.*)\]", readelf("-d", path)):
                for place in found.split(":"):
                    if place.strip("X") == "":
                        continue  # Meson's room for the place of the installed library
                    self.assertTrue(place.startswith(("/", "$ORIGIN")), (path, place))


class Process(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(World())
        cls.pid = cls.server.process.pid

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def test_no_core_is_ever_dumped(self):
        self.assertEqual(resource.prlimit(self.pid, resource.RLIMIT_CORE), (0, 0))

    def test_others_of_the_same_user_cannot_look_into_it(self):
        """A process that is not dumpable belongs to root in /proc (proc(5)); as root we can't be
        kept out, so the owner is what there is to see, unless we are nobody in particular."""
        if os.getuid() == 0:
            self.skipTest("root sees everything")
        with self.assertRaises(PermissionError):
            with open(f"/proc/{self.pid}/mem", "rb"):
                pass

    def test_it_can_lock_as_much_memory_as_it_may(self):
        soft, hard = resource.prlimit(self.pid, resource.RLIMIT_MEMLOCK)
        self.assertEqual(soft, hard)


class OtherUser(unittest.TestCase):
    """The same, shown by a server that runs as somebody who is not root."""

    @unittest.skipUnless(os.getuid() == 0, "only root can start it as somebody else")
    @unittest.skipIf(is_closed(), "the tree is closed to everybody else")
    def test_not_even_its_own_user_can_read_its_memory(self):
        world = World()
        user = 65534
        for folder, _, names in os.walk(os.path.dirname(world.dir)):
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                os.chown(path, user, user)
        server = Server(world, preexec_fn=lambda: (os.setgid(user), os.setuid(user)))
        try:
            done = subprocess.run(["cat", f"/proc/{server.process.pid}/environ"], check=False,
                                  capture_output=True,
                                  preexec_fn=lambda: (os.setgid(user), os.setuid(user)))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"denied", done.stderr)
            with server.client() as client:
                self.assertEqual(client.call("ping"), "pong")
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
