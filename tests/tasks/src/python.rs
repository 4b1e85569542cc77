//! A Python of our own under `target/`, with the pinned packages of `tests/python/requirements.txt`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::step::{self, Failed};
use crate::{root, target_directory};

/// Returns the folder of the Python programs that tests run.
#[must_use]
pub fn programs() -> PathBuf {
    root().join("tests/python")
}

/// Returns a Python that has every package the tests need, making it first if it is not there.
///
/// # Errors
/// If there is no Python 3.10 or newer with `venv`, or a package cannot be installed.
pub fn ensure() -> Result<PathBuf, Failed> {
    let requirements = programs().join("requirements.txt");
    let text =
        fs::read(&requirements).map_err(|error| Failed::new(format!("{}: {error}", requirements.display()), "restore it"))?;
    let folder = target_directory().join(format!("python-{:016x}", fnv1a(&text)));
    let interpreter = folder.join("bin/python");
    let _one_at_a_time = lock(&folder)?;
    // Written last, so that an interrupted installation is not taken for a whole one.
    let complete = folder.join("complete");
    if !complete.exists() {
        install(&folder, &interpreter, &requirements)?;
        fs::write(&complete, "").map_err(|error| Failed::new(format!("{}: {error}", complete.display()), "free some space"))?;
    }
    Ok(interpreter)
}

fn install(folder: &Path, interpreter: &Path, requirements: &Path) -> Result<(), Failed> {
    let python = std::env::var_os("WATCHFIRE_PYTHON").unwrap_or_else(|| "python3".into());
    step::run(
        &format!("a Python for the tests, in {}", folder.display()),
        &mut step::command(python, ["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_os_str()]),
        "install Python 3.10 or newer with venv (Debian, Ubuntu: apt-get install python3-venv), or name one in WATCHFIRE_PYTHON",
    )?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
    step::run(
        "its packages: the OpenTelemetry SDK, an SMTP server",
        step::command(interpreter, pip).arg(requirements),
        "see pip's message above; a package index must be reachable (PIP_INDEX_URL names another one)",
    )
}

/// Holds a lock beside `folder` until dropped: tests run in many processes at once.
fn lock(folder: &Path) -> Result<File, Failed> {
    let path = folder.with_extension("lock");
    let open = || {
        fs::create_dir_all(target_directory())?;
        let file = File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|error: std::io::Error| Failed::new(format!("{}: {error}", path.display()), "is the target directory writable?"))
}

/// The FNV-1a hash: enough to tell one list of packages from another, and the same in every release of Rust.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(super::fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
