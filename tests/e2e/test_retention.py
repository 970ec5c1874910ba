#!/usr/bin/python3
"""Nothing of a probe is left when its answer has been sent: not in the server's memory, not in a
core dump, not in the data directory, not in the log. The search that shows it is itself shown to
find a probe that is there."""
import array
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

from whorl import PATIENCE, RpcError, Server, World, answers, rpc_frame, struct, whorl

RUN = 32  # bytes of an unbroken piece of a probe that must not be found
VARIED = 15  # different bytes in it: flat background is nobody's
STEP = 1 << 16


# ------------------------------------------------------------------ what is looked for

def png_pixels(png):
    """The rows of an 8-bit grey PNG without interlacing: (width, height, bytes)."""
    at, packed = 8, b""
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8:at + 8 + length]
        at += length + 12
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", body)
            assert form == [8, 0, 0, 0, 0], form
        elif kind == b"IDAT":
            packed += body
    data, rows, above = zlib.decompress(packed), bytearray(), bytes(width)
    for y in range(height):
        kind, row = data[y * (width + 1)], bytearray(data[y * (width + 1) + 1:][:width])
        for x in range(width):
            left, corner = (row[x - 1], above[x - 1]) if x else (0, 0)
            guess = left + above[x] - corner
            nearest = min((abs(guess - c), i, c)
                          for i, c in enumerate((left, above[x], corner)))[2]
            row[x] = row[x] + (0, left, above[x], (left + above[x]) // 2, nearest)[kind] & 255
        rows += row
        above = row
    return width, height, bytes(rows)


def packed_template(world, person, position, png):
    """What a gallery would keep of a print: it is enrolled elsewhere and read from that file."""
    elsewhere = tempfile.mkdtemp(prefix="whorl-test-")
    try:
        conf = os.path.join(elsewhere, "conf.d")
        shutil.copytree(world.conf, conf)
        manifest = os.path.join(elsewhere, "one.csv")
        with open(manifest, "w", encoding="utf-8") as file:
            file.write("person,position,impression,file,source,expires\n"
                       f"{person},{position},1,{png},made up,2999-01-01\n")
        whorl("enrol", "-c", conf, "--gallery", "ident1", manifest)
        with open(os.path.join(elsewhere, "var", "ident1", "data.mdb"), "rb") as file:
            data = file.read()
        at = data.index(person.encode() + bytes([position, 1]))
        at += len(person) + 2
        length, = struct.unpack_from("<H", data, at)
        packed = data[at + 2:at + 2 + length]
        assert packed[:2] == b"WT", packed[:2]
        return packed
    finally:
        shutil.rmtree(elsewhere)


def matcher_forms(packed):
    """A packed template as programs hold it: its columns of 16-bit numbers, and its rows."""
    count, columns, rows = packed[11], [[], [], []], b""
    assert packed[3] == 0, "coordinates are at full precision"
    for i in range(count):
        word = int.from_bytes(packed[16 + 8 * count + 6 * i:][:6], "little")
        x, y, angle = word & 0x3FFF, word >> 14 & 0x3FFF, (word >> 28 & 0x3FF) << 6
        for column, value in zip(columns, (x, y, angle)):
            column.append(value)
        rows += struct.pack("<HHHBB", x, y, angle, word >> 38 & 3, word >> 40 & 0x7F)
    return [struct.pack(f"<{count}H", *column) for column in columns] + [rows]


class Marks:
    """Finds pieces of known byte strings in anything."""

    def __init__(self):
        self.strings = {}
        self.words = {}  # eight bytes -> where they stand: [(name, offset)]

    def add(self, name, data):
        self.strings[name] = data
        for at in range(len(data) - 7):
            word = data[at:at + 8]
            if len(set(word)) >= 3:
                self.words.setdefault(int.from_bytes(word, sys.byteorder), []).append((name, at))

    def find(self, data):
        """{name: where} of the strings of which `data` has RUN bytes in a row, wherever they begin.
        Such a run covers three whole words at multiples of 8, and of VARIED different bytes one of
        those has at least three: so those words alone are looked up."""
        found, hits, zeros = {}, set(), bytes(STEP)
        for at in range(0, len(data) // 8 * 8, STEP):
            piece = data[at:at + STEP]
            if piece != zeros:
                words = array.array("Q")
                words.frombytes(piece[:len(piece) // 8 * 8])
                hits.update(self.words.keys() & set(words))
        for word in hits:
            places = [(name, at) for name, at in self.words[word] if name not in found]
            place = places and self.verify(data, word, places)
            if place:
                found[place[0]] = place[1]
        return found

    def verify(self, data, word, places):
        pattern = word.to_bytes(8, sys.byteorder)
        at = data.find(pattern)
        while at >= 0:
            for name, there in places:
                run = self.extent(data, at, self.strings[name], there)
                if len(run) >= RUN and len(set(run)) >= VARIED:
                    return name, f"{len(run)} bytes at {at}"
            at = data.find(pattern, at + 1)
        return None

    @staticmethod
    def extent(data, at, string, there):
        """The common run around two places that agree, or enough of it."""
        first, last = 0, 8
        while first < min(at, there, 256) and data[at - first - 1] == string[there - first - 1]:
            first += 1
        while (last < 256 and at + last < len(data) and there + last < len(string)
               and data[at + last] == string[there + last]):
            last += 1
        return string[there - first:there + last]


def memory(pid):
    """(mapping, bytes) of everything that can be read of a process."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        maps = file.read().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            first, last = (int(x, 16) for x in line.split()[0].split("-"))
            if "r" not in line.split()[1] or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            data = bytearray()
            while first < last:
                try:
                    mem.seek(first)
                    piece = mem.read(min(last - first, 1 << 24))
                except OSError:
                    piece = b""
                if not piece:  # a mapped file ends before its mapping does
                    break
                data += piece
                first += len(piece)
            yield line, bytes(data)


def may_read_memory():
    return os.geteuid() == 0


# ------------------------------------------------------------------ the tests

@unittest.skipUnless(may_read_memory(), "only root may read the memory of a process that is not "
                                        "dumpable")
class Retention(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        iso = cls.world.path("iso")
        cls.marks, cls.samples = Marks(), {}
        shown = [(13, 2), (13, 7), (3, 2), (3, 7), (14, 2)]
        whorl("extract", "-o", iso, *[cls.world.print_of(*s) for s in shown])
        for person, position in shown:
            path = cls.world.print_of(person, position)
            name = f"{person}/{position}"
            with open(path, "rb") as file:
                png = file.read()
            width, height, pixels = png_pixels(png)
            with open(os.path.join(iso, os.path.basename(path)[:-4] + ".iso"), "rb") as file:
                record = file.read()
            packed = packed_template(cls.world, "MARKED01", position, path)
            # The first 80 bytes of a PNG are the same in all of this size.
            for kind, data in (("png", png[80:]), ("pixels", pixels), ("record", record),
                               ("packed", packed)):
                cls.marks.add(f"{name} {kind}", data)
            for i, form in enumerate(matcher_forms(packed)):
                cls.marks.add(f"{name} matcher {i}", form)
            common = {"modality": "finger", "position": position}
            cls.samples[name] = {
                "png": dict(common, format="png", dpi=500, data=png),
                "raw": dict(common, format="raw", dpi=500, width=width, height=height, data=pixels),
                "iso": dict(common, format="iso19794-2", data=record)}

    def setUp(self):
        self.server = Server(self.world)

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def in_memory(self):
        found = {}
        for mapping, data in memory(self.server.process.pid):
            for name, where in self.marks.find(data).items():
                found.setdefault(name, f"{mapping}: {where}")
        return found

    def in_files(self):
        """Of the data directory and the logs. The prints themselves lie beside them."""
        found = {}
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(self.world.path("var"))
                 for name in names]
        for path in filter(os.path.isfile, [*paths, self.server.log_path]):
            with open(path, "rb") as file:
                for name, where in self.marks.find(file.read()).items():
                    found[name] = f"{path}: {where}"
        return found

    def wait_until_at_rest(self):
        """Until every thread of the server sleeps. The registers of one that runs, or was taken off
        its processor while it ran, are in a core dump with whatever it works on."""
        tasks = f"/proc/{self.server.process.pid}/task"
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while quiet < 3 and time.monotonic() < deadline:
            states = set()
            for task in os.listdir(tasks):
                with open(f"{tasks}/{task}/stat", encoding="utf-8") as file:
                    states.add(file.read().rsplit(") ", 1)[1][0])
            quiet = quiet + 1 if states == {"S"} else 0
            time.sleep(0.02)
        self.assertEqual(quiet, 3, "the server does not come to rest")

    def in_core_dump(self):
        """gdb writes what the kernel would: it goes by the same flags of each mapping."""
        folder = tempfile.mkdtemp(prefix="whorl-test-")
        try:
            prefix = os.path.join(folder, "core")
            self.wait_until_at_rest()
            pid = self.server.process.pid
            done = subprocess.run(["gcore", "-o", prefix, str(pid)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=PATIENCE, check=False)
            self.assertTrue(os.path.exists(f"{prefix}.{pid}"), done.stdout)
            with open(f"{prefix}.{pid}", "rb") as file:
                dump = file.read()
            self.assertIn(b"WMP1234", dump, "the dump holds the heap")
            return self.marks.find(dump)
        finally:
            shutil.rmtree(folder)

    def shown(self, *names, **more):
        samples = [dict(self.samples[name][kind]) for name, kind in names]
        return self.world.request(samples=samples, **more)

    def test_the_search_finds_a_probe_that_is_there(self):
        """Half a message, so that the server must hold what it has. Its memory shows the probe; a
        core dump, made at that moment, does not."""
        frame = rpc_frame("identify", self.shown(("13/7", "raw"), ("13/2", "png")))
        with self.server.client() as client:
            client.call("ping")
            client.send(frame[:-1])
            deadline = time.monotonic() + PATIENCE
            found = {}
            while time.monotonic() < deadline and "13/2 png" not in found:
                found = self.in_memory()
            self.assertIn("13/2 png", found)
            self.assertIn("13/7 pixels", found)
            if shutil.which("gcore"):
                self.assertEqual(self.in_core_dump(), {})
            client.send(frame[-1:])
            client.finish(1)
        self.assertEqual(self.in_memory(), {})

    def test_nothing_is_left_of_a_probe_that_was_answered(self):
        known = [("3/2", "png"), ("3/7", "raw")]
        with self.server.client() as client:
            for shown, expected in (([("13/2", "png"), ("13/7", "raw")], "no_match"),
                                    ([("13/2", "iso"), ("13/7", "iso")], "no_match"),
                                    (known, "match")):
                result = client.call("identify", self.shown(*shown))
                self.assertEqual(answers(result)["ident1"]["class"], expected)
                self.assertEqual(self.in_memory(), {}, expected)
            if shutil.which("gcore"):
                self.assertEqual(self.in_core_dump(), {})
        self.assertEqual(self.in_files(), {})

    @unittest.skipUnless(shutil.which("gcore"), "gdb's gcore is not installed")
    def test_a_core_dump_holds_nothing(self):
        with self.server.client() as client:
            client.call("identify", self.shown(("3/2", "raw"), ("3/7", "png")))
            self.assertEqual(self.in_core_dump(), {})

    def test_nothing_is_left_of_what_was_turned_away(self):
        """Errors, refusals, damaged images, calls whose device went away."""
        damaged = self.shown(("13/2", "png"), ("13/7", "iso"))
        for sample in damaged["samples"]:
            sample["data"] = sample["data"][:-40]
        for argument in (self.shown(("13/2", "png"), basis="none"),
                         self.shown(("13/7", "raw"), officer="NOBODY"),
                         self.shown(("13/2", "iso"), consent="refused"),
                         self.shown(("14/2", "raw"), request_id="short")):
            with self.server.client() as client, self.assertRaises(RpcError):
                client.call("identify", argument)
        with self.server.client() as client:
            client.call("identify", damaged)
        client = self.server.client()
        client.send(rpc_frame("identify", self.shown(("14/2", "png")))[:-9])
        client.close()
        client = self.server.client()
        client.start("identify", self.shown(("14/2", "raw"), ("13/2", "raw")))
        client.close()
        with self.server.client() as client:
            client.call("identify", self.shown(("13/2", "png")))
        deadline = time.monotonic() + PATIENCE
        while self.in_memory() and time.monotonic() < deadline:
            time.sleep(0.2)  # the call that nobody waits for goes on to its end
        self.assertEqual(self.in_memory(), {})
        self.assertEqual(self.in_files(), {})


if __name__ == "__main__":
    unittest.main()
