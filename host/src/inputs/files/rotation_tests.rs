//! Laws of rotation: renamed, copied, compressed, seen or unseen.

use std::fs;
use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::tail::{LINGER, Step};
use super::tests::Stage;

/// Enough to know a file by.
const FILLER: &str = "----------------------------------------------------------------";

impl Stage {
    /// Compresses a file as logrotate does: the copy has its time, and the file itself goes.
    fn pack(&self, name: &str) {
        let plain = fs::File::open(self.path(name)).unwrap();
        let packed = fs::File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        std::io::copy(&mut &plain, &mut encoder).unwrap();
        encoder.finish().unwrap().set_modified(plain.metadata().unwrap().modified().unwrap()).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n");
    stage.look().append("log", "2\n");
    stage.rename("log", "log.1");
    stage.append("log.1", "3\n");
    stage.append("log", "4\n");
    assert_eq!(stage.look().lines, ["1", "2", "3", "4"]);
    // Its writer has not noticed yet.
    stage.append("log.1", "5\n6 without an end");
    assert_eq!(stage.wait(Duration::from_secs(5)).look().lines[4..], ["5"]);
    stage.wait(LINGER * 2).look().append("log.1", "too late\n");
    assert_eq!(stage.wait(LINGER * 2).look().lines[5..], ["6 without an end", "too late"]);
    assert_eq!(stage.wait(LINGER * 4).look().lines.len(), 7);
    stage.append("log.1", "nobody listens\n");
    assert_eq!(stage.look().lines.len(), 7);
}

#[test]
fn a_file_that_was_rotated_while_the_host_was_down_is_found_by_its_inode() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n2\n");
    stage.look().append("log", "3\n");
    stage.rename("log", "log.1");
    stage.append("log", "4\n");
    stage.rename("log", "log.0");
    stage.rename("log.1", "log.2");
    stage.append("log", "5\n");
    stage.restart();
    // `log.0` came and went unseen.
    assert_eq!(stage.look().lines, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_restart_between_rotation_and_the_end_of_the_old_file_loses_nothing() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n");
    stage.look().rename("log", "log.1");
    stage.append("log", "2\n");
    stage.look().append("log.1", "late\n");
    stage.restart();
    stage.append("log", "3\n");
    assert_eq!(stage.look().lines, ["1", "2", "late", "3"]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_and_its_copy_to_the_end() {
    let long = "x".repeat(100);
    let mut stage = Stage::new(true);
    stage.append("log", &format!("{long}\n1\n"));
    stage.look().append("log", "2\n");
    // logrotate's copytruncate.
    fs::copy(stage.path("log"), stage.path("log.1")).unwrap();
    fs::write(stage.path("log"), "").unwrap();
    stage.append("log", "3\n");
    assert_eq!(stage.look().lines, [&long, "1", "2", "3"]);
    stage.restart();
    stage.append("log", "4\n");
    assert_eq!(stage.look().lines[4..], ["4"]);
}

#[test]
fn files_rotated_several_times_between_two_looks_are_all_read() {
    let mut stage = Stage::new(true);
    stage.append("log.2", "of another time\n");
    stage.append("log", "1\n");
    stage.look().append("log", "2\n");
    for (number, name) in [(3, "log.3"), (4, "log.4"), (5, "log.5")] {
        stage.rename("log", name);
        stage.append("log", &format!("{number}\n"));
    }
    // Neither is a rotated file of this one.
    stage.append("log.lock", "no\n");
    fs::write(stage.path("log.6"), b"\x1f\x8b\x08no log\n").unwrap();
    assert_eq!(stage.look().lines, ["1", "2", "3", "4", "5"]);
    // Again, while nobody looks at all.
    stage.append("log", "6\n");
    stage.rename("log", "log.7");
    stage.append("log", "7\n");
    stage.rename("log", "log.8");
    stage.append("log", "8\n");
    stage.restart();
    assert_eq!(stage.look().lines[5..], ["6", "7", "8"]);
    assert!(stage.tail.status().rotations > 0);
}

#[test]
fn a_file_that_came_and_went_while_the_path_was_empty_is_read() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n");
    stage.look();
    stage.append("log", "2\n");
    stage.rename("log", "log.1");
    stage.restart();
    // Nothing has the path at this look.
    stage.look();
    stage.append("log", "3\n");
    stage.rename("log", "log.2");
    stage.append("log", "4\n");
    stage.look();
    assert_eq!(stage.lines, ["1", "2", "3", "4"]);
}

#[test]
fn of_many_files_that_were_rotated_none_is_let_go_of_unread() {
    let mut stage = Stage::new(true);
    stage.append("log", "0\n");
    stage.look();
    for rotation in 1..=100 {
        stage.rename("log", &format!("log.{rotation}"));
        stage.append("log", &format!("{rotation}\n"));
    }
    stage.look();
    assert_eq!(stage.lines, (0..=100).map(|number| number.to_string()).collect::<Vec<_>>());
    stage.rename("log", "log.101");
    stage.append("log", "last\n");
    stage.look();
    assert!(stage.tail.open_files() < 50, "{}", stage.tail.open_files());
}

#[test]
fn a_writer_that_rotates_all_the_time_loses_nothing() {
    let mut stage = Stage::new(true);
    let path = stage.path("log");
    fs::write(&path, "begin\n").unwrap();
    stage.look();
    let writer = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for rotation in 0..400 {
            fs::rename(&path, path.with_extension(rotation.to_string())).unwrap();
            let mut file = fs::File::create(&path).unwrap();
            for number in 0..fastrand::u32(1..4) {
                lines.push(format!("{rotation} {number}"));
                writeln!(file, "{rotation} {number}").unwrap();
            }
        }
        lines
    });
    while !writer.is_finished() {
        stage.look();
    }
    stage.wait(Duration::from_secs(2)).look();
    let wanted = writer.join().unwrap();
    let count = stage.lines.len();
    stage.lines.retain(|line| line != "begin");
    assert_eq!(stage.lines.len() + 1, count);
    // Between files written in the same moment the order is not known.
    stage.lines.sort();
    assert_eq!(stage.lines, {
        let mut wanted = wanted;
        wanted.sort();
        wanted
    });
}

