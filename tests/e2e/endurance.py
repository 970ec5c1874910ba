"""Rounds of sudden death under load, for the tests (a few) and bench/soak (many)."""
import threading
import time

from whorl import PATIENCE, RpcError, Server, whorl

WORKERS = 4


class KillRounds:
    """Kills the server again and again while it works; then everything that it ever answered must
    be in the audit log, which verifies, and its galleries must be whole."""

    def __init__(self, world):
        self.world = world
        self.answered = []  # transactions

    def ask(self, server):
        try:
            with server.client() as client:
                while True:
                    request = self.world.request(3, checks=["ident1"])
                    self.answered.append(client.call("identify", request)["transaction"])
        except (ConnectionError, OSError, RpcError):
            pass

    def round(self, least):
        """At least so many answers, then the end, at no particular moment."""
        server = Server(self.world)
        threads = [threading.Thread(target=self.ask, args=(server,)) for _ in range(WORKERS)]
        target = len(self.answered) + least
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        while len(self.answered) < target:
            assert time.monotonic() < deadline, "no answers"
            time.sleep(0.002)
        server.kill()
        server.log_file.close()
        for thread in threads:
            thread.join()

    def verify(self):
        whorl("audit", "verify", "-c", self.world.conf)
        whorl("gallery", "check", "-c", self.world.conf, "--gallery", "ident1")
        listed = whorl("audit", "list", "-c", self.world.conf, "--json").stdout
        lost = [transaction for transaction in self.answered if transaction not in listed]
        assert not lost, f"{len(lost)} of {len(self.answered)} answered transactions are lost"
