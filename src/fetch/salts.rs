//! Salts: the numbers by which a server tells a fresh packet from a copy of an old one. Each is valid for some time.

use grammers_tl_types::types::FutureSalt;

/// More are not kept: a day's worth is half of it.
pub const MOST: usize = 64;
/// There should be one for this long from now, in seconds.
const AHEAD: i64 = 1800;
/// A salt is used this many seconds after it has become valid: clocks differ.
const SETTLED: i64 = 60;

/// One salt and its time, in Unix seconds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt {
    /// The first second in which it is valid.
    pub since: i32,
    /// The last one.
    pub until: i32,
    /// The salt.
    pub value: i64,
}

/// The salts of one key. Promise: there are at most [`MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salts {
    /// What the server has told last, whatever its time, and the one before.
    told: i64,
    before: i64,
    /// In the order of their times.
    timed: Vec<Salt>,
}

impl Salts {
    /// The first salt of a key, or 0 when it is not known: the server will tell.
    #[must_use]
    pub fn new(first: i64) -> Salts {
        Salts::with_timed(first, Vec::new())
    }

    /// What was kept.
    #[must_use]
    pub fn with_timed(told: i64, mut timed: Vec<Salt>) -> Salts {
        timed.truncate(MOST);
        Salts {
            told,
            before: told,
            timed,
        }
    }

    /// What to keep: the last one told, and those with a time.
    #[must_use]
    pub fn parts(&self) -> (i64, &[Salt]) {
        (self.told, &self.timed)
    }

    /// The one to use at this time of the server.
    #[must_use]
    pub fn current(&self, unix: i64) -> i64 {
        let valid = |salt: &&Salt| i64::from(salt.since) + SETTLED <= unix && unix < i64::from(salt.until);
        self.timed
            .iter()
            .rev()
            .find(valid)
            .map_or(self.told, |salt| salt.value)
    }

    /// Whether the server has announced this one.
    #[must_use]
    pub fn know(&self, value: i64) -> bool {
        self.told == value || self.before == value || self.timed.iter().any(|salt| salt.value == value)
    }

    /// Whether there is one for the time to come.
    #[must_use]
    pub fn suffice(&self, unix: i64) -> bool {
        self.timed
            .last()
            .is_some_and(|salt| i64::from(salt.until) > unix + AHEAD)
    }

    /// The server tells which one it wants now.
    pub(crate) fn announce(&mut self, value: i64) {
        if self.told != value {
            self.before = self.told;
            self.told = value;
        }
        // Those before it are no longer wanted; if it is none of them, the server has changed its mind.
        let since = self
            .timed
            .iter()
            .find(|salt| salt.value == value)
            .map(|salt| salt.since);
        self.timed
            .retain(|salt| since.is_some_and(|since| salt.since >= since));
    }

    /// The server tells those of the time to come.
    pub(crate) fn replace(&mut self, salts: &[FutureSalt], unix: i64) {
        let mut timed: Vec<Salt> = salts
            .iter()
            .map(|salt| Salt {
                since: salt.valid_since,
                until: salt.valid_until,
                value: salt.salt,
            })
            .filter(|salt| salt.since < salt.until && i64::from(salt.until) > unix)
            .collect();
        timed.sort_by_key(|salt| salt.since);
        timed.truncate(MOST);
        self.timed = timed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future(since: i32, salt: i64) -> FutureSalt {
        FutureSalt {
            valid_since: since,
            valid_until: since + 3600,
            salt,
        }
    }

    #[test]
    fn each_is_used_in_its_time() {
        let mut salts = Salts::new(7);
        assert_eq!(salts.current(1000), 7);
        assert!(!salts.suffice(1000));
        salts.replace(&[future(2800, 2), future(1000, 1), future(4600, 3)], 1500);
        for (unix, value) in [(1100, 1), (2800, 1), (2860, 2), (5000, 3), (8199, 3), (8200, 7)] {
            assert_eq!(salts.current(unix), value, "{unix}");
        }
        assert!(salts.suffice(5000));
        assert!(!salts.suffice(7000));
    }

    #[test]
    fn what_the_server_wants_now_goes_before_what_it_told_for_later() {
        let mut salts = Salts::new(7);
        salts.replace(&[future(1000, 1)], 1500);
        salts.announce(9);
        assert_eq!(salts.current(2000), 9);
        salts.announce(9);
        assert!(salts.know(7) && salts.know(9) && !salts.know(1));
        salts.replace(&[future(1000, 1), future(2800, 2), future(4600, 3)], 1500);
        salts.announce(2);
        assert_eq!([1500, 3000, 5000].map(|unix| salts.current(unix)), [2, 2, 3]);
    }

    #[test]
    fn impossible_ones_are_left_out() {
        let mut salts = Salts::new(7);
        let turned = FutureSalt {
            valid_since: 10,
            valid_until: i32::MIN,
            salt: 1,
        };
        let many = (0..100)
            .map(|at| future(i32::MIN + at, 5))
            .chain([turned, future(100, 2)]);
        salts.replace(&many.collect::<Vec<_>>(), 50);
        assert_eq!(
            salts.parts(),
            (
                7,
                &[Salt {
                    since: 100,
                    until: 3700,
                    value: 2
                }][..]
            )
        );
    }
}
