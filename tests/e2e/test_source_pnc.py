"""PNC records in the force's PostgreSQL, asked through the real server: what is set there is shown,
what is lost is said, and sources are swapped by an edit and a reload."""
import json
import os
import threading
import time

from postgres import Postgres, needs_postgresql
from whorl import ROOT, Server, World, answers, edit, unittest, whorl

WANTED = "2007/0058193J"  # person 3, Calloway
CLAIMED = {"condition": "adult", "family": "Calloway", "given": "Dean Anthony",
           "born": "1979-07-21"}
NOBODY = {"condition": "adult", "family": "Nobody", "given": "Here", "born": "1970-01-01"}
CIRCULATION = [{"kind": "wanted", "force": "WYP", "reference": "WY/26/9", "date": "2026-11-01"}]


def texts(answer):
    return json.dumps(answer.get("candidates"))


@needs_postgresql
class PncSource(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.database = Postgres()
        whorl("source", "init", f"host={cls.database.run} port={cls.database.port} dbname=whorl "
              "user=owner")
        cls.database.sql("ALTER ROLE whorl_reader PASSWORD 'not-a-secret'")
        done = whorl("pnc", "sql", os.path.join(ROOT, "packaging", "demo", "pnc.jsonl"))
        cls.database.script(done.stdout)

    def setUp(self):
        self.world = World()
        self.conf = os.path.join(self.world.conf, "pnc.conf")
        edit(os.path.join(self.world.conf, "core.conf"),
             (r"^( *)device_rate = .*", r"\1device_rate = 100000"),
             (r"^( *)officer_rate = .*", r"\1officer_rate = 100000"))

    def use_database(self, more=""):
        edit(self.conf, (r"    settings \{\n", '    settings {\n        source = "postgresql"\n        '
                         + self.database.settings("whorl_reader") + "        " + more + "\n"))

    def use_lmdb(self):
        edit(self.conf, (r'source = "postgresql"', 'source = "lmdb"'))

    def ask(self, client, subject=CLAIMED, person=None):
        return answers(client.call("identify", self.world.request(
            person, checks=["pnc"] if person is None else ["ident1", "pnc"], subject=subject)))["pnc"]

    def ask_until(self, client, wanted, **more):
        deadline = time.monotonic() + 60
        while True:
            answer = self.ask(client, **more)
            if wanted(answer):
                return answer
            self.assertLess(time.monotonic(), deadline, answer)
            time.sleep(0.05)

    def test_the_commands_judge_settings_and_database(self):
        self.use_database()
        whorl("check", "-c", self.world.conf)
        edit(self.conf, (r'database = "[^"]*"', 'database = "host=db.example dbname=x password=y"'))
        done = whorl("check", "-c", self.world.conf, code=1)
        self.assertIn("must hold no password", done.stderr + done.stdout)

    def test_a_marker_that_is_set_there_is_shown_after_its_classes_lifetime(self):
        self.use_database('cache = {"circulations=1", "details=9999"}')
        server = Server(self.world)
        with server.client() as client:
            found = self.ask_until(client, lambda answer: answer["class"] == "match", person=3)
            self.assertEqual(found["candidates"][0]["ref"], WANTED)
            self.assertIn("STAFFS", texts(found))
            self.assertGreaterEqual(found["age"], 0)
            self.database.sql(f"UPDATE whorl.pnc_people SET circulations = "
                              f"'{json.dumps(CIRCULATION)}' WHERE pncid = '{WANTED}'")
            self.ask_until(client, lambda answer: "WY/26/9" in texts(answer), person=3)
            self.assertEqual(self.ask(client, NOBODY)["class"], "no_match")
        self.assertEqual(server.stop(), 0)

    def test_killed_in_the_middle_of_everything(self):
        """kill -9 of the postmaster, and connections ended, while calls go on: each is answered,
        none is no_match, and it comes back by itself."""
        self.use_database('cache = {"circulations=0"}\n        stale_limit = 2')
        server = Server(self.world)
        given, stop = [], threading.Event()

        def load():
            with server.client() as client:
                while not stop.is_set():
                    given.append(self.ask(client))

        with server.client() as client:
            self.ask_until(client, lambda answer: answer["class"] == "possible")
            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(3):
                time.sleep(0.5)
                self.database.end_connections("whorl pnc")
            time.sleep(0.5)
            self.database.kill()
            # From the cache with its age, then not at all.
            aged = self.ask_until(client, lambda answer: answer.get("age", 0) >= 1)
            self.assertEqual(aged["class"], "possible")
            self.assertEqual(self.ask(client, NOBODY)["class"], "unavailable")
            gone = self.ask_until(client, lambda answer: answer["class"] == "unavailable")
            self.assertIn("database", gone["reason"])
            self.database.start()
            self.ask_until(client, lambda answer: answer["class"] == "possible")
            self.assertEqual(self.ask(client, NOBODY)["class"], "no_match")
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual({answer["class"] for answer in given}, {"possible", "unavailable"})
        for answer in given:
            if answer["class"] == "possible":
                self.assertEqual([c["ref"] for c in answer["candidates"]], [WANTED])
        self.assertEqual(server.stop(), 0)

    def test_a_server_that_falls_silent_is_left(self):
        self.use_database('cache = {"circulations=0"}')
        server = Server(self.world)
        with server.client() as client:
            self.ask_until(client, lambda answer: answer["class"] == "possible")
            frozen = self.database.freeze()
            try:
                answer = self.ask(client)
                self.assertEqual(answer["class"], "possible")
            finally:
                self.database.thaw(frozen)
        server.wait_for_log(lambda line: "has fallen silent" in line.get("text", ""))
        self.assertEqual(server.stop(), 0)

    def test_the_cache_outlives_the_server(self):
        self.use_database('cache = {"circulations=0"}')
        server = Server(self.world)
        with server.client() as client:
            self.ask_until(client, lambda answer: answer["class"] == "possible")
        self.assertEqual(server.stop(), 0)
        edit(self.conf, (r"port=\d+", "port=1"))
        server = Server(self.world)
        with server.client() as client:
            self.assertEqual(self.ask(client)["class"], "possible")
            self.assertEqual(self.ask(client, NOBODY)["class"], "unavailable")
        self.assertEqual(server.stop(), 0)

    def test_a_source_is_swapped_under_load_and_no_call_is_lost(self):
        # Records here and there differ by this.
        self.database.sql("UPDATE whorl.pnc_people SET markers = '[\"from the database\"]'")
        server = Server(self.world)
        given, stop, failed = [], threading.Event(), []

        def load():
            try:
                with server.client() as client:
                    while not stop.is_set():
                        given.append(self.ask(client))
            except Exception as error:  # said below, in the thread of the test
                failed.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        self.use_database()
        for name, change in (("postgresql", None), ("lmdb", self.use_lmdb),
                             ("postgresql", lambda: edit(self.conf, (r'source = "lmdb"',
                                                                     'source = "postgresql"'))),
                             ("lmdb", self.use_lmdb)):
            if change:
                change()
            self.assertEqual(server.reload()["text"], "reloaded", name)
            with server.client() as client:
                theirs = name == "postgresql"
                self.ask_until(client, lambda answer: answer["class"] == "possible" and
                               ("from the database" in texts(answer)) == theirs)
            time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual({answer["class"] for answer in given}, {"possible"})
        self.assertGreater(sum("from the database" in texts(answer) for answer in given), 0)
        self.assertGreater(sum("from the database" not in texts(answer) for answer in given), 0)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
