"""What the end-to-end tests share: a world of made-up people on disk, the real server over it, and
a client that can also misbehave. Nothing here stands in for a part of Whorl: every command is the
real binary."""
import atexit
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import tempfile
import time
import unittest

import msgpack

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("WHORL_BINARY", os.path.join(ROOT, "build", "whorl"))
DATA = os.environ.get("WHORL_DATA", os.path.join(ROOT, "..", "shared", "data"))
COVERAGE = "WHORL_COVERAGE" in os.environ

OFFICER = "WMP1234"
CLASSES = {"match", "possible", "no_match", "poor_quality", "unavailable", "not_searched"}


def whorl(*args, code=0, text=True, **kwargs):
    """Runs the command and checks its exit code (None: any). Returns the finished process."""
    done = subprocess.run([BINARY, *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text,
                          timeout=PATIENCE, **kwargs)
    if code is not None and done.returncode != code:
        raise AssertionError(f"whorl {' '.join(map(str, args))}: exit {done.returncode}, expected "
                             f"{code}\n{done.stdout}\n{done.stderr}")
    return done


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True,
                          text=True).stdout


# Whether the binary is one of a sanitizer's, whose memory says nothing.
SANITIZED = re.search("__(a|t)san_", readelf("--dyn-syms", BINARY)) is not None
# Seconds; a bound for hangs, far above what anything takes.
PATIENCE = 600 if SANITIZED else 120


def is_closed():
    """Whether the tree is where only root gets, such as root's home: nothing in it can be run as
    somebody else."""
    path = os.path.dirname(os.path.abspath(BINARY))
    while os.stat(path).st_mode & stat.S_IXOTH and path != "/":
        path = os.path.dirname(path)
    return path != "/"


def edit(path, *changes):
    """Replaces text in a file; each (pattern, replacement) must apply."""
    with open(path, encoding="utf-8") as file:
        content = file.read()
    for pattern, replacement in changes:
        content, count = re.subn(pattern, replacement, content, flags=re.M)
        assert count, f"{path}: nothing matches {pattern}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


class World:
    """What packaging/demo/world makes, in a directory that goes with the process. Two index fingers
    each, three impressions: people 1 to 8 are in ident1, 8 to 12 in immigration, 13 to 16 nowhere;
    the first impression is the enrolled one. Officers: WMP1234 (entitled to pnc and
    immigration), WMP0001 (to nothing) and MPS0001 (of another force)."""

    _first = None  # made once a process, then copied

    def __init__(self):
        if World._first is None:
            World._first = self.make()
        holder = tempfile.mkdtemp(prefix="whorl-test-")
        atexit.register(shutil.rmtree, holder, True)
        self.dir = os.path.join(holder, "world")
        shutil.copytree(World._first, self.dir)
        self.conf = self.path("conf.d")
        self.tls = self.path("conf.d/tls")
        self.prints = self.path("prints")

    @staticmethod
    def make():
        holder = tempfile.mkdtemp(prefix="whorl-test-")
        atexit.register(shutil.rmtree, holder, True)
        world = os.path.join(holder, "world")
        made = subprocess.run([os.path.join(ROOT, "packaging", "demo", "world"), BINARY, world],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        assert made.returncode == 0, made.stdout
        return world

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def add_plain_listener(self, device="phone-1"):
        """A loopback listener without TLS, for clients that can't speak it."""
        with open(os.path.join(self.conf, "listeners.conf"), "a", encoding="utf-8") as file:
            file.write('\nlistener "plain" {\n    address = "127.0.0.1"\n    port = 0\n'
                       f'    tls = off\n    device = "{device}"\n}}\n')

    def print_of(self, person, position=2, impression=2):
        return os.path.join(self.prints, f"p{person:04d}_{position:02d}_{impression}.png")

    def sample(self, person, position=2, impression=2, **more):
        with open(self.print_of(person, position, impression), "rb") as file:
            return dict({"modality": "finger", "format": "png", "position": position,
                         "dpi": 500, "data": file.read()}, **more)

    def request(self, person=None, **more):
        """An identify argument that is in order; more replaces or (None) drops fields."""
        samples = [self.sample(person, 2), self.sample(person, 7)] if person else []
        argument = {"request_id": os.urandom(16).hex(), "officer": OFFICER,
                    "basis": "consent", "consent": "given", "stop_power": "rta-163",
                    "reason": "Name doubted at a road check", "reason_code": 1,
                    "subject": {"condition": "adult"}, "samples": samples}
        argument.update(more)
        return {k: v for k, v in argument.items() if v is not None}


class Server:
    """A running `whorl serve`. Its log is read line by line from a file."""

    def __init__(self, world, env=None, preexec_fn=None, wrap=(), pass_fds=()):
        self.world = world
        self.log_path = world.path(f"server-{time.monotonic_ns()}.log")
        self.log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen([*wrap, BINARY, "serve", "-c", world.conf],
                                        stdin=subprocess.DEVNULL, stdout=self.log_file,
                                        stderr=self.log_file, env=env, preexec_fn=preexec_fn,
                                        pass_fds=pass_fds)
        atexit.register(self.end)
        self.ports = {}
        self.wait_for_log(lambda line: line.get("text") == "ready")
        for line in self.log():
            if line.get("text") == "listening":
                self.ports[line["listener"]] = int(line["port"])

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
        found = []
        for line in lines[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"text": line})
        return found

    def wait_for_log(self, wanted, after=0):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log()[after:]:
                if wanted(line):
                    return line
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended ({self.process.returncode}):\n"
                                     + json.dumps(self.log()))
            time.sleep(0.02)
        raise AssertionError("the log never said it:\n" + json.dumps(self.log()))

    def reload(self):
        """Sends SIGHUP; returns the line that says how it went."""
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for_log(lambda line: line.get("text", "").startswith("reload"), before)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.log_file.close()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        """Of what a test has left running; the order is kill's, unless coverage is to be written."""
        if COVERAGE and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def client(self, **kwargs):
        return Client(self, **kwargs)


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error)
        self.code = error["code"]
        self.where = error.get("where") or ""
        self.message = error["message"]
        self.retry_ms = error.get("retry_ms")


