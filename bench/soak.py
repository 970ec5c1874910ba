"""See bench/soak, which runs this."""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

from endurance import KillRounds
from whorl import OFFICER, RpcError, Server, World, edit, rpc_frame, whorl

FLAT = 1.10  # the most that memory may be above what it was before
SLACK = 8192  # kB; whatever the share: what the allocator keeps moves by a few megabytes
LEVEL = 2048  # kB; by which the last half of a long run may end higher than its middle


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
    """No rates, an example backend that answers at once, answers kept for a second."""
    world.add_plain_listener()
    edit(os.path.join(world.conf, "core.conf"), (r"^ *device_rate = .*\n", ""),
         (r"^ *officer_rate = .*\n", ""),
         (r"^core \{", "core {\n    device_rate = 0\n    officer_rate = 0\n    repeat = 1"))
    edit(os.path.join(world.conf, "example.conf"), ("enabled = no", "enabled = yes"),
         (r"delay_ms = \d+", "delay_ms = 0"))
    edit(os.path.join(world.conf, "forces.conf"),
         (r'backends = \{"ident1"', 'backends = {"example", "ident1"'))


def widen(world, max_calls):
    for name in ("example", "audit"):
        edit(os.path.join(world.conf, name + ".conf"), (r"(\n *max_calls = .*)?", ""),
             (f'^plugin "{name}" \\{{', f'plugin "{name}" {{\n    max_calls = {max_calls}'))


