"""Runs a test program with a real PostgreSQL (postgres.py), which it finds in its environment:

    with_postgres.py PROGRAM [ARGUMENT…]

Exit status 77 (skipped) where PostgreSQL is not installed."""
import os
import subprocess
import sys

from postgres import Postgres, bin_dir


def main():
    if not bin_dir():
        print("PostgreSQL is not installed (apt-get install postgresql)")
        return 77
    server = Postgres()
    server.sql("CREATE ROLE writer LOGIN PASSWORD 'not-a-secret'")
    environment = dict(os.environ, TEST_PG_READER=server.database("reader"),
                       TEST_PG_WRITER=server.database("writer"),
                       TEST_PG_OWNER=f"host={server.run} port={server.port} dbname=whorl "
                                     "user=owner",
                       TEST_PG_PASSWORD=server.reader_password, TEST_PG_CA=server.ca)
    try:
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
