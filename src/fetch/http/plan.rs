//! Which bytes of a medium the response carries, from the request's head alone (order of conditions: RFC 9110 §13.2.2).

use super::range::{self, Selection};
use super::request::Request;
use std::ops::Range;

/// The response that the conditions and ranges of a request lead to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Whole,
    Range(Range<u64>),
    Ranges(Vec<Range<u64>>),
    /// The client's copy is current.
    NotModified,
    /// The client expects another version.
    PreconditionFailed,
    /// All requested ranges lie outside the medium.
    Unsatisfiable,
}

/// The plan for a medium with this ETag, which is a strong one.
pub(super) fn plan(request: &Request, tag: &str, size: u64) -> Plan {
    if let Some(wanted) = &request.if_match
        && !names(wanted, tag, false)
    {
        return Plan::PreconditionFailed;
    }
    if let Some(known) = &request.if_none_match
        && names(known, tag, true)
    {
        return Plan::NotModified;
    }
    // Media have no date, so a date never matches; neither does a weak tag (§13.1.5).
    let applies = request.if_range.as_deref().is_none_or(|known| known == tag);
    match request.range.as_deref() {
        // Ranges are defined for GET only (§14.2).
        Some(range) if applies && !request.head_only => match range::read(range, size) {
            Selection::Whole => Plan::Whole,
            Selection::Nothing => Plan::Unsatisfiable,
            Selection::Parts(mut parts) if parts.len() == 1 => Plan::Range(parts.remove(0)),
            Selection::Parts(parts) => Plan::Ranges(parts),
        },
        _ => Plan::Whole,
    }
}

/// Whether a list of tags, or `*`, contains this one. Our tags contain no comma.
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
        assert_eq!(planned(range), Plan::Range(1..3));
        assert_eq!(
            planned(|request| {
                range(request);
                request.head_only = true;
            }),
            Plan::Whole
        );
        assert_eq!(
            planned(|request| request.range = Some("bytes=0-0,-1".into())),
            Plan::Ranges(vec![0..1, 999..1000])
        );
        assert_eq!(
            planned(|request| request.range = Some("bytes=1000-".into())),
            Plan::Unsatisfiable
        );
    }

    #[test]
    fn if_range_needs_the_very_tag() {
        for (known, expected) in [
            (TAG, Plan::Range(1..3)),
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
        assert_eq!(conditions(Some("\"b\""), Some("\"a\"")), Plan::PreconditionFailed);
        assert_eq!(conditions(Some("W/\"a\""), None), Plan::PreconditionFailed);
        assert_eq!(conditions(Some("\"b\", \"a\""), None), Plan::Unsatisfiable);
        assert_eq!(conditions(Some("*"), Some("\"b\",W/\"a\"")), Plan::NotModified);
        assert_eq!(conditions(None, Some("*")), Plan::NotModified);
        assert_eq!(conditions(None, Some("\"b\"")), Plan::Unsatisfiable);
    }
}
