"""See bench/soak, which runs this."""
import argparse
import os
import re
import subprocess
import sys
import time

from endurance import KillRounds
from whorl import OFFICER, RpcError, Server, World, edit, rpc_frame

FLAT = 1.10  # the most that memory may be above what it was after the first fifth
SLACK = 8192  # kB; whatever the share: what the allocator keeps moves by a few megabytes


def kill(rounds):
    chain = KillRounds(World())
    began = time.monotonic()
    for number in range(1, rounds + 1):
        chain.round(least=3)
        if number % 50 == 0 or number == rounds:
            chain.verify()
            print(f"{number} times killed: {len(chain.answered)} answered transactions, all in the "
                  f"audit log, which verifies; gallery whole; {time.monotonic() - began:.0f} s",
                  flush=True)
    return 0


def open_up(world):
    world.add_plain_listener()
    edit(os.path.join(world.conf, "core.conf"), (r"^ *device_rate = .*\n", ""),
         (r"^ *officer_rate = .*\n", ""),
         (r"^core \{", "core {\n    device_rate = 0\n    officer_rate = 0\n    repeat = 5"))
    edit(os.path.join(world.conf, "example.conf"), ("enabled = no", "enabled = yes"),
         (r"delay_ms = \d+", "delay_ms = 0"),
         (r'^plugin "example" \{', 'plugin "example" {\n    max_calls = 1024'))
    edit(os.path.join(world.conf, "forces.conf"),
         (r'backends = \{"ident1"', 'backends = {"example", "ident1"'))
    edit(os.path.join(world.conf, "audit.conf"),
         (r'^plugin "audit" \{', 'plugin "audit" {\n    max_calls = 1024'))


def figures(pid):
    """(kB that are the process's own, open descriptors)"""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", file.read())[1])
    return anonymous, len(os.listdir(f"/proc/{pid}/fd"))


def misbehave(server, world):
    """Calls that end badly, each in its way. Returns how many were made."""
    frame = rpc_frame("identify", world.request(3))
    for data in (b"\x94\x00\x01\xc1\x90", b"\x94\x00\x01\xa4ping" + b"\x91" * 1000,
                 frame[:len(frame) // 2], frame):
        with server.client() as client:  # and goes away without waiting
            client.send(data)
    with server.client() as client:
        client.call("capabilities", {"officer": OFFICER})
        client.call("identify", world.request(3))
        for argument in (world.request(3, officer="NOBODY"), world.request(3, colour="red"),
                         world.request(3, basis="none")):
            try:
                client.call("identify", argument)
            except RpcError:
                pass
    return 9


class Soak:
    def __init__(self, bench):
        self.bench = bench
        self.world = World()
        open_up(self.world)
        self.server = Server(self.world)
        self.text = self.world.path("text")
        with open(self.text, "w", encoding="ascii") as file:
            file.write("open sesame")

    def load(self, kind, listener, depth, seconds):
        done = subprocess.run(
            [self.bench, "-t", self.world.tls, "-s", f"example,text,utf8,{self.text}", "load", "16",
             str(depth), str(seconds),
             f"soak,{kind},{self.server.ports[listener]},{self.server.process.pid}"],
            stdout=subprocess.PIPE, text=True, check=True)
        refused, answered = re.search(r"(\d+) refused of (\d+)", done.stdout).groups()
        assert refused == "0", done.stdout
        return int(answered)

    def turn(self):
        calls = self.load("rpc", "plain", 16, 2) + self.load("rpc+", "devices", 16, 2)
        calls += self.load("identify", "plain", 8, 2) + self.load("identify+", "devices", 8, 2)
        calls += misbehave(self.server, self.world)
        assert self.server.reload()["text"].startswith("reloaded"), "a reload failed"
        time.sleep(0.5)  # what was closed is closed
        return calls

    def run(self, wanted):
        calls, turns, base, first = 0, 0, None, time.monotonic()
        while calls < wanted or turns < 5:
            calls += self.turn()
            turns += 1
            memory, descriptors = figures(self.server.process.pid)
            if base is None and calls >= wanted / 5:
                base = (memory, descriptors)
            print(f"{calls} calls in {time.monotonic() - first:.0f} s: {memory} kB, {descriptors} "
                  "descriptors", flush=True)
        held = memory <= max(base[0] * FLAT, base[0] + SLACK) and descriptors <= base[1] + 2
        code = self.server.stop()
        print("flat" if held else f"NOT FLAT: {base[0]} kB, {base[1]} descriptors at first")
        return 0 if held and code == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="bench/soak")
    parser.add_argument("bench")
    parser.add_argument("--calls", type=int, default=1000000)
    parser.add_argument("--kill", type=int, metavar="ROUNDS")
    args = parser.parse_args()
    return kill(args.kill) if args.kill else Soak(args.bench).run(args.calls)


if __name__ == "__main__":
    sys.exit(main())
