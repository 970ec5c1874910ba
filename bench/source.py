#!/usr/bin/python3
"""bench/source: what it costs to have the records in somebody else's PostgreSQL. A real server of
Debian's over TLS on loopback, everything on this machine. Medians of several rounds."""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import postgres as e2e  # noqa: E402
from postgres import Postgres  # noqa: E402
from whorl import Server, World, answers, edit  # noqa: E402

e2e.PATIENCE = 3600  # of one command: a million rows are written

# Person i of bench/source_pnc.c.
PEOPLE = """
INSERT INTO whorl.pnc_people (pncid, cro, details, circulations, warnings)
SELECT '2000/' || lpad(i::text, 7, '0') || c, lpad(i::text, 6, '0') || '/00' || c,
       jsonb_build_object('name', jsonb_build_object('family', 'Family' || i, 'given', 'Given'),
                          'born', '1970-01-01', 'sex', 'male', 'description', '1.80 m, scar'),
       CASE WHEN i % 20 = 0 THEN '[{"kind": "wanted", "force": "WYP", "reference": "WY/1/26",
                                    "date": "2026-01-05", "reason": "Failed to appear"}]'::jsonb END,
       CASE WHEN i % 7 = 0 THEN '["VIOLENT"]'::jsonb END
FROM generate_series(0, %d) AS i, substr('ZABCDEFGHJKLMNPQRTUVWXY', i %% 23 + 1, 1) AS c"""


def pgbench(server, environment):
    """PostgreSQL's own measure: one row by its key, prepared, one connection, one at a time."""
    done = subprocess.run([server.program("pgbench"), "-S", "-M", "prepared", "-c", "1", "-T", "4",
                           "-n", "-h", "localhost", "-p", str(server.port), "-U", "whorl_reader",
                           "whorl"], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(re.search(r"tps = ([0-9.]+)", done.stdout).group(1))


def pnc(arguments, server):
    server.sql(PEOPLE.replace("% 20", "%% 20").replace("% 7 ", "%% 7 ") % (arguments.people - 1))
    server.sql("VACUUM ANALYZE whorl.pnc_people")
    with open(server.reader_password, encoding="ascii") as file:
        environment = dict(os.environ, PGPASSWORD=file.read().strip(), PGSSLMODE="verify-full",
                           PGSSLROOTCERT=server.ca)
    subprocess.run([server.program("pgbench"), "-i", "-q", "-n", "-s", "10", "-h", server.run, "-p",
                    str(server.port), "-U", "owner", "whorl"], check=True,
                   stderr=subprocess.DEVNULL)
    server.sql("GRANT SELECT ON pgbench_accounts, pgbench_branches TO whorl_reader")
    server.sql("VACUUM ANALYZE pgbench_accounts")
    rounds = []
    for _ in range(arguments.rounds):
        folder = tempfile.mkdtemp(prefix="whorl-source-bench-")
        done = subprocess.run(
            [os.path.join(arguments.build, "bench", "source_pnc_bench"), folder,
             os.path.join(arguments.build, "plugins", "whorl-pnc.so"),
             os.path.join(arguments.build, "plugins", "whorl-audit.so"),
             server.database("whorl_reader"), server.reader_password, server.ca,
             str(arguments.people), str(arguments.lookups)],
            stdout=subprocess.PIPE, text=True, check=True)
        shutil.rmtree(folder)
        rounds.append(dict(json.loads(done.stdout), pgbench_per_s=pgbench(server, environment)))
        print(f"round {len(rounds)}: {json.dumps(rounds[-1])}", file=sys.stderr)
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"PNC look-ups by PNCID among {arguments.people} people, one connection, TLS, medians of "
          f"{arguments.rounds} rounds of {arguments.lookups}:")
    print(f"  the plugin, 1024 calls waiting          {middle['pipelined_per_s']:8.0f}/s "
          f"({middle['pipelined_cpu_us']:.1f} us of the server's processors each)")
    print(f"  the same statement, one at a time       {middle['one_at_a_time_per_s']:8.0f}/s")
    print(f"  pgbench -S -M prepared -c 1             {middle['pgbench_per_s']:8.0f}/s")
    print(f"  the plugin from its cache               {middle['cached_per_s']:8.0f}/s "
          f"({middle['cached_cpu_us']:.1f} us of processor each; a lone call is answered after "
          f"{middle['cached_lone_us']:.1f} us)")


