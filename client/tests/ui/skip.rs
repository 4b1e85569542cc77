use watchfire_client::monitor_execution;

#[monitor_execution(log_args, skip(pasword))]
fn login(user: &str, password: &str) {}

#[monitor_execution(skip(user))]
fn logout(user: &str) {}

fn main() {}
