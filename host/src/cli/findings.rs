//! `findings`.

use super::args::FindingsArgs;
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, json_lines, labels, rows, text};
use super::{Answer, Exit};
use watchfire_types::Severity;

pub(super) async fn findings(args: &FindingsArgs, out: &mut Output<'_>) -> Answer {
    let mut query = args.time.query();
    for (name, value) in [("plugin", &args.plugin), ("rule", &args.rule), ("severity", &args.level)] {
        query.extend(value.iter().map(|value| (name, value.clone())));
    }
    let answer = Client::new(&args.host)?.get("api/v1/findings", &query).await?;
    let findings = rows(&answer, "findings");
    if args.json {
        json_lines(findings, out)?;
    } else if findings.is_empty() {
        say("no findings");
    } else {
        let times = Times::here();
        let mut table = Table::new(&["LAST", "LEVEL", "PLUGIN", "RULE", "TITLE", "COUNT", "FINDINGS", "LABELS"]);
        for finding in findings {
            let severity = Severity(finding["severity_number"].as_u64().unwrap_or(0) as u8);
            table.row(vec![
                times.short(&finding["last_at"]),
                if severity.name().is_empty() { "-".to_owned() } else { severity.to_string() },
                text(&finding["plugin"]),
                text(&finding["rule"]),
                text(&finding["title"]),
                text(&finding["count"]),
                text(&finding["findings"]),
                labels(&finding["labels"]),
            ]);
        }
        table.write(out)?;
    }
    Ok(Exit::Done)
}
