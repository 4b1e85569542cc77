//! How a component comes to run, and how it is stopped.
