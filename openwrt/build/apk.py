"""`.apk`, the packages of apk-tools 3 (OpenWrt 25.12): one `adb` document that describes everything, then the files' bytes.

An adb document is a heap of values. A value is 32 bits: its type in the highest four, below them a small number or the place
where the rest lies: a string with its length before it, or a list of values with their number (itself counted) before them.
Fields of objects have fixed places. Everything is little-endian.
"""

import hashlib
import struct

import archive
import deflate
from makefile import Package

INT, INT_32, BLOB_8, BLOB_16, BLOB_32, ARRAY, OBJECT = (kind << 28 for kind in (0x1, 0x2, 0x8, 0x9, 0xA, 0xD, 0xE))
NULL = 0
BLOCK_DOCUMENT, BLOCK_DATA = 0, 2
SCHEMA_PACKAGE = b"pckg"
# Bytes of the unique id: a truncated digest of the document, in which the id itself is zero.
ID_LEN = 20

INFO_FIELDS = {
    "name": 1,
    "version": 2,
    "hashes": 3,
    "description": 4,
    "arch": 5,
    "license": 6,
    "origin": 7,
    "maintainer": 8,
    "installed-size": 12,
    "depends": 15,
}
SCRIPT_FIELDS = {"post-install": 3, "pre-deinstall": 4, "post-deinstall": 5, "post-upgrade": 7}

SCRIPT_HEAD = """#!/bin/sh
[ -s "${{IPKG_INSTROOT}}/lib/functions.sh" ] || exit 0
. "${{IPKG_INSTROOT}}/lib/functions.sh"
export root="${{IPKG_INSTROOT}}"
export pkgname="{name}"
"""


class Document:
    """A heap under construction."""

    def __init__(self) -> None:
        # Version 0, and the root value, which is filled in at the end.
        self.heap = bytearray(8)
        self.known: dict[tuple[bytes, int], int] = {}

    def put(self, content: bytes, alignment: int, shared: bool = True) -> int:
        """The offset of these bytes; equal ones are stored once."""
        if shared and (content, alignment) in self.known:
            return self.known[content, alignment]
        self.heap += bytes(-len(self.heap) % alignment)
        place = len(self.heap)
        self.heap += content
        self.known[content, alignment] = place
        return place

    def number(self, value: int) -> int:
        if value < 1 << 28:
            return INT | value
        return INT_32 | self.put(struct.pack("<I", value), 4)

    def blob(self, content: bytes, shared: bool = True) -> int:
        if not content:
            return NULL
        for kind, size, length in ((BLOB_8, 1, "<B"), (BLOB_16, 2, "<H"), (BLOB_32, 4, "<I")):
            if len(content) < 1 << (8 * size):
                return kind | self.put(struct.pack(length, len(content)) + content, size, shared)
        raise ValueError("too large for a package")

    def text(self, text: str) -> int:
        return self.blob(text.encode())

    def values(self, kind: int, values: list[int]) -> int:
        while values and values[-1] == NULL:
            values = values[:-1]
        if not values:
            return NULL
        count = len(values) + 1
        return kind | self.put(struct.pack(f"<{count}I", count, *values), 4)

    def array(self, values: list[int]) -> int:
        return self.values(ARRAY, values)

    def object(self, fields: dict[int, int]) -> int:
        return self.values(OBJECT, [fields.get(at, NULL) for at in range(1, max(fields) + 1)])

    def finish(self, root: int) -> bytearray:
        struct.pack_into("<I", self.heap, 4, root)
        return self.heap


def block(kind: int, content: bytes) -> bytes:
    head = struct.pack("<I", kind << 30 | len(content) + 4)
    return head + content + bytes(-(len(head) + len(content)) % 8)


