"""Telethon through the relay: the transports that TDLib leaves out, and every kind of data centre."""

import asyncio
import unittest

import clients
import proxied
from proxied import SECRETS, STRANGER

TAGS = {"abridged": "efefefef", "intermediate": "eeeeeeee", "padded": "dddddddd"}
USER = "guests"
# DC: the transport that asks for it, and how the relay's configuration reaches it.
CASES = {
    2: ("padded", "ipv4"),
    -2: ("padded", "ipv4"),
    -4: ("padded", "ipv6"),
    203: ("padded", "ipv4"),
    10002: ("padded", "ipv6"),
    5: ("intermediate", "ipv4"),
    -3: ("intermediate", "ipv6"),
    1: ("abridged", "ipv4"),
    -5: ("abridged", "ipv4"),
}
ENDED_BY_PROXY = (ConnectionError, asyncio.IncompleteReadError)


def secret_for(transport, secret):
    return "dd" + secret if transport == "padded" else secret


class Telethon(proxied.Proxied):
    @classmethod
    def setUpClass(cls):
        """All the cases over both listeners at once: Telethon waits two seconds after each header, to see if the proxy hangs up."""
        super().setUpClass()
        cls.before = cls.relay.status()
        wanted = [(transport, address, dc) for dc, (transport, _) in CASES.items() for address in cls.relay.listeners]

        async def everybody():
            asked = (clients.telethon_req_pq(t, address, secret_for(t, SECRETS[USER]), dc) for t, address, dc in wanted)
            return await asyncio.gather(*asked, return_exceptions=True)

        cls.answers = dict(zip(wanted, asyncio.run(everybody())))
        answered = sum(isinstance(answer, tuple) for answer in cls.answers.values())
        cls.closes = cls.relay.close_lines(0, count=answered)
        cls.after = cls.relay.status()

    def assert_answered(self, transport, *dcs):
        for dc in dcs:
            for address in self.addresses():
                with self.subTest(dc=dc, listener=address[0]):
                    answer = self.answers[transport, address, dc]
                    if isinstance(answer, Exception):
                        raise answer
                    nonce, res_pq = answer
                    self.assertEqual(res_pq.nonce, nonce)
                    closes = [c for c in self.closes if (c["client"], c["dc"]) == (address[0], str(dc))]
                    reached = [(c["user"], c["addr"]) for c in closes]
                    self.assertEqual(reached, [(USER, getattr(self.dc, CASES[dc][1]))])

    def test_padded_reaches_a_main_dc(self):
        self.assert_answered("padded", 2)

    def test_padded_reaches_media_dcs_with_and_without_a_section_of_their_own(self):
        self.assert_answered("padded", -4, -2)

    def test_padded_reaches_the_cdn_and_a_test_dc(self):
        self.assert_answered("padded", 203, 10002)

    def test_intermediate_reaches_main_and_media_dcs(self):
        self.assert_answered("intermediate", 5, -3)

    def test_abridged_reaches_main_and_media_dcs(self):
        self.assert_answered("abridged", 1, -5)

    def test_the_dc_is_told_the_transport_and_the_signed_number(self):
        told = self.dc.connections(len(self.answers))
        self.assertEqual(
            told, sorted((dc, TAGS[transport]) for dc, (transport, _) in CASES.items() for _ in self.addresses())
        )

    def test_every_session_is_accounted_for(self):
        self.assertEqual(len(self.closes), len(self.answers))
        self.assert_accounted(self.before, self.after, self.closes)

    def test_wrong_secrets_are_refused_and_counted(self):
        before = self.relay.status()

        async def strangers():
            asked = (clients.telethon_req_pq(t, a, secret_for(t, STRANGER), 2) for t in TAGS for a in self.addresses())
            return await asyncio.gather(*asked, return_exceptions=True)

        for answer in asyncio.run(strangers()):
            self.assertIsInstance(answer, ENDED_BY_PROXY)
        after = self.relay.status()
        self.assertEqual(after["rejects"], before["rejects"] | {"bad_secret": before["rejects"]["bad_secret"] + 6})
        self.assertEqual(after["sessions"], before["sessions"])
        self.assertEqual(after["dc"], before["dc"])

    def test_an_unknown_dc_is_refused_and_named(self):
        mark = self.relay.lines.mark()
        with self.assertRaises(ENDED_BY_PROXY):
            asyncio.run(clients.telethon_req_pq("padded", self.relay.listeners[0], "dd" + SECRETS[USER], 77))
        close = self.relay.close_lines(mark)[0]
        self.assertEqual((close["dc"], close["by"], close["reason"]), ("77", "relay", "unknown_dc"))


TelethonFast, TelethonRecrypted = proxied.in_both_speeds(Telethon)

if __name__ == "__main__":
    unittest.main()
