"""cross.toml names the targets and flags of the Makefile's own cross builds."""

import tomllib
import unittest

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


if __name__ == "__main__":
    unittest.main()
