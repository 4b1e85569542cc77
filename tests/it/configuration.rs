//! Configuration through the real binary: what is wrong is said at once, all of it.

use std::fs;

use serde_json::json;
use watchfire_tests::Installation;

#[test]
fn every_mistake_is_named_at_once_with_its_path_and_the_nearest_name() {
    let installation = Installation::new(json!({
        "alerting": {
            "rules": [
                {"name": "memory", "metric": "system.memory_percent", "threshold": 80, "receiver": "pagr"},
                {"name": "cpu", "metric": "system.cpu_percent", "threshold": 80},
                {"name": "cpu", "metric": "system.cpu_percent", "threshold": 90},
            ],
            "receivers": [{"name": "pager", "webhook": {"url": "http://127.0.0.1:9/"}}],
        },
    }));
    for command in [&["check", "--config", "config.json"][..], &["start", "--config", "config.json"]] {
        let said = installation.run(command).expect(2).stderr;
        for part in ["config.json", "alerting.rules[0].receiver", "`pagr`", "`pager`", "alerting.rules[2].name"] {
            assert!(said.contains(part), "{part} is missing:\n{said}");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let installation = Installation::new(json!({"performance": {"colection_interval": 30}}));
    let said = installation.run(&["check", "--config", "config.json"]).expect(2).stderr;
    for part in ["config.json", "performance", "colection_interval", "collection_interval"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let installation = Installation::new(json!({"storage": {"max_bytes": "plenty"}}));
    let said = installation.run(&["check", "--config", "config.json"]).expect(2).stderr;
    assert!(said.contains("storage.max_bytes: expected a whole number"), "{said}");
}

#[test]
fn the_example_that_create_config_writes_passes_check_and_is_not_overwritten() {
    let installation = Installation::new(json!({}));
    installation.run(&["create-config"]).expect(0);
    let path = installation.path("monitoring_config.json");
    let text = fs::read_to_string(&path).expect("create-config wrote it");
    installation.run(&["check", "--config", "monitoring_config.json"]).expect(0);
    let again = installation.run(&["create-config"]);
    assert_ne!(again.code, 0);
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), text);
}

#[test]
fn toml_says_the_same_as_json() {
    let installation = Installation::new(json!({}));
    fs::write(installation.path("config.toml"), "[performance]\ncollection_interval = \"15s\"\n")
        .expect("the folder can be written");
    installation.run(&["check", "--config", "config.toml"]).expect(0);
    fs::write(installation.path("config.toml"), "[performance]\ncollection_interval = \"soon\"\n")
        .expect("the folder can be written");
    let said = installation.run(&["check", "--config", "config.toml"]).expect(2).stderr;
    assert!(said.contains("performance.collection_interval"), "{said}");
}

#[test]
fn every_example_passes_check() {
    let installation = Installation::new(json!({}));
    let webhook = "https://hooks.example.com/x";
    let environment = [("TEAM_WEBHOOK_URL", webhook), ("CHAT_WEBHOOK_URL", webhook), ("SMTP_PASSWORD", "x")];
    let examples = ["config", "rules"].map(|folder| watchfire_tasks::root().join("examples").join(folder));
    let files = examples.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    let mut checked = 0;
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "json" || extension == "toml")) {
        let path = file.display().to_string();
        installation.run_with(&["check", "--config", &path], &environment, "").expect(0);
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn the_configuration_in_the_readme_passes_check() {
    let installation = Installation::new(json!({}));
    let readme = fs::read_to_string(watchfire_tasks::root().join("README.md")).expect("there is a README");
    let (_, after) = readme.split_once("```json\n").expect("the README shows a configuration");
    let (text, _) = after.split_once("```").expect("the block ends");
    fs::write(installation.path("readme.json"), text).expect("the folder can be written");
    installation.run(&["check", "--config", "readme.json"]).expect(0);
}

#[test]
fn a_secret_is_never_printed() {
    const SECRET: &str = "hunter2-and-more";
    let installation = Installation::new(json!({
        "server": {"token": SECRET},
        "alerting": {"receivers": [{"name": "pager", "webhook": {"url": format!("https://example.com/{SECRET}")}}]},
    }));
    let finished = installation.run(&["check", "--config", "config.json"]);
    assert!(!finished.stdout.contains(SECRET) && !finished.stderr.contains(SECRET), "{finished:?}");
}

#[tokio::test]
async fn environment_variables_override_the_file() {
    let installation = Installation::new(json!({}));
    let mut host = installation
        .spawn(&[("MONITORING_EVALUATION_INTERVAL", "7"), ("WATCHFIRE_SERVER__EXTERNAL_URL", "https://mon.example.com")]);
    assert!(host.wait_ready().await.is_some(), "{:?}", host.log());
    let said =
        installation.run_with(&["check", "--config", "config.json"], &[("MONITORING_EVALUATION_INTERVAL", "often")], "").expect(2);
    assert!(said.stderr.contains("MONITORING_EVALUATION_INTERVAL"), "{}", said.stderr);
}
