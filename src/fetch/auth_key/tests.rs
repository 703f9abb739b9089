use super::*;
use grammers_tl_types::functions::{ReqDhParams, ReqPqMulti, SetClientDhParams};
use sha2::Sha256;

const NOW: u32 = 1_700_000_000;
const SERVER_NONCE: [u8; 16] = [0x51; 16];
const A: [u8; 256] = [0x0a; 256];

/// A server with an optional fault.
struct Server {
    fault: &'static str,
    new_nonce: [u8; 32],
    retries: u8,
    key: Option<AuthKey>,
}

/// A key with exponent 1: data encrypted for it is readable.
fn open_key() -> PublicKey {
    PublicKey::with_parts((BigUint::from(1_u8) << 2048_u32) - BigUint::from(1_u8), 1)
}

fn counting() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u32;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    }
}

fn clear(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8];
    message.extend([1, 0, 0, 0, 0, 0, 0, 9]);
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(body);
    message
}

impl Server {
    fn new(fault: &'static str) -> Server {
        Server {
            fault,
            new_nonce: [0; 32],
            retries: 0,
            key: None,
        }
    }

    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let body = unwrap(message).unwrap();
        let (id, fields) = body.split_first_chunk::<4>().unwrap();
        let mut fields = Cursor::from_slice(fields);
        let mut nonce = <[u8; 16]>::deserialize(&mut fields).unwrap();
        if self.is("nonce") {
            nonce[3] ^= 1;
        }
        let body = match u32::from_le_bytes(*id) {
            ReqPqMulti::CONSTRUCTOR_ID => self.pq(nonce),
            ReqDhParams::CONSTRUCTOR_ID => self.params(nonce, &mut fields),
            SetClientDhParams::CONSTRUCTOR_ID => self.verdict(nonce, &mut fields),
            other => panic!("{other:08x}"),
        };
        clear(&body)
    }

    fn pq(&self, nonce: [u8; 16]) -> Vec<u8> {
        let pq: u64 = match self.fault {
            "prime pq" => 9_223_372_036_854_775_783,
            "pq 0" => 0,
            "pq of three" => 2_097_143 * 2_097_143 * 2_097_143,
            _ => 0x17ed_4894_1a08_f981,
        };
        let mut pq = pq.to_be_bytes().to_vec();
        if self.is("long pq") {
            pq.insert(0, 1);
        }
        let key = if self.is("unknown key") {
            5
        } else {
            open_key().fingerprint()
        };
        enums::ResPq::Pq(types::ResPq {
            nonce,
            server_nonce: SERVER_NONCE,
            pq,
            server_public_key_fingerprints: vec![77, key],
        })
        .to_bytes()
    }

    fn params(&mut self, nonce: [u8; 16], fields: &mut Cursor<'_>) -> Vec<u8> {
        assert_eq!(<[u8; 16]>::deserialize(fields).unwrap(), SERVER_NONCE);
        assert_eq!(
            Vec::<u8>::deserialize(fields).unwrap(),
            0x494c_553b_u32.to_be_bytes()
        );
        assert_eq!(
            Vec::<u8>::deserialize(fields).unwrap(),
            0x5391_1073_u32.to_be_bytes()
        );
        assert_eq!(i64::deserialize(fields).unwrap(), open_key().fingerprint());
        self.new_nonce = self.open(&Vec::<u8>::deserialize(fields).unwrap()).new_nonce;
        if self.is("refused") {
            let new_nonce_hash = [0; 16];
            return enums::ServerDhParams::Fail(types::ServerDhParamsFail {
                nonce,
                server_nonce: SERVER_NONCE,
                new_nonce_hash,
            })
            .to_bytes();
        }
        let prime = BigUint::from_bytes_be(&DH_PRIME);
        let g_a = BigUint::from(3_u8).modpow(&BigUint::from_bytes_be(&A), &prime);
        let g_a = match self.fault {
            "g_a 0" => vec![],
            "g_a 1" => vec![1],
            "g_a p-1" => (prime - BigUint::from(1_u8)).to_bytes_be(),
            "g_a small" => (BigUint::from(1_u8) << 1983_u32).to_bytes_be(),
            "g_a long" => vec![0x77; 257],
            _ => g_a.to_bytes_be(),
        };
        let mut dh_prime = DH_PRIME.to_vec();
        if self.is("other prime") {
            dh_prime[255] ^= 2;
        }
        let mut inner = enums::ServerDhInnerData::Data(types::ServerDhInnerData {
            nonce: if self.is("inner nonce") { [9; 16] } else { nonce },
            server_nonce: SERVER_NONCE,
            g: if self.is("generator") { 2 } else { 3 },
            dh_prime,
            g_a,
            server_time: 1_699_999_900,
        })
        .to_bytes();
        if self.is("short inner") {
            inner.truncate(60);
        }
        let mut sealed = Sha1::digest(&inner).to_vec();
        if self.is("hash") {
            sealed[7] ^= 1;
        }
        sealed.extend(inner);
        let padding = sealed.len().wrapping_neg() % 16 + if self.is("padding") { 16 } else { 0 };
        sealed.extend(vec![7; padding]);
        let (key, iv) = generate_key_data_from_nonce(&SERVER_NONCE, &self.new_nonce);
        ige_encrypt(&mut sealed, &key, &iv);
        match self.fault {
            "unaligned" => sealed.truncate(sealed.len() - 3),
            "empty" => sealed.clear(),
            "one block" => sealed.truncate(16),
            "noise" => sealed.fill(0x31),
            _ => {}
        }
        enums::ServerDhParams::Ok(types::ServerDhParamsOk {
            nonce,
            server_nonce: SERVER_NONCE,
            encrypted_answer: sealed,
        })
        .to_bytes()
    }

    fn verdict(&mut self, nonce: [u8; 16], fields: &mut Cursor<'_>) -> Vec<u8> {
        use enums::SetClientDhParamsAnswer as Answer;
        assert_eq!(<[u8; 16]>::deserialize(fields).unwrap(), SERVER_NONCE);
        let mut sealed = Vec::<u8>::deserialize(fields).unwrap();
        let (key, iv) = generate_key_data_from_nonce(&SERVER_NONCE, &self.new_nonce);
        ige_decrypt(&mut sealed, &key, &iv);
        let mut cursor = Cursor::from_slice(&sealed[20..]);
        let enums::ClientDhInnerData::Data(inner) =
            enums::ClientDhInnerData::deserialize(&mut cursor).unwrap();
        let end = 20 + cursor.pos();
        assert_eq!(sealed[..20], Sha1::digest(&sealed[20..end])[..]);
        assert!(sealed.len() - end < 16);
        assert_eq!(inner.retry_id == 0, self.retries == 0);
        let g_b = BigUint::from_bytes_be(&inner.g_b);
        let prime = BigUint::from_bytes_be(&DH_PRIME);
        let key = AuthKey::from_bytes(to_bytes(&g_b.modpow(&BigUint::from_bytes_be(&A), &prime)));
        let server_nonce = SERVER_NONCE;
        let hash = |number| key.calc_new_nonce_hash(&self.new_nonce, number);
        let answer = match self.fault {
            "key hash" => Answer::DhGenOk(types::DhGenOk {
                nonce,
                server_nonce,
                new_nonce_hash1: hash(2),
            }),
            "fail" => Answer::DhGenFail(types::DhGenFail {
                nonce,
                server_nonce,
                new_nonce_hash3: hash(3),
            }),
            fault if fault == "retries" || fault == "retry" && self.retries == 0 => {
                self.retries += 1;
                Answer::DhGenRetry(types::DhGenRetry {
                    nonce,
                    server_nonce,
                    new_nonce_hash2: hash(2),
                })
            }
            _ => Answer::DhGenOk(types::DhGenOk {
                nonce,
                server_nonce,
                new_nonce_hash1: hash(1),
            }),
        };
        self.key = Some(key);
        answer.to_bytes()
    }

    /// Reverses RSA_PAD, for exponent 1.
    fn open(&self, sealed: &[u8]) -> types::PQInnerDataDc {
        let (key, body) = sealed.split_first_chunk::<32>().unwrap();
        let mut body = body.to_vec();
        let mut temp_key = *key;
        for (key, hash) in temp_key.iter_mut().zip(Sha256::digest(&body)) {
            *key ^= hash;
        }
        ige_decrypt(&mut body, &temp_key, &[0; 32]);
        let mut padded = body[..192].to_vec();
        padded.reverse();
        match enums::PQInnerData::from_bytes(&padded).unwrap() {
            enums::PQInnerData::Dc(inner) => inner,
            _ => panic!("the number of the data centre is missing"),
        }
    }
}

