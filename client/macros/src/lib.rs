//! The attribute macros of `watchfire-client`, which exports and documents them.

#![warn(missing_docs)]

mod attr;
mod expand;

use proc_macro::TokenStream;

/// Measures a function: the timer `<metric_name>_duration`, by `outcome` (`success`, `error`, `panic`, `cancelled`). An `Err` that it returns is captured.
///
/// | argument | what |
/// |---|---|
/// | `metric_name = "data_processing"` | name of the metric; without it `function_duration` with the label `function` |
/// | `log_args`, `log_args = true` | logs each call with its arguments; those named like secrets are shown as `[redacted]` |
/// | `skip(body, key)` | arguments that are not shown |
/// | `severity = ErrorSeverity::Medium` | how serious its errors are; `HIGH` if not given |
///
/// ```
/// use watchfire_client::monitor_execution;
///
/// #[monitor_execution(metric_name = "data_processing", log_args = true, skip(data))]
/// async fn process_data(data: &[u8], retries: u32, api_key: &str) -> std::io::Result<usize> {
///     Ok(data.len())
/// }
/// # drop(process_data(b"", 1, ""));
/// ```
#[proc_macro_attribute]
pub fn monitor_execution(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attr::Macro::Execution, arguments.into(), &item.into()).into()
}

/// Measures what answers requests: `active_requests`, `total_requests`, the timer `api_request_duration`, and a log record for each, by `endpoint`, `method` and
/// `status`. The status is that of the `http::Response` or `StatusCode` returned, of `(StatusCode, …)`, or of an error with `StatusOf`; otherwise 200 or 500.
///
/// ```
/// use watchfire_client::monitor_api_request;
///
/// #[monitor_api_request(endpoint = "/api/products", method = "GET")]
/// async fn get_products(page: u32) -> Result<Vec<String>, std::io::Error> {
///     Ok(Vec::new())
/// }
/// # drop(get_products(1));
/// ```
#[proc_macro_attribute]
pub fn monitor_api_request(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attr::Macro::ApiRequest, arguments.into(), &item.into()).into()
}

/// Measures what asks a database: the timer `database_operation_duration` by `operation`, `table` and `outcome`, and a log record for each with the number of
/// rows, where the result tells it (see `Rows`).
///
/// ```
/// use watchfire_client::monitor_database_operation;
///
/// #[monitor_database_operation(operation = "SELECT", table = "products")]
/// fn fetch_products(category: &str) -> Result<Vec<String>, std::io::Error> {
///     Ok(vec![category.to_owned()])
/// }
/// # let _ = fetch_products("lamps");
/// ```
#[proc_macro_attribute]
pub fn monitor_database_operation(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attr::Macro::DatabaseOperation, arguments.into(), &item.into()).into()
}

/// Measures a task: `active_tasks`, the timer `task_duration` by `task` and `outcome`, and a log record when it begins and when it ends. An argument `task_id`
/// names the run; otherwise it gets an id.
///
/// ```
/// use watchfire_client::monitor_task_execution;
///
/// #[monitor_task_execution(task_name = "image_sync")]
/// fn sync_images(product_id: u64) -> Result<bool, std::io::Error> {
///     Ok(true)
/// }
/// # let _ = sync_images(7);
/// ```
#[proc_macro_attribute]
pub fn monitor_task_execution(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attr::Macro::TaskExecution, arguments.into(), &item.into()).into()
}

/// Captures the `Err` that a function returns, with `severity = ErrorSeverity::Medium`; `HIGH` if not given. An error that passes several functions is captured once.
///
/// ```
/// use watchfire_client::{ErrorSeverity, track_errors};
///
/// #[track_errors(severity = ErrorSeverity::Medium)]
/// fn risky_function(text: &str) -> Result<u32, std::num::ParseIntError> {
///     text.parse()
/// }
/// # let _ = risky_function("x");
/// ```
#[proc_macro_attribute]
pub fn track_errors(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attr::Macro::Errors, arguments.into(), &item.into()).into()
}
