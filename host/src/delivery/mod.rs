//! Delivery: takes notifications from the outbox, sends them through channels, stores the receipts.

pub mod notification;
pub mod outbox;
pub mod types;
