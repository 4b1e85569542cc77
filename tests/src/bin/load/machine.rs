//! On what the figures were measured.

use std::fs;
use std::path::Path;

use crate::report::Report;
use crate::{Target, host};

/// Returns the machine, its disk, and the host's binary.
pub(crate) fn report(target: &Target) -> anyhow::Result<Report> {
    let folder = host::folder(target);
    let report = Report::new("machine")
        .line("processor", processor())
        .line("cores", std::thread::available_parallelism()?)
        .line("memory", first_value("/proc/meminfo", "MemTotal").unwrap_or_default())
        .line("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim())
        .line("data on", format!("{} ({})", folder.display(), filesystem(&folder)));
    let measured = target.url.clone().or_else(|| target.host_binary.as_ref().map(|path| path.display().to_string()));
    Ok(report.line("host", measured.unwrap_or_default()))
}

fn processor() -> String {
    first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Returns what follows `name:` in a file of `/proc`.
pub(crate) fn first_value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Returns the type of the file system that holds `folder`: on `tmpfs`, durable means nothing.
fn filesystem(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounts.filter(|(mount, _)| folder.starts_with(mount)).max_by_key(|(mount, _)| mount.len());
    holding.map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}
