//! Whether this machine can serve, and what would make it serve better: looks, changes nothing, and asks nobody else.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::Access;
use sft_auth::{OwnerKeys, ServerIdentity};
use sft_ports::{Listener, Survey, Transport};

use crate::amount::Count;
use crate::checkup::Finding;
use crate::names::shown;

/// What is to be served, by whom.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub port: u16,
    /// Where the server's identity is kept.
    pub state: PathBuf,
    pub authorized_keys: PathBuf,
}

/// Two clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks(SystemTime, Instant);

impl Here {
    /// Looks at everything but the served directory.
    pub(crate) fn examine(&self) -> Vec<Finding> {
        let mut findings = self.ports();
        findings.push(self.identity());
        findings.push(self.owners());
        findings.extend(kernel());
        findings.extend(socket_buffers());
        findings.extend(congestion());
        findings.push(open_files());
        findings
    }

    /// Whether the port is free, or sft has it; one finding for each transport.
    fn ports(&self) -> Vec<Finding> {
        match sft_ports::listeners() {
            Ok(survey) => [Transport::Udp, Transport::Tcp].map(|t| self.port(&survey, t)).into(),
            Err(error) => vec![Finding::warning("port", error.to_string())],
        }
    }

    fn port(&self, survey: &Survey, transport: Transport) -> Finding {
        let about = format!("port {} over {}", self.port, transport.name().to_uppercase());
        let listening: Vec<_> = survey.on(self.port).filter(|one| one.transport == transport).collect();
        if let Some(other) = listening.iter().find(|one| !is_sft(one)) {
            let text = format!("in use by {}", who(other));
            let mend = format!("stop it, or serve on another port: sft serve --port {}", self.port ^ 1);
            return Finding::problem(&about, text).mended_by(mend);
        }
        if let Some(ours) = listening.first() {
            return Finding::ok(&about, format!("sft serves there already ({})", who(ours)));
        }
        let address = (Ipv4Addr::UNSPECIFIED, self.port);
        let bound = match transport {
            Transport::Udp => UdpSocket::bind(address).map(drop),
            _ => TcpListener::bind(address).map(drop),
        };
        match bound {
            Ok(()) => Finding::ok(&about, "free"),
            Err(error) => {
                let mend =
                    if self.port < 1024 { "a port from 1024 on needs no privilege" } else { "sft port" };
                Finding::problem(&about, format!("cannot be listened on: {error}")).mended_by(mend)
            }
        }
    }

    fn identity(&self) -> Finding {
        let file = self.state.join("identity");
        if !file.exists() {
            let folder = nearest(&self.state);
            return match rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => Finding::ok(
                    "identity",
                    format!("will be made at the first start, in {}", shown(&self.state)),
                ),
                Err(error) => {
                    Finding::problem("identity", format!("cannot be made in {}: {error}", shown(&self.state)))
                        .mended_by("sft serve --state DIR, with a folder of yours")
                }
            };
        }
        match ServerIdentity::load_or_create(&self.state) {
            Ok(identity) => Finding::ok("identity", format!("{}, in {}", identity.key(), shown(&self.state))),
            Err(error) => Finding::problem("identity", error.to_string()),
        }
    }

    /// Who will be let in.
    fn owners(&self) -> Finding {
        let file = shown(&self.authorized_keys);
        let invite = "nobody is let in by it; sft invite lets somebody in";
        match OwnerKeys::read(&self.authorized_keys)
            .map(|keys| (keys.usable(), keys.problems().first().map(ToString::to_string)))
        {
            Ok((0, problem)) => {
                let why = problem.map_or_else(String::new, |problem| format!(": {problem}"));
                Finding::warning("owners", format!("no key in {file}{why}")).mended_by(invite)
            }
            Ok((count, _)) => Finding::ok("owners", format!("{} in {file}", keys_text(count))),
            Err(error) => Finding::warning("owners", error.to_string()).mended_by(invite),
        }
    }
}

