//! Files that claim to be compressed, or event logs of Windows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logkeeper::logs::Lines;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("logkeeper-fuzz-{}.log", std::process::id()));
    std::fs::write(&path, bytes).expect("a file in the temporary folder");
    let Ok(mut lines) = Lines::open(&path) else { return };
    while let Some(block) = lines.next_block() {
        assert!(block.ends_with(b"\n"), "blocks end with lines");
    }
});
