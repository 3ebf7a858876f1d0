//! The folder that rows are written to.

use std::fs;
use std::path::Path;

use super::{Finding, size};

pub(super) fn findings(folder: &Path, keep_bytes: Option<u64>) -> Vec<Finding> {
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => {
            let cure = "another `folder` in [rows]";
            return vec![Finding::bad("output", format!("{shown} is not a folder"), cure)];
        }
        Err(error) => {
            let cure = format!("install -d -o tapline -g tapline -m 0750 {shown}");
            return vec![Finding::bad("output", format!("{shown}: {error}"), cure)];
        }
    }
    #[cfg(target_os = "linux")]
    return linux::findings(folder, keep_bytes);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (keep_bytes, size(0));
        vec![Finding::ok("output", format!("{shown} is there"))]
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{Access, access, statvfs};

    use super::{Finding, Path, size};

    pub(super) fn findings(folder: &Path, keep_bytes: Option<u64>) -> Vec<Finding> {
        let shown = folder.display();
        if let Err(errno) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            let user_id = rustix::process::getuid().as_raw();
            let what = format!("user {user_id} cannot write to {shown}: {}", std::io::Error::from(errno));
            return vec![Finding::bad(
                "output",
                what,
                format!("chown {user_id} {shown}, or run as its owner"),
            )];
        }
        let Ok(disk) = statvfs(folder) else { return Vec::new() };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        vec![room(&shown.to_string(), free_bytes, keep_bytes)]
    }

    pub(super) fn room(folder: &str, free_bytes: u64, keep_bytes: Option<u64>) -> Finding {
        let free = size(free_bytes);
        if free_bytes < LEAST_BYTES {
            return Finding::bad(
                "output",
                format!("the disk of {folder} has {free} left"),
                "make room: rows that do not fit are dropped and counted",
            );
        }
        match keep_bytes {
            Some(keep) if keep > free_bytes => Finding::warn(
                "output",
                format!("{} of rows are to be kept in {folder}, but {free} are left", size(keep)),
                "a lower `keep_size` in [rows], or a larger disk",
            ),
            Some(keep) => {
                Finding::ok("output", format!("{folder} has {free} left, for {} of rows", size(keep)))
            }
            None => Finding::ok("output", format!("{folder} has {free} left")),
        }
    }

    /// Less than a few batches of rows.
    const LEAST_BYTES: u64 = 16 << 20;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_folder_that_cannot_take_rows_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(findings(folder.path(), Some(1))[0].state, State::Ok);
        let absent = findings(&folder.path().join("absent"), None).remove(0);
        assert!(absent.state == State::Bad && absent.cure.unwrap().starts_with("install -d -o tapline"));
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(findings(&folder.path().join("file"), None)[0].state, State::Bad);
        // Nobody can, not even root.
        assert_eq!(findings(Path::new("/proc/self/fdinfo"), None)[0].state, State::Bad);
    }

    #[test]
    fn room_is_held_against_what_is_to_be_kept() {
        for (free, keep, state) in [
            (1 << 20, None, State::Bad),
            (1 << 30, None, State::Ok),
            (1 << 30, Some(8 << 30), State::Warn),
            (16 << 30, Some(8 << 30), State::Ok),
        ] {
            assert_eq!(linux::room("/var/log/tapline", free, keep).state, state, "{free} {keep:?}");
        }
    }
}
