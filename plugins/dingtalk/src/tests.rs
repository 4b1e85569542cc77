use proptest::prelude::*;
use serde_json::{Value, json};
use watchfire_plugin::testing::{ChannelTester, SentRequest, alert, notification, reply};
use watchfire_plugin::{Failure, code};

use super::*;

const TOKEN: &str = "abc/def+1";
const SECRET: &str = "SEC0123456789";
/// 2026-11-18 11:06:40 UTC.
const NOW: u64 = 1_795_000_000_000_000_000;

fn tester(config: Value) -> ChannelTester<DingTalk> {
    ChannelTester::new(config).secret("access_token", TOKEN).at(NOW)
}

fn taken(_: &SentRequest) -> Exchange {
    reply(200, r#"{"errcode":0,"errmsg":"ok"}"#)
}

fn firing() -> Notification {
    let mut cpu = alert("CPU high");
    cpu.starts_at = NOW;
    let mut disk = alert("Disk full");
    disk.starts_at = NOW;
    disk.level = 4;
    disk.title = "Disk of [db](http://evil) is *full*\n# now".to_owned();
    disk.links = vec![("runbook".to_owned(), "https://wiki.example/disk".to_owned())];
    let mut both = notification(vec![cpu, disk]);
    both.omitted = 3;
    both
}

fn rendered(config: &Value, told: &Notification) -> String {
    let config = serde_json::from_value(config.clone()).unwrap();
    let parts = render::parts(told, &config);
    assert_eq!(parts.len(), 1);
    serde_json::to_string_pretty(&parts[0]).unwrap()
}

#[test]
fn a_message_says_everything_and_nothing_in_it_is_markup() {
    insta::assert_snapshot!(rendered(&json!({"keyword": "alarm", "at_mobiles": ["13800000000"]}), &firing()), @r####"
    {
      "msgtype": "markdown",
      "markdown": {
        "title": "[FIRING:5] CPU high",
        "text": "### \\[FIRING:5\\] CPU high\n\n- **ERROR** CPU high is firing\n  CPU high has gone over its threshold\n  value 97.5, threshold 90, since 2026-11-18 11:06:40 UTC\n  host=web1\n- **CRITICAL** Disk of \\[db\\](http://evil) is \\*full\\* # now\n  Disk full has gone over its threshold\n  value 97.5, threshold 90, since 2026-11-18 11:06:40 UTC\n  host=web1\n  [runbook](https://wiki.example/disk)\n\nand 3 more\n\n[watchfire](https://watchfire.example/alerts)\n\nalarm\n\n@13800000000\n"
      },
      "at": {
        "atMobiles": [
          "13800000000"
        ],
        "atUserIds": [],
        "isAtAll": false
      }
    }
    "####);
}

#[test]
fn a_message_in_chinese() {
    insta::assert_snapshot!(rendered(&json!({"language": "zh", "at_all": true, "at_level": "CRITICAL"}), &firing()), @r####"
    {
      "msgtype": "markdown",
      "markdown": {
        "title": "[告警:5] CPU high",
        "text": "### \\[告警:5\\] CPU high\n\n- **错误** CPU high is firing\n  CPU high has gone over its threshold\n  当前值 97.5, 阈值 90, 开始于 2026-11-18 11:06:40 UTC\n  host=web1\n- **严重** Disk of \\[db\\](http://evil) is \\*full\\* # now\n  Disk full has gone over its threshold\n  当前值 97.5, 阈值 90, 开始于 2026-11-18 11:06:40 UTC\n  host=web1\n  [处理手册](https://wiki.example/disk)\n\n另有 3 条\n\n[查看详情](https://watchfire.example/alerts)\n"
      },
      "at": {
        "atMobiles": [],
        "atUserIds": [],
        "isAtAll": true
      }
    }
    "####);
}

#[test]
fn the_end_of_an_alert_mentions_nobody() {
    let mut over = firing();
    over.omitted = 0;
    over.superseded = 2;
    over.status = 1;
    over.first_queued_at = NOW;
    for alert in &mut over.alerts {
        alert.state = 1;
        alert.ends_at = Some(NOW + 90_000_000_000);
    }
    insta::assert_snapshot!(rendered(&json!({"at_mobiles": ["13800000000"]}), &over), @r####"
    {
      "msgtype": "markdown",
      "markdown": {
        "title": "[RESOLVED] CPU high",
        "text": "### \\[RESOLVED\\] CPU high\n\n> late: first to be sent at 2026-11-18 11:06:40 UTC\n\n- **RESOLVED** CPU high is firing\n  CPU high has gone over its threshold\n  value 97.5, threshold 90, was firing 2026-11-18 11:06:40 UTC .. 2026-11-18 11:08:10 UTC\n  host=web1\n- **RESOLVED** Disk of \\[db\\](http://evil) is \\*full\\* # now\n  Disk full has gone over its threshold\n  value 97.5, threshold 90, was firing 2026-11-18 11:06:40 UTC .. 2026-11-18 11:08:10 UTC\n  host=web1\n  [runbook](https://wiki.example/disk)\n\n[watchfire](https://watchfire.example/alerts)\n"
      }
    }
    "####);
}

#[test]
fn a_request_is_signed_at_the_time_of_the_attempt() {
    let signed = tester(json!({})).secret("sign_secret", SECRET);
    let sent = signed.deliver(&firing(), taken).unwrap();
    assert_eq!((sent.outcome.code, sent.requests.len()), (code::DELIVERED, 1));
    let message = format!("1795000000000\n{SECRET}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = render::percent_encoded(&STANDARD.encode(ring::hmac::sign(&key, message.as_bytes())));
    let expected =
        format!("https://oapi.dingtalk.com/robot/send?access_token=abc%2Fdef%2B1&timestamp=1795000000000&sign={signature}");
    assert_eq!(sent.requests[0].url, expected);
    assert_eq!(sent.requests[0].header("content-type"), Some("application/json; charset=utf-8"));
    let later = signed.at(NOW + 1_000_000_000).deliver(&firing(), taken).unwrap();
    assert_ne!(later.requests[0].url, expected);
}

#[test]
fn without_a_secret_nothing_is_signed() {
    let sent = tester(json!({"url": "https://ding.example.com/send?robot=1"})).deliver(&firing(), taken).unwrap();
    assert_eq!(sent.requests[0].url, "https://ding.example.com/send?robot=1&access_token=abc%2Fdef%2B1");
    insta::assert_snapshot!(tester(json!({})).self_test().unwrap(), @"its configuration is good, and requests are not signed, no sign_secret is given");
    let error = ChannelTester::<DingTalk>::new(json!({})).deliver(&firing(), taken).unwrap_err();
    insta::assert_snapshot!(error.message, @"secrets.access_token: it is required and not given");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_the_key() {
    let refused = |config: Value| tester(config).self_test().unwrap_err().message;
    insta::assert_snapshot!(refused(json!({"url": "oapi.dingtalk.com"})), @"url: `oapi.dingtalk.com` is no http or https URL");
    insta::assert_snapshot!(refused(json!({"url": "https://oapi.dingtalk.com/robot/send?access_token=x"})), @"url: the access token is a secret: give it under `secrets`, and here what stands before the `?`");
    insta::assert_snapshot!(refused(json!({"at_mobiles": ["138 0000"]})), @"at_mobiles: `138 0000` names nobody");
    insta::assert_snapshot!(refused(json!({"keyword": "x".repeat(65)})), @"keyword: it has more than 64 bytes");
}

/// A notification that needs several parts.
fn long() -> Notification {
    let mut alert = alert("CPU high");
    alert.body = "x".repeat(5_000);
    let alerts = (0..300).map(|number| {
        let mut one = alert.clone();
        one.labels = vec![("host".to_owned(), format!("web{number}"))];
        one
    });
    notification(alerts.collect())
}

#[test]
fn a_long_message_is_split_and_the_rest_is_counted() {
    let parts = render::parts(&long(), &Config::default());
    assert_eq!(parts.len(), 4);
    let texts: Vec<&str> = parts.iter().map(|part| part["markdown"]["text"].as_str().unwrap()).collect();
    assert!(texts.iter().all(|text| text.len() <= render::MAX_TEXT_BYTES));
    let told = texts.iter().map(|text| text.matches("host=").count()).sum::<usize>();
    assert!(texts[3].contains(&format!("and {} more", 300 - told)), "{}", texts[3]);
    assert!(texts[1].starts_with("### \\[FIRING:300\\] CPU high (2/4)"), "{}", texts[1]);
}

#[test]
fn a_retry_goes_on_behind_the_last_part_that_was_taken() {
    let (tester, told) = (tester(json!({})), long());
    let mut posted = Vec::new();
    let mut progress: Option<Vec<u8>> = None;
    // Every second post is refused: too fast.
    for attempt in 0..10 {
        let mut count = 0;
        let delivered = tester
            .resume(&told, progress.as_deref(), |request| {
                count += 1;
                if count == 2 {
                    return reply(200, r#"{"errcode":130101,"errmsg":"send too fast"}"#);
                }
                posted.push(request.json()["markdown"]["title"].as_str().unwrap().to_owned());
                taken(request)
            })
            .unwrap();
        progress = delivered.progress;
        if delivered.outcome.code == code::DELIVERED {
            assert_eq!((attempt, delivered.outcome.message.as_str()), (3, "4 parts"));
            break;
        }
        assert_eq!((delivered.outcome.code, delivered.outcome.retry_after_ms), (code::RETRY, Some(60_000)));
    }
    let expected: Vec<String> = (1..=4).map(|part| format!("[FIRING:300] CPU high ({part}/4)")).collect();
    assert_eq!(posted, expected);
}

#[test]
fn an_answer_says_what_follows() {
    let followed = |exchange: Exchange| {
        let outcome = tester(json!({})).deliver(&firing(), |_| exchange.clone()).unwrap().outcome;
        let name = ["delivered", "retry", "never", "credentials", "too large", "misconfigured"][usize::from(outcome.code)];
        let wait = outcome.retry_after_ms.map(|wait| format!(" after {} s", wait / 1000)).unwrap_or_default();
        format!("{name}{wait}: {}", outcome.message)
    };
    let error = |code: i64, text: &str| followed(reply(200, json!({"errcode": code, "errmsg": text}).to_string()));
    let answers = [
        error(0, "ok"),
        error(-1, "系统繁忙"),
        error(130_101, "send too fast, exceed 20 times per minute"),
        error(410_100, "send too fast"),
        error(310_000, "sign not match, more: [https://ding-doc.dingtalk.com]"),
        error(310_000, "keywords not in content"),
        error(310_000, "ip 1.2.3.4 not in whitelist"),
        error(300_001, "token is not exist"),
        error(400_102, "robot disabled"),
        error(430_101, "unsafe outer link"),
        followed(reply(429, "")),
        followed(reply(503, "busy")),
        followed(reply(404, "")),
        followed(reply(302, "")),
        followed(reply(200, "<html>log in</html>")),
        followed(Err(Failure::new(Failure::TIMEOUT, "no answer in time"))),
        followed(Err(Failure::new(Failure::REFUSED, "it may not reach that"))),
    ];
    insta::assert_snapshot!(answers.join("\n"), @"
    delivered: 
    retry: errcode -1: 系统繁忙
    retry after 60 s: errcode 130101: send too fast, exceed 20 times per minute
    retry after 60 s: errcode 410100: send too fast
    credentials: errcode 310000: sign not match, more: [https://ding-doc.dingtalk.com] (is sign_secret the robot's, and the clock right?)
    misconfigured: errcode 310000: keywords not in content (set keyword to one of the robot's)
    misconfigured: errcode 310000: ip 1.2.3.4 not in whitelist (the robot takes messages from certain addresses only)
    credentials: errcode 300001: token is not exist
    credentials: errcode 400102: robot disabled
    never: errcode 430101: unsafe outer link
    retry after 60 s: status 429: 
    retry: status 503: busy
    never: status 404: 
    never: status 302: 
    retry: the answer is not one of DingTalk's
    retry: no answer in time
    misconfigured: it may not reach that
    ");
}

proptest! {
    #[test]
    fn no_text_is_too_long_and_every_split_is_the_same(sizes in prop::collection::vec(0_usize..4_000, 0..60), title in "\\PC{0,300}") {
        let alerts = sizes.iter().map(|size| {
            let mut one = alert(&title);
            one.body = "漢*".repeat(*size);
            one.labels = vec![("host".to_owned(), "[".repeat(*size))];
            one
        });
        let told = notification(alerts.collect());
        let config: Config = serde_json::from_value(json!({
            "at_mobiles": vec!["1".repeat(64); 50], "at_all": true, "keyword": "k".repeat(64), "language": "zh", "at_level": "INFO",
        })).unwrap();
        let parts = render::parts(&told, &config);
        prop_assert!((1..=4).contains(&parts.len()));
        for part in &parts {
            let text = part["markdown"]["text"].as_str().unwrap();
            prop_assert!(text.len() <= render::MAX_TEXT_BYTES, "{} bytes", text.len());
        }
        prop_assert_eq!(parts, render::parts(&told, &config));
    }
}
