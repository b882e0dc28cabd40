//! Systems other than Linux, by way of the crate `listeners`: a socket is seen with its process, or not at all.

use std::collections::BTreeMap;
use std::io;

use ::listeners::{Protocol, SocketState};

use super::{Holder, Listener, Survey};
use crate::Transport;

pub(super) fn survey() -> io::Result<Survey> {
    let all = ::listeners::get_all().map_err(|error| io::Error::other(error.to_string()))?;
    let mut found = BTreeMap::new();
    for socket in all {
        let transport = match socket.protocol {
            Protocol::TCP if socket.state == SocketState::Listen => Transport::Tcp,
            Protocol::TCP => continue,
            Protocol::UDP => Transport::Udp,
        };
        let holder = Holder {
            pid: socket.process.pid,
            name: socket.process.name,
            command: socket.process.path,
            since: None,
        };
        found.entry((transport, socket.socket)).or_insert_with(Vec::new).push(holder);
    }
    let listeners = found.into_iter().map(|((transport, address), mut holders)| {
        holders.sort_by_key(|holder| holder.pid);
        Listener { transport, address, user: None, holders }
    });
    // Without privilege these systems leave out what belongs to others, and do not say so.
    Ok(Survey { listeners: listeners.collect(), hidden: true, namespaces: Vec::new() })
}
