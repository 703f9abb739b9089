//! Races against a clock that only the test advances: a table of scenarios, and properties that hold in all of them.

use super::*;
use crate::dial::health::AddressFailure;
use crate::sys::clock;

/// The behaviour of an address.
#[derive(Clone, Copy, Debug)]
enum Behaves {
    /// Connects after this many milliseconds.
    Ok(u64),
    /// Refuses after this many milliseconds.
    Refuses(u64),
    /// Drops every packet.
    Blackhole,
}
use Behaves::{Blackhole, Ok, Refuses};

impl Behaves {
    /// When an attempt that begins at `begun` ends by itself.
    fn ends_at(self, begun: Instant) -> Option<Instant> {
        match self {
            Ok(ms) | Refuses(ms) => Some(begun + Duration::from_millis(ms)),
            Blackhole => None,
        }
    }
}

/// The result of a race.
#[derive(Debug, Default, PartialEq, Eq)]
struct Result {
    winner: Option<SocketAddr>,
    /// Milliseconds since its start.
    at: u64,
    attempts: Vec<SocketAddr>,
    failed: Vec<(SocketAddr, ConnectFailure)>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `4.1` is the first IPv4 address, `6.2` the second IPv6 one.
fn address(name: &str) -> SocketAddr {
    let (family, number) = name.split_once('.').expect("a dot");
    let text = match family {
        "4" => format!("192.0.2.{number}:443"),
        _ => format!("[2001:db8::{number}]:443"),
    };
    text.parse().expect("an address")
}

fn addresses(names: &str) -> Vec<SocketAddr> {
    names.split_whitespace().map(address).collect()
}

/// An attempt that has not ended: its address, when it ends by itself, and how.
type OpenAttempt = (SocketAddr, Option<Instant>, Behaves);

/// The attempt that ends first.
fn first_event(open: &[OpenAttempt]) -> Option<(Instant, SocketAddr, Behaves)> {
    open.iter()
        .filter_map(|attempt| Some((attempt.1?, attempt.0, attempt.2)))
        .min_by_key(|event| event.0)
}

/// The health of addresses, and the time.
struct World {
    health: Health,
    begun: Instant,
    now: Instant,
    prefer: PreferIpv6,
    random: fn() -> u32,
}

impl World {
    fn new(prefer: PreferIpv6) -> World {
        let now = clock::now();
        World {
            health: Health::default(),
            begun: now,
            now,
            prefer,
            random: || 0,
        }
    }

    fn sleep(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Runs one race to its end and checks the promises of every race.
    fn race(&mut self, table: &[(SocketAddr, Behaves)], tried: &[SocketAddr]) -> Result {
        let all: Vec<SocketAddr> = table.iter().map(|row| row.0).collect();
        let begun = self.now;
        let mut race =
            Race::new(&all, &self.health, self.prefer, tried, begun).with_timeout(Some(CONNECT_TIMEOUT));
        let mut open: Vec<OpenAttempt> = Vec::new();
        let mut result = Result::default();
        let random = (self.random)();
        for _ in 0..20 * (all.len() + 1) {
            match race.poll_action(self.now) {
                Action::Start(address) => {
                    assert!(!result.attempts.contains(&address), "{address} is begun twice");
                    assert_eq!(result.winner, None, "begun after the win");
                    result.attempts.push(address);
                    let row = table.iter().find(|row| row.0 == address);
                    let behaves = row.expect("one of the table").1;
                    open.push((address, behaves.ends_at(self.now), behaves));
                }
                Action::End(address, end) => {
                    let at = open.iter().position(|attempt| attempt.0 == address);
                    open.remove(at.expect("only what is open is ended"));
                    let failure = match end {
                        EndReason::TimedOut => {
                            result.failed.push((address, ConnectFailure::Timeout));
                            AddressFailure::Connect(ConnectFailure::Timeout)
                        }
                        EndReason::Overtaken => AddressFailure::Overtaken,
                        EndReason::Unneeded => continue,
                    };
                    self.health.handle_failure(address, failure, self.now, random);
                }
                Action::Done(winner) => {
                    assert_eq!(open.iter().map(|attempt| attempt.0).next(), winner);
                    assert!(open.len() <= 1, "attempts are left open");
                    result.at = (self.now - begun).as_millis() as u64;
                    return result;
                }
                Action::Wait(until) => {
                    let event = first_event(&open);
                    if until.is_some_and(|until| event.is_none_or(|event| until < event.0)) {
                        let until = until.expect("as asked");
                        assert!(until > self.now, "a wait in the past");
                        self.now = until;
                        continue;
                    }
                    let (at, address, behaves) = event.expect("a wait without an end");
                    self.now = self.now.max(at);
                    if let Ok(_) = behaves {
                        let rtt = race.handle_connected(address, self.now).expect("it was running");
                        self.health.handle_connected(address, rtt, self.now);
                        assert!(result.winner.replace(address).is_none(), "two winners");
                        let at = open
                            .iter()
                            .position(|attempt| attempt.0 == address)
                            .expect("open");
                        open[at].1 = None;
                        open.swap(0, at);
                    } else {
                        race.handle_failed(address);
                        open.retain(|attempt| attempt.0 != address);
                        let kind = ConnectFailure::Refused;
                        result.failed.push((address, kind));
                        self.health
                            .handle_failure(address, AddressFailure::Connect(kind), self.now, random);
                    }
                }
            }
        }
        panic!("it spins at {:?}: {result:?}", self.now - self.begun);
    }
}

/// (what it is, preference, addresses, (winner, ms, attempts) when nothing is known, the same 1 s later).
type Outcome = (&'static str, u64, &'static str);
type Row = (
    &'static str,
    PreferIpv6,
    &'static [(&'static str, Behaves)],
    Outcome,
    Outcome,
);
use PreferIpv6::{Always, Auto, Never};

