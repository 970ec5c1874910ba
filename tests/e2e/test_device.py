#!/usr/bin/python3
"""The device's side: libwhorl-client, as `whorl identify` and a program of somebody else's use it, and
the examples in Python and JavaScript, all over TLS, through connections that break."""
import json
import math
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import msgpack

from installed import Installed
from whorl import BINARY, OFFICER, PATIENCE, ROOT, Server, World, answers, edit, unittest, whorl

IDENTIFY = ("identify", "--basis", "consent", "--consent", "given", "--reason", "Name doubted",
            "--sample", "text:utf8:" + __file__)
EXAMPLES = os.path.join(ROOT, "docs", "examples")


class Proxy:
    """Between device and server: passes bytes on and cuts connections where `cut` says so, which is
    asked after every piece with the connection's number and the bytes that went up and down."""

    def __init__(self, port, cut=lambda number, up, down: False):
        self.port, self.cut = port, cut
        self.connections, self.sockets = 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                device, _ = self.listener.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            self.sockets += [device, server]
            number, self.connections = self.connections, self.connections + 1
            counts = {"up": 0, "down": 0}
            for source, target, way in (device, server, "up"), (server, device, "down"):
                threading.Thread(target=self.pump, daemon=True,
                                 args=(number, source, target, way, counts)).start()

    def pump(self, number, source, target, way, counts):
        try:
            while data := source.recv(16384):
                counts[way] += len(data)
                if self.cut(number, **counts):
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in source, target:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        for one in self.listener, *self.sockets:
            one.close()


