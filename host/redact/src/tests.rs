//! For every rule what it finds, and what looks like it and is something else.

use std::collections::BTreeMap;

use proptest::prelude::*;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Value, ValueRef};

use crate::{Action, Custom, Redactor, Rule, Settings};

/// Returns a redactor in which only `rules` are on.
fn only(rules: &[Rule], action: Action) -> Redactor {
    let set = |rule: Rule| (rule, if rules.contains(&rule) { action } else { Action::Off });
    Redactor::new(Settings { rules: Rule::ALL.map(set).into(), key: [7; 32], ..Settings::default() }).unwrap()
}

/// Checks texts in which `«…»` stands around what `rule` must find, and nothing else.
#[track_caller]
fn check(rule: Rule, texts: &[&str]) {
    let redactor = only(&[rule], Action::Mask);
    let mut wrong = Vec::new();
    for text in texts {
        let marker = format!("[redacted:{}]", rule.name());
        let mut expected = String::new();
        for part in text.split('«') {
            match part.split_once('»') {
                Some((_, rest)) => expected.extend([&marker, rest]),
                None => expected.push_str(part),
            }
        }
        let plain = text.replace(['«', '»'], "");
        let found = redactor.redact_text(&plain).into_owned();
        if found != expected {
            wrong.push(format!("{plain}\n  became   {found}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn values_of_secret_keys() {
    check(
        Rule::Secret,
        &[
            "login failed password=«hunter2» user=bob",
            "password=«x»",
            "db.password: «hunter2»",
            "PASSWORD = «hunter2»",
            r#"{"user":"bob","password":"«hunter2»","n":1}"#,
            r#"{"password":"«with \" quote»"}"#,
            r#"msg="{\"password\":\"«hunter2»\"}" level=info"#,
            "GET /login?user=bob&password=«hunter2»&x=1 HTTP/1.1",
            "https://example.com/cb?access_token=«abc123»&state=7",
            "api_key: «9f8e7d6c5b4a»",
            "x-api-key: «9f8e7d6c5b4a», accept: */*",
            "apiKey='«9f8e»' secretKey=`«x»`",
            "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",
            "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«abcd+/12==»;EndpointSuffix=core.windows.net",
            "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=«abc=»",
            ":password => '«hunter2»'",
            "user[password]=«hunter2»",
            "run --password=«hunter2» --verbose",
            "DB_PASS=«s3cret» ok",
            "client_secret=«a»",
            "refresh_token=«1//0abc»",
            "Cookie: «a=b; c=d»",
            "JSESSIONID=«0123456789ABCDEF»; Path=/",
            "{\"token\": \"«abc»\"}",
            "token: «0123456789abcdef0123»",
            "пароль password=«секрет» дальше",
            // Near misses.
            "Failed password for root from 10.0.0.1 port 22 ssh2",
            "password= next",
            "password=",
            "password=null secret=None token=true",
            "password=******** ",
            "password_reset=true token_count=15 max_tokens=4096",
            "Invalid token: expired",
            "secret: not found",
            "tests: pass=5 fail=3",
            "the passenger: John",
            "PWD=/root OLDPWD=/home",
            "next_page_token=abc123",
            "cache miss for key product:5: image:3",
            "foreign_key: users.id",
            "std::token::Token::new",
            "if password == expected",
            "author=Bob authority=x",
            "\"password\": {\"min\": 8}",
            "the secret is out",
        ],
    );
}

#[test]
fn credentials_of_authorization() {
    check(
        Rule::Authorization,
        &[
            "Authorization: Bearer «abcdef0123456789»",
            "authorization: bearer «eyJabcdefghijkl.mnop12.qrst»",
            "Authorization: Basic «YWxhZGRpbjpvcGVuc2VzYW1l» ok",
            r#"{"Authorization":"Bearer «abc123def456»"}"#,
            "got Bearer «0123456789abcdefABCDEF» from client",
            "Proxy-Authorization: Basic «YTpi»",
            "Authorization: Digest «username=\"Mufasa\", realm=\"x\", response=\"6629fae\"»",
            "Authorization=«0123456789abcdef»",
            "Bearer token is missing",
            "Bearer authentication failed",
            "Basic authentication required",
            "Basic information: name",
            "bearers 0123456789abcdef",
            "Authorization: missing",
            "authorization failed for user bob",
        ],
    );
}

#[test]
fn passwords_in_urls() {
    check(
        Rule::UrlPassword,
        &[
            "connecting to postgres://app:«hunter2»@db:5432/shop",
            "redis://:«hunter2»@cache:6379",
            "https://user:«p@ss:word»@example.com/path?x=1",
            "{\"url\":\"amqp://guest:«guest»@mq/\"}",
            "https://user@example.com/",
            "https://example.com:8080/a:b@c",
            "https://example.com/",
            "mailto://a@b",
            "://a:b@c",
            "http://user:@host",
        ],
    );
}

#[test]
fn private_keys() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    check(
        Rule::PrivateKey,
        &[
            &format!("-----BEGIN PRIVATE KEY-----«\n{body}\n{body}\n»-----END PRIVATE KEY-----\nafter"),
            &format!("key: -----BEGIN RSA PRIVATE KEY-----«\\n{body}\\n»-----END RSA PRIVATE KEY----- x"),
            &format!("{{\"key\":\"-----BEGIN EC PRIVATE KEY-----«\\n{body}»\"}}"),
            &format!("-----BEGIN OPENSSH PRIVATE KEY-----«\n{body}»"),
            &format!(
                "-----BEGIN RSA PRIVATE KEY-----«\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n{body}\n»-----END RSA PRIVATE KEY-----"
            ),
            &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"),
            &format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"),
            "-----BEGIN PRIVATE KEY----- is what it begins with",
            "-----BEGIN ",
        ],
    );
}

#[test]
fn keys_of_clouds_and_services() {
    let letters = |count: usize| "aB3dE5gH7jK9mN1pQ".chars().cycle().take(count).collect::<String>();
    check(
        Rule::CloudKey,
        &[
            "id «AKIAIOSFODNN7EXAMPLE» used",
            "«ASIAIOSFODNN7EXAMPLE»",
            &format!("«AIza{}»", letters(35)),
            &format!("«ghp_{}» «ghs_{}»", letters(36), letters(36)),
            &format!("«github_pat_{}_{}»", letters(22), letters(59)),
            &format!("«glpat-{}»", letters(20)),
            "«xoxb-123456789012-abcdefABCDEF»",
            &format!("«sk_live_{}» «rk_test_{}»", letters(24), letters(24)),
            &format!("key «sk-proj-{}»", letters(40)),
            &format!("«npm_{}»", letters(36)),
            &format!("«pypi-{}»", letters(80)),
            &format!("«SG.{}.{}»", letters(22), letters(43)),
            &format!("«LTAI{}» «AKID{}»", letters(20), letters(32)),
            &format!("https://x.blob.core.windows.net/c?sv=2020&sig=«{}%3D»&se=1", letters(43)),
            "AKIAIOSFODNN7EXAMPLEX",
            "XAKIAIOSFODNN7EXAMPLE",
            "AKIA is a prefix",
            "ghp_short",
            "disk-usage-report-for-the-last-week",
            "sk-learn-is-a-library-for-learning",
            "risk-assessment-0123456789abcdef",
            "sig=short",
            "npm_config_registry=https://registry.npmjs.org",
        ],
    );
}

#[test]
fn json_web_tokens() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    check(
        Rule::Jwt,
        &[
            &format!("token «{token}» ok"),
            "«eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.» unsigned",
            "eyJhbGciOiJIUzI1NiJ9 alone",
            "eyJ.eyJ.x",
            "greyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        ],
    );
}

#[test]
fn cards() {
    check(
        Rule::Card,
        &[
            "paid with «4111111111111111».",
            "«4111 1111 1111 1111» and «4111-1111-1111-1111»",
            "«5555555555554444» «2223003122003222» «6011111111111117» «3530111333300000» «6240008631401148»",
            "«378282246310005» «3782 822463 10005» «30569309025904»",
            r#"{"card":"«4111111111111111»"}"#,
            "card:«4111111111111111»,",
            "4111111111111112",
            "1234567890123456",
            "41111111111111111111",
            "0000000000000000 4444444444444444",
            "a4111111111111111 4111111111111111b x_4111111111111111",
            "0.4111111111111111 4111111111111111.5",
            "1795392600123456789",
            "12 «4111 1111 1111 1111» 2222",
            "4111  1111  1111  1111",
            "550e8400-e29b-4111-1111-446655440000",
            "2026-11-22 10:00:00 4111",
        ],
    );
}

#[test]
fn bank_accounts() {
    check(
        Rule::Iban,
        &[
            "IBAN «DE89370400440532013000» ok",
            "«DE89 3704 0044 0532 0130 00» and «GB29NWBK60161331926819»",
            "«NL91ABNA0417164300» «FR1420041010050500013M02606» «NO9386011117947»",
            "«GB29 NWBK 6016 1331 9268 19».",
            "DE89370400440532013001",
            "DE893704004405320130",
            "XX89370400440532013000",
            "SHA256 DE89370400440532013000AB",
        ],
    );
}

#[test]
fn identities_of_people() {
    check(
        Rule::Ssn,
        &[
            "ssn «123-45-6789»,",
            "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
            "1123-45-6789 123-45-67890 123-45-6789-1 x-123-45-6789",
            "123.45.6789 2026-11-2210",
        ],
    );
    check(
        Rule::CnId,
        &[
            "身份证 «11010519491231002X» 已验证",
            "«440524188001010014»",
            "110105194912310021 440524188013010014 990524188001010014",
            "1101051949123100XX x11010519491231002X",
        ],
    );
    check(
        Rule::CnMobile,
        &["手机 «13812345678»。", "+86«13812345678» +86 «13812345678»", "23812345678 12812345678 138123456789", "1381234567"],
    );
    check(Rule::Imei, &["imei=«490154203237518»", "490154203237519"]);
}

#[test]
fn addresses() {
    check(
        Rule::Email,
        &[
            "from «bob.smith+tag@mail.example.co.uk», to <«a@b.io»>.",
            "mailto:«x_y@example.com»",
            "bob@localhost git@host: @user a@b.c @",
            "a@.com user@host..com",
        ],
    );
    check(
        Rule::Ip,
        &[
            "from «10.0.0.1»:443 to «192.168.1.255».",
            "[«2001:db8::1»]:443 and «fe80::1ff:fe23:4567:890a» or «::1»?",
            "peer=«::ffff:10.0.0.1»",
            "1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 1.2.3.4-rc1 01.2.3.4",
            "12:34:56 a::b dead::beef std::vec",
        ],
    );
    check(Rule::Mac, &["eth0 «00:1a:2b:3c:4d:5e» «00-1A-2B-3C-4D-5E»", "00:1a:2b:3c:4d 00:1a:2b:3c:4d:5e:6f 12:34:56"]);
    check(
        Rule::Uuid,
        &["id «550e8400-e29b-41d4-a716-446655440000»", "550e8400-e29b-41d4-a716-44665544000 x550e8400-e29b-41d4-a716-446655440000"],
    );
    check(
        Rule::UserPath,
        &[
            "open /home/«bob»/file",
            "/Users/«Bob.Smith»/x C:\\Users\\«bob»\\x \"C:\\\\Users\\\\«bob»\\\\x\"",
            "/home/ /Users/Shared/x /var/home",
        ],
    );
}

fn batch() -> LogBatch {
    let mut batch = LogBatch::default();
    let resource = batch.resource(vec![
        ("service.name".into(), "shop".into()),
        ("db.password".into(), "hunter2".into()),
        ("url".into(), "redis://:hunter2@cache".into()),
    ]);
    let head = RecordHead { resource, ..RecordHead::default() };
    batch.push(&head, ValueRef::Text("nothing here"));
    batch.attribute("password", ValueRef::Text("hunter2"));
    batch.attribute("note", ValueRef::Text("token=abc"));
    batch.attribute("pin_password", ValueRef::Int(1234));
    batch.attribute("has_password", ValueRef::Bool(true));
    batch.push(&head, ValueRef::Json(r#"{"card":4111111111111111,"password":[1],"api_key":"x","password":12}"#));
    batch.attribute("card", ValueRef::Int(4_111_111_111_111_111));
    batch.attribute("secret", ValueRef::Json(r#"{"a":1}"#));
    batch.attribute("raw", ValueRef::Bytes(b"\xff password=x"));
    batch.push(&head, ValueRef::Int(4_111_111_111_111_111));
    batch
}

#[test]
fn every_part_of_a_record_is_looked_at() {
    let mut batch = batch();
    let counts = Redactor::new(Settings::default()).unwrap().redact(&mut batch);
    let masked = |rule: &str| Value::Text(format!("[redacted:{rule}]"));
    assert_eq!(batch.record(0).body.as_text(), Some("nothing here"));
    assert_eq!(
        batch.record(0).attributes,
        [
            ("password".into(), masked("secret")),
            ("note".into(), "token=[redacted:secret]".into()),
            ("pin_password".into(), masked("secret")),
            ("has_password".into(), Value::Bool(true)),
        ]
    );
    assert_eq!(
        batch.record(1).body,
        Value::Json(
            r#"{"card":"[redacted:card]","password":[1],"api_key":"[redacted:secret]","password":"[redacted:secret]"}"#.into()
        )
    );
    assert_eq!(
        batch.record(1).attributes,
        [
            ("card".into(), masked("card")),
            ("secret".into(), masked("secret")),
            ("raw".into(), Value::Bytes(b"\xff password=[redacted:secret]".to_vec())),
        ]
    );
    assert_eq!(batch.record(2).body, masked("card"));
    assert_eq!(
        batch.record(2).resource,
        [
            ("service.name".into(), "shop".into()),
            ("db.password".into(), masked("secret")),
            ("url".into(), "redis://:[redacted:url_password]@cache".into()),
        ]
    );
    let counts: BTreeMap<_, _> = counts.iter().collect();
    assert_eq!(counts, BTreeMap::from([("card", 3), ("secret", 8), ("url_password", 1)]));
}

#[test]
fn fields_may_be_excepted_and_rules_switched_off() {
    let mut batch = batch();
    let before = batch.clone();
    let except = ["body", "password", "note", "pin_password", "card", "secret", "raw", "db.password", "url"].map(str::to_owned);
    let counts = Redactor::new(Settings { except: except.into(), ..Settings::default() }).unwrap().redact(&mut batch);
    assert_eq!((counts.total(), &batch), (0, &before));
    let off = only(&[], Action::Mask);
    assert!(!off.is_on());
    assert_eq!((off.redact(&mut batch).total(), &batch), (0, &before));
}

#[test]
fn hashes_keep_records_comparable_and_removal_leaves_nothing() {
    let hash = only(&[Rule::Email], Action::Hash);
    let (one, two) = (hash.redact_text("a@b.io said"), hash.redact_text("to a@b.io"));
    assert_eq!(one.split(' ').next(), two.split(' ').nth(1));
    assert!(one.starts_with("[email:") && one.len() == "[email:] said".len() + 16, "{one}");
    let remove = only(&[Rule::Email, Rule::Secret], Action::Remove);
    assert_eq!(remove.redact_text("<a@b.io> password=x user=y {\"password\":\"x\"}"), "<> password=- user=y {\"password\":\"\"}");
}

#[test]
fn rules_of_the_users_own_see_what_the_others_left() {
    let custom = |name: &str, pattern: &str, action| Custom { name: name.into(), pattern: pattern.into(), action };
    let custom = vec![
        custom("order", r"order (?P<secret>\d+)", Action::Hash),
        custom("redacted", "redacted|secret", Action::Mask),
        custom("start", "^x", Action::Remove),
    ];
    let redactor = Redactor::new(Settings { custom, key: [1; 32], ..Settings::default() }).unwrap();
    let text = redactor.redact_text("xx order 77 password=hunter2 redacted");
    assert!(text.starts_with("x order [order:") && text.ends_with("] password=[redacted:secret] [redacted:redacted]"), "{text}");
    let mut batch = batch();
    redactor.redact(&mut batch);
}

#[test]
fn wrong_rules_are_told() {
    let error = |name: &str, pattern: &str| {
        let custom = vec![Custom { name: name.into(), pattern: pattern.into(), action: Action::Mask }];
        Redactor::new(Settings { custom, ..Settings::default() }).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error("a b", "x").contains("custom[0].name"));
    assert!(error("email", "x").contains("already"));
    assert!(error("a", "(").contains("custom[0].pattern"));
    assert!(error("a", "x*").contains("empty text"));
    assert!(error("a", r"(?-u:\xff)").contains("custom[0].pattern"));
    assert_eq!("nothing".parse::<Rule>().unwrap_err().to_string().matches('`').count(), 2 * 17 + 2);
}

/// Text that is full of what rules look for, whole and broken.
fn text() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        "[a-zA-Z_.-]{0,6}(password|api_key|token|Authorization|cookie|pwd)[\"'\\]]{0,2} ?[=:]{1,2}>? ?[\"'\\\\]{0,2}[a-z0-9\\[\\]{}&,;*é-]{0,12}[\"']?",
        "(Bearer|Basic|bearer) [A-Za-z0-9+/=._-]{0,24}",
        "[a-z]{0,5}://[a-z0-9:@./-]{0,20}",
        "-----BEGIN (RSA )?PRIVATE KEY-----[\nA-Za-z\\\\\"]{0,40}(-----END)?",
        "[0-9 -]{0,24}",
        "[A-Z]{2}[0-9]{2}[A-Z0-9 ]{0,30}",
        "(4111 ?1111 ?1111 ?1111|123-45-6789|11010519491231002X|13812345678|DE89370400440532013000|378282246310005)",
        "(AKIA|ghp_|sk-|sig=|xoxb-|eyJ)[A-Za-z0-9_.-]{0,60}",
        "[a-z0-9.]{0,5}@[a-z0-9.]{0,9}",
        "[0-9a-f:.-]{0,40}",
        "(/home/|/Users/|\\\\Users\\\\)[a-zé]{0,5}",
        "\\[(redacted|email|secret):[a-p]{0,17}\\]",
        "[{}\\[\\]\", :\\\\=\n]{0,4}",
        "\\PC{0,5}",
    ];
    proptest::collection::vec(parts, 0..8).prop_map(|parts| parts.concat())
}

fn with_all(action: Action) -> Redactor {
    only(&Rule::ALL, action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn redacting_again_changes_nothing(text in text()) {
        for action in [Action::Mask, Action::Hash] {
            let redactor = with_all(action);
            let once = redactor.redact_text(&text).into_owned();
            let twice = redactor.redact_text(&once).into_owned();
            prop_assert_eq!(&once, &twice, "{:?} {}", action, text);
        }
    }

    #[test]
    fn rows_stay_and_text_stays_utf_8(texts in proptest::collection::vec(text(), 1..6), remove: bool) {
        let mut batch = LogBatch::default();
        for (index, text) in texts.iter().enumerate() {
            batch.push(&RecordHead::default(), ValueRef::Text(text));
            batch.attribute(["password", "note"][index % 2], ValueRef::Text(text));
        }
        let redactor = with_all(if remove { Action::Remove } else { Action::Mask });
        redactor.redact(&mut batch);
        prop_assert_eq!(batch.len(), texts.len());
        prop_assert_eq!(batch.body.data.len(), texts.len());
        for (row, text) in texts.iter().enumerate() {
            // What stands beside a row makes no difference.
            let body = batch.record(row).body;
            let alone = redactor.redact_text(text);
            prop_assert_eq!(body.as_text(), Some(alone.as_ref()));
        }
    }

    #[test]
    fn json_stays_json(
        values in proptest::collection::vec(("(password|card|token|note|api_key)", prop_oneof![
            text().prop_map(serde_json::Value::String),
            any::<u32>().prop_map(Into::into),
            Just(4_111_111_111_111_111_u64.into()),
            Just(serde_json::Value::Null),
        ]), 0..6),
        remove: bool,
    ) {
        let object: serde_json::Map<_, _> = values.into_iter().collect();
        let text = serde_json::Value::Object(object).to_string();
        let redactor = with_all(if remove { Action::Remove } else { Action::Mask });
        let redacted = redactor.redact_text(&text);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{} became {}", text, redacted);
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Bytes(&bytes));
        with_all(Action::Mask).redact(&mut batch);
        prop_assert_eq!(batch.len(), 1);
    }
}
