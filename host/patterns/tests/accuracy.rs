//! How well lines are grouped, on lines whose patterns are known: texts of real programs, filled with values as they fill them.
//!
//! `cargo test -p watchfire-patterns --release --test accuracy -- --nocapture` prints the measures:
//! GA, the share of lines in a group that is exactly right; FGA, the F1 score over groups; PA, the share of lines whose template is
//! right; FTA, the F1 score over groups that are right with their template. Texts are compared after what is a matter of taste has been
//! taken out: values beside values, signs and quotes around them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use watchfire_patterns::{Miner, Settings};

struct Line {
    template: String,
    header: String,
    message: String,
}

struct System {
    name: String,
    lines: Vec<Line>,
}

fn systems() -> Vec<System> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut systems: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a text");
            let lines = text
                .lines()
                .map(|line| {
                    let mut parts = line.splitn(3, '\t').map(str::to_owned);
                    let mut next = || parts.next().expect("three columns");
                    Line { template: format!("{name}:{}", next()), header: next(), message: next() }
                })
                .collect();
            System { name, lines }
        })
        .collect();
    systems.sort_by(|a, b| a.name.cmp(&b.name));
    systems
}

#[derive(Clone, Copy, Debug, Default)]
struct Scores {
    ga: f64,
    fga: f64,
    pa: f64,
    fta: f64,
}

/// Mines lines given as label and text.
fn score<'a>(lines: impl Iterator<Item = (&'a str, String)>) -> Scores {
    let mut miner = Miner::new(Settings::default());
    let mut last = 0;
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    for (label, text) in lines {
        ids.push(miner.assign(text.as_bytes(), &mut || {
            last += 1;
            last
        }));
        labels.push(label);
    }
    miner.settle();
    let mut found: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut wanted: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, (id, label)) in ids.iter().zip(&labels).enumerate() {
        found.entry(miner.resolve(*id)).or_default().push(index);
        wanted.entry(label).or_default().push(index);
    }
    let right: BTreeSet<_> = wanted.values().collect();
    let mut normal = HashMap::new();
    let mut normalised = |text: &str| normal.entry(text.to_owned()).or_insert_with(|| normalise(text)).clone();
    let (mut lines_right, mut groups_right, mut texts_right, mut both_right) = (0, 0, 0, 0);
    for (id, group) in &found {
        let template = normalised(&miner.template(*id).expect("what was given is there"));
        let text_of = |index: &usize| labels[*index].split_once(':').expect("a system").1;
        texts_right += group.iter().filter(|index| normalised(text_of(index)) == template).count();
        if right.contains(group) {
            groups_right += 1;
            lines_right += group.len();
            both_right += usize::from(normalised(text_of(&group[0])) == template);
        }
    }
    let count = labels.len() as f64;
    let f1 = |right: usize| 2.0 * right as f64 / (found.len() + wanted.len()) as f64;
    Scores { ga: lines_right as f64 / count, fga: f1(groups_right), pa: texts_right as f64 / count, fta: f1(both_right) }
}

/// Takes out of a template what is a matter of taste.
fn normalise(template: &str) -> String {
    let is_break = |c: char| c.is_whitespace() || ",!;:=|\"'[](){}".contains(c);
    let mut words: Vec<String> = Vec::new();
    for c in template.chars() {
        match words.last_mut() {
            Some(word) if !is_break(c) && !word.starts_with(is_break) => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    for word in &mut words {
        let is_path = word.len() > 1 && word.starts_with('/') && !word.contains("//");
        let is_value = ["true", "false", "null", "root"].contains(&word.to_ascii_lowercase().as_str());
        if is_path || is_value || word.contains("<*>") || word.bytes().all(|byte| byte.is_ascii_digit()) {
            "<*>".clone_into(word);
        }
    }
    let mut text = words.concat().split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let before = text.len();
        for (from, to) in [
            ("<*><*>", "<*>"),
            ("<*> <*>", "<*>"),
            ("<*>:<*>", "<*>"),
            ("<*>,<*>", "<*>"),
            ("<*>, <*>", "<*>"),
            ("\"<*>\"", "<*>"),
            ("'<*>'", "<*>"),
        ] {
            text = text.replace(from, to);
        }
        if text.len() == before {
            return text;
        }
    }
}

fn mean(scores: &[Scores]) -> Scores {
    let mean = |part: fn(&Scores) -> f64| scores.iter().map(part).sum::<f64>() / scores.len() as f64;
    Scores { ga: mean(|s| s.ga), fga: mean(|s| s.fga), pa: mean(|s| s.pa), fta: mean(|s| s.fta) }
}

fn raw(line: &Line) -> String {
    format!("{}{}", line.header, line.message)
}

#[test]
fn messages_are_grouped_as_they_were_written() {
    let scores: Vec<_> = systems()
        .iter()
        .map(|system| {
            let scores = score(system.lines.iter().map(|line| (&*line.template, line.message.clone())));
            println!("{:12} {scores:.3?}", system.name);
            scores
        })
        .collect();
    let mean = mean(&scores);
    println!("messages     {mean:.3?}");
    assert!(mean.ga >= 0.94 && mean.fga >= 0.90 && mean.pa >= 0.88 && mean.fta >= 0.77, "{mean:?}");
}

#[test]
fn whole_lines_are_grouped_by_their_messages() {
    let scores: Vec<_> = systems()
        .iter()
        .map(|system| {
            let scores = score(system.lines.iter().map(|line| (&*line.template, raw(line))));
            println!("{:12} {scores:.3?} {}", system.name, system.lines[0].header);
            scores
        })
        .collect();
    let mean = mean(&scores);
    println!("whole lines  {mean:.3?}");
    assert!(mean.ga >= 0.93 && mean.fga >= 0.90, "{mean:?}");
}

#[test]
fn all_in_one_and_in_any_order_is_as_good() {
    let systems = systems();
    let mut lines: Vec<_> = systems.iter().flat_map(|system| &system.lines).collect();
    let mixed = score(lines.iter().map(|line| (&*line.template, line.message.clone())));
    let mut random = fastrand::Rng::with_seed(7);
    random.shuffle(&mut lines);
    let shuffled = score(lines.iter().map(|line| (&*line.template, line.message.clone())));
    println!("in one       {mixed:.3?}\nshuffled     {shuffled:.3?}");
    assert!(mixed.ga >= 0.94 && mixed.fga >= 0.90, "{mixed:?}");
    assert!(mixed.ga - shuffled.ga <= 0.01 && mixed.fga - shuffled.fga <= 0.01, "{mixed:?} {shuffled:?}");
}
