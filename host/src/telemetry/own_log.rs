//! The host's own log: to the terminal or a file, and into the log engine.
