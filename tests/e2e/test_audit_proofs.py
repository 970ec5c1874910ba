#!/usr/bin/python3
"""The audit log as outsiders see it: exported from a running server and verified by Go's own
implementation of signed notes and tiled logs."""
import os
import shutil
import subprocess
import unittest

from whorl import RpcError, Server, World, whorl

GO_MODULES = "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog"
HERE = os.path.dirname(os.path.abspath(__file__))
RECORDS = 300  # more than one full tile


def go_verify(*args, code=0):
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="-buildvcs=false",
               GOCACHE=GoCache.dir)
    done = subprocess.run(["go", "run", os.path.join(HERE, "tlog", "verify.go"), *map(str, args)],
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


class GoCache:
    dir = None


@unittest.skipUnless(shutil.which("go") and os.path.isdir(GO_MODULES), "Go or its sumdb is missing")
class Proofs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        GoCache.dir = cls.world.path("go-cache")
        cls.server = Server(cls.world)
        with cls.server.client() as client:
            for _ in range(RECORDS):
                try:  # turned away, and recorded as that
                    client.call("identify", cls.world.request(officer="NOBODY"))
                except RpcError:
                    pass

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def export(self, name):
        out = self.world.path(name)
        whorl("audit", "export", "-c", self.world.conf, out)
        return out

    def proof(self, *args):
        path = self.world.path("proof-" + "-".join(map(str, args)))
        with open(path, "w", encoding="utf-8") as file:
            file.write(whorl("audit", *args, "-c", self.world.conf).stdout)
        return path

    def test_export_and_proofs_verify_beside_the_running_server(self):
        whorl("audit", "verify", "-c", self.world.conf)
        out = self.export("export")
        proofs = [self.proof("prove", n) for n in (0, 1, 255, 256, RECORDS - 1)]
        proofs += [self.proof("consistency", m, n)
                   for m, n in ((1, 2), (7, 256), (256, 257), (123, RECORDS), (RECORDS, RECORDS))]
        self.assertRegex(go_verify(out, *proofs), rf"verified \d+ records, {len(proofs)} proofs")

    def test_export_that_was_tampered_with_does_not_verify(self):
        for name in ("tile/0/000", "tile/entries/000", "checkpoint"):
            out = self.export("tampered-" + name.replace("/", "-"))
            path = os.path.join(out, name)
            with open(path, "r+b") as file:
                content = bytearray(file.read())
                content[40] ^= 1
                file.seek(0)
                file.write(content)
            go_verify(out, code=1)

    def test_export_holds_no_record(self):
        out = self.export("plain")
        for folder, _, files in os.walk(out):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(b"NOBODY", file.read())

    def test_pinned_key_is_the_one_that_counts(self):
        with open(os.path.join(self.export("pinned"), "checkpoint.vkey"), encoding="utf-8") as file:
            vkey = file.read().strip()
        whorl("audit", "verify", "-c", self.world.conf, "--key", vkey)
        other = "whorl.invalid/audit+0bb6aeb6+" + "AdEF" * 11
        whorl("audit", "verify", "-c", self.world.conf, "--key", other, code=3)

    def test_wrong_usage_is_refused(self):
        for args in (("prove",), ("prove", "x"), ("consistency", "1"), ("nonsense",), ("verify", "1"),
                     ("export",)):
            whorl("audit", *args, "-c", self.world.conf, code=2)
        whorl("audit", "prove", 10 ** 9, "-c", self.world.conf, code=3)
        whorl("audit", "consistency", 5, 4, "-c", self.world.conf, code=3)


if __name__ == "__main__":
    unittest.main()
