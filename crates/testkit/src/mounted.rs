//! A small file system in memory, for tests that fill it. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::is_root_or_known_not;

/// A mounted tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a tmpfs of so many bytes at a folder, which is made.
    ///
    /// None if this process may not mount and the environment says that this is known (`SFT_TEST_NOT_ROOT=1`); without
    /// that, a machine on which the promise cannot be tested fails the test.
    pub fn tmpfs(at: &Path, bytes: u64) -> Option<Self> {
        if !is_root_or_known_not("mount a small file system") {
            return None;
        }
        std::fs::create_dir_all(at).expect("the folder can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=755"), "tmpfs"]).arg(at);
        let ran = mount.output().expect("mount is there");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Some(Self(at.into()))
    }

    /// Bytes that are free in it.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
