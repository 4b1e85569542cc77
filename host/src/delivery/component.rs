//! Sends through a component: it plans requests and reads replies, the host sends them and remembers how far it came.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tracing::{error, warn};

use super::channel::{Outcome, Receipt, Ways};
use super::egress::component::{ComponentEgress, NOT_SENT};
use super::notification::Notification;
use super::pacer::Pacer;
use super::progress::Progress;
use super::render::cut;
use super::retry::MAX_RETRY_AFTER;
use super::worker::LOG_TARGET;
use crate::clock::Clock;
use crate::plugins::secrets::SecretBox;
use crate::plugins::{CallError, Kind, OnFailure, Plugin, Plugins, wire};
use crate::store::StoreError;

/// Most batches of one delivery, and requests of one batch.
const MAX_ROUNDS: usize = 16;
const MAX_REQUESTS: usize = 32;
/// Most requests at once, whatever a component says of its service.
const MAX_CONCURRENCY: u32 = 8;
/// Most bytes of state that are kept with a row.
const MAX_STATE_BYTES: usize = 64 << 10;
/// Most bytes of what a component wants back with the group's next notification.
const MAX_RECEIPT_BYTES: usize = 4 << 10;
/// Most characters of what a component says.
const MAX_MESSAGE: usize = 300;
/// How long a delivery may take in all, without what it waits for its turn.
const TOTAL: Duration = Duration::from_secs(60);
/// How long a batch waits for its turn before the whole receiver does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for plugins that are still being compiled after the start.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// How long to wait after the store refused.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// The class of failures that are a plugin's own, for counting.
const CLASS: &str = "plugin";

/// A channel that is a plugin, looked up anew for each attempt: it may be switched on, replaced or broken at any time.
pub struct ComponentChannel {
    name: String,
    plugins: Plugins,
    egress: ComponentEgress,
    pacer: Arc<Pacer>,
    clock: Clock,
}

/// Why an attempt ended early.
enum Ended {
    /// A call into the component failed.
    Call(CallError),
    /// It is not its turn for so long.
    Paced(Duration),
    /// It took too long.
    Late,
    /// How far it came cannot be stored, and going on would send twice.
    Store(StoreError),
}

impl From<CallError> for Ended {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl ComponentChannel {
    /// Returns the channel of plugin `name`.
    #[must_use]
    pub fn new(name: String, ways: &Ways) -> Self {
        Self {
            name,
            plugins: ways.plugins.clone(),
            egress: ways.components.clone(),
            pacer: Arc::clone(&ways.pacer),
            clock: ways.clock.clone(),
        }
    }

    /// Returns the hosts that it was granted.
    #[must_use]
    pub fn address(&self) -> String {
        self.plugin().map(|plugin| plugin.policy().outbound.join(", ")).unwrap_or_default()
    }

    /// Returns why the plugin cannot be used, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.plugin().err().filter(|_| self.has_looked())
    }

    fn has_looked(&self) -> bool {
        *self.plugins.changes().borrow() > 0
    }

    fn plugin(&self) -> Result<Arc<Plugin>, String> {
        let plugin = self.plugins.get(&self.name)?;
        if plugin.kind() == Kind::Channel {
            return Ok(plugin);
        }
        Err(format!("plugin `{}` is no channel, it is for something else: {}", self.name, plugin.kind().name()))
    }

    /// Sends `notification`, going on where an earlier attempt ended.
    pub async fn send(&self, notification: &Notification, progress: &Progress) -> Outcome {
        if !self.has_looked() {
            let mut changes = self.plugins.changes();
            // Whether it came or not is asked next.
            let _ = tokio::time::timeout(FIRST_LOOK, changes.wait_for(|count| *count > 0)).await;
        }
        let plugin = match self.plugin() {
            Ok(plugin) => plugin,
            Err(reason) => return retry(None, reason),
        };
        let ended = match self.drive(&plugin, notification, progress).await {
            Ok(outcome) => return outcome,
            Err(ended) => ended,
        };
        let name = &self.name;
        match ended {
            Ended::Paced(after) => Outcome::Paced { after },
            Ended::Late => retry(None, format!("plugin `{name}` did not come to an end within {} s", TOTAL.as_secs())),
            Ended::Store(error) => retry(None, format!("how far it came cannot be stored: {error}")),
            Ended::Call(error) => self.explain(&plugin, &error),
        }
    }

