"""Translations for LuCI: `.po` files, as translators write them, to `.lmo`, as LuCI reads them.

A `.lmo` holds the translations end to end, each padded to four bytes, and then an index: per entry the hash of the original, the
plural's number, the place and the length, sorted by hash, and last where the index begins. All of it big-endian. The hash is
Paul Hsieh's SuperFastHash, with its reading of single bytes as signed.
"""

import re
import struct

MASK = 0xFFFF_FFFF


def hash_of(data: bytes) -> int:
    """SuperFastHash."""
    if not data:
        return 0
    value = len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        low, high = struct.unpack_from("<HH", data, at)
        value = (value + low) & MASK
        value = (value << 16 ^ (high << 11 ^ value)) & MASK
        value = (value + (value >> 11)) & MASK
    rest = data[whole:]
    signed = lambda byte: byte - 256 if byte > 127 else byte
    if len(rest) == 3:
        value = (value + struct.unpack_from("<H", rest)[0]) & MASK
        value = (value ^ value << 16 ^ signed(rest[2]) << 18) & MASK
        value = (value + (value >> 11)) & MASK
    elif len(rest) == 2:
        value = (value + struct.unpack_from("<H", rest)[0]) & MASK
        value = (value ^ value << 11) & MASK
        value = (value + (value >> 17)) & MASK
    elif len(rest) == 1:
        value = (value + signed(rest[0])) & MASK
        value = (value ^ value << 10) & MASK
        value = (value + (value >> 1)) & MASK
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) & MASK
        value = (value + (value >> right)) & MASK
    return value


def read_po(text: str) -> list[dict[str, str]]:
    """The messages: `msgid`, `msgctxt`, `msgid_plural` and `msgstr[0]`… of each. Comments and obsolete messages are skipped."""
    messages: list[dict[str, str]] = []
    message: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        if match := re.match(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?)\s+(".*")\s*$', line):
            name = "msgstr[0]" if match[1] == "msgstr" else match[1]
            if name in ("msgctxt", "msgid") and any(key.startswith("msgstr") for key in message):
                messages.append(message)
                message = {}
            message[name] = string(match[2])
        elif line.startswith('"') and name:
            message[name] += string(line.rstrip())
    return [*messages, message] if message else messages


def string(quoted: str) -> str:
    """LuCI's reading: quotes and backslashes lose their backslash; every other escape stays as it is written."""
    return re.sub(r'\\(["\\])', r"\1", quoted[1:-1])


def entries(messages: list[dict[str, str]]) -> list[tuple[int, int, bytes]]:
    """Hash, plural number and text of each translated message."""
    found = []
    for message in messages:
        original, context = message.get("msgid", ""), message.get("msgctxt")
        texts = {number: text for number in range(10) if (text := message.get(f"msgstr[{number}]"))}
        if 0 not in texts:
            continue
        if not original:
            # The header, with hash zero: LuCI reads the plural rule from it.
            for field in texts[0].split("\\n"):
                if field.lower().startswith("plural-forms: "):
                    found.append((0, 0, field[14:].encode()))
                    break
            continue
        for number, text in texts.items():
            key = f"{context}\1{original}" if context else original
            if "msgid_plural" in message:
                key += f"\2{number}"
            key_hash, text_hash = hash_of(key.encode()), hash_of(text.encode())
            # A translation equal to the original is left out.
            if key_hash != text_hash:
                found.append((key_hash, max(texts) + 1, text.encode()))
    return found


def build(text: str) -> bytes:
    heap, index = bytearray(), []
    for key_hash, number, content in entries(read_po(text)):
        index.append((key_hash, number, len(heap), len(content)))
        heap += content + bytes(-len(content) % 4)
    if not index:
        return b""
    index.sort(key=lambda entry: entry[0])
    return bytes(heap) + b"".join(struct.pack(">IIII", *entry) for entry in index) + struct.pack(">I", len(heap))
