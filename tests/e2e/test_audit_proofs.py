#!/usr/bin/python3
"""The audit log as outsiders see it: exported from a running server, proved, and cosigned by a
witness; verified by Go's own implementation of signed notes and tiled logs, and by
@transmute/rfc9162 from npm."""
import os
import shutil
import subprocess
import tempfile
import unittest

from whorl import BINARY, PATIENCE, RpcError, Server, World, whorl

GO_MODULES = "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog"
HERE = os.path.dirname(os.path.abspath(__file__))
RECORDS = 300  # more than one full tile
HAS_GO = shutil.which("go") and os.path.isdir(GO_MODULES)


def setUpModule():
    Shared.world = World()
    Shared.server = Server(Shared.world)
    ask_for_nothing(Shared.server, RECORDS)


def tearDownModule():
    Shared.server.end()


class Shared:
    world = server = None


def ask_for_nothing(server, times):
    """Calls that are turned away, and recorded as that."""
    with server.client() as client:
        for _ in range(times):
            try:
                client.call("identify", server.world.request(officer="NOBODY"))
            except RpcError:
                pass


def go_run(name, *args, code=0):
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="-buildvcs=false",
               GOCACHE=Shared.world.path("go-cache"))
    done = subprocess.run(["go", "run", os.path.join(HERE, "tlog", name), *map(str, args)],
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def go_verify(*args, code=0):
    return go_run("verify.go", *args, code=code)


def proof(*args):
    path = Shared.world.path("proof-" + "-".join(map(str, args)))
    with open(path, "w", encoding="utf-8") as file:
        file.write(whorl("audit", *args, "-c", Shared.world.conf).stdout)
    return path


def some_proofs(*consistencies):
    return ([proof("prove", n) for n in (0, 1, 255, 256, RECORDS - 1)]
            + [proof("consistency", m, n) for m, n in consistencies])


@unittest.skipUnless(HAS_GO, "Go or its sumdb is missing")
class Proofs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world, cls.server = Shared.world, Shared.server

    def export(self, name):
        out = self.world.path(name)
        whorl("audit", "export", "-c", self.world.conf, out)
        return out

    def test_export_and_proofs_verify_beside_the_running_server(self):
        whorl("audit", "verify", "-c", self.world.conf)
        out = self.export("export")
        proofs = some_proofs((1, 2), (7, 256), (256, 257), (123, RECORDS), (RECORDS, RECORDS))
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
                     ("export",), ("cosigned",), ("witness", "/tmp"), ("request", "--old", "x"),
                     ("list", "--witness", "x"), ("verify", "--cosigned", "x")):
            whorl("audit", *args, "-c", self.world.conf, code=2)
        whorl("audit", "witness", code=2)
        whorl("audit", "witness", self.world.dir, "--name", "x", code=2)
        whorl("audit", "prove", 10 ** 9, "-c", self.world.conf, code=3)
        whorl("audit", "consistency", 5, 4, "-c", self.world.conf, code=3)


class NpmProofs(unittest.TestCase):
    @unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "node or npm is missing")
    def test_proofs_hold_for_transmute_rfc9162(self):
        # The package calls an empty path no proof: equal sizes are left to the other verifiers.
        proofs = some_proofs((1, 2), (7, 256), (64, 256), (256, 257), (123, RECORDS), (1, RECORDS))
        with tempfile.TemporaryDirectory() as home:
            got = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund",
                                  "--ignore-scripts", "--prefix", home, "@transmute/rfc9162@0.0.5"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
            if got.returncode != 0:
                self.skipTest("the npm registry is out of reach")
            script = shutil.copy(os.path.join(HERE, "tlog", "verify.js"), home)
            done = subprocess.run(["node", script, *proofs], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
                                  check=False)
        self.assertEqual(done.stdout, f"{len(proofs)} hold, 0 hold when altered\n")