/// A whole exchange with a server of this fault. Returns the result and the server.
fn run(fault: &'static str) -> (Result<Box<NewAuthKey>, KeyExchangeError>, Server) {
    let mut server = Server::new(fault);
    let mut random = counting();
    let (mut exchange, mut message) = KeyExchange::new(-2, NOW, &mut random);
    loop {
        let answer = server.answer(&message);
        match exchange.handle_message(&answer, &[open_key()], NOW, &mut random) {
            Ok(Step::Send(next)) => message = next,
            Ok(Step::Done(secret)) => return (Ok(secret), server),
            Err(error) => return (Err(error), server),
        }
    }
}

#[test]
fn both_sides_have_the_same_key() {
    for fault in ["", "retry"] {
        let (secret, server) = run(fault);
        let secret = secret.unwrap();
        assert_eq!(
            Some(secret.auth_key),
            server.key.map(|key| key.to_bytes()),
            "{fault}"
        );
        assert_eq!(secret.server_time, 1_699_999_900);
        let new_nonce = i64::from_le_bytes(server.new_nonce[..8].try_into().unwrap());
        assert_eq!(secret.salt, new_nonce ^ i64::from_le_bytes([0x51; 8]));
        assert_eq!(format!("{secret:?}"), "NewAuthKey(…)");
    }
}

