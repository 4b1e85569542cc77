//! The host's HTTP face: who may call, one error shape, the documentation of every path, the page.

pub mod error;
pub mod time_range;

pub use error::ApiError;