class Witness(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.server = Server(self.world)
        self.addCleanup(self.server.kill)
        ask_for_nothing(self.server, 7)
        self.dir = self.world.path("witness")
        with open(self.log("checkpoint.vkey"), encoding="utf-8") as file:
            self.vkey = file.read().strip()
        self.witness = whorl("audit", "witness", self.dir, "--name", "witness.example/w1",
                             "--key", self.vkey).stdout.strip()

    def log(self, *name):
        return self.world.path("var", "audit", *name)

    def ask(self, *args):
        return whorl("audit", "request", "-c", self.world.conf, *args).stdout

    def pipe(self, text, *args, code=0):
        """The command with text on its standard input."""
        done = subprocess.run([BINARY, "audit", *args], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def take(self, reply, code=0):
        return self.pipe(reply, "cosigned", "-c", self.world.conf, "--witness", self.witness,
                         code=code)

    def cosign(self):
        return self.take(self.pipe(self.ask(), "witness", self.dir).stdout).stdout

    def verify(self, *args, code=0):
        return whorl("audit", "verify", "-c", self.world.conf, "--key", self.vkey,
                     "--witness", self.witness, *args, code=code).stdout

    def test_checkpoints_of_a_running_server_are_cosigned_and_exported(self):
        self.assertRegex(self.cosign(), r"^cosigned: \d+ records, 2\d\d\d-")
        ask_for_nothing(self.server, 9)
        self.cosign()
        self.assertRegex(self.verify(), r"intact: \d+ .*\nwitnessed: the first \d+, 2")
        out = self.world.path("out")
        whorl("audit", "export", "-c", self.world.conf, out)
        with open(os.path.join(out, "checkpoint.cosigned"), "rb") as ours, \
                open(os.path.join(self.dir, "latest"), "rb") as theirs:
            self.assertEqual(ours.read(), theirs.read())

    @unittest.skipUnless(HAS_GO, "Go or its sumdb is missing")
    def test_cosignature_verifies_in_go(self):
        said = self.cosign()
        note = self.log("checkpoint.cosigned")
        told = go_run("cosigned.go", note, self.vkey, self.witness)
        self.assertRegex(told, r"^cosigned \d+ \d+\n$")
        self.assertIn(f"cosigned: {told.split()[1]} records", said)
        with open(note, encoding="utf-8") as file:
            text = file.read()
        lines = text.split("\n")
        for line in (1, len(lines) - 2):  # the size; the cosignature's time
            forged = self.world.path("forged")
            altered = list(lines)
            at = len(altered[line]) - 90 if line > 1 else 0
            altered[line] = altered[line][:at] + chr(ord(altered[line][at]) ^ 1) \
                + altered[line][at + 1:]
            with open(forged, "w", encoding="utf-8") as file:
                file.write("\n".join(altered))
            go_run("cosigned.go", forged, self.vkey, self.witness, code=1)

    def test_rolled_back_log_is_refused_and_found(self):
        self.assertEqual(self.server.stop(), 0)
        old = self.world.path("old")
        self.cosign()
        shutil.copytree(self.log(), old)
        server = Server(self.world)
        ask_for_nothing(server, 5)
        self.assertEqual(server.stop(), 0)
        self.cosign()
        shutil.rmtree(self.log())
        os.rename(old, self.log())
        # The folder agrees with itself: here nobody could tell.
        whorl("audit", "verify", "-c", self.world.conf, "--key", self.vkey)
        refused = self.pipe(self.ask(), "witness", self.dir, code=1)
        self.assertIn("rollback", refused.stderr)
        self.assertIn("rolled back", self.take(refused.stdout, code=3).stderr)
        found = self.verify("--cosigned", os.path.join(self.dir, "latest"), code=1)
        self.assertRegex(found, r"NOT INTACT: record \d+: removed: the witness cosigned it")

    def test_forked_log_is_refused_and_found(self):
        self.assertEqual(self.server.stop(), 0)
        old = self.world.path("old")
        shutil.copytree(self.log(), old)  # with the key
        server = Server(self.world)
        ask_for_nothing(server, 3)
        self.assertEqual(server.stop(), 0)
        self.cosign()
        shutil.rmtree(self.log())
        os.rename(old, self.log())
        server = Server(self.world)
        ask_for_nothing(server, 9)
        self.assertEqual(server.stop(), 0)
        with open(os.path.join(self.dir, "latest"), encoding="utf-8") as file:
            cosigned = file.read().split("\n")[1]
        refused = self.pipe(self.ask("--old", cosigned), "witness", self.dir, code=1)
        self.assertIn("fork", refused.stderr)
        self.assertEqual(refused.stdout, "")
        self.assertTrue(os.path.exists(os.path.join(self.dir, "contrary-unproved")))
        found = self.verify("--cosigned", os.path.join(self.dir, "latest"), code=1)
        self.assertIn("rewritten: the witness cosigned other records", found)

    def test_forged_checkpoint_and_wrong_witness_are_refused(self):
        request = self.ask()
        size = request.split("\n")[3]
        forged = request.replace(f"\n{size}\n", f"\n{int(size) + 1}\n")
        self.assertIn("not signed by", self.pipe(forged, "witness", self.dir, code=1).stderr)
        other = self.world.path("other")
        whorl("audit", "witness", other, "--name", "witness.example/w1", "--key", self.vkey)
        wrong = self.pipe(request, "witness", other).stdout
        self.assertIn("not cosigned by", self.take(wrong, code=3).stderr)
        self.assertIn("not witnessed", self.verify(code=1))
        self.pipe("", "witness", self.dir, code=3)
        self.pipe("nonsense\n", "witness", self.dir, code=1)


if __name__ == "__main__":
    unittest.main()
