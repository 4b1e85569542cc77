//! What a plugin says: lines in the host's own log, at a limited rate, and the last of them for whoever asks about the plugin.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use crate::clock::Clock;
use crate::telemetry::Counter;

/// The target of events that plugins make.
pub const LOG_TARGET: &str = "watchfire::plugins";
/// Lines a plugin may write at once, and then a second.
const BURST: f64 = 100.0;
const LINES_PER_SECOND: f64 = 10.0;
/// Lines kept for whoever asks.
const KEPT_LINES: usize = 200;
/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 4 << 10;

/// One line of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginLine {
    /// When it was said.
    pub timestamp: Timestamp,
    /// OpenTelemetry severity number.
    pub severity_number: u8,
    /// What it said.
    pub text: String,
}

/// The log of one plugin. Cheap to clone.
#[derive(Clone)]
pub struct PluginLog(Arc<Inner>);

struct Inner {
    plugin: String,
    clock: Clock,
    dropped: Counter,
    state: Mutex<State>,
}

struct State {
    lines: VecDeque<PluginLine>,
    allowance: f64,
    filled_at: Timestamp,
}

impl PluginLog {
    /// Returns an empty log of `plugin`; `dropped` counts what was too much.
    #[must_use]
    pub fn new(plugin: &str, clock: Clock, dropped: Counter) -> Self {
        let state = State { lines: VecDeque::new(), allowance: BURST, filled_at: clock.now() };
        Self(Arc::new(Inner { plugin: plugin.to_owned(), clock, dropped, state: Mutex::new(state) }))
    }

    /// Writes one line, unless there were too many.
    pub fn write(&self, severity: u8, text: &str) {
        let now = self.0.clock.now();
        {
            let mut state = self.0.state.lock();
            let gained = now.since(state.filled_at).as_secs_f64() * LINES_PER_SECOND;
            state.allowance = (state.allowance + gained).min(BURST);
            state.filled_at = now;
            if state.allowance < 1.0 {
                self.0.dropped.inc();
                return;
            }
            state.allowance -= 1.0;
            if state.lines.len() == KEPT_LINES {
                state.lines.pop_front();
            }
            let text = text[..text.floor_char_boundary(MAX_LINE_BYTES)].to_owned();
            state.lines.push_back(PluginLine { timestamp: now, severity_number: severity, text });
        }
        let text = &text[..text.floor_char_boundary(MAX_LINE_BYTES)];
        let plugin = self.0.plugin.as_str();
        match severity {
            0..=8 => tracing::debug!(target: LOG_TARGET, plugin, "{plugin}: {text}"),
            9..=12 => tracing::info!(target: LOG_TARGET, plugin, "{plugin}: {text}"),
            13..=16 => tracing::warn!(target: LOG_TARGET, plugin, "{plugin}: {text}"),
            _ => tracing::error!(target: LOG_TARGET, plugin, "{plugin}: {text}"),
        }
    }

    /// Returns the last lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<PluginLine> {
        self.0.state.lock().lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_chatty_plugin_is_cut_short_and_heard_again_later() {
        let clock = Clock::manual(Timestamp::from_seconds(1));
        let dropped = Counter::default();
        let log = PluginLog::new("chatty", clock.clone(), dropped.clone());
        for number in 0..1000 {
            log.write(9, &format!("line {number}"));
        }
        assert_eq!((log.lines().len(), dropped.get()), (100, 900));
        clock.advance(Duration::from_secs(1));
        log.write(9, &"ä".repeat(100_000));
        let last = log.lines().pop().unwrap();
        assert!(last.text.len() <= MAX_LINE_BYTES);
    }
}
