"""What is in the packages, to whom it belongs, and that they are the same wherever they are made."""

import gzip
import hashlib
import json
import re
import struct
import tempfile
import unittest
import zlib
from pathlib import Path

import packages
from router import ROOT, Ipk

import lmo  # from the builder's folder, which `packages` adds

VERSION = packages.version()
CONTENTS = {
    "./usr/sbin/mtrelay": 0o755,
    "./etc/config/mtrelay": 0o600,
    "./etc/init.d/mtrelay": 0o755,
    "./etc/uci-defaults/50-mtrelay": 0o644,
    "./etc/capabilities/mtrelay.json": 0o644,
    "./etc/capabilities/mtrelay-raw.json": 0o644,
    "./etc/capabilities/mtrelay-admin.json": 0o644,
    "./etc/seccomp/mtrelay.json": 0o644,
    "./usr/share/acl.d/mtrelay.json": 0o644,
    "./usr/share/mtrelay/sysctl.conf": 0o644,
}


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        cls.program = packages.program(cls.folder)
        packages.make(cls.program, cls.folder)
        cls.path = cls.folder / f"mtrelay_{VERSION}_mips_24kc.ipk"
        cls.relay = Ipk(cls.path)

    def test_outer_archive(self):
        self.assertEqual(list(self.relay.outer), ["./debian-binary", "./data.tar.gz", "./control.tar.gz"])
        self.assertEqual(self.relay.outer["./debian-binary"][1], b"2.0\n")

    def test_files_and_modes(self):
        files = {name: info.mode for name, (info, _) in self.relay.data.items() if info.isfile()}
        extra = set(files) - set(CONTENTS)
        self.assertFalse(set(CONTENTS) - set(files))
        # Files may be added to the package, but each is either read by root alone or by everyone, and written by root.
        self.assertFalse([name for name in extra if files[name] not in (0o600, 0o644, 0o755)])
        self.assertEqual({name: files[name] for name in CONTENTS}, CONTENTS)
        self.assertEqual(self.relay.data["./usr/sbin/mtrelay"][1], self.program.read_bytes())

    def test_everything_is_roots_and_old(self):
        for name, (info, _) in self.relay.data.items():
            self.assertEqual((info.uid, info.gid, info.mtime), (0, 0, 315532800), name)
            if info.isdir():
                self.assertEqual(info.mode, 0o755, name)

    def test_folders_come_before_what_is_in_them(self):
        seen = set()
        for name, (info, _) in self.relay.data.items():
            if name != ".":
                parent = name.rstrip("/").rpartition("/")[0]
                self.assertIn(parent or ".", seen | {"."}, name)
            seen.add(name.rstrip("/"))

    def test_control(self):
        fields = self.relay.fields
        self.assertEqual(fields["Package"], "mtrelay")
        self.assertEqual(fields["Version"], VERSION)
        self.assertEqual(fields["Architecture"], "mips_24kc")
        self.assertEqual(fields["Require-User"], "mtrelay=8443:mtrelay=8443")
        self.assertEqual(self.relay.control["conffiles"], "/etc/config/mtrelay\n")
        self.assertIn("default_postinst $0 $@", self.relay.control["postinst"])
        self.assertIn("default_prerm $0 $@", self.relay.control["prerm"])
        self.assertIn("kill -HUP $(pidof ubusd)", self.relay.control["postinst-pkg"])
        for name in ("postinst", "prerm", "postinst-pkg", "postrm"):
            self.assertTrue(self.relay.control[name].startswith("#!/bin/sh\n"), name)
            self.assertNotIn("$$", self.relay.control[name])

    def test_versions_agree(self):
        makefile = (ROOT / "openwrt/Makefile").read_text()
        self.assertEqual(re.search(r"^PKG_VERSION:=(.*)$", makefile, re.MULTILINE)[1], VERSION)
        self.assertEqual(Ipk(self.folder / f"luci-app-mtrelay_{VERSION}_all.ipk").fields["Version"], VERSION)

    def test_access_list_is_ubusds(self):
        entry = json.loads(self.relay.data["./usr/share/acl.d/mtrelay.json"][1])
        self.assertEqual(entry, {"user": "mtrelay", "publish": ["mtrelay"], "send": ["mtrelay.*"]})

    def test_capabilities_are_ambient(self):
        for name, added in (("", []), ("-raw", ["CAP_NET_RAW"]), ("-admin", ["CAP_NET_ADMIN"])):
            sets = json.loads(self.relay.data[f"./etc/capabilities/mtrelay{name}.json"][1])
            self.assertEqual(set(sets), {"bounding", "effective", "inheritable", "permitted", "ambient"})
            for kind, capabilities in sets.items():
                self.assertEqual(capabilities, ["CAP_NET_BIND_SERVICE", *added], kind)

    def test_luci_package(self):
        page = Ipk(self.folder / f"luci-app-mtrelay_{VERSION}_all.ipk")
        self.assertEqual(page.fields["Architecture"], "all")
        self.assertIn("mtrelay", page.fields["Depends"].split(", "))
        sources = [path for path in (ROOT / "luci/htdocs").rglob("*") if path.is_file()]
        self.assertTrue(sources)
        for path in sources:
            name = f"./www/{path.relative_to(ROOT / 'luci/htdocs')}"
            self.assertEqual(page.data[name][1], path.read_bytes())
        self.assertIn("./usr/share/rpcd/acl.d/luci-app-mtrelay.json", page.data)
        self.assertIn("killall -HUP rpcd", page.control["postinst-pkg"])
        self.assertFalse([name for name in page.data if "/po" in name])

    def test_index_tells_of_every_package(self):
        text = (self.folder / "Packages").read_text()
        self.assertEqual(gzip.decompress((self.folder / "Packages.gz").read_bytes()).decode(), text)
        entries = [dict(line.split(": ", 1) for line in entry.splitlines()) for entry in text.strip().split("\n\n")]
        self.assertEqual({entry["Filename"] for entry in entries}, {path.name for path in self.folder.glob("*.ipk")})
        for entry in entries:
            content = (self.folder / entry["Filename"]).read_bytes()
            self.assertEqual(int(entry["Size"]), len(content))
            self.assertEqual(entry["SHA256sum"], hashlib.sha256(content).hexdigest())
            self.assertEqual(entry["Version"], VERSION)

    def test_made_again_they_are_the_same(self):
        with tempfile.TemporaryDirectory() as again:
            packages.make(self.program, Path(again))
            made = sorted(path.name for path in self.folder.iterdir() if path.suffix in (".ipk", ".apk"))
            self.assertEqual(made, sorted(path.name for path in Path(again).iterdir() if path.suffix in (".ipk", ".apk")))
            for name in [*made, "Packages", "Packages.gz"]:
                self.assertEqual((self.folder / name).read_bytes(), (Path(again) / name).read_bytes(), name)


