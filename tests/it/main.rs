//! Whole-host cases.