    /// Returns what follows from a call that failed.
    fn explain(&self, plugin: &Plugin, error: &CallError) -> Outcome {
        let reason = format!("plugin `{}`: {}", self.name, cut(&one_line(&error.to_string()), 2 * MAX_MESSAGE));
        match error {
            CallError::Backoff { until } => retry(Some(until.since(self.clock.now())), reason),
            CallError::Refused { code: 1, .. } => Outcome::Credentials { reason },
            CallError::Refused { code: 2, .. } => Outcome::Never { reason },
            error if error.poisons() && plugin.settings().on_failure == Some(OnFailure::Skip) => Outcome::Never { reason },
            _ => retry(None, reason),
        }
    }

    async fn drive(&self, plugin: &Arc<Plugin>, notification: &Notification, progress: &Progress) -> Result<Outcome, Ended> {
        let now = self.clock.now();
        let mut deadline = Instant::now() + TOTAL;
        let mut session = plugin.open_channel(now).await?;
        let secrets = session.secrets().clone();
        let by = format!("{} {}", plugin.name(), plugin.descriptor().state_version);
        let told = super::wire::notification(notification, plugin.limits().max_alerts, progress.previous_receipt(), now);
        let told = Arc::new(told);
        let mut step = session.plan(Arc::clone(&told), progress.saved_by(&by), now).await?;
        let mut answered: Option<Vec<u8>> = None;
        let mut rounds = 0;
        loop {
            let batch = match step {
                wire::Step::Done(outcome) => return Ok(judge(&outcome, &told, &secrets)),
                wire::Step::Send(batch) => batch,
            };
            rounds += 1;
            let problem =
                if rounds > MAX_ROUNDS { Err(format!("more than {MAX_ROUNDS} batches of requests")) } else { check(&batch) };
            problem.map_err(|problem| self.malformed(plugin, problem))?;
            // It goes on from there, so what was answered need not be sent again, whatever happens from here on.
            if let Some(state) = answered.take() {
                keep(progress, &by, state, deadline).await?;
            }
            deadline += self.take_turn(plugin, batch.requests.len()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ended::Late);
            }
            let exchanges = self.exchange(plugin, &secrets, &batch, deadline).await;
            answered = Some(batch.state.clone());
            step = session.next(Arc::clone(&told), batch.state, exchanges, self.clock.now()).await?;
        }
    }

    /// Counts an answer that cannot be used as a failure of the plugin.
    fn malformed(&self, plugin: &Plugin, problem: String) -> CallError {
        let error = CallError::Malformed { function: "plan", problem };
        plugin.supervisor().failed(&error, self.clock.now());
        error
    }

    /// Waits until `count` requests may be sent, and returns how long that took.
    async fn take_turn(&self, plugin: &Plugin, count: usize) -> Result<Duration, Ended> {
        let per_minute = plugin.limits().per_minute;
        let mut waited = Duration::ZERO;
        while let Err(wait) = self.pacer.admit(&self.name, per_minute, count, self.clock.now()) {
            if waited + wait > PATIENCE {
                return Err(Ended::Paced(wait));
            }
            waited += wait;
            self.clock.sleep(wait).await;
        }
        Ok(waited)
    }

    /// Sends the requests of a batch, and returns what came of each, in their order.
    async fn exchange(&self, plugin: &Plugin, secrets: &SecretBox, batch: &wire::Batch, deadline: Instant) -> Vec<wire::Exchange> {
        let send = |request| self.exchange_one(plugin, secrets, request, deadline);
        if !batch.sequential {
            let at_once = plugin.limits().concurrency.clamp(1, MAX_CONCURRENCY) as usize;
            let sent: Vec<_> = batch.requests.iter().map(|request| send(request).boxed()).collect();
            return futures::stream::iter(sent).buffered(at_once).collect().await;
        }
        let mut exchanges: Vec<wire::Exchange> = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            let in_vain = exchanges.last().is_some_and(|last| !last.as_ref().is_ok_and(|reply| (200..300).contains(&reply.status)));
            exchanges.push(if in_vain {
                Err(wire::Failure { code: NOT_SENT, message: "not sent, since an earlier request failed".to_owned() })
            } else {
                send(request).await
            });
        }
        exchanges
    }

    async fn exchange_one(
        &self,
        plugin: &Plugin,
        secrets: &SecretBox,
        request: &wire::Request,
        deadline: Instant,
    ) -> wire::Exchange {
        let left = deadline.saturating_duration_since(Instant::now());
        self.egress.exchange(plugin, secrets, request, left).await
    }
}

