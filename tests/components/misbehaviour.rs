//! What both the hostile analyzer and the hostile channel do, wherever their configuration says so.

use std::hint::black_box;
use std::time::Duration;

use watchfire_plugin::{Error, Result};

/// Does what `mode` says, most of which never ends well. A mode that is not among these means nothing here.
pub(crate) fn misbehave(mode: &str) -> Result<()> {
    match mode {
        "spin" => loop {
            black_box(());
        },
        "allocate" => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "unreachable" => std::process::abort(),
        "panic" => panic!("the plugin has a bug at row 17"),
        "overflow" => {
            black_box(deeper(1));
            Ok(())
        }
        "log" => loop {
            watchfire_plugin::info!("I have much to say");
        },
        "stderr" => {
            let line = "x".repeat(1 << 10);
            for number in 0..8 << 10 {
                eprintln!("{number} {line}");
            }
            Err(Error::internal("eight megabytes are written"))
        }
        "long-lines" => {
            eprintln!("{}", "y".repeat(8 << 20));
            watchfire_plugin::info!("{}", "z".repeat(8 << 20));
            Err(Error::internal("two long lines are written"))
        }
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            Ok(())
        }
        "exit" => std::process::exit(0),
        "exit-with-an-error" => std::process::exit(7),
        "refuse" => Err(Error::refused("n".repeat(1 << 20))),
        _ => Ok(()),
    }
}

/// Goes down until the stack ends.
#[expect(unconditional_recursion, reason = "that is the point")]
fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    deeper(depth + 1) + room[depth as usize % 64]
}
