//! Linux: the tables of sockets in `/proc/net`, joined by inode with the descriptors of every process.
//!
//! A process of another user cannot be looked into without privilege. Its socket is seen all the same, with its owner.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use procfs::ProcError;
use procfs::net::{TcpState, UdpState};
use procfs::process::{FDTarget, Process};

use super::{Holder, Listener, Survey};
use crate::Transport;

pub(super) fn survey() -> io::Result<Survey> {
    let sockets = sockets()?;
    let seen = look_into_processes(&sockets.iter().map(|socket| socket.inode).collect())?;
    let names = user_names(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let listeners = sockets.into_iter().map(|socket| Listener {
        transport: socket.transport,
        address: socket.address,
        user: Some(names.get(&socket.uid).cloned().unwrap_or_else(|| socket.uid.to_string())),
        holders: seen.holders.get(&socket.inode).cloned().unwrap_or_default(),
    });
    Ok(Survey { listeners: listeners.collect(), hidden: seen.hidden, namespaces: seen.namespaces })
}

struct Socket {
    transport: Transport,
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for table in [procfs::net::tcp(), absent_is_empty(procfs::net::tcp6())] {
        let listening = table.map_err(io_error)?.into_iter().filter(|entry| entry.state == TcpState::Listen);
        sockets.extend(listening.map(|entry| Socket {
            transport: Transport::Tcp,
            address: entry.local_address,
            uid: entry.uid,
            inode: entry.inode,
        }));
    }
    for table in [procfs::net::udp(), absent_is_empty(procfs::net::udp6())] {
        let open = table.map_err(io_error)?.into_iter().filter(|entry| entry.state == UdpState::Close);
        sockets.extend(open.map(|entry| Socket {
            transport: Transport::Udp,
            address: entry.local_address,
            uid: entry.uid,
            inode: entry.inode,
        }));
    }
    Ok(sockets)
}

/// Without IPv6 in the kernel there are no such tables.
fn absent_is_empty<T>(table: Result<Vec<T>, ProcError>) -> Result<Vec<T>, ProcError> {
    match table {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

#[derive(Default)]
struct Seen {
    /// By inode.
    holders: HashMap<u64, Vec<Holder>>,
    hidden: bool,
    namespaces: Vec<u32>,
}

/// Who holds the sockets with these inodes. Processes come and go meanwhile: what is gone holds nothing.
fn look_into_processes(wanted: &HashSet<u64>) -> io::Result<Seen> {
    let booted =
        procfs::boot_time_secs().ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let mut seen = Seen::default();
    let mut namespaces = BTreeMap::new();
    for process in procfs::process::all_processes().map_err(io_error)?.filter_map(Result::ok) {
        let pid = process.pid().unsigned_abs();
        if let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net")) {
            // The process with the lowest number is most likely the one that the others come from.
            let lowest = namespaces.entry(namespace).or_insert(pid);
            *lowest = pid.min(*lowest);
        }
        let held = match held_sockets(&process) {
            Ok(held) => held,
            Err(ProcError::PermissionDenied(_)) => {
                seen.hidden = true;
                continue;
            }
            Err(_) => continue,
        };
        for inode in held.into_iter().filter(|inode| wanted.contains(inode)) {
            seen.holders.entry(inode).or_default().push(holder(&process, booted));
        }
    }
    if let Ok(own) = fs::read_link("/proc/self/ns/net") {
        namespaces.remove(&own);
    }
    seen.namespaces = namespaces.into_values().collect();
    for holders in seen.holders.values_mut() {
        holders.sort_by_key(|holder| holder.pid);
    }
    Ok(seen)
}

/// The inodes of the sockets that a process has open, each once.
fn held_sockets(process: &Process) -> Result<Vec<u64>, ProcError> {
    let mut inodes: Vec<u64> = process
        .fd()?
        .filter_map(|descriptor| match descriptor.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    inodes.sort_unstable();
    inodes.dedup();
    Ok(inodes)
}

fn holder(process: &Process, booted: Option<SystemTime>) -> Holder {
    let stat = process.stat().ok();
    let ticks = procfs::ticks_per_second().max(1);
    let since = stat
        .as_ref()
        .zip(booted)
        .map(|(stat, booted)| booted + Duration::from_millis(stat.starttime.saturating_mul(1000) / ticks));
    Holder {
        pid: process.pid().unsigned_abs(),
        name: stat.map(|stat| stat.comm).unwrap_or_default(),
        command: process.cmdline().unwrap_or_default().join(" ").trim_end().to_owned(),
        since,
    }
}

/// The names of users by number, of a file like `/etc/passwd`. Other sources of users are not asked.
fn user_names(passwd: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn io_error(error: ProcError) -> io::Error {
    match error {
        ProcError::Io(error, _) => error,
        ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names() {
        let names =
            user_names("root:x:0:0:root:/root:/bin/sh\n+nis\nada:x:1000:1000::/home/ada:\ntoor:x:0:0:::\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"), "the first name counts");
        assert_eq!(names.get(&1000).map(String::as_str), Some("ada"));
        assert_eq!(names.len(), 2);
    }
}