class Apk(unittest.TestCase):
    """The document is read back by its own rules, which are those of apk-tools."""

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        folder = Path(scratch.name)
        cls.program = packages.program(folder)
        packages.make(cls.program, folder)
        packed = (folder / f"mtrelay_{VERSION}_mips_24kc.apk").read_bytes()
        assert packed[:4] == b"ADBd"
        cls.plain = zlib.decompress(packed[4:], wbits=-15)
        assert cls.plain[:8] == b"ADB.pckg"
        cls.blocks, at = [], 8
        while at < len(cls.plain):
            (head,) = struct.unpack_from("<I", cls.plain, at)
            size = head & 0x3FFF_FFFF
            cls.blocks.append((head >> 30, cls.plain[at + 4 : at + size]))
            at += (size + 7) & ~7
        cls.heap = cls.blocks[0][1]
        cls.root = cls.value(struct.unpack_from("<I", cls.heap, 4)[0])

    @classmethod
    def value(cls, value: int):
        kind, rest = value >> 28, value & 0x0FFF_FFFF
        if kind == 1:
            return rest
        if kind == 2:
            return struct.unpack_from("<I", cls.heap, rest)[0]
        if kind in (8, 9, 10):
            size = {8: 1, 9: 2, 10: 4}[kind]
            assert rest % size == 0
            length = int.from_bytes(cls.heap[rest : rest + size], "little")
            return cls.heap[rest + size : rest + size + length]
        if kind in (13, 14):
            assert rest % 4 == 0
            (count,) = struct.unpack_from("<I", cls.heap, rest)
            values = struct.unpack_from(f"<{count - 1}I", cls.heap, rest + 4)
            return [cls.value(value) if value else None for value in values]
        raise AssertionError(f"type {kind}")

    def test_info(self):
        info = self.root[0]
        self.assertEqual((info[0], info[1], info[4]), (b"mtrelay", VERSION.encode(), b"mips_24kc"))
        unique_id = info[2]
        at = self.heap.index(unique_id)
        blank = self.heap[:at] + bytes(len(unique_id)) + self.heap[at + len(unique_id) :]
        self.assertEqual(hashlib.sha256(blank).digest()[:20], unique_id)

    def test_files_and_their_bytes(self):
        data = {}
        for kind, content in self.blocks[1:]:
            self.assertEqual(kind, 2)
            data[struct.unpack_from("<II", content)] = content[8:]
        found = {}
        names = [folder[0] or b"" for folder in self.root[1]]
        self.assertEqual(names, sorted(names))
        for at, folder in enumerate(self.root[1], 1):
            self.assertEqual(folder[1], [0o755, b"root", b"root"])
            files = folder[2] if len(folder) > 2 else []
            self.assertEqual([file[0] for file in files], sorted(file[0] for file in files))
            for number, (name, (mode, user, group), size, _, digest, *_) in enumerate(files, 1):
                content = data.pop((at, number), b"")
                self.assertEqual((len(content), hashlib.sha256(content).digest()), (size, digest))
                self.assertEqual((user, group), (b"root", b"root"))
                found[f"./{(folder[0] or b'').decode()}/{name.decode()}"] = mode
        self.assertFalse(data)
        self.assertEqual({name: found[name] for name in CONTENTS}, CONTENTS)
        for name in ("rusers", "conffiles", "conffiles_static", "list"):
            self.assertIn(f"./lib/apk/packages/mtrelay.{name}", found)

    def test_scripts(self):
        _, _, install, deinstall, removed, _, upgrade = self.root[2]
        self.assertTrue(install.startswith(b"#!/bin/sh\n") and b"\ndefault_postinst\n" in install)
        self.assertIn(b"add_group_and_user", install)
        self.assertIn(b"kill -HUP $(pidof ubusd)", install)
        self.assertIn(b"export PKG_UPGRADE=1\n", upgrade)
        self.assertIn(b"default_prerm", deinstall)
        self.assertIn(b"/var/run/mtrelay.shape", removed)
        for script in (install, deinstall, removed, upgrade):
            self.assertEqual(script.count(b"#!"), 1)