def scripts(package: Package) -> dict[str, str]:
    """OpenWrt's standard scripts, followed by the package's own."""
    own = {name: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#!"))
           for name, text in package.scripts.items()}
    head = SCRIPT_HEAD.format(name=package.name)
    install = head + "add_group_and_user\ndefault_postinst\n" + own.get("postinst", "")
    body = install.removeprefix("#!/bin/sh\n")
    found = {
        "post-install": '#!/bin/sh\n[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n' + body,
        "post-upgrade": '#!/bin/sh\nexport PKG_UPGRADE=1\n[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n' + body,
        "pre-deinstall": head + "default_prerm\n" + own.get("prerm", ""),
    }
    if "postrm" in own:
        found["post-deinstall"] = "#!/bin/sh\n" + own["postrm"]
    return found


def contents(package: Package) -> dict[str, tuple[bytes, int]]:
    """The files, and the lists of them in /lib/apk/packages that OpenWrt's scripts read."""
    files = {file.path.strip("/"): (file.source.read_bytes(), file.mode) for file in package.files}
    facts = f"lib/apk/packages/{package.name}"
    lists = {}
    if package.user:
        lists[f"{facts}.rusers"] = f"{package.user}\n"
    if package.conffiles:
        digests = ((path, hashlib.sha256(files[path.strip("/")][0]).hexdigest()) for path in package.conffiles)
        lists[f"{facts}.conffiles"] = "".join(f"{path}\n" for path in package.conffiles)
        lists[f"{facts}.conffiles_static"] = "".join(f"{path} {digest}\n" for path, digest in digests)
    # Made before the lists of conffiles exist, as in the SDK.
    named = sorted([*files, *(path for path in lists if path.endswith(".rusers"))])
    lists[f"{facts}.list"] = "".join(f"/{path}\n" for path in named)
    return files | {path: (text.encode(), 0o644) for path, text in lists.items()}


def build(package: Package, architecture: str) -> bytes:
    files = contents(package)
    document = Document()
    root = document.text("root")

    def owned(mode: int) -> int:
        return document.object({1: document.number(mode), 2: root, 3: root})

    folders: dict[str, list[str]] = {"": []}
    for path in sorted(files, key=str.encode):
        for folder in archive.parents(path):
            folders.setdefault(folder, [])
        folder, _, name = path.rpartition("/")
        folders[folder].append(name)
    paths, data = [], []
    for at, folder in enumerate(sorted(folders, key=str.encode), 1):
        entries = []
        for number, name in enumerate(folders[folder], 1):
            content, mode = files[f"{folder}/{name}".strip("/")]
            fields = {
                1: document.text(name),
                2: owned(mode),
                3: document.number(len(content)),
                4: document.number(archive.EPOCH),
                5: document.blob(hashlib.sha256(content).digest()),
            }
            entries.append(document.object(fields))
            if content:
                data.append(block(BLOCK_DATA, struct.pack("<II", at, number) + content))
        paths.append(document.object({1: document.text(folder), 2: owned(0o755), 3: document.array(entries)}))

    unique_id = document.blob(bytes(ID_LEN), shared=False)
    info = {
        "name": document.text(package.name),
        "version": document.text(package.version),
        "hashes": unique_id,
        "description": document.text(package.description),
        "arch": document.text("noarch" if architecture == "all" else architecture),
        "license": document.text(package.license),
        "origin": document.text(package.name),
        "maintainer": document.text(package.maintainer),
        "installed-size": document.number(sum(len(content) for content, _ in files.values())),
        "depends": document.array([document.object({1: document.text(name)}) for name in sorted(package.depends)]),
    }
    texts = {SCRIPT_FIELDS[name]: document.text(text) for name, text in scripts(package).items()}
    described = {
        1: document.object({INFO_FIELDS[name]: value for name, value in info.items()}),
        2: document.array(paths),
        3: document.object(texts),
    }
    heap = document.finish(document.object(described))
    # The blob's length, before the blob.
    place = (unique_id & 0x0FFF_FFFF) + 1
    heap[place : place + ID_LEN] = hashlib.sha256(heap).digest()[:ID_LEN]

    plain = b"ADB." + SCHEMA_PACKAGE + block(BLOCK_DOCUMENT, bytes(heap)) + b"".join(data)
    return b"ADBd" + deflate.raw(plain)
