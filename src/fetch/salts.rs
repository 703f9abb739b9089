//! Server salts: random numbers in every packet, each valid for half an hour, which make recorded packets useless later.

use grammers_tl_types::types::FutureSalt;

/// Upper bound of kept salts. A day takes half of it.
pub(crate) const MAX_SALTS: usize = 64;
/// Seconds for which the known salts must last. Otherwise new ones are requested.
const MIN_AHEAD_SECS: i64 = 1800;
/// Seconds between the start of a salt's validity and its first use, since the clocks differ.
const SETTLE_SECS: i64 = 60;

/// A salt and its validity, in Unix seconds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt {
    /// The first second in which it is valid.
    pub since: i32,
    /// The last second in which it is valid.
    pub until: i32,
    /// The salt.
    pub value: i64,
}

/// The salts of one auth key, at most 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salts {
    /// The salt that the server announced last, of unknown validity.
    announced: i64,
    /// The salt that it announced before.
    former: i64,
    /// Salts with their validity, in the order of time.
    timed: Vec<Salt>,
}

impl Salts {
    /// The first salt of a key, or 0 if it is unknown: the server then announces one.
    #[must_use]
    pub fn new(first: i64) -> Salts {
        Salts::with_timed(first, Vec::new())
    }

    /// Salts that were stored.
    #[must_use]
    pub fn with_timed(announced: i64, mut timed: Vec<Salt>) -> Salts {
        timed.truncate(MAX_SALTS);
        Salts {
            announced,
            former: announced,
            timed,
        }
    }

    /// What to store: the announced salt, and those with a validity.
    #[must_use]
    pub fn parts(&self) -> (i64, &[Salt]) {
        (self.announced, &self.timed)
    }

    /// The salt for a packet sent at this time of the server.
    #[must_use]
    pub fn current(&self, unix: i64) -> i64 {
        let valid =
            |salt: &&Salt| i64::from(salt.since) + SETTLE_SECS <= unix && unix < i64::from(salt.until);
        self.timed
            .iter()
            .rev()
            .find(valid)
            .map_or(self.announced, |salt| salt.value)
    }

    /// Whether the salt is the server's.
    #[must_use]
    pub fn know(&self, value: i64) -> bool {
        self.announced == value || self.former == value || self.timed.iter().any(|salt| salt.value == value)
    }

    /// Whether there is a salt for the next half hour.
    #[must_use]
    pub fn suffice(&self, unix: i64) -> bool {
        self.timed
            .last()
            .is_some_and(|salt| i64::from(salt.until) > unix + MIN_AHEAD_SECS)
    }

    /// The server demands this salt from now on.
    pub(crate) fn announce(&mut self, value: i64) {
        if self.announced != value {
            self.former = self.announced;
            self.announced = value;
        }
        // Earlier salts are obsolete. If the new one is not among those with a validity, all of them are.
        let since = self
            .timed
            .iter()
            .find(|salt| salt.value == value)
            .map(|salt| salt.since);
        self.timed
            .retain(|salt| since.is_some_and(|since| salt.since >= since));
    }

    /// Replaces the salts with a validity by the server's list.
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
        timed.truncate(MAX_SALTS);
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
