//! The attribute macros on every kind of function, and what they measure: nothing is sent.

#![expect(unsafe_code, reason = "an `unsafe fn` can be measured, too")]

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use watchfire_client::{
    ErrorSeverity, monitor_api_request, monitor_database_operation, monitor_execution, monitor_task_execution, track_errors,
};

#[monitor_execution]
fn plain(a: u32, b: u32) -> u32 {
    a + b
}

#[monitor_execution(metric_name = "data_processing", log_args = true, skip(data))]
fn with_arguments(data: &[u8], r#type: &str, (left, right): (u8, u8), _unused: u8, api_key: &str) -> Result<usize, String> {
    if api_key.is_empty() {
        return Err("no key".to_owned());
    }
    let number: u8 = r#type.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    Ok(data.len() + usize::from(number + left + right))
}

#[monitor_execution(log_args)]
async fn waits<T: Clone + Debug>(value: &T) -> Result<T, anyhow::Error> {
    tokio::task::yield_now().await;
    let text = format!("{value:?}");
    if text.contains("bad") {
        anyhow::bail!("bad value");
    }
    Ok(value.clone())
}

struct NotDebug(u8);

#[monitor_execution(log_args)]
fn of_anything<T>(value: T, other: NotDebug) -> (T, u8) {
    (value, other.0)
}

struct Shop<T> {
    products: Vec<T>,
    last: Option<T>,
}

impl<T: Clone + PartialEq> Shop<T> {
    #[monitor_execution(metric_name = "shop_find")]
    fn find(&self, wanted: &T) -> Option<&T> {
        self.products.iter().find(|product| *product == wanted)
    }

    #[monitor_execution(metric_name = "shop_first")]
    fn first_mut(&mut self) -> Option<&mut T> {
        self.products.first_mut()
    }

    #[monitor_database_operation(operation = "INSERT", table = "products")]
    fn add(&mut self, product: T) -> Result<usize, std::io::Error> {
        self.last = Some(product.clone());
        self.products.push(product);
        Ok(1)
    }

    #[monitor_database_operation(operation = "SELECT", table = "products")]
    async fn all(&mut self) -> Result<Vec<T>, Box<dyn std::error::Error + Send + Sync>> {
        self.last = None;
        Ok(self.products.clone())
    }

    #[track_errors(severity = ErrorSeverity::Low)]
    fn into_first(mut self) -> Result<T, &'static str> {
        if self.products.is_empty() { Err("empty") } else { Ok(self.products.remove(0)) }
    }

    #[monitor_execution]
    fn longest<'a>(&'a self, other: &'a [T]) -> &'a [T] {
        if self.products.len() > other.len() { &self.products } else { other }
    }
}

trait Source {
    fn name(&self) -> String;

    #[monitor_execution(metric_name = "source_describe")]
    fn describe(&self) -> String {
        format!("source {}", self.name())
    }

    fn load<'a>(&'a self, id: u32) -> Pin<Box<dyn Future<Output = Result<u32, std::fmt::Error>> + Send + 'a>>;
}

struct Disk;

impl Source for Disk {
    #[monitor_execution(metric_name = "source_name")]
    fn name(&self) -> String {
        "disk".to_owned()
    }

    #[monitor_execution(metric_name = "source_load")]
    fn load<'a>(&'a self, id: u32) -> Pin<Box<dyn Future<Output = Result<u32, std::fmt::Error>> + Send + 'a>> {
        let doubled = id * 2;
        Box::pin(async move { if doubled == 0 { Err(std::fmt::Error) } else { Ok(doubled) } })
    }
}

#[monitor_execution(metric_name = "opaque")]
fn opaque(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| number * 2)
}

#[monitor_execution(metric_name = "future")]
fn future(number: u32) -> impl Future<Output = u32> {
    async move { number + 1 }
}

#[monitor_api_request(endpoint = "/api/products/{id}", method = "GET")]
async fn product(id: u32) -> Result<String, (http::StatusCode, String)> {
    match id {
        0 => Err((http::StatusCode::NOT_FOUND, "no such product".into())),
        1 => Err((http::StatusCode::INTERNAL_SERVER_ERROR, "broken".into())),
        _ => Ok(format!("product {id}")),
    }
}

#[monitor_task_execution(task_name = "image_sync")]
fn sync_images(task_id: &str, fail: bool) -> Result<bool, std::io::Error> {
    if fail { Err(std::io::Error::other(format!("{task_id} failed"))) } else { Ok(true) }
}

#[monitor_execution(metric_name = "panics")]
fn panics(text: &str) -> u32 {
    text.parse().expect("a number")
}

#[monitor_execution(metric_name = "never")]
async fn never() {
    std::future::pending::<()>().await;
}

#[monitor_execution]
unsafe fn dangerous(pointer: *const u8) -> u8 {
    // SAFETY: the caller says so.
    unsafe { *pointer }
}

#[monitor_execution]
fn recursive(depth: u32) -> u32 {
    if depth == 0 { 0 } else { recursive(depth - 1) + 1 }
}

/// What a function says of itself stays.
#[must_use]
#[inline]
#[monitor_execution]
pub fn documented<const N: usize>(values: [u8; N]) -> HashMap<u8, usize>
where
    [u8; N]: Sized,
{
    values.into_iter().zip(0..).collect()
}

#[tokio::test]
async fn functions_of_every_kind_do_what_they_did() {
    assert_eq!(plain(1, 2), 3);
    assert_eq!(with_arguments(b"abc", "1", (1, 1), 0, "key"), Ok(6));
    assert_eq!(with_arguments(b"abc", "x", (1, 1), 0, "key"), Err("invalid digit found in string".to_owned()));
    assert_eq!(with_arguments(b"", "1", (1, 1), 0, ""), Err("no key".to_owned()));
    assert_eq!(waits(&"good").await.unwrap(), "good");
    assert_eq!(waits(&"bad").await.unwrap_err().to_string(), "bad value");
    assert_eq!(of_anything(NotDebug(1), NotDebug(2)).1, 2);
    let mut shop = Shop { products: vec![1, 2], last: None };
    *shop.first_mut().unwrap() = 5;
    assert_eq!((shop.find(&5), shop.find(&1)), (Some(&5), None));
    assert_eq!(shop.add(7).unwrap(), 1);
    assert_eq!(shop.longest(&[1]), [5, 2, 7]);
    assert_eq!(shop.all().await.unwrap(), [5, 2, 7]);
    assert_eq!(shop.into_first(), Ok(5));
    assert_eq!(Shop::<u8> { products: vec![], last: None }.into_first(), Err("empty"));
    assert_eq!(Disk.describe(), "source disk");
    assert_eq!((Disk.load(2).await, Disk.load(0).await), (Ok(4), Err(std::fmt::Error)));
    assert_eq!(opaque(3).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(future(1).await, 2);
    assert_eq!(product(7).await.unwrap(), "product 7");
    assert_eq!(product(0).await.unwrap_err().0, http::StatusCode::NOT_FOUND);
    product(1).await.unwrap_err();
    assert!(sync_images("t1", false).unwrap());
    sync_images("t2", true).unwrap_err();
    assert!(std::panic::catch_unwind(|| panics("x")).is_err());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(5), never()).await.is_err());
    // SAFETY: a reference is a good pointer.
    assert_eq!(unsafe { dangerous(&7) }, 7);
    assert_eq!(recursive(3), 3);
    assert_eq!(documented([1, 2]).len(), 2);
}

#[test]
fn futures_can_be_sent_where_they_could_before() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    drop(sendable(waits(&1)));
    drop(sendable(product(1)));
    drop(sendable(never()));
}
