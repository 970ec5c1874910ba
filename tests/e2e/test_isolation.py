#!/usr/bin/python3
"""Plugins in processes of their own: ours, unchanged, and one that goes wrong in every way."""
import json
import os
import re
import signal
import subprocess
import time

import test_identify
from whorl import (BINARY, COVERAGE, PATIENCE, SANITIZED, Server, World, answers, edit, is_closed, unittest,
                   whorl)

MODULE = os.path.join(os.path.dirname(BINARY), "tests", "plugins", "test-rogue.so")
NOBODY = 65534
OURS = ("ident1", "immigration", "pnc", "audit")


def words_of(pid):
    """What a process was started with; nothing if it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid):
    """Of a process, by the name of the plugin that they run."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                words = words_of(child)
                if words[1:2] == [b"plugin-host"]:
                    found[words[2].decode()] = int(child)
    return found


def processor_time(pid):
    """Seconds that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def isolate_ours(world):
    for name in OURS:
        edit(os.path.join(world.conf, name + ".conf"),
             (r"^    module = .*", r"\g<0>\n    isolation = process"))


class IsolatedWorld(World):
    def __init__(self):
        super().__init__()
        os.chmod(os.path.dirname(self.dir), 0o755)  # its processes may have users of their own
        isolate_ours(self)


class OursInProcesses(test_identify.Identify):
    """All that holds of them in the server's own process."""

    @classmethod
    def setUpClass(cls):
        cls.plain, test_identify.World = test_identify.World, IsolatedWorld
        super().setUpClass()
        assert set(children(cls.server.process.pid)) == set(OURS)

    @classmethod
    def tearDownClass(cls):
        test_identify.World = cls.plain
        super().tearDownClass()
        whorl("audit", "verify", "-c", cls.world.conf)

    def test_a_start_without_memory_to_lock_says_so(self):
        world = IsolatedWorld()
        limited = ["prlimit", "--memlock=16384", "--", BINARY, "serve", "-c", world.conf]
        if os.getuid() == 0:  # whose memory has no limit, but for this
            limited[:0] = ["setpriv", "--bounding-set=-ipc_lock"]
        done = subprocess.run(limited, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("can't be made, or can't be locked: ", done.stderr)


class RogueWorld(World):
    """With plugins of the rogue module, named as given, beside ours. Those in hurried have a second
    to answer; the others so long that no busy machine makes them late."""

    def __init__(self, *names, hurried=(), more="", settings=""):
        super().__init__()
        os.chmod(os.path.dirname(self.dir), 0o755)
        self.names = names
        with open(os.path.join(self.conf, "rogue.conf"), "w", encoding="utf-8") as file:
            for name in names:
                deadline = 1 if name in hurried else 60
                file.write(f'plugin "{name}" {{\n    module = "{MODULE}"\n    deadline = {deadline}\n'
                           f'    memory_limit = 128\n{more}    settings {{ {settings} }}\n}}\n')
        listed = "".join(f', "{name}"' for name in names)
        edit(os.path.join(self.conf, "forces.conf"),
             (r'backends = \{"ident1"', r'backends = {"ident1"' + listed))

    def add_plugin(self, name, start):
        with open(os.path.join(self.conf, "rogue.conf"), "a", encoding="utf-8") as file:
            file.write(f'plugin "{name}" {{\n    module = "{MODULE}"\n    memory_limit = 128\n'
                       f'    settings {{ start = {start} }}\n}}\n')

    def word(self, text, checks, person=None):
        samples = [{"modality": "word", "format": "utf8", "data": text}]
        if person:
            samples.append(self.sample(person))
        return self.request(samples=samples, checks=checks)


def wait_until(true, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to pass")


def finish_all(client, calls):
    """The results of calls that may end in any order."""
    results = {}
    while len(results) < len(calls):
        message = client.receive()
        if message[0] == 1:
            assert message[1] in calls and message[2] is None, message
            results[message[1]] = message[3]
    return results


class Rogue(unittest.TestCase):
    maxDiff = None

    def start(self, *names, **more):
        self.world = RogueWorld(*names, **more)
        self.server = Server(self.world)
        self.addCleanup(self.server.kill)

    def ask(self, client, name, text=b"none"):
        return answers(client.call("identify", self.world.word(text, [name])))[name]

    def said(self, name, text):
        return [line for line in self.server.log()
                if line.get("plugin") == name and text in line.get("text", "")]

    def test_a_failure_is_unavailable_and_nothing_else_notices(self):
        """Each act fails in a process of its own, all at once, while others go on."""
        acts = {
            # what it does: (the answer, what the log must say, None if its process lives on)
            "crash": ("unavailable", "its process failed"),
            "exit": ("unavailable", "its process failed"),
            "abort": ("unavailable", "its process failed"),
            "spin": ("unavailable", "does not end a call that was given up"),
            "deadlock": ("unavailable", "does not end a call that was given up"),
            "hang": ("unavailable", "does not end a call that was given up"),
            "flood": ("unavailable", None),
            "long line": ("unavailable", "wrote garbage on its channel"),
            "long stage": ("unavailable", "wrote garbage on its channel"),
            "scribble head": ("unavailable", "wrote garbage on its channel"),
            "scribble kind": ("unavailable", "wrote garbage on its channel"),
            "scribble length": ("unavailable", "wrote garbage on its channel"),
            "scribble parts": ("unavailable", None),
            "garbage": ("unavailable", ""),
            "twice": ("no_match", ""),
            "foreign": ("no_match", ""),
        }
        names = {act: "rogue-" + act.replace(" ", "-") for act in acts}
        # Who answers needs no second, but may not get it while the others spin and flood.
        self.start(*names.values(),
                   hurried=[names[act] for act, (said, _) in acts.items() if said == "unavailable"])
        with self.server.client() as client, self.server.client() as other:
            before = children(self.server.process.pid)
            self.assertEqual(set(before), set(names.values()))
            calls = {act: client.start("identify", self.world.word(act.encode(), [names[act]]))
                     for act in acts}
            for person in (3, 4, 13):
                found = answers(other.call("identify", self.world.request(person)))
                self.assertEqual(found["ident1"]["class"], "no_match" if person > 8 else "match")
            results = finish_all(client, calls.values())
            for act, call in calls.items():
                with self.subTest(act=act):
                    answer = answers(results[call])[names[act]]
                    self.assertEqual(answer["class"], acts[act][0], answer)
            for act, (_, text) in acts.items():
                if text:
                    wait_until(lambda: self.said(names[act], text))  # pylint: disable=W0640
            for name in names.values():
                wait_until(lambda: self.ask(other, name)["class"] == "no_match")  # pylint: disable=W0640
            after = children(self.server.process.pid)
            for act, (_, text) in acts.items():
                with self.subTest(act=act):
                    lives = after[names[act]] == before[names[act]]
                    self.assertEqual(lives, text == "", "its process is another")
        self.assertEqual(self.server.stop(), 0)
        whorl("audit", "verify", "-c", self.world.conf)

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not bounded")
    def test_memory_and_idle_work_are_bounded(self):
        self.start("leaky", "mapper", "idler")
        with self.server.client() as client:
            self.assertIn(self.ask(client, "leaky", b"leak")["class"], ("no_match", "unavailable"))
            self.assertEqual(self.ask(client, "idler", b"spin beside")["class"], "no_match")
            self.assertIn(self.ask(client, "mapper", b"leak tables")["class"],
                          ("no_match", "unavailable"))
            for name in ("leaky", "mapper"):
                wait_until(lambda: self.said(name, "has used up its memory"))  # pylint: disable=W0640
            # Each minute is looked at by itself: one in which a busy machine gave it less than what
            # is too much proves nothing.
            wait_until(lambda: self.said("idler", "works without having been asked"), 5 * PATIENCE)
            for name in ("leaky", "mapper", "idler"):
                wait_until(lambda: self.ask(client, name)["class"] == "no_match")  # pylint: disable=W0640
        self.assertEqual(self.server.stop(), 0)

    def test_threads_are_bounded(self):
        self.start("many")
        with self.server.client() as client:
            self.assertIn(self.ask(client, "many", b"threads")["class"], ("no_match", "unavailable"))
            wait_until(lambda: self.said("many", "has too many threads"))
            wait_until(lambda: self.ask(client, "many")["class"] == "no_match")
        self.assertEqual(self.server.stop(), 0)

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not bounded")
    @unittest.skipUnless(os.geteuid() == 0 and not is_closed(), "only root mounts /proc anew")
    def test_memory_is_watched_where_proc_hides_processes(self):
        """As under the unit, whose ProtectProc shows a server only what it may trace."""
        self.world = RogueWorld("leaky")
        for folder, _, files in os.walk(self.world.dir):
            for name in ("", *files):
                os.chown(os.path.join(folder, name), NOBODY, NOBODY)
        self.server = Server(self.world, wrap=(
            "unshare", "-m", "sh", "-c",
            "mount -t proc -o hidepid=2,subset=pid proc /proc && "
            f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"', "sh"))
        self.addCleanup(self.server.kill)
        with self.server.client() as client:
            self.assertIn(self.ask(client, "leaky", b"leak")["class"], ("no_match", "unavailable"))
            wait_until(lambda: self.said("leaky", "has used up its memory"))
        self.assertEqual(self.server.stop(), 0)

    def test_calls_end_at_once_when_their_process_is_killed(self):
        self.start("slow")
        with self.server.client() as client:
            calls = [client.start("identify", self.world.word(b"hang", ["slow"]))
                     for _ in range(20)]
            self.assertEqual(self.ask(client, "slow")["class"], "no_match")  # so they are there
            started = time.monotonic()
            os.kill(children(self.server.process.pid)["slow"], signal.SIGKILL)
            for result in finish_all(client, calls).values():
                self.assertEqual(answers(result)["slow"]["class"], "unavailable")
            self.assertLess(time.monotonic() - started, 30, "it waited for the deadline")
            wait_until(lambda: self.ask(client, "slow")["class"] == "no_match")
        self.assertEqual(self.server.stop(), 0)

    def test_the_loop_makes_no_process_anew(self):
        """It is made by another thread, of which it is the child; and where its backend is stopped
        while it is being made, it goes."""
        self.start("one")
        pid = self.server.process.pid
        with self.server.client() as client:
            for round in range(8):
                before = children(pid)["one"]
                self.assertEqual(self.ask(client, "one", b"crash")["class"], "unavailable")
                if round == 0:
                    wait_until(lambda: children(pid).get("one", before) != before)
                    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                        self.assertNotIn(str(children(pid)["one"]), file.read().split())
                else:
                    time.sleep(0.05 + 0.02 * round)  # the pause before it is 0.1 s, then 0.2 …
                edit(os.path.join(self.world.conf, "forces.conf"), (', "one"', ""))
                os.rename(os.path.join(self.world.conf, "rogue.conf"), self.world.path("aside"))
                whorl("reload", "-c", self.world.conf)
                wait_until(lambda: "one" not in children(pid))
                os.rename(self.world.path("aside"), os.path.join(self.world.conf, "rogue.conf"))
                edit(os.path.join(self.world.conf, "forces.conf"),
                     (r'backends = \{"ident1"', r'backends = {"ident1", "one"'))
                whorl("reload", "-c", self.world.conf)
                self.assertEqual(self.ask(client, "one")["class"], "no_match")
        self.assertEqual(self.server.stop(), 0)

    def test_the_pauses_between_restarts_grow(self):
        self.start("crasher")
        with self.server.client() as client:
            for _ in range(4):
                wait_until(lambda: self.ask(client, "crasher", b"none")["class"] == "no_match")
                self.assertEqual(self.ask(client, "crasher", b"crash")["class"], "unavailable")
                state = self.backend(client, "crasher")
                self.assertFalse(state["available"])
            seconds = [float(line["seconds"])
                       for line in self.said("crasher", "its process will be made anew")]
            self.assertEqual(seconds, [0.1, 0.2, 0.4, 0.8])
            wait_until(lambda: self.backend(client, "crasher")["available"])
        self.assertEqual(self.server.stop(), 0)

    def test_a_flood_is_known_by_its_bytes_and_a_closed_bell_by_its_silence(self):
        """Neither keeps the loop busy until the calls' deadline."""
        for act, text in (("flood widely", "floods its channel"),
                          ("close bell", "has closed its channel")):
            with self.subTest(act=act):
                self.start("rogue")
                pid = self.server.process.pid
                with self.server.client() as client:
                    before = processor_time(pid)
                    self.assertEqual(self.ask(client, "rogue", act.encode())["class"], "unavailable")
                    self.assertEqual(len(self.said("rogue", text)), 1)
                    self.assertEqual(self.backend_status("rogue")["process"]["losses"]["channel"], 1)
                    self.assertLess(processor_time(pid) - before, 1)
                    wait_until(lambda: self.ask(client, "rogue")["class"] == "no_match")
                self.assertEqual(self.server.stop(), 0)

    def test_the_loop_rests_while_a_process_that_flooded_is_down(self):
        """Reports are left over when it is lost, and nobody comes to take them."""
        self.start("flooder")
        pid = self.server.process.pid
        with self.server.client() as client:
            for _ in range(5):
                wait_until(lambda: self.ask(client, "flooder")["class"] == "no_match")
                self.assertEqual(self.ask(client, "flooder", b"flood")["class"], "unavailable")
            before = processor_time(pid)
            time.sleep(1)  # of a pause of 1.6
            self.assertLess(processor_time(pid) - before, 0.4)
        self.assertEqual(self.server.stop(), 0)

    def test_losses_of_a_process_reach_the_breaker_and_the_figures(self):
        self.start("crasher", more="    breaker_failures = 2\n    breaker_wait = 0.5\n")
        conf = self.world.conf
        with self.server.client() as client:
            for _ in range(2):
                wait_until(lambda: self.backend_status("crasher")["process"]["up"])
                self.assertEqual(self.ask(client, "crasher", b"crash")["class"], "unavailable")
            wait_until(lambda: self.backend_status("crasher")["process"]["losses"]["ended"] == 2)
            status = self.backend_status("crasher")
            self.assertEqual(status["process"]["losses"],
                             {"ended": 2, "not_started": 0, "channel": 0, "limits": 0})
            if not SANITIZED:  # which ends the process by itself
                self.assertIn("signal 11", status["process"]["last"])
            self.assertEqual(status["cuts"], 1)  # two losses, one cut
            self.assertEqual(status["ends"]["failed"], 2)
            self.assertEqual(len(self.said("crasher", "a backend is cut off")), 1)
            self.assertIn("its process was lost 2 times", whorl("status", "--once", "-c", conf).stdout)
            self.assertNotIn("process", self.backend_status("ident1"))
            wait_until(lambda: self.ask(client, "crasher")["class"] == "no_match")
            self.assertTrue(self.said("crasher", "a backend is let in again"))
        self.assertEqual(self.server.stop(), 0)

    def test_calls_that_one_crash_ends_are_one_failure(self):
        self.start("slow", more="    breaker_failures = 2\n")
        with self.server.client() as client:
            calls = [client.start("identify", self.world.word(b"hang", ["slow"])) for _ in range(20)]
            self.assertEqual(self.ask(client, "slow")["class"], "no_match")  # so they are there
            os.kill(children(self.server.process.pid)["slow"], signal.SIGKILL)
            finish_all(client, calls)
            status = self.backend_status("slow")
            self.assertEqual((status["ends"]["failed"], status["cuts"]), (20, 0))
        self.assertEqual(self.server.stop(), 0)

    def backend_status(self, name):
        status = json.loads(whorl("status", "--json", "-c", self.world.conf).stdout)
        return next(backend for backend in status["backends"] if backend["name"] == name)

    def backend(self, client, name):
        found = client.call("capabilities", {"officer": "WMP1234"})["backends"]
        return next(backend for backend in found if backend["name"] == name)

    def test_log_and_progress_come_through(self):
        self.start("slow")
        with self.server.client() as client:
            self.assertEqual(self.ask(client, "slow", b"slow")["class"], "no_match")
            stages = [(argument["backend"], argument["stage"])
                      for method, argument in client.notifications if method == "progress"]
            self.assertIn(("slow", "waiting"), stages)
        self.assertTrue(self.said("slow", "rogue is up"))
        self.assertEqual(self.server.stop(), 0)
        self.assertTrue(self.said("slow", "rogue is down"))

    def test_none_outlives_a_server_that_is_killed(self):
        self.start("one", "two")
        processes = children(self.server.process.pid).values()
        self.assertEqual(len(processes), 2)
        self.server.kill()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes))

    def test_reloads_lose_no_call(self):
        self.start("slow")
        with self.server.client() as client:
            calls = []
            for i in range(20):
                calls += [client.start("identify", self.world.word(b"slow", ["slow"]))
                          for _ in range(3)]
                edit(os.path.join(self.world.conf, "rogue.conf"),
                     (r"settings \{.*\}", f"settings {{ start = w{i} }}"))
                self.assertEqual(self.server.reload()["text"], "reloaded")
            for result in finish_all(client, calls).values():
                self.assertEqual(answers(result)["slow"]["class"], "no_match")
        wait_until(lambda: len(children(self.server.process.pid)) == 1)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(len(self.said("slow", "rogue is down")), 21)

    def test_a_reload_that_waits_for_a_module_holds_up_nobody(self):
        """Its constructor takes its time, and then the process with it: who is connected is served
        meanwhile, a reload that comes then follows, and the mistake is named at the end."""
        self.start("one")
        module = self.build("sleeps", "sleep(3); abort();")
        with open(os.path.join(self.world.conf, "sleeper.conf"), "w", encoding="ascii") as file:
            file.write(f'plugin "sleeper" {{\n    module = "{module}"\n}}\n')
        reloads = [subprocess.Popen([BINARY, "reload", "-c", self.world.conf],
                                    stderr=subprocess.PIPE, text=True) for _ in range(2)]
        wait_until(lambda: "sleeper" in children(self.server.process.pid))
        with self.server.client() as client:
            self.assertEqual(self.ask(client, "one")["class"], "no_match")
        self.assertEqual([reload.poll() for reload in reloads], [None, None])
        for reload in reloads:
            _, said = reload.communicate()
            self.assertEqual(reload.returncode, 1, said)
            self.assertRegex(said, r"sleeper\.conf:2: plugin sleeper: .*was ended by signal 6")
        os.unlink(os.path.join(self.world.conf, "sleeper.conf"))
        whorl("reload", "-c", self.world.conf)
        self.assertEqual(self.server.stop(), 0)

    def test_a_reload_whose_plugin_hangs_as_it_starts_holds_up_nobody(self):
        """Two of them are new, one starts and one never does: pings are answered while it is waited
        for, then the reload is refused, what started for it ends, and what ran before goes on."""
        self.start("one")
        self.world.add_plugin("other", "well")
        self.world.add_plugin("sleeper", "hang")
        before = children(self.server.process.pid)
        with subprocess.Popen([BINARY, "reload", "-c", self.world.conf], stderr=subprocess.PIPE,
                              text=True) as reload, self.server.client() as client:
            wait_until(lambda: "sleeper" in children(self.server.process.pid))
            pings = 0
            while reload.poll() is None:
                self.assertEqual(client.call("ping"), "pong")
                pings += 1
                time.sleep(0.01)  # the device's rate
            self.assertGreater(pings, 20)
            self.assertEqual(reload.returncode, 1)
            self.assertRegex(reload.stderr.read(), r"rogue\.conf:\d+: plugin sleeper did not start: "
                                                   r"its process did not start within \d+ s")
            wait_until(lambda: children(self.server.process.pid) == before)
            self.assertEqual(self.ask(client, "one")["class"], "no_match")
            edit(os.path.join(self.world.conf, "rogue.conf"), ("start = hang", "start = well"))
            whorl("reload", "-c", self.world.conf)
            after = children(self.server.process.pid)
            self.assertEqual(set(after), {"one", "other", "sleeper"})
            self.assertEqual(after["one"], before["one"])
        self.assertEqual(self.server.stop(), 0)

    def test_a_reason_that_is_no_text_is_told_as_far_as_it_is(self):
        self.start("one")
        self.world.add_plugin("mumbler", "mumble")
        done = whorl("reload", "-c", self.world.conf, code=1)
        self.assertIn("plugin mumbler did not start: start: caf? is shut", done.stderr)
        self.assertEqual(self.server.stop(), 0)

    def test_a_server_that_stops_ends_what_a_reload_has_started(self):
        self.start("one")
        self.world.add_plugin("other", "well")
        self.world.add_plugin("sleeper", "hang")
        with subprocess.Popen([BINARY, "reload", "-c", self.world.conf], stderr=subprocess.PIPE,
                              text=True) as reload:
            wait_until(lambda: "sleeper" in children(self.server.process.pid))
            processes = children(self.server.process.pid).values()
            self.assertEqual(self.server.stop(), 0)
            self.assertIn("the server is stopping", reload.stderr.read())
        self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in processes))

    def test_a_server_that_stops_gives_up_the_reload_that_it_reads(self):
        self.start("one")
        module = self.build("sleeps", "sleep(3); abort();")
        with open(os.path.join(self.world.conf, "sleeper.conf"), "w", encoding="ascii") as file:
            file.write(f'plugin "sleeper" {{\n    module = "{module}"\n}}\n')
        with subprocess.Popen([BINARY, "reload", "-c", self.world.conf], stderr=subprocess.PIPE,
                              text=True) as reload:
            wait_until(lambda: "sleeper" in children(self.server.process.pid))
            self.assertEqual(self.server.stop(), 0)
            self.assertIn("the server is stopping", reload.stderr.read())

    def build(self, name, code):
        """A module that does this when it is loaded."""
        source, module = self.world.path(name + ".c"), self.world.path(name + ".so")
        with open(source, "w", encoding="ascii") as file:
            file.write("#include <errno.h>\n#include <stdlib.h>\n#include <sys/socket.h>\n"
                       "#include <unistd.h>\n"
                       f"__attribute__((constructor)) static void act(void) {{ {code} }}\n")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", module, source], check=True)
        return module

    def test_a_constructor_can_hand_nothing_to_the_server(self):
        """What is sent back on the control socket: all that may be is the saying of who was honest."""
        self.world = world = RogueWorld("constructed", more="    network = yes\n")
        module = self.build("sends", """if (send(3, "U", 1, MSG_NOSIGNAL) >= 0 || errno != EPIPE) abort();
            _exit(7);""")
        edit(os.path.join(world.conf, "rogue.conf"), (r"module = .*", f'module = "{module}"'))
        done = whorl("check", "-c", world.conf, code=1)
        self.assertIn("its process ended with exit status 7 while it was loaded", done.stderr)

    @unittest.skipIf(os.geteuid() != 0 or is_closed(), "only root gives plugins users of their own")
    def test_a_plugin_cannot_make_itself_root(self):
        """What it does to its directory doesn't decide whose process is made next."""
        self.start("rogue")
        pid = self.server.process.pid
        before = children(pid)["rogue"]
        with self.server.client() as client:
            self.assertEqual(self.ask(client, "rogue", b"lock out")["class"], "unavailable")
            wait_until(lambda: self.ask(client, "rogue")["class"] == "no_match")
        after = children(pid)["rogue"]
        self.assertNotEqual(before, after)
        with open(f"/proc/{after}/status", encoding="ascii") as file:
            uid = next(line.split()[1:] for line in file if line.startswith("Uid:"))
        self.assertNotIn("0", uid)
        self.assertEqual(os.stat(self.world.path("var", "rogue")).st_mode & 0o7777, 0o700)
        self.assertEqual(self.server.stop(), 0)

    def test_one_that_does_not_start_is_refused_with_its_reason(self):
        for how, reason in (("refuse", "start: was told to"), ("crash", "its process ended")):
            world = RogueWorld("unwilling", settings=f"start = {how}")
            done = whorl("serve", "-c", world.conf, code=3)
            self.assertIn("plugin unwilling did not start: " + reason, done.stderr)

    def test_a_module_that_kills_its_loader_is_a_mistake_in_the_configuration(self):
        self.world = world = RogueWorld("broken")
        module = self.build("kills", "abort();")
        edit(os.path.join(world.conf, "rogue.conf"), (r"module = .*", f'module = "{module}"'))
        done = whorl("check", "-c", world.conf, code=1)
        self.assertRegex(done.stderr, r"rogue\.conf:2: plugin broken: .*was ended by signal 6")

    def test_the_sandbox_refuses(self):
        self.start("rogue")
        with self.server.client() as client:
            self.assertEqual(self.ask(client, "rogue", b"escape")["class"], "no_match")
        got = {}
        for line in self.said("rogue", "escape "):
            what, result = re.fullmatch(r"escape (\w+): (\w+)", line["text"]).groups()
            got[what] = result
        expected = dict.fromkeys((
            "read_passwd", "read_environment", "write_tmp", "read_other_plugin", "read_server_key",
            "list_data", "write_orders"), "EACCES")
        expected.update(dict.fromkeys((
            "chmod", "symlink", "connect", "local_socket", "exec", "fork", "ptrace",
            "read_server_memory", "kill_server", "renice_server", "limit_server", "setuid",
            "shared_memory", "memfd", "open_other_for_nothing", "truncate_other",
            "empty_own_data_as_reader", "own_by_server", "own_ex_by_server", "ioctl_own_by_server",
            "choose_signal", "ask_for_signals", "set_user", "set_group", "make_set_user",
            "make_set_group", "hand_over", "another_stack"), "EPERM"))
        expected.update(dict.fromkeys((
            "write_own_data", "empty_own_data", "unlink_own_data", "set_mode", "not_to_wait"),
            "allowed"))
        self.assertEqual(got, expected)
        pid = children(self.server.process.pid)["rogue"]
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0)
        if os.geteuid() == 0 and not is_closed():
            self.assertNotEqual(status["Uid"].split()[0], "0")
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd"), key=int)[:4], ["0", "1", "2", "3"])
        # control socket, bell; and what keeps the coverage
        self.assertEqual(len(os.listdir(f"/proc/{pid}/fd")), 6 if COVERAGE else 5)
        self.assertEqual(self.server.stop(), 0)

    def test_network_if_its_file_says_so(self):
        self.start("rogue", more="    network = yes\n")
        with self.server.client() as client:
            self.assertEqual(self.ask(client, "rogue", b"escape")["class"], "no_match")
        said = [line["text"] for line in self.said("rogue", "escape ")]
        self.assertIn("escape connect: allowed", said)
        self.assertIn("escape local_socket: EPERM", said)
        # A socket that the server has to close may linger in it, and hold up the loop.
        self.assertIn("escape hand_over: EPIPE", said)
        self.assertIn("escape read_passwd: EACCES", said)
        self.assertEqual(self.server.stop(), 0)

    @unittest.skipUnless(os.geteuid() == 0, "only root may read another process's memory")
    @unittest.skipIf(SANITIZED, "a sanitizer keeps freed memory and terabytes of shadow")
    def test_nothing_is_left_of_a_probe_in_its_process(self):
        self.start("rogue")
        pid = children(self.server.process.pid)["rogue"]
        small, large = os.urandom(24), os.urandom(24)
        with self.server.client() as client:
            held = client.start("identify", self.world.word(b"slower|" + large * 40000, ["rogue"]))
            also = client.start("identify", self.world.word(b"slower|" + small, ["rogue"]))
            seen = set()
            deadline = time.monotonic() + PATIENCE
            while len(seen) < 2 and time.monotonic() < deadline:
                seen |= in_memory(pid, small, large)
            self.assertEqual(seen, {small, large}, "the search for it finds nothing at all")
            for result in finish_all(client, (held, also)).values():
                self.assertEqual(answers(result)["rogue"]["class"], "no_match")
            self.assertEqual(in_memory(pid, small, large), set())
            self.assertEqual(in_memory(self.server.process.pid, small, large), set())
        self.assertEqual(self.server.stop(), 0)


def in_memory(pid, *marks):
    """Which of the marks stand in a process's memory."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            bounds, flags = line.split()[:2]
            if flags[0] != "r":
                continue
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if start >= 1 << 63:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            found |= {mark for mark in marks if mark in content}
    return found


if __name__ == "__main__":
    unittest.main()
