#!/usr/bin/env python3
"""Writes `ok-captured-*.txt` into ../vectors: the bytes that TDLib and Telethon really send to a proxy of a known secret.

Different on every run, so it is run by hand when a client library has a new release, and its files are committed. They hold
nothing but what a client says before it has an account: random numbers, a hello and one req_pq_multi.
"""

import asyncio
import multiprocessing
import os
import socket
import sys
import threading
from importlib.metadata import version
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))

import clients  # noqa: E402
import reference as ref  # noqa: E402

SECRET = bytes.fromhex("fa3c51e08d6b924701bec6957d20aa58")
DOMAIN = "www.example.org"
TDLIB = f"TDLib {version('tdjson')}"
TELETHON = f"Telethon {version('telethon')}"


class Listener:
    """Takes one connection at a time and keeps what comes; `answer` makes it go on after a hello, as a proxy would."""

    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.socket.accept()
        connection.settimeout(10)
        self.first, self.rest = b"", b""
        with connection, self.socket:
            if self.answer is None:
                # A header, and the first frame after it; then the end, which fails the client's request.
                self.first = self.read(connection, 64)
                self.rest = connection.recv(65536)
                return
            head = self.read(connection, 5)
            self.first = head + self.read(connection, int.from_bytes(head[3:5], "big"))
            if self.answer:
                connection.sendall(self.answer(self.first))
                self.rest = self.read(connection, 6)
                while len(ref.unwrap(self.rest)) <= 64 + 4:
                    head = self.read(connection, 5)
                    self.rest += head + self.read(connection, int.from_bytes(head[3:5], "big"))

    @staticmethod
    def read(connection, n):
        out = b""
        while len(out) < n:
            piece = connection.recv(n - len(out))
            if not piece:
                raise EOFError(f"{len(out)} of {n} bytes")
            out += piece
        return out

    def finish(self):
        self.thread.join()
        return self.first, self.rest


def answer_hello(hello):
    seen = ref.parse_hello(hello)
    share = ref.x25519_public(ref.Draw("capture"))
    zeroed, random = ref.server_answer(
        SECRET, hello[11:43], seen["session_id"], 0x1301, ref.X25519, share, os.urandom(2000)
    )
    return zeroed[:11] + random + zeroed[43:]


def save(name, prose, **fields):
    (VECTORS / f"ok-captured-{name}.txt").write_text(ref.render(fields, prose))
    print(
        name,
        {k: ref.text(v) for k, v in fields.items() if k in ("tag", "dc", "time", "groups")},
        len(fields.get("record", "")) or "",
    )


def save_header(name, who, header, rest):
    tag, dc, up, _ = ref.open_header(header, SECRET)
    keys = ref.client_keys(header, SECRET)
    names = ("up_key", "up_iv", "down_key", "down_iv")
    fields = dict(
        kind="obfuscated2", expect="ready", secret=SECRET, tag=tag, dc=dc, header=header, **dict(zip(names, keys))
    )
    save(name, f"Sent by {who}.", **fields, up_plain=up.apply(rest), up_wire=rest)


def hello_fields(hello):
    time = ref.verify_hello(hello, SECRET)
    seen = ref.parse_hello(hello)
    cipher = next(c for c in seen["ciphers"] if c in ref.TLS13_CIPHERS)
    fields = dict(secret=SECRET, now=time, time=time, domain=seen["domain"], session_id=seen["session_id"])
    return fields | dict(groups=seen["groups"], ciphers=seen["ciphers"], cipher=[cipher])


def tdlib_headers():
    client = clients.Tdlib()
    for form, secret in (("plain", SECRET.hex()), ("dd", "dd" + SECRET.hex())):
        for n in (1, 2):
            listener = Listener(None)
            client.ping(listener.address, secret)
            save_header(f"tdlib-{form}-{n}", f"{TDLIB} for a {form} secret", *listener.finish())
    client.close()


def tdlib_hello(n):
    client = clients.Tdlib()
    listener = Listener(answer_hello if n <= 2 else False)
    client.ping(listener.address, "ee" + SECRET.hex() + DOMAIN.encode().hex())
    hello, rest = listener.finish()
    seen = hello_fields(hello)
    save(
        f"tdlib-hello-{n}",
        f"Sent by {TDLIB} for an ee secret.",
        kind="client-hello",
        expect="ready",
        **seen,
        record=hello,
    )
    if rest:
        inner = ref.unwrap(rest)
        tag, dc, up, _ = ref.open_header(inner[:64], SECRET)
        seen.update(tag=tag, dc=dc, hello=hello, after_hello=rest, header=inner[:64], up_plain=up.apply(inner[64:]))
        prose = f"Sent by {TDLIB} for an ee secret: the hello, and all that it sent after our answer."
        save(f"tdlib-stream-{n}", prose, kind="client-stream", expect="ready", **seen)
    client.close()


def telethon():
    for transport, dc in (
        ("padded", 2),
        ("padded", -4),
        ("padded", 203),
        ("intermediate", 1),
        ("abridged", 5),
        ("abridged", -10002),
    ):
        listener = Listener(None)
        secret = ("dd" if transport == "padded" else "") + SECRET.hex()
        try:
            asyncio.run(clients.telethon_req_pq(transport, listener.address, secret, dc))
        except (ConnectionError, EOFError):
            pass  # There is no DC behind the listener.
        label = f"media{-dc}" if dc < 0 else f"dc{dc}"
        save_header(f"telethon-{transport}-{label}", f"{TELETHON}'s {transport} connection", *listener.finish())


if __name__ == "__main__":
    # TDLib decides once in a process how long its hellos are and what they hold: each gets a process of its own.
    children = multiprocessing.get_context("spawn")
    for target, args in [(tdlib_headers, ())] + [(tdlib_hello, (n,)) for n in range(1, 9)]:
        child = children.Process(target=target, args=args)
        child.start()
        child.join()
        assert child.exitcode == 0, target
    telethon()
