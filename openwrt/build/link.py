"""The linker of the cross builds: `zig cc`, and then its lld once more with options that zig does not pass on.

zig knows the C library and the start-up objects, and says how it calls lld. Called again, lld folds functions that are equal, and puts
functions beside those that they resemble: the binary loses 4 KB by the first, and its package 11 KB by the second.

    link.py ZIG TARGET ARGUMENT…
"""

import os
import subprocess
import sys

OPTIONS = ["--icf=all", "--bp-compression-sort=both", "-O2"]
CALL = "ld.lld "


def words_of(call: str) -> list[str]:
    return call.removeprefix(CALL).split()


def output_of(words: list[str]) -> str | None:
    return os.path.abspath(words[words.index("-o") + 1]) if "-o" in words else None


def main() -> None:
    zig, target, *arguments = sys.argv[1:]
    environment = {**os.environ, "ZIG_VERBOSE_LINK": "1"}
    command = [zig, "cc", "-target", *target.split(), *arguments]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    calls = [line for line in done.stderr.splitlines() if line.startswith(CALL)]
    for line in done.stderr.splitlines():
        if line not in calls:
            print(line, file=sys.stderr)
    if done.returncode != 0:
        sys.exit(done.returncode)
    # The words of zig's output are separated by spaces, so a checkout whose path has one is linked without these options.
    if any(" " in word for word in [zig, *arguments]):
        print("link.py: a path has a space, so lld was not called again; the binary is larger", file=sys.stderr)
        return
    # On the first call for a target zig also links the start-up objects.
    found = [words for words in map(words_of, calls) if output_of(words) == output_of(arguments)]
    if not found:
        sys.exit(f"link.py: zig does not say how it linked {output_of(arguments)}")
    os.execv(zig, [zig, "ld.lld", *found[-1], *OPTIONS])


if __name__ == "__main__":
    main()
