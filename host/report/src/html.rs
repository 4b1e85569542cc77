//! A report as one HTML file: styles and charts inline, no script, nothing from elsewhere; light and dark, for paper and phones.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::chart;
use crate::sentences::{anomaly_evidence, anomaly_title, change, measured, metric_sentence, moment, note, number, short_moment};
use crate::types::{AlertLine, AnomalyLine, MetricTrend, PatternLine, Report, SourceCount};
use crate::words::{Lang, Words};

/// Longest text from outside, in characters.
const MAX_TEXT: usize = 600;

const STYLE: &str = include_str!("report.css");

/// What a browser may do with the file: draw it, and nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Returns `text`, which is from outside, as text in HTML or as the value of an attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == MAX_TEXT {
            safe.push('…');
            break;
        }
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // What would turn the direction of the text around it is shown as nothing, like other control characters.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Returns `report` as an HTML file; times are of `zone`.
#[must_use]
pub fn render(report: &Report, lang: Lang, zone: &TimeZone) -> String {
    let page = Page { report, lang, words: lang.words(), zone };
    let mut html = String::with_capacity(64 << 10);
    let words = page.words;
    // Writing to a `String` cannot fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY_POLICY}\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>watchfire: {}, {}</title><style>{STYLE}</style></head><body>\n",
        lang.tag(),
        words.title,
        page.at(report.until)
    );
    let _ = write!(
        html,
        "<header><h1>watchfire <span>{}</span></h1><p>{} {} {}</p></header>\n<main>",
        words.title,
        page.at(report.since),
        words.to,
        page.at(report.until)
    );
    page.tiles(&mut html);
    page.notes(&mut html);
    page.section(&mut html, words.volume, &page.volume());
    page.section(&mut html, words.anomalies, &page.anomalies());
    page.section(&mut html, words.alerts, &page.alerts());
    page.section(&mut html, words.issues, &page.errors());
    page.section(&mut html, words.metrics, &page.metrics());
    page.section(&mut html, words.new_patterns, &page.new_patterns());
    page.section(&mut html, words.top_patterns, &page.top_patterns());
    let _ = write!(
        html,
        "</main>\n<footer>watchfire {} · {} {}</footer>\n</body></html>\n",
        escape(&report.version),
        words.made_at,
        page.at(report.generated_at)
    );
    html
}

struct Page<'a> {
    report: &'a Report,
    lang: Lang,
    words: &'static Words,
    zone: &'a TimeZone,
}

