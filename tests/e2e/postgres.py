"""A real PostgreSQL for tests: Debian's, over TLS with an authority of its own, in a folder that goes
with the process, on a free port of loopback, fsync on. Where it is not installed, the tests that need
it are skipped and say so."""
import atexit
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

PATIENCE = 120  # seconds; a bound for hangs


def bin_dir():
    """The newest installed server's programs; None if there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                   key=lambda path: int(path.split("/")[4]))
    return os.path.dirname(found[-1]) if found else None


needs_postgresql = unittest.skipUnless(
    bin_dir(), "PostgreSQL is not installed (apt-get install postgresql)")


def run(*args, **kwargs):
    done = subprocess.run([str(arg) for arg in args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=PATIENCE, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Postgres:
    """One cluster. `ca` is its authority's certificate; the superuser is `owner`, by the socket in
    `run` alone; `reader` (password in `reader_password`) may log in over TLS and may do nothing but
    what tests grant."""

    def __init__(self, settings=""):
        self.bin = bin_dir()
        # Root can't run it: then its files belong to somebody who can.
        self.as_user = []
        self.user = None
        if os.geteuid() == 0:
            self.user = pwd.getpwnam("postgres")
            self.as_user = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}",
                            "--clear-groups"]
        self.dir = tempfile.mkdtemp(prefix="whorl-pg-")
        atexit.register(shutil.rmtree, self.dir, True)
        os.chmod(self.dir, 0o711)
        self.run, self.data = self.path("run"), self.path("data")
        os.mkdir(self.run)
        self.own(self.run)
        os.mkdir(self.data, 0o700)
        self.own(self.data)
        self.process = None
        atexit.register(self.kill)
        self.make_certificates()
        run(*self.as_user, self.program("initdb"), "-D", self.data, "-U", "owner", "-A", "trust",
            "--encoding=UTF8", "--locale=C", "--no-sync", cwd=self.run)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.write("postgresql.auto.conf", f"""
listen_addresses = '127.0.0.1'
port = {self.port}
unix_socket_directories = '{self.run}'
ssl = on
ssl_cert_file = '{self.path("server.pem")}'
ssl_key_file = '{self.path("server.key")}'
ssl_ca_file = '{self.ca}'
fsync = on
wal_level = logical
max_connections = 30
shared_buffers = 32MB
{settings}
""")
        self.write_hba()
        self.reader_password = self.path("reader.password")
        with open(os.open(self.reader_password, os.O_CREAT | os.O_WRONLY, 0o600), "w",
                  encoding="ascii") as file:
            file.write("not-a-secret\n")
        self.start()
        self.sql("CREATE DATABASE whorl", database="postgres")
        self.sql("CREATE ROLE reader LOGIN PASSWORD 'not-a-secret'")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def program(self, name):
        return os.path.join(self.bin, name)

    def own(self, path):
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def write(self, name, text):
        path = os.path.join(self.data, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.own(path)

    def write_hba(self, more=""):
        """Who may log in how; takes effect at the next start, or with pg_reload_conf()."""
        self.write("pg_hba.conf", f"""local all owner trust
{more}
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl replication all 127.0.0.1/32 scram-sha-256
""")

    def make_certificates(self):
        """An authority, and a certificate of it for localhost."""
        self.ca = self.path("ca.pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=Test database authority", "-keyout",
            self.path("ca.key"), "-out", self.ca)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=localhost", "-keyout", self.path("server.key"), "-out",
            self.path("server.csr"))
        with open(self.path("extensions"), "w", encoding="ascii") as file:
            file.write("subjectAltName=DNS:localhost\n")
        run("openssl", "x509", "-req", "-in", self.path("server.csr"), "-CA", self.ca, "-CAkey",
            self.path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
            self.path("extensions"), "-out", self.path("server.pem"))
        os.chmod(self.path("server.key"), 0o600)
        for name in ("server.pem", "server.key"):
            self.own(self.path(name))

    def client_certificate(self, role):
        """A certificate for a role, and its key, of the same authority."""
        certificate, key = self.path(role + ".pem"), self.path(role + ".key")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={role}", "-keyout", key, "-out", self.path(role + ".csr"))
        run("openssl", "x509", "-req", "-in", self.path(role + ".csr"), "-CA", self.ca, "-CAkey",
            self.path("ca.key"), "-CAcreateserial", "-days", "2", "-out", certificate)
        os.chmod(key, 0o600)
        return certificate, key

    def start(self):
        """Starts it and waits until it takes connections."""
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([*self.as_user, self.program("postgres"), "-D",
                                             self.data], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.run)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ready = subprocess.run([self.program("pg_isready"), "-q", "-h", self.run, "-p",
                                    str(self.port)], check=False)
            if ready.returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            raise AssertionError("PostgreSQL does not start:\n" + log.read())

    def stop(self):
        """As an operator would (SIGINT: connections are ended)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(PATIENCE)

    def kill(self):
        """kill -9 of the postmaster, and of what it leaves behind: it can't start anew before."""
        if self.process is None or self.process.poll() is not None:
            return
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
        self.process.kill()
        self.process.wait(PATIENCE)
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + PATIENCE
        while any(os.path.exists(f"/proc/{pid}") for pid in children):
            assert time.monotonic() < deadline, children
            time.sleep(0.01)

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        """Stops every process that serves a connection: it no longer answers, and does not hang up
        either. Returns them, for thaw."""
        pids = [int(pid) for pid in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender') "
            "AND pid <> pg_backend_pid()").split()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids):
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def sql(self, text, database="whorl", stdin=None):
        """Runs SQL as the superuser; returns rows as lines, columns parted by |. stdin: what a COPY
        FROM STDIN reads."""
        done = subprocess.run([self.program("psql"), "-X", "-q", "-A", "-t", "-v",
                               "ON_ERROR_STOP=1", "-h", self.run, "-p", str(self.port), "-U",
                               "owner", "-d", database, "-c", text],
                              input=stdin or "", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{text}\n{done.stderr}")
        return done.stdout.rstrip("\n")

    def script(self, text, database="whorl"):
        """Runs a script for psql as the superuser."""
        done = subprocess.run([self.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h",
                               self.run, "-p", str(self.port), "-U", "owner", "-d", database],
                              input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stdout)

    def end_connections(self, application="%"):
        """Ends the connections of that application, as an operator would. Returns how many."""
        return int(self.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
                            f"application_name LIKE '{application}' AND backend_type IN "
                            "('client backend', 'walsender') AND pid <> pg_backend_pid()"))

    def database(self, role="reader", host="localhost"):
        """The setting `database` for that role."""
        return f"host={host} port={self.port} dbname=whorl user={role}"

    def settings(self, role="reader"):
        """Lines for a plugin's settings: over TLS, as that role."""
        return (f'database = "{self.database(role)}"\n'
                f'        password_file = "{self.reader_password}"\n'
                f'        database_ca = "{self.ca}"\n')


__all__ = ["Postgres", "needs_postgresql"]
