#!/usr/bin/env python3
"""Writes the computed vectors of this folder: the same bytes on every run. `--check` only says whether the files still match.

Needs the `cryptography` package. The captured vectors come from capture.py; README.md says what the fields mean.
"""

import sys
from pathlib import Path

import reference as ref

HERE = Path(__file__).parent
# 2025-06-15 12:00:00 UTC: `now` of every computed hello, unless its file says otherwise.
NOW = 1749988800
FILES = {}


def secret_of(name):
    return ref.Draw(f"secret {name}").bytes(16)


def put(name, prose, **fields):
    assert name not in FILES, name
    assert name.startswith("ok-") == (fields["expect"] == "ready"), name
    FILES[name] = ref.render(fields, prose)


# --- obfuscated2 ---------------------------------------------------------------------------------------------------------------


def obfuscated2(name, prose, tag, dc, expect="ready", start=None, inside=None, wrong_secret=False, cut=None):
    draw = ref.Draw(f"obfuscated2 {name}")
    secret = secret_of(name)
    tag = ref.TAGS.get(tag, tag)
    plain = ref.plain_header(draw, tag, dc)
    if start is not None:
        plain = start + plain[len(start) :]
    link = ref.Link(plain, ref.client_keys(plain, secret))
    up, down = draw.bytes(100), draw.bytes(100)
    fields = dict(kind="obfuscated2", expect=expect)
    if inside:
        fields["inside"] = inside
    fields["secret"] = secret_of(name + " another") if wrong_secret else secret
    fields.update(tag=tag, dc=dc, header=link.header[:cut])
    if expect == "ready":
        fields.update(
            up_key=link.up_key,
            up_iv=link.up_iv,
            down_key=link.down_key,
            down_iv=link.down_iv,
            up_plain=up,
            up_wire=link.up.apply(up),
            down_plain=down,
            down_wire=link.down.apply(down),
            fast_8_56=(link.down_key + link.down_iv)[::-1],
        )
        # Fast mode in one line: a DC that is sent these bytes 8..56 answers under the client's own download key.
        fast = plain[:8] + fields["fast_8_56"] + plain[56:]
        assert ref.dc_keys(fast)[2:] == (link.down_key, link.down_iv)
    put(f"{'ok' if expect == 'ready' else 'bad'}-obfuscated2-{name}", prose, **fields)


def make_obfuscated2():
    for tag in ref.TAGS:
        for label, dc in (("dc2", 2), ("media4", -4), ("cdn203", 203), ("test10002", 10002)):
            obfuscated2(
                f"{tag}-{label}", f"The header of a client that uses the {tag} transport and asks for DC {dc}.", tag, dc
            )
    obfuscated2("padded-testmedia10002", "The media DC of a test DC.", "padded", -10002)
    for label, start in (("ef", b"\xef"), ("get", b"GET "), ("tls", b"\x16\x03\x01\x02"), ("zero", b"abcd" + bytes(4))):
        obfuscated2(
            f"start-{label}-inside-tls",
            "Inside TLS clients do not look at how their header starts: such a start is as good as any other.",
            "padded",
            2,
            start=start,
            inside="tls",
        )

    for label, dc in (("zero", 0), ("6", 6), ("204", 204), ("min", -32768), ("max", 32767), ("9999", 9999)):
        obfuscated2(
            f"dc-{label}", "The secret and the tag are right; nobody knows this DC.", "padded", dc, expect="unknown_dc"
        )
    obfuscated2(
        "wrong-secret",
        "Made with another secret than the one given here.",
        "padded",
        2,
        expect="bad_secret",
        wrong_secret=True,
    )
    for label, tag in (("zero", bytes(4)), ("mixed", bytes.fromhex("eeeeeedd")), ("pvrg", b"PVrG")):
        obfuscated2(
            f"tag-{label}",
            "The secret is right, the tag is none of the three. Outside TLS the tag is all that tells a right secret from\n"
            "a wrong one, so this is a wrong secret to whoever reads it.",
            tag,
            2,
            expect="bad_secret",
        )
    obfuscated2("truncated", "One byte short.", "padded", 2, expect="incomplete", cut=63)
    obfuscated2("empty", "Nothing at all.", "padded", 2, expect="incomplete", cut=0)


