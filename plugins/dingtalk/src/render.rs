//! What a message looks like, and what DingTalk's answers mean. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use watchfire_plugin::{Alert, Exchange, Notification, Outcome};

use crate::config::{Config, Language};

/// Most bytes of a message's text.
#[cfg(test)]
pub(crate) const MAX_TEXT_BYTES: usize = 20_000;
/// Most bytes of the alerts in one part: the rest is for what stands around them.
const MAX_ALERTS_BYTES: usize = 14_000;
/// Most parts of one notification: a group chat is no place for more.
const MAX_PARTS: usize = 4;
/// Most bytes of one alert, and of single pieces of text.
const MAX_ALERT_BYTES: usize = 2_000;
const MAX_TITLE_BYTES: usize = 300;
const MAX_LINK_BYTES: usize = 500;
/// How long a robot that posted too often has to wait.
const TOO_FAST: Duration = Duration::from_secs(60);

/// What the plugin itself says, in one language.
struct Words {
    firing: &'static str,
    resolved: &'static str,
    test: &'static str,
    levels: [&'static str; 5],
    value: &'static str,
    threshold: &'static str,
    since: &'static str,
    lasted: &'static str,
    delayed: &'static str,
    details: &'static str,
    runbook: &'static str,
}

const ENGLISH: Words = Words {
    firing: "FIRING",
    resolved: "RESOLVED",
    test: "TEST",
    levels: ["", "INFO", "WARNING", "ERROR", "CRITICAL"],
    value: "value",
    threshold: "threshold",
    since: "since",
    lasted: "was firing",
    delayed: "late: first to be sent at",
    details: "watchfire",
    runbook: "runbook",
};

const CHINESE: Words = Words {
    firing: "告警",
    resolved: "已恢复",
    test: "测试",
    levels: ["", "提示", "警告", "错误", "严重"],
    value: "当前值",
    threshold: "阈值",
    since: "开始于",
    lasted: "持续时间",
    delayed: "延迟送达，首次发送时间",
    details: "查看详情",
    runbook: "处理手册",
};

fn words(language: Language) -> &'static Words {
    match language {
        Language::En => &ENGLISH,
        Language::Zh => &CHINESE,
    }
}

/// Returns the bodies of the requests that tell `notification`, in order. The same for every attempt, or a part might be left out.
pub(crate) fn parts(notification: &Notification, config: &Config) -> Vec<Value> {
    let words = words(config.language);
    let heading = heading(notification, words);
    let mut texts: Vec<String> = vec![String::new()];
    let mut told = 0;
    for alert in &notification.alerts {
        let block = block(alert, words);
        let last = texts.len() - 1;
        if texts[last].len() + block.len() > MAX_ALERTS_BYTES {
            if texts.len() == MAX_PARTS {
                break;
            }
            texts.push(String::new());
        }
        texts.last_mut().expect("it begins with one").push_str(&block);
        told += 1;
    }
    let more = notification.alerts.len() - told + notification.omitted as usize;
    let count = texts.len();
    let mentions = mentions(notification, config);
    let body = |(index, alerts): (usize, String)| {
        let (first, last) = (index == 0, index + 1 == count);
        let title = if count > 1 { format!("{heading} ({}/{count})", index + 1) } else { heading.clone() };
        let mut text = format!("### {}\n\n", plain(&title));
        if first && let Some(late) = late(notification, words) {
            let _ = write!(text, "> {late}\n\n");
        }
        text.push_str(&alerts);
        if last && more > 0 {
            let said = match config.language {
                Language::En => format!("and {more} more"),
                Language::Zh => format!("另有 {more} 条"),
            };
            let _ = write!(text, "\n{said}\n");
        }
        if let Some(link) = notification.link("group").filter(|link| last && is_link(link)) {
            let _ = write!(text, "\n[{}]({link})\n", words.details);
        }
        if !config.keyword.is_empty() {
            let _ = write!(text, "\n{}\n", plain(&config.keyword));
        }
        let mut message = json!({"msgtype": "markdown", "markdown": {"title": title, "text": text}});
        // Once is enough.
        if first && mentions {
            let at: Vec<String> = config.at_mobiles.iter().chain(&config.at_user_ids).map(|name| format!("@{name}")).collect();
            if !at.is_empty() {
                message["markdown"]["text"] = format!("{text}\n{}\n", at.join(" ")).into();
            }
            message["at"] = json!({"atMobiles": config.at_mobiles, "atUserIds": config.at_user_ids, "isAtAll": config.at_all});
        }
        message
    };
    texts.into_iter().enumerate().map(body).collect()
}

/// Returns whether anybody is mentioned: never for what is over.
fn mentions(notification: &Notification, config: &Config) -> bool {
    let whom = config.at_all || !config.at_mobiles.is_empty() || !config.at_user_ids.is_empty();
    let serious = |alert: &Alert| !alert.is_resolved() && alert.level >= config.at_level as u8;
    whom && !notification.is_resolved() && notification.alerts.iter().any(serious)
}

