"""Sizes of both programs with the relay's own reactor and with that of async-io, built as `make cross` builds them.

`make reactor-compare` calls it.
"""

import argparse

import cross
import toolchain
from targets import Target, select

NAMES = ("mipsel_24kc", "x86_64")
FEATURE = "async-io"


def size(target: Target, program: str, features: str) -> int:
    return cross.build(target, program, features).stat().st_size


def report(target: Target, program: str) -> None:
    own, other = size(target, program, ""), size(target, program, FEATURE)
    print(f"| {program}, {target.name} | {own:,} | {other:,} | {other - own:+,} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", help="OpenWrt's name of a processor; may be repeated")
    arguments = parser.parse_args()
    toolchain.require_rust()
    print("| bytes | own | async-io | difference |\n|---|---|---|---|")
    for name in arguments.target or NAMES:
        for target, _ in select(name):
            for program in cross.PROGRAMS:
                report(target, program)


if __name__ == "__main__":
    main()
