//! What it costs to find what a minified call was: `cargo bench -p watchfire --bench source_maps`.
//!
//! The map is of the size of a usual page's: two thousand functions in one line of about 100 KB.

use std::fmt::Write as _;

use divan::{Bencher, black_box};
use watchfire::errors::originals::Call;
use watchfire::source_maps::map::ReadMap;

const FUNCTIONS: usize = 2_000;

fn main() {
    divan::main();
}

/// Appends `number` as a base 64 VLQ.
fn vlq(out: &mut String, number: i64) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut rest = (number.unsigned_abs() << 1) | u64::from(number < 0);
    loop {
        let more = rest >> 5 > 0;
        out.push(DIGITS[(rest & 31) as usize | if more { 32 } else { 0 }] as char);
        rest >>= 5;
        if !more {
            return;
        }
    }
}

/// Returns a minified file and its map: each function throws, on a line of its own in the source.
fn program() -> (String, String, Vec<u32>) {
    let (mut minified, mut source, mut mappings, mut names) = (String::new(), String::new(), String::new(), Vec::new());
    let (mut throws, mut column, mut original) = (Vec::new(), 0, (0, 0));
    for number in 0..FUNCTIONS {
        let name = format!("f{number:x}");
        let begin = minified.len();
        // Writing to a `String` cannot fail.
        let _ = write!(minified, "function {name}(e){{if(e>{number})throw new Error(\"order \"+e)}}");
        let _ = writeln!(
            source,
            "function checkOrderNumber{number}(order) {{\n  if (order > {number}) throw new Error(`order ${{order}}`);\n}}"
        );
        names.push(format!("\"checkOrderNumber{number}\""));
        let throw = begin + minified[begin..].find("throw").unwrap_or(0);
        throws.push(throw as u32 + 1);
        let line = number as i64 * 3;
        for (at, place, name) in [(begin + 9, (line, 9), Some(i64::from(number > 0))), (throw, (line + 1, 20), None)] {
            if !mappings.is_empty() {
                mappings.push(',');
            }
            vlq(&mut mappings, at as i64 - column);
            column = at as i64;
            vlq(&mut mappings, 0);
            vlq(&mut mappings, place.0 - original.0);
            vlq(&mut mappings, place.1 - original.1);
            original = place;
            if let Some(name) = name {
                vlq(&mut mappings, name);
            }
        }
    }
    let content = serde_json::Value::from(source);
    let map = format!(
        r#"{{"version":3,"sources":["../src/orders.ts"],"sourcesContent":[{content}],"names":[{}],"mappings":"{mappings}"}}"#,
        names.join(",")
    );
    (minified, map, throws)
}

fn read() -> (ReadMap, Vec<u32>) {
    let (minified, map, throws) = program();
    (ReadMap::read(map.as_bytes(), Some(minified.into_bytes()), "bench").expect("it is a map"), throws)
}

fn call(map: &ReadMap, throws: &[u32], number: usize) -> String {
    let number = number % FUNCTIONS;
    let function = format!("f{number:x}");
    let call = Call { file: "https://shop.example/static/app.min.js", line: 1, column: throws[number], function: &function };
    map.original(&call).map_or_else(String::new, |found| found.function.clone())
}

/// A call that was not seen before: the place is looked up, and the function's declaration is found in the minified file.
#[divan::bench]
fn a_new_call(bencher: Bencher<'_, '_>) {
    let (map, throws) = read();
    assert_eq!(call(&map, &throws, 7), "checkOrderNumber7");
    // More places than are remembered, so that each is looked up.
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1_237;
        let function = format!("f{:x}", number % FUNCTIONS);
        let place = throws[number % FUNCTIONS] + (number / FUNCTIONS % 12) as u32;
        let call = Call { file: "https://shop.example/static/app.min.js", line: 1, column: place, function: &function };
        black_box(map.original(&call))
    });
}

/// A call that was seen before, as in a storm of one error.
#[divan::bench]
fn a_known_call(bencher: Bencher<'_, '_>) {
    let (map, throws) = read();
    bencher.bench_local(|| black_box(call(&map, &throws, 7)));
}

/// A map is read: once for each file, until it is forgotten.
#[divan::bench]
fn a_map(bencher: Bencher<'_, '_>) {
    let (minified, map, _) = program();
    bencher.counter(divan::counter::BytesCount::new(map.len())).bench_local(|| {
        ReadMap::read(black_box(map.as_bytes()), Some(minified.clone().into_bytes()), "bench").map(|map| map.size_bytes())
    });
}
