"""TDLib, the library under most Telegram apps, pings a DC through the relay in every mode that it knows."""

import unittest

import clients
import proxied
from proxied import DOMAIN, SECRETS, STRANGER

FORMS = {
    # form: (user, transport tag that TDLib then uses, what its secret looks like)
    "plain": ("family", "eeeeeeee", lambda secret: secret),
    "dd": ("guests", "dddddddd", lambda secret: "dd" + secret),
    "ee": ("office", "dddddddd", lambda secret: "ee" + secret + DOMAIN.encode().hex()),
}


class Tdlib(proxied.Proxied):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = clients.Tdlib()
        cls.addClassCleanup(cls.client.close)

    def ping(self, form):
        user, tag, spell = FORMS[form]
        for address in self.addresses():
            with self.subTest(address=address[0]):
                before = self.relay.status()
                marks = self.relay.lines.mark(), self.dc.lines.mark()
                answer = self.client.ping(address, spell(SECRETS[user]))
                self.assertEqual(answer["@type"], "seconds", answer)
                self.assertGreater(answer["seconds"], 0)
                close = self.relay.close_lines(marks[0])[0]
                self.assertEqual(self.dc.connections(1, start=marks[1]), [(1, tag)])
                seen = [close[field] for field in ("user", "client", "dc", "addr")]
                self.assertEqual(seen, [user, address[0], "1", self.dc.ipv4])
                self.assert_accounted(before, self.relay.status(), [close])

    def refuse(self, form):
        spell = FORMS[form][2]
        for address in self.addresses():
            with self.subTest(address=address[0]):
                before = self.relay.status()
                answer = self.client.ping(address, spell(STRANGER))
                self.assertEqual(answer["@type"], "error", answer)
                after = self.relay.status()
                self.assertEqual(
                    after["rejects"], before["rejects"] | {"bad_secret": before["rejects"]["bad_secret"] + 1}
                )
                self.assertEqual(after["sessions"], before["sessions"])
                self.assertEqual(after["dc"], before["dc"])

    def test_a_plain_secret_reaches_the_dc(self):
        self.ping("plain")

    def test_a_dd_secret_reaches_the_dc(self):
        self.ping("dd")

    def test_an_ee_secret_reaches_the_dc(self):
        self.ping("ee")

    def test_a_wrong_plain_secret_is_refused_and_counted(self):
        self.refuse("plain")

    def test_a_wrong_dd_secret_is_refused_and_counted(self):
        self.refuse("dd")

    def test_a_wrong_ee_secret_is_refused_and_counted(self):
        self.refuse("ee")


TdlibFast, TdlibRecrypted = proxied.in_both_speeds(Tdlib)

if __name__ == "__main__":
    unittest.main()
