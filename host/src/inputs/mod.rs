//! Stub.

pub mod system;