class Client:
    """msgpack-RPC by the book, over TLS unless listener="plain"."""

    def __init__(self, server, listener="devices", cert="phone-1", context=None):
        raw = socket.create_connection(("127.0.0.1", server.ports[listener]), PATIENCE)
        if listener == "plain":
            self.socket = raw
        else:
            self.socket = (context or tls_context(server.world.tls, cert)).wrap_socket(
                raw, server_hostname="localhost")
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False,
                                         max_buffer_size=64 << 20)
        self.notifications = []
        self.next_id = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next message; None at the end of the connection."""
        while True:
            for message in self.unpacker:
                return message
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                return None
            if not data:
                return None
            self.unpacker.feed(data)

    def start(self, method, *params):
        message_id, self.next_id = self.next_id, self.next_id + 1
        self.send(msgpack.packb([0, message_id, method, list(params)], use_bin_type=True))
        return message_id

    def finish(self, message_id):
        while True:
            message = self.receive()
            if message is None:
                raise ConnectionError("the server closed the connection")
            if message[0] == 2:
                self.notifications.append((message[1], message[2][0]))
            elif message[1] == message_id:
                if message[2] is not None:
                    raise RpcError(message[2])
                return message[3]

    def call(self, method, *params):
        return self.finish(self.start(method, *params))


def tls_context(tls, cert, ca="ca.pem"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(os.path.join(tls, ca))
    if cert:
        context.load_cert_chain(os.path.join(tls, cert + ".pem"), os.path.join(tls, cert + ".key"))
    return context


def answers(result):
    """The answers of an identify result by backend, each checked for its form."""
    found = {answer["backend"]: answer for answer in result["answers"]}
    for answer in found.values():
        assert answer["class"] in CLASSES, answer
    return found


def rpc_frame(method, *params, message_id=1):
    return msgpack.packb([0, message_id, method, list(params)], use_bin_type=True)


__all__ = ["BINARY", "CLASSES", "COVERAGE", "Client", "DATA", "OFFICER", "PATIENCE", "ROOT", "RpcError",
           "SANITIZED", "Server", "World", "answers", "edit", "is_closed", "readelf", "rpc_frame",
           "struct", "tls_context", "unittest", "whorl"]
