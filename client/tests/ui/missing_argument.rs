use watchfire_client::monitor_api_request;

#[monitor_api_request(endpoint = "/api/products")]
fn products() {}

fn main() {}
