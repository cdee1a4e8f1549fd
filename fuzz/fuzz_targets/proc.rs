//! What `/proc` says of a process: never a panic, never a user's unit taken for one of the system.
#![no_main]

use bearerd::{access::Place, peer::proc};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = proc::start_time(data);
    if let Some(path) = proc::cgroup(data) {
        let place = Place::of_path(path);
        assert!(place.user_unit.is_none() || place.unit.is_some_and(|unit| unit.starts_with("user@")));
    }
});
