"""`make shares`: how much of the mipsel binary each dependency is, written to docs/size.md.

Counted are the functions of a binary that was built with the same flags and not stripped. A function belongs to the crate that its
name begins with; one that the compiler made for another crate's type (`drop_in_place::<T>`, an implementation for `T`) to that type's. What
got inlined counts where it went, so a share says what the crate's own functions are, and little of what leaving it out would save.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cross
import toolchain
from targets import TARGETS

ROOT = cross.ROOT
SIZES = ROOT / "docs" / "size.md"
BEGIN, END = "<!-- shares: `make shares` writes this table -->\n", "<!-- end of shares -->\n"
OURS = {"mtrelay": "mtrelay", "wire": "mtrelay (wire)"}
LIBRARY = {"core", "alloc", "std", "compiler_builtins", "hashbrown", "__rustc"}
# Bytes below which crates are summed up in one line.
LEAST = 400


def unstripped() -> str:
    """Builds the mipsel binary with symbols and returns the output of nm."""
    toolchain.require_rust()
    target = next(target for target in TARGETS if target.name == "mipsel_24kc")
    environment = cross.environment([target], toolchain.require_zig())
    command = [toolchain.CARGO, "rustc", "--locked", "--profile", cross.PROFILE, "--package", "mtrelay", "--bin", "mtrelay"]
    # Only linking differs from `make cross`: the compiled crates are shared.
    command += [*cross.BUILD_STD, "--target", target.rust, "--", "-Cstrip=none"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=sys.stderr)
    binary = Path(environment["CARGO_TARGET_DIR"]) / target.rust / cross.PROFILE / "mtrelay"
    return toolchain.output("nm", "-S", "-C", binary)


def crate(name: str) -> str:
    """The crate of a function."""
    made_for = re.search(r"drop_in_place::<(.*)>$", name)
    path = made_for[1] if made_for else name
    # `<&mut [T] as Trait>::f` counts for the crate of T.
    path = re.sub(r"^(<|&|mut |\*|\[|dyn |const )+", "", path)
    first = re.match(r"(\w+)::", path)
    if first:
        return first[1]
    return "core" if path.startswith(("str", "u", "i", "char", "bool", "(")) and "::" in name else "musl, and zig's runtime"


def shares(listing: str) -> Counter:
    sizes: Counter = Counter()
    seen = set()
    for line in listing.splitlines():
        words = line.split(None, 3)
        # Functions with a size, each address once: aliases share their bytes.
        if len(words) == 4 and words[2] in "tTwW" and words[0] not in seen:
            seen.add(words[0])
            name = crate(words[3])
            name = OURS.get(name, "Rust's standard library" if name in LIBRARY else name)
            sizes[name] += int(words[1], 16)
    return sizes


def main() -> None:
    found = shares(unstripped())
    total = sum(found.values())
    rest = sum(size for size in found.values() if size < LEAST)
    rows = [f"| {name} | {size:,} | {100 * size / total:.1f} % |" for name, size in found.most_common() if size >= LEAST]
    rows += [f"| others, each below {LEAST} | {rest:,} | {100 * rest / total:.1f} % |", f"| code | {total:,} | |"]
    table = "\n".join(["| crate | bytes | share |", "|---|---|---|", *rows])
    print(table)
    text = SIZES.read_text()
    head, tail = text.split(BEGIN)
    SIZES.write_text(f"{head}{BEGIN}{table}\n{END}{tail.split(END)[1]}")


if __name__ == "__main__":
    main()
