#!/usr/bin/python3
"""Cascades: a force's server that asks its region's, which asks the nation's. All three are real and
speak TLS to one another; what goes wrong on the way is never a no_match."""
import os
import threading
import time

from cascade import Gateway
from whorl import OFFICER, PATIENCE, RpcError, Server, answers, edit, unittest, whorl


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

    def test_time_gets_shorter_on_the_way(self):
        # the nation's own deadline is 60 s; what it was given shows in how long it may wait
        with self.force.server.client() as client:
            result = client.call("identify", self.force.world.request(6, deadline_ms=1500))
        found = answers(result)
        self.assertEqual(found["ident1"]["class"], "unavailable")
        self.assertIn("too little time", found["ident1"]["reason"])


if __name__ == "__main__":
    unittest.main()
