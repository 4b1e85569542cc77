//! Cases for the worker against scripted channels and a small HTTP server.

use std::collections::VecDeque;

use super::*;
use crate::delivery::notification::Notification;

/// A channel that answers from a list, and remembers what it was sent. After the list: delivered.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Outcome>>>,
    pub sent: Arc<Mutex<Vec<Notification>>>,
}

impl Script {
    pub fn send(&self, notification: &Notification) -> Outcome {
        self.sent.lock().push(notification.clone());
        self.answers.lock().pop_front().unwrap_or(Outcome::Delivered { receipt: "ok".into() })
    }
}
