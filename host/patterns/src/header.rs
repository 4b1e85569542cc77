//! What stands before the message in a line: times, host, level, component, process. The message alone is mined.
//!
//! No configuration and no statistics: a line tells by itself, so the same line always gives the same message. Everything hinges on a
//! time near its beginning; a line without one is all message.

use memchr::memchr;

use crate::bytes::{DIGIT, LETTER, class};
use crate::stamp::{self, Stamp};

/// Most columns before and between times.
const MAX_COLUMNS: usize = 5;
/// Longest text in brackets that is taken for a part of the header.
const MAX_BRACKETS: usize = 160;

/// Returns where the message of `line` begins.
#[inline]
pub fn message_start(line: &[u8]) -> usize {
    // Most lines of a message alone begin with a letter and no date follows: that is told at once.
    match line.first() {
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() && !may_begin(line) => 0,
        Some(_) => full(line),
    }
}

/// Returns whether a line that begins with a letter may have a header: `Jan  5 …`, `I0102 …`, or a column and then a date.
fn may_begin(line: &[u8]) -> bool {
    let Some(blank) = memchr(b' ', &line[..line.len().min(96)]) else { return false };
    let after = line[blank + 1..].iter().copied().find(|byte| *byte != b' ').unwrap_or(0);
    (after.is_ascii_digit() || after == b'[' || blank == 3)
        && (blank <= 4 || line[..blank].iter().any(|byte| byte.is_ascii_digit() || *byte == b':') || after == b'[')
        || blank <= 5 && level(&line[..blank])
}

fn full(line: &[u8]) -> usize {
    let mut header = Header { line, at: 0 };
    let version = header.priority();
    let Some(stamp) = header.stamps() else { return 0 };
    if version {
        header.rfc5424();
    } else {
        header.fields(stamp);
    }
    header.separators();
    if header.at >= line.len() || line[header.at..].iter().all(|byte| *byte <= b' ') { 0 } else { header.at }
}

struct Header<'a> {
    line: &'a [u8],
    at: usize,
}

