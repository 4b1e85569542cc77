//! The host's HTTP face: who may call, one error shape, the documentation of every path, the page.

pub mod connections;
pub mod error;
pub mod guard;
pub mod page;
pub mod params;
mod preface;
pub mod server;
mod stall;
pub mod status;
pub mod stream;
pub mod time_range;

pub use connections::Connections;
pub use error::ApiError;
pub use params::Params;
