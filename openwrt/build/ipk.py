"""`.ipk`, the packages of opkg (OpenWrt 24.10 and older): a tar in gzip with a tag, the files and the control data."""

import hashlib
import io
import tarfile
from pathlib import Path

import archive
from makefile import Package

POSTINST = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_postinst $0 $@
"""

PRERM = """#!/bin/sh
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_prerm $0 $@
"""


def control(package: Package, architecture: str, installed_size: int) -> str:
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Depends": ", ".join(package.depends),
        "SourceName": package.name,
        "License": package.license,
        "Section": package.section,
        "Require-User": package.user,
        "Maintainer": package.maintainer,
        "Architecture": architecture,
        "Installed-Size": str(installed_size),
        "Description": package.description,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def build(package: Package, architecture: str) -> bytes:
    contents = [(file.path.strip("/"), file.source.read_bytes(), file.mode) for file in package.files]
    contents.sort()
    data = archive.tar_gz(contents, with_folders=True)
    installed_size = sum(len(content) for _, content, _ in contents)
    members = [("control", control(package, architecture, installed_size).encode(), 0o644)]
    if package.conffiles:
        members.append(("conffiles", "".join(f"{path}\n" for path in package.conffiles).encode(), 0o644))
    # OpenWrt's standard scripts enable, start and stop services, create users, run uci-defaults, and call the package's own scripts.
    members += [("postinst", POSTINST.encode(), 0o755), ("prerm", PRERM.encode(), 0o755)]
    own_names = {"postinst": "postinst-pkg", "prerm": "prerm-pkg"}
    for name, text in package.scripts.items():
        members.append((own_names.get(name, name), text.encode(), 0o755))
    members.sort()
    outer = [
        ("debian-binary", b"2.0\n", 0o644),
        ("data.tar.gz", data, 0o644),
        ("control.tar.gz", archive.tar_gz(members, with_folders=True), 0o644),
    ]
    return archive.tar_gz(outer, with_folders=False)


def control_of(path: Path) -> str:
    """The control data of a package file."""
    with tarfile.open(path) as outer:
        inner = io.BytesIO(outer.extractfile("./control.tar.gz").read())
    with tarfile.open(fileobj=inner) as members:
        return members.extractfile("./control").read().decode()


def index(packages: list[Path]) -> str:
    """The feed's index: each package's control data, with the file's name, size and digest before the description."""
    entries = []
    for path in packages:
        content = path.read_bytes()
        found = f"Filename: {path.name}\nSize: {len(content)}\nSHA256sum: {hashlib.sha256(content).hexdigest()}\n"
        head, description = control_of(path).split("Description:", 1)
        entries.append(f"{head}{found}Description:{description}\n")
    return "".join(entries)
