//! Sentences of a report, in both languages, as plain text: each format escapes them.

use std::time::Duration;

use jiff::tz::TimeZone;
use watchfire_types::Timestamp;

use crate::types::{AnomalyLine, MetricTrend, Note};
use crate::words::Lang;

/// Returns `1234567` as `1,234,567`.
#[must_use]
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a value with no more digits than matter.
#[must_use]
pub fn value(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let whole = number(size.round() as u64);
            if value < 0.0 { format!("-{whole}") } else { whole }
        }
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 1.0 => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.3}")),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Returns a value with its unit: `71 %`, `1.2 MB/s`.
#[must_use]
pub fn measured(number: f64, unit: &str) -> String {
    match unit {
        "%" => format!("{number:.1} %"),
        "By/s" | "By" => {
            let scale = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
            let (name, size) = scale.into_iter().find(|(_, size)| number.abs() >= *size).unwrap_or(("B", 1.0));
            format!("{} {name}{}", value(number / size), if unit == "By/s" { "/s" } else { "" })
        }
        _ => value(number),
    }
}

/// Returns by how much a count has changed: `+25 %`, `×4.0`; empty if nothing is known of before.
#[must_use]
pub fn change(count: u64, previous: Option<u64>) -> String {
    match previous {
        None => String::new(),
        Some(0) if count == 0 => "=".to_owned(),
        Some(0) => "+∞".to_owned(),
        Some(previous) if count >= previous * 3 => format!("×{:.1}", count as f64 / previous as f64),
        Some(previous) => {
            let percent = (count as f64 / previous as f64 - 1.0) * 100.0;
            if percent.abs() < 0.5 { "=".to_owned() } else { format!("{percent:+.0} %") }
        }
    }
}

