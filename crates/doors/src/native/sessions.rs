//! The sessions that are open, and what a connection must show to join one.

use std::collections::HashMap;
use std::sync::Mutex;

use sft_base::limits;
use sft_engine::Link;
use sft_wire::message::Attach;

/// All sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 16], Session>>);

#[derive(Debug)]
struct Session {
    link: Link,
    secret: [u8; 32],
}

impl Sessions {
    /// Adds a session; false when there are [`limits::SESSIONS_MAX`] already.
    pub(crate) fn add(&self, id: [u8; 16], secret: [u8; 32], link: Link) -> bool {
        let mut sessions = self.lock();
        let room = sessions.len() < limits::SESSIONS_MAX;
        if room {
            sessions.insert(id, Session { link, secret });
        }
        room
    }

    pub(crate) fn remove(&self, id: &[u8; 16]) {
        self.lock().remove(id);
    }

    /// The session that `attach` names, if it proves to know its secret on this very connection and has room for a lane.
    pub(crate) fn joined_by(&self, attach: &Attach, exporter: &[u8; 32]) -> Option<Link> {
        let sessions = self.lock();
        let session = sessions.get(&attach.session)?;
        let mac = sft_wire::attach_mac(&session.secret, exporter);
        let proven = aws_lc_rs::constant_time::verify_slices_are_equal(&mac, &attach.mac).is_ok();
        let room = session.link.lanes().borrow().len() < limits::LANES_MAX;
        (proven && room && !session.link.has_ended()).then(|| session.link.clone())
    }

    /// The links of all sessions.
    pub fn all(&self) -> Vec<Link> {
        self.lock().values().map(|session| session.link.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 16], Session>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