impl Page<'_> {
    fn at(&self, time: watchfire_types::Timestamp) -> String {
        moment(time, self.zone)
    }

    fn section(&self, html: &mut String, title: &str, body: &str) {
        let body = if body.is_empty() { format!("<p class=\"none\">{}</p>", self.words.none) } else { body.to_owned() };
        let _ = writeln!(html, "<section><h2>{title}</h2>{body}</section>");
    }

    fn tiles(&self, html: &mut String) {
        let (report, words) = (self.report, self.words);
        let going = report.anomalies.iter().filter(|line| line.until.is_none()).count();
        let firing = report.alerts.iter().filter(|line| line.ended_at.is_none()).count();
        let tiles = [
            (number(report.volume.total), words.records.to_owned(), change(report.volume.total, report.volume.previous), false),
            (
                number(report.errors.total),
                words.errors.to_owned(),
                format!("{} {}", number(report.errors.new_issues), words.new),
                report.errors.new_issues > 0,
            ),
            (report.anomalies.len().to_string(), words.anomalies.to_owned(), format!("{going} {}", words.going_on), going > 0),
            (report.alerts.len().to_string(), words.alerts.to_owned(), format!("{firing} {}", words.going_on), firing > 0),
        ];
        html.push_str("<div class=\"tiles\">");
        for (value, name, more, bad) in tiles {
            let class = if bad { " bad" } else { "" };
            let _ = write!(html, "<div class=\"tile{class}\"><b>{value}</b><span>{name}</span><small>{more}</small></div>");
        }
        html.push_str("</div>\n");
    }

    fn notes(&self, html: &mut String) {
        for said in &self.report.notes {
            let _ = write!(html, "<p class=\"note\">{}</p>", escape(note(*said, self.lang)));
        }
    }

    fn volume(&self) -> String {
        let (volume, words) = (&self.report.volume, self.words);
        if volume.total == 0 {
            return String::new();
        }
        let mut body = format!("<figure>{}", chart::volume(&volume.over_time, words, self.zone));
        let _ = write!(
            body,
            "<figcaption><i class=\"errors\"></i>{} <i class=\"warnings\"></i>{} <i class=\"others\"></i>{}</figcaption></figure>",
            words.errors, words.warnings, words.others
        );
        let most = volume.by_source.iter().map(|line| line.count).max().unwrap_or(1).max(1);
        let row = |line: &SourceCount| {
            let name = if line.source.is_empty() { words.no_source.to_owned() } else { escape(&line.source) };
            format!(
                "<tr><td class=\"name\">{name}</td><td class=\"n\">{}</td><td class=\"bar\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                number(line.count),
                bar(line.count as f64 / most as f64),
                change(line.count, line.previous),
                number(line.errors),
                change(line.errors, line.previous_errors)
            )
        };
        let rows: String = volume.by_source.iter().map(row).collect();
        body.push_str(&table(&[words.source, words.count, "", words.change, words.errors, words.change], &[1, 3, 4, 5], &rows));
        let level = |line: &crate::types::LevelCount| {
            let name = if line.level.is_empty() { words.no_level.to_owned() } else { escape(&line.level) };
            format!(
                "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                number(line.count),
                change(line.count, line.previous)
            )
        };
        let rows: String = volume.by_level.iter().map(level).collect();
        body.push_str(&table(&[words.level, words.count, words.change], &[1, 2], &rows));
        body
    }

    fn anomalies(&self) -> String {
        let card = |line: &AnomalyLine| {
            let end = line.until.map_or_else(
                || format!("<strong>{}</strong>", self.words.going_on),
                |until| short_moment(until, line.since, self.zone),
            );
            let template =
                if line.template.is_empty() { String::new() } else { format!("<code>{}</code>", escape(&line.template)) };
            let class = if line.severity_number >= 17 { "card serious" } else { "card" };
            format!(
                "<li class=\"{class}\"><h3>{}</h3><p>{} – {end}</p>{template}<p class=\"why\">{}</p></li>",
                escape(&anomaly_title(line, self.lang)),
                self.at(line.since),
                escape(&anomaly_evidence(line, self.lang))
            )
        };
        let cards: String = self.report.anomalies.iter().map(card).collect();
        if cards.is_empty() { cards } else { format!("<ul class=\"cards\">{cards}</ul>") }
    }

    fn alerts(&self) -> String {
        let words = self.words;
        let row = |line: &AlertLine| {
            let end = line.ended_at.map_or_else(
                || format!("<strong>{}</strong>", words.going_on),
                |end| short_moment(end, line.started_at, self.zone),
            );
            format!(
                "<tr><td>{}</td><td>{end}</td><td>{}</td><td class=\"name\">{}</td><td class=\"text\">{}</td></tr>",
                self.at(line.started_at),
                escape(&line.level),
                escape(&line.rule),
                escape(&line.title)
            )
        };
        let rows: String = self.report.alerts.iter().map(row).collect();
        table(&[words.started, words.ended, words.level, words.rule, words.what], &[], &rows)
    }

    fn errors(&self) -> String {
        let words = self.words;
        let row = |line: &crate::types::IssueLine| {
            format!(
                "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"text\">{}</td><td>{}</td><td><code>{}</code></td></tr>",
                number(line.count),
                escape(&line.service),
                escape(&line.title),
                escape(&line.status),
                escape(&line.id)
            )
        };
        let rows: String = self.report.errors.top.iter().map(row).collect();
        table(&[words.times, words.source, words.issue, words.status, "id"], &[0], &rows)
    }

    fn metrics(&self) -> String {
        let words = self.words;
        let since = self.report.since.as_seconds_f64();
        let row = |metric: &MetricTrend| {
            let what = if metric.what.is_empty() { String::new() } else { format!(" <small>{}</small>", escape(&metric.what)) };
            let of = |value: f64| measured(value, &metric.unit);
            let bad = if metric.full_in_days.is_some_and(|full| full.likely < 14.0) || !metric.odd_hours.is_empty() {
                " class=\"bad\""
            } else {
                ""
            };
            format!(
                "<tr{bad}><td class=\"name\">{}{what}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"text\">{}</td></tr>",
                escape(&metric.name),
                chart::sparkline(&metric.hourly, since),
                of(metric.last),
                of(metric.mean),
                of(metric.max),
                metric.before.map_or_else(|| "–".to_owned(), of),
                escape(&metric_sentence(metric, self.lang))
            )
        };
        let rows: String = self.report.metrics.iter().map(row).collect();
        let titles = [words.metric, "", words.now, words.mean, words.greatest, words.days_before, words.what_it_means];
        table(&titles, &[2, 3, 4, 5], &rows)
    }

    fn new_patterns(&self) -> String {
        let words = self.words;
        let row = |line: &crate::types::NewPatternLine| {
            format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"text\"><code>{}</code></td><td class=\"n\">{}</td></tr>",
                self.at(line.first_seen),
                number(line.count),
                escape(&line.source),
                escape(&line.level),
                escape(&line.template),
                escape(&line.pattern)
            )
        };
        let rows: String = self.report.new_patterns.iter().map(row).collect();
        table(&[words.first_seen, words.count, words.source, words.level, words.template, words.pattern], &[1, 5], &rows)
    }

    fn top_patterns(&self) -> String {
        let words = self.words;
        let total = self.report.volume.total.max(1) as f64;
        let row = |line: &PatternLine| {
            format!(
                "<tr><td class=\"n\">{}</td><td class=\"bar\">{}</td><td class=\"n\">{:.1} %</td><td class=\"n\">{}</td><td>{}</td><td class=\"text\"><code>{}</code></td><td class=\"n\">{}</td></tr>",
                number(line.count),
                bar(line.count as f64 / total),
                line.count as f64 * 100.0 / total,
                change(line.count, line.previous),
                escape(&line.source),
                escape(&line.template),
                escape(&line.pattern)
            )
        };
        let rows: String = self.report.top_patterns.iter().map(row).collect();
        table(&[words.count, "", words.share, words.change, words.source, words.template, words.pattern], &[0, 2, 3, 6], &rows)
    }
}

