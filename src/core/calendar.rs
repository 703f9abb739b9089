//! Days of the Gregorian calendar in UTC: from Unix time, to Unix time, and as `YYYY-MM-DD`.

use crate::config::value::{Read, wrong};
use std::fmt;
use std::str::FromStr;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;

/// A day from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day of a Unix time.
    #[must_use]
    pub fn of_unix(unix: u64) -> Date {
        // Years begin in March here, so that the leap day is the last day of its year. 400 years have 146,097 days.
        let days = unix / 86_400 + EPOCH;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let year = 400 * era + year + u64::from(month >= 10);
        Date {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: if month < 10 { month + 3 } else { month - 9 } as u8,
            day: day as u8,
        }
    }

    /// The end of the day: the first second of the next one, in Unix time.
    #[must_use]
    pub fn end_unix(self) -> u64 {
        // The same calendar, with years from March on. No number is negative or large for years 1970..=9999.
        let (year, month, day) = (u64::from(self.year), u64::from(self.month), u64::from(self.day));
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        (days - EPOCH + 1) * 86_400
    }

    /// The year.
    #[must_use]
    pub fn year(self) -> u16 {
        self.year
    }

    /// The day of the month, from 1.
    #[must_use]
    pub fn day(self) -> u8 {
        self.day
    }

    /// The English abbreviation of the month, as RFC 3164 and RFC 9110 write it.
    #[must_use]
    pub fn month_name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        NAMES[usize::from(self.month) - 1]
    }
}

/// The month of a Unix time, in UTC, counted from January of the year 0.
#[must_use]
pub fn month(unix: u64) -> u32 {
    let date = Date::of_unix(unix);
    12 * u32::from(date.year) + u32::from(date.month) - 1
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Read<Date> {
        let not_a_date = || String::from("is not a date (YYYY-MM-DD, such as 2027-01-31)");
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
            return wrong("is not a day of the calendar (YYYY-MM-DD, such as 2027-01-31)");
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