impl Clocks {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(SystemTime::now(), Instant::now())
    }

    /// Whether the clock says a likely time, and went on evenly since then.
    pub(crate) fn examine(self) -> Finding {
        let Self(now, monotonic) = Self::now();
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mend = "timedatectl set-ntp true";
        if !YEARS.contains(&seconds) {
            let text =
                "it cannot be as late as this machine says: times of files and of invitations would be wrong";
            return Finding::warning("clock", text).mended_by(mend);
        }
        let passed = (monotonic - self.1).as_secs_f64();
        let shown = now
            .duration_since(self.0)
            .map_or_else(|early| -early.duration().as_secs_f64(), |d| d.as_secs_f64());
        if (shown - passed).abs() > 1.0 {
            let text = format!("it was set by {:.0} s while this ran", shown - passed);
            return Finding::warning("clock", text).mended_by(mend);
        }
        Finding::ok("clock", "says a likely time")
    }
}

fn is_sft(listener: &Listener) -> bool {
    listener.holders.iter().any(|holder| holder.name == "sft")
}

fn who(listener: &Listener) -> String {
    match listener.holders.first() {
        Some(holder) => format!("{}, process {}", sft_base::Shown(holder.name.as_bytes()), holder.pid),
        None => "a process that is hidden from you".into(),
    }
}

fn keys_text(count: usize) -> String {
    if count == 1 { "one key".into() } else { format!("{count} keys") }
}

/// The folder itself, or the nearest above it that is there.
fn nearest(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"))
}

/// Whether paths can be resolved safely: by `openat2`, of Linux 5.6.
#[cfg(target_os = "linux")]
fn kernel() -> Option<Finding> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    Some(match openat2(CWD, ".", flags, Mode::empty(), ResolveFlags::BENEATH) {
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            Finding::problem("system", format!("{release} has no openat2, without which no path is safe"))
                .mended_by("Linux 5.6 or later; in a container, a seccomp profile that allows openat2")
        }
        _ => Finding::ok("system", release),
    })
}

#[cfg(not(target_os = "linux"))]
fn kernel() -> Option<Finding> {
    Some(Finding::problem("system", "serving works on Linux alone so far"))
}

/// Whether the system allows the buffers that QUIC asks for; none where it has no such limit.
fn socket_buffers() -> Vec<Finding> {
    [("rmem_max", "received"), ("wmem_max", "sent")]
        .into_iter()
        .filter_map(|(name, what)| Some(buffer(name, what, number(format!("/proc/sys/net/core/{name}"))?)))
        .collect()
}

fn buffer(name: &str, what: &str, allowed: u64) -> Finding {
    let wanted = sft_lane::SOCKET_BUFFER_BYTES as u64;
    let about = format!("buffer of what is {what} over UDP");
    if allowed >= wanted {
        return Finding::ok(&about, format!("{} KiB", Count(allowed >> 10)));
    }
    let text = format!(
        "{} of {} KiB that QUIC asks for: packets may be lost at high rates",
        Count(allowed >> 10),
        Count(wanted >> 10)
    );
    Finding::warning(&about, text).mended_by(format!(
        "sudo sysctl -w net.core.{name}={wanted}, and the same in a file of /etc/sysctl.d to keep it"
    ))
}

/// Whether TCP can use the congestion control that it asks for; none where the system does not say.
fn congestion() -> Option<Finding> {
    let list = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").ok()?;
    Some(congestion_of(list.split_whitespace()))
}

fn congestion_of<'a>(available: impl Iterator<Item = &'a str> + Clone) -> Finding {
    let about = "congestion control of TCP";
    if available.clone().any(|name| name == "bbr") {
        return Finding::ok(about, "bbr is there");
    }
    let there: Vec<_> = available.collect();
    let text = format!(
        "bbr is not there, but {}: TCP is slow on long paths with loss; QUIC is not",
        there.join(", ")
    );
    Finding::warning(about, text)
        .mended_by("sudo modprobe tcp_bbr, and tcp_bbr in a file of /etc/modules-load.d to keep it")
}