def make_dc_headers():
    for tag, dc in (("abridged", 1), ("intermediate", -2), ("padded", 203), ("padded", 10002)):
        name = f"dcheader-{tag}-{dc}" if dc > 0 else f"dcheader-{tag}-media{-dc}"
        draw = ref.Draw(name)
        plain = ref.plain_header(draw, ref.TAGS[tag], dc)
        link = ref.Link(plain, ref.dc_keys(plain))
        up, down = draw.bytes(100), draw.bytes(100)
        put(
            f"ok-{name}",
            "What a proxy sends to a DC: the keys are the header's own bytes. `plain` is the header before its last\neight bytes are encrypted.",
            kind="dc-header",
            expect="ready",
            tag=ref.TAGS[tag],
            dc=dc,
            plain=plain,
            header=link.header,
            up_key=link.up_key,
            up_iv=link.up_iv,
            down_key=link.down_key,
            down_iv=link.down_iv,
            up_plain=up,
            up_wire=link.up.apply(up),
            down_plain=down,
            down_wire=link.down.apply(down),
        )


# --- the ClientHello -----------------------------------------------------------------------------------------------------------


class Hello:
    """A ClientHello in pieces, so that a bad one differs from a good one in the one piece it is about."""

    def __init__(
        self,
        label,
        groups=(ref.X25519,),
        domain="www.example.org",
        grease=True,
        pad_to=None,
        ciphers=(0x1301, 0x1302, 0x1303),
    ):
        draw = ref.Draw(f"hello {label}")
        self.domain, self.groups = domain, groups
        self.session_id = draw.bytes(32)
        self.pad_to = pad_to
        older = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035)
        a, b, c, d = (0x0A0A + 0x1010 * draw.below(16) for _ in range(4)) if grease else (None,) * 4
        self.ciphers = [n for n in (a, *ciphers, *older) if n is not None]
        self.handshake_kind, self.version = 1, 0x0301
        self.cipher_block = ref.with_len(2, b"".join(map(ref.u16, self.ciphers)))
        self.session_block = ref.with_len(1, self.session_id)
        shares = [(a, b"\0")] if grease else []
        for group in groups:
            x = ref.x25519_public(draw)
            shares.append((group, ref.mlkem768_public(draw) + x if group == ref.X25519_MLKEM768 else x))
        known = [
            n for n in (b, *groups, *(g for g in (ref.X25519, 0x0017, 0x0018) if g not in groups)) if n is not None
        ]
        if groups == (ref.X25519_MLKEM768,):
            known = [n for n in (b, *groups) if n is not None]
        versions = [n for n in (c, 0x0304, 0x0303) if n is not None]
        self.extensions = {
            0x0000: ref.with_len(2, b"\0" + ref.with_len(2, domain.encode())),
            0x0017: b"",
            0xFF01: b"\0",
            0x000A: ref.with_len(2, b"".join(map(ref.u16, known))),
            0x000B: b"\x01\0",
            0x0023: b"",
            0x0010: ref.with_len(2, ref.with_len(1, b"h2") + ref.with_len(1, b"http/1.1")),
            0x0005: b"\x01" + bytes(4),
            0x000D: ref.with_len(
                2, b"".join(map(ref.u16, (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)))
            ),
            0x0012: b"",
            0x0033: ref.with_len(2, b"".join(ref.u16(g) + ref.with_len(2, s) for g, s in shares)),
            0x002D: b"\x01\x01",
            0x002B: ref.with_len(1, b"".join(map(ref.u16, versions))),
            0x001B: b"\x02\0\x02",
        }
        if grease:
            self.extensions = {c: b"", **self.extensions, d if d != c else (c + 0x1010) & 0xFFFF: b"\0"}
        self.trailer = b""
        self.extensions_len = self.handshake_len = self.record_len = None

    def build(self):
        """The record with its random still zero."""
        blob = b"".join(ref.u16(k) + ref.with_len(2, v) for k, v in self.extensions.items())
        head = ref.u16(0x0303) + bytes(32) + self.session_block + self.cipher_block + b"\x01\0"
        if self.pad_to:
            padding = self.pad_to - (5 + 4 + len(head) + 2 + len(blob)) - 4
            assert padding >= 0, padding
            blob += ref.u16(0x0015) + ref.with_len(2, bytes(padding))
        body = head + ref.u16(len(blob) if self.extensions_len is None else self.extensions_len) + blob + self.trailer
        body = (
            bytes([self.handshake_kind])
            + (len(body) if self.handshake_len is None else self.handshake_len).to_bytes(3, "big")
            + body
        )
        return (
            b"\x16" + ref.u16(self.version) + ref.u16(len(body) if self.record_len is None else self.record_len) + body
        )


