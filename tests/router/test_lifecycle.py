"""Installing, upgrading and removing, with the package's scripts run in a scratch router."""

import re
import stat
import tempfile
import unittest
from pathlib import Path

import packages
import require
from router import Ipk, Opkg, Router

CONFIG = "/etc/config/mtrelay"


@require.root
class Lifecycle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        folder = Path(scratch.name)
        cls.packages = []
        for version in ("1", "2"):
            packages.make(packages.program(folder, version), folder / version, "x86_64")
            cls.packages.append(Ipk(next((folder / version).glob("mtrelay_*.ipk"))))

    def setUp(self):
        self.router = Router()
        self.addCleanup(self.router.close)
        self.opkg = Opkg(self.router)

    def config(self) -> str:
        return self.router.path(CONFIG).read_text()

    def told(self, name: str) -> list[list[str]]:
        return [call for call in self.router.calls() if call[0] == name]

    def test_install(self):
        self.opkg.install(self.packages[0])
        self.assertIn("mtrelay:x:8443:8443:", self.router.path("/etc/passwd").read_text())
        self.assertIn("mtrelay:x:8443:", self.router.path("/etc/group").read_text())
        self.assertTrue(self.router.path("/etc/rc.d/S95mtrelay").is_symlink())
        self.assertTrue(self.told("open_service"))
        self.assertTrue(self.router.path("/var/etc/mtrelay/mtrelay.uci").exists())
        self.assertEqual(stat.S_IMODE(self.router.path(CONFIG).stat().st_mode), 0o600)

    def test_first_install_draws_a_secret_once(self):
        self.opkg.install(self.packages[0])
        self.assertRegex(self.config(), r"config user\n\toption name 'owner'\n\toption secret '[0-9a-f]{32}'\n")
        self.assertFalse(self.router.path("/etc/uci-defaults/50-mtrelay").exists())
        # What the daemon gets has it too.
        self.assertIn("option secret", self.router.path("/var/etc/mtrelay/mtrelay.uci").read_text())

    def test_a_users_configuration_is_left_alone(self):
        self.opkg.install(self.packages[0])
        before = self.config()
        self.opkg.upgrade(self.packages[1])
        self.assertEqual(self.config(), before)
        self.assertEqual(len(re.findall("^config user", self.config(), re.MULTILINE)), 1)

    def test_upgrade_keeps_an_edited_configuration(self):
        self.opkg.install(self.packages[0])
        edited = self.config() + "\nconfig user\n\toption name 'edited'\n\toption secret 'ffeeddccbbaa99887766554433221100'\n"
        self.router.path(CONFIG).write_text(edited)
        self.router.path("/tmp/calls").unlink()
        self.opkg.upgrade(self.packages[1])
        self.assertEqual(self.config(), edited)
        self.assertEqual(self.router.path("/usr/sbin/mtrelay").read_bytes(), self.packages[1].data["./usr/sbin/mtrelay"][1])
        # The old daemon ends, the new one starts.
        names = [call[0] for call in self.router.calls()]
        self.assertLess(names.index("procd_kill"), names.index("open_service"))
        self.assertTrue(self.router.path("/etc/rc.d/S95mtrelay").is_symlink())

    def test_upgrade_leaves_a_disabled_service_disabled(self):
        self.opkg.install(self.packages[0])
        self.router.run("/etc/init.d/mtrelay", "disable")
        self.opkg.upgrade(self.packages[1])
        self.assertFalse(list(self.router.path("/etc/rc.d").iterdir()))

    def test_removal(self):
        before = {path.relative_to(self.router.folder) for path in self.router.folder.rglob("*")}
        self.opkg.install(self.packages[0])
        self.router.path("/tmp/calls").unlink()
        self.opkg.remove()
        self.assertTrue(self.told("procd_kill"))
        self.router.path("/tmp/calls").unlink()
        left = {path.relative_to(self.router.folder) for path in self.router.folder.rglob("*")} - before
        # The configuration has been edited, by the first start at least; folders may be other packages' too.
        self.assertEqual({str(path) for path in left if not self.router.path(str(path)).is_dir()}, {"etc/config/mtrelay"})
        self.assertFalse([str(path) for path in left if "mtrelay" in path.name and path.parts[0] == "tmp"])

    def test_image_builder_runs_no_service(self):
        # In an image's root that is not the running one, scripts end quietly when there are no functions yet.
        self.opkg.unpack(self.packages[0])
        self.router.path("/lib/functions.sh").unlink()
        self.opkg.script("postinst")
        self.assertFalse(self.router.calls())


if __name__ == "__main__":
    unittest.main()
