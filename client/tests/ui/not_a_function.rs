use watchfire_client::{monitor_execution, track_errors};

#[monitor_execution]
struct Shop;

#[track_errors]
const fn constant() -> u32 {
    7
}

trait Source {
    #[monitor_execution]
    fn load(&self) -> u32;
}

fn main() {}