impl Header<'_> {
    fn blanks(&mut self) -> usize {
        let count = self.line[self.at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at += count;
        count
    }

    fn peek(&self) -> u8 {
        self.line.get(self.at).copied().unwrap_or(0)
    }

    /// Returns the end of the run at `at` that has no blank.
    fn chunk_end(&self, at: usize) -> usize {
        at + self.line[at..].iter().take_while(|byte| **byte > b' ').count()
    }

    /// Skips `<34>` and returns whether the version of RFC 5424 follows.
    fn priority(&mut self) -> bool {
        if self.peek() != b'<' {
            return false;
        }
        let digits = self.line[1..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || self.line.get(1 + digits) != Some(&b'>') {
            return false;
        }
        self.at = digits + 2;
        if self.line[self.at..].starts_with(b"1 ") {
            self.at += 2;
            return true;
        }
        false
    }

    /// Skips host, program, process, message id and structured data.
    fn rfc5424(&mut self) {
        for _ in 0..4 {
            self.blanks();
            self.at = self.chunk_end(self.at);
        }
        self.blanks();
        if self.peek() == b'-' {
            self.at += 1;
        } else {
            while self.peek() == b'[' && self.brackets() {}
        }
    }

    /// Skips to behind the last time of the header. Other columns may stand before and between times: `- 1117838570 2005.06.03 R02 …`.
    fn stamps(&mut self) -> Option<Stamp> {
        let mut found = None;
        let mut columns = 0;
        let mut at = self.at;
        loop {
            let mut here = Header { line: self.line, at };
            here.blanks();
            at = here.at;
            if at >= self.line.len() {
                break;
            }
            let bare = found.is_none() && columns == 0;
            if let Some((stamp, end)) = stamp::read(&self.line[at..])
                // A bare number of seconds at the very beginning may be any number.
                && (stamp != Stamp::Epoch || columns > 0 || found.is_some() || self.epoch_at_start(at + end))
            {
                found = Some(stamp);
                at += end;
                self.at = at;
                columns = 0;
                if matches!(self.line.get(at), Some(b'|')) {
                    break;
                }
                continue;
            }
            let end = self.chunk_end(at);
            let chunk = &self.line[at..end];
            let most = if found.is_some() { 1 } else { MAX_COLUMNS };
            // `host - user [time]`, as web servers write it.
            let is_user = columns == 2 && found.is_none() && self.line[end..].starts_with(b" [") && is_host(chunk);
            // Between two times any name may stand: it is only skipped if the second one is there.
            let is_between = found.is_some() && is_host(chunk);
            if columns == most || !is_user && !is_between && !is_column(chunk, bare) {
                break;
            }
            columns += 1;
            at = end;
        }
        found
    }

    /// Returns whether a number of seconds that ends at `end` and begins the line is followed by a column or has a fraction.
    fn epoch_at_start(&self, end: usize) -> bool {
        let mut next = Header { line: self.line, at: end };
        next.blanks();
        stamp::read(&self.line[next.at..]).is_some() || level(&self.line[next.at..next.chunk_end(next.at)])
    }

    /// Skips what follows the times: host, level, process, thread, component.
    fn fields(&mut self, stamp: Stamp) {
        let mut had_level = false;
        // As in logcat, where a tag always follows.
        let mut letter_level = false;
        let mut had_name = false;
        if self.peek() == b'|' {
            return self.piped();
        }
        for step in 0..10 {
            self.separators();
            let start = self.at;
            match self.peek() {
                0 => break,
                b'[' => {
                    let is_level = self.bracketed_level();
                    if !self.brackets() {
                        break;
                    }
                    had_level |= is_level;
                    continue;
                }
                b'(' if !had_name && step == 0 => {
                    if !self.parentheses() {
                        break;
                    }
                    continue;
                }
                _ => {}
            }
            let end = self.chunk_end(start);
            let chunk = &self.line[start..end];
            // `error: …` begins a message; so does `ERROR: …` behind the name of the program.
            let begins_message = chunk.ends_with(b":") && (had_name || chunk[0].is_ascii_lowercase());
            if !had_level && level(chunk) && !begins_message {
                had_level = true;
                letter_level = chunk.len() == 1;
                self.at = end;
                // `INFO  name  message`, in columns.
                self.padded_name();
                continue;
            }
            if had_name {
                break;
            }
            if !had_level && let Some(end) = self.level_ahead(start) {
                letter_level = self.line[..end].iter().rev().take_while(|byte| **byte > b' ').count() == 1;
                self.at = end;
                had_level = true;
                self.padded_name();
                continue;
            }
            if stamp == Stamp::Syslog || stamp == Stamp::Iso && !had_level {
                // The host, and then the tag. In ISO form only if a tag follows.
                if let Some(tag) = self.tag(start).filter(|_| !level(chunk)) {
                    self.at = tag;
                    return self.uptime();
                }
                let mut next = Header { line: self.line, at: end };
                next.blanks();
                if let Some(tag) = next.tag(next.at).filter(|_| is_host(chunk)) {
                    self.at = tag;
                    return self.uptime();
                }
                if stamp == Stamp::Syslog && step == 0 && is_host(chunk) && next.at < self.line.len() {
                    self.at = end;
                    break;
                }
            }
            if step == 0 && stamp == Stamp::Epoch && chunk.iter().all(u8::is_ascii_digit) {
                // A flag in a column.
                self.at = end;
                break;
            }
            if let Some(tag) = self.name(start, had_level, letter_level) {
                // A process id is not yet the name.
                had_name = chunk.iter().any(u8::is_ascii_alphabetic);
                self.at = tag;
                if had_name && self.line[tag - 1] == b':' {
                    // What comes now is the message, even if it begins with brackets or a level.
                    return;
                }
                continue;
            }
            break;
        }
    }

    /// Skips the seconds since its start that the kernel writes: `kernel: [   12.345678] …`.
    fn uptime(&mut self) {
        self.blanks();
        if self.peek() == b'['
            && let Some((_, end)) = stamp::read(&self.line[self.at..])
        {
            self.at += end;
        }
    }

    /// `time|component|process|message`.
    fn piped(&mut self) {
        for _ in 0..5 {
            let rest = &self.line[self.at + 1..];
            let Some(length) = memchr(b'|', &rest[..rest.len().min(48)]) else { break };
            if rest[..length].iter().any(|byte| matches!(byte, b'=' | b'"')) {
                break;
            }
            self.at += 1 + length;
        }
        self.at += 1;
    }

    /// Skips what stands between columns.
    fn separators(&mut self) {
        loop {
            let blanks = self.blanks();
            let alone = self.line.get(self.at + 1).is_none_or(|byte| *byte <= b' ');
            match self.peek() {
                b'-' | b'|' | b':' | b',' if alone || blanks == 0 && matches!(self.peek(), b',' | b':' | b'|') => self.at += 1,
                // Redis marks levels with `*`, `#`, `-` and `.`.
                b'*' | b'#' | b'.' if alone && blanks > 0 => self.at += 1,
                b'-' if self.line[self.at..].starts_with(b"--- ") => self.at += 3,
                _ => return,
            }
        }
    }

    /// Skips text in brackets.
    fn brackets(&mut self) -> bool {
        self.pair(b'[', b']')
    }

    fn parentheses(&mut self) -> bool {
        self.pair(b'(', b')')
    }

    fn pair(&mut self, open: u8, close: u8) -> bool {
        let mut depth = 0;
        for (index, &byte) in self.line[self.at..].iter().take(MAX_BRACKETS).enumerate() {
            if byte == open {
                depth += 1;
            } else if byte == close {
                depth -= 1;
                if depth == 0 {
                    self.at += index + 1;
                    if self.peek() == b':' {
                        self.at += 1;
                    }
                    return true;
                }
            }
        }
        false
    }

    fn bracketed_level(&self) -> bool {
        let inside = &self.line[self.at + 1..];
        memchr(b']', &inside[..inside.len().min(32)])
            .is_some_and(|end| level(&inside[..end]) || inside[..end].rsplit(|byte| *byte == b':').next().is_some_and(level))
    }

    /// Returns the end of a level that is at most six columns away, all of which look like a header: `25746 INFO`, `RAS KERNEL INFO`.
    fn level_ahead(&self, start: usize) -> Option<usize> {
        let mut header = Header { line: self.line, at: start };
        for _ in 0..6 {
            let end = header.chunk_end(header.at);
            let chunk = &self.line[header.at..end];
            let columnar = chunk
                .iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b':' | b'.'))
                || is_column(chunk, false)
                || chunk.first() == Some(&b'[');
            if !columnar || chunk.is_empty() {
                return None;
            }
            header.at = end;
            header.separators();
            let end = header.chunk_end(header.at);
            let next = &self.line[header.at..end];
            // A single letter or a small word after text is no level: only what stands in capitals.
            if level(next) && next[0].is_ascii_uppercase() && (next.len() > 1 || chunk.iter().all(u8::is_ascii_digit)) {
                return Some(end);
            }
        }
        None
    }

    /// `name:`, `name[123]:`, `name(module)[123]:`, `name[1] (other[2]):`, as syslog writes them.
    fn tag(&self, start: usize) -> Option<usize> {
        let mut at = start + self.line[start..].iter().take(64).take_while(|byte| is_name_byte(**byte)).count();
        if at == start || !self.line[start..at].iter().any(u8::is_ascii_alphabetic) {
            return None;
        }
        let mut bracketed = false;
        loop {
            match self.line.get(at).copied() {
                Some(open @ (b'[' | b'(')) => {
                    let mut inner = Header { line: self.line, at };
                    if !inner.pair_tight(open) {
                        return None;
                    }
                    at = inner.at;
                    bracketed |= open == b'[';
                }
                Some(b':') if self.line.get(at + 1).is_none_or(|byte| *byte <= b' ') => return Some(at + 1),
                Some(b':') if self.line.get(at + 1) == Some(&b':') => {
                    at += 2;
                    at += self.line[at..].iter().take(64).take_while(|byte| is_name_byte(**byte)).count();
                }
                Some(b' ') if spaced_colon(&self.line[at..]) => return Some(at + 2),
                Some(b' ') if bracketed && self.line.get(at + 1) == Some(&b'(') => at += 1,
                _ => return None,
            }
        }
    }

    /// As [`pair`](Self::pair), and leaves a colon where it is.
    fn pair_tight(&mut self, open: u8) -> bool {
        let close = if open == b'[' { b']' } else { b')' };
        let done = self.pair(open, close);
        if done && self.line.get(self.at - 1) == Some(&b':') {
            self.at -= 1;
        }
        done
    }

    /// The component: `org.x.Y:`, `name -`, or, after a level, a dotted name.
    fn name(&self, start: usize, had_level: bool, any: bool) -> Option<usize> {
        if let Some(end) = self.tag(start) {
            // A word before a colon may as well begin the message.
            let name = &self.line[start..end];
            let is_plain = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b':' | b' '));
            let one_case = name.iter().all(|byte| !byte.is_ascii_uppercase()) || name.iter().all(|byte| !byte.is_ascii_lowercase());
            if any
                || !is_plain(name)
                || !one_case && name[1..].iter().any(u8::is_ascii_uppercase)
                || name.windows(2).any(|two| two == b"::")
            {
                return Some(end);
            }
            return None;
        }
        let end = self.chunk_end(start);
        let chunk = &self.line[start..end];
        let is_name = chunk.iter().all(|byte| is_name_byte(*byte) || matches!(byte, b'*' | b'@' | b'#'))
            && chunk.iter().any(u8::is_ascii_alphabetic);
        if is_name && matches!(self.line.get(end..end + 3), Some(b" - " | b" | ")) {
            return Some(end + 2);
        }
        if is_name && chunk.contains(&b'.') {
            // `program.exe *64 - …`
            let mut next = Header { line: self.line, at: end };
            next.blanks();
            let next_end = next.chunk_end(next.at);
            if next_end - next.at <= 6 && self.line[next_end..].starts_with(b" - ") {
                return Some(next_end + 2);
            }
        }
        if is_name
            && had_level
            && chunk.contains(&b'.')
            && chunk.iter().all(|byte| class(*byte) & LETTER != 0 || *byte == b'.')
            && chunk.last() != Some(&b'.')
        {
            return Some(end);
        }
        let numeric = chunk.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'#' | b':'))
            && chunk.first().is_some_and(u8::is_ascii_digit);
        // `31#31:`, and `12345 --- `.
        if numeric && (chunk.ends_with(b":") && chunk.contains(&b'#') || self.line[end..].starts_with(b" --- ")) {
            return Some(end);
        }
        None
    }

    /// A word and then at least two blanks or a tab, directly after a level that is padded too.
    fn padded_name(&mut self) {
        let mut header = Header { line: self.line, at: self.at };
        if header.blanks() < 2 {
            return;
        }
        let start = header.at;
        header.at = start + self.line[start..].iter().take(32).take_while(|byte| is_name_byte(**byte)).count();
        if header.at > start && header.blanks() >= 2 {
            self.at = header.at;
        }
    }
}

