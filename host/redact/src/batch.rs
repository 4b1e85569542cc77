//! A batch of records, column by column.

use std::borrow::Cow;
use std::collections::HashSet;

use regex::bytes::Regex;
use watchfire_types::LogBatch;
use watchfire_types::log::{ResourceIndex, ValueColumn};

use crate::marker::{self, Markers};
use crate::rules;
use crate::scan::{Candidate, Scanner};
use crate::secrets;
use crate::settings::{Action, Rule, Settings, SettingsError};

/// Kinds of values, as [`ValueColumn`] numbers them.
const NULL: u8 = 0;
const TEXT: u8 = 1;
const BOOL: u8 = 2;
const BYTES: u8 = 5;

/// The name by which [`Settings::except`] means the body.
const BODY: &str = "body";

/// Takes secrets out of batches. It is made once and used by any thread.
pub struct Redactor {
    /// By the number of the rule.
    actions: [Action; Rule::ALL.len()],
    custom: Vec<CustomRule>,
    except: HashSet<String>,
    scanner: Scanner,
    markers: Markers,
}

struct CustomRule {
    name: String,
    pattern: Regex,
    /// The group that is the secret; 0 for the whole match.
    group: usize,
    action: Action,
}

/// What was found, by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    built_in: [u64; Rule::ALL.len()],
    custom: Vec<(String, u64)>,
}

impl Counts {
    /// Returns every rule that found something, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let built_in = Rule::ALL.iter().zip(&self.built_in).map(|(rule, count)| (rule.name(), *count));
        let custom = self.custom.iter().map(|(name, count)| (name.as_str(), *count));
        built_in.chain(custom).filter(|(_, count)| *count > 0)
    }

    /// Returns how much was found.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    fn add_custom(&mut self, name: &str) {
        match self.custom.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => self.custom.push((name.to_owned(), 1)),
        }
    }
}

/// Something that is replaced, by its place in a whole column.
struct Edit {
    start: usize,
    end: usize,
    rule: Rule,
    keeps_place: bool,
    /// JSON needs quotes around it, since it was a number.
    needs_quotes: bool,
}

/// What is known of rows before their text is looked at.
struct Plan<'a> {
    /// Rows that are a secret as a whole, in order.
    whole: &'a [usize],
    /// Rows that are left as they are.
    is_left: &'a dyn Fn(usize) -> bool,
}

const LOOK_AT_ALL: Plan<'static> = Plan { whole: &[], is_left: &|_| false };

