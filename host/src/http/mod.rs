//! The host's HTTP face: who may call, one error shape, the documentation of every path, the page.

pub mod error;

pub use error::ApiError;
