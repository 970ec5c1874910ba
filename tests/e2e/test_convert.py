#!/usr/bin/python3
"""whorl convert: between all formats, by the real binary."""
import filecmp
import os
import subprocess
import tempfile
import unittest

from whorl import BINARY, DATA

AN2K = os.path.join(DATA, "an2k")


class Convert(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        subprocess.run([BINARY, "synth", "--fingers", "2", "--impressions", "1", "--seed", "7", "-o",
                        self.path()], check=True, stdout=subprocess.DEVNULL)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def convert(self, *args, code=0):
        """Runs it; what it said on standard output, or on standard error where it fails."""
        done = subprocess.run([BINARY, "convert", *args], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def same(self, a, b):
        self.assertTrue(filecmp.cmp(self.path(a), self.path(b), shallow=False), f"{a} and {b}")

    def test_pixels_survive_every_format(self):
        said = self.convert(self.path("1_1.png"), "-o", self.path("a.raw"), "--to", "raw")
        width, height = said.split(", ")[1].split("x")
        self.assertEqual(os.path.getsize(self.path("a.raw")), int(width) * int(height))
        self.convert(self.path("a.raw"), "--size", f"{width}x{height}", "--position", "4",
                     "-o", self.path("a.an2"), "--to", "an2k")
        said = self.convert(self.path("a.an2"), "-o", self.path("a.png"), "--to", "png")
        self.assertIn("position 4", said)
        self.convert(self.path("a.png"), "-o", self.path("b.raw"), "--to", "raw")
        self.same("a.raw", "b.raw")

    def test_minutiae_survive_records_of_the_same_unit_of_angle(self):
        self.convert(self.path("1_1.png"), "-o", self.path("a.iso"), "--to", "iso")
        self.convert(self.path("a.iso"), "-o", self.path("b.iso"), "--to", "iso")
        self.same("a.iso", "b.iso")
        self.convert(self.path("a.iso"), "-o", self.path("a.ansi378"), "--to", "ansi378")
        self.convert(self.path("a.ansi378"), "-o", self.path("a.an2"), "--to", "an2k")
        self.convert(self.path("a.an2"), "-o", self.path("b.ansi378"), "--to", "ansi378")
        self.same("a.ansi378", "b.ansi378")
        self.assertFalse(filecmp.cmp(self.path("a.iso"), self.path("a.ansi378"), shallow=False))

    def test_several_fingers_go_into_one_transaction_and_out_of_it(self):
        self.convert(self.path("1_1.png"), self.path("2_1.png"), "-o", self.path("two.an2"),
                     "--to", "an2k")
        self.convert(self.path("two.an2"), "-o", self.path("out") + "/", "--to", "png")
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["two_01_00.png", "two_02_00.png"])
        said = self.convert(self.path("two.an2"), "-o", self.path("one.png"), "--to", "png",
                            code=3)
        self.assertIn("must be a folder", said)
        self.assertFalse(os.path.exists(self.path("one.png")))

    def test_what_cannot_be_is_said(self):
        self.convert(self.path("1_1.png"), "-o", self.path("a.iso"), "--to", "iso")
        self.assertIn("holds minutiae", self.convert(
            self.path("a.iso"), "-o", self.path("a.png"), "--to", "png", code=3))
        self.assertIn("not what they claim", self.convert(
            __file__, "-o", self.path("b.png"), "--to", "png", code=3))
        self.assertIn("expected png, raw", self.convert(
            self.path("a.iso"), "-o", self.path("x"), "--to", "wsq", code=2))
        self.assertIn("--dpi", self.convert(
            self.path("1_1.png"), "-o", self.path("x"), "--to", "iso", "--dpi", "72", code=2))
        self.assertIn("-o OUT", self.convert(self.path("a.iso"), "--to", "iso", code=2))
        with open(self.path("cut.an2"), "wb") as file:
            file.write(b"1.001:50\x1d1.002:0500\x1d")
        self.assertIn("at byte 0", self.convert(
            self.path("cut.an2"), "-o", self.path("x"), "--to", "iso", code=3))

    def test_nothing_is_written_over_that_was_read_or_written(self):
        for name in ("d1", "d2"):
            os.mkdir(self.path(name))
        os.rename(self.path("1_1.png"), self.path("d1", "a.png"))
        os.rename(self.path("2_1.png"), self.path("d2", "a.png"))
        images = (self.path("d1", "a.png"), self.path("d2", "a.png"))
        with open(images[0], "rb") as file:
            original = file.read()
        for command in ("convert", "--to", "iso"), ("extract",):
            out = self.path(command[0])
            os.mkdir(out)
            for _ in range(2):  # what an earlier run wrote is written anew
                done = subprocess.run([BINARY, *command, "-o", out, *images], capture_output=True,
                                      text=True, check=False)
                self.assertEqual(done.returncode, 3)
                self.assertIn(os.path.join(out, "a.iso") + ": is not written over", done.stderr)
                self.assertEqual(len(done.stdout.splitlines()), 1)
            self.convert(images[0], "-o", self.path("first.iso"), "--to", "iso")
            self.same("first.iso", os.path.join(command[0], "a.iso"))
        link = self.path("link.png")
        os.link(images[0], link)
        for out in (self.path("d1"), images[0], link):
            self.assertIn("is not written over", self.convert(images[0], "-o", out, "--to", "png",
                                                              code=3))
        with open(images[0], "rb") as file:
            self.assertEqual(file.read(), original)

    @unittest.skipUnless(os.path.isdir(AN2K), "NIST's reference transactions are not here")
    def test_ten_print_card_gives_twenty_fingers(self):
        self.convert(os.path.join(AN2K, "type-4-tpcard.an2"), "-o", self.path("card") + "/",
                     "--to", "ansi378")
        positions = [int(name.split("_")[-1].split(".")[0])
                     for name in os.listdir(self.path("card"))]
        self.assertEqual(sorted(positions), sorted(2 * list(range(1, 11))))


if __name__ == "__main__":
    unittest.main()
