"""mtfetch's package and service: what is installed, what procd is told, and who may read what."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

import packages
import require
from router import ROOT, STANDINS, Ipk, Router

FILES = ROOT / "openwrt/mtfetch/files"
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
EXPORT = "/var/etc/mtfetch/mtfetch.uci"
CONTENTS = {
    "./usr/sbin/mtfetch": 0o755,
    "./etc/config/mtfetch": 0o600,
    "./etc/init.d/mtfetch": 0o755,
    "./etc/uci-defaults/50-mtfetch": 0o644,
    "./lib/upgrade/keep.d/mtfetch": 0o644,
}
CONFIG = """config mtfetch 'main'
\toption enabled '1'
\toption api_hash '0123456789abcdef0123456789abcdef'
\tlist listen '127.0.0.1:8099'
\tlist listen '192.168.1.1:8099'
\toption token 'open-sesame'
"""


class FetchRouter(Router):
    """A scratch router with mtfetch's service."""

    def __init__(self):
        super().__init__()
        shutil.copy(FILES / "etc/init.d/mtfetch", self.path("/etc/init.d/mtfetch"))
        for name in ("/usr/sbin/mtfetch", "/sbin/ujail"):
            self.path(name).write_text('#!/bin/sh\necho mtfetch "$@" >> /tmp/asked\n')
            self.path(name).chmod(0o755)
        self.path("/etc/passwd").write_text("root:x:0:0::/:\nmtfetch:x:8099:8099::/:/bin/false\n")
        self.path("/etc/group").write_text("root:x:0:\nmtfetch:x:8099:\n")
        self.configure(CONFIG)

    def configure(self, text: str) -> None:
        self.path("/etc/config/mtfetch").write_text(text)

    def service(self, action: str, *arguments: str) -> list[list[str]]:
        self.path("/tmp/calls").unlink(missing_ok=True)
        self.run("/etc/init.d/mtfetch", action, *arguments)
        return self.calls()


