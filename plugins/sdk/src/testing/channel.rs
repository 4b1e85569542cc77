//! Drives a channel as the host does.

use url::Url;

use super::batch::START;
use super::placeholders::allows;
use super::{FakeHost, placeholders};
use crate::bindings::described::Descriptor;
use crate::{Channel, Exchange, Failure, Notification, Outcome, Reply, Request, Result, Step, set_up};

/// Most rounds of requests and replies of one delivery.
const MAX_ROUNDS: usize = 16;

/// A channel with a host of its own, which grants it all it asks for.
pub struct ChannelTester<C> {
    host: FakeHost,
    config: serde_json::Value,
    descriptor: Descriptor,
    now: u64,
    channel: std::marker::PhantomData<C>,
}

/// A request as it would leave the host: secrets in it are values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Its headers.
    pub headers: crate::Labels,
    /// Its body.
    pub body: Vec<u8>,
}

impl SentRequest {
    /// Returns header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// What was sent, in order.
    pub requests: Vec<SentRequest>,
    /// Why the host did not send the others.
    pub refused: Vec<String>,
    /// What the channel says came of it.
    pub outcome: Outcome,
    /// What a retry would be given as progress.
    pub progress: Option<Vec<u8>>,
}

/// Returns a reply without headers.
pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Exchange {
    Ok(Reply { status, headers: Vec::new(), body: body.into(), truncated: false })
}

impl<C: Channel> ChannelTester<C> {
    /// Makes a tester of a channel with this section of the configuration; it has no secrets yet.
    pub fn new(config: serde_json::Value) -> Self {
        let host = FakeHost::new().config(config.clone());
        Self { host, config, descriptor: C::descriptor(), now: START, channel: std::marker::PhantomData }
    }

    /// Gives it the value of secret `name`, bound as the descriptor says.
    ///
    /// # Panics
    /// If the descriptor does not bind such a secret: the host would refuse it.
    pub fn secret(self, name: &str, value: &str) -> Self {
        let bindings = self.descriptor.secret_bindings.iter().filter(|(secret, _)| secret == name);
        let hosts: Vec<String> = bindings.filter_map(|(_, target)| resolve(&self.config, target)).collect();
        assert!(!hosts.is_empty(), "the descriptor does not bind a secret called `{name}` to anything");
        self.host.with_secrets(|secrets| secrets.add(name, value, hosts));
        self
    }

    /// Sets the time of the next delivery, in nanoseconds since 1970.
    pub fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// Returns its host.
    pub fn host(&self) -> &FakeHost {
        &self.host
    }

    /// Returns what the channel says when a person tests it.
    ///
    /// # Errors
    /// What it says to its configuration.
    pub fn self_test(&self) -> Result<String> {
        let channel = self.open()?;
        self.host.run(|| channel.self_test())
    }

    /// Delivers `notification`; `answer` is the service.
    ///
    /// # Errors
    /// What the channel says when it can do nothing.
    pub fn deliver(&self, notification: &Notification, answer: impl FnMut(&SentRequest) -> Exchange) -> Result<Delivered> {
        self.resume(notification, None, answer)
    }

    /// Delivers `notification` with the `progress` of an earlier try.
    ///
    /// # Errors
    /// What the channel says when it can do nothing.
    pub fn resume(
        &self,
        notification: &Notification,
        progress: Option<&[u8]>,
        mut answer: impl FnMut(&SentRequest) -> Exchange,
    ) -> Result<Delivered> {
        let channel = self.open()?;
        self.host.set_now(self.now);
        let mut delivered = Delivered {
            requests: Vec::new(),
            refused: Vec::new(),
            outcome: Outcome::retry(format!("the channel did not come to an end within {MAX_ROUNDS} rounds")),
            progress: progress.map(<[u8]>::to_vec),
        };
        let mut step = self.host.run(|| channel.plan(notification, progress, self.now))?;
        for _ in 0..MAX_ROUNDS {
            let batch = match step {
                Step::Done(outcome) => {
                    delivered.outcome = outcome;
                    break;
                }
                Step::Send(batch) => batch,
            };
            let mut exchanges: Vec<Exchange> = Vec::new();
            for request in &batch.requests {
                let failed = exchanges.last().is_some_and(|exchange| !exchange.as_ref().is_ok_and(Reply::is_success));
                exchanges.push(if batch.sequential && failed {
                    Err(Failure::new(Failure::NOT_SENT, "an earlier request failed"))
                } else {
                    self.exchange(request, &mut delivered, &mut answer)
                });
            }
            step = self.host.run(|| channel.next(notification, &batch.state, &exchanges, self.now))?;
            // The channel goes on from there, so a retry need not do it again.
            if matches!(step, Step::Send(_)) {
                delivered.progress = Some(batch.state);
            }
        }
        Ok(delivered)
    }

