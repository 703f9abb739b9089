//! The progress of a download: a line for the terminal with rate and remaining time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is measured over this time.
const WINDOW: Duration = Duration::from_secs(5);
/// Shortest time between two lines: more often flickers.
const PERIOD: Duration = Duration::from_millis(200);
/// Characters of the progress bar.
const BAR: usize = 20;

/// The progress of one download.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    total: u64,
    done: u64,
    /// Bytes of an earlier attempt, which do not count for the rate.
    before: u64,
    began: Instant,
    samples: VecDeque<(Instant, u64)>,
    shown: Option<Instant>,
}

impl Progress {
    /// A download that begins with `done` bytes of an earlier attempt.
    pub(crate) fn new(name: &str, total: u64, done: u64, now: Instant) -> Progress {
        Progress {
            name: name.to_owned(),
            total,
            done,
            before: done,
            began: now,
            samples: VecDeque::from([(now, done)]),
            shown: None,
        }
    }

    /// Adds bytes. Returns whether a new line is due.
    pub(crate) fn add(&mut self, bytes: u64, now: Instant) -> bool {
        self.done += bytes;
        let is_time = |last: Instant| now.saturating_duration_since(last) >= PERIOD;
        if self.samples.back().is_none_or(|sample| is_time(sample.0)) {
            self.samples.push_back((now, self.done));
            // The first sample stays just outside of the window.
            while self.samples.len() > 2 && now.saturating_duration_since(self.samples[1].0) >= WINDOW {
                self.samples.pop_front();
            }
        }
        let show = self.shown.is_none_or(is_time);
        if show {
            self.shown = Some(now);
        }
        show
    }

    /// Bytes per second over the last seconds.
    fn speed(&self, now: Instant) -> Option<f64> {
        let &(then, done) = self.samples.front()?;
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        (seconds >= 0.1).then(|| (self.done - done) as f64 / seconds)
    }

    /// A line of at most `columns` characters.
    pub(crate) fn line(&self, columns: usize, now: Instant) -> String {
        let share = if self.total == 0 {
            1.0
        } else {
            self.done as f64 / self.total as f64
        };
        let full = ((share * BAR as f64) as usize).min(BAR);
        let speed = self.speed(now);
        let rate = speed.map_or(String::from("-"), |speed| format!("{}/s", amount(speed as u64)));
        let left = match speed {
            Some(speed) if speed >= 1.0 => duration((self.total - self.done) as f64 / speed),
            _ => String::from("-"),
        };
        let state = format!(
            "{:3.0} % [{}{}] {} of {}  {rate}  {left} left",
            (share * 100.0).floor(),
            "#".repeat(full),
            ".".repeat(BAR - full),
            amount(self.done),
            amount(self.total),
        );
        let room = columns.saturating_sub(state.chars().count() + 3);
        let name: String = match self.name.chars().count() {
            _ if room < 4 => String::new(),
            n if n > room => self.name.chars().take(room - 1).chain(['…']).collect(),
            _ => self.name.clone(),
        };
        let line = if name.is_empty() {
            state
        } else {
            format!("{state}  {name}")
        };
        line.chars().take(columns.saturating_sub(1)).collect()
    }

    /// The summary at the end.
    pub(crate) fn summary(&self, now: Instant) -> String {
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        let came = self.done - self.before;
        let speed = amount((came as f64 / seconds.max(0.001)) as u64);
        let kept = match self.before {
            0 => String::new(),
            before => format!(", {} from before", amount(before)),
        };
        format!("{} in {seconds:.1} s ({speed}/s{kept})", amount(came))
    }
}

/// Bytes in decimal units.
#[must_use]
pub(crate) fn amount(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `1:02:03` or `2:03`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil().min(359_999.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_core::sys::clock;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let start = clock::now();
        let mut progress = Progress::new("film.mkv", 100_000_000, 0, start);
        let at = |tenths: u32| start + Duration::from_millis(100) * tenths;
        for tenths in 1..=100 {
            progress.add(100_000, at(tenths));
        }
        assert_eq!(
            progress.line(100, at(100)),
            " 10 % [##..................] 10.0 MB of 100.0 MB  1.0 MB/s  1:30 left  film.mkv"
        );
        for tenths in 101..=200 {
            progress.add(400_000, at(tenths));
        }
        let line = progress.line(100, at(200));
        assert!(line.contains("4.0 MB/s  0:13 left"), "{line}");
        // Nothing arrives any more.
        let line = progress.line(100, at(900));
        assert!(line.contains(" KB/s"), "{line}");
    }

    #[test]
    fn what_was_there_is_not_speed() {
        let start = clock::now();
        let mut progress = Progress::new("a", 2_000_000, 1_000_000, start);
        progress.add(500_000, start + Duration::from_secs(1));
        assert!(
            progress
                .line(100, start + Duration::from_secs(1))
                .contains("500.0 KB/s  0:01 left")
        );
        progress.add(500_000, start + Duration::from_secs(2));
        assert_eq!(
            progress.summary(start + Duration::from_secs(2)),
            "1.0 MB in 2.0 s (500.0 KB/s, 1.0 MB from before)"
        );
    }

    #[test]
    fn lines_come_now_and_then_and_fit() {
        let start = clock::now();
        let mut progress = Progress::new(&"é".repeat(300), u64::MAX, 0, start);
        let shown = (0..1000)
            .filter(|i| progress.add(1 << 40, start + Duration::from_millis(*i)))
            .count();
        assert_eq!(shown, 5);
        for columns in 0..200 {
            assert!(
                progress
                    .line(columns, start + Duration::from_secs(1))
                    .chars()
                    .count()
                    <= columns
            );
        }
        let empty = Progress::new("a", 0, 0, start);
        assert!(empty.line(100, start).starts_with("100 %"));
    }

    #[test]
    fn amounts_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (999_499, "999.5 KB"),
            (1_000_000, "1.0 MB"),
            (4_700_000_000, "4.7 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
        assert_eq!(duration(3723.0), "1:02:03");
        assert_eq!(duration(f64::INFINITY), "99:59:59");
    }
}
