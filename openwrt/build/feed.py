"""`make feed-size`: how large the relay is with the flags of OpenWrt's own build system, into docs/size.md.

The SDK sets the flags of every Rust package itself: level `z`, link-time optimisation, panics that unwind, overflow checks, and libraries
that are loaded. Here they are given to the compiler of `make cross`. What is not OpenWrt's then is the linker (lld in the place of GNU's)
and the age of the compiler; so the figures say what to expect of the feed, and not what it made.

The feed's standard library was built with its compiler, for speed and with backtraces: its crates are built along, at that level.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import cross
import toolchain
from targets import Target, select

SIZES = cross.ROOT / "docs" / "size.md"
BEGIN, END = "<!-- feed: `make feed-size` writes this table -->\n", "<!-- end of feed -->\n"
# The package's profile, as lang/rust/rust-values.mk of OpenWrt's packages sets it.
PROFILE = {
    "CODEGEN_UNITS": "1",
    "DEBUG": "false",
    "DEBUG_ASSERTIONS": "false",
    "LTO": "true",
    "OPT_LEVEL": "z",
    "OVERFLOW_CHECKS": "true",
    "PANIC": "unwind",
    "RPATH": "false",
}
RUST_FLAGS = "-Ctarget-feature=-crt-static"
LIBRARY = (
    "addr2line",
    "alloc",
    "core",
    "gimli",
    "hashbrown",
    "memchr",
    "miniz_oxide",
    "object",
    "panic_unwind",
    "rustc-demangle",
    "std",
    "unwind",
)
# Symbols that the standard library takes from libgcc_s.so.1, a package on routers.
UNWINDER = (
    "_Unwind_Backtrace",
    "_Unwind_DeleteException",
    "_Unwind_FindEnclosingFunction",
    "_Unwind_GetCFA",
    "_Unwind_GetDataRelBase",
    "_Unwind_GetIP",
    "_Unwind_GetIPInfo",
    "_Unwind_GetLanguageSpecificData",
    "_Unwind_GetRegionStart",
    "_Unwind_GetTextRelBase",
    "_Unwind_RaiseException",
    "_Unwind_Resume",
    "_Unwind_SetGR",
    "_Unwind_SetIP",
    "_Unwind_VRS_Get",
    "_Unwind_VRS_Set",
    "__gnu_unwind_frame",
)
# Sections that OpenWrt's strip removes and zig's does not.
SCRIPT = "SECTIONS { /DISCARD/ : { *(.pdr) *(.gnu.attributes) } } INSERT AFTER .comment;\n"
# For `-lgcc_s` zig would link its own unwinder.
LINKER = """#!/bin/sh
for word; do
	shift
	[ "$word" != -lgcc_s ] || word='{library}'
	set -- "$@" "$word"
done
exec '{zig}' cc -target {target} -Wl,-T,'{script}' "$@"
"""


def linker(target: Target, zig: Path, environment: dict[str, str]) -> Path:
    """A linker for the target, with a stub library that defines the unwinder's symbols."""
    folder = toolchain.cache() / "feed" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    # rustc infers from the name that the linker takes a C compiler's arguments.
    library, script, path = (folder / name for name in ("libgcc_s.so.1", "discard.ld", "cc"))
    source = folder / "unwinder.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in UNWINDER))
    compiler = [zig, "cc", "-target", *target.zig.split(), "-shared", "-nostdlib", "-fno-unwind-tables", f"-Wl,-soname,{library.name}"]
    subprocess.run([*compiler, source, "-o", library], check=True, env=environment)
    script.write_text(SCRIPT)
    path.write_text(LINKER.format(library=library, zig=zig, target=target.zig, script=script))
    path.chmod(0o755)
    return path


def build(target: Target) -> Path:
    zig = toolchain.require_zig()
    environment = cross.environment([target], zig)
    name = target.rust.upper().replace("-", "_")
    environment |= {f"CARGO_PROFILE_RELEASE_{key}": value for key, value in PROFILE.items()}
    environment[f"CARGO_TARGET_{name}_LINKER"] = str(linker(target, zig, environment))
    environment[f"CARGO_TARGET_{name}_RUSTFLAGS"] = RUST_FLAGS
    environment["CARGO_TARGET_DIR"] = str(toolchain.cache() / "feed-target")
    command = [toolchain.CARGO, "build", "--locked", "--release", "--package", "mtrelay", "--bin", "mtrelay"]
    command += ["-Zbuild-std=std,panic_unwind", "--target", target.rust]
    for crate in LIBRARY:
        command += ["--config", f"profile.release.package.{crate}.opt-level=3"]
    subprocess.run(command, check=True, cwd=cross.ROOT, env=environment, stdout=sys.stderr)
    return Path(environment["CARGO_TARGET_DIR"]) / target.rust / "release" / "mtrelay"


def write(sizes: dict[str, int]) -> None:
    """Writes the table. Targets that were not built keep their line."""
    head, rest = SIZES.read_text().split(BEGIN)
    table, tail = rest.split(END)
    lines = {line.split("|")[1].strip(): line for line in table.splitlines()[2:] if line.startswith("|")}
    lines |= {name: f"| {name} | {size:,} |" for name, size in sizes.items()}
    ordered = [lines[target.name] for target, _ in select("") if target.name in lines]
    table = "\n".join(["| bytes | binary |", "|---|---|", *ordered])
    SIZES.write_text(f"{head}{BEGIN}{table}\n{END}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="", help="one of OpenWrt's names; all without it")
    arguments = parser.parse_args()
    toolchain.require_rust()
    sizes = {}
    for target, _ in select(arguments.target):
        sizes[target.name] = build(target).stat().st_size
        print(f"{target.name}: {sizes[target.name]:,} bytes", flush=True)
        write(sizes)


if __name__ == "__main__":
    main()
