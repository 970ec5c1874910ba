#!/usr/bin/python3
"""Each thing beneath the server failing once, its sudden death again and again, a calendar that
jumps: a clear error, nothing lost, nothing corrupted."""
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time

import msgpack

from endurance import KillRounds
from test_lifecycle import core_options
from whorl import (BINARY, PATIENCE, SANITIZED, RpcError, Server, World, answers, edit, rpc_frame,
                   unittest, whorl)

FAULTS = os.path.join(os.path.dirname(BINARY), "tests", "faults", "faults.so")
# Each fails once on the way, at its start, in the middle or near the end.
# `write` is not among them: libuv ends a process that can't write to its own eventfd, which only this
# could bring about. test_faults.py makes the log's own writes fail.
SYSTEM_CALLS = {"mmap": "ENOMEM", "pwrite64": "ENOSPC", "pwritev": "EIO", "writev": "EIO", "fdatasync": "EIO", "fsync": "EIO", "rename": "EIO",
                "ftruncate": "ENOSPC", "openat": "EMFILE", "mlock2": "ENOMEM"}
CODES = {"audit_unavailable", "internal", "busy"}


def preloaded(**variables):
    return dict(os.environ, LD_PRELOAD=FAULTS, **variables)


class Once(unittest.TestCase):
    """The start and one identification, with one failure on the way."""

    def setUp(self):
        self.world = World()
        self.answered = []

    def serve_one(self, server):
        """Answered, or refused with one of the codes for what a server itself can't do."""
        try:
            with server.client() as client:
                result = client.call("identify", self.world.request(3, checks=["ident1"]))
        except RpcError as error:
            self.assertIn(error.code, CODES)
            return
        except OSError:
            return  # the failure fell on the connection: closed, not answered
        self.answered.append(result["transaction"])
        self.assertIn(answers(result)["ident1"]["class"], ("match", "unavailable"))

    def run_with_failure(self, what, **kwargs):
        try:
            server = Server(self.world, **kwargs)
        except AssertionError as error:
            said = str(error)
            # It did not start: exit status 3 and a reason.
            self.assertRegex(said, r"the server ended \(3\)", what)
            self.assertRegex(said, r'"level": "error"|whorl: ', what)
            return
        self.serve_one(server)
        code = server.stop()
        self.assertIn(code, (0, 3), what)

    def verify(self):
        """All is whole, and a server without failures goes on."""
        server = Server(self.world)
        with server.client() as client:
            result = client.call("identify", self.world.request(3, checks=["ident1"]))
        self.assertEqual(answers(result)["ident1"]["class"], "match")
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", self.world.conf)
        whorl("gallery", "check", "-c", self.world.conf, "--gallery", "ident1")
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        for transaction in self.answered:
            self.assertIn(transaction, listed)

    def count_calls(self, name):
        """How often one start, identification and stop make the system call, and how often ld.so
        does before: where it has no memory, it crashes."""
        log = self.world.path("strace.log")
        server = Server(self.world, wrap=("strace", "-D", "-f", "-qq", "-o", log, "-e",
                                          f"trace={name},prctl"))
        self.serve_one(server)
        server.stop()
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        own = next(i for i, line in enumerate(lines) if "PR_SET_DUMPABLE" in line)
        made = [i for i, line in enumerate(lines) if f" {name}(" in line]
        return len(made), sum(i < own for i in made)

    @unittest.skipIf(shutil.which("strace") is None or os.getuid() != 0, "needs strace, and root")
    @unittest.skipIf(SANITIZED, "a sanitizer makes system calls of its own")
    def test_each_system_call_failing_once_is_an_error_and_corrupts_nothing(self):
        log = self.world.path("injected.log")
        injected = 0
        for name, error in SYSTEM_CALLS.items():
            count, before = self.count_calls(name)
            shares = range(8) if name == "mmap" else (0, 5, 7)
            for when in sorted({before + 1 + (count - before) * share // 8 for share in shares}
                               if count > before else ()):
                with self.subTest(f"{name} {when} of {count}"):
                    self.run_with_failure(
                        f"{name} {when} of {count}",
                        wrap=("strace", "-D", "-f", "-qq", "-o", log, "-e", f"trace={name}", "-e",
                              f"inject={name}:error={error}:when={when}"))
                    with open(log, encoding="utf-8", errors="replace") as file:
                        injected += "INJECTED" in file.read()
        self.assertGreater(injected, 10)
        self.verify()

    @unittest.skipIf(SANITIZED, "a sanitizer has an allocator of its own")
    def test_each_allocation_failing_once_is_an_error_and_corrupts_nothing(self):
        failed, number = 0, 1
        while number < 200000:
            with self.subTest(f"allocation {number}"):
                self.run_with_failure(f"allocation {number}",
                                      env=preloaded(FAULTS_ALLOCATION=str(number)))
            newest = max((os.path.join(self.world.dir, name) for name in os.listdir(self.world.dir)
                          if name.startswith("server-")), key=os.path.getmtime)
            with open(newest, encoding="utf-8", errors="replace") as file:
                if "the allocation has failed" not in file.read():
                    break  # past the last one
            failed += 1
            number = number * 5 // 4 + 7
        self.assertGreater(failed, 10)
        self.verify()


class Death(unittest.TestCase):
    def test_sudden_death_under_load_loses_nothing(self):
        rounds = KillRounds(World())
        for _ in range(20):
            rounds.round(least=5)
        rounds.verify()
        # Twenty dead readers hold no page of any store: the next server starts and serves.
        server = Server(rounds.world)
        with server.client() as client:
            result = client.call("identify", rounds.world.request(3, checks=["ident1"]))
        self.assertEqual(answers(result)["ident1"]["class"], "match")
        self.assertEqual(server.stop(), 0)


class Descriptors(unittest.TestCase):
    def test_no_descriptors_left_refuses_newcomers_and_recovers(self):
        world = World()
        server = Server(world, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                     (64, 64)))
        first = server.client()
        crowd = []
        for _ in range(80):
            try:
                client = server.client()
                client.socket.settimeout(PATIENCE)
                crowd.append(client)
            except OSError:
                break
        self.assertLess(len(crowd), 64)
        # Who is in is served, to the disk, and the log says what is short.
        result = first.call("identify", world.request(3, checks=["ident1"]))
        self.assertEqual(answers(result)["ident1"]["class"], "match")
        for client in crowd:
            client.close()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with server.client() as client:
                    self.assertEqual(client.call("ping"), "pong")
                break
            except OSError:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
        first.close()
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)

    def test_as_many_descriptors_as_the_hard_limit_allows_and_a_warning_if_they_are_few(self):
        world = World()
        for connections, warnings in ((1800, []), (1801, [("1801", "2000")])):
            core_options(world, max_connections=connections)
            server = Server(world, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                         (500, 2000)))
            self.assertEqual(resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE),
                             (2000, 2000))
            said = [(line["max_connections"], line["descriptors"]) for line in server.log()
                    if line.get("text", "").startswith("descriptors will run out")]
            self.assertEqual(said, warnings)
            self.assertEqual(server.stop(), 0)

    @unittest.skipIf(SANITIZED, "a sanitizer wants to be the first library")
    def test_no_descriptor_even_for_a_refusal_stops_nobody_who_is_in(self):
        world = World()
        world.add_plain_listener()
        shortage = world.path("shortage")
        server = Server(world, env=preloaded(FAULTS_SHORTAGE=shortage))
        first = server.client()
        self.assertEqual(first.call("ping"), "pong")
        first.socket.settimeout(PATIENCE)

        def kept_out():
            return [line for line in server.log()
                    if line.get("text") == "a connection could not be accepted"]
        with open(shortage, "w", encoding="ascii"):
            pass
        crowd = [socket.create_connection(("127.0.0.1", server.ports["plain"]), PATIENCE)
                 for _ in range(5)]
        for newcomer in crowd:
            newcomer.sendall(rpc_frame("ping"))
        began = time.monotonic()
        while time.monotonic() - began < 2:
            self.assertEqual(first.call("ping"), "pong")
            time.sleep(0.02)
        # The shortage is told, but no more than once a second.
        took = time.monotonic() - began
        said = kept_out()
        self.assertGreaterEqual(len(said), 1)
        self.assertLessEqual(len(said), took + 2)
        self.assertEqual(said[0]["listener"], "plain")
        self.assertIn("too many open files", said[0]["reason"])
        os.remove(shortage)
        for newcomer in crowd:
            self.assertEqual(msgpack.unpackb(newcomer.recv(100)), [1, 1, None, "pong"])
            newcomer.close()
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        first.close()
        self.assertEqual(server.stop(), 0)


