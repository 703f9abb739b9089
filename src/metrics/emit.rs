//! How a document is handed to its writer: as named values, one after the other.

/// The writer of a document: [`super::json::Json`] for `/status`, a blobmsg message for ubus. Inside an array names are empty.
pub trait Emit {
    /// Opens a table.
    fn table(&mut self, name: &str);
    /// Opens an array.
    fn array(&mut self, name: &str);
    /// Closes the table or array opened last.
    fn end(&mut self);
    /// An integer of at most 53 bits.
    fn int(&mut self, name: &str, value: i64);
    /// A text.
    fn str(&mut self, name: &str, value: &str);
    /// A boolean.
    fn bool(&mut self, name: &str, value: bool);
    /// An unknown value.
    fn null(&mut self, name: &str);
}

/// The largest integer that every reader of JSON keeps exact (readers that store numbers as doubles have 53 bits).
pub const MAX_EXACT: i64 = (1 << 53) - 1;

/// An integer, at most [`MAX_EXACT`].
pub fn uint(out: &mut dyn Emit, name: &str, value: u64) {
    out.int(name, i64::try_from(value).unwrap_or(MAX_EXACT).min(MAX_EXACT));
}

/// A text, or null.
pub fn optional_str(out: &mut dyn Emit, name: &str, value: Option<&str>) {
    match value {
        Some(value) => out.str(name, value),
        None => out.null(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_exact_for_every_reader() {
        struct Last(i64);
        impl Emit for Last {
            fn table(&mut self, _: &str) {}
            fn array(&mut self, _: &str) {}
            fn end(&mut self) {}
            fn int(&mut self, _: &str, value: i64) {
                self.0 = value;
            }
            fn str(&mut self, _: &str, _: &str) {}
            fn bool(&mut self, _: &str, _: bool) {}
            fn null(&mut self, _: &str) {}
        }
        let mut last = Last(0);
        for (value, kept) in [
            (0, 0),
            (u64::MAX, MAX_EXACT),
            (1 << 53, MAX_EXACT),
            ((1 << 53) - 1, MAX_EXACT),
        ] {
            uint(&mut last, "", value);
            assert_eq!(last.0, kept);
        }
    }
}
