"""The service: what procd is told, which file the daemon gets, and when it is started anew instead of being signalled."""

import shutil
import stat
import unittest

import require
from router import ROOT, Router

SCRIPT = ROOT / "openwrt/files/etc/init.d/mtrelay"
EXPORT = "/var/etc/mtrelay/mtrelay.uci"
CONFIG = """config relay 'main'
\toption enabled '1'
\tlist listen '0.0.0.0:8443'
\tlist listen '[::]:8443'

config user
\toption name 'it'\\''s me'
\toption secret '0123456789abcdef0123456789abcdef'
"""


@require.root
class Service(unittest.TestCase):
    def setUp(self):
        self.router = Router()
        self.addCleanup(self.router.close)
        shutil.copy(SCRIPT, self.router.path("/etc/init.d/mtrelay"))
        self.router.path("/usr/sbin/mtrelay").write_text('#!/bin/sh\necho mtrelay "$@"\n')
        self.router.path("/usr/sbin/mtrelay").chmod(0o755)
        self.router.path("/sbin/ujail").write_text("")
        self.router.path("/sbin/ujail").chmod(0o755)
        self.router.path("/etc/passwd").write_text("root:x:0:0::/:\nmtrelay:x:8443:8443::/:/bin/false\n")
        self.router.path("/etc/group").write_text("root:x:0:\nmtrelay:x:8443:\n")
        self.router.path("/var/run/ubus").mkdir()
        self.router.configure(CONFIG)

    def option(self, line: str) -> None:
        self.router.configure(CONFIG.replace("option enabled '1'", f"option enabled '1'\n\t{line}"))

    def parameter(self, calls, name):
        found = [call[2:] for call in calls if call[:2] == ["procd_set_param", name]]
        self.assertLessEqual(len(found), 1, name)
        return found[0] if found else None

    def firewall_rules(self, calls):
        rules, inside = [], False
        for call in calls:
            if call[0] == "json_add_object":
                rules.append({})
            elif call[0] == "json_add_string":
                rules[-1][call[1]] = call[2]
        return rules

    def test_instance(self):
        calls = self.router.service("start")
        command = ["/usr/sbin/mtrelay", "run", "-c", EXPORT, "--syslog", "--state", "/var/run/mtrelay/state"]
        self.assertEqual(self.parameter(calls, "command"), command)
        self.assertEqual(self.parameter(calls, "file"), [EXPORT])
        self.assertEqual(self.parameter(calls, "reload_signal"), ["HUP"])
        self.assertEqual(self.parameter(calls, "respawn"), ["300", "5", "10"])
        self.assertEqual(self.parameter(calls, "limits"), ["nofile=1024 524288"])
        self.assertEqual(self.parameter(calls, "user"), ["mtrelay"])
        self.assertEqual(self.parameter(calls, "group"), ["mtrelay"])
        self.assertEqual(self.parameter(calls, "no_new_privs"), ["1"])
        self.assertEqual(self.parameter(calls, "capabilities"), ["/etc/capabilities/mtrelay.json"])
        # It outlives the daemon's own time for the drain.
        self.assertEqual(self.parameter(calls, "term_timeout"), ["15"])
        self.assertEqual(calls[0], ["extra_command", "check", "Check the configuration; --net also tries every data centre"])

    def test_no_secret_reaches_procd(self):
        calls = self.router.service("start")
        self.assertNotIn("0123456789abcdef", str(calls))

    def test_jail(self):
        calls = self.router.service("start")
        self.assertIn(["procd_add_jail", "mtrelay", "log", "procfs", "ronly"], calls)
        mounts = next(call[1:] for call in calls if call[0] == "procd_add_jail_mount")
        self.assertEqual(mounts, ["/var/etc/mtrelay", "/etc/hosts", "/etc/resolv.conf", "/var/run/ubus"])
        self.assertIn(["procd_add_jail_mount_rw", "/var/run/mtrelay"], calls)

    def test_jail_of_an_old_release_has_the_ubus_socket_itself(self):
        self.router.path("/var/run/ubus").rmdir()
        calls = self.router.service("start")
        self.assertIn(["procd_add_jail", "mtrelay", "ubus", "log", "procfs", "ronly"], calls)

    def test_lists_are_in_the_jail_by_their_folder(self):
        self.router.path("/etc/lists").mkdir()
        self.option("option block_file '/etc/lists/block'\n\toption allow_file '/etc/absent/allow'")
        mounts = next(call for call in self.router.service("start") if call[0] == "procd_add_jail_mount")
        self.assertIn("/etc/lists", mounts)
        self.assertNotIn("/etc/absent", mounts)

    def test_without_ujail_the_daemon_gives_up_root_itself(self):
        self.router.path("/sbin/ujail").unlink()
        calls = self.router.service("start")
        self.assertIn(["procd_append_param", "command", "--user", "mtrelay"], calls)
        self.assertIsNone(self.parameter(calls, "user"))
        self.assertFalse([call for call in calls if call[0].startswith("procd_add_jail")])

    def test_export_is_the_daemons_alone(self):
        self.router.service("start")
        export = self.router.path(EXPORT)
        status = export.stat()
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid), (0o400, 8443, 8443))
        folder = export.parent.stat()
        self.assertEqual((stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid), (0o750, 0, 8443))
        state = self.router.path("/var/run/mtrelay").stat()
        self.assertEqual((stat.S_IMODE(state.st_mode), state.st_uid), (0o700, 8443))
        self.assertIn("option name 'it'\\''s me'", export.read_text())

    def test_export_is_rewritten_in_place(self):
        self.router.service("start")
        before = self.router.path(EXPORT).stat().st_ino
        self.option("option prewarm '1'")
        self.router.service("reload")
        self.assertEqual(self.router.path(EXPORT).stat().st_ino, before)
        self.assertIn("option prewarm '1'", self.router.path(EXPORT).read_text())

    def test_changed_option_is_left_to_procd(self):
        self.router.service("start")
        self.option("option prewarm '1'")
        calls = self.router.service("reload")
        self.assertEqual(self.parameter(calls, "file"), [EXPORT])
        self.assertFalse([call for call in calls if call[0] in ("ubus", "procd_kill", "procd_send_signal")])

    def test_reload_without_a_change_sends_the_signal(self):
        self.router.service("start")
        calls = self.router.service("reload")
        self.assertEqual(calls[-1], ["procd_send_signal", "mtrelay", "*", "HUP"])

    def assert_restarts(self, restarts: bool = True):
        calls = self.router.service("reload")
        killed = ["ubus", "call", "service", "delete", '{"name":"mtrelay"}']
        self.assertEqual(killed in calls, restarts, calls)
        # And it is started again, and then left alone.
        self.assertIsNotNone(self.parameter(calls, "command"))
        self.assertNotIn(killed, self.router.service("reload"))

    def test_what_a_signal_cannot_change_restarts(self):
        changes = [
            "list listen '0.0.0.0:443'",
            "option fwmark '0x10'",
            "option drain_timeout '30'",
            "option seccomp '0'",
        ]
        self.router.path("/etc/seccomp").mkdir()
        self.router.path("/etc/seccomp/mtrelay.json").write_text("{}")
        for change in changes:
            with self.subTest(change):
                self.router.configure(CONFIG)
                self.router.service("start")
                self.option(change)
                self.assert_restarts()

    def test_a_refused_configuration_ends_no_daemon(self):
        self.router.service("start")
        program = self.router.path("/usr/sbin/mtrelay")
        good = program.read_text()
        program.write_text('#!/bin/sh\n[ "$1 $2 $3" = "check -c /var/etc/mtrelay/mtrelay.uci" ] && exit 2\n')
        self.option("option drain_timeout 'x'\n\toption fwmark '1'")
        calls = self.router.service("reload")
        self.assertFalse([call for call in calls if call[0] == "ubus"])
        self.assertEqual(self.parameter(calls, "file"), [EXPORT])
        # It is still known what the running one was started with.
        program.write_text(good)
        self.option("option fwmark '1'")
        self.assert_restarts()

    def test_another_high_port_does_not_restart(self):
        self.router.service("start")
        self.option("list listen '0.0.0.0:9443'")
        self.assert_restarts(False)

    def test_an_upgraded_program_or_script_restarts(self):
        for path in ("/usr/sbin/mtrelay", "/etc/init.d/mtrelay"):
            with self.subTest(path):
                self.router.service("start")
                with self.router.path(path).open("a") as file:
                    file.write("# newer\n")
                self.assert_restarts()

    def test_a_stopped_service_starts_without_a_restart(self):
        self.router.service("start")
        self.router.service("stop")
        self.option("option fwmark '1'")
        self.assertFalse([call for call in self.router.service("start") if call[0] == "ubus"])

    def test_capabilities_are_those_that_are_needed(self):
        cases = [
            ("", "5.4.1", "mtrelay"),
            ("option fwmark '1'", "6.6.110", "mtrelay-raw"),
            ("option fwmark '1'", "5.17-rc1", "mtrelay-raw"),
            ("option fwmark '1'", "5.15.167", "mtrelay-admin"),
            ("option bind_interface 'wg0'", "5.10.0", "mtrelay"),
            ("option bind_interface 'wg0'", "5.4.200", "mtrelay-raw"),
        ]
        for line, kernel, file in cases:
            with self.subTest(line, kernel=kernel):
                self.router.service("stop")
                self.router.kernel(kernel)
                self.option(line)
                found = self.parameter(self.router.service("start"), "capabilities")
                self.assertEqual(found, [f"/etc/capabilities/{file}.json"])
                self.assertTrue((ROOT / f"openwrt/files/{found[0]}").exists())

    def test_seccomp_is_used_where_there_is_a_list(self):
        self.assertIsNone(self.parameter(self.router.service("start"), "seccomp"))
        self.router.path("/etc/seccomp").mkdir()
        self.router.path("/etc/seccomp/mtrelay.json").write_text("{}")
        self.assertEqual(self.parameter(self.router.service("restart"), "seccomp"), ["/etc/seccomp/mtrelay.json"])
        self.option("option seccomp '0'")
        self.assertIsNone(self.parameter(self.router.service("restart"), "seccomp"))

    def test_wan_is_closed_unless_asked_for(self):
        calls = self.router.service("start")
        self.assertFalse(self.firewall_rules(calls))
        self.assertNotIn(["procd_set_config_changed", "firewall"], calls)

    def test_wan_is_opened_for_the_listeners(self):
        self.option("option open_wan '1'\n\tlist listen '127.0.0.1:9000'")
        calls = self.router.service("start")
        rule = {"type": "rule", "name": "mtrelay", "src": "wan", "proto": "tcp", "dest_port": "8443", "target": "ACCEPT"}
        self.assertEqual(self.firewall_rules(calls), [rule | {"family": family} for family in ("ipv4", "ipv6")])
        inside = calls[calls.index(["procd_open_instance", "mtrelay"]) : calls.index(["procd_close_instance"])]
        self.assertIn(["procd_open_data"], inside)
        self.assertIn(["json_add_array", "firewall"], inside)
        self.assertIn(["procd_set_config_changed", "firewall"], calls)
        # The firewall is told again only when something changed.
        self.assertNotIn(["procd_set_config_changed", "firewall"], self.router.service("reload"))
        self.assertIn(["procd_set_config_changed", "firewall"], self.router.service("stop"))

    def test_default_listener_is_opened_too(self):
        self.router.configure("config relay 'main'\n\toption open_wan '1'\n")
        rules = self.firewall_rules(self.router.service("start"))
        self.assertEqual([(rule["family"], rule["dest_port"]) for rule in rules], [("ipv4", "8443")])

    def test_disabled_has_no_instance(self):
        self.router.service("start")
        self.router.configure(CONFIG.replace("enabled '1'", "enabled '0'"))
        calls = self.router.service("reload")
        self.assertIn(["open_service"], calls)
        self.assertFalse([call for call in calls if call[0] in ("procd_open_instance", "procd_send_signal")])

    def test_a_file_without_a_relay_section_starts_with_the_defaults(self):
        self.router.configure("config user\n\toption name 'a'\n")
        self.assertIsNotNone(self.parameter(self.router.service("start"), "command"))

    def test_triggers(self):
        self.option("option bind_interface 'wg0'")
        calls = self.router.service("start")
        self.assertIn(["procd_add_reload_trigger", "mtrelay"], calls)
        interfaces = [call[1] for call in calls if call[0] == "procd_add_reload_interface_trigger"]
        self.assertEqual(interfaces, ["wan", "wan6", "wg0"])

    def test_stop_leaves_no_secret_behind(self):
        self.router.service("start")
        calls = self.router.service("stop")
        self.assertIn(["procd_kill", "mtrelay"], calls)
        self.assertFalse(self.router.path(EXPORT).exists())

    def test_check_and_link_are_the_programs(self):
        done = self.router.run("/etc/init.d/mtrelay", "check", "--net")
        self.assertEqual(done.stdout, "mtrelay check -c /etc/config/mtrelay --net\n")
        done = self.router.run("/etc/init.d/mtrelay", "link", "--qr", "--user", "a b")
        self.assertEqual(done.stdout, "mtrelay link -c /etc/config/mtrelay --qr --user a b\n")


if __name__ == "__main__":
    unittest.main()
