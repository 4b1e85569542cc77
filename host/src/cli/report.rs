//! Prints errors: what failed, why, and what to do about it. The only place that does.

use std::fmt::Write as _;

use super::Exit;
use super::client::ClientError;
use super::output::{is_closed, say};
use crate::config::ConfigErrors;

/// The command cannot be carried out as it was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct AskedWrongly(pub(super) String);

/// Prints `error` and returns how the command ended.
pub(super) fn report(error: &anyhow::Error) -> Exit {
    if is_closed(error) {
        return Exit::Done;
    }
    say(render(error));
    exit(error)
}

fn exit(error: &anyhow::Error) -> Exit {
    let refused_as_wrong = |error: &ClientError| matches!(error, ClientError::Refused { status: 400 | 404, .. });
    let wrong = error.chain().any(|cause| {
        cause.is::<ConfigErrors>()
            || cause.is::<AskedWrongly>()
            || cause.downcast_ref::<ClientError>().is_some_and(refused_as_wrong)
    });
    if wrong { Exit::Wrong } else { Exit::Failed }
}

/// Returns `error: …`, a line for each cause, and a hint if there is one.
fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if said.ends_with(&cause) {
            continue;
        }
        for line in cause.lines() {
            let _ = write!(text, "\n  caused by: {line}");
        }
        said = cause;
    }
    if let Some(hint) = error.chain().find_map(hint) {
        let _ = write!(text, "\nhint: {hint}");
    }
    text
}

fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return match error {
            ClientError::Unreachable { .. } => {
                Some("start it with `watchfire start`, or name another host with --url or WATCHFIRE_URL".to_owned())
            }
            ClientError::Foreign { .. } | ClientError::Strange { .. } => {
                Some("name the host with --url or WATCHFIRE_URL; `watchfire start` says where it is".to_owned())
            }
            ClientError::Refused { status: 401, .. } => Some("give the host's token with --token or WATCHFIRE_TOKEN".to_owned()),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        let is_busy = error.kind() == std::io::ErrorKind::AddrInUse;
        return is_busy.then(|| "another program uses this address: stop it, or choose another with --listen".to_owned());
    }
    let unreadable = |problem: &crate::config::Problem| problem.reason.contains("No such file");
    let errors = cause.downcast_ref::<ConfigErrors>()?;
    errors
        .0
        .iter()
        .any(|problem| problem.path.is_empty() && unreadable(problem))
        .then(|| "`watchfire create-config` writes one".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context as _;

    use super::*;
    use crate::config::{CliOverrides, Config, Environment};

    #[test]
    fn an_unreachable_host_says_how_to_start_one() {
        let error = anyhow::Error::from(ClientError::Unreachable {
            url: "http://127.0.0.1:3473".into(),
            source: Box::new(std::io::Error::other("Connection refused")),
        });
        insta::assert_snapshot!(render(&error), @r"
        error: cannot reach the host at http://127.0.0.1:3473
          caused by: Connection refused
        hint: start it with `watchfire start`, or name another host with --url or WATCHFIRE_URL
        ");
        assert_eq!(exit(&error), Exit::Failed);
    }

    #[test]
    fn every_problem_of_a_configuration_has_its_line() {
        let environment = Environment::of([("HOME", "/h"), ("MONITORING_SMTP_PORT", "x"), ("WATCHFIRE_LOGGING__LEVEL", "LOUD")]);
        let error = Config::load(None, &environment, &CliOverrides::default()).context("cannot load configuration").unwrap_err();
        insta::assert_snapshot!(render(&error), @r"
        error: cannot load configuration
          caused by: MONITORING_SMTP_PORT: alerting.notifications.email.smtp_port: expected a whole number from 0 to 65535, found text
          caused by: WATCHFIRE_LOGGING__LEVEL: logging.level: expected one of `TRACE`, `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`, found `LOUD`
        ");
        assert_eq!(exit(&error), Exit::Wrong);

        let error = Config::load(Some(Path::new("/nowhere/w.json")), &environment, &CliOverrides::default()).unwrap_err();
        insta::assert_snapshot!(render(&anyhow::Error::from(error)), @r"
        error: /nowhere/w.json: cannot read the file: No such file or directory (os error 2)
        hint: `watchfire create-config` writes one
        ");
    }

    #[test]
    fn a_refusal_says_what_the_host_said() {
        let refused = |status, message: &str| {
            anyhow::Error::from(ClientError::Refused { status, message: message.into(), retry_after: None })
                .context("cannot search")
        };
        insta::assert_snapshot!(render(&refused(400, "since: `yesterday` is not a time")), @r"
        error: cannot search
          caused by: the host refused (400): since: `yesterday` is not a time
        ");
        insta::assert_snapshot!(render(&refused(401, "a token is required")), @r"
        error: cannot search
          caused by: the host refused (401): a token is required
        hint: give the host's token with --token or WATCHFIRE_TOKEN
        ");
        assert_eq!(
            (exit(&refused(404, "")), exit(&refused(401, "")), exit(&refused(500, ""))),
            (Exit::Wrong, Exit::Failed, Exit::Failed)
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = anyhow::Error::from(std::io::Error::other(super::super::output::OutputClosed)).context("x");
        assert_eq!(report(&error), Exit::Done);
    }
}
