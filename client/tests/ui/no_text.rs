use watchfire_client::{monitor_database_operation, monitor_task_execution};

#[monitor_database_operation(operation = SELECT, table = "products")]
fn select() {}

#[monitor_task_execution(task_name = "")]
fn task() {}

fn main() {}