#[test]
fn what_does_not_hold_is_an_error_with_its_name() {
    use KeyExchangeError as E;
    let cases = [
        ("nonce", E::Nonce),
        ("prime pq", E::Factors),
        ("pq 0", E::Factors),
        ("pq of three", E::Factors),
        ("long pq", E::Factors),
        ("unknown key", E::NoKnownKey),
        ("refused", E::Refused),
        ("g_a 0", E::Range),
        ("g_a 1", E::Range),
        ("g_a p-1", E::Range),
        ("g_a small", E::Range),
        ("g_a long", E::Range),
        ("other prime", E::Group),
        ("generator", E::Group),
        ("inner nonce", E::Nonce),
        ("short inner", E::Malformed),
        ("hash", E::Hash),
        ("padding", E::Malformed),
        ("unaligned", E::Malformed),
        ("empty", E::Malformed),
        ("one block", E::Malformed),
        ("noise", E::Hash),
        ("key hash", E::KeyHash),
        ("fail", E::Refused),
        ("retries", E::Retries),
    ];
    for (fault, error) in cases {
        assert_eq!(run(fault).0, Err(error), "{fault}");
    }
}

#[test]
fn every_answer_cut_short_or_made_longer_is_malformed() {
    let mut server = Server::new("");
    let mut random = counting();
    let mut messages = vec![];
    let (mut exchange, mut message) = KeyExchange::new(2, NOW, &mut random);
    loop {
        let answer = server.answer(&message);
        messages.push(answer.clone());
        match exchange
            .handle_message(&answer, &[open_key()], NOW, &mut random)
            .unwrap()
        {
            Step::Send(next) => message = next,
            Step::Done(_) => break,
        }
    }
    assert_eq!(messages.len(), 3);
    for at in 0..3 {
        let reach = || {
            let mut random = counting();
            let (mut exchange, _) = KeyExchange::new(2, NOW, &mut random);
            for answer in &messages[..at] {
                exchange
                    .handle_message(answer, &[open_key()], NOW, &mut random)
                    .unwrap();
            }
            (exchange, random)
        };
        let whole = &messages[at];
        let fails = |message: &[u8]| {
            let (mut exchange, mut random) = reach();
            let first = exchange.handle_message(message, &[open_key()], NOW, &mut random);
            // A failed exchange stays failed.
            let again = exchange.handle_message(message, &[open_key()], NOW, &mut random);
            first.is_err() && (again == Err(KeyExchangeError::Malformed) || again == first)
        };
        // The second answer costs a modular power of 2048 bits per accepted length: only a few lengths are tried.
        for len in (0..whole.len()).step_by(if at == 0 { 1 } else { 37 }) {
            assert!(fails(&whole[..len]), "{at}: {len} bytes");
            let mut short = whole[..len].to_vec();
            if len > 20 {
                short[16..20].copy_from_slice(&(len as u32 - 20).to_le_bytes());
                assert!(fails(&short), "{at}: {len} bytes, said so");
            }
        }
        let mut long = whole.clone();
        long.extend([0; 4]);
        long[16..20].copy_from_slice(&(whole.len() as u32 - 16).to_le_bytes());
        assert!(fails(&long), "{at}: longer");
        // Padding of the transport is ignored.
        let (mut exchange, mut random) = reach();
        let mut padded = whole.clone();
        padded.extend([9; 15]);
        assert!(
            exchange
                .handle_message(&padded, &[open_key()], NOW, &mut random)
                .is_ok()
        );
    }
}