fn retry(after: Option<Duration>, reason: String) -> Outcome {
    Outcome::Retry { after, class: CLASS, reason }
}

fn check(batch: &wire::Batch) -> Result<(), String> {
    match (batch.requests.len(), batch.state.len()) {
        (0, _) => Err("a batch without requests".to_owned()),
        (count, _) if count > MAX_REQUESTS => Err(format!("a batch of more than {MAX_REQUESTS} requests")),
        (_, size) if size > MAX_STATE_BYTES => Err(format!("a state of more than {MAX_STATE_BYTES} bytes")),
        _ => Ok(()),
    }
}

/// Stores how far it came, again and again until `deadline`: without that, going on would send twice after a crash.
async fn keep(progress: &Progress, by: &str, state: Vec<u8>, deadline: Instant) -> Result<(), Ended> {
    loop {
        match progress.keep(by, state.clone()).await {
            Err(failed @ StoreError::Sqlite { .. }) if Instant::now() + STORE_RETRY < deadline => {
                error!(target: LOG_TARGET, reason = %failed, "how far a delivery came cannot be stored; trying again");
                tokio::time::sleep(STORE_RETRY).await;
            }
            other => return other.map_err(Ended::Store),
        }
    }
}

/// Returns what follows from what a component says became of it.
fn judge(outcome: &wire::Outcome, told: &wire::Notification, secrets: &SecretBox) -> Outcome {
    let said = cut(&one_line(&secrets.show(&outcome.message)), MAX_MESSAGE);
    let reason = if said.is_empty() { format!("it ended with code {}", outcome.code) } else { said.clone() };
    match outcome.code {
        0 => Outcome::Delivered { receipt: receipt(outcome, &said, told, secrets) },
        2 => Outcome::Never { reason },
        3 => Outcome::Credentials { reason },
        4 => Outcome::Never { reason: format!("too large for the service: {reason}") },
        5 => Outcome::Credentials { reason: format!("misconfigured: {reason}") },
        _ => {
            let after = outcome.retry_after_ms.map(|after| Duration::from_millis(after).min(MAX_RETRY_AFTER));
            Outcome::Retry { after, class: "service", reason }
        }
    }
}

fn receipt(outcome: &wire::Outcome, said: &str, told: &wire::Notification, secrets: &SecretBox) -> Receipt {
    let reference = outcome.receipt.as_ref().map(|receipt| secrets.show(receipt));
    let mut parts = Vec::new();
    if !said.is_empty() {
        parts.push(said.to_owned());
    }
    if let Some(reference) = &reference {
        parts.push(format!("receipt {}", cut(&one_line(reference), MAX_MESSAGE)));
    }
    let (mut missing, mut unknown): (Vec<u32>, usize) = (Vec::new(), 0);
    for index in &outcome.failed_alerts {
        if (*index as usize) < told.alerts.len() { missing.push(*index) } else { unknown += 1 }
    }
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let names = missing.iter().take(3).map(|index| told.alerts[*index as usize].rule.as_str()).collect::<Vec<_>>().join(", ");
        let names = cut(&one_line(&names), MAX_MESSAGE);
        warn!(target: LOG_TARGET, id = told.id, "the service did not take {} of {} alerts: {names}", missing.len(), told.alerts.len());
        parts.push(format!("without {} of {} alerts ({names})", missing.len(), told.alerts.len()));
    }
    if unknown > 0 {
        parts.push(format!("it names {unknown} failed alerts that there are not"));
    }
    let reference = reference.filter(|reference| {
        let fits = reference.len() <= MAX_RECEIPT_BYTES;
        if !fits {
            parts.push(format!("its receipt has more than {MAX_RECEIPT_BYTES} bytes and is not kept"));
        }
        fits
    });
    let text = if parts.is_empty() { "delivered".to_owned() } else { parts.join("; ") };
    Receipt { text, reference }
}

