#!/usr/bin/python3
"""A device in Python: identifies somebody by one scan, over TLS. Needs Debian's python3-msgpack.

    device.py HOST:PORT CERT KEY CA OFFICER IMAGE.png

Prints the server's result as JSON. After a lost connection it sends the same request id again, so
that the server searches nothing twice; `busy` is tried again when the server says."""
import json
import socket
import ssl
import sys
import time
import uuid

import msgpack

PATIENCE = 60  # seconds for everything together
MAX_REPLY = 64 << 20


class Refused(Exception):
    """An error that the server answered with: a map of code, message and where."""


def connect(address, context, until):
    host, _, port = address.rpartition(":")
    raw = socket.create_connection((host.strip("[]"), int(port)), left(until))
    return context.wrap_socket(raw, server_hostname=host.strip("[]"))


def left(until):
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the server did not answer in time")
    return seconds


def attempt(connection, method, argument, until):
    """One msgpack-RPC call on a fresh connection."""
    connection.sendall(msgpack.packb([0, 1, method, [argument]], use_bin_type=True))
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=MAX_REPLY)
    while True:
        for message in unpacker:
            if message[0] == 1:
                if message[2] is not None:
                    raise Refused(message[2])
                return message[3]
            if message[1] == "error":  # the connection's last word
                raise Refused(message[2][0])
            print(message[1], message[2][0], file=sys.stderr)
        connection.settimeout(left(until))
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        unpacker.feed(data)


def call(address, context, method, argument):
    """Calls what may be repeated, however many connections it takes."""
    until = time.monotonic() + PATIENCE
    wait = 0.25
    while True:
        try:
            with connect(address, context, until) as connection:
                return attempt(connection, method, argument, until)
        except ssl.SSLCertVerificationError:
            raise
        except Refused as refused:
            error = refused.args[0]
            if error["code"] not in ("busy", "draining"):
                raise
            why, wanted = error["message"], error.get("retry_ms", 0) / 1000
        except (ConnectionError, ssl.SSLEOFError) as lost:
            why, wanted = lost, 0
        pause = max(wait, wanted)
        if pause >= left(until):
            raise TimeoutError(str(why))
        print(f"{why}; again in {pause:.2f} s", file=sys.stderr)
        time.sleep(pause)
        wait = min(wait * 2, 10)


def main(address, cert, key, ca, officer, image):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the server's name and certificate
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca)
    context.load_cert_chain(cert, key)
    with open(image, "rb") as file:
        scan = file.read()
    request = {
        "request_id": str(uuid.uuid4()), "officer": officer, "basis": "consent",
        "consent": "given", "stop_power": "rta-163", "reason": "Name doubted at a road check",
        "samples": [{"modality": "finger", "format": "png", "position": 2, "dpi": 500,
                     "data": scan}],
    }
    print(json.dumps(call(address, context, "identify", request), indent=2))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit("usage: device.py HOST:PORT CERT KEY CA OFFICER IMAGE.png")
    try:
        main(*sys.argv[1:])
    except (OSError, Refused) as failure:
        sys.exit(str(failure))
