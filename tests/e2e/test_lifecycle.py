#!/usr/bin/python3
"""The server's life: reloads, drains, upgrades, what it tells the operator and systemd."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import msgpack

from whorl import (BINARY, PATIENCE, RpcError, Server, World, answers, edit, tls_context, whorl)

MODULES = os.path.join(os.path.dirname(BINARY), "plugins")
TEST_MODULES = os.path.join(os.path.dirname(BINARY), "tests", "plugins")


def core_options(world, **options):
    """Sets options of core { }."""
    path = os.path.join(world.conf, "core.conf")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for name, value in options.items():
        text = re.sub(rf"(?m)^ *{name} = .*\n", "", text)
        text = text.replace("core {\n", f"core {{\n    {name} = {value}\n", 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened: " + what)
        time.sleep(0.01)


def answers_in_flight(client, count):
    """Reads that many answers; returns {id: (error, result)}. None may come twice."""
    seen = {}
    while len(seen) < count:
        message = client.receive()
        if message is None:
            raise ConnectionError(f"{count - len(seen)} calls were lost")
        if message[0] == 1:
            assert message[1] not in seen, "answered twice"
            seen[message[1]] = (message[2], message[3])
    return seen


class Reload(unittest.TestCase):
    def setUp(self):
        self.world = World()

    def reload(self, code=0):
        return whorl("reload", "-c", self.world.conf, code=code)

    def test_the_command_says_what_has_changed(self):
        server = Server(self.world)
        self.assertIn("nothing has changed", self.reload().stdout)
        core_options(self.world, max_calls=77)
        edit(os.path.join(self.world.conf, "ident1.conf"),
             (r"^plugin \"ident1\" \{", 'plugin "ident1" {\n    max_calls = 5'))
        said = self.reload().stdout
        self.assertIn("core: max_calls = 77, was 4096", said)
        self.assertIn("plugin ident1: max_calls = 5, was 64", said)
        status = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
        self.assertEqual(status["reloads"], 2)
        self.assertEqual(status["rpc"]["max_calls"], 77)
        self.assertEqual(server.stop(), 0)

    def test_a_mistake_is_named_and_changes_nothing(self):
        core_options(self.world, runtime_dir='"../run"')
        server = Server(self.world)
        before = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)["policy"]
        core_options(self.world, max_calls=77, idle_timeout='"long"')
        refused = self.reload(code=1)
        self.assertRegex(refused.stderr, r"core\.conf:\d+: idle_timeout must be a whole number")
        core_options(self.world, idle_timeout=60, data_dir='"elsewhere"')
        self.assertIn("core.data_dir: cannot change", self.reload(code=1).stderr)
        core_options(self.world, data_dir='"../var"')
        with open(os.path.join(self.world.conf, "listeners.conf"), "a", encoding="utf-8") as file:
            taken = socket.create_server(("127.0.0.1", 0))
            file.write(f'listener "taken" {{ address = "127.0.0.1" port = {taken.getsockname()[1]} '
                       'tls = off device = "phone-1" }\n')
        self.assertIn("address already in use", self.reload(code=1).stderr)
        taken.close()
        status = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
        self.assertEqual((status["policy"], status["reloads"], status["reloads_refused"]),
                         (before, 0, 3))
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertIn("core: max_calls = 77", self.reload().stdout)
        self.assertEqual(server.stop(), 0)

    def test_without_a_server_the_command_says_so(self):
        self.assertIn("no server can be reached", self.reload(code=3).stderr)
        done = whorl("status", "--once", "-c", self.world.conf, code=3)
        self.assertIn("no server can be reached", done.stderr)

    def test_the_control_socket_is_the_operators_alone(self):
        server = Server(self.world)
        path = self.world.path("var", "run", "control")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(path)).st_mode & 0o777, 0o700)
        for data in (b"{}\n", b"[]\n", b"\n", b'{"command":"format"}\n', b"\xff\xfe\n",
                     b'{"command":5}\n', b"x" * 100000, b'{"command":"status"', b""):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(path)
                try:
                    raw.sendall(data)
                    raw.shutdown(socket.SHUT_WR)
                    said = raw.recv(65536)
                except ConnectionError:
                    said = b""
                self.assertNotIn(b'"ok": true', said.replace(b'":', b'": '))
        many = []
        for _ in range(50):  # more than it takes: none of them keeps the operator out for long
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(path)
            many.append(raw)
        for raw in many:
            raw.close()
        wait_until(lambda: whorl("status", "--json", "-c", self.world.conf,
                                 code=None).returncode == 0, "the control socket answers")
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_listener_changes_its_address_and_keeps_its_port(self):
        server = Server(self.world)
        old = server.client()
        path = os.path.join(self.world.conf, "listeners.conf")
        edit(path, (r"^( *port = )0", rf"\g<1>{server.ports['devices']}"))
        self.reload()
        edit(path, (r'^( *address = )"127.0.0.1"', r'\1"0.0.0.0"'))
        self.assertIn('listener devices: address = "0.0.0.0"', self.reload().stdout)
        edit(path, (r'^( *address = )"0.0.0.0"', r'\1"127.0.0.1"'))
        self.reload()
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertEqual(old.call("ping"), "pong")
        old.close()
        self.assertEqual(server.stop(), 0)

    def test_other_certificates_are_taken_over(self):
        server = Server(self.world)
        old = server.client()
        other = self.world.path("other")
        whorl("keys", "ca", "-o", other)
        whorl("keys", "server", "-o", other, "--ca", other, "--name", "localhost", "--address",
              "127.0.0.1")
        for name in ("server.pem", "server.key"):
            shutil.copy(os.path.join(other, name), os.path.join(self.world.tls, name))
        self.assertIn("listener devices: other certificates", self.reload().stdout)
        context = tls_context(self.world.tls, "phone-1")
        context.load_verify_locations(os.path.join(other, "ca.pem"))
        with server.client(context=context) as client:
            with open(os.path.join(other, "server.pem"), encoding="ascii") as file:
                import ssl
                self.assertEqual(client.socket.getpeercert(True), ssl.PEM_cert_to_DER_cert(
                    file.read().split("-----END")[0] + "-----END CERTIFICATE-----\n"))
        self.assertEqual(old.call("ping"), "pong")
        old.close()
        os.chmod(os.path.join(self.world.tls, "server.key"), 0o604)
        self.assertIn("server.key", self.reload(code=1).stderr)
        self.assertEqual(server.stop(), 0)

    def test_a_module_put_in_the_place_of_another_is_picked_up(self):
        """The example backend's place is taken by one that answers otherwise."""
        path = self.world.path("changing.so")
        shutil.copy(os.path.join(MODULES, "whorl-example.so"), path)
        with open(os.path.join(self.world.conf, "changing.conf"), "w", encoding="utf-8") as file:
            file.write(f'plugin "changing" {{ module = "{path}" settings {{ '
                       'people = {"EX1=Somebody"} } }\n')
        server = Server(self.world)
        versions = lambda: {backend["name"]: backend.get("version") for backend in json.loads(
            whorl("status", "--json", "-c", self.world.conf).stdout)["backends"]}
        before = versions()["changing"]
        shutil.copy(os.path.join(TEST_MODULES, "test-told-search.so"), path + ".new")
        os.rename(path + ".new", path)
        edit(os.path.join(self.world.conf, "changing.conf"), (r"settings \{.*", "}"))
        said = self.reload().stdout
        self.assertIn("plugin changing: another module file", said)
        self.assertNotEqual(versions()["changing"], before)
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertEqual(server.stop(), 0)


