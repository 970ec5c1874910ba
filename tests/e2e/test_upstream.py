#!/usr/bin/python3
"""Cascades: a force's server that asks its region's, which asks the nation's. All three are real and
speak TLS to one another; what goes wrong on the way is never a no_match."""
import json
import os
import pwd
import shutil
import signal
import threading
import time

from cascade import Gateway, Peer, result_of
from postgres import Postgres, needs_postgresql
from whorl import (BINARY, OFFICER, PATIENCE, RpcError, Server, answers, edit, is_closed, unittest,
                   whorl)


def classes(answer):
    return [(level["gateway"], level["class"]) for level in answer["levels"]]


class Three(unittest.TestCase):
    """The force has people 1 and 2, the region 3 and 4, the nation 5 to 8 and the PNC's records."""

    @classmethod
    def setUpClass(cls):
        cls.force, cls.region, cls.nation = (Gateway("wmp", [1, 2]), Gateway("midlands", [3, 4]),
                                             Gateway("nation", [5, 6, 7, 8]))
        cls.nation.admit(cls.region)
        cls.region.admit(cls.force)
        cls.nation.server = Server(cls.nation.world)
        for lower, upper in (cls.region, cls.nation), (cls.force, cls.region):
            port = upper.server.ports["devices"]
            lower.ask_upstream("ident1", lower.settings(upper, port, cascade="first"))
            lower.ask_upstream("pnc", lower.settings(upper, port))
            lower.server = Server(lower.world)

    @classmethod
    def tearDownClass(cls):
        for gateway in cls.force, cls.region, cls.nation:
            assert gateway.server.stop() == 0

    def identify(self, person=None, **more):
        with self.force.server.client() as client:
            result = client.call("identify", self.force.world.request(person, **more))
            self.notifications = client.notifications
        return result, answers(result)

    def test_what_is_found_here_asks_nobody_else(self):
        _, found = self.identify(1)
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(classes(found["ident1"]), [("wmp", "match")])
        self.assertEqual(found["ident1"]["candidates"][0]["gateway"], "wmp")

    def test_what_is_found_in_the_region_shows_both_levels(self):
        _, found = self.identify(3)
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(classes(found["ident1"]), [("wmp", "no_match"), ("midlands", "match")])
        self.assertEqual(found["ident1"]["candidates"][0]["gateway"], "midlands")
        self.assertEqual(found["ident1"]["candidates"][0]["ref"], "K0410111")

    def test_what_is_found_in_the_nation_shows_each_level_and_how_much_it_searched(self):
        result, found = self.identify(6)
        answer = found["ident1"]
        self.assertEqual(answer["class"], "match")
        self.assertEqual(classes(answer), [("wmp", "no_match"), ("midlands", "no_match"),
                                           ("nation", "match")])
        self.assertEqual([level["searched"]["people"] for level in answer["levels"]], [2, 2, 4])
        self.assertEqual(answer["searched"], {"people": 8, "of": 8})
        candidate, = answer["candidates"]
        self.assertEqual((candidate["gateway"], candidate["ref"]), ("nation", "K0410222"))
        self.assertEqual(candidate["names"][0]["family"], "Farrow")
        self.assertEqual(result["gateway"], "wmp")

    def test_unknown_everywhere_is_no_match_of_everybody(self):
        _, found = self.identify(13)
        self.assertEqual(found["ident1"]["class"], "no_match")
        self.assertEqual(classes(found["ident1"]), [("wmp", "no_match"), ("midlands", "no_match"),
                                                    ("nation", "no_match")])
        self.assertEqual(found["ident1"]["searched"], {"people": 8, "of": 8})

    def test_whom_a_search_found_is_looked_up_at_the_top(self):
        for person in 3, 1:
            _, found = self.identify(person)
            self.assertEqual(found["pnc"]["class"], "match", found["pnc"])
            record, = found["pnc"]["candidates"]
            self.assertEqual(record["gateway"], "nation")
            self.assertEqual(record["found_for"]["ref"], found["ident1"]["candidates"][0]["ref"])
            self.assertEqual(record["found_for"]["backend"], "ident1")
            self.assertEqual(classes(found["pnc"]), [("nation", "match")])

    def test_claimed_details_are_looked_up_at_the_top(self):
        subject = {"condition": "adult", "family": "Calloway", "given": "Dean Anthony",
                   "born": "1979-07-21"}
        _, found = self.identify(13, subject=subject)
        self.assertEqual(found["pnc"]["class"], "possible")
        self.assertEqual(found["pnc"]["candidates"][0]["gateway"], "nation")

    def test_each_level_records_who_asked_why_and_by_which_way(self):
        request = self.force.world.request(6, reason="Stopped without a licence")
        with self.force.server.client() as client:
            result = client.call("identify", request)
        below = result["transaction"]
        ours, = self.force.records("identify", transaction=below)
        self.assertEqual((ours["request_id"], ours["route"], ours["device"]),
                         (request["request_id"], [], "phone-1"))
        told, = (answer for answer in ours["answers"] if answer["backend"] == "ident1")
        self.assertEqual([(level["gateway"], level["class"]) for level in told["levels"]],
                         [("wmp", "no_match"), ("midlands", "no_match"), ("nation", "match")])
        route = ["wmp"]
        for gateway in self.region, self.nation:
            record, = gateway.records("identify", request_id=below + "/ident1")
            self.assertEqual(record["route"], route)
            self.assertEqual(record["device"], route[-1])
            for name in ("officer", "force", "basis", "stop_power", "reason", "reason_code", "consent"):
                self.assertEqual(record[name], ours[name], name)
            self.assertEqual(record["officer"], OFFICER)
            self.assertEqual([a["class"] for a in record["answers"] if a["backend"] != "ident1"],
                             ["not_searched"] * 2)
            looked, = gateway.records("lookup", device=route[-1],
                                      transaction=gateway.records(
                                          "identify", request_id=self.looked_up(route, below))[0]
                                      ["transaction"])
            self.assertEqual(looked["asked"][0]["found_for"]["ref"], "K0410222")
            route.append(gateway.name)
            if gateway is self.region:
                self.lookup_transaction = looked["transaction"]
                below = record["transaction"]

    def looked_up(self, route, below):
        """The request id of the look-up at the next level."""
        return (below if len(route) == 1 else self.lookup_transaction) + "/pnc"

    def test_the_screen_shows_what_each_level_said(self):
        tls = self.force.world.tls
        shown = whorl("identify", "--connect", f"localhost:{self.force.server.ports['devices']}",
                      "--cert", f"{tls}/phone-1.pem", "--officer", OFFICER, "--basis", "consent",
                      "--consent", "given", "--stop-power", "rta-163", "--reason", "Name doubted",
                      "--finger", f"2={self.force.world.print_of(6)}", "--checks", "ident1").stdout
        self.assertRegex(shown, r"asked wmp for ident1: NO MATCH  \[2 of 2 people\]")
        self.assertRegex(shown, r"asked nation for ident1: MATCH  \[4 of 4 people\]")
        self.assertRegex(shown, r"K0410222 .* at nation")

    def test_progress_of_every_level_is_relayed(self):
        _, _ = self.identify(6)
        stages = {argument["stage"] for method, argument in self.notifications
                  if method == "progress" and argument["backend"] == "ident1"}
        self.assertIn("searching", stages)
        self.assertIn("midlands/searching", stages)
        self.assertIn("nation/searching", stages)

    def test_prints_too_poor_for_one_level_are_poor_for_all(self):
        smudge = os.path.join(self.force.world.dir, "smudge")
        whorl("synth", "--fingers", 1, "--seed", 4, "--condition", "smudged", "-o", smudge)
        with open(os.path.join(smudge, "1_1.png"), "rb") as file:
            sample = {"modality": "finger", "format": "png", "position": 2, "dpi": 500,
                      "data": file.read()}
        _, found = self.identify(samples=[sample])
        self.assertEqual(found["ident1"]["class"], "poor_quality")
        self.assertTrue(found["ident1"]["samples"][0]["advice"])

    def test_an_officer_whom_the_region_does_not_know_gets_no_answer_of_it(self):
        whorl("officer", "add", "WMP7777", "--force", "WMP", "-c", self.force.world.conf)
        _, found = self.identify(13, officer="WMP7777")
        self.assertEqual(found["ident1"]["class"], "unavailable")
        self.assertIn("officer_unknown", found["ident1"]["reason"])
        self.assertEqual(classes(found["ident1"]), [("wmp", "no_match"), ("midlands", "unavailable")])
        _, found = self.identify(1, officer="WMP7777")
        self.assertEqual(found["ident1"]["class"], "match")
        refused, = self.region.records("refused", officer="WMP7777")
        self.assertEqual((refused["code"], refused["device"]), ("officer_unknown", "wmp"))

    def test_a_level_that_may_not_be_asked_keeps_the_rest_from_being_a_no_match(self):
        whorl("officer", "add", "WMP8888", "--force", "WMP", "--entitle", "pnc,immigration", "-c",
              self.force.world.conf)
        for gateway in self.region, self.nation:
            whorl("officer", "add", "WMP8888", "--force", "WMP", "-c", gateway.world.conf)
        _, found = self.identify(3, officer="WMP8888")
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["pnc"]["class"], "not_searched")
        self.assertIn("not entitled to pnc", found["pnc"]["reason"])

    def test_an_officer_of_a_force_that_the_gateway_is_not_lent_to_is_refused(self):
        edit(self.force.path("forces.conf"), (r"    # lends_to = .*", '    lends_to = {"MPS"}'))
        self.assertEqual(self.force.server.reload()["text"], "reloaded")
        _, found = self.identify(13, officer="MPS0001", basis="pace-61-6a", consent=None)
        self.assertEqual(found["ident1"]["class"], "unavailable")
        self.assertIn("officer_not_of_force", found["ident1"]["reason"])
        edit(self.region.path("forces.conf"), (r"    # lends_to = .*", '    lends_to = {"MPS"}'))
        edit(self.nation.path("forces.conf"), (r"    # lends_to = .*", '    lends_to = {"MPS"}'))
        for gateway in self.region, self.nation:
            self.assertEqual(gateway.server.reload()["text"], "reloaded")
        _, found = self.identify(6, officer="MPS0001", basis="pace-61-6a", consent=None)
        self.assertEqual(found["ident1"]["class"], "match")

    def test_a_phone_cannot_pass_for_a_gateway(self):
        for field, value in ("route", ["wmp"]), ("people", [{"family": "Calloway"}]):
            with self.region.server.client() as client:
                with self.assertRaises(RpcError) as refused:
                    client.call("identify", self.region.world.request(3, **{field: value}))
            self.assertEqual((refused.exception.code, refused.exception.where), ("invalid", field))

    def test_a_gateway_cannot_give_another_name_or_none(self):
        for route in ["nation"], ["wmp", "nation"], None:
            with self.region.server.client(cert="wmp") as client:
                with self.assertRaises(RpcError) as refused:
                    client.call("identify", self.region.world.request(3, route=route))
            self.assertEqual((refused.exception.code, refused.exception.where), ("invalid", "route"))


