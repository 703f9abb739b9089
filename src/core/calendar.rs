//! Days, as `expires` names them: only what an owner writes down, and the second in which the day ends.

use crate::config::value::{Read, wrong};
use std::fmt;
use std::str::FromStr;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The end of that day in UTC: the first second of the next one, in Unix time.
    #[must_use]
    pub fn end_unix(self) -> u64 {
        // Days since 1970-01-01 by the usual count in which a year begins with March, so that the leap day is its
        // last one. Years are 1970..=9999: nothing here is negative or large.
        let (year, month, day) = (u64::from(self.year), u64::from(self.month), u64::from(self.day));
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        (days - 719_468 + 1) * 86_400
    }
}

/// The month in which a second of Unix time lies, in UTC, counted from the year 0.
#[must_use]
pub fn month(unix: u64) -> u32 {
    // The same calendar as above, the other way: 400 years are 146,097 days, of which 4 and 100 years miss or have a
    // leap day at their end.
    let days = unix / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on, two of which are January and February of the next year.
    let month = (5 * day + 2) / 153;
    u32::try_from(12 * (400 * era + year) + month + 2).unwrap_or(u32::MAX)
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Read<Date> {
        let not_a_date = || String::from("is no date (YYYY-MM-DD, such as 2027-01-31)");
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(at, b)| {
                if at == 4 || at == 7 {
                    b == b'-'
                } else {
                    b.is_ascii_digit()
                }
            });
        if !shape {
            return Err(not_a_date());
        }
        let year = text[..4].parse().map_err(|_| not_a_date())?;
        let month = text[5..7].parse().map_err(|_| not_a_date())?;
        let day = text[8..].parse().map_err(|_| not_a_date())?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u8::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if year < 1970 || !(1..=12).contains(&month) || !(1..=days).contains(&day) {
            return wrong("is no day of the calendar (YYYY-MM-DD, such as 2027-01-31)");
        }
        Ok(Date { year, month, day })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        let ends = [
            ("1970-01-01", 86_400),
            ("1999-12-31", 946_684_800),
            ("2000-02-29", 951_868_800),
            ("2024-02-29", 1_709_251_200),
            ("2038-01-19", 2_147_558_400),
            ("9999-12-31", 253_402_300_800),
        ];
        for (text, end) in ends {
            let date: Date = text.parse().unwrap();
            assert_eq!(date.end_unix(), end, "{text}");
            assert_eq!(date.to_string(), text);
        }
        let wrong = [
            "2025-02-29",
            "2100-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-04-31",
            "2025-01-00",
            "1969-12-31",
            "31.12.2025",
            "2025-1-1",
            "2025/01/01",
            "20250101",
            "2025-01-01T00",
            "+025-01-01",
            "never",
            "é025-01-1",
        ];
        for text in wrong {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }

    #[test]
    fn months_end_where_their_last_day_ends() {
        for text in [
            "1970-01-31",
            "1999-12-31",
            "2000-02-29",
            "2026-02-28",
            "2026-11-30",
            "2028-02-29",
            "2100-02-28",
            "2106-01-31",
            "2399-12-31",
        ] {
            let date: Date = text.parse().unwrap();
            let last = 12 * u32::from(date.year) + u32::from(date.month) - 1;
            assert_eq!(
                (month(date.end_unix() - 1), month(date.end_unix())),
                (last, last + 1),
                "{text}"
            );
        }
        assert_eq!(month(0), 12 * 1970);
    }
}
