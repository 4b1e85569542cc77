//! Programs of Debian packages for tests, without installing anything: packages and what they need that the machine lacks are
//! unpacked under `target/debian`. Installing them would start their services, and needs root.
//!
//! A program of the machine is preferred. Where a program loads modules from a fixed folder, [`Program::folder`] says where that
//! folder lies now, for the option or variable by which the program is told.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{self, Failed};
use crate::{is_ci, loudly, target_directory};

/// Packages that tests use programs of.
struct Kit {
    /// The folder under `target/debian`.
    name: &'static str,
    /// The programs that tests run.
    programs: &'static [&'static str],
    packages: &'static [&'static str],
    /// Files that must be there too before a program of the machine serves, as [`Program::folder`] takes them.
    needs: &'static [&'static str],
    /// Whether the packages are useless without what they depend on. Of a static program the rest only fills the disk.
    dependencies: bool,
    /// What is not tested without them.
    tests: &'static str,
}

const KITS: [Kit; 5] = [
    Kit {
        name: "logrotate",
        programs: &["logrotate"],
        packages: &["logrotate"],
        needs: &[],
        dependencies: true,
        tests: "files that logrotate rotates",
    },
    Kit {
        name: "prometheus",
        programs: &["promtool"],
        packages: &["prometheus"],
        needs: &[],
        dependencies: false,
        tests: "/metrics with promtool",
    },
    Kit {
        name: "rsyslog",
        programs: &["rsyslogd"],
        packages: &["rsyslog", "rsyslog-elasticsearch", "rsyslog-gnutls", "rsyslog-openssl"],
        needs: &[
            "usr/lib/ARCH/rsyslog/lmnsd_gtls.so",
            "usr/lib/ARCH/rsyslog/lmnsd_ossl.so",
            "usr/lib/ARCH/rsyslog/omelasticsearch.so",
        ],
        dependencies: true,
        tests: "what rsyslog sends",
    },
    Kit {
        name: "syslog-ng",
        programs: &["syslog-ng", "loggen"],
        packages: &["syslog-ng-core", "syslog-ng-mod-http"],
        needs: &["usr/lib/syslog-ng/3*/libhttp.so"],
        dependencies: true,
        tests: "what syslog-ng sends",
    },
    Kit {
        name: "systemd-journal-remote",
        programs: &["systemd-journal-remote", "systemd-journal-upload"],
        packages: &["systemd-journal-remote"],
        needs: &[],
        dependencies: true,
        tests: "what journald sends",
    },
];

/// Where programs lie below a root.
const PROGRAM_FOLDERS: [&str; 6] = ["usr/bin", "usr/sbin", "bin", "sbin", "usr/lib/systemd", "lib/systemd"];

/// A program that can be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program itself.
    pub path: PathBuf,
    /// Below this its package lies: `/`, or a folder under `target/debian`.
    pub root: PathBuf,
}

impl Program {
    /// Returns a command that runs it, with the libraries that were unpacked beside it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if self.root != Path::new("/") {
            let mut folders = library_folders(&self.root);
            folders.extend(std::env::var_os("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
            command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap_or_else(|_| OsString::new()));
        }
        command
    }

    /// Returns where `usr/lib/ARCH/rsyslog` and the like lie, if they do: `ARCH` stands for Debian's triplet of this machine, and `*`
    /// at the end of a name for anything.
    #[must_use]
    pub fn folder(&self, path: &str) -> Option<PathBuf> {
        below(&self.root, path)
    }
}

/// Returns `program`: of the machine, or as [`ensure`] has unpacked it.
#[must_use]
pub fn find(program: &str) -> Option<Program> {
    let kit = KITS.iter().find(|kit| kit.programs.contains(&program));
    if kit.is_none_or(|kit| kit.needs.iter().all(|path| below(Path::new("/"), path).is_some()))
        && let Some(path) = on_the_machine(program)
    {
        return Some(Program { path, root: PathBuf::from("/") });
    }
    let root = folder_of(kit?);
    let path = PROGRAM_FOLDERS.iter().map(|folder| root.join(folder).join(program)).find(|path| path.is_file())?;
    Some(Program { path, root })
}

/// Returns `program` for a test, which must be skipped if there is none: that has been said.
///
/// # Panics
/// Under CI, where nothing may be skipped.
#[must_use]
pub fn program(program: &str) -> Option<Program> {
    let found = find(program);
    if found.is_none() {
        assert!(!is_ci(), "there is no {program}; `cargo verify` fetches it");
        loudly(&format!("skipped: there is no {program}; `cargo verify` fetches it"));
    }
    found
}

/// Makes sure that every program is there, if that can be done without installing anything on the machine.
///
/// # Errors
/// Only under CI; elsewhere their tests are skipped, loudly.
pub fn ensure() -> Result<(), Failed> {
    let _one_at_a_time = lock()?;
    let missing = |kit: &&Kit| kit.programs.iter().any(|program| find(program).is_none()) || !is_current(kit);
    for kit in KITS.iter().filter(missing) {
        step::announce(&format!("{}, from Debian's packages", kit.programs.join(", ")));
        fetch(kit);
        let Some(program) = kit.programs.iter().find(|program| find(program).is_none()) else { continue };
        if is_ci() {
            return Err(Failed::new(
                format!("there is no {program}"),
                format!("put it on the PATH, or let apt-get reach a Debian archive that has {}", kit.packages.join(" and ")),
            ));
        }
        loudly(&format!("there is no {program}: tests of {} will be skipped", kit.tests));
    }
    Ok(())
}