class Flight(unittest.TestCase):
    """Calls that are under way while everything beneath them is replaced."""
    CALLS, CONNECTIONS, BACKENDS = 10000, 10, 3

    def write_backends(self, world, turn):
        """Other settings each time, so that every instance is replaced."""
        with open(os.path.join(world.conf, "slow.conf"), "w", encoding="utf-8") as file:
            for number in range(self.BACKENDS):
                file.write(f'plugin "slow-{number}" {{\n  module = "whorl-example.so"\n'
                           f'  max_calls = 4096\n  deadline = {300 + turn}\n  settings {{\n'
                           f'    delay_ms = 12000\n    people = {{"E-1=sesame"}}\n  }}\n}}\n')

    def requests(self, world, connection):
        """All of one connection's calls in one piece."""
        argument = world.request(samples=[{"modality": "text", "format": "utf8",
                                           "data": b"sesame"}])
        frames = []
        for call in range(self.CALLS // self.CONNECTIONS):
            argument["request_id"] = os.urandom(16).hex()
            argument["checks"] = [f"slow-{(connection + call) % self.BACKENDS}"]
            frames.append(msgpack.packb([0, call, "identify", [argument]], use_bin_type=True))
        return b"".join(frames)

    def ask(self, server, connection, classes):
        requests = self.requests(server.world, connection)
        with server.client() as client:
            client.send(requests)
            for error, result in answers_in_flight(
                    client, self.CALLS // self.CONNECTIONS).values():
                found = {"error": error} if error else {
                    a["class"] for a in result["answers"] if a["class"] != "not_searched"}
                classes.append(str(found))

    def test_ten_thousand_calls_in_flight_through_a_hundred_reloads(self):
        world = World()
        core_options(world, max_calls=20000, max_calls_per_connection=1000, officer_rate=0,
                     device_rate=0, deadline=600)
        self.write_backends(world, 0)
        names = ", ".join(f'"slow-{number}"' for number in range(self.BACKENDS))
        edit(os.path.join(world.conf, "forces.conf"), (r"backends = \{", f"backends = {{{names}, "))
        server = Server(world)
        classes = []
        threads = [threading.Thread(target=self.ask, args=(server, i, classes))
                   for i in range(self.CONNECTIONS)]
        for thread in threads:
            thread.start()
        status = lambda: json.loads(whorl("status", "--json", "-c", world.conf).stdout)
        wait_until(lambda: status()["rpc"]["calls"] == self.CALLS, "10,000 calls are in flight")
        for turn in range(1, 101):
            self.write_backends(world, turn)
            core_options(world, repeat=600 + turn)
            said = whorl("reload", "-c", world.conf).stdout
            self.assertIn(f"core: repeat = {600 + turn}", said)
            self.assertIn(f"plugin slow-0: deadline = {300 + turn}", said)
        for thread in threads:
            thread.join(10 * PATIENCE)
        self.assertEqual(set(classes), {"{'match'}"})
        self.assertEqual(len(classes), self.CALLS)
        after = status()
        self.assertEqual((after["reloads"], after["rpc"]["calls"]), (100, 0))
        self.assertEqual(after["service"]["answers"]["match"], self.CALLS)
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)


if __name__ == "__main__":
    unittest.main()
