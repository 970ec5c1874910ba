#!/usr/bin/python3
"""What breaks beneath the server: the disk, the store, the process itself."""
import os
import resource
import subprocess
import threading
import unittest

from whorl import BINARY, ROOT, RpcError, Server, World, answers, whorl


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


class Faults(unittest.TestCase):
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
                    self.assertEqual(client.call("ping"), "pong")
                    os.remove(filler)
                    again = client.call("identify", world.request(3, checks=["ident1"]))
                    self.assertEqual(answers(again)["ident1"]["class"], "match")
                    self.assertGreater(again["audit"][0]["position"],
                                       first["audit"][0]["position"])
                self.assertEqual(server.stop(), 0)
                whorl("audit", "verify", "-c", world.conf)
                for transaction in (first["transaction"], again["transaction"]):
                    listed = whorl("audit", "list", "-c", world.conf, "--json",
                                   "--transaction", transaction).stdout
                    self.assertIn('"identify"', listed)
            finally:
                server.kill()

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
        server.kill()

    def test_configuration_mistakes_stop_the_start_by_file_and_line(self):
        world = World()
        with open(os.path.join(world.conf, "ident1.conf"), "a", encoding="utf-8") as file:
            file.write("\nnonsense = 1\n")
        done = whorl("serve", "-c", world.conf, code=3)
        self.assertRegex(done.stderr, r"ident1\.conf:\d+: ")
        done = whorl("check", "-c", world.conf, code=1)
        self.assertRegex(done.stdout + done.stderr, r"ident1\.conf:\d+: ")

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
