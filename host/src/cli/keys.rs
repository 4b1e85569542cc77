//! Single keys of a terminal, without waiting for the end of a line.

use std::io::{IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Pause, or go on.
    Pause,
    /// End.
    Quit,
}

/// Keys as they are pressed. Dropping it makes the terminal as it was.
pub(super) struct Keys {
    pressed: Option<mpsc::Receiver<Key>>,
    before: Option<Termios>,
}

impl Keys {
    /// Returns no keys, ever.
    pub(super) fn none() -> Self {
        Self { pressed: None, before: None }
    }

    /// Returns the keys of the terminal on standard input; none if there, or on standard output, is no terminal.
    pub(super) fn of_terminal() -> Self {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stdout().is_terminal() {
            return Self::none();
        }
        let Ok(before) = tcgetattr(&stdin) else { return Self::none() };
        let mut single = before.clone();
        // Keys come at once and are not shown; Ctrl-C still ends the program.
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        if tcsetattr(&stdin, OptionalActions::Now, &single).is_err() {
            return Self::none();
        }
        let (sender, pressed) = mpsc::channel(8);
        // It ends with the process: nothing ends a read of a terminal.
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().lock().read(&mut byte), Ok(1)) {
                let key = match byte[0] {
                    b' ' | b'p' => Key::Pause,
                    b'q' => Key::Quit,
                    _ => continue,
                };
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        Self { pressed: Some(pressed), before: Some(before) }
    }

    /// Returns whether there may be any.
    pub(super) fn are_there(&self) -> bool {
        self.pressed.is_some()
    }

    /// Returns the next key; never if there are none.
    pub(super) async fn next(&mut self) -> Key {
        if let Some(pressed) = &mut self.pressed
            && let Some(key) = pressed.recv().await
        {
            return key;
        }
        self.pressed = None;
        std::future::pending().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
