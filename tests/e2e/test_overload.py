#!/usr/bin/python3
"""More than the server can do: every call is answered or refused at once, memory stays flat, the
others go on. Times are not measured here."""
import json
import os
import re
import threading
import time
import unittest

import msgpack

from test_lifecycle import answers_in_flight, core_options, wait_until
from whorl import PATIENCE, SANITIZED, RpcError, Server, World, answers, edit, whorl

SAMPLE = {"modality": "text", "format": "utf8", "data": b"sesame"}


def add_backend(world, name, delay_ms, **options):
    """An example backend that takes so long over each call."""
    given = "".join(f"  {key} = {value}\n" for key, value in options.items())
    with open(os.path.join(world.conf, f"{name}.conf"), "w", encoding="utf-8") as file:
        file.write(f'plugin "{name}" {{\n  module = "whorl-example.so"\n{given}  settings {{\n'
                   f'    delay_ms = {delay_ms}\n    people = {{"E-1=sesame"}}\n  }}\n}}\n')
    edit(os.path.join(world.conf, "forces.conf"), (r"backends = \{", f'backends = {{"{name}", '))


def status(world):
    return json.loads(whorl("status", "--json", "-c", world.conf).stdout)


class Overload(unittest.TestCase):
    ROUNDS = 30

    def test_four_times_what_a_backend_takes(self):
        """16 calls are taken at once, 64 are always open; a call that is told busy has retry_ms and
        is sent again. Every one is answered in the end, none twice, and memory does not grow."""
        world = World()
        core_options(world, officer_rate=0, device_rate=0)
        add_backend(world, "slow", 10, max_calls=16)
        server = Server(world)
        counts, failures, resident = {"match": 0, "busy": 0, "unavailable": 0}, [], []
        lock = threading.Lock()

        def flood():
            try:
                with server.client() as client:
                    for _ in range(self.ROUNDS):
                        calls = {client.start("identify", world.request(
                            checks=["slow"], samples=[SAMPLE])) for _ in range(16)}
                        seen = answers_in_flight(client, 16)
                        assert set(seen) == calls
                        for error, result in seen.values():
                            if error:
                                assert error["code"] == "busy" and error["retry_ms"] > 0, error
                                kind = "busy"
                            else:
                                kind = answers(result)["slow"]["class"]
                            with lock:
                                counts[kind] += 1
            except BaseException as failure:  # pylint: disable=broad-except
                failures.append(failure)
        flood()  # a first round, so that what is allocated once is there
        resident.append(status(world)["process"]["resident"])
        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            resident.append(status(world)["process"]["resident"])
            time.sleep(0.2)
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(sum(counts.values()), 5 * 16 * self.ROUNDS)
        self.assertGreater(counts["match"], 0)
        self.assertGreater(counts["busy"], 0)
        if not SANITIZED:
            self.assertLess(max(resident) - resident[0], 32 << 20, resident)
        after = status(world)
        self.assertEqual(after["service"]["errors"]["busy"], counts["busy"])
        self.assertEqual((after["rpc"]["calls"], after["rpc"]["bytes_to_send"]), (0, 0))
        self.assertEqual(server.stop(), 0)
        listed = whorl("audit", "list", "-c", world.conf, "--json").stdout
        self.assertEqual(len(re.findall(r'"kind": ?"identify"', listed)),
                         counts["match"] + counts["unavailable"])
        self.assertEqual(len(re.findall(r'"kind": ?"refused"', listed)), 0)
        whorl("audit", "verify", "-c", world.conf)

    def test_one_device_floods_and_another_is_served(self):
        world = World()
        whorl("keys", "device", "-o", world.tls, "--ca", world.tls, "--name", "phone-2")
        whorl("device", "add", "phone-2", "--cert", os.path.join(world.tls, "phone-2.pem"),
              "--force", "WMP", "-c", world.conf)
        core_options(world, device_rate=5, device_burst=20, max_connections_per_device=3)
        server = Server(world)
        with server.client() as one, server.client() as two, \
                server.client(cert="phone-2") as other:
            frame = b"".join(msgpack.packb([0, i, "ping", []]) for i in range(2000))
            one.send(frame)
            two.send(frame)
            told = list(answers_in_flight(one, 2000).values())
            told += answers_in_flight(two, 2000).values()
            served = sum(error is None for error, _ in told)
            self.assertGreaterEqual(served, 20)
            self.assertLess(served, 4000)
            for error, _ in told:
                if error:
                    self.assertEqual(error["code"], "busy")
                    self.assertGreater(error["retry_ms"], 0)
            self.assertEqual(other.call("ping"), "pong")
            third = server.client()
            wait_until(lambda: status(world)["rpc"]["connections"] == 4, "the third is there")
            with server.client() as fourth:
                message = fourth.receive()
                self.assertEqual((message[1], message[2][0]["code"]), ("error", "busy"))
                self.assertGreater(message[2][0]["retry_ms"], 0)
                self.assertIsNone(fourth.receive())
            third.close()
        self.assertGreater(status(world)["rpc"]["busy"]["device_rate"], 3000)
        self.assertEqual(server.stop(), 0)

    def test_an_officer_who_asks_too_often_is_told_when_to_come_again(self):
        world = World()
        core_options(world, officer_rate=2, officer_burst=3)
        server = Server(world)
        with server.client() as client:
            waits = []
            for _ in range(6):
                try:
                    client.call("capabilities", {"officer": "WMP1234"})
                except RpcError as error:
                    self.assertEqual((error.code, error.where), ("busy", "officer"))
                    waits.append(error.retry_ms)
            self.assertGreater(len(waits), 0)
            self.assertTrue(all(0 < wait <= 500 for wait in waits), waits)
            client.call("capabilities", {"officer": "WMP0001"})
            time.sleep(waits[-1] / 1000 + 0.05)
            client.call("capabilities", {"officer": "WMP1234"})
        self.assertEqual(server.stop(), 0)

    def test_a_backend_that_hangs_is_cut_off_and_the_others_go_on(self):
        """Its deadline passes a few times; from then on its answer comes at once."""
        world = World()
        add_backend(world, "hung", 5000, deadline=0.3, breaker_failures=2, breaker_wait=30,
                    breaker_max_wait=60)
        server = Server(world)
        argument = lambda: world.request(3, checks=["hung", "ident1"], samples=[
            SAMPLE, world.sample(3)])
        with server.client() as client:
            for _ in range(2):
                found = answers(client.call("identify", argument()))
                self.assertEqual(found["hung"]["class"], "unavailable")
                self.assertIn("no answer within", found["hung"]["reason"])
                self.assertEqual(found["ident1"]["class"], "match")
            found = answers(client.call("identify", argument()))
            self.assertEqual(found["hung"]["class"], "unavailable")
            self.assertIn("is cut off", found["hung"]["reason"])
            self.assertEqual(found["ident1"]["class"], "match")
            known = {b["name"]: b for b in client.call(
                "capabilities", {"officer": "WMP1234"})["backends"]}
            self.assertFalse(known["hung"]["available"])
            self.assertGreater(known["hung"]["retry_ms"], 0)
            self.assertTrue(known["ident1"]["available"])
            self.assertNotIn("retry_ms", known["ident1"])
        backend = {b["name"]: b for b in status(world)["backends"]}["hung"]
        self.assertEqual((backend["breaker"], backend["cuts"]), ("open", 1))
        self.assertRegex(whorl("status", "--once", "-c", world.conf).stdout,
                         r"(?m)^hung .* open, \d+\.\d s$")
        self.assertTrue(any(line.get("text") == "a backend is cut off"
                            and line.get("plugin") == "hung" for line in server.log()))
        self.assertEqual(server.stop(), 0)

    def test_a_backend_that_is_well_again_is_let_in(self):
        world = World()
        add_backend(world, "moody", 5000, deadline=0.2, breaker_failures=1, breaker_wait=0.1,
                    breaker_max_wait=0.2)
        server = Server(world)
        with server.client() as client:
            ask = lambda: answers(client.call("identify", world.request(
                checks=["moody"], samples=[SAMPLE])))["moody"]
            self.assertEqual(ask()["class"], "unavailable")
            wait_until(lambda: "no answer within" in ask()["reason"], "a probe fails")
            # The same instance can't become well, so this shows that probes come, and that the one
            # which takes its place begins anew.
            edit(os.path.join(world.conf, "moody.conf"), (r"delay_ms = \d+", "delay_ms = 0"))
            whorl("reload", "-c", world.conf)
            self.assertEqual(ask()["class"], "match")
        self.assertEqual(server.stop(), 0)

    def test_those_who_never_read_hold_no_memory_for_long(self):
        world = World()
        core_options(world, stall_timeout=1, officer_rate=0, device_rate=0, max_buffered=8 << 20,
                     max_write_queue=1 << 20)
        server = Server(world)
        frame = msgpack.packb([0, 1, "capabilities", [{"officer": "WMP1234"}]]) * 200
        slow = [server.client() for _ in range(12)]

        def push(client):
            client.socket.settimeout(PATIENCE)
            try:
                while True:
                    client.send(frame)
            except OSError:
                pass
        threads = [threading.Thread(target=push, args=(client,)) for client in slow]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, status(world)["rpc"]["bytes_to_send"])
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        for client in slow:
            client.close()
        # bounded: what one read brings may come on top
        self.assertLess(most, (8 << 20) + 12 * (1 << 20))
        wait_until(lambda: status(world)["rpc"]["bytes_to_send"] == 0, "it is given back")
        self.assertEqual(status(world)["rpc"]["dropped"]["stalled"], 12)
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