/// Returns whether ` : ` follows a name, as it does in columns.
fn spaced_colon(rest: &[u8]) -> bool {
    rest.starts_with(b" : ")
}

fn is_name_byte(byte: u8) -> bool {
    class(byte) & (LETTER | DIGIT) != 0 || matches!(byte, b'.' | b'-' | b'/' | b'$' | b'@' | b'#' | b'*')
}

fn is_host(chunk: &[u8]) -> bool {
    chunk.iter().all(|byte| class(*byte) & (LETTER | DIGIT) != 0 || matches!(byte, b'.' | b'-' | b':' | b'/' | b'#' | b'@'))
        && !matches!(chunk.last(), Some(b':' | b'.'))
}

/// Returns whether a run before or between times looks like a column: a dash, or a name with a digit or a dot and nothing of a sentence.
fn is_column(chunk: &[u8], first: bool) -> bool {
    if chunk == b"-" {
        return true;
    }
    let Some(last) = chunk.last() else { return false };
    if matches!(last, b':' | b',' | b'.' | b';') || chunk.len() > 80 {
        return false;
    }
    let plain = chunk
        .iter()
        .all(|byte| class(*byte) & (LETTER | DIGIT) != 0 || matches!(byte, b'.' | b'-' | b':' | b'/' | b'#' | b'@' | b'[' | b']'));
    plain
        && (chunk.iter().any(|byte| byte.is_ascii_digit() || *byte == b'#')
            || !first && chunk.iter().any(|byte| matches!(byte, b'.' | b'_' | b'-')))
}

