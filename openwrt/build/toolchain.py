"""The cross compiler: Debian's Rust with the sources of its standard library, and zig as C library and linker.

Debian's compiler and library sources always match, and its cargo builds the library with ours, so one recipe serves all targets.
What is missing is installed: Debian's packages where apt and the right to use it are there, zig into the cache.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ZIG_VERSION = "0.17.0"
# Full paths: the shims of a toolchain manager would pick a compiler that does not match the library sources.
RUSTC = Path("/usr/bin/rustc")
CARGO = Path("/usr/bin/cargo")
OLDEST_RUST = (1, 95)
LINK = Path(__file__).resolve().with_name("link.py")


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mtrelay"


def say(text: str) -> None:
    print(f"cross: {text}", file=sys.stderr, flush=True)


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def apt_install(packages: list[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"cross: missing; on Debian: apt-get install {' '.join(packages)}")
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)


def rust_is_usable() -> bool:
    if not (RUSTC.exists() and CARGO.exists()):
        return False
    version = output(RUSTC, "--version").split()[1].split(".")
    sources = Path(output(RUSTC, "--print", "sysroot").strip()) / "lib/rustlib/src/rust/library/Cargo.lock"
    return (int(version[0]), int(version[1])) >= OLDEST_RUST and sources.exists()


def require_rust() -> str:
    """Installs the compiler if needed; returns its version."""
    if not rust_is_usable():
        apt_install(["rustc-web", "rust-web-src", "cargo-web"])
    if not rust_is_usable():
        raise SystemExit(f"cross: {RUSTC} is older than {OLDEST_RUST} or has no library sources")
    return output(RUSTC, "-vV")


def require_pip() -> None:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        apt_install(["python3-pip"])


def require_zig() -> Path:
    """The path of zig. A new installation is renamed to its final name once it is complete."""
    folder = cache() / f"ziglang-{ZIG_VERSION}"
    if not folder.exists():
        require_pip()
        say(f"installing zig {ZIG_VERSION} into {folder}")
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", making, f"ziglang=={ZIG_VERSION}"], check=True, stdout=sys.stderr)
        try:
            making.rename(folder)
        except OSError:
            # Another build has installed it meanwhile.
            shutil.rmtree(making)
    return folder / "ziglang" / "zig"


def require_qemu(runner: str) -> str:
    """qemu-user for one processor, from Debian's package."""
    for name in (f"{runner}-static", runner):
        if found := shutil.which(name):
            return found
    apt_install(["qemu-user-static"])
    found = shutil.which(f"{runner}-static")
    if not found:
        raise SystemExit(f"cross: {runner} cannot be had")
    return found


def linker(zig: Path, name: str, zig_target: str) -> Path:
    """A linker script for the target: cargo takes a program without arguments."""
    path = cache() / "linkers" / name
    text = f'#!/bin/sh\nexec "{sys.executable}" "{LINK}" "{zig}" "{zig_target}" "$@"\n'
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        making = path.with_name(f"{name}.{os.getpid()}")
        making.write_text(text)
        making.chmod(0o755)
        making.rename(path)
    return path