impl Redactor {
    /// Returns one that does what `settings` say.
    ///
    /// # Errors
    /// [`SettingsError`] for a custom rule without a usable name or pattern.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let custom = custom(&settings)?;
        let actions = Rule::ALL.map(|rule| settings.action(rule));
        Ok(Self {
            actions,
            custom,
            scanner: Scanner::new(&|rule| settings.action(rule) != Action::Off),
            markers: Markers::new(&settings.key),
            except: settings.except.into_iter().collect(),
        })
    }

    /// Returns whether there is anything to look for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.actions.iter().any(|action| *action != Action::Off) || !self.custom.is_empty()
    }

    fn action(&self, rule: Rule) -> Action {
        self.actions[rule as usize]
    }

    /// Takes everything that the rules find out of `batch`: from bodies, attributes and resources. Returns how much that was, by rule.
    pub fn redact(&self, batch: &mut LogBatch) -> Counts {
        let mut counts = Counts::default();
        let mut candidates = Vec::new();
        if !self.except.contains(BODY) {
            self.column(&mut batch.body, &LOOK_AT_ALL, &mut candidates, &mut counts);
        }
        self.attributes(batch, &mut candidates, &mut counts);
        self.resources(batch, &mut counts);
        counts
    }

    /// Returns `text` without what the rules find.
    #[must_use]
    pub fn redact_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut column = ValueColumn::default();
        column.push_raw(TEXT, text.as_bytes());
        let mut counts = Counts::default();
        self.column(&mut column, &LOOK_AT_ALL, &mut Vec::new(), &mut counts);
        if counts.total() == 0 {
            return Cow::Borrowed(text);
        }
        Cow::Owned(String::from_utf8_lossy(column.data.get(0)).into_owned())
    }

    fn attributes(&self, batch: &mut LogBatch, candidates: &mut Vec<Candidate>, counts: &mut Counts) {
        let looks_for_secrets = self.action(Rule::Secret) != Action::Off;
        // What a name says is found out once for all records that have it.
        let is_secret = |key: &String| looks_for_secrets && secrets::is_secret_value(key, b"any");
        let strings = batch.dict.strings();
        let secret: Vec<bool> = strings.iter().map(|key| is_secret(key) && !self.except.contains(key)).collect();
        let left: Vec<bool> = strings.iter().map(|key| self.except.contains(key)).collect();
        let (names, values) = (&batch.attribute_key, &batch.attribute_value);
        let is_whole = |row: &usize| {
            let name = names[*row] as usize;
            secret[name] && secrets::is_secret_value(&strings[name], values.data.get(*row))
        };
        let whole: Vec<usize> = if secret.contains(&true) { (0..names.len()).filter(is_whole).collect() } else { Vec::new() };
        let is_left = |row: usize| left[names[row] as usize];
        self.column(&mut batch.attribute_value, &Plan { whole: &whole, is_left: &is_left }, candidates, counts);
    }

    /// Each resource is that of many records, so its values are looked at one by one.
    fn resources(&self, batch: &mut LogBatch, counts: &mut Counts) {
        let before = counts.total();
        for (key, value) in batch.resources.iter_mut().flatten() {
            if self.except.contains(key) {
                continue;
            }
            let mut column = ValueColumn::default();
            column.push(value.as_ref());
            let found = counts.total();
            let is_secret = self.action(Rule::Secret) != Action::Off && secrets::is_secret_value(key, column.data.get(0));
            let plan = Plan { whole: if is_secret { &[0] } else { &[] }, is_left: &|_| false };
            self.column(&mut column, &plan, &mut Vec::new(), counts);
            if counts.total() > found {
                *value = column.get(0).to_value();
            }
        }
        if counts.total() > before {
            // It would find resources by what they were.
            batch.resource_index = ResourceIndex::default();
        }
    }

    fn column(&self, column: &mut ValueColumn, plan: &Plan<'_>, candidates: &mut Vec<Candidate>, counts: &mut Counts) {
        self.scanner.scan(&column.data, candidates);
        let edits = self.edits(column, plan, candidates);
        if !edits.is_empty() {
            for edit in &edits {
                counts.built_in[edit.rule as usize] += 1;
            }
            self.apply(column, &edits);
        }
        for rule in &self.custom {
            self.apply_custom(rule, column, plan, counts);
        }
    }

    /// Returns what is to be replaced, in order and without overlaps.
    fn edits(&self, column: &ValueColumn, plan: &Plan<'_>, candidates: &[Candidate]) -> Vec<Edit> {
        let data = &column.data;
        let is_on = |rule: Rule| self.action(rule) != Action::Off;
        let mut edits: Vec<Edit> = Vec::new();
        let mut whole = plan.whole.iter().copied().peekable();
        let mut add_whole = |before: usize, edits: &mut Vec<Edit>| {
            while let Some(row) = whole.next_if(|row| *row < before) {
                let (start, end) = (data.offsets[row] as usize, data.offsets[row + 1] as usize);
                edits.push(Edit { start, end, rule: Rule::Secret, keeps_place: false, needs_quotes: false });
            }
        };
        // The row of the last candidate, where it ends, whether it is looked at, and up to where it is done with.
        let (mut row, mut end, mut is_looked_at, mut done) = (0, 0, false, 0);
        for (position, look) in candidates {
            let position = *position as usize;
            if position >= end {
                while data.offsets[row + 1] as usize <= position {
                    row += 1;
                }
                end = data.offsets[row + 1] as usize;
                add_whole(row + 1, &mut edits);
                done = data.offsets[row] as usize;
                let is_whole = edits.last().is_some_and(|edit| edit.start >= done);
                is_looked_at = !is_whole && !matches!(column.kind[row], NULL | BOOL) && !(plan.is_left)(row);
            }
            if !is_looked_at || position < done {
                continue;
            }
            let begin = data.offsets[row] as usize;
            let text = &data.bytes[begin..end];
            let Some(found) = rules::look(text, position - begin, *look, &is_on) else { continue };
            // What has been put there before is not looked at again, nor what only stands alone since then.
            let touches = |(start, end): (usize, usize)| found.start <= end + 1 && start <= found.end + 1;
            if begin + found.start < done || found.start >= found.end || markers_in(text).any(touches) {
                continue;
            }
            let needs_quotes = is_bare_in_json(text, found.start, found.end);
            let (start, end) = (begin + found.start, begin + found.end);
            edits.push(Edit { start, end, rule: found.rule, keeps_place: found.keeps_place, needs_quotes });
            done = end;
        }
        add_whole(usize::MAX, &mut edits);
        edits
    }

    fn apply(&self, column: &mut ValueColumn, edits: &[Edit]) {
        let old = std::mem::take(&mut column.data);
        let mut bytes = Vec::with_capacity(old.bytes.len() + edits.len() * 16);
        let mut offsets = Vec::with_capacity(old.offsets.len());
        offsets.push(0);
        let mut edits = edits.iter().peekable();
        for row in 0..old.len() {
            let (mut position, end) = (old.offsets[row] as usize, old.offsets[row + 1] as usize);
            while let Some(edit) = edits.next_if(|edit| edit.end <= end) {
                bytes.extend_from_slice(&old.bytes[position..edit.start]);
                self.write(&mut bytes, edit, &old.bytes[edit.start..edit.end]);
                position = edit.end;
                // A number that became a marker, or JSON of which nothing is left, is text now.
                let is_whole = edit.start == old.offsets[row] as usize && edit.end == end;
                if matches!(column.kind[row], 3 | 4) || (is_whole && column.kind[row] != BYTES) {
                    column.kind[row] = TEXT;
                }
            }
            bytes.extend_from_slice(&old.bytes[position..end]);
            offsets.push(bytes.len() as u32);
        }
        column.data.bytes = bytes;
        column.data.offsets = offsets;
    }

    fn write(&self, bytes: &mut Vec<u8>, edit: &Edit, found: &[u8]) {
        let action = self.action(edit.rule);
        let quote: &[u8] = if edit.needs_quotes { b"\"" } else { b"" };
        bytes.extend_from_slice(quote);
        if action == Action::Remove && edit.keeps_place {
            bytes.push(b'-');
        } else {
            self.markers.write(bytes, edit.rule.name(), action, found);
        }
        bytes.extend_from_slice(quote);
    }

    /// A rule of the user's own looks at row after row, as its pattern may be anchored to either end.
    fn apply_custom(&self, rule: &CustomRule, column: &mut ValueColumn, plan: &Plan<'_>, counts: &mut Counts) {
        let mut changed: Option<ValueColumn> = None;
        for row in 0..column.kind.len() {
            let (kind, text) = (column.kind[row], column.data.get(row));
            let is_looked_at = !matches!(kind, NULL | BOOL) && !(plan.is_left)(row);
            let replaced = if is_looked_at { self.replace_custom(rule, text, counts) } else { None };
            if replaced.is_some() && changed.is_none() {
                let mut copy = ValueColumn::default();
                (0..row).for_each(|row| copy.push_raw(column.kind[row], column.data.get(row)));
                changed = Some(copy);
            }
            if let Some(copy) = &mut changed {
                match replaced {
                    Some(text) => copy.push_raw(if matches!(kind, 3 | 4) { TEXT } else { kind }, &text),
                    None => copy.push_raw(kind, text),
                }
            }
        }
        if let Some(copy) = changed {
            *column = copy;
        }
    }

    fn replace_custom(&self, rule: &CustomRule, text: &[u8], counts: &mut Counts) -> Option<Vec<u8>> {
        let (mut output, mut position) = (Vec::new(), 0);
        let mut markers: Option<Vec<(usize, usize)>> = None;
        for captures in rule.pattern.captures_iter(text) {
            let Some(found) = captures.get(rule.group).filter(|found| !found.is_empty() && found.start() >= position) else {
                continue;
            };
            // What a rule has put there is not looked at again.
            let markers = markers.get_or_insert_with(|| markers_in(text).collect());
            if markers.iter().any(|(start, end)| found.start() < *end && *start < found.end()) {
                continue;
            }
            output.extend_from_slice(&text[position..found.start()]);
            self.markers.write(&mut output, &rule.name, rule.action, found.as_bytes());
            position = found.end();
            counts.add_custom(&rule.name);
        }
        (position > 0).then(|| {
            output.extend_from_slice(&text[position..]);
            output
        })
    }
}

