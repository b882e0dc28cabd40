//! Where this user's files of sft lie: the one place that knows the names of folders (spec/auth.md, "Files").

use std::ffi::OsString;
use std::path::PathBuf;

/// The folders of one user, absolute; none of them need exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The user's home.
    pub home: PathBuf,
    /// The server's identity and grants: `$XDG_STATE_HOME/sft`, or `~/.local/state/sft`.
    pub state: PathBuf,
    /// The client's key, trusted servers and configuration: `$XDG_CONFIG_HOME/sft`, or `~/.config/sft`.
    pub config: PathBuf,
}

/// The user has no home that we can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot tell where this user's files belong: set HOME, or XDG_STATE_HOME and XDG_CONFIG_HOME")]
pub struct FoldersError;

impl Folders {
    /// The folders of the user who runs this process.
    ///
    /// - Errors: [`FoldersError`] if neither `HOME` nor `/etc/passwd` names a home. A service that the system starts
    ///   often has no `HOME`; root then is taken to live in `/root`.
    /// - Source: spec/auth.md, "Files"; XDG Base Directory Specification: relative paths in its variables are ignored.
    pub fn find() -> Result<Self, FoldersError> {
        let uid = rustix::process::geteuid().as_raw();
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        Self::from_parts(|name| std::env::var_os(name), uid, &String::from_utf8_lossy(&passwd))
    }

    /// The user's own client key, as `sft key new` makes it.
    pub fn own_key(&self) -> PathBuf {
        self.config.join("id_ed25519")
    }

    /// The list of servers that the user trusts.
    pub fn trusted(&self) -> PathBuf {
        self.config.join("trusted")
    }

    /// The keys that own what this user serves.
    pub fn authorized_keys(&self) -> PathBuf {
        self.ssh().join("authorized_keys")
    }

    /// OpenSSH's folder.
    pub fn ssh(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    fn from_parts(
        variable: impl Fn(&str) -> Option<OsString>,
        uid: u32,
        passwd: &str,
    ) -> Result<Self, FoldersError> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME")
            .or_else(|| home_in_passwd(passwd, uid))
            .or_else(|| (uid == 0).then(|| PathBuf::from("/root")))
            .ok_or(FoldersError)?;
        let folder = |name, default| absolute(name).unwrap_or_else(|| home.join(default)).join("sft");
        let (state, config) =
            (folder("XDG_STATE_HOME", ".local/state"), folder("XDG_CONFIG_HOME", ".config"));
        Ok(Self { home, state, config })
    }
}

/// The name of the account that this process runs as, where the system tells it.
pub(crate) fn account() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    account_in(&String::from_utf8_lossy(&passwd), uid)
        .or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()))
}

fn account_in(passwd: &str, uid: u32) -> Option<String> {
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = lines.filter(|fields| fields.len() == 7 && fields[2].parse() == Ok(uid));
    own.next().map(|fields| fields[0].to_owned()).filter(|name| !name.is_empty())
}

fn home_in_passwd(passwd: &str, uid: u32) -> Option<PathBuf> {
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes =
        lines.filter(|fields| fields.len() == 7 && fields[2].parse() == Ok(uid)).map(|f| PathBuf::from(f[5]));
    homes.find(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(variables: &[(&str, &str)], uid: u32, passwd: &str) -> Result<Folders, FoldersError> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        Folders::from_parts(get, uid, passwd)
    }

    #[test]
    fn home_gives_the_defaults_and_xdg_goes_before() {
        let found = folders(&[("HOME", "/home/ana")], 1000, "").unwrap();
        assert_eq!(found.state, PathBuf::from("/home/ana/.local/state/sft"));
        assert_eq!(found.config, PathBuf::from("/home/ana/.config/sft"));
        assert_eq!(found.authorized_keys(), PathBuf::from("/home/ana/.ssh/authorized_keys"));
        let found =
            folders(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "c")], 1, "").unwrap();
        assert_eq!(found.state, PathBuf::from("/s/sft"));
        assert_eq!(found.config, PathBuf::from("/h/.config/sft"), "a relative path is ignored");
    }

    #[test]
    fn without_home_the_password_file_is_asked() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n";
        assert_eq!(folders(&[], 1000, passwd).unwrap().home, PathBuf::from("/home/ana"));
        assert_eq!(folders(&[("HOME", "")], 0, "").unwrap().home, PathBuf::from("/root"));
        assert_eq!(folders(&[], 1001, passwd), Err(FoldersError));
        assert_eq!((account_in(passwd, 1000).as_deref(), account_in(passwd, 1001)), (Some("ana"), None));
    }
}