/// Returns a moment as `2026-11-24 08:30`.
#[must_use]
pub fn moment(time: Timestamp, zone: &TimeZone) -> String {
    let zoned = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).map(|time| time.to_zoned(zone.clone()));
    zoned.map_or_else(|_| time.to_string(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Returns a moment without its date if that is the day of `near`: `08:30`.
#[must_use]
pub fn short_moment(time: Timestamp, near: Timestamp, zone: &TimeZone) -> String {
    let (text, other) = (moment(time, zone), moment(near, zone));
    match (text.split_once(' '), other.split_once(' ')) {
        (Some((day, clock)), Some((other_day, _))) if day == other_day => clock.to_owned(),
        (Some((day, clock)), _) => format!("{} {clock}", day.get(5..).unwrap_or(day)),
        _ => text,
    }
}

/// Returns a length of time: `2 h 5 min`.
#[must_use]
pub fn length(duration: Duration, lang: Lang) -> String {
    let minutes = duration.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let [day, hour, minute] = match lang {
        Lang::En => [" d", " h", " min"],
        Lang::Zh => [" 天", " 小时", " 分钟"],
    };
    let parts: Vec<String> = [(days, day), (hours, hour), (minutes, minute)]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if parts.is_empty() { format!("0{minute}") } else { parts.join(" ") }
}

/// Returns what was unusual, in a few words.
#[must_use]
pub fn anomaly_title(line: &AnomalyLine, lang: Lang) -> String {
    let source = if line.source.is_empty() { lang.words().no_source } else { &line.source };
    let of_pattern = !line.pattern.is_empty();
    let up = line.direction != "down";
    let (seen, high) = (value(line.actual), line.high.unwrap_or(0.0));
    match (lang, line.detector.as_str()) {
        (Lang::En, "new_pattern") => format!("{source} says something new"),
        (Lang::En, "format_changed") => format!("{source} has a new format: {seen} new patterns in an hour"),
        (Lang::En, "silence") => format!("{source} has fallen silent"),
        (Lang::En, "burst") => format!("{source} burst: {seen} records in 5 minutes"),
        (Lang::En, "error_ratio") => format!("{source}: {:.1} % of the records are errors", line.actual * 100.0),
        (Lang::En, _) => {
            let (what, way) = (if of_pattern { "a pattern" } else { "records" }, if up { "more" } else { "fewer" });
            let way = if of_pattern && !up { "less" } else { way };
            format!("{source}: {way} of {what} than usual ({seen} in 15 minutes, usually up to {})", value(high))
        }
        (Lang::Zh, "new_pattern") => format!("{source} 出现了从未见过的日志"),
        (Lang::Zh, "format_changed") => format!("{source} 的日志格式已改变：一小时内出现 {seen} 个新模式"),
        (Lang::Zh, "silence") => format!("{source} 停止输出日志"),
        (Lang::Zh, "burst") => format!("{source} 日志突增：5 分钟 {seen} 条"),
        (Lang::Zh, "error_ratio") => format!("{source} 的错误占比达 {:.1} %", line.actual * 100.0),
        (Lang::Zh, _) => {
            let (what, way) = (if of_pattern { "某一模式" } else { "日志" }, if up { "多于" } else { "少于" });
            format!("{source} 的{what}{way}平常（15 分钟 {seen} 条，平常至多 {} 条）", value(high))
        }
    }
}

/// Returns what was to be expected, and how sure it is.
#[must_use]
pub fn anomaly_evidence(line: &AnomalyLine, lang: Lang) -> String {
    let scale = |number: f64| if line.detector == "error_ratio" { format!("{:.2} %", number * 100.0) } else { value(number) };
    let range = line.low.zip(line.high).map(|(low, high)| match (lang, line.detector.as_str()) {
        (Lang::En, "silence") => format!("usually no gap is longer than {} minutes", value(high)),
        (Lang::Zh, "silence") => format!("平常间隔不超过 {} 分钟", value(high)),
        (Lang::En, _) => format!("expected {} to {}, seen {}", scale(low), scale(high), scale(line.actual)),
        (Lang::Zh, _) => format!("预期 {} 至 {}，实际 {}", scale(low), scale(high), scale(line.actual)),
    });
    let p = line.p.map(|p| if p < 1e-15 { "p < 1e-15".to_owned() } else { format!("p = {p:.1e}") });
    let samples = (line.samples > 0 && line.p.is_some()).then(|| match lang {
        Lang::En => format!("from {} windows", line.samples),
        Lang::Zh => format!("依据 {} 个时间窗", line.samples),
    });
    let parts: Vec<String> = range.into_iter().chain(p).chain(samples).collect();
    parts.join(if lang == Lang::En { "; " } else { "；" })
}

/// Returns how a metric goes, in plain words.
#[must_use]
pub fn metric_sentence(metric: &MetricTrend, lang: Lang) -> String {
    let mut parts: Vec<String> = Vec::new();
    let (now, unit) = (measured(metric.last, &metric.unit), metric.unit.as_str());
    if let Some(slope) = metric.per_day {
        let first = metric.hourly.first().map_or(metric.last, |point| point.value);
        let change = measured(slope.abs(), unit);
        parts.push(match lang {
            Lang::En => {
                format!("{} → {now}, {} by {change} a day", measured(first, unit), if slope > 0.0 { "growing" } else { "falling" })
            }
            Lang::Zh => format!("{} → {now}，每天{} {change}", measured(first, unit), if slope > 0.0 { "增加" } else { "减少" }),
        });
    }
    if let Some(full) = metric.full_in_days {
        parts.push(match lang {
            Lang::En => format!(
                "full in about {} days if it goes on ({} to {})",
                value(full.likely),
                value(full.earliest),
                if full.latest > 999.0 { "years".to_owned() } else { value(full.latest) }
            ),
            Lang::Zh => format!(
                "照此下去约 {} 天后用满（{} 至 {}）",
                value(full.likely),
                value(full.earliest),
                if full.latest > 999.0 { "数年".to_owned() } else { value(full.latest) }
            ),
        });
    }
    if let Some(odd) = metric.odd_hours.iter().max_by(|a, b| a.z.abs().total_cmp(&b.z.abs())) {
        let (count, seen, usual) = (metric.odd_hours.len(), measured(odd.value, unit), measured(odd.usual, unit));
        parts.push(match lang {
            Lang::En => format!("{count} hours unlike other days: {seen} instead of {usual}"),
            Lang::Zh => format!("有 {count} 个小时与往日不同：{seen}，平常 {usual}"),
        });
    }
    if parts.is_empty() {
        parts.push(match (lang, metric.before) {
            (Lang::En, Some(_)) => "as on the days before".to_owned(),
            (Lang::Zh, Some(_)) => "与前几天相当".to_owned(),
            (Lang::En, None) => "not enough history to compare with".to_owned(),
            (Lang::Zh, None) => "历史数据不足，无法比较".to_owned(),
        });
    }
    parts.join(if lang == Lang::En { "; " } else { "；" })
}

/// Returns what a note says.
#[must_use]
pub const fn note(note: Note, lang: Lang) -> &'static str {
    let words = lang.words();
    match note {
        Note::NoPreviousPeriod => words.no_previous,
        Note::NoPatterns => words.no_patterns,
        Note::NoDetectors => words.no_detectors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FullIn;

    #[test]
    fn numbers_have_no_more_digits_than_matter() {
        assert_eq!([0.0, 0.1234, 3.0, 12.6, 1_234_567.0].map(value), ["0", "0.123", "3", "13", "1,234,567"]);
        assert_eq!((measured(71.25, "%"), measured(1_234_567.0, "By/s")), ("71.2 %".into(), "1.2 MB/s".into()));
        let changes = [(5, None), (0, Some(0)), (5, Some(0)), (30, Some(10)), (5, Some(10)), (10, Some(10))];
        assert_eq!(changes.map(|(count, before)| change(count, before)), ["", "=", "+∞", "×3.0", "-50 %", "="]);
        assert_eq!(length(Duration::from_secs(7_500), Lang::En), "2 h 5 min");
    }

    #[test]
    fn a_disk_that_fills_is_said_in_plain_words() {
        let full = FullIn { likely: 9.1, earliest: 7.2, latest: 12.0 };
        let point = crate::types::Point { at: Timestamp::ZERO, value: 71.0 };
        let metric = MetricTrend {
            unit: "%".into(),
            last: 78.0,
            per_day: Some(2.4),
            full_in_days: Some(full),
            hourly: vec![point],
            ..MetricTrend::default()
        };
        let sentences = [Lang::En, Lang::Zh].map(|lang| metric_sentence(&metric, lang));
        assert_eq!(
            sentences,
            [
                "71.0 % → 78.0 %, growing by 2.4 % a day; full in about 9.1 days if it goes on (7.2 to 12)",
                "71.0 % → 78.0 %，每天增加 2.4 %；照此下去约 9.1 天后用满（7.2 至 12）"
            ]
        );
        assert_eq!(metric_sentence(&MetricTrend::default(), Lang::En), "not enough history to compare with");
    }
}
