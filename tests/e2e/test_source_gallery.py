#!/usr/bin/python3
"""Galleries that are copies of a PostgreSQL database: a real one, changed, killed, cut off and
tampered with while a real server follows it. No test asserts a time; deadlines only bound hangs."""
import json
import os
import re
import shutil
import subprocess
import threading
import time

from postgres import Postgres, needs_postgresql
from whorl import (BINARY, PATIENCE, Server, World, answers, edit, is_closed, unittest, whorl)

PG = None
COPYING = re.compile(r"^(copying|comparing with) \d+ people of the database")


def setUpModule():
    global PG
    if os.path.isdir("/usr/lib/postgresql"):
        PG = Postgres()


def tearDownModule():
    if PG:
        PG.kill()


class Session:
    """A psql that stays open: a transaction of which the test decides when it ends."""

    def __init__(self, database):
        self.process = subprocess.Popen(
            [PG.program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", PG.run, "-p",
             str(PG.port), "-U", "owner", "-d", database], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        """Runs it and waits until it has been done."""
        self.process.stdin.write(sql + ";\n\\echo done\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        while line and line != "done\n":
            line = self.process.stdout.readline()
        assert line, f"psql ended at {sql}"

    def close(self):
        self.process.communicate(timeout=PATIENCE)


@needs_postgresql
class SourceTest(unittest.TestCase):
    """A world whose ident1 may follow a database of its own: people 1 to 8 of ident1's own gallery,
    and 9 to 12 whom only immigration's has (8 is in both)."""

    number = 0

    def setUp(self):
        SourceTest.number += 1
        self.database = f"t{self.number}"
        self.world = World()
        self.server = None
        PG.sql(f"CREATE DATABASE {self.database}", database="postgres")
        self.owner = f"host={PG.run} port={PG.port} dbname={self.database} user=owner"
        self.conf = os.path.join(self.world.conf, "ident1.conf")

    def tearDown(self):
        if self.server:
            self.server.end()

    def sql(self, text, **kwargs):
        return PG.sql(text, database=self.database, **kwargs)

    def make_schema(self):
        whorl("source", "init", self.owner)
        self.sql("ALTER ROLE whorl_reader PASSWORD 'not-a-secret'")

    def fill(self, *galleries):
        self.make_schema()
        for gallery in galleries:
            whorl("source", "fill", gallery, self.owner, "-c", self.world.conf)

    def configure(self, source="postgresql", role="whorl_reader", more=""):
        """Writes the settings for the first time."""
        edit(self.conf, (r"^    settings \{", f"""    settings {{
        source = {source}
        database = "host=localhost port={PG.port} dbname={self.database} user={role}"
        password_file = "{PG.reader_password}"
        database_ca = "{PG.ca}"
        {more}"""))

    def switch(self, source):
        edit(self.conf, (r"^        source = .*", f"        source = {source}"))

    def serve(self):
        self.server = Server(self.world)
        return self.server

    def ask(self, person):
        with self.server.client() as client:
            result = client.call("identify", self.world.request(person, checks=["ident1"]))
        return answers(result)["ident1"]

    def wait_for(self, wanted, person, what="the answer"):
        """Asks until the answer is as wanted."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self.ask(person)
            if wanted(answer):
                return answer
            time.sleep(0.05)
        raise AssertionError(f"{what} never came: {answer}\n{self.server.log()[-20:]}")

    def wait_for_class(self, name, person):
        return self.wait_for(lambda answer: answer["class"] == name, person, name)

    def resync(self, code=0):
        done = whorl("source", "resync", "ident1", "-c", self.world.conf, code=code)
        found = re.search(r"(\d+) people compared: (\d+) put, (\d+) removed, (\d+) unreadable",
                          done.stdout)
        return tuple(int(n) for n in found.groups())

    def status(self):
        return whorl("source", "status", "ident1", "-c", self.world.conf, code=None).stdout

    def texts(self):
        return [line.get("text", "") for line in self.server.log()]


class Switching(SourceTest):
    def test_a_reload_changes_the_source_and_no_call_is_lost(self):
        self.fill("ident1", "immigration")
        self.configure(source="lmdb")
        self.assertEqual(self.resync(), (13, 13, 0, 0))
        self.serve()
        found, stop = [], threading.Event()

        def call():
            with self.server.client() as client:
                while not stop.is_set():
                    result = client.call("identify", self.world.request(1, checks=["ident1"]))
                    found.append(answers(result)["ident1"])

        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            self.assertEqual(self.ask(10)["class"], "no_match")
            self.assertNotIn("age", self.ask(10))
            for source, wanted in (("postgresql", "match"), ("lmdb", "no_match"),
                                   ("postgresql", "match"), ("lmdb", "no_match")):
                self.switch(source)
                before = len(found)
                self.assertEqual(self.server.reload()["text"], "reloaded")
                answer = self.ask(10)
                self.assertEqual(answer["class"], wanted, answer)
                self.assertEqual("age" in answer, source == "postgresql")
                while len(found) < before + 6:
                    time.sleep(0.01)
        finally:
            stop.set()
            for caller in callers:
                caller.join(PATIENCE)
        self.assertEqual({answer["class"] for answer in found}, {"match"})
        self.assertEqual({"age" in answer for answer in found}, {True, False})
        self.assertEqual(self.ask(2)["searched"], {"people": 8, "of": 8})

    def test_a_process_of_its_own_follows_a_database_too(self):
        self.fill("ident1")
        self.configure()
        os.chmod(os.path.dirname(self.world.dir), 0o755)
        password = self.world.path("database.password")
        shutil.copy(PG.reader_password, password)
        os.chmod(password, 0o600)
        user = ""
        if os.geteuid() == 0 and not is_closed():
            shutil.chown(password, "nobody")
            user = "\n    user = nobody"
        edit(self.conf,
             (r"^    module = .*", rf"\g<0>\n    isolation = process\n    network = yes{user}"),
             (r"password_file = .*", f'password_file = "{password}"'))
        self.serve()
        self.wait_for_class("match", 1)
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        self.wait_for_class("no_match", 1)

    def test_who_is_put_into_a_database_is_recorded_or_nobody_is(self):
        self.make_schema()
        key = self.world.path("var", "audit", "checkpoint.key")
        os.rename(key, key + ".away")
        try:
            whorl("source", "fill", "ident1", self.owner, "-c", self.world.conf, code=3)
        finally:
            if os.path.exists(key):
                os.remove(key)
            os.rename(key + ".away", key)
        self.assertEqual(self.sql("SELECT count(*) FROM whorl.people").split(), ["0"])
        whorl("source", "fill", "ident1", self.owner, "-c", self.world.conf)
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        records = [json.loads(line)["record"] for line in listed.splitlines()]
        told = [(r["kind"], r["event"], r["store"], r["source"], r["count"]) for r in records[-2:]]
        self.assertEqual(told, [("collection", "filling", "ident1", "made up", 8),
                                ("collection", "filled", "ident1", None, 8)])
        ids = self.sql("SELECT id FROM whorl.people ORDER BY id").split()
        self.assertEqual(sorted(records[-2]["ids"]), ids)

    def test_until_the_first_copy_is_whole_nothing_is_searched(self):
        self.fill("ident1")
        self.configure()
        PG.stop()
        try:
            self.serve()
            answer = self.ask(1)
            self.assertEqual(answer["class"], "unavailable")
            self.assertIn("not complete yet", answer["reason"])
            self.assertIn("can't be reached", answer["reason"])
        finally:
            PG.start()
        answer = self.wait_for_class("match", 1)
        self.assertEqual(answer["candidates"][0]["ref"], "K0410037")
        self.assertEqual(answer["candidates"][0]["identifiers"], {"pncid": "2005/0056731P"})
        self.assertEqual(answer["candidates"][0]["names"],
                         [{"family": "Ashdown", "given": "Marcus Peter"}])
        self.assertEqual(answer["searched"], {"people": 8, "of": 8})
        self.assertEqual(self.ask(13)["class"], "no_match")

    def test_people_are_changed_in_the_database_alone(self):
        self.fill("ident1")
        self.configure()
        self.assertIn("`whorl source resync ident1` makes it",
                      whorl("source", "status", "ident1", "-c", self.world.conf, code=3).stderr)
        self.resync()
        done = whorl("enrol", "-c", self.world.conf, "--gallery", "ident1",
                     self.world.path("prints", "ident1.csv"), code=3)
        self.assertIn("come from a database", done.stderr)
        listed = whorl("gallery", "list", "-c", self.world.conf, "--gallery", "ident1").stdout
        self.assertEqual(len(listed.splitlines()), 8)
        whorl("gallery", "check", "-c", self.world.conf, "--gallery", "ident1")


class Changes(SourceTest):
    def setUp(self):
        super().setUp()
        self.fill("ident1", "immigration")
        self.configure()
        self.resync()
        self.serve()
        self.wait_for_class("match", 1)

    def test_changes_are_searched_without_a_word_from_the_operator(self):
        self.sql("""UPDATE whorl.people SET names = '[{"family": "Renamed", "given": "By force"}]'
                    WHERE id = 'K0410037'""")
        self.wait_for(lambda a: a["candidates"][0]["names"][0]["family"] == "Renamed", 1)
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        answer = self.wait_for_class("no_match", 1)
        self.assertEqual(answer["searched"], {"people": 12, "of": 12})
        self.sql("""INSERT INTO whorl.people (id) VALUES ('back');
                    INSERT INTO whorl.prints SELECT 'back', position, impression, format, template
                    FROM whorl.prints WHERE person = 'K0410074'""")
        self.wait_for_class("possible", 2)
        self.sql("DELETE FROM whorl.prints WHERE person = 'K0410074'")
        answer = self.wait_for_class("match", 2)
        self.assertEqual(answer["candidates"][0]["ref"], "back")
        self.sql("UPDATE whorl.people SET id = 'renamed' WHERE id = 'back'")
        self.wait_for(lambda a: a["class"] == "match" and a["candidates"][0]["ref"] == "renamed", 2)
        self.sql("TRUNCATE whorl.people CASCADE")
        answer = self.wait_for_class("unavailable", 3)
        self.assertIn("empty", answer["reason"])

    def test_changes_come_without_notifications_too(self):
        self.sql("DROP TRIGGER people_notify ON whorl.people")
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        self.wait_for_class("no_match", 1)

    def test_transactions_that_end_out_of_order_are_not_missed(self):
        first, second = Session(self.database), Session(self.database)
        first.run("BEGIN; DELETE FROM whorl.people WHERE id = 'K0410037'")
        second.run("BEGIN; DELETE FROM whorl.people WHERE id = 'K0410074'; COMMIT")
        self.wait_for_class("no_match", 2)
        self.assertEqual(self.ask(1)["class"], "match")
        second.run("BEGIN; DELETE FROM whorl.people WHERE id = 'K0410111'; COMMIT")
        self.wait_for_class("no_match", 3)
        first.run("COMMIT")
        self.wait_for_class("no_match", 1)
        first.close()
        second.close()
        self.assertEqual(self.resync(), (10, 0, 0, 0))

    def test_a_server_that_was_killed_goes_on_where_it_stopped(self):
        self.server.process.kill()
        self.server.process.wait(PATIENCE)
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        self.serve()
        self.wait_for_class("no_match", 1)
        self.assertEqual(self.ask(2)["class"], "match")
        self.assertFalse([text for text in self.texts() if COPYING.match(text)])

    def test_cut_connections_lose_no_change(self):
        stop, cut = threading.Event(), []

        def sever():
            while not stop.is_set():
                cut.append(PG.end_connections("whorl people"))
                time.sleep(0.05)

        severer = threading.Thread(target=sever)
        severer.start()
        try:
            for i in range(60):
                self.sql(f"""INSERT INTO whorl.people (id) VALUES ('n{i}');
                             INSERT INTO whorl.prints
                             SELECT 'n{i}', position, impression, format, template FROM whorl.prints
                             WHERE person = 'K0410074';
                             DELETE FROM whorl.people WHERE id = 'n{i - 30}'""")
        finally:
            stop.set()
            severer.join(PATIENCE)
        self.assertGreater(sum(cut), 0)
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        self.wait_for_class("no_match", 1)
        self.assertEqual(self.resync(), (12 + 30, 0, 0, 0))

    def test_a_killed_database_loses_no_change(self):
        for i in range(3):
            self.sql(f"INSERT INTO whorl.people (id, names) VALUES ('k{i}', '[]');"
                     f"UPDATE whorl.people SET sex = 'male' WHERE id = 'K041011{i}'")
            PG.kill()
            answer = self.ask(2)
            self.assertEqual(answer["class"], "match")
            self.assertGreaterEqual(answer["age"], 0)
            PG.start()
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410074'")
        self.wait_for_class("no_match", 2)
        self.assertEqual(self.resync()[1:], (0, 0, 0))

    def test_thousands_of_changes_at_once_are_all_taken_over(self):
        self.sql("""INSERT INTO whorl.people (id) SELECT 'm' || i FROM generate_series(1, 5000) i;
                    INSERT INTO whorl.prints (person, position, format, template)
                    SELECT 'm' || i, 2, format, template FROM generate_series(1, 5000) i,
                    whorl.prints WHERE person = 'K0410074' AND position = 2""")
        self.wait_for(lambda a: a["searched"]["people"] == 5013, 1)
        self.sql("DELETE FROM whorl.people WHERE id LIKE 'm%'")
        self.wait_for(lambda a: a["searched"]["people"] == 13, 1)
        self.assertFalse([text for text in self.texts() if COPYING.match(text)])
        self.assertEqual(self.resync(), (13, 0, 0, 0))


class Trouble(SourceTest):
    def test_past_the_stale_limit_nothing_is_searched(self):
        self.fill("ident1")
        self.configure(more="stale_limit = 2")
        self.resync()
        self.serve()
        self.assertLessEqual(self.wait_for_class("match", 1)["age"], 2)
        PG.stop()
        try:
            answer = self.wait_for_class("unavailable", 1)
            self.assertRegex(answer["reason"], r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
            self.assertIn("can't be reached", answer["reason"])
            self.server.kill()
            self.serve()  # its copy is there, but nobody knows what it is worth
            self.assertEqual(self.ask(1)["class"], "unavailable")
        finally:
            PG.start()
        self.wait_for_class("match", 1)

    def test_a_server_that_starts_without_its_database_searches_the_copy(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        PG.stop()
        try:
            self.serve()
            answer = self.ask(1)
            self.assertEqual(answer["class"], "match")
            self.assertGreaterEqual(answer["age"], 0)
        finally:
            PG.start()
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        record = [json.loads(line)["record"] for line in listed.splitlines()][-1]
        recorded = {told["backend"]: told["age"] for told in record["answers"]}
        self.assertEqual(recorded, {"ident1": answer["age"], "immigration": None, "pnc": None})

    def test_another_database_makes_another_copy(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        other = self.database + "b"
        PG.sql(f"CREATE DATABASE {other}", database="postgres")
        self.owner = self.owner.replace(self.database, other)
        self.fill("immigration")
        edit(self.conf, (f"dbname={self.database} ", f"dbname={other} "))
        PG.stop()
        try:
            self.serve()
            self.assertIn("not complete yet", self.ask(1)["reason"])
        finally:
            PG.start()
        self.wait_for_class("match", 10)
        self.assertEqual(self.ask(1)["class"], "no_match")

    def test_a_reload_changes_the_database(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        self.serve()
        self.wait_for_class("match", 1)
        other = self.database + "b"
        PG.sql(f"CREATE DATABASE {other}", database="postgres")
        self.owner = self.owner.replace(self.database, other)
        self.fill("immigration")
        edit(self.conf, (f"dbname={self.database} ", f"dbname={other} "))
        with self.server.client() as client:
            # A call that is still on its way when the old instance should stop.
            held = client.start("identify", self.world.request(1, checks=["ident1"]))
            self.assertEqual(self.server.reload()["text"], "reloaded")
            self.assertIn(answers(client.finish(held))["ident1"]["class"],
                          ("match", "unavailable"))
        answer = self.wait_for_class("match", 10)
        self.assertEqual(answer["searched"], {"people": 5, "of": 5})
        self.sql("DELETE FROM whorl.people")  # in the old one, which is nobody's business any more
        self.assertEqual(self.resync(), (5, 0, 0, 0))
        self.assertEqual(self.ask(10)["class"], "match")

    def tampered(self):
        """Changes the copy as only somebody with its files could."""
        other = self.world.path("tamper")
        shutil.copytree(self.world.conf, os.path.join(other, "conf.d"))
        os.mkdir(os.path.join(other, "var"))
        os.symlink(self.world.path("var", "ident1", "postgresql"),
                   os.path.join(other, "var", "ident1"))
        conf = os.path.join(other, "conf.d")
        edit(os.path.join(conf, "ident1.conf"), (r"source = postgresql", "source = lmdb"))
        try:
            whorl("gallery", "withdraw", "-c", conf, "--gallery", "ident1", "K0410037")
        finally:
            shutil.rmtree(other)

    def test_comparing_repairs_what_was_tampered_with(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        self.tampered()
        self.assertEqual(self.resync(), (8, 1, 0, 0))
        self.assertEqual(self.resync(), (8, 0, 0, 0))

    def test_who_is_deleted_is_overwritten_by_comparing(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        path = self.world.path("var", "ident1", "postgresql", "data.mdb")
        with open(path, "rb") as file:
            self.assertIn(b"Marcus Peter", file.read())
        self.sql("DELETE FROM whorl.people WHERE id = 'K0410037'")
        self.assertEqual(self.resync()[0], 7)
        with open(path, "rb") as file:
            self.assertNotIn(b"Marcus Peter", file.read())

    def test_a_server_notices_that_its_copy_was_changed(self):
        self.fill("ident1")
        self.configure()
        self.resync()
        self.serve()
        self.wait_for_class("match", 1)
        self.tampered()
        self.server.wait_for_log(lambda line: "people of the database are in the copy: 1 put"
                                 in line.get("text", ""))
        self.wait_for_class("match", 1)

    def test_a_schema_that_could_not_be_made_is_not_said_to_be_there(self):
        self.sql("CREATE ROLE plain LOGIN PASSWORD 'not-a-secret'")
        self.sql(f"GRANT CREATE ON DATABASE {self.database} TO plain")
        plain = ("--ca", PG.ca, "--password-file", PG.reader_password,
                 f"host=localhost port={PG.port} dbname={self.database} user=plain")
        # It may make a schema and no role: then there is neither.
        done = whorl("source", "init", *plain, code=3)
        self.assertIn("cannot make the role whorl_reader", done.stderr)
        self.assertEqual(done.stdout, "")
        self.sql(f"REVOKE CREATE ON DATABASE {self.database} FROM plain")
        self.assertIn("cannot make a schema", whorl("source", "init", *plain, code=3).stderr)
        self.assertIn("3 of 3", whorl("source", "init", self.owner).stdout)

    def test_a_role_that_may_write_is_refused(self):
        self.fill("ident1")
        self.configure()
        self.sql("GRANT INSERT ON whorl.prints TO whorl_reader")
        done = whorl("source", "check", "ident1", "-c", self.world.conf, code=3)
        self.assertIn("may write", done.stderr)
        self.serve()
        self.server.wait_for_log(lambda line: "may write" in line.get("text", ""))
        self.assertEqual(self.ask(1)["class"], "unavailable")
        self.sql("REVOKE INSERT ON whorl.prints FROM whorl_reader")
        self.wait_for_class("match", 1)
        done = whorl("source", "check", "ident1", "-c", self.world.conf)
        self.assertIn("TLSv1.3", done.stdout)
        self.assertIn("8 can be read, 0 can't", done.stdout)

    def test_it_keeps_the_rules_for_plugins(self):
        self.fill("ident1")
        with open(os.path.join(PG.data, "pg_hba.conf"), "a", encoding="ascii") as file:
            file.write("local all whorl_reader trust\n")
        self.sql("SELECT pg_reload_conf()")
        edit(self.conf, (r"^    settings \{", f"""    settings {{
        source = "postgresql"
        database = "host={PG.run} port={PG.port} dbname={self.database} user=whorl_reader\""""))
        for trial in ("start-stop", "reload", "shortage", "leaks"):
            done = whorl("plugin", "test", os.path.join(os.path.dirname(BINARY), "plugins",
                                                        "whorl-ident1.so"),
                         "--conf", self.conf, "--only", trial)
            self.assertIn(f"ok      {trial}", done.stdout)

    def test_mistakes_in_the_settings_are_named(self):
        self.fill("ident1")
        for more, setting in (('people_table = "people"', "people_table"),
                              ('people_table = "a.b; DROP"', "people_table"),
                              ('columns = {"id=id"}', "columns"),
                              ('columns = {"sex=a b"}', "columns"),
                              ('channel = "x; y"', "channel"),
                              ('removed_table = ""', "removed_table")):
            self.configure(more=more)
            done = whorl("check", "-c", self.world.conf, code=None)
            self.assertNotEqual(done.returncode, 0, more)
            self.assertIn(setting, done.stderr)
            shutil.copy(os.path.join(World().conf, "ident1.conf"), self.conf)


class Loading(SourceTest):
    """A first copy that takes its time, because the database does."""

    PEOPLE = 12000

    def setUp(self):
        super().setUp()
        self.fill("immigration")
        self.sql(f"""INSERT INTO whorl.people (id) SELECT 'p' || i FROM
                     generate_series(1, {self.PEOPLE - 5}) i;
                     INSERT INTO whorl.prints (person, position, format, template)
                     SELECT 'p' || i, 2, format, template FROM
                     generate_series(1, {self.PEOPLE - 5}) i, whorl.prints
                     WHERE person = 'HO-071340' AND position = 2;
                     CREATE FUNCTION whorl.nap(text) RETURNS text LANGUAGE plpgsql STABLE AS
                     'BEGIN IF random() < 0.2 THEN PERFORM pg_sleep(0.001); END IF; RETURN $1; END';
                     CREATE VIEW whorl.slow AS SELECT id, identifiers, names, born, sex, details,
                     whorl.nap(source) AS source, enrolled, expires, version FROM whorl.people;
                     GRANT SELECT ON whorl.slow TO whorl_reader""")
        self.configure(more='people_table = "whorl.slow"')

    def wait_until_it_copies(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"copying +(\d+) of (\d+) people", self.status())
            if found and int(found.group(1)) > 0:
                self.assertLess(int(found.group(1)), self.PEOPLE)
                return int(found.group(1))
            time.sleep(0.02)
        raise AssertionError(f"it never copied:\n{self.status()}\n{self.texts()}")

    def wait_until_whole(self):
        line = self.server.wait_for_log(lambda line: "are in the copy" in line.get("text", ""))
        self.assertEqual(line["text"], f"all {self.PEOPLE} people of the database are in the copy: "
                         f"{self.PEOPLE} put, 0 removed, 0 unreadable")

    def begun(self):
        return sum(bool(COPYING.match(text)) for text in self.texts())

    def test_a_database_killed_in_the_middle_is_not_read_again(self):
        self.serve()
        self.wait_until_it_copies()
        answer = self.ask(10)
        self.assertEqual(answer["class"], "unavailable")
        self.assertRegex(answer["reason"], rf"\d+ of {self.PEOPLE} people")
        PG.kill()
        PG.start()
        self.wait_until_whole()
        self.assertEqual(self.begun(), 1)

    def test_cut_connections_in_the_middle_do_no_harm(self):
        self.serve()
        for _ in range(3):
            self.wait_until_it_copies()
            PG.end_connections("whorl people")
        self.wait_until_whole()
        self.assertEqual(self.begun(), 1)

    def test_a_server_killed_in_the_middle_goes_on_where_it_stopped(self):
        self.serve()
        before = self.wait_until_it_copies()
        self.server.kill()
        self.serve()
        self.assertGreaterEqual(self.wait_until_it_copies(), before)
        self.wait_until_whole()
        self.assertEqual(self.begun(), 0)

    def test_what_changes_in_the_middle_is_in_the_copy(self):
        self.serve()
        self.wait_until_it_copies()
        self.sql("""DELETE FROM whorl.people WHERE id IN ('p1', 'HO-071340', 'p9999');
                    UPDATE whorl.people SET sex = 'other' WHERE id IN ('p10', 'p9998')""")
        self.server.wait_for_log(lambda line: "are in the copy" in line.get("text", ""))
        self.wait_for(lambda a: a.get("searched", {}).get("people") == self.PEOPLE - 3, 10)
        self.assertEqual(self.resync(), (self.PEOPLE - 3, 0, 0, 0))


class Foreign(SourceTest):
    """Tables that are not ours: times for versions, names in columns, ISO records."""

    MORE = """people_table = "nominals.person"
        prints_table = "nominals.fingerprint"
        removed_table = ""
        channel = ""
        longest_transaction = 5
        columns = {"id=Nominal", "changed=last_changed", "deleted=withdrawn_on",
            "family=surname", "given=forenames", "born=dob", "sex=sex",
            "identifier.pncid=pnc_no", "prints.person=nominal", "prints.position=finger",
            "prints.template=fmr"}
        """

    def setUp(self):
        super().setUp()
        PG.sql("DO $$ BEGIN CREATE ROLE foreign_reader LOGIN PASSWORD 'not-a-secret'; "
               "EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        self.sql("""
            CREATE SCHEMA nominals;
            CREATE TABLE nominals.person ("Nominal" bigint PRIMARY KEY, surname varchar(80),
                forenames varchar(80), dob date, sex text, pnc_no text,
                last_changed timestamptz NOT NULL DEFAULT now(), withdrawn_on timestamptz);
            CREATE TABLE nominals.fingerprint (nominal bigint, finger int, fmr bytea);
            CREATE INDEX ON nominals.fingerprint (nominal);
            GRANT USAGE ON SCHEMA nominals TO foreign_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA nominals TO foreign_reader""")
        for person in (1, 2, 13):
            self.enrol(person)
        self.configure(role="foreign_reader", more=self.MORE)

    def enrol(self, person, ref=None):
        ref = ref or 1000 + person
        images = [self.world.print_of(person, position, 1) for position in (2, 7)]
        whorl("extract", "-o", self.world.path("iso"), *images)
        rows = ""
        for position, image in zip((2, 7), images):
            name = os.path.basename(image).replace(".png", ".iso")
            with open(self.world.path("iso", name), "rb") as file:
                rows += f"{ref}\t{position}\t\\\\x{file.read().hex()}\n"
        self.sql("COPY nominals.fingerprint FROM STDIN", stdin=rows)
        self.sql(f"INSERT INTO nominals.person VALUES ({ref}, 'O''Hara', 'Pat', '1990-02-03', 'female',"
                 f" '20/{ref}', now(), NULL)")

    def test_a_foreign_schema_is_followed_by_its_mapping(self):
        done = whorl("source", "check", "ident1", "-c", self.world.conf)
        self.assertIn("3 can be read, 0 can't", done.stdout)
        self.serve()
        answer = self.wait_for_class("match", 13)
        candidate, = answer["candidates"]
        self.assertEqual(candidate["ref"], "1013")
        self.assertEqual(candidate["names"], [{"family": "O'Hara", "given": "Pat"}])
        self.assertEqual(candidate["identifiers"], {"pncid": "20/1013"})
        self.assertEqual(candidate["born"], "1990-02-03")
        self.enrol(14)
        self.wait_for_class("match", 14)
        self.sql("UPDATE nominals.person SET withdrawn_on = now(), last_changed = now() "
                 'WHERE "Nominal" = 1013')
        self.wait_for_class("no_match", 13)
        self.sql("UPDATE nominals.person SET withdrawn_on = NULL, last_changed = now() "
                 'WHERE "Nominal" = 1013')
        self.wait_for_class("match", 13)
        self.assertEqual(self.resync(), (4, 0, 0, 0))

    def test_what_is_deleted_without_a_trace_is_found_by_comparing(self):
        self.serve()
        self.wait_for_class("match", 13)
        self.sql('DELETE FROM nominals.person WHERE "Nominal" = 1013')
        self.assertEqual(self.resync(), (2, 0, 1, 0))
        self.wait_for_class("no_match", 13)

    def test_a_time_of_a_late_commit_is_not_missed(self):
        self.serve()
        self.wait_for_class("match", 13)
        late = Session(self.database)
        late.run("BEGIN; UPDATE nominals.person SET withdrawn_on = now(), last_changed = now() "
                 'WHERE "Nominal" = 1013')
        self.sql('UPDATE nominals.person SET surname = \'New\', last_changed = now() '
                 'WHERE "Nominal" = 1001')
        self.wait_for(lambda a: a["candidates"][0]["names"][0]["family"] == "New", 1)
        late.run("COMMIT")
        late.close()
        self.wait_for_class("no_match", 13)

    def test_who_cannot_be_read_is_never_silently_left_out(self):
        self.serve()
        self.wait_for_class("match", 13)
        self.assertEqual(self.ask(15)["class"], "no_match")
        self.sql("UPDATE nominals.person SET dob = 'infinity', last_changed = now() "
                 'WHERE "Nominal" = 1002')
        answer = self.wait_for_class("unavailable", 15)
        self.assertIn("1 people of the source can't be read", answer["reason"])
        self.assertEqual(answer["searched"], {"people": 2, "of": 3})
        answer = self.ask(13)
        self.assertEqual(answer["class"], "match")
        self.assertIn("can't be read", answer["reason"])
        self.server.wait_for_log(lambda line: "person 1002 of the database can't be read: born"
                                 in line.get("text", ""))
        self.assertEqual(self.resync(code=1)[3], 1)
        self.assertIn("           1002\n", self.status())
        edit(self.conf, (r"longest_transaction = 5",
                         "longest_transaction = 5\n        unreadable_limit = 1"))
        self.server.reload()
        answer = self.wait_for_class("no_match", 15)
        self.assertIn("1 people of the source can't be read", answer["reason"])
        self.assertEqual(answer["searched"], {"people": 2, "of": 2})
        self.sql("UPDATE nominals.person SET dob = NULL, last_changed = now() "
                 'WHERE "Nominal" = 1002')
        answer = self.wait_for(lambda a: "reason" not in a, 15)
        self.assertEqual(answer["searched"], {"people": 3, "of": 3})

    def test_hostile_rows_stop_nobody_else(self):
        values = {"2001": "'\\x00'", "2002": "''", "2003": "NULL", "2004": "'\\x464d520020323000'",
                  "2005": "decode(repeat('ff', 20000), 'hex')",
                  "2006": "(SELECT substr(fmr, 1, 40) FROM nominals.fingerprint LIMIT 1)"}
        for ref, value in values.items():
            self.sql(f"INSERT INTO nominals.person (\"Nominal\", surname) VALUES ({ref}, 'X');"
                     f"INSERT INTO nominals.fingerprint VALUES ({ref}, 2, {value})")
        good = "(SELECT fmr FROM nominals.fingerprint WHERE nominal = 1001 AND finger = 2)"
        people = {"2101": "surname = E'a\\nb'", "2102": "surname = repeat('x', 80), forenames = "
                  "repeat('é', 80)", "2103": "dob = '4713-01-01 BC'", "2104": "sex = 'M'",
                  "2105": "pnc_no = repeat('9', 300)"}
        for ref, value in people.items():
            self.sql(f"INSERT INTO nominals.person (\"Nominal\") VALUES ({ref});"
                     f"UPDATE nominals.person SET {value} WHERE \"Nominal\" = {ref};"
                     f"INSERT INTO nominals.fingerprint VALUES ({ref}, 2, {good})")
        self.sql("INSERT INTO nominals.person (\"Nominal\") VALUES (2201), (2202), (2203);"
                 f"INSERT INTO nominals.fingerprint VALUES (2201, 11, {good}), (2202, -1, {good});"
                 f"INSERT INTO nominals.fingerprint SELECT 2203, 2, {good} FROM "
                 "generate_series(1, 41)")
        bad = len(values) + len(people) + 3
        done = whorl("source", "check", "ident1", "-c", self.world.conf, code=1)
        self.assertIn(f"3 can be read, {bad} can't", done.stdout)
        self.assertEqual(self.resync(code=1), (3 + bad, 3, 0, bad))
        self.serve()
        answer = self.wait_for_class("match", 13)
        self.assertIn(f"{bad} people of the source can't be read", answer["reason"])
        self.assertEqual(self.ask(15)["class"], "unavailable")


if __name__ == "__main__":
    unittest.main()