fn bar(share: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width="{:.1}" height="8"/></svg>"#,
        share.clamp(0.0, 1.0) * 100.0
    )
}

/// Returns a table that scrolls by itself where it is too wide; nothing without rows.
fn table(titles: &[&str], numbers: &[usize], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let title = |(column, title): (usize, &&str)| {
        let class = if numbers.contains(&column) { " class=\"n\"" } else { "" };
        format!("<th scope=\"col\"{class}>{title}</th>")
    };
    let titles: String = titles.iter().enumerate().map(title).collect();
    format!("<div class=\"wide\"><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{IssueLine, NewPatternLine};

    /// A report whose every text from outside is `text`.
    fn full_of(text: &str) -> Report {
        let text = || text.to_owned();
        let mut report = Report { hours: 24, version: text(), ..Report::default() };
        report.volume.total = 9;
        report.volume.by_source = vec![SourceCount { source: text(), count: 3, ..SourceCount::default() }];
        report.volume.over_time = vec![crate::types::Bin { others: 9, ..crate::types::Bin::default() }];
        report.anomalies = ["rate", "silence", "new_pattern", "other"]
            .map(|detector| AnomalyLine {
                detector: detector.to_owned(),
                source: text(),
                template: text(),
                pattern: text(),
                ..AnomalyLine::default()
            })
            .to_vec();
        report.alerts = vec![AlertLine { rule: text(), level: text(), title: text(), ..AlertLine::default() }];
        report.errors.top = vec![IssueLine { title: text(), service: text(), status: text(), id: text(), count: 1 }];
        report.new_patterns = vec![NewPatternLine { source: text(), template: text(), ..NewPatternLine::default() }];
        report.top_patterns = vec![PatternLine { source: text(), template: text(), ..PatternLine::default() }];
        report.metrics = vec![MetricTrend { name: text(), what: text(), unit: text(), ..MetricTrend::default() }];
        report
    }

    /// Returns the tags of a page, with their attributes.
    fn tags(html: &str) -> Vec<&str> {
        html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or("")).collect()
    }

    proptest! {
        #[test]
        fn nothing_from_outside_becomes_markup(text in "[<>&\"'`|/a-z =!\\-\u{202e}\n]{1,60}") {
            for lang in [Lang::En, Lang::Zh] {
                let (plain, hostile) = (render(&full_of("x"), lang, &TimeZone::UTC), render(&full_of(&text), lang, &TimeZone::UTC));
                prop_assert!(tags(&plain) == tags(&hostile), "{hostile}");
            }
        }
    }

    #[test]
    fn a_page_asks_for_nothing_from_elsewhere() {
        let html = render(&full_of("<script>alert(1)</script>"), Lang::Zh, &TimeZone::UTC);
        assert!(html.contains("&lt;script&gt;") && html.contains("lang=\"zh-CN\"") && html.contains("default-src 'none'"));
        for word in ["<script", "<link", "<img", "src=", "href=", "url(", "@import", "http://", "https://"] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
