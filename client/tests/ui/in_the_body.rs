use watchfire_client::monitor_execution;

#[monitor_execution(log_args)]
fn wrong(count: u32) -> Result<u32, String> {
    let text: String = count;
    Ok(text)
}

#[monitor_execution]
async fn wrong_too() -> u32 {
    "seven"
}

fn main() {}
