//! The fuzz targets without a fuzzer: their seeds are accepted, so that a fuzzer passes the first checks, and thousands of mutated
//! seeds cause no panic.

use mtrelay_test_support::rng::{Rng, base_seed};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/fetch_bodies.rs"]
mod bodies;

/// Fewer seeds than this mean an incomplete checkout.
const LEAST: usize = 3;
/// Mutated seeds per target. An exchange costs three modular powers of 2048 bits.
const CHANGED: [(&str, usize); 2] = [("fetch_session", 1500), ("fetch_exchange", 90)];

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    paths
        .map(|path| (path.clone(), fs::read(path).expect("seeds are readable")))
        .collect()
}

#[test]
fn every_seed_is_accepted() {
    for (target, body) in bodies::TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= LEAST, "{target}: {} seeds", seeds.len());
        for (path, seed) in seeds {
            assert!(body(&seed), "{} is not accepted", path.display());
        }
        assert!(!body(&[]), "{target} accepts anything");
    }
}

#[test]
fn changed_seeds_do_no_harm() {
    let seed = base_seed();
    let mut rng = Rng::new(seed);
    for (target, body) in bodies::TARGETS {
        let seeds = seeds(target);
        let of_this = CHANGED.iter().find(|(name, _)| *name == target);
        let (_, rounds) = *of_this.expect("every target has its number");
        for round in 0..rounds {
            let (_, seed) = &seeds[round % seeds.len()];
            body(&changed(seed, &mut rng));
        }
    }
}

/// Flips, removes or repeats a few bytes.
fn changed(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut draw = |end: usize| rng.below(end.max(1) as u64) as usize;
    for _ in 0..=draw(4) {
        let at = draw(bytes.len());
        match draw(6) {
            0 => bytes.truncate(at),
            1 => {
                let end = bytes.len().min(at + draw(16));
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][draw(5)],
            3 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add(1),
            _ if !bytes.is_empty() => bytes[at] ^= 1 << draw(8),
            _ => bytes.push(0x16),
        }
    }
    bytes
}