#[rustfmt::skip]
const SCENARIOS: &[Row] = &[
    ("all is well", Auto, &[("4.1", Ok(40)), ("4.2", Ok(41)), ("6.1", Ok(42))],
        ("6.1", 42, "6.1"), ("6.1", 42, "6.1")),
    ("one address", Auto, &[("4.1", Ok(40))], ("4.1", 40, "4.1"), ("4.1", 40, "4.1")),
    ("a slow one alone", Auto, &[("4.1", Ok(900))], ("4.1", 900, "4.1"), ("4.1", 900, "4.1")),
    ("IPv6 exists on paper", Auto, &[("4.1", Ok(40)), ("6.1", Blackhole)],
        ("4.1", 290, "6.1 4.1"), ("4.1", 40, "4.1")),
    ("IPv6 exists on paper, but is preferred", Always, &[("4.1", Ok(40)), ("6.1", Blackhole), ("6.2", Blackhole)],
        ("4.1", 540, "6.1 6.2 4.1"), ("4.1", 40, "4.1")),
    ("IPv6 has no route", Auto, &[("4.1", Ok(40)), ("6.1", Refuses(0))],
        ("4.1", 40, "6.1 4.1"), ("4.1", 40, "4.1")),
    ("IPv6 only", Auto, &[("4.1", Refuses(0)), ("6.1", Ok(40))], ("6.1", 40, "6.1"), ("6.1", 40, "6.1")),
    ("IPv4 is blackholed", Auto, &[("4.1", Blackhole), ("4.2", Blackhole), ("6.1", Ok(40))],
        ("6.1", 40, "6.1"), ("6.1", 40, "6.1")),
    ("IPv6 is switched off", Never, &[("6.1", Ok(1)), ("4.1", Ok(40)), ("6.2", Ok(1))],
        ("4.1", 40, "4.1"), ("4.1", 40, "4.1")),
    ("only IPv6, and it is switched off", Never, &[("6.1", Ok(1))], ("", 0, ""), ("", 0, "")),
    ("a dead one first", Auto, &[("4.1", Blackhole), ("4.2", Ok(40))],
        ("4.2", 290, "4.1 4.2"), ("4.2", 40, "4.2")),
    ("three dead ones first", Auto, &[("4.1", Blackhole), ("4.2", Blackhole), ("4.3", Blackhole), ("4.4", Ok(40))],
        ("4.4", 790, "4.1 4.2 4.3 4.4"), ("4.4", 40, "4.4")),
    ("refusals cost nothing", Auto, &[("4.1", Refuses(0)), ("4.2", Refuses(1)), ("4.3", Ok(40))],
        ("4.3", 41, "4.1 4.2 4.3"), ("4.3", 40, "4.3")),
    ("dead and refusing ones mixed", Auto, &[("6.1", Blackhole), ("4.1", Refuses(10)), ("4.2", Blackhole), ("6.2", Ok(40))],
        // IPv6 at 0, IPv4 at 250, which refuses at 260; families take trials.
        ("6.2", 300, "6.1 4.1 6.2"), ("6.2", 40, "6.2")),
    ("a slow one is overtaken", Auto, &[("4.1", Ok(600)), ("4.2", Ok(20))],
        ("4.2", 270, "4.1 4.2"), ("4.2", 20, "4.2")),
    ("a slow one wins in the end", Auto, &[("4.1", Ok(300)), ("4.2", Ok(100))],
        ("4.1", 300, "4.1 4.2"), ("4.1", 300, "4.1 4.2")),
    ("all refuse", Auto, &[("4.1", Refuses(5)), ("6.1", Refuses(5))],
        // IPv6 was the first in failure, so its cool-down is over first.
        ("", 10, "6.1 4.1"), ("", 10, "6.1 4.1")),
    ("all are dead", Auto, &[("4.1", Blackhole), ("4.2", Blackhole)],
        ("", 5250, "4.1 4.2"), ("", 5250, "4.1 4.2")),
    ("dead after a refusal", Auto, &[("4.1", Refuses(3)), ("4.2", Blackhole)],
        ("", 5003, "4.1 4.2"), 
        // The refusing one has cooled down first, so it goes first again.
        ("", 5003, "4.1 4.2")),
];