/// Returns the first line: `[FIRING:2] CPU high`.
fn heading(notification: &Notification, words: &Words) -> String {
    let name = notification.group_labels.iter().find(|(name, _)| name == "alertname").map(|(_, value)| value.as_str());
    let name = cut(&one_line(name.unwrap_or("watchfire")), MAX_TITLE_BYTES);
    let firing = notification.alerts.iter().filter(|alert| !alert.is_resolved()).count() + notification.omitted as usize;
    match (notification.reason.as_str(), notification.is_resolved()) {
        ("test", _) => format!("[{}] {name}", words.test),
        (_, true) => format!("[{}] {name}", words.resolved),
        (_, false) => format!("[{}:{firing}] {name}", words.firing),
    }
}

/// Returns what is to be said of a notification that stands for earlier ones which did not arrive.
fn late(notification: &Notification, words: &Words) -> Option<String> {
    (notification.superseded > 0).then(|| format!("{} {}", words.delayed, time(notification.first_queued_at)))
}

/// Returns one alert: what it says, and below that what tells it apart.
fn block(alert: &Alert, words: &Words) -> String {
    let level = words.levels.get(usize::from(alert.level)).copied().unwrap_or_default();
    let what = if alert.is_resolved() { words.resolved } else { level };
    let mut text = format!("- **{what}** {}", plain(&cut(&one_line(&alert.title), MAX_TITLE_BYTES)));
    if alert.body != alert.title && !alert.body.is_empty() {
        let _ = write!(text, "\n  {}", plain(&cut(&one_line(&alert.body), MAX_TITLE_BYTES)));
    }
    let mut facts = Vec::new();
    if let Some(value) = alert.value {
        facts.push(format!("{} {}", words.value, number(value)));
        facts.extend(alert.threshold.map(|threshold| format!("{} {}", words.threshold, number(threshold))));
    }
    facts.push(match alert.ends_at {
        Some(end) => format!("{} {} .. {}", words.lasted, time(alert.starts_at), time(end)),
        None => format!("{} {}", words.since, time(alert.starts_at)),
    });
    let _ = write!(text, "\n  {}", facts.join(", "));
    let labels = alert.labels.iter().filter(|(name, _)| name != "alertname");
    let labels: Vec<String> = labels.map(|(name, value)| format!("{}={}", one_line(name), one_line(value))).collect();
    if !labels.is_empty() {
        let _ = write!(text, "\n  {}", plain(&cut(&labels.join(" "), MAX_TITLE_BYTES)));
    }
    if let Some(link) = alert.link("runbook").filter(|link| is_link(link)) {
        let _ = write!(text, "\n  [{}]({link})", words.runbook);
    }
    text = cut(&text, MAX_ALERT_BYTES);
    text.push('\n');
    text
}

/// Returns whether `text` can stand as a link without ending it.
fn is_link(text: &str) -> bool {
    let is_http = text.starts_with("https://") || text.starts_with("http://");
    is_http
        && text.len() <= MAX_LINK_BYTES
        && !text.contains(['(', ')', '<', '>', '"', '\\'])
        && !text.contains(char::is_whitespace)
}

/// Returns text from outside so that it means nothing in Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*[]<>".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

fn one_line(text: &str) -> String {
    text.split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the beginning of `text` in at most `limit` bytes.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit - '…'.len_utf8())])
}

/// Returns `value` with at most three digits behind the point.
fn number(value: f64) -> String {
    if value.abs() >= 1e15 {
        return value.to_string();
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns a time in UTC: `2026-11-18 11:06:40 UTC`.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn time(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// Encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Returns what became of a message that was not taken; `None` if it was. DingTalk answers 200 to nearly everything and says more in
/// the body.
pub(crate) fn problem(exchange: &Exchange) -> Option<Outcome> {
    let Ok(reply) = exchange else { return Some(Outcome::from_http(exchange)) };
    if reply.status == 429 {
        return Some(Outcome::from_http(exchange).retry_after(reply.retry_after().unwrap_or(TOO_FAST)));
    }
    if reply.status >= 500 {
        return Some(Outcome::from_http(exchange));
    }
    let answer = reply.json();
    let Some(code) = answer["errcode"].as_i64() else {
        let outcome = Outcome::from_http(exchange);
        // Whoever answered, perhaps a proxy on the way, it was not DingTalk.
        return Some(if reply.is_success() { Outcome::retry("the answer is not one of DingTalk's") } else { outcome });
    };
    let text = answer["errmsg"].as_str().unwrap_or_default();
    let message = cut(&one_line(&format!("errcode {code}: {text}")), MAX_TITLE_BYTES);
    Some(match code {
        0 => return None,
        -1 => Outcome::retry(message),
        130_101 | 130_103 | 410_100 => Outcome::retry(message).retry_after(TOO_FAST),
        310_000 => security(text, &message),
        // No such token, none given, the robot or its group is gone.
        300_001 | 300_005 | 400_001 | 400_101 | 400_102 | 400_013 => Outcome::credentials(message),
        _ => Outcome::never(message),
    })
}

/// Returns what follows when a message does not pass the robot's security settings, of which the text alone says which.
fn security(text: &str, message: &str) -> Outcome {
    let text = text.to_lowercase();
    if text.contains("sign") || text.contains("timestamp") || text.contains("签名") {
        return Outcome::credentials(format!("{message} (is sign_secret the robot's, and the clock right?)"));
    }
    if text.contains("ip") || text.contains("白名单") {
        return Outcome::misconfigured(format!("{message} (the robot takes messages from certain addresses only)"));
    }
    Outcome::misconfigured(format!("{message} (set keyword to one of the robot's)"))
}
