//! A report as Markdown that reads as text.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::sentences::{
    anomaly_evidence, anomaly_title, change, length, measured, metric_sentence, moment, note, number, short_moment,
};
use crate::types::{Report, Volume};
use crate::words::{Lang, Words};

/// Longest text from outside, in characters.
const MAX_CELL: usize = 160;

/// Returns `text`, which is from outside, as it can stand in a line or a table: nothing in it is Markdown or HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_CELL {
            safe.push('…');
            break;
        }
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => {
                safe.push('\\');
                safe.push(c);
            }
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                safe.push(' ');
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Returns `report` as Markdown; times are of `zone`.
#[must_use]
pub fn render(report: &Report, lang: Lang, zone: &TimeZone) -> String {
    let words = lang.words();
    let mut page = Page { text: String::new(), words };
    let at = |time| moment(time, zone);
    let hours = match lang {
        Lang::En => format!("{} hours", report.hours),
        Lang::Zh => format!("{} 小时", report.hours),
    };
    page.line(&format!("# watchfire: {}, {hours}", words.title));
    page.line(&format!("{} {} {} ({} {})", at(report.since), words.to, at(report.until), words.made_at, at(report.generated_at)));
    page.line(&format!(
        "- **{}** {} {}",
        number(report.volume.total),
        words.records,
        change(report.volume.total, report.volume.previous)
    ));
    page.raw(&format!("- **{}** {}, {}", number(report.errors.total), words.errors, issues_text(report, lang)));
    let going = report.anomalies.iter().filter(|line| line.until.is_none()).count();
    page.raw(&format!("- {}: **{}** ({} {going})", words.anomalies, report.anomalies.len(), words.going_on));
    let firing = report.alerts.iter().filter(|line| line.ended_at.is_none()).count();
    page.raw(&format!("- {}: **{}** ({} {firing})", words.alerts, report.alerts.len(), words.going_on));

    page.heading(words.anomalies);
    for line in &report.anomalies {
        let end = line.until.map_or_else(|| words.going_on.to_owned(), |until| short_moment(until, line.since, zone));
        page.raw(&format!("- **{}** ({} – {end})", escape(&anomaly_title(line, lang)), at(line.since)));
        let evidence = anomaly_evidence(line, lang);
        if !evidence.is_empty() {
            page.raw(&format!("  {}", escape(&evidence)));
        }
        if !line.template.is_empty() {
            page.raw(&format!("  {}", escape(&line.template)));
        }
    }
    page.none_if(report.anomalies.is_empty());

    page.heading(words.alerts);
    let rows = report.alerts.iter().map(|line| {
        let end = line.ended_at.map_or_else(|| words.going_on.to_owned(), at);
        vec![escape(&line.rule), escape(&line.level), escape(&line.title), at(line.started_at), end]
    });
    page.table(&[words.rule, words.level, words.what, words.started, words.ended], &[], &rows.collect::<Vec<_>>());

    page.heading(words.issues);
    let rows =
        report.errors.top.iter().map(|line| {
            vec![number(line.count), escape(&line.service), escape(&line.title), escape(&line.status), line.id.clone()]
        });
    page.table(&[words.times, words.source, words.issue, words.status, "id"], &[0], &rows.collect::<Vec<_>>());

    page.heading(words.new_patterns);
    let rows = report.new_patterns.iter().map(|line| {
        vec![
            at(line.first_seen),
            number(line.count),
            escape(&line.source),
            escape(&line.level),
            escape(&line.template),
            line.pattern.clone(),
        ]
    });
    page.table(
        &[words.first_seen, words.count, words.source, words.level, words.template, words.pattern],
        &[1],
        &rows.collect::<Vec<_>>(),
    );

    page.heading(words.metrics);
    let rows = report.metrics.iter().map(|metric| {
        let name = if metric.what.is_empty() { metric.name.clone() } else { format!("{} ({})", metric.name, metric.what) };
        let of = |value: f64| measured(value, &metric.unit);
        let before = metric.before.map_or_else(|| "–".to_owned(), of);
        vec![escape(&name), of(metric.last), of(metric.mean), of(metric.max), before, escape(&metric_sentence(metric, lang))]
    });
    page.table(
        &[words.metric, words.now, words.mean, words.greatest, words.days_before, words.what_it_means],
        &[1, 2, 3, 4],
        &rows.collect::<Vec<_>>(),
    );

    volumes(&mut page, &report.volume);

    page.heading(words.top_patterns);
    let rows = report.top_patterns.iter().map(|line| {
        let share = line.count as f64 * 100.0 / report.volume.total.max(1) as f64;
        vec![
            number(line.count),
            format!("{share:.1} %"),
            change(line.count, line.previous),
            escape(&line.source),
            escape(&line.template),
            line.pattern.clone(),
        ]
    });
    page.table(
        &[words.count, words.share, words.change, words.source, words.template, words.pattern],
        &[0, 1, 2],
        &rows.collect::<Vec<_>>(),
    );

    if !report.notes.is_empty() {
        page.heading(words.notes);
        report.notes.iter().for_each(|said| page.raw(&format!("- {}", note(*said, lang))));
    }
    let span = length(report.until.since(report.since), lang);
    page.line(&format!("watchfire {} · {span}", report.version));
    page.text
}