class Broken(unittest.TestCase):
    """`whorl identify` through a proxy, with a backend that takes its time."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        edit(os.path.join(cls.world.conf, "forces.conf"), (r'"pnc"}', '"pnc", "example"}'))
        edit(os.path.join(cls.world.conf, "example.conf"), (r"enabled = .*", "enabled = yes"),
             (r"delay_ms = .*", "delay_ms = 1500"))
        cls.words = cls.world.path("words.txt")
        with open(cls.words, "w", encoding="utf-8") as file:
            file.write("nobody's text")
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def device(self, proxy, command, *args, code=0):
        self.addCleanup(proxy.close)
        return whorl(command, "--connect", proxy.address, "--cert",
                     os.path.join(self.world.tls, "phone-1.pem"), "--officer", OFFICER, *args,
                     code=code)

    def identify(self, proxy, request_id):
        done = self.device(proxy, "identify", "--basis", "consent", "--consent", "given",
                           "--stop-power", "rta-163", "--reason", "Name doubted", "--request-id",
                           request_id, "--finger", "2=" + self.world.print_of(3, 2), "--sample",
                           f"text:utf8:{self.words}", "--json")
        found = answers(json.loads(done.stdout))
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["example"]["class"], "no_match")
        return done

    def records(self):
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        return [line["record"] for line in map(json.loads, listed.splitlines())]

    def audited(self, request_id):
        """How often a request was searched for, and given out once more."""
        kinds = [record["kind"] for record in self.records()
                 if record.get("request_id") == request_id]
        return kinds.count("identify"), kinds.count("disclosure"), len(kinds)

    def test_a_connection_cut_in_the_middle_of_a_search_is_answered_once(self):
        size = os.path.getsize(self.world.print_of(3, 2))
        handshake = {}

        def cut(number, up, down):
            # The request is up, and the server has begun to tell of its progress.
            if number == 0 and up < size:
                handshake["down"] = down
            return number == 0 and up > size and down > handshake["down"] + 50

        proxy = Proxy(self.server.ports["devices"], cut)
        done = self.identify(proxy, "cut-in-the-middle")
        self.assertEqual(proxy.connections, 2)
        self.assertIn("trying again in", done.stderr)
        searched, again, total = self.audited("cut-in-the-middle")
        self.assertEqual(searched, 1)
        self.assertEqual(total, searched + again)

    def test_a_connection_cut_while_the_request_is_sent_is_answered_once(self):
        proxy = Proxy(self.server.ports["devices"], lambda number, up, down: number < 2 and up > 9000)
        self.identify(proxy, "cut-on-the-way-up")
        self.assertEqual(proxy.connections, 3)
        self.assertEqual(self.audited("cut-on-the-way-up"), (1, 0, 1))

    def test_a_handshake_that_is_cut_is_tried_again(self):
        # The command's first connection must stand; one that breaks later may take as many as it likes.
        proxy = Proxy(self.server.ports["devices"],
                      lambda number, up, down: number == 0 and up > 9000 or number in (1, 2))
        self.identify(proxy, "cut-at-the-handshake")
        self.assertEqual(proxy.connections, 4)
        self.assertEqual(self.audited("cut-at-the-handshake"), (1, 0, 1))

    def test_an_outcome_is_never_sent_twice(self):
        request = self.world.request(3)
        with self.server.client() as client:
            transaction = client.call("identify", request)["transaction"]
        whole = {}

        def measure(number, up, down):
            whole["down"] = down
            return False

        def cut(number, up, down):
            # The reply is in the last bytes that come down; a handshake's length varies by a few.
            return down > whole["down"] - 60

        args = "outcome", transaction, "released", "--note"
        self.device(Proxy(self.server.ports["devices"], measure), *args, "first")
        proxy = Proxy(self.server.ports["devices"], cut)
        done = self.device(proxy, *args, "second", code=3)
        self.assertIn("the server closed the connection", done.stderr)
        self.assertEqual(proxy.connections, 1)
        notes = [record["note"] for record in self.records() if record["kind"] == "outcome"
                 and record["transaction"] == transaction]
        self.assertEqual(notes, ["first", "second"])

    def test_no_server_and_a_stranger_are_told_at_once(self):
        done = whorl("capabilities", "--connect", "127.0.0.1:1", "--officer", OFFICER, code=3)
        self.assertIn("cannot connect to port 1", done.stderr)
        proxy = Proxy(self.server.ports["devices"])
        whorl("keys", "ca", "-o", self.world.path("strangers"))
        self.addCleanup(proxy.close)
        done = whorl("capabilities", "--connect", proxy.address, "--cert",
                     os.path.join(self.world.tls, "phone-1.pem"), "--ca",
                     self.world.path("strangers", "ca.pem"), "--officer", OFFICER, code=3)
        self.assertIn("the server's certificate was not accepted", done.stderr)
        self.assertEqual(proxy.connections, 1)


class Slow(unittest.TestCase):
    """A server that takes its time for each step."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()

    def test_the_timeout_is_for_all_of_it(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.world.tls, "server.pem"),
                                os.path.join(self.world.tls, "server.key"))
        over = threading.Event()

        def serve(listener):
            device, _ = listener.accept()
            over.wait(3)
            with context.wrap_socket(device, server_side=True):
                over.wait(PATIENCE)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            began = time.monotonic()
            done = whorl("capabilities", "--connect", f"localhost:{listener.getsockname()[1]}",
                         "--cert", os.path.join(self.world.tls, "phone-1.pem"), "--officer", OFFICER,
                         "--timeout", "4", code=3)
            took = time.monotonic() - began
            over.set()
        self.assertIn("the server does not answer", done.stderr)
        self.assertGreater(took, 3.5)
        self.assertLess(took, 6)

    def test_an_encrypted_key_is_refused_and_nobody_asked_for_its_words(self):
        key = self.world.path("encrypted.key")
        subprocess.run(["openssl", "pkey", "-in", os.path.join(self.world.tls, "phone-1.key"),
                        "-aes256", "-passout", "pass:open sesame", "-out", key], check=True,
                       stdin=subprocess.DEVNULL)
        done = subprocess.run([BINARY, "capabilities", "--connect", "127.0.0.1:1", "--cert",
                               os.path.join(self.world.tls, "phone-1.pem"), "--key", key,
                               "--officer", OFFICER], input="open sesame\n", capture_output=True,
                              text=True, timeout=PATIENCE, start_new_session=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("encrypted.key: ", done.stderr)
        self.assertNotIn("pass phrase", done.stderr)
        self.assertNotIn("cannot connect", done.stderr)

    def test_too_little_locked_memory_is_said(self):
        sample = self.world.path("sample.bin")
        with open(sample, "wb") as file:
            file.write(bytes(120000))
        ordinary = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--clear-groups"]
        for kilobytes in 64, 200:  # too little for the file; for the file and the request
            with open(sample, "rb") as file:
                done = subprocess.run(
                    [*ordinary, "prlimit", f"--memlock={kilobytes * 1024}", "--", BINARY, "identify",
                     "--connect", "127.0.0.1:1", "--officer", OFFICER, "--basis", "consent",
                     "--sample", "text:utf8:/dev/stdin"], stdin=file, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 3)
            self.assertIn("ulimit -l", done.stderr)


class Busy(unittest.TestCase):
    def test_busy_is_waited_for(self):
        world = World()
        edit(os.path.join(world.conf, "core.conf"), (r"officer_rate = .*", "officer_rate = 1\\n    officer_burst = 1"))
        server = Server(world)
        waited = 0
        for _ in range(4):
            done = whorl("capabilities", "--connect", f"localhost:{server.ports['devices']}", "--cert",
                         os.path.join(world.tls, "phone-1.pem"), "--officer", OFFICER, "--json")
            self.assertEqual(json.loads(done.stdout)["device"], "phone-1")
            waited += "the server is busy; trying again" in done.stderr
        self.assertGreater(waited, 0)
        self.assertEqual(server.stop(), 0)


class Printed(unittest.TestCase):
    """What commands print: all of it, or a failure."""

    def test_what_could_not_be_written_is_a_failure(self):
        world = World()
        server = Server(world)
        conf = ("-c", world.conf)
        device = ("--connect", f"localhost:{server.ports['devices']}", "--cert",
                  os.path.join(world.tls, "phone-1.pem"), "--officer", OFFICER)
        identify = ("identify", *device, "--basis", "consent", "--consent", "given",
                    "--stop-power", "rta-163", "--reason", "Name doubted", "--finger",
                    "2=" + world.print_of(3, 2))
        for args in (("gallery", "list", "--gallery", "ident1", *conf),
                     ("gallery", "show", "--gallery", "ident1", *conf, "K0410111"),
                     ("compare", world.print_of(1), world.print_of(2)),
                     ("extract", "-o", world.path("out"), world.print_of(1)),
                     ("convert", "--to", "iso", "-o", world.path("a.iso"), world.print_of(1)),
                     ("device", "list", *conf), ("officer", "list", *conf), ("check", *conf),
                     ("status", "--json", *conf), ("audit", "verify", *conf),
                     ("audit", "list", *conf), ("capabilities", *device),
                     ("capabilities", *device, "--json"), identify, (*identify, "--json"),
                     ("--help",), ("--version",)):
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([BINARY, *args], stdin=subprocess.DEVNULL, stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                                      check=False)
            self.assertEqual((args, done.returncode), (args, 3))
            self.assertIn("could not be written", done.stderr)
        self.assertEqual(server.stop(), 0)

    def answered(self, reply, *args):
        """What the command does when a server, over plain TCP, says that: [error, result], or a
        result in the bytes that are sent."""
        def serve(listener):
            connection, _ = listener.accept()
            unpacker = msgpack.Unpacker(raw=True)
            with connection:
                while data := connection.recv(65536):
                    unpacker.feed(data)
                    for message in unpacker:
                        said = (b"\xc0" + reply if isinstance(reply, bytes) else
                                b"".join(map(msgpack.packb, reply)))
                        connection.sendall(b"\x94\x01" + msgpack.packb(message[1]) + said)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            return whorl(*args, "--connect", f"127.0.0.1:{listener.getsockname()[1]}", "--officer",
                         OFFICER, code=None)

    def ask(self, reply, *args):
        done = self.answered(reply, *args)
        return done.stdout + done.stderr

    def test_only_no_match_everywhere_is_no_match(self):
        def verdict(*classes):
            found = [{"backend": "x", "class": name} if name else {"backend": "x"} for name in classes]
            return self.answered([None, {"answers": found}], *IDENTIFY).returncode
        self.assertEqual(verdict("no_match", "no_match"), 1)
        self.assertEqual(verdict("no_match", "not_searched"), 1)
        self.assertEqual(verdict("no_match", "unavailable"), 3)
        self.assertEqual(verdict("unavailable", "possible"), 0)
        # What this command doesn't know says nothing of a person, least of all that nobody knows him.
        self.assertEqual(verdict("no_match", "partial"), 3)
        self.assertEqual(verdict("no_match", None), 3)
        self.assertEqual(verdict("no_match", "No_Match"), 3)

    def test_json_and_exit_status_agree_on_a_field_that_is_there_twice(self):
        class_of = [msgpack.packb("class") + msgpack.packb(name) for name in ("no_match", "match")]
        twice = b"\x81" + msgpack.packb("answers") + b"\x91\x82" + b"".join(class_of)
        done = self.answered(twice, *IDENTIFY, "--json")
        self.assertEqual(json.loads(done.stdout)["answers"][0]["class"], "no_match")
        self.assertEqual(done.returncode, 1)

    def test_json_says_what_the_server_said(self):
        said = {"large": 2 ** 64 - 1, "small": -2 ** 63, "text": "x", "none": None,
                "not a number": math.nan, "k" * 300: 1}
        done = self.answered([None, said], "capabilities", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = json.loads(done.stdout)
        self.assertEqual(shown.keys(), said.keys())
        self.assertEqual(shown["large"], float(2 ** 64 - 1))  # not -1
        self.assertEqual(shown["small"], -2 ** 63)
        self.assertIsNone(shown["not a number"])

    def test_a_servers_words_cannot_move_the_cursor(self):
        bad = "a\x1b[2Jb\x9bc\rd\u202fe"
        clean = "a?[2Jb??c?d\u202fe"
        candidate = {"ref": bad, "names": [{"family": bad, "given": bad}], "born": bad,
                     "identifiers": {bad: bad}, "details": [{"label": bad, "value": bad}]}
        answer = {"backend": bad, "class": "match", "reason": bad, "candidates": [candidate],
                  "samples": [{"sample": 0, "quality": 1, "advice": bad}],
                  "levels": [{"gateway": bad, "backend": bad, "class": "match"}]}
        said = self.ask([None, {"transaction": bad, "show": bad, "answers": [answer]}], *IDENTIFY)
        self.assertEqual(said.count(clean), 15, said)
        self.assertNotRegex(said, "[\x1b\x9b\r]")
        said = self.ask([None, {"server": bad, "bases": [{"basis": bad, "subject": [bad]}]}],
                        "capabilities")
        self.assertEqual(said.count(clean), 3, said)
        self.assertNotRegex(said, "[\x1b\x9b\r]")
        said = self.ask([{"code": "denied", "message": bad, "where": bad}, None], "capabilities")
        self.assertEqual(said.count(clean), 2, said)
        self.assertNotRegex(said, "[\x1b\x9b\r]")

    def test_a_manifest_cannot_move_the_cursor(self):
        world = World()
        enrol = ("enrol", "-c", world.conf, "--gallery", "ident1", "--source", "made up",
                 "--expires", "never")
        for name, text in (("a.csv", "person,position,file\nA,2,a\x1b[2J.png\n"),
                           ("b.csv", "person,position,file,\x1b[2J\nA,2,a.png,x\n"),
                           ("c.jsonl", '{"person":"A","fingers":[{"position":2,'
                                       '"file":"a\\u001b[2J"}]}\n'),
                           ("d.jsonl", '{"person":"A","\\u001b[2J":1}\n')):
            with open(world.path(name), "w", encoding="utf-8") as file:
                file.write(text)
            said = whorl(*enrol, world.path(name), code=None)
            self.assertIn(said.returncode, (1, 3))
            self.assertNotIn("\x1b", said.stderr)

    def test_pairs_that_cannot_be_read_to_their_end_are_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("directory", whorl("compare", "--pairs", folder, code=3).stderr)


class Examples(Installed):
    """Each is run as it stands in docs/examples, through a connection that breaks once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World()
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def run_device(self, *command, env=None):
        proxy = Proxy(self.server.ports["devices"], lambda number, up, down: number == 0 and up > 9000)
        self.addCleanup(proxy.close)
        tls = self.world.tls
        done = subprocess.run([*command, proxy.address, os.path.join(tls, "phone-1.pem"),
                               os.path.join(tls, "phone-1.key"), os.path.join(tls, "ca.pem"), OFFICER,
                               self.world.print_of(3, 2)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE, env=dict(self.env, **(env or {})))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(proxy.connections, 2)
        self.assertIn("again in", done.stderr)
        return done.stdout

    def test_c_with_the_installed_library_alone(self):
        shutil.copy(os.path.join(EXAMPLES, "device.c"), self.dir)
        flags = self.run_in(self.dir, "pkg-config", "--cflags", "--libs", "whorl-client").split()
        self.run_in(self.dir, "cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "device.c", "-o",
                    "device", *flags)
        said = self.run_device(self.path("device"))
        self.assertRegex(said, r'"backend"=>"ident1".*?"class"=>"match"')

    def test_the_header_is_fit_for_cpp(self):
        with open(self.path("x.cpp"), "w", encoding="utf-8") as file:
            file.write("#include <whorl/client.h>\nint main() { whorl_client_free(nullptr); }\n")
        flags = self.run_in(self.dir, "pkg-config", "--cflags", "--libs", "whorl-client").split()
        self.run_in(self.dir, "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "x.cpp", "-o", "x",
                    *flags)
        self.run_in(self.dir, "./x")

    def test_python(self):
        said = self.run_device("/usr/bin/python3", os.path.join(EXAMPLES, "device.py"))
        self.assertEqual(answers(json.loads(said))["ident1"]["class"], "match")

    def test_javascript(self):
        if not shutil.which("node") or not shutil.which("npm"):
            self.skipTest("node and npm are not installed")
        got = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund",
                              "--ignore-scripts", "--prefix", self.dir, "@msgpack/msgpack@3.1.2"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=PATIENCE)
        if got.returncode != 0:
            self.skipTest("the npm registry is out of reach")
        said = self.run_device("node", shutil.copy(os.path.join(EXAMPLES, "device.js"), self.dir))
        self.assertEqual(answers(json.loads(said))["ident1"]["class"], "match")


if __name__ == "__main__":
    unittest.main()
