use watchfire_client::{ErrorSeverity, track_errors};

#[track_errors(severity = ErrorSeverity::Huge)]
fn risky() -> Result<(), String> {
    Ok(())
}

#[track_errors(severity = "huge")]
fn riskier() -> Result<(), String> {
    Ok(())
}

fn main() {}
