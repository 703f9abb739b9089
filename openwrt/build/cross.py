"""`make cross`: static binaries for routers, in dist/bin.

A binary is cached under a digest of its inputs (sources, flags, compiler) and built again only when the digest changes.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import toolchain
from targets import TARGETS, Target, select
from toolchain import CARGO, RUSTC, cache, say

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
HERE = Path(__file__).resolve().parent
PROFILE = "router"
# The relay is built first and alone, so that cargo does not unify its features with those of mtfetch's dependencies.
PROGRAMS = ("mtrelay", "mtfetch")
# Crates whose code runs once per byte in mtfetch: optimised for speed in its build only.
FAST = {"mtfetch": ("aes", "grammers-crypto", "num-bigint", "sha2")}
# Number of source states whose binaries stay in the cache.
KEPT_STATES = 12
# Files of this folder that affect the binary: part of the digest.
BUILDERS = ("cross.py", "discard.ld", "link.py", "targets.py", "toolchain.py")

BUILD_STD = [
    # The library that comes with the compiler is built for speed and with backtraces, which alone are 260 KB; MIPS has none at all.
    "-Zbuild-std=std,panic_abort",
    "-Zbuild-std-features=optimize_for_size",
]


MIPS_FLAGS = [
    # A jump through a table is longer than a few comparisons.
    "-Cllvm-args=-min-jump-table-entries=64",
    # Tail merging. LLVM disables it on MIPS because of branches over more than 128 KB; the largest function here is a seventh of that.
    "-Cllvm-args=-enable-tail-merge",
]


def rust_flags(target: Target) -> list[str]:
    flags = [
        # One file that needs nothing of the router's firmware; on MIPS the default is dynamic.
        "-Ctarget-feature=+crt-static",
        # The start-up objects are zig's.
        "-Clink-self-contained=no",
        # A fixed address: position independence costs a register and some KB.
        "-Crelocation-model=static",
        # Panics do not unwind.
        "-Cforce-unwind-tables=no",
        # A panic stops the program at the instruction where it happened, without a message, and procd restarts it. Messages and the
        # code that formats them are 85 KB on MIPS; the kernel's log still reports the trap where it is configured to.
        "-Zunstable-options",
        "-Cpanic=immediate-abort",
        # SHA-256 as a loop: it hashes a hello and four keys for a session, never its bytes.
        '--cfg=sha2_backend_soft="compact"',
        *(MIPS_FLAGS if target.mips else []),
        f"-Clink-arg=-Wl,-T,{HERE / 'discard.ld'}",
        "-Clink-arg=-Wl,--no-eh-frame-hdr",
        # Paths in the binary are the same wherever it is built.
        f"--remap-path-prefix={os.environ.get('CARGO_HOME') or Path.home() / '.cargo'}=/cargo",
        f"--remap-path-prefix={ROOT}=/mtrelay",
    ]
    return flags


def state_digest(compiler: str) -> str:
    """The digest of everything that affects the binaries."""
    digest = hashlib.sha256()
    digest.update(f"{compiler}\n{toolchain.ZIG_VERSION}\n".encode())
    files = [ROOT / "Cargo.toml", ROOT / "Cargo.lock", *(HERE / name for name in BUILDERS)]
    files += sorted(path for path in (ROOT / "src").rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:24]


def environment(targets: list[Target], zig: Path) -> dict[str, str]:
    variables = {key: value for key, value in os.environ.items() if key not in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")}
    variables |= {
        "RUSTC": str(RUSTC),
        # Building the standard library is an unstable feature of a stable compiler.
        "RUSTC_BOOTSTRAP": "1",
        "CARGO_TARGET_DIR": str(cache() / "cross-target"),
        "ZIG_GLOBAL_CACHE_DIR": str(cache() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache() / "zig"),
    }
    for target in targets:
        name = target.rust.upper().replace("-", "_")
        variables[f"CARGO_TARGET_{name}_LINKER"] = str(toolchain.linker(zig, target.rust, target.zig))
        variables[f"CARGO_TARGET_{name}_RUSTFLAGS"] = " ".join(rust_flags(target))
    return variables


def build(target: Target, program: str, features: str = "") -> Path:
    """Compiles one program for one target. In one cargo call two programs would share the features of common dependencies."""
    zig = toolchain.require_zig()
    command = [CARGO, "build", "--locked", "--profile", PROFILE, "--package", program, "--bin", program, *BUILD_STD]
    command += ["--target", target.rust, "--features", features]
    for crate in FAST.get(program, ()):
        command += ["--config", f"profile.{PROFILE}.package.{crate}.opt-level=3"]
    made = cache() / "cross-target" / target.rust / PROFILE
    # cargo does not track the linker's scripts, and would keep a binary that an older one linked.
    for linked in (made / "deps").glob(f"{program}-*"):
        linked.unlink()
    subprocess.run(command, check=True, cwd=ROOT, env=environment([target], zig), stdout=sys.stderr)
    return made / program


def binaries(targets: list[Target], program: str = "mtrelay") -> dict[str, Path]:
    """The binaries by target name; compiles those that are not cached."""
    state = cache() / "cross" / state_digest(toolchain.require_rust())
    stored = {target.name: state / f"{program}-{target.name}" for target in targets}
    state.mkdir(parents=True, exist_ok=True)
    for target in targets:
        if stored[target.name].exists():
            continue
        say(f"building {program} for {target.name}")
        storing = stored[target.name].with_name(f"{program}-{target.name}.{os.getpid()}")
        shutil.copy2(build(target, program), storing)
        storing.rename(stored[target.name])
    state.touch()
    forget_old_states(state.parent)
    return stored


def forget_old_states(folder: Path) -> None:
    states = sorted(folder.iterdir(), key=lambda state: state.stat().st_mtime, reverse=True)
    for state in states[KEPT_STATES:]:
        shutil.rmtree(state, ignore_errors=True)


def install(targets: list[Target], program: str = "mtrelay") -> dict[str, Path]:
    """Puts the binaries into dist/bin and says how large they are."""
    folder = DIST / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    installed = {}
    for name, stored in binaries(targets, program).items():
        path = folder / f"{program}-{name}"
        path.unlink(missing_ok=True)
        shutil.copyfile(stored, path)
        path.chmod(0o755)
        installed[name] = path
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="", help="one of OpenWrt's names; all without it")
    arguments = parser.parse_args()
    for program in PROGRAMS:
        install([target for target, _ in select(arguments.target)] if arguments.target else list(TARGETS), program)


if __name__ == "__main__":
    main()