def good_hello(name, prose, time=NOW, now=NOW, expect="ready", extra=None, **shape):
    hello, secret = Hello(name, **shape), secret_of(name)
    rec, digest = ref.sign_hello(hello.build(), secret, time)
    seen = ref.parse_hello(rec)
    assert (
        seen["session_id"] == hello.session_id
        and seen["domain"] == hello.domain
        and seen["groups"] == list(hello.groups)
    )
    put(
        f"{'ok' if expect == 'ready' else 'bad'}-hello-{name}",
        prose,
        kind="client-hello",
        expect=expect,
        **(extra or {}),
        secret=secret,
        now=now,
        time=time,
        domain=hello.domain,
        session_id=hello.session_id,
        groups=list(hello.groups),
        ciphers=seen["ciphers"],
        cipher=[next(c for c in seen["ciphers"] if c in ref.TLS13_CIPHERS)],
        digest=digest,
        record=rec,
    )
    return hello, secret, rec


def bad_hello(name, prose, expect, change=None, after=None, record=None):
    """A good hello with one thing wrong: `change` before it is signed, `after` to the signed record, or `record` in its place."""
    secret = secret_of(name)
    if record is None:
        hello = Hello(name, pad_to=517)
        if change:
            hello.pad_to = None
            change(hello)
        record, _ = ref.sign_hello(hello.build(), secret, NOW)
        assert ref.verify_hello(record, secret) == NOW
    if after:
        record = after(bytearray(record))
    put(f"bad-hello-{name}", prose, kind="client-hello", expect=expect, secret=secret, now=NOW, record=bytes(record))


