//! Who may call: this machine through its own names, everybody else with a token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use subtle::ConstantTimeEq as _;

use super::ApiError;
use crate::config::Secret;

/// What a request is checked against.
#[derive(Clone, Debug)]
pub struct Guard {
    token: Option<Arc<Secret>>,
}

impl Guard {
    /// Returns a guard that lets in whoever knows `token`, and this machine without it.
    #[must_use]
    pub fn new(token: Option<Secret>) -> Self {
        Self { token: token.map(Arc::new) }
    }

    /// Decides on a request from `peer` with `headers`.
    ///
    /// A page of another site, or of another port of this machine, can make a browser here call us; it cannot make it leave out
    /// `Origin` when it sends something or, after pointing its own name at 127.0.0.1, send a `Host` of ours.
    ///
    /// # Errors
    /// 401 without the right token, 403 for a foreign `Host` or `Origin`.
    pub fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), ApiError> {
        match self.presented(headers) {
            Some(true) => return Ok(()),
            Some(false) => return Err(ApiError::unauthorized("the token is wrong: compare it with server.token of the host")),
            None => {}
        }
        if !peer.to_canonical().is_loopback() {
            return Err(ApiError::unauthorized(
                "from another machine a token is needed: send `Authorization: Bearer TOKEN` with the host's server.token",
            ));
        }
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
        if let Some(host) = host.filter(|host| !is_loopback_name(host)) {
            return Err(ApiError::forbidden(format!(
                "the request is for `{host}`, which is not this machine: use localhost, or a token"
            )));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        if origin.to_str().is_ok_and(|origin| host.is_some_and(|host| is_page_of(origin, host))) {
            return Ok(());
        }
        Err(ApiError::forbidden("a page of another site or port may not call this host without a token"))
    }

    /// Whether the right token was sent, or a wrong one; `None` if there was none, or none is asked for.
    fn presented(&self, headers: &HeaderMap) -> Option<bool> {
        let token = self.token.as_ref()?;
        let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let sent = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => value.trim().as_bytes().to_vec(),
            // A browser's own prompt: any user, the token as password.
            "basic" => {
                let pair = base64::engine::general_purpose::STANDARD.decode(value.trim()).ok()?;
                let colon = pair.iter().position(|byte| *byte == b':')?;
                pair[colon + 1..].to_vec()
            }
            // Elasticsearch's: base64 of `id:key`, or the key as it is. Any id, the token as key.
            "apikey" => {
                let pair = base64::engine::general_purpose::STANDARD.decode(value.trim()).unwrap_or_default();
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.map_or_else(|| value.trim().as_bytes().to_vec(), |colon| pair[colon + 1..].to_vec())
            }
            _ => return None,
        };
        Some(sent.ct_eq(token.reveal().as_bytes()).into())
    }
}

/// Applies the guard to every request but the two health probes.
pub async fn guard(
    State(guard): State<Guard>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    // HTTP/2 says in `:authority` what HTTP/1 says in `Host`.
    if !request.headers().contains_key(header::HOST)
        && let Some(host) = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let probe = matches!(request.uri().path(), "/-/healthy" | "/-/ready");
    // A DSN's key is not our token: those paths look at their callers themselves.
    let probe = probe || crate::inputs::sentry::is_left_to_us(request.method(), request.uri().path());
    match guard.check(peer.ip(), request.headers()) {
        Err(error) if !probe => {
            let challenge = error.status() == axum::http::StatusCode::UNAUTHORIZED;
            let mut response = error.into_response();
            if challenge {
                let basic = HeaderValue::from_static("Basic realm=\"watchfire: any user, the token as password\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            }
            response
        }
        _ => next.run(request).await,
    }
}

/// Returns whether `host` (with or without port) is a name of this machine.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => {
            name
        }
        _ => host,
    };
    crate::delivery::types::is_loopback_host(name)
}

/// Returns whether `origin` is that of a page which came from `host`, name and port: a browser leaves out the same ports in both.
fn is_page_of(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: Option<&str>, peer: &str, headers: &[(header::HeaderName, &str)]) -> u16 {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let result = Guard::new(token.map(Secret::new)).check(peer.parse().unwrap(), &headers);
        result.map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn this_machine_needs_its_own_host_and_no_foreign_origin() {
        for host in ["localhost:3473", "127.0.0.1:3473", "[::1]:3473", "LOCALHOST", "127.8.9.1"] {
            assert_eq!(check(None, "127.0.0.1", &[(header::HOST, host)]), 200, "{host}");
        }
        for host in ["evil.example:3473", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3.4"] {
            assert_eq!(check(None, "127.0.0.1", &[(header::HOST, host)]), 403, "{host}");
        }
    }

    #[test]
    fn a_page_may_call_only_the_host_that_it_came_from() {
        let origin = |host: &str, origin: &str| check(None, "::1", &[(header::HOST, host), (header::ORIGIN, origin)]);
        for host in ["localhost:3473", "127.0.0.1:3473", "[::1]:3473", "localhost"] {
            assert_eq!(origin(host, &format!("http://{host}")), 200, "{host}");
        }
        assert_eq!(origin("LocalHost:3473", "http://localhost:3473"), 200);
        for foreign in ["http://localhost:3000", "http://localhost", "http://127.0.0.1:3473", "https://evil.example", "null", "x"] {
            assert_eq!(origin("localhost:3473", foreign), 403, "{foreign}");
        }
        assert_eq!(check(None, "::1", &[(header::ORIGIN, "http://localhost:3473")]), 403, "no Host to compare with");
        let token =
            [(header::HOST, "localhost:3473"), (header::ORIGIN, "http://localhost:3000"), (header::AUTHORIZATION, "Bearer t")];
        assert_eq!(check(Some("t"), "::1", &token), 200, "a token stands in for the origin");
    }

    #[test]
    fn other_machines_need_the_token() {
        let bearer =
            |text: &str| check(Some("s3cret"), "10.0.0.9", &[(header::HOST, "mon.example"), (header::AUTHORIZATION, text)]);
        assert_eq!(check(Some("s3cret"), "10.0.0.9", &[]), 401);
        assert_eq!(check(None, "10.0.0.9", &[(header::AUTHORIZATION, "Bearer x")]), 401);
        assert_eq!(
            [
                "Bearer s3cret",
                "bearer s3cret",
                "Bearer wrong",
                "Basic YTpzM2NyZXQ=",
                "ApiKey YTpzM2NyZXQ=",
                "ApiKey s3cret",
                "ApiKey x"
            ]
            .map(bearer),
            [200, 200, 401, 200, 200, 200, 401]
        );
        // Behind a proxy on this machine the token stands in for the loopback name.
        assert_eq!(check(Some("t"), "127.0.0.1", &[(header::HOST, "mon.example"), (header::AUTHORIZATION, "Bearer t")]), 200);
    }
}