@require.root
class Service(unittest.TestCase):
    def setUp(self):
        self.router = FetchRouter()
        self.addCleanup(self.router.close)

    def option(self, line: str) -> None:
        self.router.configure(f"{CONFIG}\t{line}\n")

    def parameter(self, calls, name):
        found = [call[2:] for call in calls if call[:2] == ["procd_set_param", name]]
        self.assertLessEqual(len(found), 1, name)
        return found[0] if found else None

    def mounts(self, calls, how="procd_add_jail_mount"):
        return next(call[1:] for call in calls if call[0] == how)

    def test_instance(self):
        calls = self.router.service("start")
        self.assertEqual(self.parameter(calls, "command"), ["/usr/sbin/mtfetch", "serve", "-c", EXPORT, "--syslog"])
        self.assertIn(["procd_append_param", "command", "--cache", "/var/run/mtfetch/cache"], calls)
        self.assertEqual(self.parameter(calls, "file"), [EXPORT])
        # It is started anew when the export has changed.
        self.assertIsNone(self.parameter(calls, "reload_signal"))
        self.assertEqual(self.parameter(calls, "user"), ["mtfetch"])
        self.assertEqual(self.parameter(calls, "group"), ["mtfetch"])
        self.assertEqual(self.parameter(calls, "no_new_privs"), ["1"])
        self.assertEqual(self.parameter(calls, "respawn"), ["300", "5", "10"])

    def test_it_is_off_until_its_owner_says_so(self):
        self.router.configure((FILES / "etc/config/mtfetch").read_text())
        self.assertFalse([call for call in self.router.service("start") if call[0] == "procd_open_instance"])

    def test_no_secret_reaches_procd(self):
        self.option("option cache 'redis://:pass-word@192.168.1.2'")
        calls = str(self.router.service("start"))
        for secret in ("0123456789abcdef", "open-sesame", "pass-word"):
            self.assertNotIn(secret, calls)

    def test_jail(self):
        self.router.path("/usr/bin/ffmpeg").write_text("")
        self.router.path("/usr/bin/ffmpeg").chmod(0o755)
        calls = self.router.service("start")
        self.assertIn(["procd_add_jail", "mtfetch", "log", "ronly"], calls)
        self.assertEqual(self.mounts(calls), ["/var/etc/mtfetch", "/etc/hosts", "/etc/resolv.conf", "/usr/bin/ffmpeg"])
        self.assertEqual(self.mounts(calls, "procd_add_jail_mount_rw"), ["/etc/mtfetch", "/var/run/mtfetch"])

    def test_without_remuxes_no_ffmpeg_is_in_the_jail(self):
        self.router.path("/usr/bin/ffmpeg").write_text("")
        self.router.path("/usr/bin/ffmpeg").chmod(0o755)
        self.option("option remuxes '0'")
        self.assertNotIn("/usr/bin/ffmpeg", self.mounts(self.router.service("start")))

    def test_without_ujail_the_daemon_gives_up_root_itself(self):
        self.router.path("/sbin/ujail").unlink()
        calls = self.router.service("start")
        self.assertIn(["procd_append_param", "command", "--user", "mtfetch"], calls)
        self.assertIsNone(self.parameter(calls, "user"))

    def test_who_may_read_what(self):
        account = self.router.path("/etc/mtfetch/account")
        account.parent.mkdir()
        account.write_text("keys")
        account.chmod(0o600)
        self.router.service("start")
        expected = {EXPORT: 0o400, "/etc/mtfetch": 0o700, "/etc/mtfetch/account": 0o600, "/var/run/mtfetch": 0o700}
        for name, mode in expected.items():
            status = self.router.path(name).stat()
            self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid), (mode, 8099), name)
        self.assertIn("option token 'open-sesame'", self.router.path(EXPORT).read_text())

    def test_an_account_in_a_shared_folder_is_refused(self):
        self.option("option account '/etc/account'")
        before = self.router.path("/etc").stat()
        self.router.run("/etc/init.d/mtfetch", "start", check=False)
        after = self.router.path("/etc").stat()
        self.assertEqual((before.st_uid, before.st_mode), (after.st_uid, after.st_mode))
        self.assertFalse([call for call in self.router.calls() if call[0] == "procd_open_instance"])

    def test_login_leaves_the_account_to_the_daemon(self):
        script = self.router.path("/usr/sbin/mtfetch")
        script.write_text('#!/bin/sh\necho "$@" >> /tmp/asked; echo keys > /etc/mtfetch/account\n')
        self.router.service("login", "--bot")
        self.assertEqual(self.router.path("/etc/mtfetch/account").stat().st_uid, 8099)
        self.assertEqual(self.router.path("/tmp/asked").read_text(), "login -c /etc/config/mtfetch --bot\n")

    def test_urls_are_shown_with_their_token(self):
        lines = self.router.run("/etc/init.d/mtfetch", "url").stdout.splitlines()
        self.assertEqual(
            lines,
            [f"http://{host}:8099/open-sesame/t.me/NAME/NUMBER" for host in ("127.0.0.1", "192.168.1.1")],
        )

    def test_the_first_start_draws_a_token(self):
        shutil.copy(FILES / "etc/config/mtfetch", self.router.path("/etc/config/mtfetch"))
        shutil.copy(FILES / "etc/uci-defaults/50-mtfetch", self.router.path("/tmp/defaults"))
        self.router.path("/dev/urandom").write_bytes(bytes(range(16)))
        self.router.run("/bin/sh", "/tmp/defaults")
        text = self.router.path("/etc/config/mtfetch").read_text()
        self.assertIn("option token '000102030405060708090a0b0c0d0e0f'", text)


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        cls.program = packages.program(cls.folder)
        command = ["python3", packages.BUILDER, "--target", "mips_24kc", "--binary", cls.program]
        command += ["--fetch-binary", cls.program, "--into", cls.folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        cls.path = cls.folder / f"mtfetch_{VERSION}_mips_24kc.ipk"
        cls.package = Ipk(cls.path)

    def test_files_and_modes(self):
        files = {name: info.mode for name, (info, _) in self.package.data.items() if info.isfile()}
        self.assertEqual(files, CONTENTS)
        self.assertEqual(self.package.data["./usr/sbin/mtfetch"][1], self.program.read_bytes())

    def test_control(self):
        fields = self.package.fields
        self.assertEqual((fields["Package"], fields["Version"]), ("mtfetch", VERSION))
        self.assertEqual(fields["Require-User"], "mtfetch=8099:mtfetch=8099")
        self.assertEqual(self.package.control["conffiles"], "/etc/config/mtfetch\n")
        self.assertTrue(self.path.with_suffix(".apk").read_bytes().startswith(b"ADBd"))

    def make(self, goal: str) -> None:
        sdk = STANDINS / "sdk"
        command = ["make", "-C", ROOT / "openwrt/mtfetch", f"TOPDIR={sdk}", f"OUT={self.folder}/sdk", goal]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_build_system_gets_a_whole_workspace(self):
        self.make("prepare")
        folder = next((self.folder / "sdk/build").glob("mtfetch-*"))
        command = [os.environ.get("CARGO", "cargo"), "metadata", "--no-deps", "--offline", "--format-version", "1"]
        done = subprocess.run(command, cwd=folder / "src/fetch", capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_build_system_installs_the_same(self):
        built = self.folder / "sdk/build" / f"mtfetch-{VERSION}" / "ipkg-install/bin"
        built.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.program, built / "mtfetch")
        self.make("install-mtfetch")
        installed = self.folder / "sdk/mtfetch"
        files = {f"./{path.relative_to(installed)}": path for path in installed.rglob("*") if path.is_file()}
        found = {name: (path.stat().st_mode & 0o777, path.read_bytes()) for name, path in files.items()}
        expected = {name: (info.mode, content) for name, (info, content) in self.package.data.items() if info.isfile()}
        self.assertEqual(found, expected)

    def test_the_index_has_it(self):
        self.assertIn("Package: mtfetch\n", (self.folder / "Packages").read_text())


if __name__ == "__main__":
    unittest.main()
