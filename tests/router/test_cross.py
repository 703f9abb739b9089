"""The cross builds: their linker, and cross.toml, which names the same targets and flags."""

import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import packages  # noqa: F401  makes the builder's modules findable
from router import ROOT

import cross
from targets import TARGETS


class CrossToml(unittest.TestCase):
    def test_targets_and_flags_are_the_same(self):
        config = tomllib.loads((ROOT / "cross.toml").read_text())
        self.assertEqual(set(config["target"]), {target.rust for target in TARGETS})
        for target in TARGETS:
            [line] = config["target"][target.rust]["env"]["passthrough"]
            name, _, flags = line.partition("=")
            self.assertEqual(name, f"CARGO_TARGET_{target.rust.upper().replace('-', '_')}_RUSTFLAGS")
            # The linker's script by its place in the sources; paths need no rewriting in a container.
            expected = [flag.replace(f"{ROOT}/", "") for flag in cross.rust_flags(target) if "remap" not in flag]
            self.assertEqual(flags.split(), expected)
        self.assertEqual(config["build"]["build-std"], ["std", "panic_abort"])
        self.assertIn(f"-Zbuild-std={','.join(config['build']['build-std'])}", cross.BUILD_STD)


# Says how it calls lld, as zig does, and takes down how it is called as lld itself.
ZIG = """#!/bin/sh
case $1 in
cc) {says} ;;
ld.lld) echo "$@" > '{called}' ;;
esac
"""


class Link(unittest.TestCase):
    def link(self, *says: str) -> tuple[subprocess.CompletedProcess, str]:
        with tempfile.TemporaryDirectory() as scratch:
            zig, called = Path(scratch) / "zig", Path(scratch) / "called"
            said = "; ".join(f"echo '{line}' >&2" for line in says)
            zig.write_text(ZIG.format(says=said, called=called))
            zig.chmod(0o755)
            command = [sys.executable, ROOT / "openwrt/build/link.py", zig, "mips", "main.o", "-o", "/out/program"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            return done, called.read_text() if called.exists() else ""

    def test_the_program_is_linked_again(self):
        done, called = self.link("ld.lld -static -o /out/program main.o libc.a", "ld.lld: warning")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(called.startswith("ld.lld -static -o /out/program main.o libc.a --icf=all"), called)

    def test_so_it_is_where_start_up_objects_are_linked_before(self):
        done, called = self.link("ld.lld -r -o cache/crt1.o crt1.o", "ld.lld -static -o /out/program main.o")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(called.startswith("ld.lld -static -o /out/program main.o "), called)

    def test_a_binary_that_cannot_be_linked_again_is_none(self):
        done, called = self.link("ld.lld -r -o cache/crt1.o crt1.o")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(called, "")


if __name__ == "__main__":
    unittest.main()
