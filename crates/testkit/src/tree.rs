//! Trees to copy: each kind of entry that has ever been trouble.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use crate::Dice;

/// A folder that is being filled.
#[derive(Debug)]
pub struct Tree {
    at: PathBuf,
    dice: Dice,
}

impl Tree {
    /// An empty folder.
    pub fn new(at: impl Into<PathBuf>) -> Self {
        let at = at.into();
        fs::create_dir_all(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        Self { at, dice: Dice::new(1) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// A file with so many bytes, and with a time in the past that has nanoseconds.
    pub fn file(&mut self, name: impl AsRef<OsStr>, size: u64) -> &mut Self {
        let path = self.at.join(name.as_ref());
        self.dice.file(&path, size);
        let past =
            SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000 + self.dice.below(100_000_000), 123_456_789);
        let file = fs::File::options().write(true).open(&path).expect("it was just made");
        file.set_modified(past).expect("the file is ours");
        self
    }

    /// An empty directory.
    pub fn dir(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        fs::create_dir_all(self.at.join(name.as_ref())).expect("a directory can be made");
        self
    }

    /// A link to whatever `target` says.
    pub fn link(&mut self, name: impl AsRef<OsStr>, target: &str) -> &mut Self {
        symlink(target, self.at.join(name.as_ref())).expect("a link can be made");
        self
    }

    /// Permission bits of an entry that is there.
    pub fn mode(&mut self, name: &str, mode: u32) -> &mut Self {
        fs::set_permissions(self.at.join(name), PermissionsExt::from_mode(mode)).expect("the entry is ours");
        self
    }

    /// A time of modification for a directory or file that is there: seconds since 1970, negative before.
    pub fn time(&mut self, name: &str, secs: i64, nanos: u32) -> &mut Self {
        let offset = Duration::from_secs(secs.unsigned_abs());
        let whole = if secs < 0 { SystemTime::UNIX_EPOCH - offset } else { SystemTime::UNIX_EPOCH + offset };
        let file = fs::File::open(self.at.join(name)).expect("it is there");
        file.set_modified(whole + Duration::from_nanos(nanos.into())).expect("the entry is ours");
        self
    }

    /// Names that have been trouble: the longest, not UTF-8, control characters, names that differ in case or in
    /// normalisation only, and names that look like something else.
    pub fn odd_names(&mut self) -> &mut Self {
        let longest = "x".repeat(255);
        let names: [&[u8]; 16] = [
            longest.as_bytes(),
            b"not\xff\xfeutf8",
            b"line\nfeed",
            b"tab\tand\x1b[31mescape",
            b"back\\slash",
            b"Case",
            b"case",
            "caf\u{e9}".as_bytes(),
            "cafe\u{301}".as_bytes(),
            b" leading and trailing ",
            b"-rf",
            b"*?[]{}$`'\"",
            b"a:b",
            b"...",
            b"~",
            b"#1",
        ];
        for (number, name) in names.into_iter().enumerate() {
            self.file(OsStr::from_bytes(name), number as u64);
        }
        self.dir(OsStr::from_bytes(b"dir\xff")).file(OsStr::from_bytes(b"dir\xff/in\xfe"), 5)
    }

    /// Sizes around the borders of packs and pieces.
    pub fn odd_sizes(&mut self) -> &mut Self {
        const MIB: u64 = 1 << 20;
        for size in [0, 1, 1023, 1024, 1025, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 17, 5 * MIB - 1] {
            self.file(format!("size-{size}"), size);
        }
        self
    }

    /// Modes, times, links and directories of every kind.
    pub fn odd_entries(&mut self) -> &mut Self {
        for mode in [0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711] {
            let name = format!("mode-{mode:o}");
            self.file(&name, 10).mode(&name, mode);
        }
        self.dir("empty").dir("a/b/c").file("a/b/c/f", 3).dir("closed").file("closed/in", 4);
        self.dir("sticky").mode("sticky", 0o1777).dir("setgid").mode("setgid", 0o2775);
        self.link("to-file", "a/b/c/f").link("to-dir", "a/b").link("dangling", "nowhere/at/all");
        self.link("absolute", "/etc/hostname").link("upwards", "../../..").link("self", "self");
        self.link("a/b/long", &"y".repeat(4000));
        self.file("before-1970", 6).time("before-1970", -86_400, 5).file("year-2100", 6).time(
            "year-2100",
            4_102_444_800,
            1,
        );
        self.mode("closed", 0o555).time("closed", 1_400_000_000, 987_654_321)
    }

    /// A file that is almost only holes.
    pub fn sparse(&mut self, name: &str, size: u64) -> &mut Self {
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(self.at.join(name)).expect("a file can be made");
        file.set_len(size).expect("the file system has sparse files");
        let bytes = self.dice.bytes(4096);
        for at in [0, size / 2, size.saturating_sub(4096)] {
            file.write_all_at(&bytes[..bytes.len().min((size - at) as usize)], at)
                .expect("the disk has room");
        }
        self
    }

    /// So many directories one in the other, with a file at the bottom.
    pub fn deep(&mut self, name: &str, levels: usize) -> &mut Self {
        self.dir(name);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = rustix::fs::open(self.at.join(name), flags, Mode::empty()).expect("it was just made");
        for _ in 1..levels {
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).expect("a directory can be made");
            dir = rustix::fs::openat(&dir, "d", flags, Mode::empty()).expect("it was just made");
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, "bottom", flags, Mode::RUSR).expect("a file can be made");
        rustix::io::write(&file, b"so deep").expect("the disk has room");
        self
    }

    /// Many small files, at most a thousand in one directory; none larger than `size_max`.
    pub fn many(&mut self, name: &str, files: u64, size_max: u64) -> &mut Self {
        for number in 0..files {
            let dir = self.at.join(name).join(format!("{:04}", number / 1000));
            if number % 1000 == 0 {
                fs::create_dir_all(&dir).expect("a directory can be made");
            }
            let size = self.dice.below(size_max + 1) as usize;
            let bytes = self.dice.bytes(size);
            fs::write(dir.join(format!("{number:07}")), bytes).expect("the disk has room");
        }
        self
    }
}

/// Removes a tree however deep it is; does nothing if it is not there.
pub fn remove_tree(path: &Path) {
    // `rm` walks by descriptors and keeps few of them open.
    let _ = Command::new("rm").arg("-rf").arg("--").arg(path).status();
}
