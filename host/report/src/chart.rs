//! Charts as inline SVG: no script, colours by class, readable without colour.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::html::escape;
use crate::sentences::{moment, number, short_moment};
use crate::types::{Bin, Point};
use crate::words::Words;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
/// Room for the numbers on the left, and for the times below.
const LEFT: f64 = 56.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 8.0;

/// Returns bars of records over time, errors at the bottom, where they are compared most easily.
#[must_use]
pub fn volume(bins: &[Bin], words: &Words, zone: &TimeZone) -> String {
    let total = |bin: &Bin| bin.errors + bin.warnings + bin.others;
    let most = bins.iter().map(total).max().unwrap_or(0);
    let Some(first) = bins.first().filter(|_| most > 0) else { return String::new() };
    let top = round_up(most);
    let (width, height) = (WIDTH - LEFT, HEIGHT - BELOW - ABOVE);
    let step = width / bins.len() as f64;
    let y = |count: u64| ABOVE + height - count as f64 / top as f64 * height;
    let mut svg =
        format!(r#"<svg class="volume" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#, escape(words.volume_chart));
    for part in 0..=4_u64 {
        let count = top * part / 4;
        let line = y(count);
        // Writing to a `String` cannot fail.
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{line:.1}" y2="{line:.1}"/><text x="{:.0}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            line + 4.0,
            short(count)
        );
    }
    for (place, bin) in bins.iter().enumerate() {
        let x = LEFT + place as f64 * step;
        let mut base = 0;
        let _ = write!(
            svg,
            "<g><title>{}: {} {}, {} {}, {} {}</title>",
            moment(bin.start, zone),
            number(total(bin)),
            escape(words.records),
            number(bin.errors),
            escape(words.errors),
            number(bin.warnings),
            escape(words.warnings)
        );
        for (class, count) in [("errors", bin.errors), ("warnings", bin.warnings), ("others", bin.others)] {
            if count > 0 {
                let (from, to) = (y(base), y(base + count));
                // What is there is seen, be it one of a million.
                let tall = (from - to).max(1.0);
                let _ = write!(
                    svg,
                    r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="{:.1}" height="{tall:.1}"/>"#,
                    from - tall,
                    (step - 1.0).max(1.0)
                );
            }
            base += count;
        }
        svg.push_str("</g>");
    }
    let marks = 6.min(bins.len());
    for mark in 0..marks {
        let place = mark * bins.len() / marks;
        let near = if mark == 0 { watchfire_types::Timestamp::ZERO } else { first.start };
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.0}">{}</text>"#,
            LEFT + place as f64 * step,
            HEIGHT - 6.0,
            short_moment(bins[place].start, near, zone)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Returns a small line of values; the part before `since`, in seconds, is drawn fainter.
#[must_use]
pub fn sparkline(points: &[Point], since: f64) -> String {
    const WIDE: f64 = 180.0;
    const TALL: f64 = 36.0;
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (start, end) = (first.at.as_seconds_f64(), last.at.as_seconds_f64());
    let least = points.iter().map(|point| point.value).fold(f64::MAX, f64::min);
    let most = points.iter().map(|point| point.value).fold(f64::MIN, f64::max);
    // A flat line stays flat: noise of a thousandth is not blown up.
    let reach = (most - least).max(most.abs() * 0.02).max(1e-9);
    let place = |point: &Point| {
        let x = (point.at.as_seconds_f64() - start) / (end - start).max(1.0) * (WIDE - 4.0) + 2.0;
        let y = TALL - 3.0 - (point.value - least) / reach * (TALL - 6.0);
        format!("{x:.1},{y:.1}")
    };
    let split = points.iter().position(|point| point.at.as_seconds_f64() >= since).unwrap_or(points.len());
    let line = |class: &str, part: &[Point]| {
        let places: Vec<String> = part.iter().map(place).collect();
        if places.len() > 1 { format!(r#"<polyline class="{class}" points="{}"/>"#, places.join(" ")) } else { String::new() }
    };
    format!(
        r#"<svg class="spark" viewBox="0 0 {WIDE} {TALL}" aria-hidden="true">{}{}</svg>"#,
        line("past", &points[..(split + 1).min(points.len())]),
        line("present", &points[split.min(points.len())..])
    )
}

/// Returns the next number of one digit and zeros, or of 1.2, 1.5 or 2.5.
fn round_up(count: u64) -> u64 {
    let scale = 10_u64.pow(count.max(1).ilog10());
    let steps = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100];
    steps.into_iter().map(|step| step * scale / 10).find(|step| *step >= count).unwrap_or(count).max(4)
}

/// Returns `12500` as `12.5 k`.
fn short(count: u64) -> String {
    let scale = [("G", 1e9), ("M", 1e6), ("k", 1e3)];
    let Some((unit, size)) = scale.into_iter().find(|(_, size)| count as f64 >= *size) else { return count.to_string() };
    let text = format!("{:.1}", count as f64 / size);
    format!("{} {unit}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([1, 7, 11, 101, 990, 12_345].map(round_up), [4, 8, 12, 120, 1_000, 15_000]);
        assert_eq!([999, 1_000, 12_500, 3_000_000].map(short), ["999", "1 k", "12.5 k", "3 M"]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(volume(&[], crate::Lang::En.words(), &TimeZone::UTC), "");
        assert_eq!(sparkline(&[], 0.0), "");
    }
}