class Translations(unittest.TestCase):
    def test_hashes_are_those_of_luci(self):
        # From a .lmo that LuCI's own converter made.
        known = {"Save": 0x219966C7, "Off": 0x46BF098C, "a": 0x115EA782}
        for text, expected in known.items():
            self.assertEqual(lmo.hash_of(text.encode()), expected, text)

    def test_file(self):
        po = (
            'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
            '# said of a link\nmsgctxt "link"\nmsgid "Open"\nmsgstr "Öffnen"\n\n'
            'msgid "same"\nmsgstr "same"\n\nmsgid "none"\nmsgstr ""\n\n'
            'msgid "%d user"\nmsgid_plural "%d users"\nmsgstr[0] "%d Person"\nmsgstr[1] "%d "\n"Personen"\n\n'
            '#~ msgid "old"\n#~ msgstr "alt"\n'
        )
        made = lmo.build(po)
        (index,) = struct.unpack_from(">I", made, len(made) - 4)
        entries = {}
        for at in range(index, len(made) - 4, 16):
            key, plurals, place, length = struct.unpack_from(">IIII", made, at)
            self.assertEqual(place % 4, 0)
            entries[key] = (plurals, made[place : place + length].decode())
        self.assertEqual(list(entries), sorted(entries))
        self.assertEqual(
            entries,
            {
                0: (0, "nplurals=2; plural=(n != 1);"),
                lmo.hash_of("link\1Open".encode()): (1, "Öffnen"),
                lmo.hash_of("%d user\0020".encode()): (2, "%d Person"),
                lmo.hash_of("%d user\0021".encode()): (2, "%d Personen"),
            },
        )


if __name__ == "__main__":
    unittest.main()