/// How many files a server may have open: as many as the hard limit says, to which it raises the other one by itself.
fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    files_of(limit)
}

fn files_of(limit: Option<u64>) -> Finding {
    match limit {
        None => Finding::ok("open files", "as many as the system has"),
        Some(limit) if limit < FILES_ENOUGH => Finding::warning(
            "open files",
            format!("{} at a time are few for many clients", Count(limit)),
        )
        .mended_by(format!(
            "LimitNOFILE={FILES_ENOUGH} in the service's unit, or \"* hard nofile {FILES_ENOUGH}\" in \
                     /etc/security/limits.conf; sft serve takes all that the hard limit gives"
        )),
        Some(limit) => Finding::ok("open files", format!("{} at a time", Count(limit))),
    }
}

fn number(file: impl AsRef<OsStr>) -> Option<u64> {
    std::fs::read_to_string(Path::new(file.as_ref())).ok()?.trim().parse().ok()
}

/// From 2026 to 2100, in seconds.
const YEARS: std::ops::Range<u64> = 1_767_225_600..4_102_444_800;
/// Below this a server with a few hundred clients runs short: a connection over SSH takes five, and each open file one.
const FILES_ENOUGH: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkup::Level;

    #[test]
    fn what_is_too_little_is_told_with_what_to_type() {
        let small = buffer("rmem_max", "received", 212_992);
        assert_eq!(small.level, Level::Warning);
        assert_eq!(small.text, "208 of 8,192 KiB that QUIC asks for: packets may be lost at high rates");
        assert!(small.mend.unwrap().starts_with("sudo sysctl -w net.core.rmem_max=8388608,"));
        assert_eq!(buffer("wmem_max", "sent", 8 << 20).level, Level::Ok);
        let cubic = congestion_of(["reno", "cubic"].into_iter());
        assert_eq!(
            cubic.text,
            "bbr is not there, but reno, cubic: TCP is slow on long paths with loss; QUIC is not"
        );
        assert_eq!(congestion_of(["reno", "bbr"].into_iter()).level, Level::Ok);
        let few = files_of(Some(1024));
        assert_eq!(
            (few.level, few.text.as_str()),
            (Level::Warning, "1,024 at a time are few for many clients")
        );
        assert!(few.mend.unwrap().starts_with("LimitNOFILE=4096 "));
        assert_eq!(files_of(Some(4096)).text, "4,096 at a time");
        assert_eq!(files_of(None).level, Level::Ok);
    }

    #[test]
    fn a_port_that_another_has_is_a_problem_and_a_free_one_is_none() {
        let state = tempfile::tempdir().unwrap();
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let here =
            Here { port, state: state.path().join("not/yet"), authorized_keys: state.path().join("keys") };
        let findings = here.ports();
        assert_eq!(findings[0].level, Level::Problem, "{findings:?}");
        assert!(findings[0].text.contains(&format!("process {}", std::process::id())), "{findings:?}");
        assert!(findings[0].mend.as_ref().unwrap().contains("--port"));
        drop(held);
        assert_eq!(here.ports()[0].level, Level::Ok);
        let identity = here.identity();
        assert_eq!(identity.level, Level::Ok, "{identity:?}");
        assert!(!here.state.exists(), "looking makes nothing");
        assert_eq!(here.owners().level, Level::Warning);
    }

    #[test]
    fn an_identity_that_others_can_read_is_a_problem() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        let here = Here { port: 1, state: state.path().into(), authorized_keys: state.path().join("keys") };
        let key = ServerIdentity::load_or_create(&here.state).unwrap().key().to_string();
        assert!(here.identity().text.starts_with(&key));
        let file = here.state.join("identity");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(here.identity().level, Level::Problem);
    }

    #[test]
    fn clocks_that_go_on_are_well() {
        assert_eq!(Clocks::now().examine().level, Level::Ok);
        let Clocks(wall, monotonic) = Clocks::now();
        let jumped = Clocks(wall - std::time::Duration::from_secs(60), monotonic);
        assert_eq!(jumped.examine().level, Level::Warning);
    }
}
