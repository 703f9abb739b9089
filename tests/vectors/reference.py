"""The proxy's wire formats, a second time and in another language.

The vectors beside this file, and the checks of what genuine clients sent, come from here: from Python's hashlib and hmac, and from
OpenSSL's AES and X25519 through the `cryptography` package. Nothing is shared with the Rust code, so a mistake would have to be
made twice to go unnoticed. Written to be read next to the Telegram documents on MTProto transports, not to be fast.
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TAGS = {
    "abridged": bytes.fromhex("efefefef"),
    "intermediate": bytes.fromhex("eeeeeeee"),
    "padded": bytes.fromhex("dddddddd"),
}

X25519 = 0x001D
X25519_MLKEM768 = 0x11EC
MLKEM768_Q = 3329
TLS13_CIPHERS = (0x1301, 0x1302, 0x1303)
MAX_RECORD = 16384


class Draw:
    """Bytes that look random and are the same on every run: an endless SHAKE-256 of a label."""

    def __init__(self, label):
        self.label = label.encode()
        self.taken = 0

    def bytes(self, n):
        end = self.taken + n
        out = hashlib.shake_256(self.label).digest(end)[self.taken :]
        self.taken = end
        return out

    def below(self, limit):
        return int.from_bytes(self.bytes(4), "little") % limit


class Ctr:
    """AES-256-CTR with a 128-bit big-endian counter, keeping its place."""

    def __init__(self, key, iv):
        self.context = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()

    def apply(self, data):
        return self.context.update(data)


# --- obfuscated2 ---------------------------------------------------------------------------------------------------------------


def client_keys(header, secret):
    """(up_key, up_iv, down_key, down_iv) of the link between client and proxy."""
    backwards = header[8:56][::-1]
    return (
        hashlib.sha256(header[8:40] + secret).digest(),
        header[40:56],
        hashlib.sha256(backwards[0:32] + secret).digest(),
        backwards[32:48],
    )


def dc_keys(header):
    """(up_key, up_iv, down_key, down_iv) of the link between proxy and DC: the same layout, unhashed."""
    backwards = header[8:56][::-1]
    return header[8:40], header[40:56], backwards[0:32], backwards[32:48]


def forbidden_start(header):
    return (
        header[0] == 0xEF
        or header[0:4] in (b"HEAD", b"POST", b"GET ", b"OPTI", b"\xee" * 4, b"\xdd" * 4, b"\x16\x03\x01\x02")
        or header[4:8] == bytes(4)
    )


def plain_header(draw, tag, dc):
    while True:
        raw = draw.bytes(64)
        if not forbidden_start(raw):
            return raw[:56] + tag + struct.pack("<h", dc) + raw[62:]


class Link:
    """Both ends of one obfuscated2 link, given the 64 plain bytes."""

    def __init__(self, plain, keys):
        self.up_key, self.up_iv, self.down_key, self.down_iv = keys
        self.up = Ctr(self.up_key, self.up_iv)
        self.down = Ctr(self.down_key, self.down_iv)
        self.header = plain[:56] + self.up.apply(plain)[56:]


def open_header(header, secret):
    """What a proxy learns from a client's header: (tag, dc, up cipher at byte 64, down cipher at byte 0)."""
    up_key, up_iv, down_key, down_iv = client_keys(header, secret)
    up = Ctr(up_key, up_iv)
    plain = up.apply(header)
    return plain[56:60], struct.unpack("<h", plain[60:62])[0], up, Ctr(down_key, down_iv)


# --- fake TLS ------------------------------------------------------------------------------------------------------------------


def u16(n):
    return struct.pack(">H", n)


def with_len(width, body):
    return len(body).to_bytes(width, "big") + body


def record(kind, body, version=0x0303):
    return bytes([kind]) + u16(version) + with_len(2, body)


def x25519_public(draw):
    private = X25519PrivateKey.from_private_bytes(draw.bytes(32))
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def mlkem768_public(draw):
    """An encapsulation key as far as anyone can check: 768 coefficients below q, twelve bits each, then 32 bytes of seed."""
    out = bytearray()
    for _ in range(384):
        low, high = draw.below(MLKEM768_Q), draw.below(MLKEM768_Q)
        out += bytes([low & 0xFF, low >> 8 | (high & 0xF) << 4, high >> 4])
    return bytes(out) + draw.bytes(32)


def is_grease(n):
    return n & 0x0F0F == 0x0A0A and n >> 8 == n & 0xFF


def sign_hello(rec, secret, time):
    """Puts the digest and the time into the 32-byte random of a hello whose random is still zero. Returns (record, digest)."""
    assert rec[11:43] == bytes(32)
    digest = hmac.new(secret, rec, hashlib.sha256).digest()
    stamp = bytes(a ^ b for a, b in zip(digest[28:], struct.pack("<I", time)))
    return rec[:11] + digest[:28] + stamp + rec[43:], digest


