#![no_main]

#[allow(dead_code, reason = "each target has one body of them")]
#[path = "../fetch_bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bodies::session(data);
});
