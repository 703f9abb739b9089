//! The `Range` header: which parts of a medium are requested.
//!
//! Read first: RFC 9110 §14. A header that cannot be parsed is ignored, so the whole medium is sent; ranges wholly outside the
//! medium give 416. Ranges that touch or overlap are merged (§14.2). A request for more than [`MAX_PARTS`] separate ranges gets
//! the whole medium: no player and no resumed download sends one.

use std::ops::Range;

/// Upper bound of ranges in one response: each costs a part head, and opens the medium again.
pub(super) const MAX_PARTS: usize = 16;

/// The bytes that a header selects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The whole medium.
    Whole,
    /// Ranges within the medium, none empty, in the requested order.
    Parts(Vec<Range<u64>>),
    /// Only bytes beyond the end.
    Nothing,
}

/// Parses a header for a medium of this size.
pub(super) fn read(header: &str, size: u64) -> Selection {
    let Some((unit, list)) = header.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut any = false;
    for spec in list.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        // A list may have empty elements (§5.6.1.2).
        if spec.is_empty() {
            continue;
        }
        any = true;
        match part(spec, size) {
            None => return Selection::Whole,
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
        }
    }
    if !any {
        return Selection::Whole;
    }
    let parts = joined(parts);
    match parts.len() {
        0 => Selection::Nothing,
        n if n > MAX_PARTS => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// Parses `first-last`, `first-` or `-length`. The range is empty if it lies outside the medium.
fn part(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?;
        return Some(size - length.min(size)..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(first.min(size)..end)
}

/// A number too large for `u64` is larger than any size.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

/// The ranges in their order if they are separate; else sorted and merged.
fn joined(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    let mut one: Vec<Range<u64>> = Vec::new();
    for part in sorted {
        match one.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => one.push(part),
        }
    }
    if one.len() == parts.len() { parts } else { one }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of parts, often of one")]
mod tests {
    use super::*;

    fn parts(header: &str) -> Vec<Range<u64>> {
        match read(header, 1000) {
            Selection::Parts(parts) => parts,
            other => panic!("{header:?}: {other:?}"),
        }
    }

    #[test]
    fn one_part_in_every_form() {
        assert_eq!(parts("bytes=0-0"), [0..1]);
        assert_eq!(parts("bytes=0-499"), [0..500]);
        assert_eq!(parts("bytes=500-999"), [500..1000]);
        assert_eq!(parts("bytes=500-"), [500..1000]);
        assert_eq!(parts("bytes=-500"), [500..1000]);
        assert_eq!(parts("bytes=-1"), [999..1000]);
        assert_eq!(parts("Bytes = 1-2"), [1..3]);
        assert_eq!(parts("bytes= ,\t1-2 ,,"), [1..3]);
    }

    #[test]
    fn what_is_beyond_the_end_is_cut_off() {
        assert_eq!(parts("bytes=999-99999999999999999999999"), [999..1000]);
        assert_eq!(parts("bytes=0-18446744073709551615"), [0..1000]);
        assert_eq!(parts("bytes=-5000"), [0..1000]);
        assert_eq!(parts("bytes=5000-,1-1"), [1..2]);
    }

    #[test]
    fn several_parts_keep_their_order_unless_they_touch() {
        assert_eq!(parts("bytes=-1,0-0"), [999..1000, 0..1]);
        assert_eq!(parts("bytes=500-600,0-9, 10-19"), [0..20, 500..601]);
        assert_eq!(parts("bytes=0-,0-,0-,5-6"), [0..1000]);
        let many = |n: usize| (0..n).map(|i| format!("{0}-{0},", i * 2)).collect::<String>();
        assert_eq!(parts(&format!("bytes={}", many(MAX_PARTS))).len(), MAX_PARTS);
        assert_eq!(
            read(&format!("bytes={}", many(MAX_PARTS + 1)), 1000),
            Selection::Whole
        );
    }

    #[test]
    fn what_is_not_understood_is_no_header() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=0-1,2-1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=1 - 2",
            "bytes=0x1-2",
            "items=0-1",
            "0-1",
        ] {
            assert_eq!(read(header, 1000), Selection::Whole, "{header:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for header in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=5000-,9999999999999999999999-",
        ] {
            assert_eq!(read(header, 1000), Selection::Nothing, "{header:?}");
        }
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(read(header, 0), Selection::Nothing, "{header:?}");
        }
    }

    #[test]
    fn parts_lie_within_whatever_is_asked() {
        let pieces = [
            "0",
            "1",
            "999",
            "1000",
            "-",
            ",",
            "18446744073709551615",
            " ",
            "7",
        ];
        let mut state = 0x2545_f491_u32;
        for _ in 0..20_000 {
            let mut header = String::from("bytes=");
            for _ in 0..9 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                header.push_str(pieces[state as usize % pieces.len()]);
            }
            if let Selection::Parts(parts) = read(&header, 1000) {
                assert!(!parts.is_empty() && parts.len() <= MAX_PARTS, "{header:?}");
                assert!(
                    parts.iter().all(|part| part.start < part.end && part.end <= 1000),
                    "{header:?}"
                );
            }
        }
    }
}
