"""Reads a package out of an OpenWrt Makefile, so that packages made without an SDK are the ones that the SDK makes.

Understood is what such a Makefile says in data: assignments, the fields and scripts of `define Package/…`, and the install
section as long as it consists of INSTALL_DIR, INSTALL_BIN, INSTALL_CONF and INSTALL_DATA.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

MODES = {"BIN": 0o755, "CONF": 0o600, "DATA": 0o644}


@dataclass
class File:
    """A file of the package: where it goes, where it comes from, its mode."""

    path: str
    source: Path
    mode: int


@dataclass
class Package:
    name: str
    version: str
    title: str
    description: str
    section: str
    license: str
    maintainer: str
    user: str = ""
    depends: list[str] = field(default_factory=list)
    conffiles: list[str] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)


class Makefile:
    def __init__(self, path: Path):
        self.folder = path.parent
        self.variables: dict[str, str] = {}
        self.blocks: dict[str, list[str]] = {}
        block = None
        for line in path.read_text().splitlines():
            if block is not None:
                if line == "endef":
                    block = None
                else:
                    block.append(line)
            elif match := re.fullmatch(r"define (\S+)", line):
                block = self.blocks.setdefault(match[1], [])
            elif match := re.fullmatch(r"([A-Z_]+)\s*(?::=|\?=|=)\s*(.*)", line):
                self.variables[match[1]] = match[2].strip()

    def expand(self, text: str) -> str:
        """Values of variables; a doubled dollar is the shell's."""
        known = lambda match: self.variables.get(match[1], "")
        return re.sub(r"(?<!\$)\$\((\w+)\)", known, text)

    def value(self, name: str) -> str:
        return self.expand(self.variables.get(name, ""))

    def fields(self, package: str) -> dict[str, str]:
        pairs = (line.strip().partition(":=") for line in self.blocks[f"Package/{package}"])
        return {name: self.expand(value).strip() for name, _, value in pairs if value}

    def script(self, package: str, name: str) -> str | None:
        lines = self.blocks.get(f"Package/{package}/{name}")
        return None if lines is None else "".join(line.replace("$$", "$") + "\n" for line in lines)

    def package(self, name: str, built: dict[str, Path]) -> Package:
        """`built` maps what the SDK would have built (paths below $(PKG_INSTALL_DIR)) to files."""
        fields = self.fields(name)
        description = [line.strip() for line in self.blocks[f"Package/{name}/description"]]
        scripts = {script: self.script(name, script) for script in ("preinst", "postinst", "prerm", "postrm")}
        depends = [word.lstrip("+") for word in fields.get("DEPENDS", "").split() if word.startswith("+")]
        return Package(
            name=name,
            version=self.value("PKG_VERSION"),
            title=fields["TITLE"],
            description=" ".join(description),
            section=fields["SECTION"],
            license=self.value("PKG_LICENSE"),
            maintainer=self.value("PKG_MAINTAINER"),
            user=fields.get("USERID", ""),
            depends=depends,
            conffiles=[line.strip() for line in self.blocks.get(f"Package/{name}/conffiles", []) if line.strip()],
            scripts={name: text for name, text in scripts.items() if text},
            files=self.install(name, built),
        )

    def install(self, package: str, built: dict[str, Path]) -> list[File]:
        files = []
        for line in self.blocks[f"Package/{package}/install"]:
            words = line.split()
            if not words or words[0] == "$(INSTALL_DIR)":
                continue
            kind = re.fullmatch(r"\$\(INSTALL_(BIN|CONF|DATA)\)", words[0])
            if not kind or len(words) != 3 or not words[2].startswith("$(1)/"):
                raise SystemExit(f"{self.folder}/Makefile: not understood in {package}/install: {line.strip()}")
            if words[1].startswith("$(PKG_INSTALL_DIR)/"):
                source = built[words[1].removeprefix("$(PKG_INSTALL_DIR)/")]
            else:
                source = self.folder / words[1]
            files.append(File(words[2].removeprefix("$(1)"), source, MODES[kind[1]]))
        return files
