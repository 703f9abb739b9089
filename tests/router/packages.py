"""Packages made for the tests: by the builder itself, around a small program, as their contents do not depend on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from router import ROOT

BUILDER = ROOT / "openwrt/build/package.py"
sys.path.insert(0, str(BUILDER.parent))

# What a package's scripts ask of the relay. `make test-cross` puts a real one in its place.
SMALL_PROGRAM = """#!/bin/sh
# version {version}
[ "$1" != secret ] || echo 00112233445566778899aabbccddeeff
"""


def version() -> str:
    return re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def program(folder: Path, version: str = "1") -> Path:
    named = os.environ.get("MTRELAY_ROUTER_BIN")
    if named:
        return Path(named)
    path = folder / f"mtrelay-{version}"
    path.write_text(SMALL_PROGRAM.format(version=version))
    path.chmod(0o755)
    return path


def make(binary: Path, into: Path, target: str = "mips_24kc") -> None:
    command = [sys.executable, BUILDER, "--target", target, "--binary", binary, "--into", into]
    # A umask must not show in a package.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, umask=0o077, timeout=120)