def figures(pid):
    """(kB that are the process's own, kB of files that are in memory, open descriptors). Pages of
    LMDB's files are the second: the system takes them back when it wants to."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        text = file.read()
    own, files = (int(re.search(name + r":\s+(\d+)", text)[1]) for name in ("RssAnon", "RssFile"))
    return own, files, len(os.listdir(f"/proc/{pid}/fd"))


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
        widen(self.world, 1024)
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
        time.sleep(2.5)  # what was closed is closed, what was kept has been given back
        return calls

    def run(self, wanted):
        calls, turns, base, first, seen = 0, 0, None, time.monotonic(), []
        while calls < wanted or turns < 8:
            calls += self.turn()
            turns += 1
            memory, files, descriptors = figures(self.server.process.pid)
            kept = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
            if base is None and calls >= wanted / 5:
                base = (memory, descriptors)
            seen.append(memory)
            print(f"{calls} calls in {time.monotonic() - first:.0f} s: {memory} kB of its own, "
                  f"{kept['service']['kept_answers']} answers kept, {files} kB of files, "
                  f"{descriptors} descriptors", flush=True)
        quarters = [max(seen[len(seen) * q // 4:len(seen) * (q + 1) // 4]) for q in range(4)]
        print("most in each quarter, kB:", *quarters)
        held = (memory <= max(base[0] * FLAT, base[0] + SLACK) and descriptors <= base[1] + 2 and
                quarters[3] <= quarters[1] + LEVEL)
        code = self.server.stop()
        print("level" if held else f"NOT LEVEL: {base[0]} kB, {base[1]} descriptors at first")
        return 0 if held and code == 0 else 1


class Overload:
    """Four times as many identifications as the server can make, with the bounds as they come. A
    machine's speed changes by the minute, a virtual one's by half: the peak is measured again
    before and after each stretch of overload, for as long, since the first second of a load is
    faster than what disk and memory then keep up, and what is compared is of the same moment."""
    CONNECTIONS = 64  # for the peak; with the load more, lest a request waits in the client
    DEPTHS = (1, 4, 16)  # at which the peak is looked for
    STRETCH = 20  # seconds of overload between two looks at the peak
    KEPT_ANSWER = 2  # kB, of a small one

    def __init__(self, bench):
        self.bench = bench
        self.world = World()
        open_up(self.world)
        edit(os.path.join(self.world.conf, "core.conf"),  # one device stands for many
             (r"^core \{", "core {\n    max_connections_per_device = 1000"))
        self.server = Server(self.world)
        if os.cpu_count() > 1:  # a core for each, so that asking more takes nothing from answering
            for thread in os.listdir(f"/proc/{self.server.process.pid}/task"):
                os.sched_setaffinity(int(thread), {0})
            os.sched_setaffinity(0, {1})
        self.text = self.world.path("text")
        with open(self.text, "w", encoding="ascii") as file:
            file.write("open sesame")
        self.memory = []  # (kB of its own, answers kept for repeats), a second apart

    def start(self, connections, depth, seconds, *options):
        return subprocess.Popen(
            [self.bench, "-s", f"example,text,utf8,{self.text}", *options, "load",
             str(connections), str(depth), str(seconds),
             f"overload,identify,{self.server.ports['plain']},{self.server.process.pid}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def figures_of(load):
        """What the finished load found, by name; us: the server's processor time, of all that it
        did, for each call served."""
        text = load.stdout.read()
        assert load.wait() == 0, "not every call was answered or refused: " + load.stderr.read()
        rate, each = map(float, re.search(r"([\d.]+) calls/s, ([\d.]+) us", text).groups())
        refused, answered = map(int, re.search(r"(\d+) refused of (\d+)", text).groups())
        found = {"served": rate * (answered - refused) / answered,
                 "us": each * answered / (answered - refused), "refused": refused / answered}
        asked = re.search(r"(\d+) asked/s", text)
        found["asked"] = float(asked[1]) if asked else rate
        for name in ("p50", "p99"):
            found[name] = float(re.search(name + r" ([\d.]+) ms", text)[1])
        return found

    def peak(self, depth, seconds):
        """Served and their cost, when every answer brings the next request."""
        return self.figures_of(self.start(self.CONNECTIONS, depth, seconds))

    def overload(self, peak, seconds):
        load = self.start(4 * self.CONNECTIONS, 64, seconds, "-r",
                          str(4 * peak["served"]))
        while load.poll() is None:
            kept = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
            self.memory.append((figures(self.server.process.pid)[0],
                                kept["service"]["kept_answers"]))
            time.sleep(1)
        return self.figures_of(load)

    def is_flat(self):
        """Whether memory never rises above that of the first quarter, but for the answers kept for
        repeats: they are a second's, and more when the machine gets faster."""
        quarter = max(1, len(self.memory) // 4)
        (early, first), (late, most) = (map(max, zip(*part)) for part in
                                        (self.memory[:quarter], self.memory[quarter:]))
        print(f"memory {early} kB in the first quarter, {first} answers kept; then at most {late} kB, "
              f"{most} answers kept")
        return late <= (max(early * FLAT, early + SLACK) +
                        self.KEPT_ANSWER * max(0, most - first))

    def run(self, seconds):
        rounds = max(1, round(seconds / self.STRETCH))
        depth = max(self.DEPTHS, key=lambda depth: self.peak(depth, 2)["served"])
        stretch = seconds / rounds
        peaks, loads = [self.peak(depth, stretch)], []
        for _ in range(rounds):
            loads.append(self.overload(peaks[-1], stretch))
            peaks.append(self.peak(depth, stretch))
        beside = [{name: (one[name] + other[name]) / 2 for name in one}
                  for one, other in zip(peaks, peaks[1:])]
        middle = {name: statistics.median(at[name] for at in loads) for name in loads[0]}
        print(f"peak, at {self.CONNECTIONS} x {depth}: "
              f"{statistics.median(at['served'] for at in peaks):.0f} served/s, "
              f"{statistics.median(at['us'] for at in peaks):.1f} us of processor time each, p99 "
              f"{statistics.median(at['p99'] for at in peaks):.1f} ms\n"
              f"{seconds} s of overload: {middle['asked']:.0f} asked/s, {middle['served']:.0f} "
              f"served/s, {middle['us']:.1f} us each, {100 * middle['refused']:.0f} % told busy; of "
              f"those served p50 {middle['p50']:.1f} ms, p99 {middle['p99']:.1f} ms")
        # Of the clock the rates are, and so of whatever else the machine does meanwhile; processor
        # time is not, but knows nothing of the disk.
        by_clock = [load["served"] / peak["served"] for load, peak in zip(loads, beside)]
        by_processor = [peak["us"] / load["us"] for load, peak in zip(loads, beside)]
        for name, shares in (("the clock", by_clock), ("processor time", by_processor)):
            print(f"throughput {100 * statistics.median(shares):.0f} % of the peak's by {name} "
                  f"(stretches: {', '.join(f'{100 * share:.0f}' for share in shares)})")
        code = self.server.stop()
        times = statistics.median(load["asked"] / peak["served"]
                                  for load, peak in zip(loads, beside))
        held = self.is_flat() and statistics.median(by_clock) >= 0.9 and times >= 3
        print("held" if held else "NOT HELD")
        return 0 if held and code == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="bench/soak")
    parser.add_argument("bench")
    parser.add_argument("--calls", type=int, default=1000000)
    parser.add_argument("--kill", type=int, metavar="ROUNDS")
    parser.add_argument("--overload", type=int, metavar="SECONDS")
    args = parser.parse_args()
    if args.overload:
        return Overload(args.bench).run(args.overload)
    return kill(args.kill) if args.kill else Soak(args.bench).run(args.calls)


if __name__ == "__main__":
    sys.exit(main())
