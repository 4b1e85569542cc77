use proptest::prelude::*;

use super::*;

/// What esbuild makes of three files, minified.
const MINIFIED: &str = include_str!("../../../tests/fixtures/source_maps/main.js");
const MAP: &str = include_str!("../../../tests/fixtures/source_maps/main.js.map");

fn read(json: &str, minified: Option<&str>) -> Result<ReadMap, String> {
    ReadMap::read(json.as_bytes(), minified.map(|text| text.as_bytes().to_vec()), "test")
}

fn original(map: &ReadMap, function: &str, column: u32) -> Option<Arc<Original>> {
    map.original(&Call { file: "/srv/shop/dist/main.js", line: 1, column, function })
}

/// The column, from one, at which `what` stands.
fn column(what: &str) -> u32 {
    MINIFIED.find(what).unwrap() as u32 + 1
}

#[test]
fn a_call_is_what_was_written() {
    let map = read(MAP, Some(MINIFIED)).unwrap();
    let cases = [
        ("o", "new RangeError", "total money.ts:3 (/srv/shop/money.ts)"),
        ("e.pay", "map(t=>", "Cart.pay cart.ts:6 (/srv/shop/cart.ts)"),
        ("<anonymous>", "o(t.price)", " cart.ts:6 (/srv/shop/cart.ts)"),
        ("c", "pay()}", "checkout cart.ts:12 (/srv/shop/cart.ts)"),
        ("async i", "c(17)", "main main.ts:4 (/srv/shop/main.ts)"),
    ];
    for (function, at, expected) in cases {
        // `pay()` stands there twice.
        let column = if at == "pay()}" { MINIFIED.rfind(".pay()").unwrap() as u32 + 2 } else { column(at) };
        let found = original(&map, function, column).unwrap();
        assert_eq!(format!("{} {}:{} ({})", found.function, found.file, found.line, found.path), expected, "{function}");
        assert!(found.in_app);
    }
    let found = original(&map, "o", column("new RangeError")).unwrap();
    let context = found.context.as_ref().unwrap();
    assert_eq!(context.line.trim(), "throw new RangeError(`the price ${price} is no number`);");
    assert_eq!((context.before.len(), context.after.len()), (2, 4));
    assert!(map.size_bytes() > MAP.len());
    assert_eq!(map.original(&Call { file: "x", line: 99, column: 1, function: "" }), None);
    assert_eq!(map.original(&Call { file: "x", line: 0, column: 0, function: "" }), None);
}

#[test]
fn without_the_minified_file_places_are_told_and_names_are_not() {
    let map = read(MAP, None).unwrap();
    let found = original(&map, "o", column("new RangeError")).unwrap();
    assert_eq!((found.function.as_str(), found.file.as_str(), found.line), ("", "money.ts", 3));
    assert_eq!(original(&map, "checkout", column("new RangeError")).unwrap().function, "checkout");
}

#[test]
fn a_map_of_maps_and_a_guarded_one_are_read() {
    let index = format!(r#"{{"version":3,"sections":[{{"offset":{{"line":0,"column":0}},"map":{MAP}}}]}}"#);
    let map = read(&format!(")]}}'\n{index}"), Some(MINIFIED)).unwrap();
    assert_eq!(original(&map, "o", column("new RangeError")).unwrap().function, "total");
}

#[test]
fn what_comes_with_a_bundler_is_no_call_of_the_application() {
    let of = |source: &str, ignored: &str| {
        let json = format!(r#"{{"version":3,"sources":["{source}"],"names":[],"mappings":"AAAA"{ignored}}}"#);
        let found = read(&json, None).unwrap().original(&Call { file: "~/app.js", line: 1, column: 1, function: "" }).unwrap();
        (found.file.clone(), found.in_app)
    };
    assert_eq!(of("webpack://shop/./src/a.ts", ""), ("src/a.ts".to_owned(), true));
    assert_eq!(of("webpack://shop/./node_modules/react/x.js", ""), ("node_modules/react/x.js".to_owned(), false));
    assert!(!of("webpack://shop/webpack/bootstrap", "").1);
    assert!(!of("vendor.ts", r#","ignoreList":[0]"#).1);
}

#[test]
fn where_the_map_is_is_found_in_the_file() {
    assert_eq!(reference(b"a()\n//# sourceMappingURL=a.js.map\n\n//# debugId=x"), Some("a.js.map"));
    assert_eq!(reference(b"//@ sourceMappingURL=old.map\n//# sourceMappingURL=new.map"), Some("new.map"));
    assert_eq!(reference(b"a()"), None);
    assert_eq!(inline("data:application/json;base64,e30=").unwrap().unwrap(), b"{}");
    assert!(inline("data:application/json,{}").unwrap().is_err() && inline("a.js.map").is_none());
}

proptest! {
    #[test]
    fn a_hostile_map_is_refused_or_read(
        mappings in "[A-Za-z0-9+/,;]{0,60}",
        names in "(\"a\",){0,3}\"b\"",
        line in 0_u32..5,
        column in 0_u32..50,
        root in "[a-z:/.]{0,8}",
    ) {
        let json = format!(r#"{{"version":3,"sources":["a.ts",null],"sourceRoot":"{root}","sourcesContent":["é\nfunction a(){{}}"],"names":[{names}],"mappings":"{mappings}"}}"#);
        if let Ok(map) = read(&json, Some("function a(){é}\nvar b=a=>a()")) {
            let _ = map.original(&Call { file: "~/é/app.js", line, column, function: "a.b" });
        }
        let nested = format!(r#"{{"version":3,"sections":[{{"offset":{{"line":4294967295,"column":4294967295}},"map":{json}}}]}}"#);
        if let Ok(map) = read(&nested, None) {
            let _ = map.original(&Call { file: "", line, column, function: "a" });
        }
    }

    #[test]
    fn a_damaged_map_is_refused_or_read(at in any::<usize>(), with in any::<u8>(), column in 0_u32..400) {
        let mut json = MAP.as_bytes().to_vec();
        let at = at % json.len();
        json[at] = with;
        if let Ok(map) = ReadMap::read(&json, Some(MINIFIED.as_bytes().to_vec()), "test") {
            let _ = map.original(&Call { file: "/srv/main.js", line: 1, column, function: "e.pay" });
        }
    }
}
