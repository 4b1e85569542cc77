//! Fetches images in the background. Some do not arrive, some are broken, and once in a while the code itself is.

use std::time::Duration;

use watchfire_client::{increment_counter, monitor_execution, monitor_task_execution, set_gauge};

use crate::store::Store;

/// Why an image is not synced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error("image server answers {0}")]
    Server(u16),
    #[error("cannot decode image {name}")]
    Broken { name: String, source: std::io::Error },
    #[error("cannot note the image")]
    Store(#[from] rusqlite::Error),
}

/// Syncs the images of one product after the other, for ever.
pub(crate) async fn keep_in_step(store: Store, every: Duration) {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    for turn in 0_u64.. {
        ticks.tick().await;
        let id = (turn % 200) as i64 + 1;
        set_gauge("queue_depth", 200 - id, &[("queue", "images")]);
        let store = store.clone();
        // In a task of its own, so that one that panics ends alone.
        let task = tokio::spawn(async move { sync_images(&store, id, turn).await });
        let outcome = match task.await {
            Ok(Ok(_)) => "synced",
            // Both are captured already.
            Ok(Err(_)) => "failed",
            Err(_) => "panicked",
        };
        increment_counter("image_syncs", 1, &[("outcome", outcome)]);
    }
}

#[monitor_task_execution(task_name = "image_sync")]
async fn sync_images(store: &Store, product_id: i64, turn: u64) -> Result<usize, SyncError> {
    let image = fetch(product_id, turn, "image-server-key").await?;
    decode(&image, turn)?;
    Ok(store.add_image(product_id)?)
}

#[monitor_execution(metric_name = "image_fetch", log_args = true)]
async fn fetch(product_id: i64, turn: u64, api_key: &str) -> Result<Vec<u8>, SyncError> {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(5..40))).await;
    // Whoever has no key gets nothing.
    if api_key.is_empty() {
        return Err(SyncError::Server(401));
    }
    match turn % 11 {
        10 => Err(SyncError::Server(503)),
        _ => Ok(vec![product_id as u8; 64]),
    }
}

#[monitor_execution(metric_name = "image_decode")]
fn decode(image: &[u8], turn: u64) -> Result<(), SyncError> {
    if turn % 7 == 6 {
        let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file ends too early");
        return Err(SyncError::Broken { name: format!("{}.jpg", image[0]), source });
    }
    // A mistake as they happen: nobody thought of that turn.
    assert!(turn % 50 != 49, "image {turn} has no size");
    Ok(())
}
