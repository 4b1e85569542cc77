//! How well errors are grouped: by a set of events of which is known which error each of them is.

use serde_json::Value;
use watchfire_tests::{TestHost, run_python};

/// Least precision and recall of pairs, on the half that grouping was not tuned on.
const PRECISION: f64 = 0.99;
const RECALL: f64 = 0.90;

#[tokio::test]
async fn errors_are_grouped_as_people_would_who_know_them() {
    let host = TestHost::start();
    let said = run_python("../grouping/score.py", &["--url", host.client().url(), "--half", "report", "--json"]);
    let figures: Value = serde_json::from_str(&said).expect("figures are JSON");
    for (language, row) in figures.as_object().expect("a row for each language") {
        println!("{language}: {row}");
    }
    let all = |name: &str| figures["all"][name].as_f64().expect("a number");
    assert!(all("precision") >= PRECISION && all("recall") >= RECALL, "{figures:#}");
}