fn one_line(text: &str) -> String {
    text.split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchfire_types::Timestamp;

    use crate::delivery::render::test_notification;

    fn told() -> wire::Notification {
        let notification = test_notification("id".into(), "chat", "", Timestamp::from_seconds(1_795_000_000));
        super::super::wire::notification(&notification, 0, None, Timestamp::from_seconds(1_795_000_000))
    }

    fn outcome(code: u16) -> wire::Outcome {
        wire::Outcome {
            code,
            receipt: None,
            retry_after_ms: None,
            message: "as\n\u{7}it\tsays".into(),
            failed_alerts: Vec::new(),
            extra: Vec::new(),
        }
    }

    fn judged(outcome: &wire::Outcome) -> Outcome {
        judge(outcome, &told(), &SecretBox::new(Arc::default()))
    }

    #[test]
    fn what_a_component_says_decides_what_follows() {
        let followed = (0..=7).chain([u16::MAX]).map(|code| match judged(&outcome(code)) {
            Outcome::Delivered { receipt } => format!("{code} delivered: {}", receipt.text),
            Outcome::Retry { reason, class, .. } => format!("{code} retry {class}: {reason}"),
            Outcome::Credentials { reason } => format!("{code} credentials: {reason}"),
            Outcome::Never { reason } => format!("{code} never: {reason}"),
            Outcome::Paced { .. } | Outcome::Unclaimed { .. } => format!("{code} paced"),
        });
        insta::assert_snapshot!(followed.collect::<Vec<_>>().join("\n"), @"
        0 delivered: as it says
        1 retry service: as it says
        2 never: as it says
        3 credentials: as it says
        4 never: too large for the service: as it says
        5 credentials: misconfigured: as it says
        6 retry service: as it says
        7 retry service: as it says
        65535 retry service: as it says
        ");
    }

    #[test]
    fn nothing_a_component_says_is_without_bounds() {
        let mut wild = outcome(0);
        wild.message = "m".repeat(8 << 20);
        wild.receipt = Some("r".repeat(1 << 20));
        wild.failed_alerts = (0..100_000).map(|number| u32::MAX - number).chain([0, 0]).collect();
        let Outcome::Delivered { receipt } = judged(&wild) else { panic!("delivered") };
        assert!(receipt.reference.is_none() && receipt.text.len() < 2_000, "{}", receipt.text);
        let end = receipt.text.split("; ").skip(2).collect::<Vec<_>>().join("; ");
        insta::assert_snapshot!(end, @"without 1 of 1 alerts (watchfire); it names 100000 failed alerts that there are not; its receipt has more than 4096 bytes and is not kept");
        let mut late = outcome(1);
        late.retry_after_ms = Some(u64::MAX);
        assert!(matches!(judged(&late), Outcome::Retry { after: Some(MAX_RETRY_AFTER), .. }));
        let mut silent = outcome(9);
        silent.message.clear();
        assert!(matches!(judged(&silent), Outcome::Retry { reason, .. } if reason == "it ended with code 9"));
    }

    #[test]
    fn a_receipt_is_kept_as_it_is() {
        let mut sent = outcome(0);
        sent.receipt = Some("ts=17.5".into());
        let Outcome::Delivered { receipt } = judged(&sent) else { panic!("delivered") };
        assert_eq!((receipt.text.as_str(), receipt.reference.as_deref()), ("as it says; receipt ts=17.5", Some("ts=17.5")));
    }

    #[test]
    fn a_batch_has_bounds() {
        let request = wire::Request {
            method: "GET".into(),
            url: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            idempotent: true,
            timeout_ms: 0,
            max_reply_bytes: 0,
            extra: Vec::new(),
        };
        let checked = |requests: usize, state: usize| {
            check(&wire::Batch { requests: vec![request.clone(); requests], sequential: true, state: vec![0; state] })
        };
        assert_eq!((checked(1, 0), checked(MAX_REQUESTS, MAX_STATE_BYTES)), (Ok(()), Ok(())));
        let problems = [checked(0, 0), checked(MAX_REQUESTS + 1, 0), checked(1, MAX_STATE_BYTES + 1)].map(Result::unwrap_err);
        assert_eq!(problems, ["a batch without requests", "a batch of more than 32 requests", "a state of more than 65536 bytes"]);
    }
}
