//! Reads a form with files (RFC 7578), as sentry-cli sends chunks.

/// Most parts of a form.
const MAX_PARTS: usize = 1_024;

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The field.
    pub(super) name: &'a str,
    /// The file; empty if it names none.
    pub(super) file_name: &'a str,
    /// What it holds.
    pub(super) data: &'a [u8],
}

/// Returns the boundary that a `Content-Type` names.
#[must_use]
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    });
    // RFC 2046: one to seventy characters.
    found.map(|value| value.trim_matches('"')).filter(|value| (1..=70).contains(&value.len()))
}

/// Returns the parts of `form`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts<'a>(form: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, String> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    // The first one has no line before it, unless somebody wrote a preamble.
    let mut rest = match form.strip_prefix(&delimiter.as_bytes()[2..]) {
        Some(rest) => rest,
        None => finder.find(form).map(|at| &form[at + delimiter.len()..]).ok_or("the form does not begin with its boundary")?,
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let body = rest.strip_prefix(b"\r\n").ok_or("the form's boundary is followed by something else than a part")?;
        let end = finder.find(body).ok_or("the form ends within a part")?;
        if parts.len() == MAX_PARTS {
            return Err(format!("the form has more than {MAX_PARTS} parts"));
        }
        parts.push(part(&body[..end])?);
        rest = &body[end + delimiter.len()..];
    }
    Ok(parts)
}

fn part(bytes: &[u8]) -> Result<Part<'_>, String> {
    let (headers, data) = match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) => (&bytes[..end], &bytes[end + 4..]),
        None => return Err("a part of the form has no headers".to_owned()),
    };
    let headers = std::str::from_utf8(headers).map_err(|_| "the headers of a part of the form are not UTF-8".to_owned())?;
    let disposition = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let disposition = disposition.ok_or("a part of the form has no `Content-Disposition`")?;
    let parameter = |wanted: &str| {
        let found = disposition.split(';').find_map(|parameter| {
            let (name, value) = parameter.trim().split_once('=')?;
            name.eq_ignore_ascii_case(wanted).then_some(value.trim_matches('"'))
        });
        found.unwrap_or("")
    };
    Ok(Part { name: parameter("name"), file_name: parameter("filename"), data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\""), Some("x y"));
        assert_eq!(boundary("text/plain; boundary=x"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
        let form = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"abc\"\r\nContent-Type: x/y\r\n\r\none\r\ntwo\r\n--B--\r\n";
        assert_eq!(parts(form, "B").unwrap(), [Part { name: "file", file_name: "abc", data: b"one\r\ntwo" }]);
        assert_eq!(parts(b"--B--\r\n", "B").unwrap(), []);
        assert!(parts(b"--B\r\nContent-Disposition: form-data\r\n\r\ncut", "B").unwrap_err().contains("ends within"));
        assert!(parts(b"--B\r\nno headers\r\n--B--", "B").is_err() && parts(b"", "B").is_err());
    }

    proptest! {
        #[test]
        fn what_was_put_into_a_form_comes_out(files in proptest::collection::vec(("[0-9a-f]{1,40}", proptest::collection::vec(any::<u8>(), 0..80)), 0..5)) {
            let mut form = Vec::new();
            for (name, data) in &files {
                form.extend_from_slice(format!("--a-boundary-0123456789\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").as_bytes());
                form.extend_from_slice(data);
                form.extend_from_slice(b"\r\n");
            }
            form.extend_from_slice(b"--a-boundary-0123456789--\r\n");
            let parts = parts(&form, "a-boundary-0123456789").unwrap();
            let read: Vec<(String, Vec<u8>)> = parts.iter().map(|part| (part.file_name.to_owned(), part.data.to_vec())).collect();
            prop_assert_eq!(read, files);
        }

        #[test]
        fn any_bytes_are_read_or_refused(form in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'\r'), Just(b'\n'), Just(b'B'), any::<u8>()], 0..120)) {
            let _ = parts(&form, "B");
        }
    }
}
