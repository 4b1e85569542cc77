//! The one way by which a component's requests leave the host: to where it was granted, with its secrets put in, and within bounds.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use super::address::{Guard, Inside, LookUp};
use super::{CONNECT_TIMEOUT, Egress, TOTAL_TIMEOUT};
use crate::delivery::channel::ChannelError;
use crate::delivery::render::cut;
use crate::plugins::secrets::{PREFIX, SecretBox, SecretRefusal};
use crate::plugins::wire::{Exchange, Failure, Reply, Request};
use crate::plugins::{ChannelLimits, EgressPolicy, Plugin, origin};

/// Most bytes of a request's body.
const MAX_BODY_BYTES: usize = 8 << 20;
/// Most bytes of a reply that are read, and how many if nothing is said.
const MAX_REPLY_BYTES: usize = 1 << 20;
const DEFAULT_REPLY_BYTES: usize = 64 << 10;
/// Most headers of a request and of a reply, and most bytes of all of a request's.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 32 << 10;
/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 16 << 10;
/// Most characters of what is said about a failure.
const MAX_TEXT: usize = 400;
/// Most kinds of refusals that are remembered as said.
const MAX_SAID: usize = 1_000;

/// `Failure.code`.
pub const REFUSED: u16 = 1;
const CONNECT: u16 = 2;
const TLS: u16 = 3;
const TIMEOUT: u16 = 4;
const BROKEN: u16 = 5;
/// An earlier request of its batch failed.
pub const NOT_SENT: u16 = 6;

/// Headers that say where a request goes and where it ends: the host's own to set. And what would bring back a body that cannot be
/// searched for secrets.
const OWN_HEADERS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a request did not bring a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The host does not send such a request.
    Refused {
        /// A word for it: each is said once.
        kind: &'static str,
        /// For people.
        message: String,
    },
    /// It was sent, or at least tried.
    Sent {
        /// As in `Failure`.
        code: u16,
        /// For people.
        message: String,
    },
}

fn refused(kind: &'static str, message: impl Into<String>) -> Failed {
    Failed::Refused { kind, message: message.into() }
}

impl From<SecretRefusal> for Failed {
    fn from(refusal: SecretRefusal) -> Self {
        let kind = match refusal {
            SecretRefusal::Forged | SecretRefusal::TooMany => "placeholder",
            SecretRefusal::NotForThisHost { .. } => "secret",
            SecretRefusal::NotUrl { .. } | SecretRefusal::InHost => "url",
        };
        refused(kind, refusal.to_string())
    }
}

/// Sends the requests of components. Cheap to clone.
#[derive(Clone)]
pub struct ComponentEgress(Arc<Inner>);

struct Inner {
    /// Connects to addresses out in the world only.
    guarded: reqwest::Client,
    /// Connects to any address.
    free: reqwest::Client,
    /// Leaves connecting to the system's proxy.
    proxied: reqwest::Client,
    proxies: Matcher,
    guard: Guard,
    /// Plugins and kinds of refusals that were said.
    said: Mutex<HashSet<(String, &'static str)>>,
}

impl ComponentEgress {
    /// Returns the way out, trusting the authorities that `egress` trusts.
    ///
    /// # Errors
    /// If no HTTP client can be built.
    pub fn new(egress: &Egress) -> Result<Self, ChannelError> {
        Self::with(egress, super::address::system(), Matcher::from_env())
    }

    fn with(egress: &Egress, look_up: LookUp, proxies: Matcher) -> Result<Self, ChannelError> {
        let guard = Guard(look_up);
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(ChannelError::Client);
        Ok(Self(Arc::new(Inner {
            guarded: build(egress.builder().no_proxy().dns_resolver(guard.clone()))?,
            free: build(egress.builder().no_proxy())?,
            proxied: build(egress.builder())?,
            proxies,
            guard,
            said: Mutex::default(),
        })))
    }

    /// Sends `request` of `plugin`, and returns what came back, without secrets. Ends within `left` or 30 s, whichever is less.
    pub async fn exchange(&self, plugin: &Plugin, secrets: &SecretBox, request: &Request, left: Duration) -> Exchange {
        let failed = match self.send(plugin.policy(), &plugin.limits(), secrets, request, left).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        match failed {
            Failed::Sent { code, message } => Err(Failure { code, message }),
            Failed::Refused { kind, message } => {
                plugin.refused();
                let mut said = self.0.said.lock();
                if said.len() < MAX_SAID && said.insert((plugin.name().to_owned(), kind)) {
                    plugin.log().write(13, &format!("a request was refused: {message}; more of that kind are counted, not said"));
                }
                Err(Failure { code: REFUSED, message })
            }
        }
    }

