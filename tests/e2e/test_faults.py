#!/usr/bin/python3
"""What breaks beneath the server: the disk, the store, the process itself."""
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
import unittest

from whorl import (BINARY, OFFICER, PATIENCE, ROOT, SANITIZED, RpcError, Server, World, answers, edit,
                   whorl)

FAULTS = os.path.join(os.path.dirname(BINARY), "tests", "faults", "faults.so")


def limit_files_to(size):
    """Every file of the process stays below `size` bytes: writes past it fail with EFBIG."""
    def apply():
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return apply


class Mount:
    """A small file system of our own over a directory, where that is allowed."""

    def __init__(self, directory, size):
        self.directory = directory
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory],
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest("mounting a file system is not allowed here")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.directory], check=True)


class Failing:
    """System calls of a running server on one file fail with EIO, as strace injects it."""

    def __init__(self, server, path, *calls):
        if os.getuid() != 0 or shutil.which("strace") is None:
            raise unittest.SkipTest("needs strace, and root to trace the server")
        self.log = server.world.path(f"strace-{time.monotonic_ns()}.log")
        self.command = ["strace", "-f", "-o", self.log, "-p", str(server.process.pid),
                        "-P", os.path.realpath(path), "-e", "trace=" + ",".join(calls),
                        "-e", "inject=" + ",".join(calls) + ":error=EIO"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.process.kill()
            raise unittest.SkipTest("strace can't attach here: " + line)
        return self

    def injected(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read().count("INJECTED")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.process.stderr.close()


def audit_ok(client):
    return [sink["ok"] for sink in client.call("capabilities", {"officer": OFFICER})["audit"]]


class Faults(unittest.TestCase):
    def refused_for_the_audit(self, client, world):
        with self.assertRaises(RpcError) as caught:
            client.call("identify", world.request(3, checks=["ident1"]))
        self.assertEqual(caught.exception.code, "audit_unavailable")
        self.assertEqual(audit_ok(client), [False])

    def io_error(self, *calls):
        """No answers while the audit log's disk fails; returns the answer to a call after that, or
        None, when the log stays out of use until the server starts anew."""
        world = World()
        server = Server(world)
        path = world.path("var", "audit", "data.mdb")
        with server.client() as client:
            first = client.call("identify", world.request(3, checks=["ident1"]))
            self.assertEqual(audit_ok(client), [True])
            with Failing(server, path, *calls) as failing:
                for _ in range(3):
                    self.refused_for_the_audit(client, world)
                self.assertGreater(failing.injected(), 0)
            self.assertEqual(client.call("ping"), "pong")
            try:
                client.call("identify", world.request(3, checks=["ident1"]))
                self.assertEqual(audit_ok(client), [True])
            except RpcError as error:
                self.assertEqual(error.code, "audit_unavailable")
                self.assertTrue(any("until the process starts anew" in str(line)
                                    for line in server.log()))
        self.assertEqual(server.stop(), 0)
        server = Server(world)
        with server.client() as client:
            again = client.call("identify", world.request(3, checks=["ident1"]))
            self.assertEqual(audit_ok(client), [True])
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)
        for answer in (first, again):
            listed = whorl("audit", "list", "-c", world.conf, "--json", "--transaction",
                           answer["transaction"]).stdout
            self.assertIn('"identify"', listed)

    def test_failing_sync_of_the_audit_log_means_no_answer_and_recovers(self):
        self.io_error("fdatasync")

    def test_failing_writes_to_the_audit_log_mean_no_answer_and_recover(self):
        self.io_error("pwrite64", "pwritev", "writev", "write")

    def test_corrupt_audit_log_is_not_opened_and_its_right_copy_is(self):
        world = World()
        server = Server(world)
        with server.client() as client:
            for person in (1, 2, 3):
                client.call("identify", world.request(person, checks=["ident1"]))
        self.assertEqual(server.stop(), 0)
        folder = world.path("var", "audit")
        kept = world.path("kept")
        shutil.copytree(folder, kept)
        older = world.path("older")
        server = Server(world)  # its start and stop are records
        self.assertEqual(server.stop(), 0)
        shutil.copytree(folder, older)
        with open(os.path.join(older, "checkpoint"), "rb") as file:
            newest = file.read()
        for name, damage in (("data.mdb", lambda path: os.truncate(path, 4096 * 3)),
                             ("data.mdb", lambda path: shutil.copy(os.path.join(kept, "data.mdb"),
                                                                   path)),
                             ("checkpoint", os.remove),
                             ("checkpoint.key", os.remove)):
            damage(os.path.join(folder, name))
            done = whorl("serve", "-c", world.conf, code=None)
            self.assertEqual(done.returncode, 3, f"{name}: {done.stdout}{done.stderr}")
            self.assertIn("audit", done.stdout + done.stderr)
            shutil.rmtree(folder)
            shutil.copytree(older, folder)
        server = Server(world)
        with server.client() as client:
            client.call("identify", world.request(3, checks=["ident1"]))
        self.assertEqual(server.stop(), 0)
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            self.assertNotEqual(file.read(), newest)
        whorl("audit", "verify", "-c", world.conf)

    def test_full_disk_means_no_answer_and_recovers(self):
        world = World()
        audit = world.path("var", "audit")
        os.makedirs(audit, exist_ok=True)
        with Mount(audit, "2m"):
            server = Server(world)
            try:
                with server.client() as client:
                    first = client.call("identify", world.request(3))
                    filler = os.path.join(audit, "filler")
                    with open(filler, "wb", buffering=0) as file:
                        try:
                            while True:
                                file.write(bytes(4096))
                        except OSError:
                            pass
                    refused = 0
                    for _ in range(200):
                        try:
                            client.call("identify", world.request(3, checks=["ident1"]))
                        except RpcError as error:
                            self.assertEqual(error.code, "audit_unavailable")
                            refused += 1
                            break
                    self.assertTrue(refused, "answers went on although the disk was full")
                    self.assertEqual(audit_ok(client), [False])
                    self.assertEqual(client.call("ping"), "pong")
                    os.remove(filler)
                    again = client.call("identify", world.request(3, checks=["ident1"]))
                    self.assertEqual(answers(again)["ident1"]["class"], "match")
                    self.assertEqual(audit_ok(client), [True])
                    self.assertGreater(again["audit"][0]["position"],
                                       first["audit"][0]["position"])
                self.assertEqual(server.stop(), 0)
                whorl("audit", "verify", "-c", world.conf)
                for transaction in (first["transaction"], again["transaction"]):
                    listed = whorl("audit", "list", "-c", world.conf, "--json",
                                   "--transaction", transaction).stdout
                    self.assertIn('"identify"', listed)
            finally:
                server.end()

    def test_killed_server_loses_no_answered_transaction(self):
        world = World()
        answered = []
        for _ in range(5):
            server = Server(world)
            stop = threading.Event()

            def ask():
                try:
                    with server.client() as client:
                        while not stop.is_set():
                            answered.append(client.call("identify", world.request(
                                3, checks=["ident1"]))["transaction"])
                except (ConnectionError, OSError):
                    pass
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            target = len(answered) + 10
            while len(answered) < target:
                stop.wait(0.005)
            server.kill()
            stop.set()
            for thread in threads:
                thread.join()
        whorl("audit", "verify", "-c", world.conf)
        listed = whorl("audit", "list", "-c", world.conf, "--json").stdout
        for transaction in answered:
            self.assertIn(transaction, listed)
        server = Server(world)
        with server.client() as client:
            self.assertEqual(answers(client.call("identify", world.request(3)))["ident1"]["class"],
                             "match")
        self.assertEqual(server.stop(), 0)

    def test_edited_audit_record_is_found(self):
        world = World()
        server = Server(world)
        with server.client() as client:
            for person in (1, 2, 3):
                client.call("identify", world.request(person, checks=["ident1"]))
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)
        path = world.path("var", "audit", "data.mdb")
        with open(path, "r+b") as file:
            content = file.read()
            at = content.find(b"Name doubted at a road check")
            self.assertGreater(at, 0)
            while at >= 0:
                file.seek(at)
                file.write(b"Mame")
                at = content.find(b"Name doubted at a road check", at + 1)
        done = whorl("audit", "verify", "-c", world.conf, code=1)
        self.assertRegex(done.stdout + done.stderr, r"record \d+|#\d+")

    def test_audit_log_with_a_damaged_page_is_said_to_be_that(self):
        """What LMDB makes of a page is not foreseen: it may end the process. A page may be free."""
        world = World()
        path = world.path("var", "audit", "data.mdb")
        with open(path, "r+b") as file:
            content = file.read()
            for page in range(2 * 4096, len(content), 4096):
                for at, damage in ((10, b"\0\0"), (14, b"\xff\xff"), (16, b"\xff\xff" * 8)):
                    file.seek(page + at)
                    file.write(damage)
                    file.flush()
                    done = whorl("audit", "verify", "-c", world.conf, code=None)
                    self.assertIn(done.returncode, (0, 1, 3), done.stderr)
                    if done.returncode == 0:
                        self.assertIn("intact", done.stdout)
                    elif done.returncode == 3:
                        self.assertIn("whorl audit: ", done.stderr)
                    file.seek(page)
                    file.write(content[page:page + 4096])
                    file.flush()
        whorl("audit", "verify", "-c", world.conf)

    def test_gallery_that_cannot_be_read_is_unavailable_never_no_match(self):
        world = World()
        path = world.path("var", "ident1", "data.mdb")
        with open(path, "r+b") as file:
            content = bytearray(file.read())
            # Every byte of the packed templates changes; the B-tree around them stays whole.
            for at in range(3 * 4096, len(content)):
                if at % 4096 > 256:
                    content[at] ^= 0xA5
            file.seek(0)
            file.write(content)
        try:
            server = Server(world)
        except AssertionError:
            return  # refusing to start is an honest answer too
        with server.client() as client:
            answer = answers(client.call("identify", world.request(3, checks=["ident1"])))["ident1"]
        self.assertEqual(answer["class"], "unavailable")
        self.assertTrue(answer["reason"])
        server.end()

    def test_configuration_mistakes_stop_the_start_by_file_and_line(self):
        world = World()
        with open(os.path.join(world.conf, "ident1.conf"), "a", encoding="utf-8") as file:
            file.write("\nnonsense = 1\n")
        done = whorl("serve", "-c", world.conf, code=3)
        self.assertRegex(done.stderr, r"ident1\.conf:\d+: ")
        done = whorl("check", "-c", world.conf, code=1)
        self.assertRegex(done.stdout + done.stderr, r"ident1\.conf:\d+: ")

    def test_check_refuses_a_revocation_list_that_no_server_starts_with(self):
        world = World()
        edit(os.path.join(world.conf, "listeners.conf"),
             (r'^( *)# (crl = "tls/crl.pem")', r"\1\2"))
        whorl("keys", "revoke", "--ca", world.tls)
        whorl("check", "-c", world.conf)
        # Good text all of it, but: a second authority of which there is no list,
        other = world.path("other")
        whorl("keys", "ca", "-o", other, "--name", "Another authority")
        authorities = os.path.join(world.tls, "ca.pem")
        shutil.copy(authorities, world.path("kept.pem"))
        with open(os.path.join(other, "ca.pem"), encoding="ascii") as more, \
                open(authorities, "a", encoding="ascii") as file:
            file.write(more.read())
        self.assert_check_refuses_as_serve(world, "signed")
        # or a list whose days are over.
        if SANITIZED:
            return
        shutil.copy(world.path("kept.pem"), authorities)
        with open(world.path("clock"), "w", encoding="ascii") as file:
            file.write(str(31 * 86400))
        self.assert_check_refuses_as_serve(world, "out of date", env=dict(
            os.environ, LD_PRELOAD=FAULTS, FAULTS_CLOCK=world.path("clock")))

    @unittest.skipIf(SANITIZED, "the clock is set by a library that a sanitizer does not bear")
    def test_check_warns_of_what_ends_within_two_weeks(self):
        world = World()
        edit(os.path.join(world.conf, "listeners.conf"),
             (r'^( *)# (crl = "tls/crl.pem")', r"\1\2"))
        whorl("keys", "revoke", "--ca", world.tls)  # for 30 days; the server's certificate: 825

        def warnings(days):
            with open(world.path("clock"), "w", encoding="ascii") as file:
                file.write(str(days * 86400))
            done = whorl("check", "-c", world.conf, env=dict(
                os.environ, LD_PRELOAD=FAULTS, FAULTS_CLOCK=world.path("clock")))
            self.assertIn("SHA-256", done.stdout)
            return done.stderr
        self.assertEqual(warnings(15), "")
        day = r" on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n$"
        self.assertRegex(warnings(17), r"^\S+/listeners\.conf:\d+: warning: crl: \S+/crl\.pem ends" + day)
        whorl("keys", "revoke", "--ca", world.tls, "--days", 3650)
        self.assertEqual(warnings(800), "")
        self.assertRegex(warnings(812), "warning: certificate: .*/server.pem ends" + day)
        self.assertRegex(warnings(826), "warning: certificate: .*/server.pem ended" + day)

    def assert_check_refuses_as_serve(self, world, why, **kwargs):
        self.assertIn(why, whorl("serve", "-c", world.conf, code=3, **kwargs).stderr)
        done = whorl("check", "-c", world.conf, code=1, **kwargs)
        self.assertRegex(done.stderr, r"listeners\.conf:\d+: listener \"devices\": crl: .*" + why)
        self.assertEqual(done.stdout, "")

    def test_private_key_that_others_can_read_is_refused(self):
        world = World()
        os.chmod(os.path.join(world.tls, "server.key"), 0o644)
        done = whorl("serve", "-c", world.conf, code=3)
        self.assertIn("server.key", done.stderr)

    def test_plain_listener_on_a_public_address_is_refused(self):
        world = World()
        world.add_plain_listener()
        path = os.path.join(world.conf, "listeners.conf")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        head, _, plain = text.rpartition('address = "127.0.0.1"')
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + 'address = "0.0.0.0"' + plain)
        done = whorl("serve", "-c", world.conf, code=3)
        self.assertRegex(done.stderr, r"listeners\.conf:\d+: .*loopback")

    def test_import_that_cannot_be_written_says_so_and_keeps_what_was_there(self):
        world = World()
        changed = world.path("changed.jsonl")
        with open(os.path.join(ROOT, "packaging", "demo", "pnc.jsonl"), encoding="utf-8") as file:
            text = file.read()
        with open(changed, "w", encoding="utf-8") as file:
            file.write(text.replace("Calloway", "Galloway"))
        done = subprocess.run([BINARY, "pnc", "import", "-c", world.conf, changed],
                              preexec_fn=limit_files_to(8192), capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stderr)
        self.assertIn("Calloway", whorl("pnc", "show", "-c", world.conf, "2007/0058193J").stdout)


if __name__ == "__main__":
    unittest.main()