SEARCHED = {"searched": {"people": 4, "of": 4}}
ONE = {"ref": "N1", "score": 60.5, "identifiers": {"pncid": "2001/0000001X"}}


def level(gateway, name, **more):
    return {"gateway": gateway, "backend": "ident1", "class": name, **more}


# What another gateway may say that is no answer, or not all of one.
SPOILT = {
    "no map": 7,
    "nothing": {},
    "no answers": {"gateway": "nation", "answers": []},
    "answers that are no list": {"gateway": "nation", "answers": {"ident1": 1}},
    "of another backend": lambda a: result_of({**a, "checks": ["other"]}, **{"class": "no_match"}),
    "of another gateway": lambda a: result_of(a, "region", **{"class": "no_match"}, **SEARCHED),
    "no class": lambda a: result_of(a, **SEARCHED),
    "a class that there is not": lambda a: result_of(a, **{"class": "green"}, **SEARCHED),
    "an incomplete search": lambda a: result_of(a, **{"class": "no_match", "searched":
                                                      {"people": 3, "of": 4}}),
    "a search of nobody knows how many": lambda a: result_of(a, **{"class": "no_match"}),
    "more people than there are": lambda a: result_of(a, **{"class": "no_match", "searched":
                                                            {"people": 5, "of": 4}}),
    "a level that did not answer": lambda a: result_of(a, **{"class": "no_match", "levels": [
        level("nation", "no_match"), level("europe", "unavailable", reason="gone")]}, **SEARCHED),
    "more levels than there can be": lambda a: result_of(a, **{"class": "no_match", "levels":
                                                               [level("n", "no_match")] * 16},
                                                         **SEARCHED),
    "a level of no class": lambda a: result_of(a, **{"class": "no_match", "levels":
                                                     [level("n", "blue")]}, **SEARCHED),
    "candidates of nobody": lambda a: result_of(a, **{"class": "no_match", "candidates": [ONE]},
                                                **SEARCHED),
    "a match of nobody": lambda a: result_of(a, **{"class": "match"}, **SEARCHED),
    "a match of two": lambda a: result_of(a, **{"class": "match", "candidates": [ONE, ONE]}),
    "a candidate without a score": lambda a: result_of(a, **{"class": "match", "candidates":
                                                             [{"ref": "N1"}]}),
    "a name with a control character": lambda a: result_of(a, **{"class": "match", "candidates": [
        {**ONE, "names": [{"family": "A\x1b[31m"}]}]}),
    "a name that is too long": lambda a: result_of(a, **{"class": "match", "candidates": [
        {**ONE, "names": [{"family": "A" * 251}]}]}),
    "a day that there is not": lambda a: result_of(a, **{"class": "match", "candidates":
                                                         [{**ONE, "born": "2001-02-29"}]}),
    "an identifier that is no text": lambda a: result_of(a, **{"class": "match", "candidates":
                                                               [{**ONE, "identifiers": {"cro": 5}}]}),
    "a look-up's candidate": lambda a: result_of(a, **{"class": "match", "candidates":
                                                       [{**ONE, "found_by": "pncid"}]}),
    "a sample that was not sent": lambda a: result_of(a, **{"class": "poor_quality", "reason": "r",
                                                            "samples": [{"sample": 2}]}),
    "unavailable without a reason": lambda a: result_of(a, **{"class": "unavailable"}),
    "a reason that is too long": lambda a: result_of(a, **{"class": "unavailable",
                                                           "reason": "r" * 251}),
}
SPOILT_BYTES = {
    "no msgpack": b"\xc1\xc1\xc1",
    "no RPC": b"\x93\x01\x02\x03",
    "an array without end": b"\xdd\xff\xff\xff\xff",
    "a text": b"HTTP/1.1 200 OK\r\n\r\n",
    "nested without end": b"\x91" * 4000,
}