def make_hellos():
    both, only = (ref.X25519_MLKEM768, ref.X25519), (ref.X25519_MLKEM768,)
    good_hello("x25519-517", "The hello of the years before 2025, padded to 517 bytes.", pad_to=517)
    good_hello("x25519-unpadded", "As short as it gets.", grease=False, domain="a")
    good_hello(
        "mlkem-first-1900",
        "The hello of browsers since 2025: the hybrid share first, then X25519.",
        groups=both,
        pad_to=1900,
    )
    good_hello("mlkem-only", "Nothing but the hybrid share: the answer must use it.", groups=only, pad_to=1900)
    good_hello("x25519-first", "Both shares, X25519 first.", groups=both[::-1])
    good_hello("no-grease", "A client that does not grease.", groups=both, grease=False)
    good_hello(
        "long-domain",
        "The longest domain that a secret can hold.",
        domain="a." * 60 + "b" * 53 + ".example",
        pad_to=None,
    )
    good_hello("one-label", "A name of one label.", domain="localhost", pad_to=517)
    good_hello(
        "cipher-order", "The answer takes the client's first: 1303 here.", ciphers=(0x1303, 0x1301, 0x1302), pad_to=517
    )
    synced = dict(synced=1)
    good_hello(
        "time-late",
        "1,200 seconds behind: the last second that a synced clock allows.",
        time=NOW - 1200,
        extra=synced,
        pad_to=517,
    )
    good_hello("time-early", "600 seconds ahead: likewise.", time=NOW + 600, extra=synced, pad_to=517)
    prose = "A client without a clock, up for three days: a time this early is no date, and no reason to refuse."
    good_hello("time-uptime", prose, time=3 * 86400, extra=synced, pad_to=517)
    good_hello(
        "time-too-late", "One second more than that.", time=NOW - 1201, expect="clock_skew", extra=synced, pad_to=517
    )
    good_hello(
        "time-too-early", "One second more than that.", time=NOW + 601, expect="clock_skew", extra=synced, pad_to=517
    )
    good_hello(
        "other-sni",
        "Everything is right except the name, where a front domain is set.",
        expect="bad_sni",
        extra=dict(front_domain="front.example.org"),
        pad_to=517,
    )
    good_hello(
        "mode-off",
        "Everything is right, but fake TLS is switched off.",
        expect="mode_disabled",
        extra=dict(modes="plain dd"),
        pad_to=517,
    )

    def flip(at):
        def change(rec):
            rec[at] ^= 0x01
            return rec

        return change

    bad_hello("digest-first-bit", "A bit of the digest's first byte is flipped.", "bad_secret", after=flip(11))
    bad_hello(
        "digest-last-bit",
        "A bit of the last byte of the digest that is not the time: byte 27.",
        "bad_secret",
        after=flip(38),
    )
    bad_hello("body-bit", "A bit of the last byte of the record.", "bad_secret", after=flip(-1))
    bad_hello("session-bit", "A bit of the session id.", "bad_secret", after=flip(50))
    other, _ = ref.sign_hello(Hello("wrong-secret", pad_to=517).build(), secret_of("somebody else"), NOW)
    bad_hello("wrong-secret", "Made with another secret.", "bad_secret", record=other)
    bad_hello(
        "browser",
        "A browser's own hello: its random is random.",
        "bad_secret",
        after=lambda rec: rec[:11] + ref.Draw("browser").bytes(32) + rec[43:],
    )

    bad_hello("truncated-header", "Four of the record header's five bytes.", "incomplete", after=lambda rec: rec[:4])
    bad_hello("truncated", "300 of 517 bytes.", "incomplete", after=lambda rec: rec[:300])
    bad_hello("truncated-last", "One byte short.", "incomplete", after=lambda rec: rec[:-1])
    bad_hello(
        "oversized",
        "A record that announces one byte more than TLS allows is no hello, and no secret opens it as anything else.",
        "bad_secret",
        record=b"\x16\x03\x01" + ref.u16(ref.MAX_RECORD + 1) + ref.Draw("oversized").bytes(600),
    )
    bad_hello(
        "zero-length",
        "An empty record where the hello should be: likewise.",
        "bad_secret",
        record=b"\x16\x03\x01\0\0" + ref.Draw("empty").bytes(64),
    )
    bad_hello(
        "too-short",
        "A record that ends inside the random.",
        "malformed",
        record=b"\x16\x03\x01"
        + ref.with_len(2, b"\x01\0\0\x20\x03\x03" + ref.Draw("short").bytes(20))
        + ref.Draw("more").bytes(64),
    )

    bad_hello(
        "handshake-kind",
        "A ServerHello where a client speaks: likewise.",
        "bad_secret",
        change=lambda h: setattr(h, "handshake_kind", 2),
        after=flip(11),
    )

    # From here on the digest is right: whoever made these knows the secret, and the lengths inside lie.
    def handshake_longer(h):
        h.handshake_len = len(h.build()) - 9 + 1

    def handshake_shorter(h):
        h.handshake_len = len(h.build()) - 9 - 1

    def extensions_longer(h):
        h.extensions_len = sum(4 + len(v) for v in h.extensions.values()) + 1

    def extensions_shorter(h):
        h.extensions_len = sum(4 + len(v) for v in h.extensions.values()) - 1

    def put_extension(kind, value):
        return lambda h: h.extensions.__setitem__(kind, value)

    share = ref.u16(ref.X25519) + ref.with_len(2, ref.Draw("share").bytes(32))
    name = b"www.example.org"
    cases = {
        "handshake-too-long": ("The handshake message claims one byte more than the record holds.", handshake_longer),
        "handshake-too-short": ("It claims one byte less.", handshake_shorter),
        "handshake-huge": ("It claims sixteen megabytes.", lambda h: setattr(h, "handshake_len", 0xFFFFFF)),
        "session-id-33": (
            "A session id longer than TLS allows.",
            lambda h: setattr(h, "session_block", ref.with_len(1, bytes(33))),
        ),
        "session-id-past-end": (
            "A session id that claims 255 bytes and swallows what follows it.",
            lambda h: setattr(h, "session_block", b"\xff" + h.session_id),
        ),
        "ciphers-odd": (
            "A cipher list of an odd number of bytes.",
            lambda h: setattr(h, "cipher_block", ref.with_len(2, b"\x13\x01\x13")),
        ),
        "ciphers-past-end": (
            "A cipher list that claims to outlast the record.",
            lambda h: setattr(h, "cipher_block", b"\xff\xfe" + h.cipher_block[2:]),
        ),
        "ciphers-none-of-ours": (
            "No TLS 1.3 cipher to answer with.",
            lambda h: setattr(h, "cipher_block", ref.with_len(2, b"\xc0\x2b\xc0\x2f")),
        ),
        "ciphers-empty": ("No cipher at all.", lambda h: setattr(h, "cipher_block", ref.u16(0))),
        "extensions-too-long": ("The extension block claims one byte more than there is.", extensions_longer),
        "extensions-too-short": ("And one byte less.", extensions_shorter),
        "extension-past-end": ("The last extension claims more than the block holds.", last_extension_past_end),
        "sni-list-past-end": (
            "The list of names claims more than its extension.",
            put_extension(0x0000, ref.u16(200) + b"\0" + ref.with_len(2, name)),
        ),
        "sni-name-past-end": (
            "The name claims more than its list.",
            put_extension(0x0000, ref.with_len(2, b"\0" + ref.u16(200) + name)),
        ),
        "sni-truncated": ("The name's length is cut off.", put_extension(0x0000, ref.with_len(2, b"\0\0"))),
        "shares-past-end": (
            "The list of key shares claims more than its extension.",
            put_extension(0x0033, ref.u16(200) + share),
        ),
        "share-past-end": (
            "The share claims more than its list.",
            put_extension(0x0033, ref.with_len(2, ref.u16(ref.X25519) + ref.u16(200) + bytes(32))),
        ),
        "share-truncated": (
            "The list ends inside a share's length.",
            put_extension(0x0033, ref.with_len(2, ref.u16(ref.X25519) + b"\0")),
        ),
        "shares-none-of-ours": (
            "Only P-256, which nobody here can answer.",
            put_extension(0x0033, ref.with_len(2, ref.u16(0x0017) + ref.with_len(2, bytes(65)))),
        ),
        "shares-empty": ("An empty list of shares.", put_extension(0x0033, ref.u16(0))),
        "shares-absent": ("No key share at all.", lambda h: h.extensions.pop(0x0033) and None),
    }
    for label, (prose, change) in cases.items():
        bad_hello(label, prose + " The digest is right.", "malformed", change=change)


