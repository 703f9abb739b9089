"""What the tests of both libraries share: one relay and one fake DC per test class, and what must be true of them afterwards."""

import unittest

import processes

SECRETS = {
    # A user for each form that a link may have; any of the secrets would do for all three.
    "family": "5a1f0c3e8b7d4926a0d1e2f3c4b5a697",
    "guests": "c0ffee11223344556677889900aabbcc",
    "office": "3f9d27b1c8e65a40719be2d40f6c8a53",
}
STRANGER = "00112233445566778899aabbccddeeff"
DOMAIN = "www.example.org"


def config(fast_mode, dc):
    lines = [
        "config relay 'main'",
        "\tlist listen '127.0.0.1:0'",
        "\tlist listen '[::1]:0'",
        f"\toption fast_mode '{fast_mode}'",
        "\toption modes 'plain dd ee'",
        # Whoever is refused is left in silence for this long.
        "\toption handshake_timeout '1'",
        "\toption stats_listen '127.0.0.1:0'",
    ]
    for name, secret in SECRETS.items():
        lines += ["config user", f"\toption name '{name}'", f"\toption secret '{secret}'"]
    # -2 and -3 have no section: they go where 2 and 3 go. 3, -4 and 10002 are reached over IPv6.
    for number in (1, 2, 3, 4, 5, -4, 203, 10002):
        address = dc.ipv6 if number in (3, -4, 10002) else dc.ipv4
        lines += ["config dc", f"\toption id '{number}'", f"\tlist address '{address}'"]
    return "\n".join(lines) + "\n"


class Proxied:
    """A mixin for unittest.TestCase; `fast_mode` is the subclass's."""

    @classmethod
    def setUpClass(cls):
        cls.dc = processes.FakeDc()
        cls.addClassCleanup(cls.dc.stop)
        cls.relay = processes.Relay(config(cls.fast_mode, cls.dc))
        cls.addClassCleanup(cls.stop_relay)

    @classmethod
    def stop_relay(cls):
        status, logged = cls.relay.stop()
        assert status == 0, f"the relay ended with {status}"
        odd = [line for line in logged if line.startswith("error") or "panicked" in line]
        assert not odd, odd

    def addresses(self):
        self.assertEqual([host for host, _ in self.relay.listeners], ["127.0.0.1", "::1"])
        return self.relay.listeners

    def assert_accounted(self, before, after, closes):
        """The relay's own account of sessions that their clients ended: what it logged and the counters it raised agree."""
        count = len(closes)
        for close in closes:
            self.assertEqual((close["by"], close["reason"]), ("client", "client_closed"), close)
            # req_pq_multi is 40 bytes and the shortest resPQ 80, before any framing.
            self.assertGreaterEqual(int(close["up"]), 40, close)
            self.assertGreaterEqual(int(close["down"]), 80, close)
        self.assertEqual(after["sessions"]["total"], before["sessions"]["total"] + count)
        self.assertEqual(after["sessions"]["active"], 0)
        self.assertEqual(
            after["closes"], before["closes"] | {"client_closed": before["closes"]["client_closed"] + count}
        )
        self.assertEqual(after["dc"]["created"], before["dc"]["created"] + count)
        self.assertEqual((after["dc"]["active"], after["dc"]["failed"]), (0, 0))
        self.assertEqual(after["bytes"], grown(before["bytes"], closes))
        self.assertEqual(after["rejects"], before["rejects"])
        for was, now in zip(before["users"], after["users"], strict=True):
            theirs = [close for close in closes if close["user"] == was["name"]]
            self.assertEqual((now["name"], now["total"], now["active"]), (was["name"], was["total"] + len(theirs), 0))
            self.assertEqual(now["bytes"], grown(was["bytes"], theirs))


def grown(counters, closes):
    return {way: counters[way] + sum(int(close[way]) for close in closes) for way in ("up", "down")}


def in_both_speeds(mixin):
    """Two TestCases of a mixin, named as unittest shall print them: downloads passed on as they are, and re-encrypted."""
    name = mixin.__name__
    return (
        type(f"{name}Fast", (mixin, unittest.TestCase), {"fast_mode": 1, "__module__": mixin.__module__}),
        type(f"{name}Recrypted", (mixin, unittest.TestCase), {"fast_mode": 0, "__module__": mixin.__module__}),
    )
