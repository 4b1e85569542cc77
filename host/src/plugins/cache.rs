//! Compiled components on disk: compiling takes up to seconds, loading what was compiled a millisecond.
//!
//! A file is `<hash of the component>-<version and machine>.cwasm`, and beside it lies its own hash. Any doubt is a miss: a flipped bit in
//! compiled code would crash the process.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::engine::{self, Runtime};
use super::types::Compiler;

/// Most memory that a process which compiles may take, in bytes.
const COMPILER_MEMORY_BYTES: u64 = 2 << 30;

/// Where compiled components lie, and who compiles.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    compiler: Compiler,
}

/// Why a component could not be compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    #[error("it cannot be compiled: {0}")]
    Component(String),
    #[error("cannot write compiled code to `{}`: {source}", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the process that compiles cannot be run: {0}")]
    Child(std::io::Error),
}

impl Cache {
    /// Returns the cache in `folder`, which is made, for its owner alone, when it is first needed.
    pub(super) fn new(folder: PathBuf, compiler: Compiler) -> Self {
        Self { folder, compiler }
    }

    /// Returns the component in `bytes`, whose hash is `hash`, and whether it had to be compiled. Blocks, perhaps for seconds.
    pub(super) fn load(&self, runtime: &Runtime, bytes: &[u8], hash: &str) -> Result<(Component, bool), CompileError> {
        let path = self.folder.join(format!("{hash}-{:016x}.cwasm", runtime.compatibility()));
        if let Some(component) = open(runtime, &path) {
            return Ok((component, false));
        }
        let write = |source| CompileError::Write { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(write)?;
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let compiled = match &self.compiler {
            Compiler::Here => engine::compile(bytes)
                .map_err(|error| CompileError::Component(format!("{error:#}")))
                .and_then(|code| store(&temporary, &code).map_err(write)),
            Compiler::Child(program) => in_child(program, bytes, &temporary),
        };
        let finished = compiled.and_then(|()| finish(&temporary, &path).map_err(write));
        if finished.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        finished?;
        let component = open(runtime, &path);
        component.map(|component| (component, true)).ok_or_else(|| {
            CompileError::Component("the compiled code cannot be loaded: was it made by another version?".to_owned())
        })
    }

    /// Deletes compiled components other than those whose hash is in `wanted`.
    pub(super) fn tidy(&self, wanted: &[String]) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted.iter().any(|hash| name.starts_with(hash.as_str())) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Compiles in a process of its own, whose memory is gone afterwards.
fn in_child(program: &Path, bytes: &[u8], output: &Path) -> Result<(), CompileError> {
    let input = output.with_extension("wasm");
    store(&input, bytes).map_err(|source| CompileError::Write { path: input.clone(), source })?;
    let result = std::process::Command::new(program)
        .arg("compile-component")
        .args([&input, &output.to_owned()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let _ = fs::remove_file(&input);
    let result = result.map_err(CompileError::Child)?;
    if result.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&result.stderr).trim().to_owned();
    let said = if said.is_empty() { result.status.to_string() } else { said };
    Err(CompileError::Component(said))
}

/// Compiles the component in the file `input` into the file `output`: what the host's child process does.
///
/// # Errors
/// Says what cannot be read, compiled or written.
pub fn compile_file(input: &Path, output: &Path) -> Result<(), String> {
    let _ = rustix::process::setpriority_process(None, 15);
    let limit = rustix::process::Rlimit { current: Some(COMPILER_MEMORY_BYTES), maximum: Some(COMPILER_MEMORY_BYTES) };
    // Without effect on systems that do not have it; then only the size of the component bounds the memory.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Data, limit);
    let bytes = fs::read(input).map_err(|error| format!("{}: {error}", input.display()))?;
    let code = engine::compile(&bytes).map_err(|error| format!("{error:#}"))?;
    store(output, &code).map_err(|error| format!("{}: {error}", output.display()))
}

/// Returns the hash of `bytes` in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    watchfire_types::log::hex(&Sha256::digest(bytes))
}

fn hash_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts what was compiled in its place, its hash first: code without a hash is never loaded.
fn finish(temporary: &Path, path: &Path) -> std::io::Result<()> {
    let hash = hash(&fs::read(temporary)?);
    let hash_temporary = temporary.with_extension("sha256.new");
    store(&hash_temporary, hash.as_bytes())?;
    fs::rename(&hash_temporary, hash_path(path))?;
    fs::rename(temporary, path)?;
    fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Returns the component compiled to the file at `path`, if it is there, whole, and ours.
#[expect(unsafe_code, reason = "compiled code is loaded only from a folder of our own, and only if its hash is what we wrote down")]
fn open(runtime: &Runtime, path: &Path) -> Option<Component> {
    let code = fs::read(path).ok()?;
    let written = fs::read_to_string(hash_path(path)).ok()?;
    if hash(&code) != written.trim() {
        return None;
    }
    // SAFETY: the file was made by `finish` from what this program compiled, and its hash has just been checked.
    unsafe { Component::deserialize_file(runtime.engine(), path) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn code_is_compiled_once_and_a_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), Compiler::Here);
        let runtime = Runtime::new().unwrap();
        let compiled = |cache: &Cache| cache.load(&runtime, EMPTY, &hash(EMPTY)).unwrap().1;
        assert!(compiled(&cache) && !compiled(&cache));
        let files: Vec<_> = fs::read_dir(folder.path().join("cache")).unwrap().flatten().map(|entry| entry.path()).collect();
        let code = files.iter().find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap();
        let mut bytes = fs::read(code).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(code, bytes).unwrap();
        assert!(compiled(&cache), "it is compiled anew");
        assert_eq!(files.len(), 2, "{files:?}");
        cache.tidy(&[]);
        assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_component_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned(), Compiler::Here);
        let runtime = Runtime::new().unwrap();
        let error = cache.load(&runtime, b"no component", "00").err().unwrap();
        assert!(error.to_string().starts_with("it cannot be compiled"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