def timed(*command, **kwargs):
    """Runs it: seconds by the clock, and of the processor in it and its children."""
    before, started = os.times(), time.monotonic()
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE,
                          text=True, **kwargs)
    after = os.times()
    return (time.monotonic() - started, after.children_user + after.children_system
            - before.children_user - before.children_system, done.stdout)


def processor_of(server):
    """Seconds of processor that a database's processes have used, of ended ones too."""
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def fill_people(arguments, whorl, world, owner, server):
    """N people with two fingers each: 2000 of the statistical model's, and copies under other ids,
    beside the world's eight, whom the searches are for."""
    made = 2000
    gallery = world.path("var", "immigration")
    shutil.rmtree(gallery)
    subprocess.run([whorl, "source", "fill", "ident1", owner, "-c", world.conf], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([whorl, "synth", "templates", "--people", str(made), "-o", gallery], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([whorl, "source", "fill", "immigration", owner, "-c", world.conf], check=True,
                   stdout=subprocess.DEVNULL)
    copies = max(arguments.gallery // made - 1, 0)
    server.sql(f"""CREATE TEMP TABLE made AS SELECT * FROM whorl.people WHERE id LIKE 'syn%';
        INSERT INTO whorl.people (id, identifiers, names, born, sex, details, source, enrolled, expires)
        SELECT id || '-' || i, identifiers, names, born, sex, details, source, enrolled, expires
        FROM made, generate_series(1, {copies}) i;
        INSERT INTO whorl.prints SELECT p.person || '-' || i, p.position, p.impression, p.format,
        p.template FROM whorl.prints p JOIN made m ON m.id = p.person,
        generate_series(1, {copies}) i""", database="people")
    server.sql("VACUUM ANALYZE whorl.people, whorl.prints", database="people")
    return int(server.sql("SELECT count(*) FROM whorl.people", database="people"))


def load(arguments, whorl, world, server, environment):
    """The first copy, and psql writing the same rows into a file; in turns."""
    rounds = []
    for _ in range(arguments.rounds):
        shutil.rmtree(world.path("var", "ident1", "postgresql"), True)
        before = processor_of(server)
        wall, cpu, _ = timed(whorl, "source", "resync", "ident1", "-c", world.conf)
        time.sleep(0.2)  # until its connection's process has ended and counts
        theirs = processor_of(server) - before
        again, _, said = timed(whorl, "source", "resync", "ident1", "-c", world.conf)
        assert " 0 put, 0 removed, 0 unreadable" in said, said
        copied = 0
        for table in "people", "prints":
            seconds, _, _ = timed(
                server.program("psql"), "-X", "-q", "-h", "localhost", "-p", server.port, "-U",
                "whorl_reader", "people", "-c", f"\\copy (SELECT * FROM whorl.{table} ORDER BY 1) to "
                f"'{world.path('copied')}' (FORMAT binary)", env=environment)
            copied += seconds
        rounds.append((wall, cpu, theirs, again, copied))
        print(f"round {len(rounds)}: first copy {wall:.2f} s (processor: {cpu:.2f} s of Whorl's, "
              f"{theirs:.2f} s of PostgreSQL's), compared again {again:.2f} s, psql {copied:.2f} s", file=sys.stderr)
    return [statistics.median(column) for column in zip(*rounds)]


def ask(client, world, person):
    started = time.monotonic()
    answer = answers(client.call("identify", world.request(person, checks=["ident1"])))["ident1"]
    return answer, (time.monotonic() - started) * 1000


def changes(arguments, world, running, server):
    """From a commit to the first search that shows it: ms each."""
    found = []
    with running.client() as client:
        for i in range(10 * arguments.rounds):
            server.sql(f"""UPDATE whorl.people SET names = '[{{"family": "N{i}", "given": "x"}}]'
                           WHERE id = 'K0410037'""", database="people")
            committed = time.monotonic()
            while ask(client, world, 1)[0]["candidates"][0]["names"][0]["family"] != f"N{i}":
                pass
            found.append((time.monotonic() - committed) * 1000)
    return statistics.median(found), max(found)


def searches(world, running, stop):
    """Latencies until `stop` ends."""
    found = []
    with running.client() as client:
        while not stop.is_set():
            answer, ms = ask(client, world, 1)
            assert answer["class"] == "match", answer
            found.append(ms)
    return statistics.median(found)


def quiet_and_busy(whorl, world, running):
    """Searching alone, and while everything is compared."""
    stop = threading.Event()
    threading.Timer(3, stop.set).start()
    quiet = searches(world, running, stop)
    stop.clear()

    def compare():
        timed(whorl, "source", "resync", "ident1", "-c", world.conf)
        stop.set()

    comparing = threading.Thread(target=compare)
    comparing.start()
    busy = searches(world, running, stop)
    comparing.join()
    return quiet, busy


def people(arguments, server):
    whorl = os.path.join(arguments.build, "whorl")
    world = World()
    server.sql("CREATE DATABASE people", database="postgres")
    owner = f"host={server.run} port={server.port} dbname=people user=owner"
    subprocess.run([whorl, "source", "init", owner], check=True, stdout=subprocess.DEVNULL)
    count = fill_people(arguments, whorl, world, owner, server)
    edit(os.path.join(world.conf, "ident1.conf"), (r"^    settings \{", f"""    settings {{
        source = "postgresql"
        database = "host=localhost port={server.port} dbname=people user=whorl_reader"
        password_file = "{server.reader_password}"
        database_ca = "{server.ca}\""""))
    with open(server.reader_password, encoding="ascii") as file:
        environment = dict(os.environ, PGPASSWORD=file.read().strip(), PGSSLMODE="verify-full",
                           PGSSLROOTCERT=server.ca)
    wall, cpu, theirs, again, copied = load(arguments, whorl, world, server, environment)
    running = Server(world)
    with running.client() as client:
        while ask(client, world, 1)[0]["class"] != "match":
            time.sleep(0.1)
    middle, worst = changes(arguments, world, running, server)
    quiet, busy = quiet_and_busy(whorl, world, running)
    running.kill()
    print(f"A gallery of {count} people, two fingers each, TLS, medians of {arguments.rounds} rounds:")
    print(f"  first copy                              {count / wall:8.0f} people/s "
          f"({wall:.2f} s; processor: Whorl {1e6 * cpu / count:.1f}, PostgreSQL "
          f"{1e6 * theirs / count:.1f} us a person)")
    print(f"  everything compared, nothing differs    {count / again:8.0f} people/s")
    print(f"  psql: \\copy of the same rows to a file {count / copied:8.0f} people/s")
    print(f"  a change is searched after              {middle:8.0f} ms (worst of "
          f"{10 * arguments.rounds}: {worst:.0f} ms)")
    print(f"  a search, and while all is compared     {quiet:8.0f} ms, {busy:.0f} ms")


def main():
    parser = argparse.ArgumentParser(prog="bench/source", description=__doc__)
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--people", type=int, default=200000, help="PNC records (default 200000)")
    parser.add_argument("--lookups", type=int, default=60000, help="in a round (default 60000)")
    parser.add_argument("--gallery", type=int, default=100000,
                        help="people with fingerprints (default 100000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("people", "pnc"), help="measure one of the two")
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    server = Postgres(settings="shared_buffers = 512MB\nmax_wal_size = 4GB")
    subprocess.run([os.path.join(arguments.build, "whorl"), "source", "init",
                    f"host={server.run} port={server.port} dbname=whorl user=owner"], check=True,
                   stdout=subprocess.DEVNULL)
    server.sql("ALTER ROLE whorl_reader PASSWORD 'not-a-secret'")
    if arguments.only != "pnc":
        people(arguments, server)
    if arguments.only != "people":
        pnc(arguments, server)
    server.stop()


if __name__ == "__main__":
    main()
