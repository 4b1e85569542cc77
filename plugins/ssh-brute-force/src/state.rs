//! What is saved: all that the engine knows, in few bytes. Numbers are written seven bits a byte, times as differences.

use std::collections::BTreeMap;

use crate::engine::{Distinct, Engine, Episode, Known, MAX_DISTINCT, MAX_FAILURES, MAX_ORIGINS, MAX_USERS, Settings, Victim};
use crate::origin::Origin;

/// Version of these bytes. A change of their meaning is a new version.
pub const VERSION: u32 = 1;

/// Returns what `engine` knows as bytes.
#[must_use]
pub fn save(engine: &Engine) -> Vec<u8> {
    let mut out = Writer(vec![VERSION as u8]);
    out.number(engine.origins.len() as u64);
    for (origin, known) in &engine.origins {
        out.origin(origin);
        out.known(known);
    }
    out.number(engine.users.len() as u64);
    for (user, victim) in &engine.users {
        out.text(user);
        out.number(victim.last);
        out.episode(&victim.failures, victim.last);
        out.distinct(&victim.origins, victim.last);
        out.text(&victim.machine);
    }
    out.0
}

/// Returns an engine that knows what [`save`] wrote.
///
/// # Errors
/// If the bytes are of another version, or not whole.
pub fn restore(settings: Settings, version: u32, bytes: &[u8]) -> Result<Engine, String> {
    if version != VERSION || bytes.first() != Some(&(VERSION as u8)) {
        return Err(format!("the saved state is of version {version}, and this plugin reads version {VERSION}"));
    }
    read(settings, &bytes[1..]).ok_or_else(|| "the saved state is not whole".to_owned())
}

