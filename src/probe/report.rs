//! What a probe reports: as sentences, and as fields of a document.

use super::address::AddressReport;
use super::front::FrontReport;
use crate::metrics::Emit;
use mtrelay_core::dc::DcId;

/// The data centres without which Telegram does not work.
const MAIN_DCS: std::ops::RangeInclusive<i16> = 1..=5;

/// The result of testing one data centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DcReport {
    /// Its id.
    pub id: DcId,
    /// One report for each address, in the table's order.
    pub addresses: Vec<AddressReport>,
}

/// The results of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeReport {
    /// One report for each id that has addresses of its own.
    pub dcs: Vec<DcReport>,
    /// The kernel says that its clock is synchronised.
    pub clock_synchronised: bool,
    /// The front site, if one is configured.
    pub front: Option<FrontReport>,
}

impl DcReport {
    /// Whether sessions can use at least one address.
    #[must_use]
    pub(crate) fn works(&self) -> bool {
        self.addresses.iter().any(AddressReport::works)
    }

    /// One sentence: the result of each address, and what it means for sessions.
    #[must_use]
    pub(crate) fn verdict(&self) -> String {
        let each: Vec<String> = self
            .addresses
            .iter()
            .map(|tried| match (tried.answer, tried.error) {
                (Some(answer), _) => format!("{} {} ms", tried.family(), answer.as_millis() as u64),
                (None, error) => format!(
                    "{} {}",
                    tried.family(),
                    error.unwrap_or_default().replace('_', " ")
                ),
            })
            .collect();
        let over = |ipv4: bool| {
            self.addresses
                .iter()
                .any(|tried| tried.works() && tried.address.is_ipv4() == ipv4)
        };
        let answers = self.addresses.iter().any(|tried| tried.answer.is_some());
        let means = match (over(true), over(false)) {
            (true, true) => "works over IPv4 and IPv6",
            (true, false) => "works over IPv4",
            (false, true) => "works over IPv6",
            (false, false) if answers => "answers only over IPv6, which prefer_ipv6 forbids",
            (false, false) => "does not answer",
        };
        format!("DC {}: {}: {means}", self.id, each.join(", "))
    }

    /// Writes the fields `addresses` and `verdict` into an open table.
    pub(crate) fn emit(&self, out: &mut dyn Emit) {
        out.array("addresses");
        for tried in &self.addresses {
            tried.emit(out);
        }
        out.end();
        out.str("verdict", &self.verdict());
    }
}

impl ProbeReport {
    /// Whether every main data centre of the table works.
    #[must_use]
    pub(crate) fn is_good(&self) -> bool {
        let main = |dc: &&DcReport| MAIN_DCS.contains(&dc.id.raw());
        self.dcs.iter().filter(main).all(DcReport::works)
    }

    /// One line of text for each thing that was tested.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.dcs.iter().map(DcReport::verdict).collect();
        if let Some(own) = self.own_error() {
            lines.push(format!("this machine cannot connect: {own}"));
        }
        lines.push(String::from(if self.clock_synchronised {
            "clock: synchronised"
        } else {
            "clock: not synchronised yet, so hello times are not checked"
        }));
        if let Some(FrontReport { address, error }) = &self.front {
            lines.push(match error {
                None => format!("front: {address} answers"),
                Some(error) => format!("warning: front: {address} {error}"),
            });
        }
        lines
    }

    /// Writes the same as fields into an open table.
    pub(crate) fn emit(&self, out: &mut dyn Emit) {
        out.array("dcs");
        for dc in &self.dcs {
            out.table("");
            out.int("id", dc.id.raw().into());
            dc.emit(out);
            out.end();
        }
        out.end();
        match self.own_error() {
            Some(own) => out.str("own_error", own),
            None => out.null("own_error"),
        }
        out.table("clock");
        out.bool("synchronised", self.clock_synchronised);
        out.end();
        match &self.front {
            None => out.null("front"),
            Some(FrontReport { address, error }) => {
                out.table("front");
                out.str("address", address);
                out.bool("answers", error.is_none());
                match error {
                    Some(error) => out.str("error", error),
                    None => out.null("error"),
                }
                out.end();
            }
        }
    }

    /// The first local error that prevents connections. It is usually the same for all addresses.
    fn own_error(&self) -> Option<&str> {
        let mut all = self.dcs.iter().flat_map(|dc| &dc.addresses);
        all.find_map(|tried| tried.own_error.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_core::dial::{PreferIpv6, allowed};
    use std::time::Duration;

    fn report(address: &str, result: Result<u64, &'static str>, prefer: PreferIpv6) -> AddressReport {
        let address = address.parse().unwrap();
        AddressReport {
            address,
            connect: None,
            answer: result.ok().map(Duration::from_millis),
            error: result.err(),
            own_error: None,
            usable: allowed(address, prefer),
        }
    }

    #[test]
    fn a_verdict_is_one_plain_sentence() {
        let cases = [
            (
                Ok(41),
                Err("unreachable"),
                PreferIpv6::Auto,
                "DC 2: IPv4 41 ms, IPv6 unreachable: works over IPv4",
            ),
            (
                Ok(41),
                Ok(40),
                PreferIpv6::Auto,
                "DC 2: IPv4 41 ms, IPv6 40 ms: works over IPv4 and IPv6",
            ),
            (
                Err("silent"),
                Ok(40),
                PreferIpv6::Auto,
                "DC 2: IPv4 silent, IPv6 40 ms: works over IPv6",
            ),
            (
                Err("refused"),
                Err("bad_answer"),
                PreferIpv6::Auto,
                "DC 2: IPv4 refused, IPv6 bad answer: does not answer",
            ),
            (
                Err("refused"),
                Ok(40),
                PreferIpv6::Never,
                "DC 2: IPv4 refused, IPv6 40 ms: answers only over IPv6, which prefer_ipv6 forbids",
            ),
        ];
        for (ipv4, ipv6, prefer, verdict) in cases {
            let dc = DcReport {
                id: DcId::new(2).unwrap(),
                addresses: vec![
                    report("192.0.2.1:443", ipv4, prefer),
                    report("[2001:db8::1]:443", ipv6, prefer),
                ],
            };
            assert_eq!(dc.verdict(), verdict);
            assert_eq!(dc.works(), verdict.contains("works"));
        }
    }
}
