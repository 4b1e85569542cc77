//! Where the functions of the host come from: from the host, or natively from the one for tests.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::host::{kv, logging, metrics, secrets};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::{kv, logging, metrics, secrets};
