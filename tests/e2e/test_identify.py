#!/usr/bin/python3
"""The main job, by the real binary: the demo's cases, policy, repeats, reload, audit."""
import json
import os
import threading

from whorl import OFFICER, RpcError, Server, World, answers, edit, unittest, whorl


class Identify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def identify(self, person=None, **more):
        with self.server.client() as client:
            return client.call("identify", self.world.request(person, **more))

    def test_ping_answers_pong(self):
        with self.server.client() as client:
            self.assertEqual(client.call("ping"), "pong")

    def test_wanted_person_is_matched_and_looked_up(self):
        result = self.identify(3)
        found = answers(result)
        self.assertEqual(found["ident1"]["class"], "match")
        candidate, = found["ident1"]["candidates"]
        self.assertEqual(candidate["ref"], "K0410111")
        self.assertEqual(candidate["identifiers"]["pncid"], "2007/0058193J")
        self.assertEqual(found["ident1"]["searched"], {"people": 8, "of": 8})
        self.assertEqual(found["pnc"]["class"], "match")
        record, = found["pnc"]["candidates"]
        self.assertEqual(record["found_for"], {"backend": "ident1", "ref": "K0410111"})
        self.assertEqual(record["details"][0]["level"], "alert")
        self.assertIn("STAFFS", record["details"][0]["value"])

    def test_unknown_person_is_no_match_after_a_complete_search(self):
        found = answers(self.identify(13))
        for name, people in (("ident1", 8), ("immigration", 5)):
            self.assertEqual(found[name]["class"], "no_match")
            self.assertEqual(found[name]["searched"], {"people": people, "of": people})
            self.assertEqual(found[name].get("candidates") or [], [])
        self.assertEqual(found["pnc"]["class"], "not_searched")

    def test_person_known_to_immigration_only(self):
        found = answers(self.identify(10))
        self.assertEqual(found["ident1"]["class"], "no_match")
        self.assertEqual(found["immigration"]["class"], "match")
        candidate, = found["immigration"]["candidates"]
        self.assertEqual(candidate["ref"], "HO-071340")
        text = json.dumps(candidate).lower()
        self.assertIn("command and control", text)
        self.assertNotIn("arrest", text)
        self.assertFalse(candidate.get("names"))

    def test_every_enrolled_person_is_found_by_another_impression(self):
        for person in range(1, 13):
            found = answers(self.identify(person))
            name = "ident1" if person <= 8 else "immigration"
            self.assertEqual(found[name]["class"], "match", person)

    def test_fingers_of_unknown_position_are_found_too(self):
        samples = [self.world.sample(5, 7), self.world.sample(5, 2)]
        for sample in samples:
            del sample["position"]
        self.assertEqual(answers(self.identify(samples=samples))["ident1"]["class"], "match")

    def test_smudged_finger_is_poor_quality_with_advice(self):
        smudge = os.path.join(self.world.dir, "smudge")
        whorl("synth", "--fingers", 1, "--seed", 4, "--condition", "smudged", "-o", smudge)
        with open(os.path.join(smudge, "1_1.png"), "rb") as file:
            sample = {"modality": "finger", "format": "png", "position": 2, "dpi": 500,
                      "data": file.read()}
        answer = answers(self.identify(samples=[sample]))["ident1"]
        self.assertEqual(answer["class"], "poor_quality")
        self.assertTrue(answer["reason"])
        self.assertTrue(answer["samples"][0]["advice"])

    def test_claimed_name_of_another_is_said_to_differ(self):
        subject = {"condition": "adult", "family": "SMITH", "given": "John", "born": "1979-07-21"}
        found = self.identify(3, subject=subject)["claimed"]["found"]
        verdicts = {f["backend"]: (f["name_differs"], f["born_differs"]) for f in found}
        self.assertEqual(verdicts["ident1"], (True, False))
        for given, differs in (("Dean Anthony", False), ("DEAN", False), ("Dea", True)):
            subject = {"condition": "adult", "family": "calloway", "given": given,
                       "born": "1979-07-21"}
            found = self.identify(3, subject=subject)["claimed"]["found"]
            self.assertTrue(all(f["name_differs"] == differs for f in found), given)
            self.assertFalse(any(f["born_differs"] for f in found))

    def test_claimed_details_alone_are_looked_up_and_never_a_match(self):
        subject = {"condition": "adult", "family": "Calloway", "given": "Dean Anthony",
                   "born": "1979-07-21"}
        answer = answers(self.identify(13, subject=subject))["pnc"]
        self.assertEqual(answer["class"], "possible")
        self.assertEqual(answer["candidates"][0]["found_by"], "name")

    def test_officer_without_entitlement_gets_everything_but_that(self):
        found = answers(self.identify(3, officer="WMP0001"))
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["immigration"]["class"], "not_searched")
        self.assertEqual(found["pnc"]["class"], "not_searched")
        self.assertIn("entitled", found["pnc"]["reason"])

    def test_checks_limit_what_is_asked(self):
        found = answers(self.identify(3, checks=["ident1"]))
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["immigration"]["class"], "not_searched")

    def test_deceased_person_is_not_searched_in_immigration(self):
        found = answers(self.identify(8, basis="deceased", consent=None,
                                      subject={"condition": "deceased"}))
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["immigration"]["class"], "not_searched")

    def test_refused_consent_searches_nothing(self):
        found = answers(self.identify(consent="refused"))
        self.assertEqual({a["class"] for a in found.values()}, {"not_searched"})

    def test_officer_of_another_force_is_refused_by_name(self):
        with self.assertRaises(RpcError) as caught:
            self.identify(3, officer="MPS0001")
        self.assertEqual(caught.exception.code, "officer_not_of_force")

    def test_unknown_officer_is_refused(self):
        with self.assertRaises(RpcError) as caught:
            self.identify(3, officer="NOBODY")
        self.assertEqual(caught.exception.code, "officer_unknown")

    def test_revoked_officer_is_refused_from_the_next_call_on(self):
        conf = self.world.conf
        whorl("officer", "add", "WMP7777", "--force", "WMP", "-c", conf)
        self.identify(1, officer="WMP7777")
        whorl("officer", "revoke", "WMP7777", "-c", conf)
        with self.assertRaises(RpcError) as caught:
            self.identify(1, officer="WMP7777")
        self.assertEqual(caught.exception.code, "officer_revoked")

    def test_capabilities_say_what_this_officer_may_ask(self):
        with self.server.client() as client:
            result = client.call("capabilities", {"officer": "WMP0001"})
        backends = {b["name"]: b for b in result["backends"]}
        self.assertTrue(backends["ident1"]["allowed"])
        self.assertIn("png", backends["ident1"]["formats"])
        self.assertFalse(backends["pnc"]["allowed"])
        self.assertTrue(backends["pnc"]["reason"])
        self.assertTrue(result["bases"])

    def test_progress_comes_while_it_works(self):
        with self.server.client() as client:
            request = self.world.request(3)
            result = client.call("identify", request)
            stages = {(n["backend"], n["stage"]) for m, n in client.notifications
                      if m == "progress" and n["request_id"] == request["request_id"]
                      and n["transaction"] == result["transaction"]}
        self.assertTrue(any(stage == "extracting" for _, stage in stages), stages)

    def test_repeated_request_returns_the_same_transaction_and_searches_once(self):
        request = self.world.request(3)
        with self.server.client() as client:
            first = client.call("identify", request)
            second = client.call("identify", request)
        self.assertEqual(first["transaction"], second["transaction"])
        self.assertEqual(first["answers"], second["answers"])
        records = whorl("audit", "list", "-c", self.world.conf, "--json",
                        "--transaction", first["transaction"]).stdout.splitlines()
        self.assertEqual(sum('"identify"' in r for r in records), 1)
        self.assertEqual(sum('"disclosure"' in r for r in records), 1)

    def test_repeats_at_once_join_one_search(self):
        request = self.world.request(4)
        results = []

        def ask():
            with self.server.client() as client:
                results.append(client.call("identify", request)["transaction"])
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 4)
        self.assertEqual(len(set(results)), 1)

    def test_request_id_with_other_content_is_a_conflict(self):
        request = self.world.request(3)
        with self.server.client() as client:
            client.call("identify", request)
            with self.assertRaises(RpcError) as caught:
                client.call("identify", dict(request, reason="Another reason entirely"))
        self.assertEqual(caught.exception.code, "conflict")

    def test_outcome_is_recorded(self):
        with self.server.client() as client:
            result = client.call("identify", self.world.request(3))
            reply = client.call("record_outcome", {
                "officer": OFFICER, "transaction": result["transaction"],
                "outcome": "arrested_crime", "contacted_control": False})
        self.assertEqual(reply["transaction"], result["transaction"])
        self.assertGreater(reply["audit"][0]["position"], result["audit"][0]["position"])

    def test_every_answer_is_in_the_audit_and_nothing_biometric_is(self):
        request = self.world.request(3)
        with self.server.client() as client:
            result = client.call("identify", request)
        listed = whorl("audit", "list", "-c", self.world.conf, "--json",
                       "--transaction", result["transaction"]).stdout
        records = [json.loads(line) for line in listed.splitlines()]
        kinds = [r.get("record", r)["kind"] for r in records]
        self.assertEqual(sorted(kinds), ["identify", "lookup"])
        main = next(r.get("record", r) for r in records if r.get("record", r)["kind"] == "identify")
        self.assertEqual(main["officer"], OFFICER)
        self.assertEqual(main["basis"], "consent")
        self.assertEqual(main["reason"], request["reason"])
        asked = {a["backend"]: a["class"] for a in main["answers"]}
        self.assertEqual(asked["ident1"], "match")
        self.assertTrue(all(len(s) <= 4 and "data" not in s for s in main["samples"]))
        self.assertLess(len(listed), 8000)
        whorl("audit", "verify", "-c", self.world.conf)

    def test_the_record_holds_all_that_forces_were_asked_for(self):
        subject = {"condition": "adult", "family": "Calloway", "given": "Rory", "born": "1979-07-21",
                   "gender": "male", "age_band": "35-49", "ethnicity_officer": "1",
                   "ethnicity_self": "W1"}
        request = self.world.request(3, subject=subject)
        with self.server.client() as client:
            result = client.call("identify", request)
        listed = whorl("audit", "list", "-c", self.world.conf, "--json",
                       "--transaction", result["transaction"]).stdout
        records = [json.loads(line)["record"] for line in listed.splitlines()]
        record = next(r for r in records if r["kind"] == "identify")
        asked = {"request_id": request["request_id"], "transaction": result["transaction"],
                 "device": "phone-1", "device_force": "WMP", "officer": OFFICER, "force": "WMP",
                 "basis": "consent", "stop_power": "rta-163", "reason": request["reason"],
                 "reason_code": 1, "consent": "given", "subject": subject, "continues": None}
        self.assertEqual({key: record[key] for key in asked}, asked)
        self.assertRegex(record["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(record["policy"], r"^[0-9a-f]{64}$")
        self.assertRegex(record["rule"], r"forces\.conf:\d+$")
        self.assertGreaterEqual(record["elapsed_ms"], 0)
        self.assertEqual({a["backend"]: (a["permitted"], a["class"]) for a in record["answers"]},
                         {name: (a["class"] != "not_searched", a["class"])
                          for name, a in answers(result).items()})
        found = answers(result)["ident1"]["candidates"]
        told = next(a for a in record["answers"] if a["backend"] == "ident1")
        self.assertEqual(told["candidates"], [c["ref"] for c in found])
        lookup, = [r for r in records if r["kind"] == "lookup"]
        self.assertEqual((lookup["officer"], lookup["basis"], lookup["reason_code"]),
                         (OFFICER, "consent", 1))

    def test_the_device_command_prints_the_answer_and_says_it_by_exit_code(self):
        common = ["identify", "--connect", f"127.0.0.1:{self.server.ports['devices']}",
                  "--cert", os.path.join(self.world.tls, "phone-1.pem"), "--officer", OFFICER,
                  "--basis", "consent", "--consent", "given", "--stop-power", "rta-163",
                  "--reason", "Name doubted", "--reason-code", "1"]
        done = whorl(*common, "--finger", f"2={self.world.print_of(3, 2)}",
                     "--finger", f"7={self.world.print_of(3, 7)}")
        self.assertIn("MATCH", done.stdout)
        self.assertIn("K0410111", done.stdout)
        done = whorl(*common, "--finger", f"2={self.world.print_of(13, 2)}", "--json", code=1)
        self.assertEqual(answers(json.loads(done.stdout))["ident1"]["class"], "no_match")
        whorl(*common, "--finger", "99=x", code=2)
        whorl(*common, "--finger", "2=/nonexistent.png", code=3)


class Reload(unittest.TestCase):
    def test_immigration_switched_off_by_configuration(self):
        world = World()
        server = Server(world)
        with server.client() as client:
            before = answers(client.call("identify", world.request(10)))
            self.assertEqual(before["immigration"]["class"], "match")
            edit(os.path.join(world.conf, "immigration.conf"), (r"enabled = yes", "enabled = no"))
            server.reload()
            after = answers(client.call("identify", world.request(10)))
        self.assertEqual(after["immigration"]["class"], "not_searched")
        self.assertIn("disabled by configuration", after["immigration"]["reason"])
        self.assertEqual(after["ident1"]["class"], "no_match")
        edit(os.path.join(world.conf, "immigration.conf"), (r"enabled = no", "enabled = yes"))
        server.reload()
        with server.client() as client:
            again = answers(client.call("identify", world.request(10)))
        self.assertEqual(again["immigration"]["class"], "match")
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)

    def test_one_force_on_another_off(self):
        world = World()
        whorl("keys", "device", "-o", world.tls, "--ca", world.tls, "--name", "phone-2")
        whorl("device", "add", "phone-2", "--cert", os.path.join(world.tls, "phone-2.pem"),
              "--force", "MPS", "-c", world.conf)
        path = os.path.join(world.conf, "forces.conf")
        with open(path, encoding="utf-8") as file:
            head, wmp, rest = file.read().partition('force "WMP"')
        start, _, tail = rest.partition("backends = {")
        inside, _, tail = tail.partition("}")
        inside = ", ".join(n for n in (i.strip() for i in inside.split(",")) if n != '"immigration"')
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + wmp + start + "backends = {" + inside + "}" + tail)
        server = Server(world)
        with server.client() as client:
            found = answers(client.call("identify", world.request(10)))
            self.assertEqual(found["immigration"]["class"], "not_searched")
        with server.client(cert="phone-2") as client:
            found = answers(client.call("identify", world.request(
                10, officer="MPS0001", basis="pace-61-6a", consent=None)))
            self.assertEqual(found["immigration"]["class"], "match")
        self.assertEqual(server.stop(), 0)

    def test_a_bad_configuration_changes_nothing(self):
        world = World()
        server = Server(world)
        edit(os.path.join(world.conf, "ident1.conf"), (r"enabled = yes", "enabled = perhaps"))
        with server.client() as client:
            server.reload()
            self.assertEqual(answers(client.call("identify", world.request(3)))
                             ["ident1"]["class"], "match")
        said = json.dumps(server.log())
        self.assertIn("ident1.conf:", said)
        self.assertEqual(server.stop(), 0)

    def test_no_call_in_flight_is_lost_by_reloads(self):
        world = World()
        server = Server(world)
        done, failed = [], []

        def ask(person):
            with server.client() as client:
                for _ in range(10):
                    try:
                        found = answers(client.call("identify", world.request(person)))
                        done.append(found["ident1"]["class"])
                    except (RpcError, ConnectionError) as error:
                        failed.append(error)
        threads = [threading.Thread(target=ask, args=(p,)) for p in (1, 2, 3, 4)]
        for thread in threads:
            thread.start()
        states = (("yes", "no"), ("no", "yes"))
        for i in range(6):
            edit(os.path.join(world.conf, "immigration.conf"),
                 ("enabled = " + states[i % 2][0], "enabled = " + states[i % 2][1]))
            server.reload()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(done, ["match"] * 40)
        self.assertEqual(server.stop(), 0)
        whorl("audit", "verify", "-c", world.conf)

    def test_termination_finishes_what_is_in_flight(self):
        world = World()
        server = Server(world)
        with server.client() as client:
            message = client.start("identify", world.request(3))
            client.socket.settimeout(60)
            while not client.notifications:
                got = client.receive()
                if got[0] == 2:
                    client.notifications.append(got)
                else:
                    self.fail("answered before any progress")
            code = []
            stopper = threading.Thread(target=lambda: code.append(server.stop()))
            stopper.start()
            self.assertEqual(answers(client.finish(message))["ident1"]["class"], "match")
        stopper.join()
        self.assertEqual(code, [0])


if __name__ == "__main__":
    unittest.main()