fn issues_text(report: &Report, lang: Lang) -> String {
    let (issues, new) = (number(report.errors.issues), number(report.errors.new_issues));
    match lang {
        Lang::En => format!("{issues} issues, {new} of them new"),
        Lang::Zh => format!("{issues} 个问题，其中 {new} 个为新问题"),
    }
}

fn volumes(page: &mut Page, volume: &Volume) {
    let words = page.words;
    page.heading(words.by_source);
    let rows = volume.by_source.iter().map(|line| {
        let name = if line.source.is_empty() { words.no_source.to_owned() } else { escape(&line.source) };
        vec![
            name,
            number(line.count),
            change(line.count, line.previous),
            number(line.errors),
            change(line.errors, line.previous_errors),
        ]
    });
    page.table(&[words.source, words.count, words.change, words.errors, words.change], &[1, 2, 3, 4], &rows.collect::<Vec<_>>());
    page.heading(words.by_level);
    let rows = volume.by_level.iter().map(|line| {
        let name = if line.level.is_empty() { words.no_level.to_owned() } else { escape(&line.level) };
        vec![name, number(line.count), change(line.count, line.previous)]
    });
    page.table(&[words.level, words.count, words.change], &[1, 2], &rows.collect::<Vec<_>>());
}

struct Page {
    text: String,
    words: &'static Words,
}

impl Page {
    fn raw(&mut self, line: &str) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// A line that stands alone.
    fn line(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.raw(line);
    }

    fn heading(&mut self, title: &str) {
        self.line(&format!("## {title}"));
        self.text.push('\n');
    }

    fn none_if(&mut self, empty: bool) {
        if empty {
            self.raw(self.words.none);
        }
    }

    /// A table whose columns line up as text, too; the columns `numbers` are numbers.
    fn table(&mut self, titles: &[&str], numbers: &[usize], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return self.none_if(true);
        }
        let width = |text: &str| {
            text.chars().map(|c| if u32::from(c) >= 0x1100 && c.is_alphabetic() && !c.is_ascii() { 2 } else { 1 }).sum::<usize>()
        };
        let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
        let columns: Vec<usize> = (0..titles.len())
            .map(|column| {
                rows.iter().chain([&titles]).map(|row| row.get(column).map_or(0, |cell| width(cell))).max().unwrap_or(0).max(3)
            })
            .collect();
        let line = |row: &[String]| {
            let cells =
                row.iter().zip(&columns).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide.saturating_sub(width(cell)))));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        self.raw(&line(&titles));
        let rule = |(column, wide): (usize, &usize)| {
            if numbers.contains(&column) { format!("{}:", "-".repeat(wide - 1)) } else { "-".repeat(*wide) }
        };
        let rules: Vec<String> = columns.iter().enumerate().map(rule).collect();
        self.raw(&format!("| {} |", rules.join(" | ")));
        for row in rows {
            self.raw(&line(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{AlertLine, Bin, PatternLine, SourceCount};

    fn report(text: &str) -> Report {
        let mut report = Report { hours: 24, version: "1".into(), ..Report::default() };
        report.volume.total = 9_000;
        report.volume.by_source =
            vec![SourceCount { source: text.into(), count: 9_000, previous: Some(3_000), ..SourceCount::default() }];
        report.volume.over_time = vec![Bin::default()];
        report.alerts = vec![AlertLine { rule: text.into(), title: text.into(), ..AlertLine::default() }];
        report.top_patterns =
            vec![PatternLine { source: "api".into(), template: text.into(), count: 900, ..PatternLine::default() }];
        report
    }

    #[test]
    fn it_reads_as_text() {
        insta::assert_snapshot!(render(&report("a|b <c> `d`"), Lang::En, &TimeZone::UTC));
    }

    proptest! {
        #[test]
        fn rows_have_as_many_cells_as_titles_whatever_is_in_them(text in "[|a-z`\\\\<>#*\n ]{0,40}") {
            let markdown = render(&report(&text), Lang::En, &TimeZone::UTC);
            let cells = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            let mut width = None;
            for line in markdown.lines() {
                if line.starts_with('|') {
                    prop_assert_eq!(*width.get_or_insert(cells(line)), cells(line), "{}", line);
                } else {
                    width = None;
                }
            }
            prop_assert!(!markdown.contains("<c") && markdown.lines().filter(|line| line.starts_with('#')).count() >= 8);
        }
    }
}
