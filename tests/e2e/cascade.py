"""Gateways above one another, for tests: worlds of their own under one authority, each with some of the
made-up people."""
import csv
import json
import os
import re
import select
import shutil
import socket
import ssl
import threading

import msgpack

from whorl import World, edit, whorl


class Gateway:
    """A world that is a gateway: its own audit log and registry, and the people that it is given (None:
    all of the demo's)."""

    def __init__(self, name, people=None):
        self.world = World()
        self.name = name
        self.server = None
        edit(self.path("core.conf"), (r"^core \{", f'core {{\n    gateway = "{name}"'))
        if people is not None:
            self.enrol("ident1", people)

    def path(self, name):
        return os.path.join(self.world.conf, name)

    def enrol(self, gallery, people):
        """Makes the gallery anew with these people alone."""
        wanted = {f"p{person:04d}" for person in people}
        shutil.rmtree(self.world.path("var", gallery))
        path = os.path.join(self.world.prints, gallery + ".csv")
        with open(path, encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        rows = [row for row in rows if os.path.basename(row[3])[:5] in wanted]
        assert {os.path.basename(row[3])[:5] for row in rows} == wanted, rows
        chosen = os.path.join(self.world.prints, f"{gallery}-{self.name}.csv")
        with open(chosen, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *rows])
        whorl("enrol", "-c", self.world.conf, "--gallery", gallery, chosen)

    def certificate(self, name):
        """A client certificate of this gateway's authority: paths of it and its key."""
        if not os.path.exists(os.path.join(self.world.tls, name + ".pem")):
            whorl("keys", "device", "-o", self.world.tls, "--ca", self.world.tls, "--name", name)
        return tuple(os.path.join(self.world.tls, name + end) for end in (".pem", ".key"))

    def admit(self, other, force="WMP"):
        """Registers another gateway here; returns the paths of its certificate and key."""
        paths = self.certificate(other.name)
        whorl("device", "add", other.name, "--gateway", "--cert", paths[0], "--force", force,
              "-c", self.world.conf)
        return paths

    def settings(self, upper, port, **more):
        """Settings that make a backend ask `upper` at that port."""
        certificate, key = upper.certificate(self.name)
        return {"source": "upstream", "upstream_gateway": upper.name,
                "upstream_address": f"127.0.0.1:{port}", "upstream_certificate": certificate,
                "upstream_key": key, "upstream_ca": os.path.join(upper.world.tls, "ca.pem"), **more}

    def ask_upstream(self, plugin, settings):
        """Writes settings over those that an earlier call wrote; without any, its own data."""
        text = "".join(f"        {name} = {json.dumps(value)}\n"
                       for name, value in settings.items())
        path = self.path(plugin + ".conf")
        with open(path, encoding="utf-8") as file:
            content = file.read()
        content = re.sub(r"        #<.*        #>\n", "", content, flags=re.S)
        content = re.sub(r"^        source = .*\n", "", content, flags=re.M)
        content = content.replace("    settings {\n", f"    settings {{\n        #<\n{text}        #>\n", 1)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)

    def own_data(self, plugin):
        self.ask_upstream(plugin, {})

    def records(self, kind, **wanted):
        """Audit records whose fields are these."""
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        found = [json.loads(line) for line in listed.splitlines()]
        found = [record.get("record", record) for record in found]
        return [record for record in found if record["kind"] == kind
                and all(record[name] == value for name, value in wanted.items())]


class Peer:
    """A server that speaks the protocol over mTLS as badly as it is told: `act(method, argument, send)`
    is called for each request but `ping`, on its connection's thread; what it returns is the result,
    None: no answer; an exception closes the connection. What was asked is kept."""

    def __init__(self, gateway, act, cert="server"):
        self.gateway = gateway
        self.act = act
        self.asked = []
        self.connections = 0
        tls = gateway.world.tls
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(tls, cert + ".pem"), os.path.join(tls, cert + ".key"))
        self.context.load_verify_locations(os.path.join(tls, "ca.pem"))
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.talk, args=(raw,), daemon=True).start()

    def talk(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as connection:
                self.serve(connection)
        except (OSError, ValueError):
            pass

    def serve(self, connection):
        """A TLS connection may be read and written by one thread at a time only: hence the lock, and no
        waiting while it is held."""
        lock = threading.Lock()
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=64 << 20)
        connection.setblocking(False)

        def send(message):
            data = message if isinstance(message, bytes) else msgpack.packb(message)
            while data:
                try:
                    with lock:
                        data = data[connection.send(data):]
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    select.select([], [connection], [], 0.05)

        def reply(number, method, argument):
            try:
                result = "pong" if method == "ping" else self.act(method, argument, send)
                if result is not None:
                    send([1, number, None, result])
            except (OSError, ValueError):
                with lock:
                    over.set()

        over = threading.Event()
        while not over.is_set():
            try:
                with lock:
                    data = connection.recv(65536)
            except ssl.SSLWantReadError:
                select.select([connection], [], [], 0.05)
                continue
            if not data:
                return
            unpacker.feed(data)
            for _, number, method, params in unpacker:
                if method != "ping":
                    self.asked.append((method, params[0]))
                threading.Thread(target=reply, args=(number, method, params[0]),
                                 daemon=True).start()

    def close(self):
        """Whoever connects from now on is refused."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def result_of(argument, gateway="nation", **answer):
    """An identify result with one answer of the backend that was asked."""
    return {"transaction": "01a2000a-66b7-77a3-94ac-b738645a4d62", "gateway": gateway,
            "request_id": argument["request_id"], "time": "2026-01-01T00:00:00.000Z",
            "answers": [{"backend": argument["checks"][0], "title": "t", "role": "search",
                         "elapsed_ms": 1, **answer}], "audit": [], "elapsed_ms": 1}