#[test]
fn scenarios_cold_and_in_the_second_session() {
    for (name, prefer, rows, cold, warm) in SCENARIOS {
        let mut world = World::new(*prefer);
        let table: Vec<_> = rows.iter().map(|row| (address(row.0), row.1)).collect();
        for (session, expected) in [("cold", cold), ("second", warm)] {
            let result = world.race(&table, &[]);
            let winner = (!expected.0.is_empty()).then(|| address(expected.0));
            assert_eq!(
                (result.winner, result.at, result.attempts),
                (winner, expected.1, addresses(expected.2)),
                "{name}, {session}"
            );
            world.sleep(1000);
        }
    }
}

#[test]
fn families_take_turns() {
    let (health, now) = (Health::default(), clock::now());
    let of = |names: &str, prefer| order(&addresses(names), &health, prefer, now);
    let given = "4.1 4.2 4.3 6.1 6.2 4.1";
    assert_eq!(of(given, Auto), addresses("6.1 4.1 6.2 4.2 4.3"));
    assert_eq!(of(given, Always), addresses("6.1 6.2 4.1 4.2 4.3"));
    assert_eq!(of(given, Never), addresses("4.1 4.2 4.3"));
}

#[test]
fn what_is_healthy_goes_first_and_what_cools_last() {
    let mut world = World::new(Auto);
    let now = world.now;
    world
        .health
        .handle_connected(address("4.2"), Duration::from_millis(50), now);
    world
        .health
        .handle_connected(address("6.2"), Duration::from_millis(60), now);
    world
        .health
        .handle_connected(address("4.3"), Duration::from_millis(55), now);
    let failure = AddressFailure::Unanswered;
    world.health.handle_failure(address("6.1"), failure, now, 0);
    let given = addresses("6.1 4.1 4.2 4.3 6.2");
    let of = |world: &World, now| order(&given, &world.health, Auto, now);
    assert_eq!(of(&world, now), addresses("4.2 6.2 4.3 4.1 6.1"));
    // The end of a cool-down does not make an address healthy.
    let later = now + Duration::from_secs(3);
    assert_eq!(of(&world, later), addresses("4.2 6.2 4.3 4.1 6.1"));
    world.health.handle_answered(address("6.1"), later);
    assert_eq!(of(&world, later)[4], address("4.1"));
}

#[test]
fn equally_fast_families_start_with_ipv6() {
    let mut world = World::new(Auto);
    for (name, micros) in [("4.1", 41_900), ("6.1", 41_200)] {
        world
            .health
            .handle_connected(address(name), Duration::from_micros(micros), world.now);
    }
    let of = order(&addresses("4.1 6.1"), &world.health, Auto, world.now);
    assert_eq!(of, addresses("6.1 4.1"));
}

#[test]
fn broken_ipv6_is_learnt_once_for_all_data_centres() {
    let mut world = World::new(Auto);
    let one = [(address("4.1"), Ok(40)), (address("6.1"), Blackhole)];
    let other = [(address("4.2"), Ok(40)), (address("6.2"), Blackhole)];
    assert_eq!(world.race(&one, &[]).at, 290);
    assert_eq!(world.race(&other, &[]).at, 40);
}

#[test]
fn broken_ipv6_costs_one_delay_however_many_sessions() {
    for prefer in [Auto, Always] {
        let mut world = World::new(prefer);
        let table = [(address("4.1"), Ok(40)), (address("6.1"), Blackhole)];
        assert_eq!(world.race(&table, &[]).at, 290);
        for gap in [0, 10, 1000, 3000, 10_000, 400_000] {
            world.sleep(gap);
            assert_eq!(world.race(&table, &[]).at, 40, "{prefer:?}, {gap} ms later");
        }
    }
}