def last_extension_past_end(hello):
    """The block's length stays true; only the last extension's own length is one too many."""
    hello.extensions.pop(0x001B)
    whole = sum(4 + len(v) for v in hello.extensions.values()) + 6
    hello.trailer = ref.u16(0x001B) + ref.u16(3) + b"\x02\0"
    hello.extensions_len = whole


# --- the server's answer -------------------------------------------------------------------------------------------------------


def make_answers():
    for label, group, noise in (("x25519", ref.X25519, 2048), ("mlkem", ref.X25519_MLKEM768, 3000)):
        draw = ref.Draw(f"answer {label}")
        secret = secret_of(f"answer {label}")
        hello, _ = ref.sign_hello(Hello(f"answer {label}", groups=(group,)).build(), secret, NOW)
        seen = ref.parse_hello(hello)
        share = ref.x25519_public(draw)
        if group == ref.X25519_MLKEM768:
            share = draw.bytes(1088) + share
        zeroed, random = ref.server_answer(
            secret, hello[11:43], seen["session_id"], 0x1301, group, share, draw.bytes(noise)
        )
        put(
            f"ok-answer-{label}",
            "A fixed answer to `hello`: with `random` in its place it verifies. The share ends in a point of the curve.",
            kind="server-answer",
            expect="ready",
            secret=secret,
            hello=hello,
            client_random=hello[11:43],
            session_id=seen["session_id"],
            cipher=[0x1301],
            group=[group],
            share=share,
            random=random,
            answer_zeroed=zeroed,
            answer=zeroed[:11] + random + zeroed[43:],
        )