@unittest.skipIf(shutil.which("mdb_copy") is None, "needs lmdb-utils")
class Backup(unittest.TestCase):
    def test_a_copy_beside_the_running_server_restores_all_that_was_answered_before_it(self):
        rounds = KillRounds(World())
        world, data = rounds.world, rounds.world.path("var")
        server = Server(world)
        asking = threading.Thread(target=rounds.ask, args=(server,))
        asking.start()
        deadline = time.monotonic() + PATIENCE
        while len(rounds.answered) < 5:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        before = list(rounds.answered)
        copy = world.path("copy")
        os.makedirs(os.path.join(copy, "audit"), mode=0o700)
        for name in os.listdir(os.path.join(data, "audit")):
            if name.startswith("checkpoint"):
                shutil.copy2(os.path.join(data, "audit", name), os.path.join(copy, "audit"))
        for name in os.listdir(data):
            if os.path.exists(os.path.join(data, name, "data.mdb")):
                os.makedirs(os.path.join(copy, name), mode=0o700, exist_ok=True)
                subprocess.run(["mdb_copy", os.path.join(data, name), os.path.join(copy, name)],
                               check=True)
        server.kill()
        asking.join()
        shutil.rmtree(data)
        os.rename(copy, data)
        rounds.answered = before
        rounds.verify()
        server = Server(world)
        with server.client() as client:
            result = client.call("identify", world.request(3, checks=["ident1"]))
        self.assertEqual(answers(result)["ident1"]["class"], "match")
        self.assertEqual(server.stop(), 0)
        rounds.verify()


