//! A receiver of webhooks over HTTPS, whose certificate is of an authority of its own.

use std::path::PathBuf;

use serde_json::Value;

use crate::python_server::PythonServer;

/// Python's HTTP server behind TLS, in a process of its own. Dropping it ends it.
pub struct HttpsReceiver(PythonServer);

impl HttpsReceiver {
    /// Starts one that answers 200.
    pub fn start() -> Self {
        Self(PythonServer::start("https_server.py", true, &[]))
    }

    /// Returns where to post.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/hook", self.0.port())
    }

    /// Returns the certificate authority to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.0.ca_file()
    }

    /// Returns all requests so far: `path`, `headers` and `body`.
    pub fn requests(&self) -> Vec<Value> {
        self.0.arrived()
    }
}