# --- all that a fake-TLS client sends ------------------------------------------------------------------------------------------


def stream(
    name, prose, cuts, expect="ready", tag="padded", dc=2, before=b"\x14\x03\x03\0\x01\x01", kind=0x17, spoil=None
):
    """A hello, then the init header and a first frame in records cut at `cuts` (a cut at the same place twice is an empty record)."""
    draw, secret = ref.Draw(f"stream {name}"), secret_of(f"stream {name}")
    hello, _ = ref.sign_hello(Hello(f"stream {name}", pad_to=517).build(), secret, NOW)
    tag = ref.TAGS[tag]
    plain = ref.plain_header(draw, tag, dc)
    link = ref.Link(plain, ref.client_keys(plain, secret))
    payload = ref.frame(tag, ref.req_pq(draw), draw)
    inner = link.header + link.up.apply(payload)
    edges = [0, *cuts, len(inner)]
    records = b"".join(ref.record(kind, inner[a:b]) for a, b in zip(edges, edges[1:]))
    sent = before + records
    if spoil:
        sent = spoil(sent)
    fields = dict(
        kind="client-stream", expect=expect, secret=secret, now=NOW, tag=tag, dc=dc, hello=hello, after_hello=sent
    )
    if expect == "ready":
        assert ref.unwrap(sent) == inner
        fields.update(header=link.header, up_plain=payload)
    put(f"{'ok' if expect == 'ready' else 'bad'}-stream-{name}", prose, **fields)


def make_streams():
    stream("one-record", "The init header and the first frame share a record.", [])
    stream("header-alone", "The init header has a record of its own.", [64])
    stream("header-split", "The init header comes in three records, the last shared with data.", [1, 63])
    stream("bytes", "One byte a record.", list(range(1, 64 + 40)))
    stream("empty-records", "Records of no bytes before, inside and after the init header.", [0, 0, 30, 30, 64, 64])
    stream("media", "A media DC.", [], dc=-2)

    stream("tag-abridged", "Inside TLS only the padded transport is spoken.", [], tag="abridged", expect="bad_tag")
    stream("tag-intermediate", "Likewise.", [64], tag="intermediate", expect="bad_tag")
    stream("unknown-dc", "All is right except the DC.", [], dc=77, expect="unknown_dc")
    stream("record-kind", "A heartbeat record where data should be.", [], kind=0x18, expect="malformed")
    stream("record-handshake", "A second handshake record in place of data.", [], kind=0x16, expect="malformed")
    stream(
        "oversized",
        "A record that announces 65,535 bytes.",
        [],
        spoil=lambda s: s[:6] + b"\x17\x03\x03\xff\xff" + s[11:],
        expect="malformed",
    )
    stream(
        "record-version",
        "A record of a version that does not exist.",
        [],
        spoil=lambda s: s[:6] + b"\x17\x09\x03" + s[9:],
        expect="malformed",
    )
    stream(
        "truncated",
        "The last byte of the init header is missing.",
        [63],
        spoil=lambda s: s[: 6 + 5 + 63],
        expect="incomplete",
    )


def compute():
    """All the files, as name → content."""
    if not FILES:
        make_obfuscated2()
        make_dc_headers()
        make_hellos()
        make_answers()
        make_streams()
    return {f"{name}.txt": content for name, content in FILES.items()}


def differences(files):
    there = {path.name: path.read_text() for path in HERE.glob("*.txt") if "captured" not in path.name}
    return sorted(name for name in there.keys() | files.keys() if there.get(name) != files.get(name))


def main():
    files = compute()
    changed = differences(files)
    for name in changed:
        if "--check" in sys.argv[1:]:
            print(f"{name}: not what make.py computes")
        elif name in files:
            (HERE / name).write_text(files[name])
        else:
            (HERE / name).unlink()
    print(f"{len(files)} computed vectors, {len(changed)} of them changed")
    return 1 if changed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