@unittest.skipIf(SANITIZED, "a sanitizer wants to be the first library")
class Calendar(unittest.TestCase):
    def test_a_calendar_that_jumps_ends_no_call_early_and_none_late(self):
        world = World()
        clock = world.path("clock")

        def jump(seconds):
            with open(clock + ".new", "w", encoding="ascii") as file:
                file.write(str(seconds))
            os.replace(clock + ".new", clock)
        jump(0)
        edit(os.path.join(world.conf, "example.conf"), (r"enabled = no", "enabled = yes"),
             (r"delay_ms = \d+", "delay_ms = 1500"))
        edit(os.path.join(world.conf, "forces.conf"),
             (r'backends = \{"ident1"', 'backends = {"example", "ident1"'))
        server = Server(world, env=preloaded(FAULTS_CLOCK=clock))
        sample = {"modality": "text", "format": "utf8", "data": b"swordfish"}
        times = []
        with server.client() as client:
            for seconds in (86400 * 2, -86400 * 3, 0):
                asked = client.start("identify", world.request(samples=[sample],
                                                               checks=["example"]))
                time.sleep(0.3)
                jump(seconds)  # while it is on its way
                result = client.finish(asked)
                self.assertEqual(answers(result)["example"]["class"], "match")
                self.assertGreaterEqual(result["elapsed_ms"], 1400)
                self.assertLess(result["elapsed_ms"], 20000)
                times.append(client.call("identify", world.request(3, checks=["ident1"]))["time"])
            self.assertEqual(client.call("ping"), "pong", "no jump made the device idle")
        self.assertGreater(times[0], times[1], "the calendar did jump")
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)
        listed = [json.loads(line)
                  for line in whorl("audit", "list", "-c", world.conf, "--json").stdout.splitlines()]
        positions = [record["position"] for record in listed]
        self.assertEqual(positions, sorted(positions))


if __name__ == "__main__":
    unittest.main()
