//! Finds out what a value is good for, without asking its type for anything: an `Err` of a type without `Display` is an error, too, and an
//! argument without `Debug` an argument. Rust picks the first of these traits that fits, by the number of references (known as autoref
//! specialisation): each level has one reference fewer than the one before.

use std::error::Error;
use std::fmt::{Debug, Display};

use http::{Response, StatusCode};

use crate::errors::{Capturable, CarriesError, ErrorReport, IsError};
use crate::value::{Value, bounded};
use crate::{Rows, StatusOf};

const MAX_BYTES: usize = 4 << 10;
/// Longest argument that is shown, in bytes.
const MAX_ARGUMENT_BYTES: usize = 200;

/// A value that is looked at.
#[derive(Debug)]
pub struct Probe<'a, T: ?Sized>(pub &'a T);

fn failure<T, E>(result: &Result<T, E>, report: impl FnOnce(&E) -> ErrorReport) -> Option<ErrorReport> {
    result.as_ref().err().map(report)
}

fn kind<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    name.split('<').next().unwrap_or(name)
}

macro_rules! level {
    ($(#[$doc:meta])* $name:ident, $method:ident -> $answer:ty, $([$($generics:tt)*] $on:ty $(where [$($bounds:tt)*])?, |$value:ident| $body:expr;)+) => {
        $(#[$doc])*
        pub trait $name {
            #[doc(hidden)]
            fn $method(&self) -> $answer;
        }
        $(impl<$($generics)*> $name for $on $(where $($bounds)*)? {
            fn $method(&self) -> $answer {
                let $value = self.0;
                $body
            }
        })+
    };
}

level! {
    /// An `Err` of an error.
    FailureError, __watchfire_failure -> Option<ErrorReport>,
    [T, E: Error] &&&&&&Probe<'_, Result<T, E>>, |value| failure(value, |error| Capturable::<IsError>::report(error));
}
level! {
    /// An `Err` of what carries an error, such as `anyhow::Error`.
    FailureCarried, __watchfire_failure -> Option<ErrorReport>,
    [T, E: AsRef<dyn Error + Send + Sync> + Debug] &&&&&Probe<'_, Result<T, E>>,
        |value| failure(value, |error| Capturable::<CarriesError>::report(error));
}
level! {
    /// An `Err` of `Box<dyn Error>`.
    FailureBoxed, __watchfire_failure -> Option<ErrorReport>,
    [T, E: AsRef<dyn Error>] &&&&Probe<'_, Result<T, E>>, |value| failure(value, |error| Capturable::<IsError>::report(error.as_ref()));
}
level! {
    /// An `Err` of what can be displayed.
    FailureDisplay, __watchfire_failure -> Option<ErrorReport>,
    [T, E: Display] &&&Probe<'_, Result<T, E>>,
        |value| failure(value, |error| ErrorReport::of_text(kind::<E>(), bounded(format_args!("{error}"), MAX_BYTES)));
}
level! {
    /// An `Err` of what can be shown for debugging.
    FailureDebug, __watchfire_failure -> Option<ErrorReport>,
    [T, E: Debug] &&Probe<'_, Result<T, E>>,
        |value| failure(value, |error| ErrorReport::of_text(kind::<E>(), bounded(format_args!("{error:?}"), MAX_BYTES)));
}
level! {
    /// Any `Err`.
    FailureResult, __watchfire_failure -> Option<ErrorReport>,
    [T, E] &Probe<'_, Result<T, E>>, |value| failure(value, |_| ErrorReport::of_text(kind::<E>(), String::new()));
}
level! {
    /// Anything else is no failure.
    FailureAny, __watchfire_failure -> Option<ErrorReport>,
    [T: ?Sized] Probe<'_, T>, |_value| None;
}

level! {
    /// An answer, or an `Err` in its place.
    StatusOfResponse, __watchfire_status -> u16,
    [B, E] &&&&&Probe<'_, Result<Response<B>, E>>, |value| value.as_ref().map_or(500, |response| response.status().as_u16());
}
level! {
    /// An `Err` that says its status.
    StatusOfError, __watchfire_status -> u16,
    [T, E: StatusOf] &&&&Probe<'_, Result<T, E>>, |value| value.as_ref().map_or_else(StatusOf::status, |_| 200);
}
level! {
    /// An `Err` of a status and something else.
    StatusPair, __watchfire_status -> u16,
    [T, X] &&&Probe<'_, Result<T, (StatusCode, X)>>, |value| value.as_ref().map_or_else(|error| error.0.as_u16(), |_| 200);
    [T] &&&Probe<'_, Result<T, StatusCode>>, |value| value.as_ref().map_or_else(StatusCode::as_u16, |_| 200);
}
level! {
    /// What has a status.
    StatusKnown, __watchfire_status -> u16,
    [B] &&Probe<'_, Response<B>>, |value| value.status().as_u16();
    [] &&Probe<'_, StatusCode>, |value| value.as_u16();
    [X] &&Probe<'_, (StatusCode, X)>, |value| value.0.as_u16();
}
level! {
    /// Any other `Result`.
    StatusResult, __watchfire_status -> u16,
    [T, E] &Probe<'_, Result<T, E>>, |value| if value.is_ok() { 200 } else { 500 };
}
level! {
    /// Anything else succeeded.
    StatusAny, __watchfire_status -> u16,
    [T: ?Sized] Probe<'_, T>, |_value| 200;
}

level! {
    /// An `Ok` of rows.
    RowsResult, __watchfire_rows -> Option<u64>,
    [T: Rows, E] &&Probe<'_, Result<T, E>>, |value| value.as_ref().ok().map(Rows::rows);
}
level! {
    /// Rows.
    RowsValue, __watchfire_rows -> Option<u64>,
    [T: Rows] &Probe<'_, T>, |value| Some(value.rows());
}
level! {
    /// Anything else says nothing about rows.
    RowsAny, __watchfire_rows -> Option<u64>,
    [T: ?Sized] Probe<'_, T>, |_value| None;
}

/// An argument of a call.
#[derive(Debug)]
pub struct Argument<'a, T: ?Sized>(pub &'a T);

level! {
    /// An argument that can be shown.
    ArgumentDebug, __watchfire_show -> Value,
    [T: Debug + ?Sized] &Argument<'_, T>, |value| Value::Text(bounded(format_args!("{value:?}"), MAX_ARGUMENT_BYTES).into());
}
level! {
    /// An argument that cannot.
    ArgumentOther, __watchfire_show -> Value,
    [T: ?Sized] Argument<'_, T>, |_value| Value::Text(format!("<{}>", std::any::type_name::<T>()).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! failure_of {
        ($value:expr) => {
            (&&&&&&&Probe(&$value)).__watchfire_failure().map(|report| (report.kind, report.message))
        };
    }

    macro_rules! status_of {
        ($value:expr) => {
            (&&&&&&Probe(&$value)).__watchfire_status()
        };
    }

    #[derive(Debug)]
    struct OnlyDebug;
    struct Nothing;

    #[test]
    fn an_err_of_any_type_is_a_failure() {
        let told = |kind: &str, message: &str| Some((kind.to_owned(), message.to_owned()));
        let parsed = "x".parse::<u8>();
        assert_eq!(failure_of!(parsed), told("core::num::error::ParseIntError", "invalid digit found in string"));
        assert_eq!(failure_of!(anyhow::Result::<()>::Err(anyhow::anyhow!("no"))), told("anyhow::Error", "no"));
        let boxed: Result<(), Box<dyn Error>> = Err("no".into());
        assert_eq!(failure_of!(boxed).map(|(_, message)| message), Some("no".to_owned()));
        assert_eq!(failure_of!(Result::<(), String>::Err("text".into())), told("alloc::string::String", "text"));
        assert_eq!(failure_of!(Result::<(), OnlyDebug>::Err(OnlyDebug)).map(|(_, message)| message), Some("OnlyDebug".into()));
        assert_eq!(failure_of!(Result::<(), Nothing>::Err(Nothing)).map(|(_, message)| message), Some(String::new()));
        assert_eq!(failure_of!(Result::<u8, Nothing>::Ok(1)), None);
        assert_eq!((failure_of!(5), failure_of!(None::<u8>)), (None, None));
    }

    #[test]
    fn a_status_is_taken_from_where_it_is() {
        struct Missing;
        impl StatusOf for Missing {
            fn status(&self) -> u16 {
                404
            }
        }
        let answer = |status: u16| Response::builder().status(status).body(()).unwrap();
        assert_eq!(status_of!(answer(418)), 418);
        assert_eq!(status_of!(Result::<_, ()>::Ok(answer(201))), 201);
        assert_eq!(status_of!(Result::<(), Missing>::Err(Missing)), 404);
        assert_eq!(status_of!(Result::<(), (StatusCode, &str)>::Err((StatusCode::CONFLICT, ""))), 409);
        assert_eq!(status_of!(Result::<(), StatusCode>::Err(StatusCode::GONE)), 410);
        assert_eq!(status_of!(StatusCode::ACCEPTED), 202);
        assert_eq!(
            (status_of!(Result::<(), Nothing>::Err(Nothing)), status_of!(Result::<(), Nothing>::Ok(())), status_of!("x")),
            (500, 200, 200)
        );
    }

    #[test]
    fn rows_are_counted_where_there_are_some() {
        macro_rules! rows {
            ($value:expr) => {
                (&&&Probe(&$value)).__watchfire_rows()
            };
        }
        assert_eq!((rows!(Result::<_, ()>::Ok(vec![1, 2, 3])), rows!(vec![1]), rows!(Some("x"))), (Some(3), Some(1), Some(1)));
        assert_eq!((rows!(Result::<usize, ()>::Ok(7)), rows!(Result::<usize, ()>::Err(())), rows!("x")), (Some(7), None, None));
    }

    #[test]
    fn arguments_are_shown_in_bounds() {
        macro_rules! show {
            ($value:expr) => {
                (&&Argument(&$value)).__watchfire_show().to_string()
            };
        }
        assert_eq!((show!(5), show!("a")), ("5".to_owned(), "\"a\"".to_owned()));
        assert!(show!(Nothing).ends_with("::Nothing>"));
        assert!(show!(vec![1_u8; 1_000_000]).len() < 210);
    }
}