    fn open(&self) -> Result<C> {
        let mut config = self.config.clone();
        let schema: serde_json::Value = serde_json::from_str(&self.descriptor.config_schema)?;
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, _) in properties.filter(|(_, schema)| schema["x-secret"] == true) {
            if let Some(placeholder) = self.host.with_secrets(|secrets| secrets.placeholder(name, "raw"))
                && let Some(config) = config.as_object_mut()
            {
                config.insert(name.clone(), placeholder.into());
            }
        }
        self.host.set_config(config.clone());
        self.host.run(|| set_up(&config.to_string(), C::init))
    }

    fn exchange(
        &self,
        request: &Request,
        delivered: &mut Delivered,
        answer: &mut impl FnMut(&SentRequest) -> Exchange,
    ) -> Exchange {
        let sent = self.host.with_secrets(|secrets| leave(request, secrets)).and_then(|sent| self.allowed(sent));
        match sent {
            Ok(sent) => {
                let exchange = answer(&sent);
                delivered.requests.push(sent);
                exchange.map(|reply| Reply { body: self.host.with_secrets(|secrets| secrets.scrub(&reply.body)), ..reply })
            }
            Err(reason) => {
                delivered.refused.push(reason.clone());
                Err(Failure::new(Failure::REFUSED, reason))
            }
        }
    }

    fn allowed(&self, sent: SentRequest) -> std::result::Result<SentRequest, String> {
        let url = Url::parse(&sent.url).map_err(|error| format!("its URL is none: {error}"))?;
        let granted = self.descriptor.outbound.iter().cloned();
        let configured = self.descriptor.outbound_from_config.iter().filter_map(|pointer| resolve(&self.config, pointer));
        if !granted.chain(configured).any(|pattern| allows(&pattern, &url)) {
            return Err(format!("{} is not among what the descriptor asks to reach", url.origin().ascii_serialization()));
        }
        let methods: Vec<&str> = match self.descriptor.methods.as_slice() {
            [] => vec!["GET", "POST"],
            methods => methods.iter().map(String::as_str).collect(),
        };
        if !methods.contains(&sent.method.as_str()) {
            return Err(format!("{} is not among the methods that the descriptor names", sent.method));
        }
        Ok(sent)
    }
}

/// Returns `request` with its placeholders replaced.
fn leave(request: &Request, secrets: &placeholders::Placeholders) -> std::result::Result<SentRequest, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|error| error.to_string());
    let url = text(secrets.expand(request.url.as_bytes(), None)?)?;
    let target = Url::parse(&url).map_err(|error| format!("its URL is none: {error}"))?;
    let target = Some(&target);
    secrets.expand(request.url.as_bytes(), target)?;
    let header = |(name, value): &(String, String)| Ok((name.clone(), text(secrets.expand(value.as_bytes(), target)?)?));
    let headers = request.headers.iter().map(header).collect::<std::result::Result<_, String>>()?;
    Ok(SentRequest { method: request.method.clone(), url, headers, body: secrets.expand(&request.body, target)? })
}

/// Returns the pattern that `target` means: itself, or the origin of the URL that the pointer finds in the configuration.
fn resolve(config: &serde_json::Value, target: &str) -> Option<String> {
    if !target.starts_with('/') {
        return Some(target.to_owned());
    }
    Url::parse(config.pointer(target)?.as_str()?).ok().map(|url| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::{self, Encoding};
    use crate::testing::{alert, notification};
    use crate::{Error, code};

    /// Fetches a token, then posts each alert.
    struct TwoSteps {
        url: String,
    }

    #[derive(serde::Deserialize)]
    struct Config {
        url: String,
    }

    impl Channel for TwoSteps {
        type Config = Config;

        fn descriptor() -> Descriptor {
            Descriptor::new("two-steps", "1", "for a test").outbound_from_config("/url").secret("password", "/url")
        }

        fn init(config: Config) -> Result<Self> {
            Ok(Self { url: config.url })
        }

        fn plan(&self, _: &Notification, progress: Option<&[u8]>, _: u64) -> Result<Step> {
            if progress == Some(b"token") {
                return Ok(self.post("kept"));
            }
            let password = secrets::placeholder("password", Encoding::Url)?;
            Ok(Step::send_one(Request::get(format!("{}/token?password={password}", self.url)), "token"))
        }

        fn next(&self, _: &Notification, state: &[u8], exchanges: &[Exchange], _: u64) -> Result<Step> {
            match (state, &exchanges[0]) {
                (b"token", Ok(reply)) if reply.is_success() => Ok(self.post(&reply.text())),
                (_, exchange) => Ok(Outcome::from_http(exchange).into()),
            }
        }
    }

    impl TwoSteps {
        fn post(&self, token: &str) -> Step {
            Step::send_one(Request::post(format!("{}/send", self.url)).header("Token", token).json(&json!({"n": 1})), "posted")
        }
    }

    fn tester(url: &str) -> ChannelTester<TwoSteps> {
        ChannelTester::new(json!({"url": url})).secret("password", "p w")
    }

    #[test]
    fn a_delivery_is_played_to_its_end_and_a_retry_resumes() {
        let tester = tester("https://chat.example");
        let notification = notification(vec![alert("cpu")]);
        let answers = |request: &SentRequest| if request.url.contains("token") { reply(200, "abc p w") } else { reply(503, "") };
        let first = tester.deliver(&notification, answers).unwrap();
        assert_eq!(first.requests[0].url, "https://chat.example/token?password=p%20w");
        assert_eq!(first.requests[1].header("token"), Some("abc [redacted]"));
        assert_eq!((first.outcome.code, first.progress.as_deref()), (code::RETRY, Some(&b"token"[..])));
        let second = tester.resume(&notification, first.progress.as_deref(), |_| reply(204, "")).unwrap();
        assert_eq!((second.requests.len(), second.outcome.code), (1, code::DELIVERED));
        assert_eq!(second.requests[0].json(), json!({"n": 1}));
    }

    #[test]
    fn what_the_host_would_refuse_is_refused() {
        let mut tester = tester("https://chat.example");
        tester.descriptor.outbound_from_config.clear();
        let refused = tester.deliver(&notification(vec![alert("cpu")]), |_| reply(200, "")).unwrap();
        assert_eq!(refused.refused, ["https://chat.example is not among what the descriptor asks to reach"]);
        assert_eq!((refused.requests.len(), refused.outcome.code), (0, code::MISCONFIGURED));
        let without = ChannelTester::<TwoSteps>::new(json!({"url": "https://chat.example"}));
        let error: Error = without.deliver(&notification(Vec::new()), |_| reply(200, "")).unwrap_err();
        assert_eq!(error.message, "secrets.password: it is required and not given");
    }
}
