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

from whorl import (BINARY, OFFICER, PATIENCE, ROOT, RpcError, Server, World, answers, edit, tls_context,
                   whorl)

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
        self.assertIn("core: max_calls = 77, was 1024", said)
        self.assertIn("plugin ident1: max_calls = 5, was 64", said)
        status = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
        self.assertEqual(status["reloads"], 2)
        self.assertEqual(status["rpc"]["max_calls"], 77)
        self.assertEqual(server.stop(), 0)

    def test_a_mistake_in_a_file_whose_name_is_no_text_is_named(self):
        server = Server(self.world)
        with open(os.fsencode(self.world.conf) + b"/caf\xe9.conf", "wb") as file:
            file.write(b"nonsense = 1\n")
        self.assertIn("caf?.conf:1: ", self.reload(code=1).stderr)
        self.assertEqual(server.stop(), 0)

    def test_a_file_with_too_many_names_is_refused_and_the_server_goes_on(self):
        server = Server(self.world)
        path = os.path.join(self.world.conf, "zz.conf")
        names = "".join(f"setting_number_{number} = {number}\n" for number in range(450))
        for text in (names, f'plugin "off" {{ enabled = no module = x.so\nsettings {{\n{names}}} }}\n'):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            self.assertRegex(self.reload(code=1).stderr, r"zz\.conf:400: the file is read up to here: ")
            self.assertIn("it must be split", whorl("check", "-c", self.world.conf, code=1).stderr)
            with server.client() as client:
                self.assertEqual(client.call("ping"), "pong")
        os.remove(path)
        self.assertIn("nothing has changed", self.reload().stdout)
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

    def test_a_reload_that_is_recorded_late_tells_of_itself(self):
        """The next one is in force before the sink, whose disk hangs, has the record of the first."""
        with open(os.path.join(self.world.conf, "keep.conf"), "w", encoding="utf-8") as file:
            file.write(f'plugin "keep" {{ module = "{TEST_MODULES}/test-told-keep.so" }}\n')
        server = Server(self.world)
        stuck = self.world.path("var", "keep", "stuck")
        with open(stuck, "w", encoding="ascii"):
            pass
        told, policies = [], []
        for count in (1, 2):
            core_options(self.world, max_calls=70 + count)
            told.append(subprocess.Popen([BINARY, "reload", "-c", self.world.conf],  # pylint: disable=R1732
                                         stdout=subprocess.PIPE, text=True))
            wait_until(lambda: self.status()["reloads"] == count, "a reload")  # pylint: disable=W0640
            policies.append(self.status()["policy"])
        os.unlink(stuck)
        for count, reload in enumerate(told):
            self.assertIn(f"core: max_calls = {71 + count}", reload.communicate(timeout=PATIENCE)[0])
        said = [line["policy"] for line in server.log() if line["text"] == "reloaded"]
        self.assertEqual(sorted(said), sorted(policies))  # the sink writes them in any order
        self.assertNotEqual(*policies)
        self.assertEqual(server.stop(), 0)

    def status(self):
        return json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)

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

    def test_a_second_server_that_can_not_start_takes_nothing_from_the_first(self):
        server = Server(self.world)
        edit(os.path.join(self.world.conf, "listeners.conf"),
             (r"^( *port = )0", rf"\g<1>{server.ports['devices']}"))
        self.assertIn("address already in use",
                      whorl("serve", "-c", self.world.conf, code=3).stderr)
        status = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
        self.assertEqual(status["process"]["pid"], server.process.pid)
        self.assertEqual(server.stop(), 0)

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
                           f'    delay_ms = 20000\n    people = {{"E-1=sesame"}}\n  }}\n}}\n')

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


