//! The `dc` sections: addresses that replace the built-in ones of a data centre. The relay and mtfetch read the same form.

use super::problem::Problem;
use super::read::{Reader, shown};
use super::spec::{OptionEntry, OptionSpec, specs, text};
use super::uci::Section;
use super::value;
use crate::dc::{DcId, Table};
use crate::map::Map;
use std::net::SocketAddr;

/// The options of a `dc` section. None has a default.
pub const DC: &[OptionEntry] = &[
    text(
        "id",
        "",
        "number of a data centre",
        "Number of a data centre: 1 to 5; with a minus sign for media (without an entry, media takes the addresses of the plain number); 203 for files of channels.",
    ),
    text(
        "address",
        "",
        "IP address and port",
        "Addresses of the data centre, each with its port; IPv6 in brackets.",
    )
    .list(),
];

/// What the reader knows of [`DC`].
pub const DC_OPTIONS: &[OptionSpec] = &specs::<{ DC.len() }>(DC);

/// Reads `dc` sections one after another; an id may have one section.
#[derive(Default)]
pub struct DcSections {
    /// The line on which each id was given.
    lines: Map<DcId, usize>,
}

impl DcSections {
    /// Reads `section` and puts its addresses into `table`.
    pub fn read(&mut self, section: &Section, table: &mut Table, problems: &mut Vec<Problem>) {
        let mut reader = Reader::new(Some(section), DC_OPTIONS, problems);
        for &line in &section.reopened {
            let text = format!(
                "this dc section is opened again (one section per id, the first is on line {})",
                section.line
            );
            reader.error(line, text);
        }
        let id = id(section, &mut reader);
        let addresses = addresses(section, &mut reader);
        if let Some((id, line)) = id {
            if let Some(first) = self.lines.get(&id) {
                let text =
                    format!("id {id} is taken by the dc on line {first} (all addresses in one section)");
                reader.error(line, text);
            } else {
                self.lines.insert(id, line);
                table.set(id, addresses);
            }
        }
        reader.finish();
    }
}

/// The section's id, with its line.
fn id(section: &Section, reader: &mut Reader<'_>) -> Option<(DcId, usize)> {
    let Some((text, line)) = reader.text("id") else {
        reader.error(section.line, "a dc without an id (option id '2')".into());
        return None;
    };
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    let id = number.and_then(DcId::new);
    if id.is_none() {
        let right = "a number such as 2, -2 for media, 203 or 10002";
        reader.error(
            line,
            format!("id {} is not the id of a data centre ({right})", shown(text)),
        );
    }
    Some((id?, line))
}

fn addresses(section: &Section, reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (address, line) in reader.addresses("address", value::remote_address) {
        if addresses.contains(&address) {
            reader.warning(line, format!("address {address} stands there twice (once)"));
        } else {
            addresses.push(address);
        }
    }
    if addresses.is_empty() && reader.line("address") == 0 {
        reader.error(
            section.line,
            "a dc without an address (list address '149.154.167.51:443')".into(),
        );
    }
    addresses
}
