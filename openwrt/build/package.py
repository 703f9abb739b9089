"""`make package`: the packages for opkg and apk and the feed's index, in dist.

Their contents come from the SDK's Makefile and the files it names, and are the same byte for byte on every machine.
"""

import argparse
import re
import tempfile
from pathlib import Path

import apk
import cross
import deflate
import ipk
import luci
from makefile import Makefile, Package
from targets import select

ROOT, DIST = cross.ROOT, cross.DIST
SIZES = ROOT / "docs" / "size.md"
BEGIN, END = "<!-- sizes of {}: `make package` writes this table -->\n", "<!-- end of sizes of {} -->\n"


def version() -> str:
    """The version in Cargo.toml, which the daemon reports."""
    text = (ROOT / "Cargo.toml").read_text()
    return re.search(r'^version = "([^"]+)"$', text, re.MULTILINE)[1]


def write(package: Package, architecture: str, folder: Path) -> Path:
    """The package for opkg, and beside it the one for apk."""
    stem = f"{package.name}_{package.version}_{architecture}"
    path = folder / f"{stem}.ipk"
    path.write_bytes(ipk.build(package, architecture))
    (folder / f"{stem}.apk").write_bytes(apk.build(package, architecture))
    return path


def around(program: str, folder: Path, binary: Path) -> Package:
    """The package of one of the programs, as the Makefile in this folder describes it."""
    makefile = Makefile(folder / "Makefile")
    package = makefile.package(program, {f"bin/{program}": binary})
    if makefile.value("PKG_VERSION") != version():
        raise SystemExit(f"package: {folder}/Makefile has version {makefile.value('PKG_VERSION')}, Cargo.toml {version()}")
    return package


def relay(binary: Path) -> Package:
    return around("mtrelay", ROOT / "openwrt", binary)


def fetch(binary: Path) -> Package:
    return around("mtfetch", ROOT / "openwrt" / "mtfetch", binary)


def build(binaries: dict[str, tuple[Path, tuple[str, ...]]], folder: Path, fetchers: dict[str, Path]) -> list[Path]:
    """All packages: the relay's for each binary and architecture, mtfetch's where it was built, and LuCI's."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        some = None
        for name, (binary, architectures) in binaries.items():
            some = relay(binary)
            written += [write(some, architecture, folder) for architecture in architectures]
            if name in fetchers:
                written += [write(fetch(fetchers[name]), architecture, folder) for architecture in architectures]
        for package in luci.packages(ROOT / "luci", some.version, some.maintainer, Path(scratch)):
            written.append(write(package, "all", folder))
    return written


def write_index(folder: Path) -> None:
    """The index of all packages in the folder. Signing it needs the owner's key: `usign -S -m Packages -s KEY`."""
    text = ipk.index(sorted(folder.glob("*.ipk")))
    (folder / "Packages").write_text(text)
    (folder / "Packages.gz").write_bytes(deflate.gzip(text.encode()))


def write_sizes(program: str, sizes: dict[str, tuple[int, ...]]) -> None:
    """Writes the sizes of binary, .ipk and .apk. Targets that were not built keep their line."""
    text = SIZES.read_text()
    begin, end = BEGIN.format(program), END.format(program)
    head, rest = text.split(begin)
    table, tail = rest.split(end)
    lines = {line.split("|")[1].strip(): line for line in table.splitlines()[2:] if line.startswith("|")}
    for name, numbers in sizes.items():
        lines[name] = f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |"
    known = [target.name for target, _ in select("")]
    ordered = [lines[name] for name in known if name in lines]
    table = "\n".join(["| bytes | binary | .ipk | .apk |", "|---|---|---|---|", *ordered])
    SIZES.write_text(f"{head}{begin}{table}\n{end}{tail}")


def sizes_of(program: str, binaries: dict[str, Path], folder: Path) -> dict[str, tuple[int, ...]]:
    sizes = {}
    for name, binary in binaries.items():
        package = folder / f"{program}_{version()}_{name}.ipk"
        sizes[name] = tuple(path.stat().st_size for path in (binary, package, package.with_suffix(".apk")))
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="", help="one of OpenWrt's names; all without it")
    parser.add_argument("--binary", type=Path, help="package this program, for the one target named")
    parser.add_argument("--fetch-binary", type=Path, help="and this mtfetch, beside --binary")
    parser.add_argument("--into", type=Path, default=DIST, help="the folder for the packages")
    arguments = parser.parse_args()
    wanted = select(arguments.target)
    if arguments.binary:
        if not arguments.target:
            parser.error("--binary needs --target")
        binaries = {target.name: (arguments.binary, architectures) for target, architectures in wanted}
        fetchers = {target.name: arguments.fetch_binary for target, _ in wanted if arguments.fetch_binary}
    else:
        made, fetchers = (cross.install([target for target, _ in wanted], program) for program in cross.PROGRAMS)
        binaries = {target.name: (made[target.name], architectures) for target, architectures in wanted}
    written = build(binaries, arguments.into, fetchers)
    write_index(arguments.into)
    for path in written:
        print(f"{path.name}: {path.stat().st_size:,} bytes, as .apk {path.with_suffix('.apk').stat().st_size:,}")
    # One line for each binary, with the package of its first architecture.
    names = [target.name for target, architectures in wanted if target.name in architectures]
    if not arguments.binary:
        write_sizes("mtrelay", sizes_of("mtrelay", {name: made[name] for name in names}, arguments.into))
        write_sizes("mtfetch", sizes_of("mtfetch", {name: fetchers[name] for name in names}, arguments.into))


if __name__ == "__main__":
    main()
