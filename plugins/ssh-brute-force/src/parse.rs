//! What OpenSSH's server says about logins, with or without the prefix that syslog puts before it.
//!
//! Names of users are whatever somebody typed: they may hold spaces, and whole pieces of such lines. What the server itself adds comes
//! after the name, so lines are read from their end.

use crate::origin::Origin;

/// Most bytes of a user's name that are looked at.
const MAX_USER_BYTES: usize = 100;

/// What no line is believed to have happened more often than.
const MAX_TIMES: u64 = 1_000_000;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// Who it says it is; empty when the line does not say.
    pub user: &'a str,
    /// Where it came from.
    pub origin: Origin,
    /// Port of the connection.
    pub port: Option<u16>,
    /// How often it happened: more than once where syslog has folded lines.
    pub times: u64,
    /// The machine that says so, if the line has syslog's prefix.
    pub machine: &'a str,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A login failed.
    Failed(Method),
    /// A connection ended, or named an unknown user, without saying that a login failed: said once a connection, beside what failed.
    Suspect,
    /// PAM says that a login failed: beside what the server itself says.
    Pam,
    /// A login succeeded.
    Accepted(Method),
}

/// How somebody logged in, or tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By something that can be guessed: a password, or answers to questions.
    Guessable,
    /// By a key, a ticket or a host: a client with many keys fails with most of them.
    Key,
    /// By nothing: how every client begins.
    None,
}

/// Parts of all lines that mean something here: what the host filters by.
pub const SUBSTRINGS: [&str; 14] = [
    "Failed password for ",
    "Failed keyboard-interactive",
    "Failed publickey for ",
    "Failed hostbased for ",
    "Failed gssapi-with-mic for ",
    "Failed none for ",
    "Invalid user ",
    "authenticating user ",
    "by invalid user ",
    "from invalid user ",
    "uthentication failure",
    "maximum authentication attempts exceeded for ",
    "Accepted password for ",
    "Accepted keyboard-interactive",
];

/// Returns what `line` says about a login, if anything.
#[must_use]
pub fn parse(line: &str) -> Option<Event<'_>> {
    let line = line.trim_end();
    // First without a prefix: a user's name that looks like one must not hide the line.
    message_event(line).or_else(|| {
        let (machine, message) = split_prefix(line)?;
        message_event(message).map(|event| Event { machine, ..event })
    })
}

/// Splits `Nov 24 00:10:41 web1 sshd[123]: message` into machine and message. Only the server's own lines are of interest.
fn split_prefix(line: &str) -> Option<(&str, &str)> {
    // The prefix ends at the first `: `, and before that stands the program.
    let (head, message) = line.split_once(": ")?;
    let mut words = head.rsplit(' ');
    let program = words.next()?.split('[').next()?;
    let is_server = matches!(program, "sshd" | "sshd-session" | "sshd-auth") || program.ends_with("/sshd");
    is_server.then(|| (words.next().unwrap_or_default(), message))
}

/// Takes off syslog's `message repeated 3 times: [ … ]`.
fn unfold(message: &str) -> (u64, &str) {
    let folded = || {
        let (times, inner) = message.strip_prefix("message repeated ")?.split_once(" times: [")?;
        Some((times.parse().ok()?, inner.strip_suffix(']')?.trim()))
    };
    folded().unwrap_or((1, message))
}

fn message_event(message: &str) -> Option<Event<'_>> {
    let (times, message) = unfold(message);
    let event = single_event(message)?;
    Some(Event { times: event.times.saturating_mul(times).clamp(1, MAX_TIMES), ..event })
}

fn single_event(message: &str) -> Option<Event<'_>> {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    if let Some(rest) = message.strip_prefix("Failed ") {
        let (method, rest) = method(rest)?;
        return user_from_address(rest, Kind::Failed(method));
    }
    if let Some(rest) = message.strip_prefix("Accepted ") {
        let (method, rest) = method(rest)?;
        return user_from_address(rest, Kind::Accepted(method));
    }
    if let Some(rest) = message.strip_prefix("Invalid user ") {
        return user_from_address(rest, Kind::Suspect);
    }
    if let Some(rest) = message.strip_prefix("maximum authentication attempts exceeded for ") {
        return user_from_address(rest, Kind::Suspect);
    }
    for ended in ["Connection closed by ", "Connection reset by ", "Disconnected from ", "Disconnecting "] {
        if let Some(rest) = message.strip_prefix(ended) {
            return user_address(rest);
        }
    }
    if let Some(rest) = message.strip_prefix("PAM: Authentication failure for ") {
        return user_from_address(rest, Kind::Pam);
    }
    pam(message)
}

/// Reads `password for ` and the like.
fn method(rest: &str) -> Option<(Method, &str)> {
    let (name, rest) = rest.split_once(" for ")?;
    // After a slash stands which device asked: `keyboard-interactive/pam`.
    let method = match name.split('/').next()? {
        "password" | "keyboard-interactive" | "challenge-response" => Method::Guessable,
        "none" => Method::None,
        "publickey" | "hostbased" | "gssapi-with-mic" | "gssapi-keyex" => Method::Key,
        _ => return None,
    };
    Some((method, rest))
}