fn read(settings: Settings, bytes: &[u8]) -> Option<Engine> {
    let mut input = Reader(bytes);
    let mut origins = BTreeMap::new();
    for _ in 0..input.length(MAX_ORIGINS)? {
        origins.insert(input.origin()?, input.known()?);
    }
    let mut users = BTreeMap::new();
    for _ in 0..input.length(MAX_USERS)? {
        let user = input.text()?;
        let last = input.number()?;
        let (failures, distinct) = (input.episode(last)?, input.distinct(last)?);
        users.insert(user, Victim { last, failures, origins: distinct, machine: input.text()? });
    }
    input.0.is_empty().then_some(Engine { settings, origins, users })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Writes a time that is near `near`: before it, or a little after.
    fn time(&mut self, time: u64, near: u64) {
        let difference = near.wrapping_sub(time) as i64;
        self.number(((difference << 1) ^ (difference >> 63)) as u64);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn origin(&mut self, origin: &Origin) {
        match origin {
            Origin::V4(bits) => {
                self.0.push(4);
                self.0.extend_from_slice(&bits.to_be_bytes());
            }
            Origin::V6(bits) => {
                self.0.push(6);
                self.0.extend_from_slice(&bits.to_be_bytes());
            }
            Origin::Name(name) => {
                self.0.push(0);
                self.text(name);
            }
        }
    }

    fn known(&mut self, known: &Known) {
        self.number(known.last);
        self.episode(&known.failures, known.last);
        self.distinct(&known.users, known.last);
        self.number(known.next_spray_report);
        self.number(known.connections.len() as u64);
        for (port, suspected) in &known.connections {
            self.number(u64::from(*port) << 1 | u64::from(*suspected));
        }
        self.number(known.by_server);
        self.number(known.by_pam);
        self.number(known.entered.len() as u64);
        for user in &known.entered {
            self.0.extend_from_slice(&user.to_be_bytes());
        }
        self.text(&known.machine);
    }

    fn episode(&mut self, episode: &Episode, near: u64) {
        self.number(episode.recent.len() as u64);
        for (time, seq) in &episode.recent {
            self.time(*time, near);
            self.number(*seq);
        }
        self.number(episode.total);
        if episode.total == 0 {
            return;
        }
        for number in [episode.next_report, episode.reported, episode.seqs.0, episode.seqs.1] {
            self.number(number);
        }
        self.time(episode.times.0, near);
        self.time(episode.times.1, near);
        self.number(episode.samples.len() as u64);
        for seq in &episode.samples {
            self.number(*seq);
        }
    }

    fn distinct(&mut self, distinct: &Distinct, near: u64) {
        self.number(distinct.0.len() as u64);
        for (name, last) in &distinct.0 {
            self.0.extend_from_slice(&name.to_be_bytes());
            self.time(*last, near);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn length(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|length| *length <= most)
    }

    fn time(&mut self, near: u64) -> Option<u64> {
        let number = self.number()?;
        let difference = (number >> 1) as i64 ^ -((number & 1) as i64);
        Some(near.wrapping_sub(difference as u64))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length(1024)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn origin(&mut self) -> Option<Origin> {
        match self.byte()? {
            4 => self.bytes().map(|bytes| Origin::V4(u32::from_be_bytes(bytes))),
            6 => self.bytes().map(|bytes| Origin::V6(u64::from_be_bytes(bytes))),
            0 => self.text().map(Origin::Name),
            _ => None,
        }
    }

    fn known(&mut self) -> Option<Known> {
        let last = self.number()?;
        let failures = self.episode(last)?;
        let users = self.distinct(last)?;
        let next_spray_report = self.number()?;
        let connection = |number: u64| Some((u16::try_from(number >> 1).ok()?, number & 1 == 1));
        let connections = (0..self.length(MAX_DISTINCT)?).map(|_| self.number().and_then(connection)).collect::<Option<_>>()?;
        let (by_server, by_pam) = (self.number()?, self.number()?);
        let entered = (0..self.length(MAX_DISTINCT)?).map(|_| self.bytes().map(u64::from_be_bytes)).collect::<Option<_>>()?;
        let machine = self.text()?;
        Some(Known { last, failures, users, next_spray_report, connections, by_server, by_pam, entered, machine })
    }

    fn episode(&mut self, near: u64) -> Option<Episode> {
        let recent =
            (0..self.length(MAX_FAILURES)?).map(|_| Some((self.time(near)?, self.number()?))).collect::<Option<Vec<_>>>()?;
        let total = self.number()?;
        if total == 0 {
            return Some(Episode { recent, ..Episode::default() });
        }
        let (next_report, reported) = (self.number()?, self.number()?);
        let seqs = (self.number()?, self.number()?);
        let times = (self.time(near)?, self.time(near)?);
        let samples = (0..self.length(MAX_DISTINCT)?).map(|_| self.number()).collect::<Option<_>>()?;
        Some(Episode { recent, total, next_report, reported, times, seqs, samples })
    }

    fn distinct(&mut self, near: u64) -> Option<Distinct> {
        let entry = |input: &mut Self| Some((u64::from_be_bytes(input.bytes()?), input.time(near)?));
        (0..self.length(MAX_DISTINCT)?).map(|_| entry(self)).collect::<Option<_>>().map(Distinct)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::Source;
    use crate::engine::tests::{SECOND, draw, of, settings, storm};

    proptest! {
        #[test]
        fn saving_and_restoring_at_any_point_changes_nothing(events in storm(), points in proptest::collection::vec(any::<bool>(), 60)) {
            let run = |points: &[bool]| {
                let mut engine = Engine::new(settings());
                let mut found = Vec::new();
                for (((second, origin, user, kind, port), seq), restart) in events.iter().zip(1..).zip(points) {
                    let source = Source { seq, time: 1_767_225_600 * SECOND + second * SECOND, machine: "web1" };
                    engine.observe(&of(*origin, *user, *kind, *port), source, &mut found);
                    if *restart {
                        engine = restore(settings(), VERSION, &save(&engine)).unwrap();
                    }
                }
                found.extend(engine.expire(u64::MAX));
                found
            };
            prop_assert_eq!(run(&points), run(&[false; 60]));
        }

        #[test]
        fn bytes_that_are_no_state_are_refused_and_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            bytes.insert(0, VERSION as u8);
            if let Ok(mut engine) = restore(settings(), VERSION, &bytes) {
                let mut found = Vec::new();
                engine.observe(&of(0, 0, 0, 1), Source { seq: 1, time: SECOND, machine: "" }, &mut found);
                found.extend(engine.expire(u64::MAX));
                let _: Vec<String> = found.iter().map(draw).collect();
            }
        }
    }

    #[test]
    fn another_version_and_half_a_state_are_refused() {
        let mut engine = Engine::new(settings());
        engine.observe(&of(0, 0, 0, 1), Source { seq: 1, time: SECOND, machine: "" }, &mut Vec::new());
        let bytes = save(&engine);
        assert_eq!(restore(settings(), VERSION, &bytes).as_ref(), Ok(&engine));
        assert!(restore(settings(), VERSION, &bytes[..bytes.len() - 1]).unwrap_err().contains("not whole"));
        assert!(restore(settings(), VERSION + 1, &bytes).unwrap_err().contains("version 2"));
        assert!(restore(settings(), VERSION, &[]).is_err());
    }

    #[test]
    fn an_origin_takes_few_bytes() {
        let mut engine = Engine::new(settings());
        for (number, seq) in (0..1000_u32).zip(1..) {
            let mut event = of(0, 0, 0, 4000);
            event.origin = Origin::V4(number);
            let time = (1_767_225_600 + u64::from(number)) * SECOND;
            engine.observe(&event, Source { seq, time, machine: "web1" }, &mut Vec::new());
        }
        let bytes = save(&engine).len() / 1000;
        assert!(bytes < 60, "{bytes} bytes an origin");
    }
}
