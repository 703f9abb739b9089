//! The unencrypted request `req_pq_multi` and its answer `resPQ`.
//!
//! Read <https://core.telegram.org/mtproto/auth_key> first. The answer repeats the request's nonce, so a peer that answers
//! correctly speaks MTProto. No key and no account is needed to ask.

/// Constructor number of `req_pq_multi`.
const REQ_PQ_MULTI: u32 = 0xbe7e_8ef1;
/// Constructor number of `resPQ`.
const RES_PQ: u32 = 0x0516_2463;

/// The request as a frame of the intermediate transport: its length, then an unencrypted message.
pub(super) fn req_pq_multi(unix_time: u32, nonce: &[u8; 16]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(44);
    frame.extend_from_slice(&40_u32.to_le_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&(u64::from(unix_time) << 32).to_le_bytes());
    frame.extend_from_slice(&20_u32.to_le_bytes());
    frame.extend_from_slice(&REQ_PQ_MULTI.to_le_bytes());
    frame.extend_from_slice(nonce);
    frame
}

/// Whether an unencrypted message is the `resPQ` with this nonce.
pub(super) fn is_res_pq(message: &[u8], nonce: &[u8; 16]) -> bool {
    let mut wanted = RES_PQ.to_le_bytes().to_vec();
    wanted.extend_from_slice(nonce);
    // After the key id (zero), the message id and the length.
    message.starts_with(&[0; 8]) && message.get(20..40) == Some(wanted.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_nonce_is_an_answer() {
        let nonce = [7; 16];
        let frame = req_pq_multi(1, &nonce);
        assert_eq!(frame.len(), 44);
        assert_eq!(frame[12..20], [0, 0, 0, 0, 1, 0, 0, 0]);
        let mut message = frame[4..].to_vec();
        assert!(!is_res_pq(&message, &nonce));
        message[20..24].copy_from_slice(&RES_PQ.to_le_bytes());
        assert!(is_res_pq(&message, &nonce));
        assert!(!is_res_pq(&message, &[8; 16]));
        assert!(!is_res_pq(&message[..39], &nonce));
        assert!(!is_res_pq(&(-404_i32).to_le_bytes(), &nonce));
    }
}