/// Returns whether a run is a level, with brackets or a colon or without.
fn level(chunk: &[u8]) -> bool {
    let start = chunk.iter().take_while(|byte| matches!(byte, b'[' | b'<' | b'(' | b'*')).count();
    let end = chunk.len()
        - chunk[start..].iter().rev().take_while(|byte| matches!(byte, b']' | b'>' | b')' | b':' | b',' | b'*' | b'/')).count();
    let word = &chunk[start..end.max(start)];
    match word.len() {
        1 => matches!(word[0], b'I' | b'W' | b'E' | b'D' | b'V' | b'F' | b'C' | b'T' | b'N'),
        3..=13 => {
            const LEVELS: [&str; 28] = [
                "info",
                "warn",
                "warning",
                "error",
                "err",
                "debug",
                "trace",
                "fatal",
                "critical",
                "crit",
                "notice",
                "severe",
                "alert",
                "emerg",
                "emergency",
                "panic",
                "fine",
                "finer",
                "finest",
                "config",
                "verbose",
                "log",
                "dbg",
                "inf",
                "wrn",
                "failure",
                "information",
                "audit",
            ];
            word[0].is_ascii_alphabetic()
                && LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level.as_bytes()))
                && (word.iter().all(u8::is_ascii_uppercase) || word[1..].iter().all(u8::is_ascii_lowercase))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> &str {
        &line[message_start(line.as_bytes())..]
    }

    #[test]
    fn headers_of_all_kinds_are_skipped() {
        for line in [
            "Nov 24 05:37:20 web1 nginx[123]: MESSAGE of 3 words",
            "Nov  4 05:37:20 web nginx: MESSAGE of 3 words",
            "<34>Nov  4 05:37:20 web sshd(pam_unix)[77]: MESSAGE of 3 words",
            "<34>1 2026-11-24T05:37:20.123Z web app 12 ID7 [a@1 b=\"c\"] MESSAGE of 3 words",
            "<34>1 2026-11-24T05:37:20.123Z web app - - - MESSAGE of 3 words",
            "2026-11-24T05:37:20.123456+01:00 web kernel: MESSAGE of 3 words",
            "2026-11-24 05:37:20,123 INFO [main] org.x.Server: MESSAGE of 3 words",
            "2026-11-24 05:37:20,123 - INFO  [main:QuorumPeer@913] - MESSAGE of 3 words",
            "2026-11-24 05:37:20 INFO org.x.Server - MESSAGE of 3 words",
            "081109 203615 148 INFO dfs.Data$Node: MESSAGE of 3 words",
            "17/06/09 20:10:40 INFO executor.Backend: MESSAGE of 3 words",
            "- 1117838570 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.363779 R02-M1-N0 RAS KERNEL INFO MESSAGE of 3 words",
            "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: MESSAGE of 3 words",
            "134681 node-246 unix.hw state.down 1077804742 1 MESSAGE of 3 words",
            "03-17 16:13:38.811  1702  2395 D WindowManager: MESSAGE of 3 words",
            "2016-09-28 04:30:30, Info                  CBS    MESSAGE of 3 words",
            "Jul  1 09:00:55 calvisitor com.apple.xpc.launchd[1] (com.apple.x[12]): MESSAGE of 3 words",
            "[Sun Dec 04 04:47:44 2005] [notice] MESSAGE of 3 words",
            "[Sun Dec 04 04:47:44.123456 2005] [core:notice] [pid 12:tid 34] MESSAGE of 3 words",
            "[10.30 16:49:06] chrome.exe - MESSAGE of 3 words",
            "20171223-22:15:29:606|Step_LSC|30002312|MESSAGE of 3 words",
            "I1124 05:37:20.123456  1234 main.cc:12] MESSAGE of 3 words",
            "api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.osapi.server [req-1 a - -] MESSAGE of 3 words",
            "10.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] MESSAGE of 3 words",
            "2026/11/24 05:37:20 [error] 31#31: MESSAGE of 3 words",
            "2026-11-24 05:37:20.123 UTC [1234] LOG:  MESSAGE of 3 words",
            "1234:M 24 Nov 2026 05:37:20.123 * MESSAGE of 3 words",
            "05:37:20.123 [main] DEBUG org.x.Y - MESSAGE of 3 words",
            "[2026-11-24T05:37:20,123][INFO ][o.e.n.Node] [node1] MESSAGE of 3 words",
            "2026-11-24T05:37:20.123Z  INFO watchfire::app: MESSAGE of 3 words",
            "2026-11-24 05:37:20.123  INFO 12345 --- [main] o.s.b.Application : MESSAGE of 3 words",
            "[    0.123456] MESSAGE of 3 words",
            "Nov 24 05:37:20 web1 kernel: [   12.345678] MESSAGE of 3 words",
            "[10.30 16:49:06] chrome.exe *64 - MESSAGE of 3 words",
            "- 1131566461 2005.11.09 aadmin Nov 9 12:01:01 local@aadmin postfix/smtpd[2915]: MESSAGE of 3 words",
            "- 1117838570 2005.06.03 NULL 2005-06-03-15.42.50.363779 NULL RAS KERNEL INFO MESSAGE of 3 words",
        ] {
            assert_eq!(message(line), "MESSAGE of 3 words", "{line}");
        }
    }

    #[test]
    fn what_looks_like_a_header_behind_the_name_belongs_to_the_message() {
        assert_eq!(message("Nov 24 05:37:20 web1 app[7]: [x.c:12]: error: no 5"), "[x.c:12]: error: no 5");
        assert_eq!(message("2026-11-24 05:37:20,123 INFO [main] org.x.Y: WARN [a] is on"), "WARN [a] is on");
        assert_eq!(message("2026-11-24 05:37:20 error: cannot open 5"), "error: cannot open 5");
    }

    #[test]
    fn a_line_without_a_time_is_all_message() {
        for line in [
            "Accepted password for root from 10.0.0.1 port 22 ssh2",
            "1234567890 bytes sent",
            "10.0.0.1 connected",
            "May the force be with 5 of you",
            "[main] started",
            "Nov 24 05:37:20",
            "-",
            "",
        ] {
            assert_eq!(message(line), line);
        }
    }
}
