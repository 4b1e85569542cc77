//! Our components, built from `plugins/` and, for tests alone, from `tests/components/`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::step::{Failed, cargo, run};
use crate::{root, target_directory, wasm};

/// The profile of the workspace that components are built with.
const PROFILE: &str = "component";
/// Set by `cargo verify`, which has built them all: a test need not ask cargo again.
pub const BUILT: &str = "WATCHFIRE_TEST_COMPONENTS_BUILT";

/// Returns the folder that components of ours are put into.
#[must_use]
pub fn folder() -> PathBuf {
    target_directory().join("components")
}

/// Returns the folder that the tests' own components are put into: no host but theirs should find them.
#[must_use]
pub fn test_folder() -> PathBuf {
    target_directory().join("test-components")
}

/// Returns the file of component `name`, of ours or of the tests' own, after building all of them if need be.
///
/// # Panics
/// If they do not build, or there is none of that name.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    static BUILD: OnceLock<()> = OnceLock::new();
    BUILD.get_or_init(|| {
        if std::env::var_os(BUILT).is_none() {
            ensure_all().unwrap_or_else(|failed| panic!("{failed}"));
        }
    });
    let file = format!("{name}.wasm");
    let candidates = [folder().join(&file), test_folder().join(&file)];
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("there is no component `{name}`"))
}

/// Builds our components.
///
/// # Errors
/// If the target cannot be added or one does not build.
pub fn ensure() -> Result<(), Failed> {
    build("components", &[("plugins", folder())])
}

/// Builds our components and those that only tests use.
///
/// # Errors
/// If the target cannot be added or one does not build.
pub fn ensure_all() -> Result<(), Failed> {
    build("components, and those that only tests use", &[("plugins", folder()), ("tests/components", test_folder())])
}

/// A crate that is built as a component.
struct Source {
    /// Name of its package.
    package: String,
    /// What the compiler calls what it builds.
    artifact: String,
    /// Where the component goes.
    destination: PathBuf,
}

fn build(what: &str, places: &[(&str, PathBuf)]) -> Result<(), Failed> {
    wasm::ensure()?;
    let mut sources = Vec::new();
    for (place, destination) in places {
        sources.extend(sources_in(&root().join(place), destination)?);
        tidy(destination, &sources)?;
    }
    if sources.is_empty() {
        return Ok(());
    }
    let mut command = cargo(&["build", "--quiet", "--target", wasm::TARGET, "--profile", PROFILE]);
    command.args(sources.iter().flat_map(|source| ["--package", &source.package]));
    command.env("CARGO_TARGET_DIR", target_directory());
    without_outer_settings(&mut command);
    run(what, &mut command, "see the compiler's message above")?;
    let built = target_directory().join(wasm::TARGET).join(PROFILE);
    sources.iter().try_for_each(|source| put(&built.join(&source.artifact), &source.destination))
}

/// Takes away what was meant for the host's build, or what the cargo that runs us has set: flags, wrappers, another target.
fn without_outer_settings(command: &mut Command) {
    let foreign = |name: &str| {
        matches!(
            name,
            "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "CARGO_PRIMARY_PACKAGE"
        ) || ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix) && name != "CARGO_TARGET_DIR")
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(foreign) {
            command.env_remove(name);
        }
    }
}

/// Returns the crates below `place` that make components: those that are a C library.
fn sources_in(place: &Path, destination: &Path) -> Result<Vec<Source>, Failed> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let manifest = entry.path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        if !text.contains("cdylib") {
            continue;
        }
        let names = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let package = names.take(1).next().ok_or_else(|| {
            Failed::new(
                format!("{}: no line says `name = \"…\"`", manifest.display()),
                "write the package's name on a line of its own",
            )
        })?;
        // The file is called like the folder.
        let destination = destination.join(entry.file_name()).with_extension("wasm");
        let artifact = format!("{}.wasm", package.replace('-', "_"));
        sources.push(Source { package: package.to_owned(), artifact, destination });
    }
    sources.sort_by(|one, other| one.package.cmp(&other.package));
    Ok(sources)
}

/// Deletes components whose source is gone.
fn tidy(folder: &Path, sources: &[Source]) -> Result<(), Failed> {
    let cannot = |error: std::io::Error| Failed::new(format!("{}: {error}", folder.display()), "is the target directory writable?");
    fs::create_dir_all(folder).map_err(cannot)?;
    for path in fs::read_dir(folder).map_err(cannot)?.flatten().map(|entry| entry.path()) {
        let stale = path.extension() == Some(OsStr::new("wasm")) && !sources.iter().any(|source| source.destination == path);
        if stale {
            fs::remove_file(&path).map_err(cannot)?;
        }
    }
    Ok(())
}

/// Puts `artifact` at `destination` in one step, unless the same is there already: a running host would load it anew.
fn put(artifact: &Path, destination: &Path) -> Result<(), Failed> {
    let put = || {
        let bytes = fs::read(artifact)?;
        if fs::read(destination).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let temporary = destination.with_extension(format!("new{}", std::process::id()));
        fs::write(&temporary, &bytes)?;
        fs::rename(&temporary, destination)
    };
    put().map_err(|error: std::io::Error| {
        Failed::new(format!("{} to {}: {error}", artifact.display(), destination.display()), "is the target directory writable?")
    })
}

/// Lists what lies in `folder`, for whoever built it.
#[must_use]
pub fn list(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let size = entry.metadata().ok()?.len() >> 10;
        Some(format!("{} ({size} KiB)", entry.path().display()))
    });
    let mut files: Vec<String> = files.collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_of_ours_is_found_and_the_crate_for_authors_is_none() {
        let sources = sources_in(&root().join("plugins"), Path::new("components")).unwrap();
        let file = |source: &Source| source.destination.display().to_string();
        let names: Vec<String> = sources.iter().map(file).collect();
        assert!(names.iter().any(|name| name == "components/ssh-brute-force.wasm"), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("sdk")), "{names:?}");
    }
}
