"""The vectors themselves: the computed ones are what make.py computes, and the captured ones verify under their secrets."""

import sys
import unittest
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))

import make  # noqa: E402
import reference as ref  # noqa: E402


def vectors(pattern, kind=None):
    found = {path.stem: ref.load(path) for path in sorted(VECTORS.glob(f"{pattern}.txt"))}
    found = {name: fields for name, fields in found.items() if kind in (None, fields["kind"])}
    assert found, f"no {pattern} of kind {kind}"
    return found


class Vectors(unittest.TestCase):
    def test_every_computed_file_is_what_make_py_computes(self):
        files = make.compute()
        self.assertEqual(make.differences(files), [])

    def test_every_file_says_what_it_expects(self):
        for name, fields in vectors("*").items():
            with self.subTest(name):
                self.assertEqual(name.startswith("ok-"), fields["expect"] == "ready")
                self.assertIn(
                    fields["kind"], ("obfuscated2", "dc-header", "client-hello", "server-answer", "client-stream")
                )

    def test_every_good_header_opens_with_its_secret(self):
        for name, fields in vectors("ok-*", "obfuscated2").items():
            with self.subTest(name):
                self.open(fields, bytes.fromhex(fields["up_wire"]))

    def test_every_good_hello_verifies_and_says_what_its_file_says(self):
        for name, fields in vectors("ok-*", "client-hello").items():
            with self.subTest(name):
                self.verify(fields, bytes.fromhex(fields["record"]))

    def test_every_good_stream_leads_to_its_header_and_payload(self):
        for name, fields in vectors("ok-*", "client-stream").items():
            with self.subTest(name):
                hello = bytes.fromhex(fields["hello"])
                self.assertIsNotNone(ref.verify_hello(hello, bytes.fromhex(fields["secret"])))
                inner = ref.unwrap(bytes.fromhex(fields["after_hello"]))
                self.assertEqual(inner[:64].hex(), fields["header"])
                self.open(fields, inner[64:])

    def test_a_hello_that_lies_about_its_lengths_carries_a_true_digest(self):
        about_lengths = ("-past-end", "-too-long", "-too-short", "-truncated", "-huge", "-odd", "-33")
        for name, fields in vectors("bad-hello-*-*").items():
            if fields["expect"] != "malformed" or not name.endswith(about_lengths) or name == "bad-hello-too-short":
                continue
            with self.subTest(name):
                record = bytes.fromhex(fields["record"])
                self.assertIsNotNone(ref.verify_hello(record, bytes.fromhex(fields["secret"])))
                with self.assertRaises(ValueError):
                    ref.parse_hello(record)

    def test_no_bad_digest_verifies(self):
        for name, fields in vectors("bad-hello-*").items():
            if fields["expect"] == "bad_secret":
                with self.subTest(name):
                    self.assertIsNone(
                        ref.verify_hello(bytes.fromhex(fields["record"]), bytes.fromhex(fields["secret"]))
                    )

    def test_captures_of_tdlib_are_there_in_several_lengths(self):
        lengths = {len(fields["record"]) // 2 for fields in vectors("ok-captured-tdlib-hello-*").values()}
        self.assertGreaterEqual(len(lengths), 3, lengths)

    def open(self, fields, after):
        tag, dc, up, _ = ref.open_header(bytes.fromhex(fields["header"]), bytes.fromhex(fields["secret"]))
        self.assertEqual((tag.hex(), dc), (fields["tag"], int(fields["dc"])))
        self.assertEqual(up.apply(after).hex(), fields["up_plain"])

    def verify(self, fields, record):
        self.assertEqual(ref.verify_hello(record, bytes.fromhex(fields["secret"])), int(fields["time"]))
        seen = ref.parse_hello(record)
        for key in ("session_id", "domain", "groups", "ciphers"):
            self.assertEqual(ref.text(seen[key]), fields[key])


if __name__ == "__main__":
    unittest.main()
