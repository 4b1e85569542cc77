//! The alerts that the service wants: it says so at every start.

use watchfire_client::{AlertLevel, AskError, add_rule, create_error_rule, create_metric_rule};

const SERVICE: &str = "product-sync";

/// Adds them to the host.
pub(crate) async fn add() -> Result<(), AskError> {
    let minute = std::time::Duration::from_secs(60);
    add_rule(
        create_error_rule("product-sync: many errors", 3, AlertLevel::Error)
            .service(SERVICE)
            .window(5 * minute)
            .summary("{{value}} errors of product-sync in five minutes"),
    )
    .await?;
    add_rule(
        create_metric_rule("product-sync: memory", "process_memory_mb", 500.0, AlertLevel::Warning)
            .service(SERVICE)
            .hold_for(minute)
            .summary("product-sync takes {{value}} MB"),
    )
    .await?;
    Ok(())
}