    pub(super) async fn send(
        &self,
        policy: &EgressPolicy,
        limits: &ChannelLimits,
        secrets: &SecretBox,
        request: &Request,
        left: Duration,
    ) -> Result<Reply, Failed> {
        let method = method(&request.method, policy)?;
        let (url, free) = target(&request.url, policy, secrets)?;
        let headers = headers(&request.headers, secrets, &url)?;
        let body = body(&request.body, limits, secrets, &url)?;
        let timeout = match request.timeout_ms {
            0 => TOTAL_TIMEOUT,
            asked => Duration::from_millis(asked.into()).min(TOTAL_TIMEOUT),
        };
        let client = self.client(&url, free).await?;
        let mut outgoing = client.request(method.clone(), url).headers(headers).timeout(timeout.min(left));
        if !body.is_empty() || !matches!(method, Method::GET | Method::HEAD) {
            outgoing = outgoing.body(body);
        }
        let said = |error: &reqwest::Error| explain(error, secrets);
        let mut response = outgoing.send().await.map_err(|error| said(&error))?;
        let most = match request.max_reply_bytes as usize {
            0 => DEFAULT_REPLY_BYTES,
            asked => asked.min(MAX_REPLY_BYTES),
        };
        let (status, headers) = (response.status().as_u16(), reply_headers(response.headers(), secrets));
        // A secret that is cut in two by the limit could not be found: so much more is read.
        let enough = most + secrets.longest();
        let mut bytes = Vec::new();
        while bytes.len() <= enough
            && let Some(chunk) = response.chunk().await.map_err(|error| said(&error))?
        {
            bytes.extend_from_slice(&chunk[..chunk.len().min(enough + 1 - bytes.len())]);
        }
        let longer = bytes.len() > most;
        let mut body = secrets.scrub(&bytes);
        let truncated = longer || body.len() > most;
        body.truncate(most);
        Ok(Reply { status, headers, body, truncated })
    }

    /// Returns the client that sends to `url`: one that looks at addresses unless it is `free`.
    async fn client(&self, url: &Url, free: bool) -> Result<&reqwest::Client, Failed> {
        let local = url.host_str().is_some_and(crate::delivery::types::is_loopback_host);
        let uri = axum::http::Uri::try_from(url.as_str()).ok();
        let behind_proxy = !local && uri.is_some_and(|uri| self.0.proxies.intercept(&uri).is_some());
        match (behind_proxy, free) {
            (true, false) => {
                // The proxy connects, so what the name means here is all that can be asked. Behind one it may mean nothing.
                if let Some(Host::Domain(name)) = url.host()
                    && let Err(error) = self.0.guard.look_up(name).await
                    && let Some(inside) = error.downcast_ref::<Inside>()
                {
                    return Err(refused("address", inside.to_string()));
                }
                Ok(&self.0.proxied)
            }
            (true, true) => Ok(&self.0.proxied),
            (false, true) => Ok(&self.0.free),
            (false, false) => Ok(&self.0.guarded),
        }
    }
}

fn method(text: &str, policy: &EgressPolicy) -> Result<Method, Failed> {
    let said = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(text));
    let declared: Vec<&str> = policy.methods.iter().map(String::as_str).collect();
    let may = if declared.is_empty() { said(&["GET", "POST"]) } else { said(&declared) };
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok();
    let method = method.filter(|method| may && !matches!(*method, Method::CONNECT | Method::TRACE));
    method.ok_or_else(|| {
        let known = if declared.is_empty() { "GET, POST".to_owned() } else { declared.join(", ") };
        refused("method", format!("it does not say of itself that it uses method `{}`, only {known}", cut(text, 20)))
    })
}