class Trouble(unittest.TestCase):
    """The force has people 1 and 2 and searches both at once; above it stands whatever a test puts
    there. Every call is answered, what is here is found, and nobody is a no_match."""

    @classmethod
    def setUpClass(cls):
        cls.force, cls.nation = Gateway("wmp", [1, 2]), Gateway("nation", [5, 6, 7, 8])
        cls.nation.admit(cls.force)
        edit(cls.force.path("ident1.conf"), (r"deadline = 20 .*", "deadline = 10\n    max_calls = 200"))
        edit(cls.force.path("core.conf"), (r"^core \{", "core {\n    max_calls_per_connection = 200"))
        cls.force.server = Server(cls.force.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.force.server.stop() == 0

    def setUp(self):
        self.peers = []

    def tearDown(self):
        for peer in self.peers:
            peer.close()
        if self.nation.server:
            self.nation.server.end()
            self.nation.server = None

    def use(self, port, **more):
        before = len(self.force.server.log())
        settings = self.force.settings(self.nation, port, **{"cascade": "all", **more})
        self.force.ask_upstream("ident1", settings)
        self.assertEqual(self.force.server.reload()["text"], "reloaded")
        self.before = before

    def peer(self, act, cert="server", **more):
        self.peers.append(Peer(self.nation, act, cert))
        self.use(self.peers[-1].port, **more)
        return self.peers[-1]

    def start_nation(self, **more):
        self.nation.server = Server(self.nation.world)
        self.use(self.nation.server.ports["devices"], **more)

    def wait_until_reached(self):
        self.force.server.wait_for_log(
            lambda line: "is reached" in line.get("text", ""), self.before)

    def ident1(self, person, **more):
        with self.force.server.client() as client:
            request = self.force.world.request(person, checks=["ident1"], **more)
            return answers(client.call("identify", request))["ident1"]

    def assert_only_here(self, why="", **more):
        """What is here is found with a word on the level that failed; else it is unavailable."""
        answer = self.ident1(1, **more)
        self.assertEqual(answer["class"], "match", answer)
        self.assertEqual(answer["candidates"][0]["ref"], "K0410037")
        self.assertIn("nation did not answer", answer["reason"])
        answer = self.ident1(13, **more)
        self.assertEqual(answer["class"], "unavailable", answer)
        self.assertIn("nation did not answer", answer["reason"])
        self.assertIn(why, answer["reason"])
        self.assertEqual(classes(answer)[0], ("wmp", "no_match"))
        self.assertEqual(classes(answer)[-1][1], "unavailable")

    def test_a_good_answer_is_taken(self):
        self.peer(lambda method, argument, send: result_of(
            argument, **{"class": "match", "candidates": [ONE]}, **SEARCHED))
        answer = self.ident1(13)
        self.assertEqual(answer["class"], "match")
        self.assertEqual(answer["candidates"], [{**ONE, "gateway": "nation"}])
        answer = self.ident1(1)
        self.assertEqual(answer["class"], "possible")  # two people
        self.assertIn("different people", answer["reason"])
        self.assertEqual({c["gateway"] for c in answer["candidates"]}, {"wmp", "nation"})

    def test_the_same_person_at_two_levels_is_one_match(self):
        self.peer(lambda method, argument, send: result_of(argument, **{"class": "match", "candidates": [
            {**ONE, "identifiers": {"pncid": "2005/0056731P"}}]}, **SEARCHED))
        answer = self.ident1(1)
        self.assertEqual(answer["class"], "match")
        self.assertEqual(answer["candidates"][0]["ref"], "K0410037")
        self.assertIn("nation found the same person, as N1", answer["reason"])

    def test_what_is_no_answer_is_unavailable(self):
        said = {}
        self.peer(lambda method, argument, send: said["it"](argument) if callable(said["it"])
                  else said["it"])
        for name, said["it"] in SPOILT.items():
            with self.subTest(name):
                self.assert_only_here()

    def test_bytes_that_are_no_message_are_unavailable(self):
        said = {}

        def act(_method, _argument, send):
            send(said["it"])

        for name, said["it"] in SPOILT_BYTES.items():
            with self.subTest(name):
                self.peer(act)
                self.assert_only_here()

    def test_a_connection_that_is_dropped_is_made_again_and_the_call_repeated(self):
        tries = []

        def act(_method, argument, _send):
            tries.append(argument["request_id"])
            if len(tries) < 3:
                raise ConnectionError
            return result_of(argument, **{"class": "no_match"}, **SEARCHED)

        self.peer(act)
        self.assertEqual(self.ident1(13)["class"], "no_match")
        self.assertEqual(len(set(tries)), 1)
        self.assertEqual(self.peers[0].connections, 3)

    def test_a_connection_that_is_dropped_again_and_again_is_unavailable(self):
        def act(_method, _argument, _send):
            raise ConnectionError
        self.peer(act)
        self.assert_only_here()

    def test_a_gateway_that_is_too_slow_is_unavailable_before_the_deadline_here(self):
        self.peer(lambda *_: None)
        self.assert_only_here("in time", deadline_ms=3000)

    def test_busy_is_asked_again(self):
        asked = []

        def act(_method, argument, send):
            asked.append(argument["request_id"])
            if len(asked) == 1:
                raise Busy
            return result_of(argument, **{"class": "no_match"}, **SEARCHED)

        class Busy(Exception):
            pass

        peer = self.peer(lambda *_: None)
        original = peer.act

        def busy(method, argument, send):
            try:
                return act(method, argument, send)
            except Busy:
                send([1, len(asked), {"code": "busy", "message": "later", "retry_ms": 10}, None])
                return original(method, argument, send)

        peer.act = busy
        self.assertEqual(self.ident1(13)["class"], "no_match")
        self.assertEqual(len(asked), 2)

    def test_a_refusal_is_unavailable_with_its_code(self):
        def act(_method, _argument, send):
            send([1, 1, {"code": "invalid", "message": "basis is none here", "where": "basis"}, None])
        self.peer(act)
        answer = self.ident1(13)
        self.assertEqual(answer["class"], "unavailable")
        self.assertIn("it refused (invalid): basis is none here", answer["reason"])

    def test_nobody_at_the_address_is_unavailable_at_once(self):
        peer = self.peer(lambda *_: None)
        peer.close()
        self.use(peer.port, cascade="all", upstream_server_name="localhost")
        self.assert_only_here("cannot connect")
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual(self.ident1(13)["class"], "unavailable")
        self.assertLess(time.monotonic() - began, PATIENCE)

    def test_a_server_of_another_authority_is_not_asked(self):
        other = Gateway("other")
        os.rename(other.world.tls, other.world.tls + ".old")
        whorl("keys", "ca", "-o", other.world.tls)
        whorl("keys", "server", "-o", other.world.tls, "--ca", other.world.tls, "--name", "localhost",
              "--address", "127.0.0.1")
        peer = Peer(other, lambda *_: None)
        self.peers.append(peer)
        self.use(peer.port)
        self.assert_only_here("certificate was not accepted")
        self.assertEqual(peer.asked, [])

    def test_a_server_of_another_name_is_not_asked(self):
        peer = self.peer(lambda *_: None, upstream_server_name="nation.example")
        self.assert_only_here("certificate was not accepted")
        self.assertEqual(peer.asked, [])

    def test_a_gateway_that_was_revoked_gets_no_answer_until_it_is_restored(self):
        self.start_nation()
        self.assertEqual(self.ident1(6)["class"], "match")
        whorl("device", "revoke", "wmp", "-c", self.nation.world.conf)
        try:
            answer = self.ident1(6)
            self.assertEqual(answer["class"], "unavailable")
            self.assertIn("device_revoked", answer["reason"])
            self.assert_only_here("device_revoked")
        finally:
            whorl("device", "restore", "wmp", "-c", self.nation.world.conf)
        self.assertEqual(self.ident1(6)["class"], "match")

    def test_killed_in_the_middle_of_a_call_and_back_again(self):
        self.start_nation()
        self.wait_until_reached()
        os.kill(self.nation.server.process.pid, signal.SIGSTOP)
        with self.force.server.client() as client:
            call = client.start("identify", self.force.world.request(13, checks=["ident1"]))
            self.wait_for_calls(1)
            self.nation.server.kill()
            answer = answers(client.finish(call))["ident1"]
        self.assertEqual(answer["class"], "unavailable")
        port = self.nation.server.ports["devices"]
        edit(self.nation.path("listeners.conf"), (r"port = 0", f"port = {port}"))
        try:
            self.nation.server = Server(self.nation.world)
            after = len(self.force.server.log())
            deadline = time.monotonic() + PATIENCE
            while self.ident1(6)["class"] != "match":
                self.assertLess(time.monotonic(), deadline, self.force.server.log()[after:])
        finally:
            edit(self.nation.path("listeners.conf"), (rf"port = {port}", "port = 0"))

    def wait_for_calls(self, count):
        """Until so many calls of ident1 are under way in the force's server."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = json.loads(whorl("status", "-c", self.force.world.conf, "--json").stdout)
            plugin, = (p for p in status["backends"] if p["name"] == "ident1")
            if plugin["calls"] >= count:
                return
            time.sleep(0.02)
        raise AssertionError(f"never had {count} calls")

    def test_killed_with_a_hundred_calls_under_way(self):
        self.start_nation()
        self.wait_until_reached()
        os.kill(self.nation.server.process.pid, signal.SIGSTOP)
        with self.force.server.client() as client:
            samples = [self.force.world.sample(13, 2)]
            calls = [client.start("identify", self.force.world.request(
                samples=samples, checks=["ident1"])) for _ in range(100)]
            self.wait_for_calls(50)
            self.nation.server.kill()
            found = {}
            while len(found) < len(calls):
                message = client.receive()
                if message[0] == 1:
                    found[message[1]] = message
        self.assertEqual(set(found), set(calls))
        for message in found.values():
            self.assertIsNone(message[2])
            answer = answers(message[3])["ident1"]
            self.assertEqual(answer["class"], "unavailable", answer)

    def test_a_loop_is_refused(self):
        """The force asks the nation, which asks the force."""
        self.force.admit(self.nation) if "nation" not in whorl(
            "device", "list", "-c", self.force.world.conf).stdout else None
        settings = self.nation.settings(self.force, self.force.server.ports["devices"], cascade="first",
                                        upstream_gateway="wmp2")
        self.nation.ask_upstream("ident1", settings)
        try:
            self.start_nation()
            answer = self.ident1(13)
            self.assertEqual(answer["class"], "unavailable")
            self.assertIn("wmp2 did not answer: it refused (loop)", answer["reason"])
            self.assertEqual(classes(answer), [("wmp", "no_match"), ("nation", "no_match"),
                                               ("wmp2", "unavailable")])
            self.assertEqual(self.ident1(6)["class"], "match")
            refused = self.force.records("refused", code="loop")
            self.assertEqual(refused[-1]["device"], "nation")
            self.nation.ask_upstream("ident1", {**settings, "upstream_gateway": "wmp"})
            self.assertEqual(self.nation.server.reload()["text"], "reloaded")
            answer = self.ident1(13)  # now it knows before it asks
            self.assertEqual(answer["class"], "unavailable")
            self.assertIn("a loop", answer["reason"])
            self.assertEqual(len(self.force.records("refused", code="loop")), len(refused))
        finally:
            self.nation.own_data("ident1")

    def test_swapped_under_load_without_a_lost_call(self):
        self.start_nation()
        done, wrong = [], []

        def ask():
            with self.force.server.client() as client:
                while not stop.is_set():
                    answer = answers(client.call("identify", self.force.world.request(
                        samples=[self.force.world.sample(6, 2)], checks=["ident1"])))["ident1"]
                    above = "levels" in answer
                    done.append(above)
                    expected = "match" if above else "no_match"
                    if answer["class"] != expected:
                        wrong.append(answer)

        stop = threading.Event()
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        settings = self.force.settings(self.nation, self.nation.server.ports["devices"], cascade="all")
        for upstream in True, False, True, False:
            self.force.ask_upstream("ident1", settings if upstream else {})
            self.assertEqual(self.force.server.reload()["text"], "reloaded")
            counted = len(done)
            while len(done) < counted + 20 and not wrong and all(t.is_alive() for t in threads):
                time.sleep(0.02)
        alive = all(thread.is_alive() for thread in threads)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertTrue(alive, "a call was lost")
        self.assertEqual(wrong, [])
        self.assertEqual(set(done), {True, False})

    def test_in_a_process_of_its_own(self):
        self.start_nation()
        path = self.force.path("ident1.conf")
        key = self.nation.certificate("wmp")[1]
        options = "    isolation = process\n    network = yes\n"
        edit(path, (r'    module = "whorl-ident1.so"\n', f'    module = "whorl-ident1.so"\n{options}'))
        try:
            if self.force.server.reload()["text"] != "reloaded":
                # as root, the process is another user, whose the key has to be
                edit(path, (r"    network = yes\n", "    network = yes\n    user = daemon\n"))
                options += "    user = daemon\n"
                os.chown(key, pwd.getpwnam("daemon").pw_uid, -1)
                make_reachable(key)
                make_reachable(self.force.world.path("var", "ident1"))
                self.assertEqual(self.force.server.reload()["text"], "reloaded",
                                 self.force.server.log()[-4:])
            self.assertEqual(self.ident1(6)["class"], "match")
            self.assertEqual(self.ident1(13)["class"], "no_match")
            self.nation.server.kill()
            self.assert_only_here()
        finally:
            os.chown(key, os.geteuid(), -1)
            edit(path, (options, ""))
            self.force.own_data("ident1")
            self.assertEqual(self.force.server.reload()["text"], "reloaded")


def make_reachable(path):
    """Lets other users go through the folders to it."""
    folder = os.path.dirname(path)
    while folder != "/" and os.stat(folder).st_uid == os.geteuid():
        os.chmod(folder, os.stat(folder).st_mode | 0o111)
        folder = os.path.dirname(folder)


class OnTheWay(unittest.TestCase):
    """The force asks the region, which asks a nation that keeps what it was asked."""

    @classmethod
    def setUpClass(cls):
        cls.force, cls.region, cls.nation = Gateway("wmp"), Gateway("midlands"), Gateway("nation")
        cls.region.admit(cls.force)
        cls.held = threading.Event()
        cls.peer = Peer(cls.nation, cls.act)
        cls.region.ask_upstream("ident1", cls.region.settings(cls.nation, cls.peer.port))
        cls.region.server = Server(cls.region.world)
        port = cls.region.server.ports["devices"]
        cls.force.ask_upstream("ident1", cls.force.settings(cls.region, port))
        cls.force.server = Server(cls.force.world)

    @classmethod
    def tearDownClass(cls):
        cls.peer.close()
        assert cls.force.server.stop() == 0
        assert cls.region.server.stop() == 0

    def setUp(self):
        self.peer.asked.clear()

    @classmethod
    def act(cls, method, argument, _send):
        if method == "cancel":
            return {"cancelled": True}
        if argument["reason"] == "hold":
            cls.held.set()
            return None
        return result_of(argument, **{"class": "no_match"}, **SEARCHED)

    def ask(self, **more):
        with self.force.server.client() as client:
            result = client.call("identify", self.force.world.request(13, checks=["ident1"], **more))
        (_, argument), = self.peer.asked
        return answers(result)["ident1"], argument

    def test_what_arrives_is_what_was_asked_and_no_more(self):
        answer, argument = self.ask(subject={"condition": "adult", "family": "Jones"})
        self.assertEqual(answer["class"], "no_match")
        sent = self.force.world.request(13)
        self.assertEqual(argument["samples"], sent["samples"])
        self.assertEqual(argument["route"], ["wmp", "midlands"])
        self.assertEqual(argument["checks"], ["ident1"])
        self.assertEqual(argument["subject"], {"condition": "adult", "family": "Jones"})
        self.assertEqual(set(argument), {"request_id", "officer", "basis", "stop_power", "reason",
                                         "reason_code", "consent", "subject", "samples", "checks",
                                         "route", "deadline_ms"})

    def test_time_gets_shorter_at_each_level(self):
        _, argument = self.ask(deadline_ms=10000)
        # 10 s; less a tenth for the audit and a tenth for the way, at the force and at the region
        self.assertLess(argument["deadline_ms"], 10000 * 0.9 ** 4 + 1)
        self.assertGreater(argument["deadline_ms"], 1000)

    def test_too_little_time_is_unavailable_and_nobody_is_asked(self):
        with self.force.server.client() as client:
            result = client.call("identify", self.force.world.request(13, deadline_ms=1500))
        self.assertEqual(answers(result)["ident1"]["class"], "unavailable")
        self.assertIn("too little time", answers(result)["ident1"]["reason"])
        self.assertEqual(self.peer.asked, [])

    def test_what_is_given_up_is_given_up_above(self):
        request = self.region.world.request(13, route=["wmp"], checks=["ident1"], reason="hold")
        self.held.clear()
        with self.region.server.client(cert="wmp") as client:
            call = client.start("identify", request)
            self.assertTrue(self.held.wait(PATIENCE))
            other = client.start("cancel", {"request_id": request["request_id"]})
            replies = {}
            while len(replies) < 2:
                message = client.receive()
                if message[0] == 1:
                    replies[message[1]] = message[3]
        self.assertEqual(replies[other], {"cancelled": True})
        answer = answers(replies[call])["ident1"]
        self.assertEqual(answer["class"], "unavailable")
        self.assertIn("gave it up", answer["reason"])
        deadline = time.monotonic() + PATIENCE
        while len(self.peer.asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        (_, asked), (method, cancelled) = self.peer.asked
        self.assertEqual((method, cancelled), ("cancel", {"request_id": asked["request_id"]}))
        self.assertEqual(asked["request_id"], replies[call]["transaction"] + "/ident1")


class Settings(unittest.TestCase):
    """Mistakes are found before anything is started."""

    def setUp(self):
        self.force, self.nation = Gateway("wmp"), Gateway("nation")
        self.good = self.force.settings(self.nation, 7443, cascade="first")

    def check(self, code=0, **changed):
        self.force.ask_upstream("ident1", {**self.good, **changed})
        done = whorl("check", "-c", self.force.world.conf, code=code)
        return done.stdout + done.stderr

    def test_good_ones_show_whose_calls_are_passed_on(self):
        said = self.check()
        self.assertIn("ident1 (passed on to another gateway)", said)
        self.assertNotIn("immigration (passed on", said)
        self.assertIn('gateway = "wmp"', said)

    def test_each_mistake_is_named_with_its_place(self):
        readable = self.nation.world.path("readable.key")
        shutil.copy(self.good["upstream_key"], readable)
        os.chmod(readable, 0o644)
        ca_key = os.path.join(self.nation.world.tls, "ca.key")
        for words, changed in (
                ("upstream_gateway: is missing", {"upstream_gateway": ""}),
                ("upstream_gateway: must be letters", {"upstream_gateway": "na tion"}),
                ("upstream_address: expected HOST:PORT", {"upstream_address": "nation"}),
                ("upstream_certificate: is missing", {"upstream_certificate": ""}),
                ("upstream_certificate: TLS: No such file", {"upstream_certificate": "tls/none.pem"}),
                ("upstream_key: cannot be read", {"upstream_key": "tls/none.key"}),
                ("upstream_key: can be used by others", {"upstream_key": readable}),
                ("upstream_key: TLS: key values mismatch", {"upstream_key": ca_key}),
                ("upstream_ca: TLS: ", {"upstream_ca": "tls/none.pem"}),
                ("cascade: must be upstream, first or all", {"cascade": "last"}),
                ("cascade_data: must be lmdb or postgresql", {"cascade_data": "upstream"}),
                ("database", {"cascade_data": "postgresql"}),
                ('there is no source called "magic"', {"source": "magic"})):
            with self.subTest(words):
                self.assertRegex(self.check(1, **changed), rf"ident1\.conf:\d+: plugin ident1: .*{words}")

    def test_a_server_without_a_name_passes_nothing_on(self):
        edit(self.force.path("core.conf"), (r'    gateway = "wmp"\n', ""))
        self.assertIn("needs this server's name: core { gateway", self.check(1))


class OwnPeople(unittest.TestCase):
    def test_people_of_a_cascade_are_withdrawn_and_purged_where_they_are_searched(self):
        force, nation = Gateway("wmp", [1, 2]), Gateway("nation")
        for cascade in ("first", "all"):
            force.ask_upstream("ident1", force.settings(nation, 7443, cascade=cascade))
            there = whorl("gallery", "list", "-c", force.world.conf, "--gallery", "ident1").stdout
            person = there.split()[0]
            args = ("-c", force.world.conf, "--gallery", "ident1")
            whorl("gallery", "withdraw", *args, person)
            self.assertIn("1 people purged", whorl("gallery", "purge", *args).stdout)
            self.assertNotIn(person, whorl("gallery", "list", *args).stdout)
        force.ask_upstream("ident1", force.settings(nation, 7443))
        done = whorl("gallery", "purge", *args, code=3)
        self.assertIn("has no gallery: its source is upstream", done.stderr)


@needs_postgresql
class BesideDatabase(unittest.TestCase):
    """The force's own people are in its PostgreSQL; the nation has others."""

    def test_a_database_and_a_gateway_above_answer_together(self):
        database = Postgres()
        self.addCleanup(database.kill)
        force, nation = Gateway("wmp", [1, 2]), Gateway("nation", [5, 6, 7, 8])
        nation.admit(force)
        nation.server = Server(nation.world)
        self.addCleanup(nation.server.kill)
        owner = f"host={database.run} port={database.port} dbname=postgres user=owner"
        whorl("source", "init", owner)
        database.sql("ALTER ROLE whorl_reader PASSWORD 'not-a-secret'", database="postgres")
        whorl("source", "fill", "ident1", owner, "-c", force.world.conf)
        force.ask_upstream("ident1", force.settings(
            nation, nation.server.ports["devices"], cascade="first", cascade_data="postgresql",
            database=f"host=localhost port={database.port} dbname=postgres user=whorl_reader",
            password_file=database.reader_password, database_ca=database.ca))
        force.server = Server(force.world)
        self.addCleanup(force.server.kill)

        def ask(person):
            with force.server.client() as client:
                request = force.world.request(person, checks=["ident1"])
                return answers(client.call("identify", request))["ident1"]

        deadline = time.monotonic() + PATIENCE
        while ask(1)["class"] != "match" and time.monotonic() < deadline:
            time.sleep(0.05)  # the copy is being made
        found = ask(1)
        self.assertEqual((found["class"], classes(found)), ("match", [("wmp", "match")]))
        self.assertIn("age", found)
        found = ask(6)
        self.assertEqual((found["class"], classes(found)),
                         ("match", [("wmp", "no_match"), ("nation", "match")]))
        found = ask(13)
        self.assertEqual((found["class"], found["searched"]), ("no_match", {"people": 6, "of": 6}))


class Kit(unittest.TestCase):
    """The backends keep the rules of the ABI while they ask another gateway, too."""

    def setUp(self):
        self.force, self.nation = Gateway("wmp"), Gateway("nation")

    def write(self, plugin, port, cascade):
        settings = self.force.settings(self.nation, port, cascade=cascade)
        text = "".join(f"        {name} = {json.dumps(value)}\n" for name, value in settings.items())
        user = ""
        if os.geteuid() == 0 and not is_closed():  # settings are checked by another user's process
            user = "    isolation = process\n    user = daemon\n"
            os.chown(settings["upstream_key"], pwd.getpwnam("daemon").pw_uid, -1)
            make_reachable(settings["upstream_key"])
        path = self.force.world.path(f"{plugin}.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'plugin "{plugin}" {{\n{user}    settings {{\n{text}    }}\n}}\n')
        return path

    def keeps(self, plugin, port, cascade, trials):
        said = whorl("plugin", "test", os.path.join(os.path.dirname(BINARY), "plugins",
                                                    f"whorl-{plugin}.so"),
                     "--conf", self.write(plugin, port, cascade), code=None).stdout
        self.assertIn(f"{trials} trials, 0 broken", said)

    def test_with_a_gateway_that_answers(self):
        searched = {"kit": SEARCHED}  # that is what the kit calls every backend
        peer = Peer(self.nation, lambda method, argument, send: {"cancelled": False}
                    if method == "cancel" else result_of(argument, **{"class": "no_match"},
                                                         **searched[argument["checks"][0]]))
        self.keeps("ident1", peer.port, "upstream", 13)
        self.keeps("ident1", peer.port, "all", 13)
        searched["kit"] = {}
        self.keeps("pnc", peer.port, "first", 12)
        self.assertTrue(any(method == "identify" for method, _ in peer.asked))
        peer.close()

    def test_with_nobody_at_the_address(self):
        peer = Peer(self.nation, lambda *_: None)
        peer.close()
        self.keeps("ident1", peer.port, "first", 13)
        self.keeps("pnc", peer.port, "upstream", 12)


if __name__ == "__main__":
    unittest.main()
