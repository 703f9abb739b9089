"""The package for OpenWrt's build system: its Makefile, run by make itself among stand-ins for the SDK's parts."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import packages
from router import ROOT, STANDINS, Ipk

CARGO = os.environ.get("CARGO", "cargo")


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)

    def make(self, goal: str, *variables: str) -> None:
        command = ["make", "-C", ROOT / "openwrt", f"TOPDIR={STANDINS / 'sdk'}", f"OUT={self.folder}", *variables, goal]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def build_folder(self) -> Path:
        return next((self.folder / "build").glob("mtrelay-*"))

    def test_prepared_sources_are_a_whole_workspace(self):
        self.make("prepare")
        command = [CARGO, "metadata", "--no-deps", "--offline", "--format-version", "1"]
        done = subprocess.run(command, cwd=self.build_folder(), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        # `cargo install --path` takes the relay, and its program.
        [relay] = [package for package in json.loads(done.stdout)["packages"] if package["name"] == "mtrelay"]
        sources = [target["src_path"] for target in relay["targets"] if target["kind"] == ["bin"]]
        self.assertEqual(sources, [str(self.build_folder().resolve() / "src/main.rs")])

    def test_it_installs_what_the_packages_without_sdk_hold(self):
        program = packages.program(self.folder)
        built = self.folder / "build" / f"mtrelay-{packages.version()}" / "ipkg-install/bin"
        built.mkdir(parents=True)
        shutil.copy2(program, built / "mtrelay")
        self.make("install-mtrelay")
        installed = self.folder / "mtrelay"
        files = {f"./{path.relative_to(installed)}": path for path in installed.rglob("*") if path.is_file()}
        packages.make(program, self.folder / "packages")
        package = Ipk(next((self.folder / "packages").glob("mtrelay_*_mips_24kc.ipk")))
        expected = {name: (info.mode, content) for name, (info, content) in package.data.items() if info.isfile()}
        found = {name: (path.stat().st_mode & 0o777, path.read_bytes()) for name, path in files.items()}
        self.assertEqual(found, expected)


if __name__ == "__main__":
    unittest.main()
