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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import postgres as e2e  # noqa: E402
from postgres import Postgres  # noqa: E402

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


def main():
    parser = argparse.ArgumentParser(prog="bench/source", description=__doc__)
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--people", type=int, default=200000, help="PNC records (default 200000)")
    parser.add_argument("--lookups", type=int, default=60000, help="in a round (default 60000)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    server = Postgres(settings="shared_buffers = 512MB\nmax_wal_size = 4GB")
    subprocess.run([os.path.join(arguments.build, "whorl"), "source", "init",
                    f"host={server.run} port={server.port} dbname=whorl user=owner"], check=True,
                   stdout=subprocess.DEVNULL)
    server.sql("ALTER ROLE whorl_reader PASSWORD 'not-a-secret'")
    pnc(arguments, server)
    server.stop()


if __name__ == "__main__":
    main()
