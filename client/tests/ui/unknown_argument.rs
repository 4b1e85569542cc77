use watchfire_client::monitor_execution;

#[monitor_execution(metric = "sync")]
fn sync() {}

fn main() {}
