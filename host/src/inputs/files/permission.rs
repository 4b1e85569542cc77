//! Says which permission is missing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, access};

/// Returns why `path` cannot be read, and what to do about it.
pub(super) fn explain(path: &Path) -> String {
    let ancestors: Vec<&Path> = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    for folder in ancestors.into_iter().rev() {
        if access(folder, Access::EXEC_OK).is_err() {
            return format!("permission to enter the folder {} is missing ({})", folder.display(), describe(folder));
        }
    }
    format!("permission to read {} is missing ({})", path.display(), describe(path))
}

fn describe(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else { return "its owner is not known".to_owned() };
    let mode = metadata.permissions().mode() & 0o7777;
    let group = group_name(metadata.gid());
    let hint = if mode & 0o040 != 0 { format!("; add the host's user to the group `{group}`") } else { String::new() };
    format!("mode {mode:04o}, user id {}, group `{group}`{hint}", metadata.uid())
}

fn group_name(id: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_group_that_may_read_is_named() {
        assert_eq!(super::group_name(0), "root");
        assert_eq!(super::group_name(4_294_967_294), "4294967294");
    }
}