/// Reads `[invalid user ]NAME from ADDRESS port N …`: the last `from` is the server's own.
fn user_from_address(rest: &str, kind: Kind) -> Option<Event<'_>> {
    let (user, tail) = rest.rsplit_once(" from ").or_else(|| Some(("", rest.strip_prefix("from ")?)))?;
    let mut words = tail.split(' ');
    let origin = Origin::read(words.next()?)?;
    let port = match words.next() {
        None | Some("[preauth]" | "ssh2" | "ssh2:") => None,
        Some("port") => Some(words.next()?.trim_end_matches(':').parse().ok()?),
        Some(_) => return None,
    };
    let user = user.strip_prefix("invalid user ").or_else(|| user.strip_prefix("illegal user ")).unwrap_or(user);
    Some(Event { kind, user: cut(user), origin, port, times: 1, machine: "" })
}

/// Reads `authenticating user NAME ADDRESS port N[: reason][ [preauth]]`. Without a user nobody tried to log in.
fn user_address(rest: &str) -> Option<Event<'_>> {
    let rest = rest.strip_prefix("authenticating user ").or_else(|| rest.strip_prefix("invalid user "))?;
    let (head, tail) = rest.rsplit_once(" port ")?;
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let port = tail[..digits].parse().ok()?;
    let (user, address) = head.rsplit_once(' ').unwrap_or(("", head));
    Some(Event { kind: Kind::Suspect, user: cut(user), origin: Origin::read(address)?, port: Some(port), times: 1, machine: "" })
}

/// Reads `pam_unix(sshd:auth): authentication failure; … rhost=ADDRESS  user=NAME` and `PAM 2 more authentication failures; …`.
fn pam(message: &str) -> Option<Event<'_>> {
    let (head, fields) = message.split_once("; ")?;
    let times = if let Some(more) = head.strip_prefix("PAM ") {
        let (number, what) = more.split_once(" more authentication failure")?;
        number.parse().ok().filter(|_| what.is_empty() || what == "s")?
    } else {
        let (module, what) = head.split_once("): ")?;
        (module.starts_with("pam_") && module.ends_with("(sshd:auth") && what == "authentication failure").then_some(1)?
    };
    // The user's name comes last, so what stands before it is PAM's own.
    let (before, user) = fields.split_once(" user=").unwrap_or((fields, ""));
    let (_, host) = before.split_once("rhost=")?;
    let origin = Origin::read(host.split(' ').next()?)?;
    Some(Event { kind: Kind::Pam, user: cut(user), origin, port: None, times, machine: "" })
}

fn cut(user: &str) -> &str {
    &user[..user.floor_char_boundary(MAX_USER_BYTES)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> String {
        parse(line).map_or_else(
            || "nothing".to_owned(),
            |event| {
                let port = event.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{:?} {:?} {}{port} x{} {}", event.kind, event.user, event.origin, event.times, event.machine)
                    .trim_end()
                    .to_owned()
            },
        )
    }

    #[test]
    fn the_odd_lines_of_the_fixture_are_read_as_it_says() {
        let mut wrong = Vec::new();
        for pair in include_str!("../fixtures/odd-lines.txt").split("\n\n").filter(|pair| !pair.trim().is_empty()) {
            let lines: Vec<&str> = pair.lines().filter(|line| !line.starts_with('#')).collect();
            let [line, expected] = lines.as_slice() else { panic!("not a line and what it means: {pair}") };
            let found = read(line);
            if found != expected.trim_start_matches("=> ") {
                wrong.push(format!("{line}\n   {found}\nnot {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_kind_of_line_passes_the_hosts_filter() {
        for pair in include_str!("../fixtures/odd-lines.txt").split("\n\n").filter(|pair| !pair.trim().is_empty()) {
            let line = pair.lines().find(|line| !line.starts_with('#')).unwrap();
            // Logins with keys prove nothing and are not asked for.
            let means = parse(line).is_some_and(|event| event.kind != Kind::Accepted(Method::Key));
            assert!(!means || SUBSTRINGS.iter().any(|part| line.contains(part)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn the_address_is_the_servers_whatever_the_user_typed(
            user in "[ -~]{1,80}", more in "(| from 9.9.9.9 port 22 ssh2| from 9.9.9.9| port 9 \\[preauth\\])", port in 1_u16..,
        ) {
            let user = format!("{user}{more}");
            for line in [
                format!("Failed password for invalid user {user} from 203.0.113.7 port {port} ssh2"),
                format!("Invalid user {user} from 203.0.113.7 port {port}"),
                format!("Connection closed by invalid user {user} 203.0.113.7 port {port} [preauth]"),
                format!("error: maximum authentication attempts exceeded for invalid user {user} from 203.0.113.7 port {port} ssh2 [preauth]"),
            ] {
                let line = format!("Nov 24 00:10:41 web1 sshd[123]: {line}");
                let event = parse(&line).unwrap();
                prop_assert_eq!(event.origin.to_string(), "203.0.113.7", "{}", line);
                prop_assert_eq!(event.port, Some(port), "{}", line);
            }
        }

        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,200}") {
            let _ = parse(&line);
        }

        #[test]
        fn no_line_of_the_servers_words_makes_it_panic(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "Failed", "password", "for", "from", "invalid", "user", "port", "22", "ssh2", "[preauth]", "1.2.3.4", "::1", "Invalid",
                "Connection closed by", "authenticating user", "message repeated", "3 times: [", "]", "PAM", "rhost=", "; ", "sshd[1]:",
                "pam_unix(sshd:auth): authentication failure;", "user=", "ä", "",
            ]), 0..16),
        ) {
            let _ = parse(&words.join(" "));
        }
    }
}
