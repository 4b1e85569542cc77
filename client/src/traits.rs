//! What the macros can be told about types of the program.

/// The HTTP status that an error of the program is answered with, for `#[monitor_api_request]`. An error without it counts as 500.
///
/// ```
/// use watchfire_client::{StatusOf, monitor_api_request};
///
/// enum ShopError {
///     NoSuchProduct,
///     Broken,
/// }
///
/// impl StatusOf for ShopError {
///     fn status(&self) -> u16 {
///         match self {
///             ShopError::NoSuchProduct => 404,
///             ShopError::Broken => 500,
///         }
///     }
/// }
///
/// #[monitor_api_request(endpoint = "/api/products/{id}", method = "GET")]
/// fn product(id: u32) -> Result<String, ShopError> {
///     if id == 7 { Ok("lamp".into()) } else { Err(ShopError::NoSuchProduct) }
/// }
/// # let _ = (product(7), product(8), ShopError::Broken);
/// ```
pub trait StatusOf {
    /// Returns the status.
    fn status(&self) -> u16;
}

/// How many rows a database operation was about, for `#[monitor_database_operation]`.
pub trait Rows {
    /// Returns how many.
    fn rows(&self) -> u64;
}

impl<T> Rows for Vec<T> {
    fn rows(&self) -> u64 {
        self.len() as u64
    }
}

impl<T> Rows for Option<T> {
    fn rows(&self) -> u64 {
        u64::from(self.is_some())
    }
}

/// As drivers return it of what they have changed.
macro_rules! counts {
    ($($kind:ty),*) => {$(
        impl Rows for $kind {
            fn rows(&self) -> u64 {
                u64::try_from(*self).unwrap_or(0)
            }
        }
    )*};
}

counts!(usize, u64, u32, i64, i32);