def verify_hello(rec, secret):
    """The time that the hello carries, or None where the secret is not the one it was made with."""
    digest = hmac.new(secret, rec[:11] + bytes(32) + rec[43:], hashlib.sha256).digest()
    if not hmac.compare_digest(digest[:28], rec[11:39]):
        return None
    return struct.unpack("<I", bytes(a ^ b for a, b in zip(digest[28:], rec[39:43])))[0]


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, n):
        if n > len(self.data):
            raise ValueError(f"{n} bytes announced, {len(self.data)} left")
        out, self.data = self.data[:n], self.data[n:]
        return out

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def block(self, width):
        return Reader(self.take(self.number(width)))


def parse_hello(rec):
    """session id, cipher suites, SNI and key-share groups (all without GREASE) of a whole ClientHello record. ValueError if malformed."""
    top = Reader(rec)
    if top.take(3) != b"\x16\x03\x01":
        raise ValueError("not a handshake record")
    body = top.block(2)
    if top.data or body.number(1) != 1:
        raise ValueError("not one ClientHello")
    hello = body.block(3)
    if body.data:
        raise ValueError("bytes after the ClientHello")
    hello.take(2 + 32)
    session_id = hello.block(1).data
    suites = hello.block(2)
    ciphers = []
    while suites.data:
        ciphers.append(suites.number(2))
    hello.block(1)
    extensions = hello.block(2)
    if hello.data or len(session_id) > 32:
        raise ValueError("bad lengths")
    domain, groups = b"", []
    while extensions.data:
        kind, ext = extensions.number(2), extensions.block(2)
        if kind == 0x0000:
            names = ext.block(2)
            if names.number(1) == 0:
                domain = names.block(2).data
        elif kind == 0x0033:
            shares = ext.block(2)
            while shares.data:
                groups.append(shares.number(2))
                shares.block(2)
    return {
        "session_id": session_id,
        "ciphers": [c for c in ciphers if not is_grease(c)],
        "domain": domain.decode(),
        "groups": [g for g in groups if not is_grease(g)],
    }


def server_answer(secret, client_random, session_id, cipher, group, share, noise):
    """The three records of the server's answer. Returns (the answer with its random still zero, the random it must carry)."""
    extensions = u16(0x0033) + with_len(2, u16(group) + with_len(2, share)) + u16(0x002B) + with_len(2, u16(0x0304))
    hello = u16(0x0303) + bytes(32) + with_len(1, session_id) + u16(cipher) + b"\x00" + with_len(2, extensions)
    zeroed = record(0x16, b"\x02" + with_len(3, hello)) + record(0x14, b"\x01") + record(0x17, noise)
    return zeroed, hmac.new(secret, client_random + zeroed, hashlib.sha256).digest()


def unwrap(stream):
    """The data inside the application-data records of a client's stream; a change-cipher-spec record in front is passed over."""
    out, rest = b"", stream
    while len(rest) >= 5:
        length = int.from_bytes(rest[3:5], "big")
        if len(rest) < 5 + length:
            break
        if rest[0] == 0x17:
            out += rest[5 : 5 + length]
        rest = rest[5 + length :]
    return out


# --- MTProto: the one request that needs no key --------------------------------------------------------------------------------

REQ_PQ_MULTI = struct.pack("<I", 0xBE7E8EF1)


def req_pq(draw):
    """An unencrypted req_pq_multi message, without a transport around it."""
    nonce = draw.bytes(16)
    return bytes(8) + struct.pack("<Q", 0x6500000000000000) + struct.pack("<I", 20) + REQ_PQ_MULTI + nonce


def frame(tag, message, draw):
    if tag == TAGS["abridged"]:
        assert len(message) % 4 == 0 and len(message) // 4 < 0x7F
        return bytes([len(message) // 4]) + message
    padding = draw.bytes(draw.below(16)) if tag == TAGS["padded"] else b""
    return struct.pack("<I", len(message) + len(padding)) + message + padding


# --- files ---------------------------------------------------------------------------------------------------------------------


def text(value):
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return " ".join(f"{n:04x}" for n in value)
    return str(value)


def render(fields, prose):
    lines = [f"# {line}" for line in prose.strip().splitlines()]
    return "\n".join(lines + [f"{key}: {text(value)}".rstrip() for key, value in fields.items()]) + "\n"


def load(path):
    """A vector file as a dict of strings."""
    fields = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition(":")
            assert key not in fields, f"{path}: {key} twice"
            fields[key] = value.strip()
    return fields
