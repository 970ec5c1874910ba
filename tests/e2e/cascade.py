"""Gateways above one another, for tests: worlds of their own under one authority, each with some of the
made-up people."""
import csv
import json
import os
import re
import shutil

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
        """Writes settings over those that an earlier call wrote."""
        text = "".join(f"        {name} = {json.dumps(value)}\n"
                       for name, value in settings.items())
        path = self.path(plugin + ".conf")
        with open(path, encoding="utf-8") as file:
            content = file.read()
        content = re.sub(r"        #<.*        #>\n", "", content, flags=re.S)
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
