//! A configuration file: never a panic, never a configured secret in a message.
#![no_main]

use std::fs;

use bearerd::config::{Environment, Sources, load};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let file = std::env::temp_dir().join(format!("bearerd-fuzz-{}.toml", std::process::id()));
    fs::write(&file, data).unwrap();
    let outcome = load(&Sources { file: file.clone(), environment: Environment::default(), own_uid: 990 });
    if let Err(problems) = outcome {
        assert!(!problems.to_string().contains("hunter2hunter2"));
    }
    fs::remove_file(file).unwrap();
});