#[test]
fn a_file_that_was_compressed_while_the_host_was_down_is_read_to_its_end() {
    let mut stage = Stage::new(true);
    stage.append("log", &format!("{FILLER}\n1\n"));
    stage.look();
    stage.append("log", "2\n");
    stage.rename("log", "log.1");
    stage.pack("log.1");
    // Another one came and went meanwhile, and an old one is of another time.
    stage.append("log", "3\n");
    stage.rename("log", "log.2");
    stage.pack("log.2");
    fs::write(stage.path("log.9"), "old\n").unwrap();
    fs::File::open(stage.path("log.9")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    stage.pack("log.9");
    stage.append("log", "4\n");
    stage.restart();
    assert_eq!(stage.look().lines, [FILLER, "1", "2", "3", "4"]);
    for _ in 0..2 {
        // What had been read of the compressed ones is known.
        stage.restart();
        assert_eq!(stage.look().lines.len(), 5);
    }
    stage.wait(LINGER * 2).look();
    stage.restart();
    stage.append("log", "5\n");
    assert_eq!(stage.look().lines[5..], ["5"]);
}

#[test]
fn a_compressed_copy_of_a_truncated_file_is_read_to_its_end() {
    let mut stage = Stage::new(true);
    stage.append("log", &format!("{FILLER}\n1\n"));
    stage.look().append("log", "2\n");
    // logrotate's copytruncate with compress.
    fs::copy(stage.path("log"), stage.path("log.1")).unwrap();
    fs::write(stage.path("log"), "").unwrap();
    stage.pack("log.1");
    stage.append("log", "3\n");
    stage.restart();
    assert_eq!(stage.look().lines, [FILLER, "1", "2", "3"]);
}

#[test]
fn a_compressed_file_that_is_damaged_or_not_finished_is_left_alone() {
    let mut stage = Stage::new(true);
    stage.append("log", &format!("{FILLER}\n1\n"));
    stage.look();
    stage.append("log", &format!("{}\n2\n", FILLER.repeat(1000)));
    stage.rename("log", "log.1");
    stage.pack("log.1");
    let whole = fs::read(stage.path("log.1.gz")).unwrap();
    fs::write(stage.path("log.1.gz"), &whole[..whole.len() / 2]).unwrap();
    stage.append("log", "3\n");
    stage.restart();
    assert_eq!(stage.look().lines, [FILLER, "1", "3"]);
}

/// What happens to a file in the law below.
#[derive(Clone, Debug)]
enum Event {
    Lines(usize),
    Half,
    Look,
    Rotate,
    Pack,
    Restart,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_usize..4).prop_map(Event::Lines),
        1 => Just(Event::Half),
        3 => Just(Event::Look),
        1 => Just(Event::Rotate),
        1 => Just(Event::Pack),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_each_line_is_there_once_and_in_order(seen in any::<bool>(), events in proptest::collection::vec(event(), 1..40)) {
        let mut stage = Stage::new(true);
        stage.append("log", "");
        stage.look();
        let mut written = 0;
        let mut rotations = 0;
        for event in events {
            match event {
                Event::Lines(count) => for _ in 0..count {
                    stage.append("log", &format!("line {written}\n"));
                    written += 1;
                },
                Event::Half => {
                    stage.append("log", "line ");
                    stage.look();
                    stage.append("log", &format!("{written}\n"));
                    written += 1;
                }
                Event::Look => { stage.look(); }
                Event::Rotate => {
                    rotations += 1;
                    if seen {
                        stage.look();
                    }
                    stage.rename("log", &format!("log.{rotations}"));
                    stage.append("log", "");
                }
                Event::Pack => {
                    rotations += 1;
                    // What it is known by must have been read.
                    stage.append("log", &format!("line {written}\n{}\n", FILLER.repeat(rotations)));
                    written += 1;
                    stage.look();
                    stage.append("log", &format!("line {written}\n"));
                    written += 1;
                    stage.rename("log", &format!("log.{rotations}"));
                    stage.pack(&format!("log.{rotations}"));
                    stage.append("log", "");
                }
                Event::Restart => {
                    stage.restart();
                    stage.look();
                }
                Event::Crash => {
                    if let Step::Batch(pending) = stage.tail.step(stage.now, stage.elapsed()) {
                        stage.store(&pending);
                    }
                    stage.restart();
                    stage.look();
                }
            }
        }
        stage.look();
        let expected: Vec<String> = (0..written).map(|number| format!("line {number}")).collect();
        stage.lines.retain(|line| !line.starts_with(FILLER));
        prop_assert_eq!(&stage.lines, &expected);
    }
}