fn markers_in(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let starts = memchr::memchr_iter(b'[', text);
    starts.map(|start| (start, start + marker::length(&text[start..]))).filter(|(start, end)| end > start)
}

/// Returns whether `start..end` is a value of JSON without quotes: a number.
fn is_bare_in_json(text: &[u8], start: usize, end: usize) -> bool {
    let is_number = text[start..end].iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    if !is_number || !rules::is_json(text) {
        return false;
    }
    let before = text[..start].iter().rev().find(|byte| !byte.is_ascii_whitespace());
    let after = text[end..].iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(before, Some(b':' | b',' | b'[')) && matches!(after, Some(b',' | b']' | b'}'))
}

fn custom(settings: &Settings) -> Result<Vec<CustomRule>, SettingsError> {
    let mut rules: Vec<CustomRule> = Vec::new();
    for (index, custom) in settings.custom.iter().enumerate() {
        let name = custom.name.clone();
        let is_name =
            (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_name {
            return Err(SettingsError::Name { index, name });
        }
        if rules.iter().any(|known| known.name == name) || name.parse::<Rule>().is_ok() {
            return Err(SettingsError::Twice { index, name });
        }
        let wrong = |source| SettingsError::Pattern { index, source: Box::new(source) };
        // Text stays UTF-8: the crate's own check that a pattern matches nothing else.
        let pattern = regex::Regex::new(&custom.pattern).map_err(wrong)?;
        if pattern.is_match("") {
            return Err(SettingsError::Empty { index });
        }
        let pattern = Regex::new(&custom.pattern).map_err(wrong)?;
        let group = pattern.capture_names().position(|group| group == Some("secret")).unwrap_or(0);
        if custom.action != Action::Off {
            rules.push(CustomRule { name, pattern, group, action: custom.action });
        }
    }
    Ok(rules)
}
