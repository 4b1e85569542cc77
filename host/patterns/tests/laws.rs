//! What holds for all lines.

use proptest::prelude::*;
use watchfire_patterns::{Miner, Settings, StoredPattern, message_start, variables};

/// Gives out ids from 1.
#[derive(Default)]
struct Ids(u64);

impl Ids {
    fn assign(&mut self, miner: &mut Miner, line: &[u8]) -> u64 {
        miner.assign(line, &mut || {
            self.0 += 1;
            self.0
        })
    }
}

/// Lines as programs write them: a few sentences with values and names in them.
fn line() -> impl Strategy<Value = String> {
    let sentence = prop::sample::select(vec![
        "session opened for user {} by {}",
        "session closed for user {}",
        "connection from {} port {} closed",
        "cannot open file {}: {}",
        "peers are [{}, {}]",
        "level=info msg=\"started {}\" took={} user={}",
        "{\"level\":\"warn\",\"msg\":\"slow {}\",\"took\":{}}",
        "2026-11-24 05:37:20,123 INFO [main] org.x.Y: state {} of {}",
        "queue is empty",
        "{} {}",
    ]);
    let value = prop::sample::select(vec![
        "alice",
        "bob",
        "carol",
        "7",
        "4711",
        "10.0.0.1",
        "/var/log/x",
        "eth0",
        "ssh2",
        "Connection refused",
        "started",
        "stopped",
        "a,b",
        "[]",
        "",
        "x=1",
        "\"q r\"",
        "deadbeef-1",
        "üñ",
    ]);
    (sentence, prop::collection::vec(value, 4)).prop_map(|(sentence, values)| {
        let mut line = String::new();
        for (index, part) in sentence.split("{}").enumerate() {
            if index > 0 {
                line.push_str(values[index % values.len()]);
            }
            line.push_str(part);
        }
        line
    })
}

/// Stores what a miner wants stored, as a host does.
#[derive(Default)]
struct Store {
    patterns: std::collections::BTreeMap<u64, StoredPattern>,
    merges: Vec<(u64, u64)>,
}

impl Store {
    fn take(&mut self, miner: &mut Miner) {
        let changes = miner.take_changes();
        for pattern in changes.patterns {
            self.patterns.insert(pattern.id, pattern);
        }
        for (from, into) in changes.merges {
            self.patterns.remove(&from);
            self.merges.push((from, into));
        }
    }

    fn restore(&self) -> Miner {
        let mut miner = Miner::new(Settings::default());
        for pattern in self.patterns.values() {
            miner.restore(pattern.clone());
        }
        for (from, into) in &self.merges {
            miner.restore_merge(*from, *into);
        }
        miner
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..60)) {
        let mut miner = Miner::new(Settings { max_patterns: 8 });
        let mut ids = Ids::default();
        for line in &lines {
            prop_assert!(message_start(line) <= line.len());
            let id = ids.assign(&mut miner, line);
            prop_assert_eq!(miner.resolve(id), id);
            let template = miner.template(id).unwrap();
            for range in variables(&template, line).unwrap_or_default() {
                prop_assert!(line.get(range).is_some());
            }
            prop_assert!(miner.len() <= 9);
        }
        miner.settle();
    }

    #[test]
    fn after_a_restart_the_same_line_has_the_same_id(lines in prop::collection::vec(line(), 1..60), settle in any::<bool>()) {
        let mut miner = Miner::new(Settings::default());
        let mut ids = Ids::default();
        let mut store = Store::default();
        for (index, line) in lines.iter().enumerate() {
            ids.assign(&mut miner, line.as_bytes());
            if index % 7 == 0 {
                store.take(&mut miner);
            }
        }
        if settle {
            miner.settle();
        }
        store.take(&mut miner);
        let mut restored = store.restore();
        prop_assert_eq!(restored.len(), miner.len());
        let last = ids.0;
        for line in &lines {
            let before = ids.assign(&mut miner, line.as_bytes());
            let after = ids.assign(&mut restored, line.as_bytes());
            prop_assert_eq!(before, after, "{} | {:?} | {:?} | {}", line, miner.template(before), restored.template(after), last);
        }
        prop_assert_eq!(ids.0, last);
    }

    #[test]
    fn what_was_seen_is_never_new_again(lines in prop::collection::vec(line(), 1..60)) {
        let mut miner = Miner::new(Settings::default());
        let mut ids = Ids::default();
        for line in &lines {
            ids.assign(&mut miner, line.as_bytes());
        }
        miner.settle();
        let last = ids.0;
        for line in &lines {
            ids.assign(&mut miner, line.as_bytes());
            prop_assert_eq!(ids.0, last, "{}", line);
        }
    }

    #[test]
    fn a_template_describes_its_lines(lines in prop::collection::vec(line(), 1..60)) {
        let mut miner = Miner::new(Settings::default());
        let mut ids = Ids::default();
        for line in &lines {
            ids.assign(&mut miner, line.as_bytes());
        }
        miner.settle();
        for line in &lines {
            let id = ids.assign(&mut miner, line.as_bytes());
            let template = miner.template(id).unwrap();
            let found = variables(&template, line.as_bytes());
            prop_assert!(found.is_some(), "{} | {}", template, line);
            prop_assert_eq!(found.unwrap().len(), template.matches("<*>").count());
        }
    }

    #[test]
    fn equal_lines_give_equal_ids_on_every_machine(lines in prop::collection::vec(line(), 1..80)) {
        let run = || {
            let mut miner = Miner::new(Settings::default());
            let mut ids = Ids::default();
            let given: Vec<_> = lines.iter().map(|line| ids.assign(&mut miner, line.as_bytes())).collect();
            (given, miner.take_changes())
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn any_state_can_be_restored(state in prop::collection::vec(any::<u8>(), 0..200), template in ".{0,60}") {
        let mut miner = Miner::new(Settings::default());
        miner.restore(StoredPattern { id: 7, template, state });
        prop_assert!(miner.template(7).is_some());
        miner.assign(b"a line", &mut || 8);
        miner.settle();
    }
}
