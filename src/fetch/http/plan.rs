//! What of a medium is answered, decided by the request's head alone (RFC 9110 §13.2.2 gives the order).

use super::range::{self, Asked};
use super::request::Request;
use std::ops::Range;

/// What follows from a request's conditions and ranges.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Whole,
    Part(Range<u64>),
    Parts(Vec<Range<u64>>),
    /// The client has it already.
    NotModified,
    /// The client wants another one.
    Failed,
    /// There is nothing at the places asked for.
    Unsatisfiable,
}

/// `tag` is the medium's, always a strong one.
pub(super) fn plan(request: &Request, tag: &str, size: u64) -> Plan {
    if let Some(wanted) = &request.if_match
        && !names(wanted, tag, false)
    {
        return Plan::Failed;
    }
    if let Some(known) = &request.if_none_match
        && names(known, tag, true)
    {
        return Plan::NotModified;
    }
    // A date is never the one of a medium that has none, and a weak tag is never equal (§13.1.5).
    let applies = request.if_range.as_deref().is_none_or(|known| known == tag);
    match request.range.as_deref() {
        // Ranges are defined for GET only (§14.2).
        Some(range) if applies && !request.head_only => match range::read(range, size) {
            Asked::Whole => Plan::Whole,
            Asked::Nothing => Plan::Unsatisfiable,
            Asked::Parts(mut parts) if parts.len() == 1 => Plan::Part(parts.remove(0)),
            Asked::Parts(parts) => Plan::Parts(parts),
        },
        _ => Plan::Whole,
    }
}

/// Whether a list of tags, or `*`, names this one. Our tags have no comma in them.
fn names(list: &str, tag: &str, weak: bool) -> bool {
    list.split(',').map(str::trim).any(|known| {
        let opaque = known.strip_prefix("W/").filter(|_| weak).unwrap_or(known);
        known == "*" || opaque == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"a\"";

    fn planned(change: impl FnOnce(&mut Request)) -> Plan {
        let mut request = Request::default();
        change(&mut request);
        plan(&request, TAG, 1000)
    }

    #[test]
    fn ranges_are_for_get_alone() {
        let range = |request: &mut Request| request.range = Some("bytes=1-2".into());
        assert_eq!(planned(range), Plan::Part(1..3));
        assert_eq!(
            planned(|request| {
                range(request);
                request.head_only = true;
            }),
            Plan::Whole
        );
        assert_eq!(
            planned(|request| request.range = Some("bytes=0-0,-1".into())),
            Plan::Parts(vec![0..1, 999..1000])
        );
        assert_eq!(
            planned(|request| request.range = Some("bytes=1000-".into())),
            Plan::Unsatisfiable
        );
    }

    #[test]
    fn if_range_needs_the_very_tag() {
        for (known, expected) in [
            (TAG, Plan::Part(1..3)),
            ("\"b\"", Plan::Whole),
            ("W/\"a\"", Plan::Whole),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Plan::Whole),
            ("", Plan::Whole),
        ] {
            let plan = planned(|request| {
                request.range = Some("bytes=1-2".into());
                request.if_range = Some(known.into());
            });
            assert_eq!(plan, expected, "{known}");
        }
    }

    #[test]
    fn conditions_come_before_ranges() {
        let conditions = |matches: Option<&str>, none: Option<&str>| {
            planned(|request| {
                request.range = Some("bytes=1000-".into());
                request.if_match = matches.map(Into::into);
                request.if_none_match = none.map(Into::into);
            })
        };
        assert_eq!(conditions(Some("\"b\""), Some("\"a\"")), Plan::Failed);
        assert_eq!(conditions(Some("W/\"a\""), None), Plan::Failed);
        assert_eq!(conditions(Some("\"b\", \"a\""), None), Plan::Unsatisfiable);
        assert_eq!(conditions(Some("*"), Some("\"b\",W/\"a\"")), Plan::NotModified);
        assert_eq!(conditions(None, Some("*")), Plan::NotModified);
        assert_eq!(conditions(None, Some("\"b\"")), Plan::Unsatisfiable);
    }
}