/// Returns whether what is unpacked is what the kit says today, or nothing is.
fn is_current(kit: &Kit) -> bool {
    let folder = folder_of(kit);
    !folder.exists() || fs::read_to_string(folder.join("complete")).is_ok_and(|packages| packages == kit.packages.join(" "))
}

fn folder_of(kit: &Kit) -> PathBuf {
    target_directory().join("debian").join(kit.name)
}

/// Downloads and unpacks packages. What goes wrong shows in what is not there afterwards.
fn fetch(kit: &Kit) {
    let folder = folder_of(kit);
    let _ = fs::remove_dir_all(&folder);
    if fs::create_dir_all(&folder).is_err() {
        return;
    }
    if !download(kit, &folder) {
        // A fresh container has no package lists; without being root this fails, and then so does the second download.
        step::output(&mut step::command("apt-get", ["update", "--quiet"]));
        download(kit, &folder);
    }
    for package in entries(&folder).filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        step::output(step::command("dpkg-deb", ["--extract"]).arg(&package).arg(&folder));
        let _ = fs::remove_file(package);
    }
    // Written last, so that an interrupted download is not taken for a whole one.
    let _ = fs::write(folder.join("complete"), kit.packages.join(" "));
}

fn download(kit: &Kit, folder: &Path) -> bool {
    let mut packages: Vec<String> = kit.packages.iter().map(|package| (*package).to_owned()).collect();
    if kit.dependencies {
        let simulate = ["install", "--simulate", "--quiet", "--no-install-recommends"];
        let Some(plan) = step::output(step::command("apt-get", simulate).args(kit.packages).env("LC_ALL", "C")) else {
            return false;
        };
        packages.extend(missing(&plan));
        packages.sort();
        packages.dedup();
    }
    step::output(step::command("apt-get", ["download", "--quiet"]).args(packages).current_dir(folder)).is_some()
}

/// Returns the packages that the machine lacks, from what `apt-get --simulate` prints: `Inst libestr0 (0.1.11-1 Debian:12 [amd64])`.
fn missing(plan: &str) -> impl Iterator<Item = String> {
    plan.lines().filter_map(|line| Some(line.strip_prefix("Inst ")?.split_whitespace().next()?.to_owned()))
}

fn on_the_machine(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    // Daemons lie where only root's PATH leads.
    let folders = path.chain(PROGRAM_FOLDERS.iter().map(|folder| Path::new("/").join(folder)));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Returns what `path` names below `root`: see [`Program::folder`].
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    path.split('/').try_fold(root.to_owned(), |folder, name| {
        let matches: &dyn Fn(&str) -> bool = match name {
            "ARCH" => &|entry| entry.contains("-linux-"),
            name => match name.strip_suffix('*') {
                Some(start) => &move |entry| entry.starts_with(start),
                None => return Some(folder.join(name)).filter(|path| path.exists()),
            },
        };
        entries(&folder).find(|entry| entry.file_name().and_then(|name| name.to_str()).is_some_and(matches))
    })
}

/// Returns every folder below `root` that holds shared libraries.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let is_library = |path: PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(".so"));
    let mut folders = vec![root.join("usr/lib"), root.join("lib")];
    let mut index = 0;
    while let Some(folder) = folders.get(index) {
        let inner: Vec<PathBuf> = entries(folder).filter(|path| path.is_dir() && !path.is_symlink()).collect();
        folders.extend(inner);
        index += 1;
    }
    folders.retain(|folder| entries(folder).any(is_library));
    folders
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn lock() -> Result<File, Failed> {
    let folder = target_directory().join("debian");
    let open = || {
        fs::create_dir_all(&folder)?;
        let file = File::create(folder.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    open()
        .map_err(|error: std::io::Error| Failed::new(format!("{}: {error}", folder.display()), "is the target directory writable?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_read_from_the_plan() {
        let plan = "The following NEW packages will be installed:\n  libestr0 rsyslog\nInst libestr0 (0.1.11-1 Debian:12.14 [amd64])\n\
                    Inst systemd [252.38] (252.39 Debian:12.14 [amd64]) []\nConf libestr0 (0.1.11-1 Debian:12.14 [amd64])\n";
        assert_eq!(missing(plan).collect::<Vec<_>>(), ["libestr0", "systemd"]);
    }

    #[test]
    fn folders_are_found_below_a_root() {
        let root = std::env::temp_dir().join(format!("watchfire-debian-{}", std::process::id()));
        let modules = root.join("usr/lib/x86_64-linux-gnu/syslog/3.38");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("libone.so.1"), "").unwrap();
        assert_eq!(below(&root, "usr/lib/ARCH/syslog/3*"), Some(modules.clone()));
        assert_eq!(below(&root, "usr/lib/ARCH/rsyslog"), None);
        assert_eq!(library_folders(&root), [modules]);
        fs::remove_dir_all(root).unwrap();
    }
}