class Notified:
    """What systemd would hear: the datagrams of sd_notify(3)."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(PATIENCE)

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def wait_for(self, name):
        while True:
            said = self.next()
            if name in said:
                return said


def start_with_sockets(world, sockets, names, **more):
    """Starts the server as systemd would, with listening sockets as descriptors 3 and up."""
    def prepare():
        high = [os.dup2(s.fileno(), 100 + i, inheritable=False) for i, s in enumerate(sockets)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
    script = f'LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names} exec "$@"'
    return Server(world, wrap=("sh", "-c", script, "sh"), preexec_fn=prepare, pass_fds=tuple(
        range(3, 3 + len(sockets))), **more)


class Supervised(unittest.TestCase):
    def test_systemd_is_told_of_start_reload_stop_and_life(self):
        world = World()
        heard = Notified(world.dir)
        env = dict(os.environ, NOTIFY_SOCKET=heard.path, WATCHDOG_USEC="200000")
        server = Server(world, env=env)
        self.assertEqual(heard.next()["READY"], "1")
        for _ in range(3):
            self.assertEqual(heard.wait_for("WATCHDOG")["WATCHDOG"], "1")
        server.reload()
        told = heard.wait_for("RELOADING")
        self.assertLessEqual(int(told["MONOTONIC_USEC"]), time.monotonic_ns() // 1000)
        self.assertGreater(int(told["MONOTONIC_USEC"]), 0)
        self.assertEqual(heard.wait_for("READY")["STATUS"], "Serving")
        core_options(world, deadline='"never"')
        server.reload()
        self.assertIn("refused", heard.wait_for("READY")["STATUS"])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(heard.wait_for("STOPPING")["STOPPING"], "1")
        heard.socket.close()

    def test_sockets_that_are_counted_and_not_there_stop_the_start(self):
        # Their numbers would be given to what the server opens itself, and closed as no sockets.
        world = World()
        done = subprocess.run(
            ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=one:two exec "$@" 3</dev/null 4<&-',
             "sh", BINARY, "serve", "-c", world.conf], capture_output=True, text=True, check=False,
            timeout=PATIENCE)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("LISTEN_FDS", done.stderr)

    def test_a_successor_takes_the_same_socket_and_nobody_is_refused(self):
        """While clients come and go without pause, the server is replaced five times: the new
        process has the same listening socket, and the old one finishes what it has."""
        world = World()
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        edit(os.path.join(world.conf, "listeners.conf"),
             (r"^( *port = )0", rf"\g<1>{listening.getsockname()[1]}"))
        server = start_with_sockets(world, [listening], "devices")
        stop, served, failures = threading.Event(), [], []

        def come_and_go():
            while not stop.is_set():
                try:
                    with server.client() as client:
                        client.call("ping")
                        for _ in range(3):
                            served.append(client.call(
                                "identify", world.request(3, checks=["ident1"]))["transaction"])
                except RpcError as error:
                    if error.code != "draining":  # connected before, and told to come again
                        failures.append(error)
                        return
                except BaseException as failure:  # pylint: disable=broad-except
                    failures.append(failure)
                    return
        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            target = len(served) + 8
            wait_until(lambda t=target: len(served) >= t or failures, "clients are served")
            ports = server.ports
            successor = start_with_sockets(world, [listening], "devices")
            self.assertEqual(successor.ports, ports)
            old, server = server, successor
            self.assertEqual(old.stop(), 0)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(failures, [])
        self.assertEqual(len(set(served)), len(served))
        # The control socket is the last one's.
        status = json.loads(whorl("status", "--json", "-c", world.conf).stdout)
        self.assertEqual(status["process"]["pid"], server.process.pid)
        self.assertEqual(server.stop(), 0)
        listening.close()
        listed = whorl("audit", "list", "-c", world.conf, "--json").stdout
        self.assertEqual([t for t in served if t not in listed], [])
        whorl("audit", "verify", "-c", world.conf)

    def test_a_draining_server_finishes_its_calls_and_takes_no_more(self):
        world = World()
        path = os.path.join(world.conf, "slow.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write('plugin "slow" { module = "whorl-example.so" settings { delay_ms = 1500 '
                       'people = {"E-1=sesame"} } }\n')
        edit(os.path.join(world.conf, "forces.conf"), (r"backends = \{", 'backends = {"slow", '))
        server = Server(world)
        with server.client() as client:
            calls = [client.start("identify", world.request(checks=["slow"], samples=[
                {"modality": "text", "format": "utf8", "data": b"sesame"}])) for _ in range(20)]
            client.call("ping")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_log(lambda line: line.get("text") == "draining")
            late = client.start("ping")
            with self.assertRaises(OSError):
                server.client()
            seen = answers_in_flight(client, 21)
            self.assertEqual(seen[late][0]["code"], "draining")
            for call in calls:
                self.assertEqual(answers(seen[call][1])["slow"]["class"], "match")
        self.assertEqual(server.process.wait(PATIENCE), 0)
        whorl("audit", "verify", "-c", world.conf)


@unittest.skipIf(os.geteuid() != 0, "only root can make files of others")
class Root(unittest.TestCase):
    """A service runs as a user of its own, and root gives commands beside it."""
    OWNER = 65534

    def give_away(self, world):
        for folder, folders, files in os.walk(world.path("var")):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(folder, name), self.OWNER, self.OWNER)

    def found(self, world):
        """Everything in the data folder, and what of it is somebody else's."""
        found = [os.path.join(folder, name) for folder, folders, files in
                 os.walk(world.path("var")) for name in [*folders, *files]]
        return found, [path for path in found
                       if (os.stat(path).st_uid, os.stat(path).st_gid) != (self.OWNER, self.OWNER)]

    def test_what_root_makes_belongs_to_the_owner_of_the_data(self):
        world = World()
        shutil.rmtree(world.path("var", "pnc"))  # so that a store is made anew, too
        self.give_away(world)
        os.chmod(world.prints, 0o700)  # root's alone, who goes on reading it
        whorl("officer", "add", "WMP7777", "--force", "WMP", "-c", world.conf)
        whorl("enrol", "-c", world.conf, "--gallery", "immigration",
              os.path.join(world.prints, "ident1.csv"))
        whorl("pnc", "import", "-c", world.conf,
              os.path.join(ROOT, "packaging", "demo", "pnc.jsonl"))
        found, foreign = self.found(world)
        self.assertIn(world.path("var", "audit", "checkpoint"), found)
        self.assertIn(world.path("var", "pnc", "data.mdb"), found)
        self.assertEqual(foreign, [])
        # The log still says who it was.
        listed = [json.loads(line)["record"] for line in whorl(
            "audit", "list", "-c", world.conf, "--json").stdout.splitlines()]
        changes = [record for record in listed if record["kind"] in ("alteration", "collection")]
        self.assertEqual({record["uid"] for record in changes}, {0})
        whorl("audit", "verify", "-c", world.conf)

    def test_what_root_only_reads_stays_its_owners(self):
        """As after a restore: a copy of a store has no file of locks, and who reads makes one."""
        world = World()
        self.give_away(world)
        conf, made = ("-c", world.conf), set()
        for args in (("audit", "verify"), ("audit", "list"),
                     ("gallery", "check", "--gallery", "ident1"),
                     ("gallery", "index", "--gallery", "immigration"),
                     ("gallery", "list", "--gallery", "ident1"), ("pnc", "show", "08/56560Z"),
                     ("device", "list"), ("officer", "list"), ("check",),
                     ("policy", "explain", "--force", "WMP", "--basis", "consent", "--officer", OFFICER),
                     ("report", "public", "2020-01", "-o", world.path("public"))):
            for folder, _, files in os.walk(world.path("var")):
                for name in files:
                    if name in ("lock.mdb", "segment"):
                        os.remove(os.path.join(folder, name))
            said = whorl(*args, *conf, code=None)
            self.assertIn(said.returncode, (0, 1), (args, said.stderr))
            found, foreign = self.found(world)
            self.assertEqual(foreign, [], args)
            made |= {path for path in found if path.endswith(("lock.mdb", "segment"))}
        self.assertEqual(made, {world.path("var", *path.split("/")) for path in (
            "audit/lock.mdb", "ident1/lock.mdb", "immigration/lock.mdb", "immigration/segment",
            "pnc/lock.mdb", "registry/lock.mdb")})
        shutil.rmtree(world.path("var", "registry"))
        for kind in ("device", "officer"):
            self.assertEqual(whorl(kind, "list", *conf).stdout.count("\n"), 1)
        self.assertFalse(os.path.exists(world.path("var", "registry")))
        shutil.rmtree(world.path("var", "audit"))
        whorl("synth", "month", "--month", "2024-05", "--transactions", 50,
              "--misuse", 0, *conf)
        self.assertEqual(self.found(world)[1], [])


