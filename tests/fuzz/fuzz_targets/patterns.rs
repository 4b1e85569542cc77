//! No lines make the miner panic or hold more than it may; a template describes the line that it was made from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire_patterns::{Miner, Settings, message_start, variables};

fuzz_target!(|bytes: &[u8]| {
    let mut miner = Miner::new(Settings { max_patterns: 16 });
    let mut last = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        assert!(message_start(line) <= line.len());
        let id = miner.assign(line, &mut || {
            last += 1;
            last
        });
        assert_eq!(miner.resolve(id), id);
        let template = miner.template(id).expect("what was just given is there");
        for range in variables(&template, line).unwrap_or_default() {
            assert!(line.get(range).is_some());
        }
        assert!(miner.len() <= 17);
    }
    miner.settle();
    let changes = miner.take_changes();
    let mut second = Miner::new(Settings { max_patterns: 16 });
    for pattern in changes.patterns {
        second.restore(pattern);
    }
});