/// Returns where a request goes, and whether that may be an address of this machine or its network.
fn target(text: &str, policy: &EgressPolicy, secrets: &SecretBox) -> Result<(Url, bool), Failed> {
    if text.len() > MAX_URL_BYTES {
        return Err(refused("url", format!("its URL has more than {MAX_URL_BYTES} bytes")));
    }
    if !text.starts_with(PREFIX) {
        let url = Url::parse(text).map_err(|error| refused("url", format!("its URL is not one: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("url", "its URL holds a user name or password: those belong into a header"));
        }
        granted(&url, policy)?;
    }
    let url = secrets.url(text)?;
    let free = granted(&url, policy)?;
    Ok((url, free))
}

/// Checks that `url` was granted. An address in a URL is only ever granted by a pattern with that very address, which the URL parser
/// has brought into one form, so that one needs no further look.
fn granted(url: &Url, policy: &EgressPolicy) -> Result<bool, Failed> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("url", format!("only http and https leave the host, not `{}`", cut(url.scheme(), 20))));
    }
    let mut matching = policy.outbound.iter().filter(|pattern| origin::matches(pattern, url)).peekable();
    if matching.peek().is_none() {
        let granted = if policy.outbound.is_empty() { "nothing".to_owned() } else { policy.outbound.join(", ") };
        let asked = cut(&origin::of(url), 200);
        return Err(refused("outbound", format!("it may not reach {asked}: granted is {granted}")));
    }
    Ok(policy.private_addresses || matching.any(|pattern| origin::names_address(pattern)))
}

fn headers(given: &[(String, String)], secrets: &SecretBox, url: &Url) -> Result<HeaderMap, Failed> {
    if given.len() > MAX_HEADERS || given.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        return Err(refused("header", format!("it has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let shown = cut(&secrets.show(name), 60);
        let bad = |what| refused("header", format!("header `{shown}` has a {what} that HTTP does not allow"));
        let name: HeaderName = name.parse().ok().filter(|_| !name.contains(PREFIX)).ok_or_else(|| bad("name"))?;
        if OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(refused("header", format!("header `{name}` is the host's to set")));
        }
        let mut value = HeaderValue::from_bytes(&secrets.expand(value.as_bytes(), url)?).map_err(|_| bad("value"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn body(given: &[u8], limits: &ChannelLimits, secrets: &SecretBox, url: &Url) -> Result<Vec<u8>, Failed> {
    let most = match limits.max_body_bytes as usize {
        0 => MAX_BODY_BYTES,
        own => own.min(MAX_BODY_BYTES),
    };
    let too_large = |what: &str| refused("body", format!("its body{what} has more than {most} bytes"));
    if given.len() > most {
        return Err(too_large(""));
    }
    let body = secrets.expand(given, url)?;
    if body.len() > MAX_BODY_BYTES { Err(too_large(", with secrets put in,")) } else { Ok(body) }
}

fn reply_headers(headers: &HeaderMap, secrets: &SecretBox) -> Vec<(String, String)> {
    let clean = |value: &HeaderValue| String::from_utf8_lossy(&secrets.scrub(value.as_bytes())).into_owned();
    headers.iter().take(MAX_HEADERS).map(|(name, value)| (name.as_str().to_owned(), clean(value))).collect()
}

/// Returns what an error of the HTTP client means. Its own text names the URL, its causes do not.
fn explain(error: &reqwest::Error, secrets: &SecretBox) -> Failed {
    let causes: Vec<&(dyn Error + 'static)> = std::iter::successors(error.source(), |error| (*error).source()).collect();
    if let Some(inside) = causes.iter().find_map(|cause| cause.downcast_ref::<Inside>()) {
        return refused("address", inside.to_string());
    }
    let (code, what) = match () {
        () if error.is_timeout() && error.is_connect() => {
            (CONNECT, format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))
        }
        () if error.is_timeout() => (TIMEOUT, "no answer in time".to_owned()),
        () if causes.iter().any(|cause| is_of_tls(*cause)) => (TLS, "TLS failed".to_owned()),
        () if error.is_connect() => (CONNECT, "cannot connect".to_owned()),
        () if error.is_builder() => return refused("url", "its request cannot be sent over HTTP"),
        () => (BROKEN, "the answer broke off".to_owned()),
    };
    let mut texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
    texts.dedup();
    let message = if error.is_timeout() { what } else { format!("{what}: {}", texts.join(": ")) };
    Failed::Sent { code, message: cut(&secrets.show(&message), MAX_TEXT) }
}

/// Returns whether `error` is one of TLS, perhaps in the clothes of one of the system.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || within.is_some_and(|within| is_of_tls(within))
}

#[cfg(test)]
#[path = "component_tests.rs"]
mod tests;
