use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> String {
    let trace = parse(text).unwrap();
    let frame = |frame: &Frame| format!("  {}{frame}", if frame.in_app { "" } else { "~ " });
    let exceptions = trace.exceptions.iter().map(|exception| {
        let frames = exception.frames.iter().map(frame);
        let head = format!("{} | {}", exception.kind, exception.message).trim().to_owned();
        std::iter::once(head).chain(frames).collect::<Vec<_>>().join("\n")
    });
    exceptions.collect::<Vec<_>>().join("\n")
}

#[test]
fn python_with_a_cause() {
    let text = "2026-11-22 ERROR sync failed\nTraceback (most recent call last):\n  File \"/app/shop/stock.py\", line 12, in reserve\n    return self.items[sku]\n           ~~~~~~~~~~^^^^^\nKeyError: 'A-17'\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"/usr/lib/python3.12/threading.py\", line 1010, in run\n    self._target()\n  File \"/app/shop/orders.py\", line 40, in charge\n    [f(x) for x in y]\n  File \"/app/shop/orders.py\", line 41, in <listcomp>\n  [Previous line repeated 3 more times]\nshop.errors.PaymentError: no stock\n";
    insta::assert_snapshot!(shown(text), @r"
    shop.errors.PaymentError | no stock
      orders in charge
      ~ threading in run
    KeyError | 'A-17'
      stock in reserve
    ");
    assert!(is_in(text));
}

#[test]
fn python_tells_a_cause_from_what_was_being_handled() {
    let one =
        |kind: &str| format!("Traceback (most recent call last):\n  File \"/app/shop.py\", line 1, in f\n    g()\n{kind}: x\n");
    let chain = |between: &str| parse(&format!("{}\n{between}\n\n{}", one("KeyError"), one("ValueError"))).unwrap().exceptions;
    for (between, relation) in [
        ("The above exception was the direct cause of the following exception:", Some(Relation::Cause)),
        ("During handling of the above exception, another exception occurred:", Some(Relation::Handled)),
        ("something else", None),
    ] {
        let relations: Vec<_> = chain(between).iter().map(|exception| (exception.kind.clone(), exception.relation)).collect();
        assert_eq!(relations, [("ValueError".to_owned(), None), ("KeyError".to_owned(), relation)], "{between}");
    }
    let group = "  + Exception Group Traceback (most recent call last):\n  |   File \"/app/shop.py\", line 1, in f\n  | ExceptionGroup: both failed (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: 1\n    +---------------- 2 ----------------\n    | Traceback (most recent call last):\n    |   File \"/app/shop.py\", line 2, in g\n    | KeyError: 2\n    +------------------------------------\n";
    let relations: Vec<_> =
        parse(group).unwrap().exceptions.iter().map(|exception| (exception.kind.clone(), exception.relation)).collect();
    assert_eq!(relations[1], ("ExceptionGroup".to_owned(), None));
    for (line, names) in [
        ("    raise OrderError(order) from error", true),
        ("raise OrderError(f\"from {x}\") from self.error", true),
        ("raise OrderError from None", false),
        ("raise OrderError(\"not read from disk\")", false),
        ("raise OrderError(order)", false),
        ("from shop import x", false),
    ] {
        assert_eq!(python::names_a_cause(line), names, "{line}");
    }
}

#[test]
fn java_with_causes_lambdas_and_proxies() {
    let text = "Exception in thread \"main\" java.lang.IllegalStateException: cannot pay: later\n\tat com.shop.Orders$1.lambda$run$0(Orders.java:10)\n\tat com.shop.Orders$$EnhancerBySpringCGLIB$$1a2b3c.pay(<generated>)\n\tat java.base/java.lang.Thread.run(Thread.java:833) ~[?:?]\n\tSuppressed: java.io.IOException: close\n\t\tat com.shop.Socket.close(Socket.java:1)\nCaused by: java.sql.SQLException: timeout\n\tat org.postgresql.Driver.connect(Driver.java:300)\n\tat com.shop.Db.open(Db.kt:7)\n\t... 12 more\n";
    insta::assert_snapshot!(shown(text), @r"
    java.lang.IllegalStateException | cannot pay: later
      com.shop.Orders in lambda$run
      com.shop.Orders in pay
      ~ java.lang.Thread in run
    java.sql.SQLException | timeout
      org.postgresql.Driver in connect
      com.shop.Db in open
    ");
    assert!(is_in(text));
}

#[test]
fn javascript_of_node_and_of_a_browser() {
    let node = "/app/src/cart.js:10\n    throw new TypeError('x')\n    ^\n\nTypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument\n    at new Cart (/app/src/cart.js:10:15)\n    at async Object.charge [as pay] (file:///app/dist/main.3f2a1b9c.js:20:3)\n    at /app/node_modules/express/lib/layer.js:95:5\n    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {\n  code: 1\n}\n";
    insta::assert_snapshot!(shown(node), @r#"
    TypeError | The "path" argument
      cart in Cart
      main in charge
      ~ layer
    "#);
    assert!(is_in(node));
    insta::assert_snapshot!(shown("charge@https://shop.example/assets/index-BxY3z1aQ.js:10:5\n@https://shop.example/app.js:1:2\n"), @r"
    |
      index in charge
      app
    ");
}

#[test]
fn go_of_a_panic_and_of_one_that_was_caught() {
    let text = "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48d2f5]\n\ngoroutine 1 [running]:\nshop/orders.(*Service).Charge(0xc000010000, {0x4b, 0x1})\n\t/app/orders/service.go:10 +0x1d\nshop/orders.Map[...].func1.2()\n\t/app/orders/map.go:20 +0x2\nnet/http.HandlerFunc.ServeHTTP(0x1)\n\t/usr/local/go/src/net/http/server.go:2136 +0x29\ncreated by main.main in goroutine 1\n\t/app/main.go:3 +0x1\nexit status 2\n";
    insta::assert_snapshot!(shown(text), @r"
    panic | runtime error: invalid memory address or nil pointer dereference
      shop/orders in (*Service).Charge
      shop/orders in Map
      ~ net/http in HandlerFunc.ServeHTTP
    ");
    assert!(is_in(text));
    let caught = "goroutine 7 [running]:\nruntime/debug.Stack()\n\t/usr/local/go/src/runtime/debug/stack.go:24 +0x5e\nmain.recovered.func1()\n\t/app/main.go:9 +0x1\npanic({0x1, 0x2})\n\t/usr/local/go/src/runtime/panic.go:770 +0x132\nmain.crash(...)\n\t/app/main.go:5\n";
    insta::assert_snapshot!(shown(caught), @r"
    panic |
      main in crash
    ");
}

#[test]
fn rust_with_and_without_a_backtrace() {
    let text = "thread 'tokio-runtime-worker' panicked at src/orders.rs:10:5:\nindex out of bounds: the len is 3 but the index is 7\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/0123/library/std/src/panicking.rs:645:5\n   1: core::panicking::panic_fmt\n             at /rustc/0123/library/core/src/panicking.rs:72:14\n   2: shop::orders::charge::{{closure}}::h0123456789abcdef\n             at ./src/orders.rs:10:5\n   3: <shop::Cart as core::ops::drop::Drop>::drop\n             at ./src/cart.rs:4:1\n   4: tokio::runtime::task::raw::poll::<F>\n   5: shop::main\nnote: Some details are omitted\n";
    insta::assert_snapshot!(shown(text), @r"
    panic | index out of bounds: the len is 3 but the index is 7
      shop::orders in charge
      shop::Cart in drop
      ~ tokio::runtime::task::raw in poll
      shop in main
    ");
    assert!(is_in(text));
    insta::assert_snapshot!(shown("\nthread 'main' panicked at 'no config', src/main.rs:3:9\nnote: run with `RUST_BACKTRACE=1`\n"), @r"
    panic | no config
      main
    ");
}

#[test]
fn dot_net_is_read_as_well() {
    let text = "System.InvalidOperationException: no\n   at Shop.Orders.Charge[T](List`1 items) in /src/Orders.cs:line 10\n   at System.Threading.Tasks.Task.Run()\n";
    insta::assert_snapshot!(shown(text), @r"
    System.InvalidOperationException | no
      Shop.Orders in Charge
      ~ System.Threading.Tasks.Task in Run
    ");
}

#[test]
fn ordinary_text_holds_no_trace() {
    for text in [
        "",
        "one line",
        "two\nlines",
        "meet me\n  at noon (UTC)\n  at the station",
        "see\nat example.com(now)",
        "a\n at x",
        "goroutine 5 is busy [1]:",
        "Traceback:\n  File",
        "job\nran at 10:30:00\nand at 11:30:00",
        "stack backtrace: off\n",
        "it panicked at noon\n",
    ] {
        assert!(!is_in(text), "{text}");
    }
}

/// Text that looks like traces, in any order.
fn scraps() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Traceback (most recent call last):\n"),
        Just("  File \"/a/b.py\", line 1, in f\n"),
        Just("ValueError: x\n"),
        Just("  | "),
        Just("+-"),
        Just("\tat a.B.c(D.java:1)\n"),
        Just("    at f (/a/b.js:1:2)\n"),
        Just("Caused by: a.B: c\n"),
        Just("... 3 more\n"),
        Just("goroutine 1 [running]:\n"),
        Just("main.f(0x1)\n"),
        Just("\t/a.go:1 +0x1\n"),
        Just("panic: "),
        Just("thread 'main' panicked at "),
        Just("src/a.rs:1:2:\n"),
        Just("stack backtrace:\n"),
        Just("   0: a::b::{{closure}}\n"),
        Just("<a as b>::c"),
        Just("at "),
        Just("("),
        Just(")"),
        Just("'"),
        Just(": "),
        Just("\n"),
        Just("é"),
        Just("@http://x:1:2"),
    ];
    proptest::collection::vec(prop_oneof![4 => piece.prop_map(str::to_owned), 1 => "\\PC{0,8}"], 0..24)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in scraps()) {
        let _ = is_in(&text);
        let exceptions = parse(&text).map_or(1, |trace| trace.exceptions.len());
        prop_assert!((1..=MAX_EXCEPTIONS).contains(&exceptions));
    }
}
