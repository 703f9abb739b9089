"""The LuCI page's packages out of luci/, laid out as LuCI's own build does: htdocs below /www, root below /, po as `.lmo`."""

import os
from pathlib import Path

import lmo
from makefile import File, Makefile, Package

# Names of the languages in LuCI's language menu.
LANGUAGES = {"ru": "Русский (Russian)", "de": "Deutsch (German)", "uk": "Українська (Ukrainian)", "fa": "فارسی (Persian)"}

POSTINST = """#!/bin/sh
[ -n "${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	# rpcd reads its access lists when it starts and on SIGHUP.
	killall -HUP rpcd 2>/dev/null
}
exit 0
"""


def tree(folder: Path, below: str) -> list[File]:
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            files.append(File(f"{below}/{path.relative_to(folder)}", path, mode))
    return files


def page(folder: Path, version: str, maintainer: str) -> Package:
    makefile = Makefile(folder / "Makefile")
    return Package(
        name=makefile.value("PKG_NAME"),
        version=version,
        title=makefile.value("LUCI_TITLE"),
        description=makefile.value("LUCI_DESCRIPTION") or makefile.value("LUCI_TITLE"),
        section="luci",
        license=makefile.value("PKG_LICENSE"),
        maintainer=maintainer,
        depends=[word.lstrip("+") for word in makefile.value("LUCI_DEPENDS").split() if word.startswith("+")],
        scripts={"postinst": POSTINST},
        files=tree(folder / "htdocs", "/www") + tree(folder / "root", ""),
    )


def translations(folder: Path, app: Package, scratch: Path) -> list[Package]:
    """One package for each language that has translations."""
    packages = []
    basename = app.name.removeprefix("luci-app-")
    for language in sorted(path for path in (folder / "po").iterdir() if path.is_dir() and path.name != "templates"):
        code = language.name.replace("_", "-").lower()
        files = []
        for po in sorted(language.glob("*.po")):
            content = lmo.build(po.read_text(encoding="utf-8"))
            if content:
                made = scratch / f"{po.stem}.{code}.lmo"
                made.write_bytes(content)
                files.append(File(f"/usr/lib/lua/luci/i18n/{made.name}", made, 0o644))
        if not files:
            continue
        name = f"luci-i18n-{basename}-{code}"
        shown = LANGUAGES.get(language.name, language.name)
        defaults = scratch / name
        defaults.write_text(f"uci set luci.languages.{code.replace('-', '_')}='{shown}'; uci commit luci\n")
        files.append(File(f"/etc/uci-defaults/{name}", defaults, 0o644))
        packages.append(
            Package(
                name=name,
                version=app.version,
                title=f"Translation for {app.name} - {shown}",
                description=f"Translation for {app.name} - {shown}",
                section="luci",
                license=app.license,
                maintainer=app.maintainer,
                depends=[app.name],
                files=files,
            )
        )
    return packages


def packages(folder: Path, version: str, maintainer: str, scratch: Path) -> list[Package]:
    app = page(folder, version, maintainer)
    return [app, *translations(folder, app, scratch)]
