#!/usr/bin/python3
"""Bad input over the wire. After each case the server must still serve others."""
import contextlib
import os
import shutil
import socket
import ssl
import struct
import subprocess
import time
import zlib

import msgpack

from whorl import (Client, RpcError, Server, World, answers, edit, rpc_frame, tls_context, unittest,
                   whorl)


def png(width, height, rows):
    """A PNG by hand, so that its header can lie about what follows."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def flat(width, height, value):
    return png(width, height, (b"\x00" + bytes([value]) * width) * height)


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.world.add_plain_listener()
        # Some tests ask as fast as they can; what a rate does is test_overload's.
        edit(os.path.join(cls.world.conf, "core.conf"), (r"device_rate = .*", "device_rate = 0"),
             (r"officer_rate = .*", "officer_rate = 0"))
        cls.server = Server(cls.world)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0
        whorl("audit", "verify", "-c", cls.world.conf)

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server died")
        with self.server.client() as client:
            self.assertEqual(client.call("ping"), "pong")

    # --- frames ---

    def refused_frame(self, data):
        """Sends bytes that are no message; expects one error notification, then the end."""
        with self.server.client() as client:
            client.send(data)
            message = client.receive()
            self.assertIsNotNone(message, "closed without a word")
            self.assertEqual(message[:2], [2, "error"])
            self.assertEqual(message[2][0]["code"], "bad_frame")
            self.assertTrue(message[2][0]["message"])
            self.assertIsNone(client.receive())

    def test_frame_that_is_no_array(self):
        self.refused_frame(b"\xa5hello")

    def test_frame_with_an_unknown_type(self):
        self.refused_frame(msgpack.packb([7, 1, "ping", []]))

    def test_frame_of_wrong_length(self):
        self.refused_frame(msgpack.packb([0, 1, "ping"]))

    def test_reserved_byte(self):
        self.refused_frame(b"\x94\x00\x01\xc1\x90")

    def test_count_that_claims_gigabytes(self):
        self.refused_frame(b"\x94\x00\x01\xa4ping\xdd\x07\xff\xff\xff")
        self.refused_frame(b"\xdd\xff\xff\xff\xff")
        self.refused_frame(b"\x94\x00\x01\xa4ping\x91\xc6\xff\xff\xff\xff")

    def test_nesting_bomb(self):
        self.refused_frame(b"\x94\x00\x01\xa4ping" + b"\x91" * 1000)

    def test_nested_counts(self):
        self.refused_frame(b"\x94\x00\x01\xa4ping" + b"\xdc\xff\xff" * 40)

    def test_oversized_frame(self):
        self.refused_frame(b"\x94\x00\x01\xa4ping\x91\xc6" + struct.pack(">I", 1 << 30))

    def test_method_name_of_a_thousand_bytes(self):
        self.refused_frame(rpc_frame("m" * 1000))

    def test_truncated_frame_and_goodbye(self):
        frame = rpc_frame("identify", self.world.request(3))
        for cut in (1, 2, 10, 100, len(frame) // 2, len(frame) - 1):
            with self.server.client() as client:
                client.send(frame[:cut])

    def test_frame_in_single_bytes(self):
        with self.server.client() as client:
            for byte in rpc_frame("ping"):
                client.send(bytes([byte]))
            self.assertEqual(client.finish(1), "pong")

    def test_garbage_instead_of_tls(self):
        for data in (b"GET / HTTP/1.0\r\n\r\n", rpc_frame("ping"), os.urandom(4096)):
            with socket.create_connection(("127.0.0.1", self.server.ports["devices"]), 60) as raw:
                try:
                    raw.sendall(data)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(4096):
                        pass
                except ConnectionError:
                    pass

    def test_ids_come_back_as_they_were_sent(self):
        with self.server.client() as client:
            for message_id in (0, 1, 127, 128, 2**31, 2**32 - 1, 2**63, -1, -2**31):
                client.send(msgpack.packb([0, message_id, "ping", []]))
                self.assertEqual(client.receive(), [1, message_id, None, "pong"])

    def test_method_as_bin_and_many_calls_in_one_write(self):
        with self.server.client() as client:
            client.send(b"".join(msgpack.packb([0, i, b"ping", []], use_bin_type=True)
                                 for i in range(500)))
            self.assertEqual([client.receive()[1] for _ in range(500)], list(range(500)))

    # --- calls ---

    def error_of(self, method, *params):
        with self.server.client() as client:
            with self.assertRaises(RpcError) as caught:
                client.call(method, *params)
            self.assertEqual(client.call("ping"), "pong", "the connection survives")
        return caught.exception

    def test_unknown_method(self):
        error = self.error_of("no_such_method")
        self.assertEqual(error.code, "unknown_method")

    def test_arguments_that_are_no_map(self):
        for params in ((), (1,), ("x",), ({}, {}), ([],), (None,)):
            self.assertEqual(self.error_of("identify", *params).code, "invalid", params)

    def test_unknown_field_is_named(self):
        error = self.error_of("identify", self.world.request(3, colour="red"))
        self.assertEqual((error.code, error.where), ("invalid", "colour"))
        sample = self.world.sample(3, shoe_size=44)
        error = self.error_of("identify", self.world.request(samples=[self.world.sample(3), sample]))
        self.assertEqual((error.code, error.where), ("invalid", "samples[1].shoe_size"))

    def test_each_field_of_the_wrong_type_is_named(self):
        wrong = {"request_id": 5, "officer": [], "basis": True, "stop_power": {}, "reason": 9,
                 "reason_code": "1", "consent": 1, "subject": "adult", "samples": {},
                 "checks": "ident1", "continues": 1.5, "deadline_ms": "soon"}
        for field, value in wrong.items():
            error = self.error_of("identify", dict(self.world.request(), **{field: value}))
            self.assertEqual((error.code, error.where), ("invalid", field))

    def test_each_value_out_of_range_is_named(self):
        wrong = {"request_id": "short", "officer": "x" * 33, "basis": "", "reason": "ab",
                 "reason_code": 10, "consent": "maybe", "deadline_ms": 5,
                 "samples": [self.world.sample(3)] * 21, "checks": [],
                 "stop_power": "bad\x00text"}
        for field, value in wrong.items():
            error = self.error_of("identify", dict(self.world.request(), **{field: value}))
            self.assertEqual(error.code, "invalid", field)
            self.assertTrue(error.where.startswith(field), (field, error.where))
        subject = {"condition": "asleep", "born": "1999-02-30", "gender": "x", "age_band": "12",
                   "ethnicity_officer": "7", "ethnicity_self": "Q1", "family": ""}
        for field, value in subject.items():
            error = self.error_of("identify", self.world.request(subject={field: value}))
            self.assertEqual((error.code, error.where), ("invalid", "subject." + field))
        for field, value in {"position": 300, "dpi": 0, "data": b"", "modality": "",
                             "width": -1}.items():
            error = self.error_of("identify", self.world.request(
                samples=[dict(self.world.sample(3), **{field: value})]))
            self.assertEqual((error.code, error.where), ("invalid", "samples[0]." + field))

    def test_missing_fields_are_named(self):
        for field in ("request_id", "officer", "basis"):
            error = self.error_of("identify", self.world.request(**{field: None}))
            self.assertEqual((error.code, error.where), ("invalid", field))

    def test_unknown_check_is_named(self):
        error = self.error_of("identify", self.world.request(3, checks=["ident1", "mi5"]))
        self.assertEqual(error.code, "invalid")
        self.assertTrue(error.where.startswith("checks"))

    # --- samples ---

    def classes_of(self, **sample):
        sample = dict({"modality": "finger", "format": "png", "position": 2, "dpi": 500}, **sample)
        with self.server.client() as client:
            return answers(client.call("identify", self.world.request(samples=[sample])))["ident1"]

    def assert_poor(self, answer):
        self.assertEqual(answer["class"], "poor_quality", answer)
        self.assertTrue(answer["reason"])

    def test_images_that_are_no_finger_are_poor_quality_never_no_match(self):
        noise = os.urandom(300 * 301)
        rows = b"".join(b"\x00" + noise[i * 300:(i + 1) * 300] for i in range(300))
        gradient = b"".join(b"\x00" + bytes((x + y) % 256 for x in range(300)) for y in range(300))
        cases = {"black": flat(300, 400, 0), "white": flat(300, 400, 255),
                 "noise": png(300, 300, rows), "gradient": png(300, 300, gradient),
                 "tiny": flat(1, 1, 0), "zero": png(0, 0, b""),
                 "huge": png(60000, 60000, b"\x00" * 1000), "corrupt": flat(300, 300, 9)[:-40],
                 "text": b"this is no picture"}
        for name, data in cases.items():
            with self.subTest(name):
                self.assert_poor(self.classes_of(data=data))

    def test_corrupt_bytes_anywhere_in_a_real_png(self):
        whole = self.world.sample(3)["data"]
        for at in range(8, len(whole), max(1, len(whole) // 12)):
            broken = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:]
            self.assertIn(self.classes_of(data=broken)["class"],
                          ("poor_quality", "match", "possible", "no_match"))
            self.assert_poor(self.classes_of(data=whole[:at]))

    def test_wrong_resolution(self):
        for dpi in (1, 72, 5000):
            self.assert_poor(self.classes_of(data=self.world.sample(3)["data"], dpi=dpi))

    def test_raw_images_of_wrong_size(self):
        for width, height, length in ((0, 0, 10), (300, 300, 89999), (60000, 60000, 100),
                                      (1000000, 1000000, 1)):
            self.assert_poor(self.classes_of(format="raw", width=width, height=height,
                                             data=bytes(length)))

    def test_minutiae_record_cut_anywhere(self):
        out = os.path.join(self.world.dir, "records")
        path = self.world.print_of(3)
        whorl("extract", path, "-o", out)
        name = os.path.splitext(os.path.basename(path))[0] + ".iso"
        with open(os.path.join(out, name), "rb") as file:
            record = file.read()
        self.assertEqual(self.classes_of(format="iso19794-2", data=record)["class"], "match")
        with self.server.client() as client:
            for cut in list(range(1, 40)) + list(range(40, len(record), 17)):
                sample = {"modality": "finger", "format": "iso19794-2", "position": 2,
                          "data": record[:cut]}
                answer = answers(client.call("identify", self.world.request(
                    samples=[sample], checks=["ident1"])))["ident1"]
                self.assert_poor(answer)

    def test_sample_of_a_kind_that_nobody_takes(self):
        answer = self.classes_of(modality="voice", data=b"x")
        self.assertEqual(answer["class"], "not_searched")
        answer = self.classes_of(format="jpeg", data=b"x")
        self.assertEqual(answer["class"], "not_searched")

    def test_one_bad_finger_of_two_does_not_spoil_the_other(self):
        samples = [self.world.sample(3, 2), dict(self.world.sample(3, 7), data=b"no picture")]
        with self.server.client() as client:
            answer = answers(client.call("identify", self.world.request(samples=samples)))["ident1"]
        self.assertEqual(answer["class"], "match")
        self.assertTrue(answer["samples"][1]["advice"])

    # --- connections ---

    def test_client_that_stops_reading(self):
        with self.server.client() as slow:
            slow.socket.settimeout(2)
            frame = msgpack.packb([0, 1, "capabilities", [{"officer": "WMP1234"}]]) * 64
            sent = 0
            try:
                while sent < 64 << 20:
                    slow.send(frame)
                    sent += len(frame)
            except (TimeoutError, ssl.SSLError, OSError):
                pass
            with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * 4096
            self.assertLess(resident, 1 << 30)
            with self.server.client() as other:
                self.assertEqual(other.call("ping"), "pong")

    def refused_tls(self, context):
        with self.assertRaises((ssl.SSLError, ConnectionError, OSError)):
            with Client(self.server, context=context) as client:
                client.call("ping")
        self.tearDown()

    def test_client_without_a_certificate(self):
        self.refused_tls(tls_context(self.world.tls, None))

    def test_client_of_another_authority(self):
        other = os.path.join(self.world.dir, "other-ca")
        if not os.path.exists(other):
            whorl("keys", "ca", "-o", other)
            whorl("keys", "device", "-o", other, "--ca", other, "--name", "phone-1")
        context = tls_context(self.world.tls, None)
        context.load_cert_chain(os.path.join(other, "phone-1.pem"), os.path.join(other, "phone-1.key"))
        self.refused_tls(context)

    def test_old_protocol_version(self):
        context = tls_context(self.world.tls, "phone-1")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.refused_tls(context)

    def test_expired_certificate(self):
        tls = self.world.tls
        key, request, cert = (os.path.join(tls, n) for n in ("old.key", "old.csr", "old.pem"))
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj", "/CN=old",
                        "-out", request], check=True, capture_output=True)
        subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA",
                        os.path.join(tls, "ca.pem"), "-CAkey", os.path.join(tls, "ca.key"),
                        "-days", "-1", "-set_serial", "99", "-out", cert],
                       check=True, capture_output=True)
        self.refused_tls(tls_context(tls, "old"))

    def test_certificate_that_nobody_registered(self):
        whorl("keys", "device", "-o", self.world.tls, "--ca", self.world.tls, "--name", "stranger")
        with self.server.client(cert="stranger") as client:
            with self.assertRaises(RpcError) as caught:
                client.call("identify", self.world.request(3))
        self.assertEqual(caught.exception.code, "device_unknown")

    def test_revoked_device(self):
        tls = self.world.tls
        whorl("keys", "device", "-o", tls, "--ca", tls, "--name", "lost")
        whorl("device", "add", "lost", "--cert", os.path.join(tls, "lost.pem"), "--force", "WMP",
              "-c", self.world.conf)
        with self.server.client(cert="lost") as client:
            client.call("identify", self.world.request(1, checks=["ident1"]))
            whorl("device", "revoke", "lost", "-c", self.world.conf)
            with self.assertRaises(RpcError) as caught:
                client.call("identify", self.world.request(1, checks=["ident1"]))
        self.assertEqual(caught.exception.code, "device_revoked")

    def test_no_list_replaces_one_that_cannot_be_read(self):
        tls = self.world.path("authority")
        whorl("keys", "ca", "-o", tls)
        os.symlink("crl.pem", os.path.join(tls, "crl.pem"))
        done = whorl("keys", "revoke", "--ca", tls, code=3)
        self.assertIn("crl.pem: cannot be read", done.stderr)
        self.assertTrue(os.path.islink(os.path.join(tls, "crl.pem")))
        os.unlink(os.path.join(tls, "crl.pem"))
        done = whorl("keys", "revoke", "--ca", tls, os.path.join(tls, "ca.pem"), code=3)
        self.assertIn("is the authority itself", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(tls, "crl.pem")))

    def test_certificate_on_the_revocation_list(self):
        world = World()
        tls = world.tls
        whorl("keys", "device", "-o", tls, "--ca", tls, "--name", "stolen")
        whorl("device", "add", "stolen", "--cert", os.path.join(tls, "stolen.pem"), "--force",
              "WMP", "-c", world.conf)
        whorl("keys", "revoke", "--ca", tls)
        edit(os.path.join(world.conf, "listeners.conf"),
             (r'^( *)# (crl = "tls/crl.pem")', r"\1\2"))
        server = Server(world)
        with server.client(cert="stolen") as client:
            self.assertEqual(client.call("ping"), "pong")
        whorl("keys", "revoke", "--ca", tls, os.path.join(tls, "stolen.pem"))
        server.reload()
        with self.assertRaises((ssl.SSLError, ConnectionError, OSError)):
            with Client(server, cert="stolen") as client:
                client.call("ping")
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertEqual(server.stop(), 0)

    def test_renegotiation_is_refused(self):
        # TLS 1.3 has none (RFC 8446, 4.1.2): a ClientHello after the handshake ends the connection.
        with self.server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
            self.assertEqual(client.socket.version(), "TLSv1.3")
        context = tls_context(self.world.tls, "phone-1")
        hello = self.client_hello(context)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", self.server.ports["devices"]), 60) as raw:
            self.shake(inside, incoming, outgoing, raw)
            raw.sendall(hello)
            self.drained(raw)

    @staticmethod
    def client_hello(context):
        outgoing = ssl.MemoryBIO()
        fresh = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            fresh.do_handshake()
        return outgoing.read()

    @staticmethod
    def shake(inside, incoming, outgoing, raw):
        while True:
            try:
                inside.do_handshake()
                raw.sendall(outgoing.read())
                return
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))

    def drained(self, raw):
        """Reads to the end, which must come."""
        raw.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while raw.recv(65536):
                pass

    def test_no_part_of_a_hello_brings_an_older_version(self):
        # Without the extension supported_versions a server speaks TLS 1.2 or less, or nothing
        # (RFC 8446, 4.2.1): this door, nothing.
        context = tls_context(self.world.tls, "phone-1")
        hello = self.client_hello(context)
        at = hello.index(bytes.fromhex("002b00"))  # its type, then its length
        stripped = hello[:at] + b"\xff\xee" + hello[at + 2:]
        for data in (stripped, hello[:1] + b"\x03\x00" + hello[3:9] + b"\x03\x01" + stripped[11:]):
            with socket.create_connection(("127.0.0.1", self.server.ports["devices"]), 60) as raw:
                raw.sendall(data)
                raw.settimeout(60)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while part := raw.recv(65536):
                        answer += part
            # At most an alert (content type 21), never a ServerHello (22).
            self.assertIn(answer[:1], (b"", b"\x15"))
        self.refused_tls_version(ssl.TLSVersion.TLSv1_2)

    def refused_tls_version(self, version):
        context = tls_context(self.world.tls, "phone-1")
        context.maximum_version = version
        self.refused_tls(context)

    def test_handshake_bytes_cut_and_flipped_anywhere(self):
        hello = self.client_hello(tls_context(self.world.tls, "phone-1"))
        for at in range(0, len(hello), max(1, len(hello) // 40)):
            broken = hello[:at] + bytes([hello[at] ^ 0xff]) + hello[at + 1:]
            for data in (hello[:at], broken):
                with socket.create_connection(("127.0.0.1", self.server.ports["devices"]),
                                              60) as raw:
                    with contextlib.suppress(ConnectionError):
                        raw.sendall(data)
                        raw.shutdown(socket.SHUT_WR)
                    self.drained(raw)

    def test_records_flipped_on_the_way_end_the_connection_and_reach_no_call(self):
        context = tls_context(self.world.tls, "phone-1")
        before = len(whorl("audit", "list", "-c", self.world.conf, "--json").stdout.splitlines())
        for at in (0, 3, 5, 40, -1):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            inside = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with socket.create_connection(("127.0.0.1", self.server.ports["devices"]), 60) as raw:
                self.shake(inside, incoming, outgoing, raw)
                inside.write(rpc_frame("identify", self.world.request(3, checks=["ident1"])))
                record = bytearray(outgoing.read())
                record[at] ^= 1
                with contextlib.suppress(ConnectionError):
                    raw.sendall(record)
                    raw.shutdown(socket.SHUT_WR)
                self.drained(raw)
        after = len(whorl("audit", "list", "-c", self.world.conf, "--json").stdout.splitlines())
        self.assertEqual(before, after)

    def second_device(self, name, force="WMP"):
        tls = self.world.tls
        if not os.path.exists(os.path.join(tls, name + ".pem")):
            whorl("keys", "device", "-o", tls, "--ca", tls, "--name", name)
            whorl("device", "add", name, "--cert", os.path.join(tls, name + ".pem"), "--force",
                  force, "-c", self.world.conf)

    def test_the_certificate_says_who_a_device_is_never_its_words(self):
        # A certificate with the name of another device is its own: unregistered.
        other = os.path.join(self.world.dir, "namesake")
        if not os.path.exists(other):
            os.mkdir(other)
            for name in ("ca.pem", "ca.key"):
                shutil.copy(os.path.join(self.world.tls, name), other)
            whorl("keys", "device", "-o", other, "--ca", other, "--name", "phone-1")
        context = tls_context(self.world.tls, None)
        context.load_cert_chain(os.path.join(other, "phone-1.pem"),
                                os.path.join(other, "phone-1.key"))
        with Client(self.server, context=context) as client:
            with self.assertRaises(RpcError) as caught:
                client.call("identify", self.world.request(3))
        self.assertEqual(caught.exception.code, "device_unknown")
        # And no field of a request names the device.
        self.second_device("phone-2")
        with self.server.client(cert="phone-2") as client:
            for field in ("device", "device_id", "certificate", "force"):
                with self.assertRaises(RpcError) as caught:
                    client.call("identify", self.world.request(3, **{field: "phone-1"}))
                self.assertEqual((caught.exception.code, caught.exception.where),
                                 ("invalid", field))
            self.assertEqual(client.call("capabilities", {"officer": "WMP1234"})["device"],
                             "phone-2")

    def test_a_request_id_of_another_device_gives_nothing_away(self):
        self.second_device("phone-2")
        request = self.world.request(3, checks=["ident1"])
        with self.server.client() as client:
            own = client.call("identify", request)
        with self.server.client(cert="phone-2") as client:
            replayed = client.call("identify", request)
            self.assertNotEqual(replayed["transaction"], own["transaction"],
                                "another device's answer was given again")
            with self.assertRaises(RpcError) as caught:
                client.call("identify", dict(request, reason="Something else altogether"))
            self.assertEqual(caught.exception.code, "conflict")
        with self.server.client() as client:
            self.assertEqual(client.call("identify", request)["transaction"], own["transaction"])

    def test_an_officer_who_is_not_of_the_devices_force_is_refused(self):
        self.second_device("phone-met", force="MPS")
        for cert, officer, code in (("phone-1", "MPS0001", "officer_not_of_force"),
                                    ("phone-met", "WMP1234", "officer_not_of_force"),
                                    ("phone-1", "NOBODY", "officer_unknown"),
                                    ("phone-1", "wmp1234", "officer_unknown"),
                                    ("phone-1", "WMP1234 ", None), ("phone-1", "WMP1234\u0000", None)):
            with self.server.client(cert=cert) as client:
                with self.assertRaises(RpcError) as caught:
                    client.call("identify", self.world.request(3, officer=officer))
                if code:
                    self.assertEqual(caught.exception.code, code, (cert, officer))
                else:
                    self.assertIn(caught.exception.code, ("invalid", "officer_unknown"))

    def test_an_officer_cannot_lend_another_ones_entitlement(self):
        with self.server.client() as client:
            for asked in ({"officer": "WMP0001"}, {"officer": "WMP0001", "checks": ["pnc"]}):
                result = answers(client.call("identify", self.world.request(3, **asked)))
                self.assertEqual(result["pnc"]["class"], "not_searched")
            with self.assertRaises(RpcError) as caught:
                client.call("identify", self.world.request(3, entitlements=["pnc"]))
        self.assertEqual((caught.exception.code, caught.exception.where),
                         ("invalid", "entitlements"))

    def test_everything_oversized_is_refused_by_name(self):
        cases = {"request_id": "a" * 65, "officer": "W" * 33, "basis": "b" * 65,
                 "stop_power": "p" * 65, "reason": "r" * 251, "checks": ["ident1"] * 17,
                 "samples": [self.world.sample(3)] * 21, "continues": "c" * 1000,
                 "deadline_ms": 1 << 62}
        for field, value in cases.items():
            error = self.error_of("identify", self.world.request(3, **{field: value}))
            self.assertEqual(error.code, "invalid", field)
            self.assertTrue(error.where.startswith(field), (field, error.where))
        for field in ("family", "given"):
            error = self.error_of("identify", self.world.request(3, subject={field: "n" * 101}))
            self.assertEqual(error.where, "subject." + field)
        error = self.error_of("identify", self.world.request(3, samples=[
            self.world.sample(3, modality="m" * 33)]))
        self.assertEqual(error.where, "samples[0].modality")
        self.refused_frame(b"\x94\x00\x01\xa8identify" + b"\x91\xc6"
                           + struct.pack(">I", (8 << 20) + 1))
        self.refused_frame(b"\x94\x00\x01\xa4ping\xdd" + struct.pack(">I", 70000)
                           + b"\xc0" * 70000)

    def test_the_log_holds_no_personal_data(self):
        with self.server.client() as client:
            client.call("identify", self.world.request(3, subject={
                "condition": "adult", "family": "Vanderquist", "given": "Ottoline"}))
            for more in ({"subject": {"family": 5}}, {"subject": {"Ottoline Ferncastle": 5}},
                         *({"people": [{"found_for": {"backend": "ident1", "ref": "K1"},
                                        "identifiers": {"Ferncastle, Ottoline": value}}]}
                           for value in (5, ""))):
                with self.assertRaises(RpcError):
                    client.call("identify", self.world.request(3, **more))
        with open(self.server.log_path, encoding="utf-8") as file:
            log = file.read()
        for secret in ("Vanderquist", "Calloway", "Ferncastle", "road check"):
            self.assertNotIn(secret, log)


class Silence(unittest.TestCase):
    def test_clients_that_connect_and_say_nothing_are_dropped(self):
        world = World()
        with open(os.path.join(world.conf, "core.conf"), encoding="utf-8") as file:
            text = file.read()
        text = "\n".join(line for line in text.split("\n")
                         if not line.strip().startswith(("handshake_timeout", "idle_timeout")))
        text = text.replace("core {", "core {\n    handshake_timeout = 1\n    idle_timeout = 2\n", 1)
        with open(os.path.join(world.conf, "core.conf"), "w", encoding="utf-8") as file:
            file.write(text)
        server = Server(world)
        raw = socket.create_connection(("127.0.0.1", server.ports["devices"]), 60)
        shaken = server.client()
        half = server.client()
        half.send(rpc_frame("ping")[:5])
        started = time.monotonic()
        self.assertEqual(raw.recv(100), b"")
        raw.close()
        for client in (shaken, half):
            while client.receive() is not None:
                pass
            client.close()
        self.assertLess(time.monotonic() - started, 60)
        with server.client() as client:
            self.assertEqual(client.call("ping"), "pong")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