class Monitor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        with open(os.path.join(cls.world.conf, "monitor.conf"), "w", encoding="utf-8") as file:
            file.write("monitor {\n    port = 0\n}\n")
        cls.server = Server(cls.world)
        with cls.server.client() as client:
            cls.transaction = client.call("identify", cls.world.request(3, subject={
                "family": "Vanderquist", "given": "Ottoline"}))["transaction"]
            client.call("ping")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def port(self):
        return [line for line in self.server.log()
                if line.get("text") == "monitor listens"][-1]["port"]

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port()}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_metrics_are_what_prometheus_expects(self):
        status, text = self.get("/metrics")
        self.assertEqual(status, 200)
        if shutil.which("promtool"):
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                     capture_output=True, check=False)
            self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))
        for line in ('whorl_requests_total{method="identify"} 1',
                     'whorl_requests_total{method="ping"} 1',
                     'whorl_request_duration_seconds_count{method="identify"} 1',
                     'whorl_backend_calls_total{backend="ident1",end="answered"} 1',
                     'whorl_backend_cut_off{backend="ident1"} 0', "whorl_ready 1",
                     # ident1 and pnc
                     'whorl_answers_total{class="match"} 2'):
            self.assertTrue(line + "\n" in text, line)

    def test_the_ends_of_certificates_and_lists_are_told(self):
        def days():
            found = re.findall(r'^whorl_tls_end_timestamp_seconds\{listener="devices",file="(\w+)"\} '
                               r"(\d+)$", self.get("/metrics")[1], re.M)
            return {file: round((int(end) - time.time()) / 86400) for file, end in found}
        self.assertEqual(days(), {"certificate": 825, "client_ca": 3650})
        edit(os.path.join(self.world.conf, "listeners.conf"),
             (r'^( *)# (crl = "tls/crl.pem")', r"\1\2"))
        for last in (30, 7):
            whorl("keys", "revoke", "--ca", self.world.tls, "--days", last)
            whorl("reload", "-c", self.world.conf)
            self.assertEqual(days(), {"certificate": 825, "client_ca": 3650, "crl": last})

    def test_figures_hold_nothing_personal(self):
        _, text = self.get("/metrics")
        text += whorl("status", "--json", "-c", self.world.conf).stdout
        for secret in ("Vanderquist", "WMP1234", "phone-1", "127.0.0.1", self.transaction):
            self.assertNotIn(secret, text)

    def test_health_and_readiness(self):
        self.assertEqual(self.get("/healthz"), (200, "alive\n"))
        self.assertEqual(self.get("/readyz"), (200, "ready\n"))

    def test_anything_else_is_refused(self):
        for path in ("/", "/metrics/", "/../etc/passwd", "/" + "x" * 100000):
            self.assertGreaterEqual(self.get(path)[0], 400)
        for method in ("POST", "PUT", "DELETE"):
            self.assertEqual(self.get("/metrics", method)[0], 405)
        for raw in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 5000,
                    b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 10000):
            with socket.create_connection(("127.0.0.1", int(self.port())), PATIENCE) as client:
                try:
                    client.sendall(raw)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
                except OSError:
                    pass
        self.assertEqual(self.get("/healthz")[0], 200)

    def test_it_can_be_switched_off_and_on_and_stays_on_loopback(self):
        path = os.path.join(self.world.conf, "monitor.conf")
        old = int(self.port())
        with open(path, encoding="utf-8") as file:
            text = file.read()
        edit(path, (r"port = 0", 'port = 0\n    address = "0.0.0.0"'))
        self.assertIn("loopback", whorl("reload", "-c", self.world.conf, code=1).stderr)
        os.remove(path)
        self.assertIn("monitor: removed", whorl("reload", "-c", self.world.conf).stdout)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", old), PATIENCE)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.assertIn("monitor: added", whorl("reload", "-c", self.world.conf).stdout)
        self.assertEqual(self.get("/healthz")[0], 200)

    def test_the_table_shows_every_backend(self):
        table = whorl("status", "--once", "-c", self.world.conf).stdout
        for name in ("audit", "ident1", "immigration", "pnc"):
            self.assertRegex(table, rf"(?m)^{name} .* closed$")


if __name__ == "__main__":
    unittest.main()
