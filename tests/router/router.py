"""A scratch router: a folder with busybox, stand-ins for OpenWrt's own parts, and what a package installs, entered with chroot."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STANDINS = HERE / "standins"
FOLDERS = ["bin", "dev", "etc/init.d", "etc/config", "lib", "proc", "sbin", "tmp", "usr/bin", "usr/sbin", "usr/lib/opkg/info"]
OPKG = "usr/lib/opkg/info"


def busybox() -> str:
    found = shutil.which("busybox")
    if found:
        return found
    raise RuntimeError("busybox is missing; `make test-router` installs it")


class Router:
    """Lives as long as its test."""

    def __init__(self, program: Path | None = None):
        self.folder = Path(tempfile.mkdtemp(prefix="mtrelay-router-"))
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        shell = self.folder / "bin/busybox"
        shutil.copy(busybox(), shell)
        for applet in subprocess.run([shell, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if applet != "busybox":
                (self.folder / "bin" / applet).symlink_to("busybox")
        self.copy_program(Path(shell), "bin/busybox")
        for standin, path in (("functions.sh", "lib"), ("rc.common", "etc"), ("uci", "sbin"), ("ubus", "bin")):
            shutil.copy(STANDINS / standin, self.folder / path / standin)
        (self.folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.folder / "etc/group").write_text("root:x:0:\n")
        (self.folder / "var").symlink_to("tmp")
        (self.folder / "tmp/run").mkdir()
        # /dev/null is a file here: devices cannot be made everywhere.
        (self.folder / "dev/null").touch()
        self.kernel("6.6.110")
        if program:
            self.copy_program(program, "usr/sbin/mtrelay")

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def copy_program(self, program: Path, path: str) -> None:
        """With the libraries that it loads, if it does."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if program != target:
            shutil.copy(program, target)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for word in listed.split():
            library = Path(word)
            if word.startswith("/") and library.exists():
                copied = self.folder / word.lstrip("/")
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copied)

    def path(self, name: str) -> Path:
        return self.folder / name.lstrip("/")

    def kernel(self, version: str) -> None:
        self.path("/tmp/kernel").write_text(f"{version}\n")

    def configure(self, text: str) -> None:
        self.path("/etc/config/mtrelay").write_text(text)

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Runs a command inside, as root."""
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
        done = subprocess.run(
            ["chroot", self.folder, *command], capture_output=True, text=True, env=variables, timeout=60, stdin=subprocess.DEVNULL
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        if check and done.stderr:
            raise AssertionError(f"{command} complains: {done.stderr}")
        return done

    def service(self, action: str, *arguments: str) -> list[list[str]]:
        """Calls the service and gives what procd and ubus were told meanwhile."""
        calls = self.path("/tmp/calls")
        calls.unlink(missing_ok=True)
        self.run("/etc/init.d/mtrelay", action, *arguments)
        return self.calls()

    def calls(self) -> list[list[str]]:
        calls = self.path("/tmp/calls")
        return [line.split("\t") for line in calls.read_text().splitlines()] if calls.exists() else []


def members(data: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What is in a .tar.gz: by name, the header and the content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: (info, tar.extractfile(info).read() if info.isfile() else b"") for info in tar}


class Ipk:
    """A package, read."""

    def __init__(self, path: Path):
        self.outer = members(path.read_bytes())
        self.control = {name.removeprefix("./"): text.decode() for name, (_, text) in members(self.outer["./control.tar.gz"][1]).items()}
        self.data = members(self.outer["./data.tar.gz"][1])
        self.fields = dict(line.split(": ", 1) for line in self.control["control"].splitlines())


class Opkg:
    """What opkg does with a package, in a scratch router."""

    def __init__(self, router: Router):
        self.router = router
        self.original: dict[str, bytes] = {}

    def script(self, name: str, **environment: str) -> None:
        path = f"/{OPKG}/mtrelay.{name}"
        if self.router.path(path).exists():
            # A shell of our own: opkg runs scripts by their path, too.
            done = self.router.run("/bin/sh", path, check=False, **environment)
            if done.returncode != 0:
                raise AssertionError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")

    def unpack(self, package: Ipk) -> None:
        kept = {
            path: self.router.path(path).read_bytes()
            for path, original in self.original.items()
            if self.router.path(path).exists() and self.router.path(path).read_bytes() != original
        }
        names = []
        for name, (info, content) in package.data.items():
            path = name.removeprefix(".") or "/"
            target = self.router.path(path)
            if info.isdir():
                target.mkdir(exist_ok=True)
                continue
            names.append(path)
            if path in kept:
                target = target.with_name(f"{target.name}-opkg")
            target.unlink(missing_ok=True)
            target.write_bytes(content)
            target.chmod(info.mode)
            os.chown(target, info.uid, info.gid)
        for path in package.control.get("conffiles", "").split():
            self.original[path] = package.data[f".{path}"][1]
        info = self.router.path(OPKG)
        (info / "mtrelay.list").write_text("".join(f"{path}\n" for path in names))
        for name, text in package.control.items():
            if name:
                (info / f"mtrelay.{name}").write_text(text)

    def install(self, package: Ipk) -> None:
        self.unpack(package)
        self.script("postinst", PKG_UPGRADE="0")

    def upgrade(self, package: Ipk) -> None:
        self.script("prerm", PKG_UPGRADE="1")
        self.unpack(package)
        self.script("postrm", PKG_UPGRADE="1")
        self.script("postinst", PKG_UPGRADE="1")

    def remove(self) -> None:
        self.script("prerm", PKG_UPGRADE="0")
        for path in self.router.path(f"{OPKG}/mtrelay.list").read_text().split():
            target = self.router.path(path)
            edited = path in self.original and target.exists() and target.read_bytes() != self.original[path]
            if not edited:
                target.unlink(missing_ok=True)
        self.script("postrm", PKG_UPGRADE="0")
        for path in self.router.path(OPKG).glob("mtrelay.*"):
            path.unlink()
