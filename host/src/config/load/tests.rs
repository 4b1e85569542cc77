use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::alerts::types::Level;
use crate::config::{LogFormat, example};
use crate::delivery::types::{Channel, SmtpTls};
use watchfire_types::Severity;

const HOME: (&str, &str) = ("HOME", "/home/u");

fn write(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn load_named(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let (folder, path) = write(name, text);
    let variables = variables.iter().copied().chain([HOME]);
    Config::load(Some(&path), &Environment::of(variables), &CliOverrides::default()).map_err(|mut errors| {
        for problem in &mut errors.0 {
            problem.origin = problem.origin.replace(&format!("{}/", folder.path().display()), "");
            problem.reason = problem.reason.replace(&format!("{}/", folder.path().display()), "");
        }
        errors
    })
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load_named("w.json", text, variables)
}

fn errors(text: &str) -> String {
    load(text, &[]).map_or_else(|errors| errors.to_string(), |config| format!("fine: {:?}", config.warnings))
}

#[test]
fn nothing_configured_is_fine() {
    let config = Config::load(None, &Environment::of([HOME]), &CliOverrides::default()).unwrap();
    assert_eq!(config.storage.data_dir, Path::new("/home/u/.local/state/watchfire"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3473");
    let names: Vec<_> = config.alerting.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["machine-cpu-high", "machine-memory-full", "machine-disk-full", "logs-shed", "logs-refused"]);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_example_of_the_specification_is_accepted_as_it_stands() {
    let config = load(example::SPECIFIED, &[]).unwrap();
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(config.alerting.receivers, []);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn what_create_config_writes_is_accepted_without_a_warning() {
    let config = load(&example::full(), &[]).unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(format!("{config:?}"), format!("{:?}", load(example::SPECIFIED, &[]).unwrap()));
}

#[test]
fn the_toml_example_is_accepted() {
    let text = include_str!("../../../../examples/config/watchfire.toml");
    let secrets = [("CHAT_WEBHOOK_URL", "https://chat.example.com/hook"), ("SMTP_PASSWORD", "hunter2")];
    let config = load_named("watchfire.toml", text, &secrets).unwrap();
    assert_eq!((config.alerting.rules.len(), config.alerting.receivers.len(), config.inputs.files.len()), (8, 2, 2));
    assert_eq!(config.warnings, [""; 0]);
    let error = load_named("watchfire.toml", text, &secrets[1..]).unwrap_err();
    insta::assert_snapshot!(error, @"watchfire.toml: alerting.receivers[0].webhook.url: environment variable `CHAT_WEBHOOK_URL` is not set");
}

#[test]
fn an_enabled_placeholder_is_a_warning() {
    let config = load(&example::SPECIFIED.replace(r#""enabled": false"#, r#""enabled": true"#), &[]).unwrap();
    insta::assert_snapshot!(config.warnings.join("\n"), @r"
    alerting.notifications.email.password: still the placeholder of the example, so no mail will go out
    alerting.notifications.webhook.url: still the placeholder of the example, so nobody will be told
    ");
    assert_eq!(config.alerting.receivers.len(), 2);
}

#[test]
fn several_problems_of_different_kinds_are_said_in_one_run() {
    let text = r#"{
        "loging": {}, "logging": {"level": "LOUD", "retention_days": "30"},
        "storage": {"retention_days": 3, "max_bytes": -1, "metrics_retention": "soon"},
        "performance": {"collection_interval": 0},
        "alerting": {"cooldown": [], "rules": [
            {"name": "a", "metric": "m", "threshold": 1, "receiver": "pagr"},
            {"name": "a", "metric": "m", "treshold": 1},
            {"name": "a", "metric": "m", "threshold": 1, "comparison": "=>"},
            {"name": "a", "logs": {}, "threshold": 1},
            7
        ], "receivers": [{"name": "pager", "webhook": {"url": "ftp://x/y"}}, {"name": "pager"}, {"name": "b", "email": {}}]},
        "server": {"listen": "0.0.0.0:80", "otlp_listen": "here"}
    }"#;
    insta::assert_snapshot!(errors(text), @r"
    w.json: loging: unknown key; did you mean `logging`?
    w.json: logging.level: expected one of `TRACE`, `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`, found `LOUD`
    w.json: logging.retention_days: expected a whole number from 0 to 4294967295, found text
    w.json: storage.retention_days: unknown key; did you mean `logging.retention_days`?
    w.json: storage.max_bytes: expected a whole number, found -1
    w.json: storage.metrics_retention: expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`
    w.json: alerting.cooldown: expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, found a list
    w.json: alerting.rules[1].treshold: unknown key; did you mean `threshold`?
    w.json: alerting.rules[2].comparison: expected one of `>`, `>=`, `<`, `<=`, `==`, `!=`, found `=>`
    w.json: alerting.rules[4]: expected an object, found a number
    w.json: server.listen: `0.0.0.0:80` can be reached from other machines, so a token is needed: set `server.token`, `server.token_file` or WATCHFIRE_TOKEN
    w.json: server.otlp_listen: expected an address and a port such as `127.0.0.1:3473`, found `here`
    w.json: performance.collection_interval: expected a duration of at least 100ms, found 0s
    w.json: alerting.receivers[0].webhook.url: expected a URL that begins with `https://` or `http://`
    w.json: alerting.receivers[1].name: there is a receiver `pager` already
    w.json: alerting.receivers[1]: expected `webhook`, `email`, `component` or `pull`
    w.json: alerting.receivers[2].email.smtp_host: expected the name of a mail server
    w.json: alerting.receivers[2].email.from_email: expected a mail address such as `ops@example.com`, found ``
    w.json: alerting.receivers[2].email.to_emails: expected at least one address
    w.json: alerting.rules[0].receiver: no receiver named `pagr`; did you mean `pager`?
    w.json: alerting.rules[1].name: `a` is the name of rules[0] already
    w.json: alerting.rules[1].threshold: expected a number
    w.json: alerting.rules[2].name: `a` is the name of rules[0] already
    w.json: alerting.rules[3].name: `a` is the name of rules[0] already
    ");
}

#[test]
fn clashes_and_contradictions_are_refused() {
    insta::assert_snapshot!(errors(r#"{
        "logging": {"structured_format": true, "format": "text"},
        "inputs": {"files": [{"path": "/x.log"}, {"path": "/x.log"}, {}, {"path": "/"}]},
        "alerting": {
            "notifications": {"email": {"enabled": true, "smtp_host": "mail.example.com", "tls": "none", "username": "u", "from_email": "nobody", "to_emails": []}},
            "receivers": [{"name": "email", "webhook": {"url": "https://example.com", "url_file": "/nowhere", "headers": {"a b": "c"}}}],
            "rules": [{"name": "machine-cpu-high", "metric": "m", "threshold": 1}]
        }
    }"#), @r"
    w.json: inputs.files[1].path: `/x.log` is named twice
    w.json: inputs.files[2].path: expected the path of a file
    w.json: inputs.files[3].path: expected a file, and `/` is a folder
    w.json: logging.format: `text` contradicts `structured_format: true`: leave one of them out
    w.json: alerting.notifications.email.password: expected the password of `username`
    w.json: alerting.notifications.email.tls: `none` is for this machine only: use `starttls` or `tls`
    w.json: alerting.notifications.email.from_email: expected a mail address such as `ops@example.com`, found `nobody`
    w.json: alerting.notifications.email.to_emails: expected at least one address
    w.json: alerting.receivers[0].name: there is a receiver `email` already
    w.json: alerting.receivers[0].webhook.url: expected either `url` or `url_file`, found both
    w.json: alerting.receivers[0].webhook.headers.a b: expected the name of an HTTP header
    w.json: alerting.rules[0].name: `machine-cpu-high` is the name of a starter rule: choose another, or set `alerting.starter_rules` to false
    ");
}

#[test]
fn a_rule_with_a_mistake_still_takes_its_name() {
    insta::assert_snapshot!(errors(r#"{"alerting": {"rules": [
        {"name": "a", "metric": "m"},
        {"name": "machine-cpu-high", "metric": "m"},
        {"name": "a", "metric": "m", "threshold": 1},
        {"metric": "m", "threshold": 1},
        {"name": "a", "logs": {}, "threshold": 1, "receiver": "x"}
    ]}}"#), @r"
    w.json: alerting.rules[0].threshold: expected a number
    w.json: alerting.rules[1].name: `machine-cpu-high` is the name of a starter rule: choose another, or set `alerting.starter_rules` to false
    w.json: alerting.rules[1].threshold: expected a number
    w.json: alerting.rules[2].name: `a` is the name of rules[0] already
    w.json: alerting.rules[3].name: expected a name
    w.json: alerting.rules[4].name: `a` is the name of rules[0] already
    w.json: alerting.rules[4].receiver: no receiver named `x`; there is none
    ");
}

#[test]
fn a_file_that_is_no_json_or_toml_or_is_not_there_is_named() {
    insta::assert_snapshot!(errors(r#"{"logging": {"level": "INFO",}}"#), @"w.json: not valid JSON: trailing comma at line 1 column 30");
    insta::assert_snapshot!(load_named("w.toml", "[server]\ntoken = \"hunter2\nlisten = 1", &[]).unwrap_err(), @r#"w.toml: not valid TOML: invalid basic string, expected `"` at line 2 column 17"#);
    insta::assert_snapshot!(errors("{\n \"logging\": {},\n \"logging\": {}\n}"), @"w.json: not valid JSON: key `logging` stands twice at line 4 column 1");
    insta::assert_snapshot!(errors("[]"), @"w.json: expected an object, found a list");
    let missing = Config::load(Some(Path::new("/nowhere/w.json")), &Environment::of([HOME]), &CliOverrides::default());
    insta::assert_snapshot!(missing.unwrap_err(), @"/nowhere/w.json: cannot read the file: No such file or directory (os error 2)");
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let error = Config::load(None, &Environment::default(), &CliOverrides::default()).unwrap_err();
    insta::assert_snapshot!(error, @"configuration: storage.data_dir: expected a folder, as neither HOME nor STATE_DIRECTORY says where one could be: set it, or give --data");
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_file_over_the_default() {
    let file = r#"{"logging": {"level": "ERROR"}, "server": {"listen": "127.0.0.1:1"}}"#;
    let level = |variables: &[(&str, &str)]| load(file, variables).unwrap().logging.level;
    assert_eq!(load("{}", &[]).unwrap().logging.level, Severity::INFO);
    assert_eq!(level(&[]), Severity::ERROR);
    assert_eq!(level(&[("MONITORING_LOG_LEVEL", "warning")]), Severity::WARN);
    let both = [("MONITORING_LOG_LEVEL", "warning"), ("WATCHFIRE_LOGGING__LEVEL", "Critical")];
    assert_eq!(level(&both), Severity::FATAL);

    let (_folder, path) = write("w.json", file);
    let overrides =
        CliOverrides { log_level: Some("debug".into()), listen: Some("localhost:0".into()), data_dir: Some("/d".into()) };
    let config = Config::load(Some(&path), &Environment::of(both), &overrides).unwrap();
    assert_eq!(config.logging.level, Severity::DEBUG);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.storage.data_dir, Path::new("/d"));
}

#[test]
fn the_specifications_variables_fill_in_and_never_enable() {
    let variables = [
        ("MONITORING_COLLECTION_INTERVAL", "15"),
        ("MONITORING_EVALUATION_INTERVAL", "2m"),
        ("MONITORING_SMTP_HOST", "mail.example.com"),
        ("MONITORING_SMTP_PORT", "465"),
        ("MONITORING_SMTP_USERNAME", "bot"),
        ("MONITORING_SMTP_PASSWORD", "hunter2"),
        ("MONITORING_FROM_EMAIL", "bot@example.com"),
    ];
    let config = load("{}", &variables).unwrap();
    assert_eq!(config.performance.collection_interval.as_secs(), 15);
    assert_eq!(config.alerting.evaluation_interval.as_secs(), 120);
    assert_eq!((config.alerting.receivers.len(), config.warnings.len()), (0, 0));

    let config = load(&example::SPECIFIED.replacen(r#""enabled": false"#, r#""enabled": true"#, 1), &variables).unwrap();
    let Channel::Email(email) = &config.alerting.receivers[0].channel else { panic!("an e-mail receiver") };
    assert_eq!((email.smtp_host.as_str(), email.smtp_port, email.tls), ("mail.example.com", 465, SmtpTls::Tls));
    assert_eq!(email.password.as_ref().unwrap().reveal(), "hunter2");
    assert_eq!(config.warnings, [""; 0], "the placeholder is not there any more");
}

#[test]
fn any_key_can_be_set_from_the_environment() {
    let config = load(
        "{}",
        &[
            ("WATCHFIRE_ALERTING__COOLDOWN", "60"),
            ("WATCHFIRE_ALERTING__STARTER_RULES", "false"),
            ("WATCHFIRE_INPUTS__FILES", r#"[{"path": "/a.log"}]"#),
            ("WATCHFIRE_SERVER__OTLP_LISTEN", ""),
            ("WATCHFIRE_ALERTING__NOTIFICATIONS__EMAIL__ENABLED", "true"),
            ("WATCHFIRE_ALERTING__NOTIFICATIONS__EMAIL__SMTP_HOST", "localhost"),
            ("WATCHFIRE_ALERTING__NOTIFICATIONS__EMAIL__TLS", "none"),
            ("WATCHFIRE_ALERTING__NOTIFICATIONS__EMAIL__FROM_EMAIL", "a@b.de"),
            ("WATCHFIRE_ALERTING__NOTIFICATIONS__EMAIL__TO_EMAILS", "c@d.de, e@f.de"),
            ("WATCHFIRE_TOKEN", "t0ken"),
        ],
    )
    .unwrap();
    assert_eq!(config.alerting.cooldown.as_secs(), 60);
    assert_eq!(config.alerting.rules, []);
    assert_eq!(config.inputs.files[0].paths, [Path::new("/a.log")]);
    assert_eq!(config.server.otlp_listen, None);
    assert_eq!(config.server.token.unwrap().reveal(), "t0ken");
    let Channel::Email(email) = &config.alerting.receivers[0].channel else { panic!("an e-mail receiver") };
    assert_eq!(email.to_emails, ["c@d.de", "e@f.de"]);
}

#[test]
fn what_is_wrong_in_the_environment_is_said_with_the_variables_name() {
    let errors = load(
        "{}",
        &[
            ("WATCHFIRE_ALERTING__COOLDWN", "60"),
            ("WATCHFIRE_ALERTING__GROUP_WAIT", "long"),
            ("WATCHFIRE_LOGGING", "x"),
            ("WATCHFIRE_SERVER__LISTEN", "0.0.0.0:3473"),
            ("MONITORING_SMTP_PORT", "many"),
            ("MONITORING_LOG_LEVEL", "inof"),
        ],
    );
    insta::assert_snapshot!(errors.unwrap_err(), @r"
    MONITORING_LOG_LEVEL: logging.level: expected one of `TRACE`, `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`, found `inof`; did you mean `INFO`?
    MONITORING_SMTP_PORT: alerting.notifications.email.smtp_port: expected a whole number from 0 to 65535, found text
    WATCHFIRE_ALERTING__COOLDWN: there is no key `alerting.cooldwn`; did you mean `WATCHFIRE_ALERTING__COOLDOWN`?
    WATCHFIRE_ALERTING__GROUP_WAIT: alerting.group_wait: expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`
    WATCHFIRE_SERVER__LISTEN: server.listen: `0.0.0.0:3473` can be reached from other machines, so a token is needed: set `server.token`, `server.token_file` or WATCHFIRE_TOKEN
    ");
}

#[test]
fn secrets_come_by_value_by_variable_or_from_a_file() {
    let (_folder, secret) = write("token", "s3cret\n");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let token = |json: &str, variables: &[(&str, &str)]| {
        let config = load(&format!(r#"{{"server": {{"listen": "0.0.0.0:80", {json}}}}}"#), variables).unwrap();
        (config.server.token.unwrap().reveal().to_owned(), config.warnings.len())
    };
    let file = format!(r#""token_file": "{}""#, secret.display());
    assert_eq!(token(r#""token": "s3cret""#, &[]), ("s3cret".into(), 0));
    assert_eq!(token(r#""token": "${T}""#, &[("T", "s3cret")]), ("s3cret".into(), 0));
    assert_eq!(token(&file, &[]), ("s3cret".into(), 0));
    assert_eq!(token(&file, &[("WATCHFIRE_TOKEN", "other")]), ("other".into(), 0), "a higher layer stands for both twins");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(token(&file, &[]), ("s3cret".into(), 1), "everybody may read it");

    let both = format!(r#"{{"server": {{"token": "x", {file}}}}}"#);
    insta::assert_snapshot!(errors(&both), @"w.json: server.token: expected either `token` or `token_file`, found both");
    insta::assert_snapshot!(errors(r#"{"server": {"token": "${MISSING}"}}"#), @"w.json: server.token: environment variable `MISSING` is not set");
    insta::assert_snapshot!(errors(r#"{"server": {"token_file": "/nowhere/token"}}"#), @"w.json: server.token_file: cannot read `/nowhere/token`: No such file or directory (os error 2)");
}

#[test]
fn a_secret_is_in_no_message_and_no_debug_output() {
    let good = r#"{"server": {"token": "hunter2"}, "alerting": {
        "notifications": {"email": {"enabled": true, "smtp_host": "h", "username": "u", "password": "hunter2", "from_email": "a@b.de", "to_emails": ["a@b.de"]},
                          "webhook": {"enabled": true, "url": "https://x.de/hunter2", "headers": {"Authorization": "hunter2"}}}}}"#;
    let config = load(good, &[]).unwrap();
    assert!(!format!("{config:?} {:?}", config.warnings).contains("hunter2"));
    let raw: RawConfig = serde_json::from_str(good).unwrap();
    assert!(!format!("{raw:?} {}", serde_json::to_string(&raw).unwrap()).contains("hunter2"));

    for bad in [
        r#"{"server": {"token": ["hunter2"], "max_request_bytes": "hunter2", "external_url": 5}}"#,
        r#"{"server": {"token": "${hunter2 }"}}"#,
        r#"{"alerting": {"receivers": [{"name": "a", "webhook": {"url": "hunter2"}}, {"name": "b", "webhook": {"url": "http://hunter2:x"}}]}}"#,
        r#"{"alerting": {"notifications": {"webhook": {"enabled": true, "url": "http://a", "headers": {"a": "hunter2\n"}}}}}"#,
        r#"{"alerting": {"notifications": {"email": {"enabled": "hunter2", "password": {"hunter2": 1}}}}}"#,
    ] {
        let errors = load(bad, &[]).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains("hunter2"), "{errors}");
    }
}

#[test]
fn toml_says_the_same_as_json() {
    let toml = r#"
        [logging]
        level = "INFO"
        structured_format = true
        [performance]
        collection_interval = "30s"
        [alerting.notifications.email]
        enabled = true
        smtp_host = "localhost"
        from_email = "a@b.de"
        to_emails = ["c@d.de"]
        [[alerting.rules]]
        name = "错误"
        logs = { level = "error" }
        threshold = 10
        [[alerting.receivers]]
        name = "chat"
        webhook = { url = "https://chat.example.com/x" }
    "#;
    let json = r#"{"logging": {"level": "INFO", "structured_format": true}, "performance": {"collection_interval": 30},
        "alerting": {"notifications": {"email": {"enabled": true, "smtp_host": "localhost", "from_email": "a@b.de", "to_emails": ["c@d.de"]}},
        "rules": [{"name": "错误", "logs": {"level": "ERROR"}, "threshold": 10}],
        "receivers": [{"name": "chat", "webhook": {"url": "https://chat.example.com/x"}}]}}"#;
    let (toml, json) = (load_named("w.TOML", toml, &[]).unwrap(), load(json, &[]).unwrap());
    assert_eq!(format!("{toml:?}"), format!("{json:?}"));
    assert_eq!(toml.alerting.rules, json.alerting.rules);
    assert_eq!(toml.alerting.receivers, json.alerting.receivers);
    assert_eq!(load_named("w.toml", "[[alerting.rules]]\nname = 'a'\nlogs = {}\nthreshold = nan", &[]).unwrap_err().0.len(), 1);
}

#[test]
fn a_rule_may_name_a_disabled_receiver_but_is_told_so() {
    let text = r#"{"alerting": {"notifications": {"email": {"enabled": false}},
        "rules": [{"name": "a", "metric": "m", "threshold": 1, "level": "critical", "receiver": "email"}]}}"#;
    let config = load(text, &[]).unwrap();
    assert_eq!(config.alerting.rules.last().unwrap().level, Level::Critical);
    insta::assert_snapshot!(config.warnings.join("\n"), @"alerting.rules[0].receiver: receiver `email` is not enabled, so this rule tells nobody");
}

#[test]
fn keys_of_parts_that_are_not_built_are_accepted_with_a_word() {
    let text = r#"{"error_tracking": {"max_events": 5, "auto_capture": true}, "log_analysis": {"max_patterns": 5, "auto_start": false}, "plugins": {"directories": ["/p"]},
        "alerting": {"notifications": {"webhook": {"url": "https://x.de"}}}}"#;
    insta::assert_snapshot!(load(text, &[]).unwrap().warnings.join("\n"), @r"
    alerting.notifications.webhook: not used, since `enabled` is missing: set it to true or false
    plugins.directories: there is no folder `/p`
    ");
}

#[test]
fn files_are_followed_by_default_and_not_when_named_otherwise() {
    let environment = || Environment::of([HOME]).with_system_logs(vec!["/var/log/syslog".into()]);
    let files = |text: &str| {
        let (_folder, path) = write("w.json", text);
        Config::load(Some(&path), &environment(), &CliOverrides::default()).unwrap().inputs.files
    };
    assert_eq!(files("{}").len(), 1);
    assert!(!files("{}")[0].from_beginning);
    assert_eq!(files(r#"{"inputs": {"own_log": false}}"#).len(), 1);
    assert_eq!(files(r#"{"inputs": {"files": []}}"#), []);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![".{0,8}", "[0-9]{1,22}[smhdw]?", "(INFO|warn|slack|tls|>|json)"].prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "name",
        "url",
        "path",
        "webhook",
        "email",
        "metric",
        "logs",
        "finding",
        "new_issue",
        "errors",
        "threshold",
        "window",
        "level",
        "headers",
        "x",
    ]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let map = prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner.clone(), 0..4);
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), map.prop_map(|map| map.into_iter().collect())]
    })
}

proptest! {
    /// The shape checker knows all that the types know: what it leaves can always be read, and nothing panics after it.
    #[test]
    fn what_the_shape_checker_leaves_can_be_read(
        settings in prop::collection::vec((prop::sample::select(Shape::of::<RawConfig>().paths()), any_json()), 1..6),
    ) {
        let mut tree = Value::Object(Map::new());
        for (path, value) in settings {
            let mut node = &mut tree;
            for key in path.split('.') {
                if !node.is_object() {
                    *node = Value::Object(Map::new());
                }
                node = &mut node[key];
            }
            *node = value;
        }
        let _ = load(&tree.to_string(), &[]);
        Shape::of::<RawConfig>().clean(&mut tree, "", &mut Vec::new());
        let read = serde_json::from_value::<RawConfig>(tree);
        prop_assert!(read.is_ok(), "{:?}", read.err());
    }

    /// Whatever is wrong with single keys, each of them is named, and nothing else is.
    #[test]
    fn every_wrong_key_is_named(wrong in proptest::sample::subsequence(vec![
        ("logging.level", r#""LOUD""#), ("logging.retention_days", "true"), ("performance.history_size", "-1"),
        ("performance.colection", "1"), ("alerting.cooldown", r#""5 minutes""#), ("alerting.group_wait", "1.5"),
        ("server.listen", "3473"), ("storage.max_bytes", "5"), ("inputs.files", "{}"), ("inputs.own_log", r#""yes""#),
        ("error_tracking.max_events", r#""many""#), ("log_analysis.x", "1"), ("nothing.at", "1"),
    ], 1..13)) {
        let mut tree = Value::Object(Map::new());
        for (path, json) in &wrong {
            let (section, key) = path.split_once('.').unwrap();
            if !tree[section].is_object() {
                tree[section] = Value::Object(Map::new());
            }
            tree[section][key] = serde_json::from_str(json).unwrap();
        }
        let errors = load(&tree.to_string(), &[]).unwrap_err();
        let mut named: Vec<&str> = errors.0.iter().map(|problem| problem.path.as_str()).collect();
        let mut expected: Vec<&str> = wrong.iter().map(|(path, _)| path.strip_suffix(".at").unwrap_or(path)).collect();
        named.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(named, expected);
    }
}
