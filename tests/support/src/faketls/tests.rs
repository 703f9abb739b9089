//! Hellos of the right size that carry what they should, and a reader that refuses what it should.

use super::*;

const SECRET: [u8; 16] = *b"0123456789abcdef";

/// RFC 4231 has no key of 16 bytes; this value was computed with Python's hmac module.
#[test]
fn mac_agrees_with_another_implementation() {
    let expected = [
        0x75, 0x1e, 0x97, 0x5b, 0x80, 0x91, 0x74, 0xe3, 0xbd, 0x85, 0x15, 0xb7, 0xc4, 0xc5, 0xc9, 0x4b,
    ];
    assert_eq!(mac(&SECRET, &[b"fake", b"", b" TLS"])[..16], expected);
}

#[test]
fn hellos_have_their_size_and_hide_the_time() {
    for (kind, sizes) in [
        (HelloKind::Classic, 517..=517),
        (HelloKind::Kem, 1750..=1900),
        (HelloKind::KemOnly, 1700..=1850),
    ] {
        let spec = HelloSpec::new(kind, "www.example.org", 1_700_000_000);
        let hello = client_hello(&SECRET, &spec, 5);
        assert!(
            sizes.contains(&hello.bytes.len()),
            "{kind:?}: {}",
            hello.bytes.len()
        );
        assert_eq!(hello.bytes[..3], [0x16, 0x03, 0x01]);
        assert_eq!(
            usize::from(u16::from_be_bytes([hello.bytes[3], hello.bytes[4]])),
            hello.bytes.len() - 5
        );
        let mut zeroed = hello.bytes.clone();
        zeroed[11..43].fill(0);
        let digest = mac(&SECRET, &[&zeroed]);
        assert_eq!(digest[..28], hello.random[..28]);
        let time = std::array::from_fn(|at| digest[28 + at] ^ hello.random[28 + at]);
        assert_eq!(u32::from_le_bytes(time), 1_700_000_000);
        assert_eq!(hello.bytes[44..76], hello.session_id);
        assert!(hello.bytes.windows(15).any(|window| window == b"www.example.org"));
    }
}

#[test]
fn good_answers_are_taken_apart() {
    for (kind, group, share, len) in [
        (HelloKind::Classic, X25519, vec![9; 32], 127),
        (HelloKind::KemOnly, X25519_MLKEM768, vec![9; 1120], 127 + 1088),
    ] {
        let hello = client_hello(&SECRET, &HelloSpec::new(kind, "a", 1), 6);
        let bytes = answer(&SECRET, &hello, 0x1301, group, &share, &[7; 1500]);
        let parsed = check_answer(&SECRET, &hello, &bytes).expect("a good answer");
        assert_eq!(
            (parsed.cipher, parsed.group, parsed.data_len),
            (0x1301, group, 1500)
        );
        assert_eq!((parsed.share, bytes.len() - 6 - 5 - 1500), (share, len));
    }
}

#[test]
fn bad_answers_are_refused() {
    let hello = client_hello(&SECRET, &HelloSpec::new(HelloKind::Classic, "a", 1), 6);
    let good = answer(&SECRET, &hello, 0x1301, X25519, &[9; 32], &[7; 100]);
    let refused = |bytes: &[u8]| check_answer(&SECRET, &hello, bytes).expect_err("a bad answer").0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        refused(&bad);
    }
    refused(&good[..good.len() - 1]);
    refused(&[&good[..], &[0x17, 0x03, 0x03, 0, 1, 0]].concat());
    assert!(refused(&answer(&SECRET, &hello, 0x1302, X25519, &[9; 32], &[7; 100])).contains("cipher suite"));
    assert!(
        refused(&answer(
            &SECRET,
            &hello,
            0x1301,
            X25519_MLKEM768,
            &[9; 1120],
            &[7; 100]
        ))
        .contains("group")
    );
    assert!(refused(&answer(&SECRET, &hello, 0x1301, X25519, &[9; 33], &[7; 100])).contains("33 bytes"));
    assert!(refused(&answer(&SECRET, &hello, 0x1301, X25519, &[9; 32], &[])).contains("empty"));
}
