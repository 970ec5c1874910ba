"""PNC records in the force's PostgreSQL, asked through the real server: what is set there is shown,
what is lost is said, and sources are swapped by an edit and a reload."""
import json
import os
import re
import threading
import time

from postgres import Postgres, needs_postgresql
from whorl import BINARY, ROOT, Server, World, answers, edit, unittest, whorl

WANTED = "2007/0058193J"  # person 3, Calloway
CLAIMED = {"condition": "adult", "family": "Calloway", "given": "Dean Anthony",
           "born": "1979-07-21"}
NOBODY = {"condition": "adult", "family": "Nobody", "given": "Here", "born": "1970-01-01"}
CIRCULATION = [{"kind": "wanted", "force": "WYP", "reference": "WY/26/9", "date": "2026-11-01"}]


class Load:
    """Threads that ask all the time, until the block is left. given: answers; failed: exceptions."""

    def __init__(self, server, ask, threads=4):
        self.server, self.ask = server, ask
        self.given, self.failed, self.over = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def run(self):
        try:
            with self.server.client() as client:
                while not self.over.is_set():
                    self.given.append(self.ask(client))
        except Exception as error:
            self.failed.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)


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
        self.database.write_hba()
        self.database.sql("SELECT pg_reload_conf()")
        self.world = World()
        self.conf = os.path.join(self.world.conf, "pnc.conf")
        edit(os.path.join(self.world.conf, "core.conf"),
             (r"^( *)device_rate = .*", r"\1device_rate = 100000"),
             (r"^( *)officer_rate = .*", r"\1officer_rate = 100000"))

    def use_database(self, more=""):
        edit(self.conf, (r'source = "lmdb"', 'source = "postgresql"\n        '
                         + self.database.settings("whorl_reader") + "        " + more))

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
        done = whorl("source", "check", "pnc", "-c", self.world.conf)
        self.assertIn("TLSv1.3", done.stdout)
        self.assertIn("of 8 that were read, 0 can't be used", done.stdout)
        done = whorl("pnc", "show", "-c", self.world.conf, WANTED)
        self.assertIn('the source of "pnc" is postgresql', done.stderr)
        edit(self.conf, (r'database = "[^"]*"', 'database = "host=db.example dbname=x password=y"'))
        done = whorl("check", "-c", self.world.conf, code=1)
        self.assertIn("must hold no password", done.stderr + done.stdout)

    def test_rows_that_would_not_be_found_or_believed_are_named(self):
        self.database.sql("""
            DROP VIEW IF EXISTS whorl.odd;
            CREATE VIEW whorl.odd AS SELECT
                CASE pncid WHEN '2005/0056731P' THEN '05/56731P' ELSE pncid END AS pncid,
                CASE pncid WHEN '2006/0057462Z' THEN '120194/06j' ELSE cro END AS cro,
                CASE pncid WHEN '2007/0058193J' THEN '{}' ELSE name_keys END AS name_keys,
                details, circulations, bail, disqualified,
                CASE pncid WHEN '2008/0058924T' THEN '["secret"]' ELSE warnings END AS warnings,
                markers FROM whorl.pnc_people;
            GRANT SELECT ON whorl.odd TO whorl_reader""")
        self.use_database('records_table = "whorl.odd"')
        said = whorl("source", "check", "pnc", "-c", self.world.conf, code=1).stdout
        for line in ("05/56731P: pncid: is not in the form", "2006/0057462Z: cro: is not in the form",
                     "2007/0058193J: name_keys: is not in the form"):
            self.assertIn(line, said)
        self.assertNotIn("secret", said)

    def test_the_view_of_the_guide_works(self):
        """Records in tables of another form, by the view that the guide shows."""
        with open(os.path.join(ROOT, "docs", "data-sources.md"), encoding="utf-8") as file:
            guide = file.read()
        view = guide[guide.index("    CREATE VIEW rms."):guide.index("Give it indexes")]
        self.database.script("""
            DROP SCHEMA IF EXISTS rms CASCADE; CREATE SCHEMA rms;
            CREATE TABLE rms.nominal (id int, pncid text, cro_ref text, surname text,
                                      forenames text, dob date);
            CREATE TABLE rms.circulation (nominal int, kind text, force text, ref text, issued date);
            INSERT INTO rms.nominal VALUES (1, '2007/0058193J', NULL, 'Calloway', 'Dean Anthony',
                                            '1979-07-21');
            INSERT INTO rms.circulation VALUES (1, 'wanted', 'WYP', 'WY/26/3', '2026-01-01');""" + view)
        self.use_database('records_table = "rms.whorl_pnc"')
        whorl("source", "check", "pnc", "-c", self.world.conf)
        server = Server(self.world)
        with server.client() as client:
            self.assertIn("WY/26/3", texts(self.ask(client, person=3)))
            self.assertIn("WY/26/3", texts(self.ask(client)))
        self.assertEqual(server.stop(), 0)

    def test_it_keeps_the_abi_with_a_database_and_without(self):
        # The kit's processes have a user of their own, who can't read a file of the password.
        self.database.write_hba("hostssl all whorl_reader 127.0.0.1/32 trust")
        self.database.sql("SELECT pg_reload_conf()")
        conf = self.world.path("x.conf")
        module = os.path.join(os.path.dirname(BINARY), "plugins", "whorl-pnc.so")
        for port in (self.database.port, 1):
            settings = re.sub("password_file.*|port=[0-9]+", "", self.database.settings("whorl_reader"))
            settings = settings.replace("dbname", f"port={port} dbname")
            with open(conf, "w", encoding="utf-8") as file:
                file.write(f'plugin "pnc" {{ settings {{ source = "postgresql"\n{settings} }} }}\n')
            said = whorl("plugin", "test", module, "--conf", conf).stdout
            self.assertIn(", 0 broken", said)

    def test_a_certificate_instead_of_a_password_and_a_second_host(self):
        certificate, key = self.database.client_certificate("whorl_reader")
        self.database.write_hba("hostssl all whorl_reader 127.0.0.1/32 cert")
        self.database.sql("SELECT pg_reload_conf()")
        self.use_database()
        edit(self.conf, (r"password_file = .*", ""),
             (r"host=localhost port=", "host=localhost,localhost port=1,"))
        done = whorl("source", "check", "pnc", "-c", self.world.conf, code=3)
        self.assertIn("name one in database_certificate", done.stderr)
        edit(self.conf, (r"^( *)database_ca = .*", rf'\g<0>\n\1database_certificate = "{certificate}"'
                         rf'\n\1database_key = "{key}"'))
        whorl("source", "check", "pnc", "-c", self.world.conf)
        os.chmod(key, 0o644)
        done = whorl("source", "check", "pnc", "-c", self.world.conf, code=3)
        self.assertIn("database_key", done.stderr)
        self.assertIn("chmod 600", done.stderr)

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
        self.use_database('cache = {"circulations=0"}\n        stale_limit = 8')
        server = Server(self.world)
        with server.client() as client:
            self.ask_until(client, lambda answer: answer["class"] == "possible")
            with Load(server, self.ask) as load:
                for _ in range(3):
                    time.sleep(0.5)
                    self.database.end_connections("whorl pnc")
                time.sleep(0.5)
                self.database.kill()
                try:
                    # From the cache with its age, then not at all.
                    aged = self.ask_until(client, lambda answer: answer.get("age", 0) >= 1)
                    self.assertEqual(aged["class"], "possible")
                    self.assertEqual(self.ask(client, NOBODY)["class"], "unavailable")
                    gone = self.ask_until(client, lambda answer: answer["class"] == "unavailable")
                    self.assertIn("database", gone["reason"])
                finally:
                    self.database.start()
                self.ask_until(client, lambda answer: answer["class"] == "possible")
                self.assertEqual(self.ask(client, NOBODY)["class"], "no_match")
        self.assertEqual(load.failed, [])
        self.assertEqual({answer["class"] for answer in load.given}, {"possible", "unavailable"})
        for answer in load.given:
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
        changes = (self.use_database, self.use_lmdb,
                   lambda: edit(self.conf, (r'source = "lmdb"', 'source = "postgresql"')),
                   self.use_lmdb)
        with Load(server, self.ask) as load:
            for number, change in enumerate(changes):
                change()
                self.assertEqual(server.reload()["text"], "reloaded", number)
                with server.client() as client:
                    self.ask_until(client, lambda answer: answer["class"] == "possible" and
                                   ("from the database" in texts(answer)) == (number % 2 == 0))
                time.sleep(0.5)
        self.assertEqual(load.failed, [])
        self.assertEqual({answer["class"] for answer in load.given}, {"possible"})
        theirs = sum("from the database" in texts(answer) for answer in load.given)
        self.assertGreater(theirs, 0)
        self.assertGreater(len(load.given), theirs)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
