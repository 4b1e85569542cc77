//! The analysis engine: analyzers that read the log, and what they find.