#[test]
fn ipv6_that_came_back_goes_first_again_once_it_has_proven_itself() {
    let mut world = World::new(Auto);
    let dead = [(address("4.1"), Ok(40)), (address("6.1"), Blackhole)];
    world.race(&dead, &[]);
    world.sleep(3000);
    let all = addresses("4.1 6.1");
    assert_eq!(world.health.poll_probe(&all, world.now, 0), Some(address("6.1")));
    world
        .health
        .handle_connected(address("6.1"), Duration::from_millis(30), world.now);
    let alive = [(address("4.1"), Ok(40)), (address("6.1"), Ok(30))];
    assert_eq!(world.race(&alive, &[]).winner, Some(address("6.1")));
}

#[test]
fn a_dc_whose_addresses_all_cool_is_tried_at_once() {
    let mut world = World::new(Auto);
    let dead = [(address("4.1"), Refuses(1)), (address("4.2"), Refuses(1))];
    for _ in 0..20 {
        world.race(&dead, &[]);
        world.sleep(60_000);
    }
    let alive = [(address("4.1"), Ok(40)), (address("4.2"), Ok(40))];
    assert_eq!(world.race(&alive, &[]).at, 40);
}

#[test]
fn a_session_turns_to_other_addresses_before_one_it_has_tried() {
    let mut world = World::new(Auto);
    let table = [
        (address("4.1"), Ok(10)),
        (address("4.2"), Refuses(0)),
        (address("4.3"), Blackhole),
    ];
    let tried = [address("4.1")];
    let result = world.race(&table, &tried);
    // The one that was tried waits even though another one fails at once.
    assert_eq!(
        (result.winner, result.at, result.attempts),
        (Some(address("4.1")), 1010, addresses("4.2 4.3 4.1"))
    );
    let one = &table[..1];
    assert_eq!(world.race(one, &tried).at, 10, "there is no other");
}

#[test]
fn a_late_success_beside_the_winner_is_ended() {
    let (health, now) = (Health::default(), clock::now());
    let mut race = Race::new(&addresses("4.1 4.2"), &health, Auto, &[], now);
    let start = |name| Action::Start(address(name));
    assert_eq!(race.poll_action(now), start("4.1"));
    let later = now + ATTEMPT_DELAY;
    assert_eq!(race.poll_action(now), Action::Wait(Some(later)));
    assert_eq!(race.poll_action(later), start("4.2"));
    assert!(race.handle_connected(address("4.2"), later).is_some());
    assert!(race.handle_connected(address("4.1"), later).is_some());
    assert!(race.handle_connected(address("4.3"), later).is_none());
    assert_eq!(
        race.poll_action(later),
        Action::End(address("4.1"), EndReason::Overtaken)
    );
    assert_eq!(race.poll_action(later), Action::Done(Some(address("4.2"))));
    assert_eq!(race.poll_action(later), Action::Done(Some(address("4.2"))));
}

/// xorshift64*: enough for tests, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

#[test]
fn no_race_breaks_its_promises() {
    for seed in 1..=2000 {
        let mut random = Random(seed);
        let prefer = [Auto, Always, Never][random.below(3) as usize];
        let mut world = World::new(prefer);
        world.random = || 0x8000_0000;
        let names = ["4.1", "4.2", "4.3", "6.1", "6.2", "6.3"];
        let count = random.below(7) as usize;
        for session in 0..8 {
            let table: Vec<_> = names[..count]
                .iter()
                .map(|name| {
                    let behaves = match random.below(4) {
                        0 => Blackhole,
                        1 => Refuses(random.below(700)),
                        _ => Ok(random.below(700)),
                    };
                    (address(name), behaves)
                })
                .collect();
            let tried: Vec<_> = names.iter().filter(|_| random.below(4) == 0).collect();
            let tried: Vec<_> = tried.into_iter().map(|name| address(name)).collect();
            // `race` itself checks: one winner, every attempt ended, no wait in the past, no spin.
            let result = world.race(&table, &tried);
            let usable = |row: &&(SocketAddr, Behaves)| allowed(row.0, prefer);
            let can_win = table.iter().filter(usable).any(|row| matches!(row.1, Ok(_)));
            assert_eq!(
                result.winner.is_some(),
                can_win,
                "seed {seed}, session {session}: {table:?}"
            );
            if !can_win {
                assert_eq!(
                    result.failed.len(),
                    table.iter().filter(usable).count(),
                    "seed {seed}, session {session}: each failure is told"
                );
            }
            world.sleep(random.below(5000));
        }
    }
}

mod retry_schedule;
