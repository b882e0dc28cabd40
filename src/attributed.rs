//! Where the time of a copy went, and who is waited for when it stands still: in words, and as JSON.
//!
//! All of it follows from what both ends measured ([`Shares`]); nothing is measured here.

use std::time::Duration;

use serde_json::{Map, Value};
use sft_client::{Blame, Shares, Wait};

/// What a copy waited for, in parts that together are its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributed {
    parts: [(Who, Duration); 6],
    /// What this machine's disk did for longest.
    disk: Wait,
}

/// Who may have been waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Disk,
    Processor,
    ServerDisk,
    ServerProcessor,
    Network,
    /// The server did not say which of the two.
    NetworkOrServer,
}

impl Attributed {
    /// Divides what this end waited for among those it waited for; `far` is what the server's end waited for, where it said.
    ///
    /// Lanes that take no more are the network. While this end had nothing to do, it waited for the server as long as the
    /// server was at work, and for the rest for the network.
    pub(crate) fn of(own: &Shares, far: Option<&Shares>) -> Self {
        let idle = own.of(Wait::Peer);
        let (server_disk, server_processor) = far.map_or((Duration::ZERO, Duration::ZERO), |far| {
            let (disk, processor) = (disk_of(far), far.of(Wait::Hashing));
            let busy = disk + processor;
            let part = if busy > idle { idle.as_secs_f64() / busy.as_secs_f64() } else { 1.0 };
            (disk.mul_f64(part), processor.mul_f64(part))
        });
        let rest = idle.saturating_sub(server_disk + server_processor);
        let lanes = own.of(Wait::Lanes);
        let (network, either) = if far.is_some() { (lanes + rest, Duration::ZERO) } else { (lanes, rest) };
        let disk = DISK.into_iter().max_by_key(|wait| own.of(*wait)).unwrap_or(Wait::Reading);
        let parts = [
            (Who::Disk, disk_of(own)),
            (Who::Processor, own.of(Wait::Hashing)),
            (Who::ServerDisk, server_disk),
            (Who::ServerProcessor, server_processor),
            (Who::Network, network),
            (Who::NetworkOrServer, either),
        ];
        Self { parts, disk }
    }

    /// Who was waited for longest, and for which part of the time; none if no time passed.
    pub(crate) fn most(&self) -> Option<(Who, f64)> {
        let total = self.total();
        let (who, time) = self.parts.into_iter().max_by_key(|(_, time)| *time)?;
        (!total.is_zero()).then(|| (who, time.as_secs_f64() / total.as_secs_f64()))
    }

    /// Such as `the network 81 %, this machine's disk 19 % (reading)`, the greatest first.
    pub(crate) fn line(&self) -> String {
        let total = self.total().as_secs_f64().max(1e-9);
        let mut parts: Vec<_> = self
            .parts
            .iter()
            .map(|(who, time)| (*who, (time.as_secs_f64() * 100.0 / total).round()))
            .collect();
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        let shown = parts.into_iter().filter(|(_, percent)| *percent >= 1.0).map(|(who, percent)| {
            let doing = if who == Who::Disk { format!(" ({})", doing(self.disk)) } else { String::new() };
            format!("{} {percent} %{doing}", who.name())
        });
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() { "nothing to speak of".into() } else { shown.join(", ") }
    }

    /// Seconds by whom they were spent on.
    pub(crate) fn object(&self) -> Map<String, Value> {
        let parts = self.parts.iter().filter(|(_, time)| !time.is_zero());
        parts.map(|(who, time)| (who.key().to_owned(), time.as_secs_f64().into())).collect()
    }

    fn total(&self) -> Duration {
        self.parts.iter().map(|(_, time)| *time).sum()
    }
}

impl Who {
    /// In a sentence.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "this machine's disk",
            Self::Processor => "this machine's processor",
            Self::ServerDisk => "the server's disk",
            Self::ServerProcessor => "the server's processor",
            Self::Network => "the network",
            Self::NetworkOrServer => "the network or the server",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Processor => "processor",
            Self::ServerDisk => "server-disk",
            Self::ServerProcessor => "server-processor",
            Self::Network => "network",
            Self::NetworkOrServer => "network-or-server",
        }
    }
}

/// Who is waited for, after "waiting for".
pub(crate) fn blamed(blame: &Blame) -> String {
    match blame {
        Blame::Here { wait: Wait::Hashing, path } => {
            format!("this machine's processor (hashing{})", of(path))
        }
        Blame::Here { wait, path } => format!("this machine's disk ({}{})", doing(*wait), of(path)),
        Blame::Server { wait: Wait::Hashing } => "the server's processor (hashing)".into(),
        Blame::Server { wait } => format!("the server's disk ({})", doing(*wait)),
        Blame::Network => "the network: the server answers, but no data gets through".into(),
        Blame::Silence => "the network, or a server that has stopped: nothing is heard of it".into(),
        Blame::Other => "the network or the server, which does not say what it is doing".into(),
    }
}

/// The same as a word, for who reads JSON.
pub(crate) fn blamed_key(blame: &Blame) -> &'static str {
    match blame {
        Blame::Here { wait: Wait::Hashing, .. } => Who::Processor.key(),
        Blame::Here { .. } => Who::Disk.key(),
        Blame::Server { wait: Wait::Hashing } => Who::ServerProcessor.key(),
        Blame::Server { .. } => Who::ServerDisk.key(),
        Blame::Network | Blame::Silence => Who::Network.key(),
        Blame::Other => Who::NetworkOrServer.key(),
    }
}

fn of(path: &Option<sft_base::EntryPath>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!(" {path}"))
}

fn doing(wait: Wait) -> &'static str {
    match wait {
        Wait::Looking => "looking at what is there",
        Wait::Reading => "reading",
        Wait::Hashing => "hashing",
        Wait::Writing => "writing",
        Wait::Flushing => "flushing",
        Wait::Peer | Wait::Lanes => "waiting",
    }
}

fn disk_of(shares: &Shares) -> Duration {
    DISK.iter().map(|wait| shares.of(*wait)).sum()
}

const DISK: [Wait; 4] = [Wait::Looking, Wait::Reading, Wait::Writing, Wait::Flushing];

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(parts: &[(Wait, u64)]) -> Shares {
        let mut shares = Shares::default();
        parts.iter().for_each(|(wait, millis)| shares.add(*wait, Duration::from_millis(*millis)));
        shares
    }

    #[test]
    fn an_upload_by_who_was_waited_for() {
        use Wait::*;
        let far = shares(&[(Peer, 9000), (Writing, 500), (Hashing, 500)]);
        let cases = [
            (vec![(Lanes, 9000), (Reading, 1000)], "the network 90 %, this machine's disk 10 % (reading)"),
            (vec![(Hashing, 1000)], "this machine's processor 100 %"),
            // Of 2 s without work here, the server worked for one.
            (
                vec![(Peer, 2000), (Flushing, 2000)],
                "this machine's disk 50 % (flushing), the network 25 %, the server's disk 13 %, the server's processor 13 %",
            ),
            // The server worked for longer than was waited for it: at the same time.
            (
                vec![(Peer, 100), (Looking, 100)],
                "this machine's disk 50 % (looking at what is there), the server's disk 25 %, the server's processor 25 %",
            ),
            (vec![], "nothing to speak of"),
        ];
        for (own, line) in cases {
            let attributed = Attributed::of(&shares(&own), Some(&far));
            assert_eq!(attributed.line(), line);
            let total: Duration = own.iter().map(|(_, millis)| Duration::from_millis(*millis)).sum();
            assert_eq!(attributed.total(), total, "the parts are the whole");
        }
    }

    #[test]
    fn what_the_server_does_not_say_is_left_open() {
        let own = shares(&[(Wait::Peer, 3000), (Wait::Lanes, 1000)]);
        let attributed = Attributed::of(&own, None);
        assert_eq!(attributed.line(), "the network or the server 75 %, the network 25 %");
        assert_eq!(attributed.most(), Some((Who::NetworkOrServer, 0.75)));
        assert_eq!(
            Value::Object(attributed.object()).to_string(),
            r#"{"network":1.0,"network-or-server":3.0}"#
        );
    }

    #[test]
    fn who_is_waited_for_reads_as_a_sentence() {
        let path = sft_base::EntryPath::from_typed(b"a/b").ok();
        let cases = [
            (
                Blame::Here { wait: Wait::Reading, path: path.clone() },
                "this machine's disk (reading a/b)",
                "disk",
            ),
            (
                Blame::Here { wait: Wait::Hashing, path },
                "this machine's processor (hashing a/b)",
                "processor",
            ),
            (Blame::Here { wait: Wait::Flushing, path: None }, "this machine's disk (flushing)", "disk"),
            (Blame::Server { wait: Wait::Writing }, "the server's disk (writing)", "server-disk"),
            (Blame::Server { wait: Wait::Hashing }, "the server's processor (hashing)", "server-processor"),
            (Blame::Network, "the network: the server answers, but no data gets through", "network"),
            (Blame::Silence, "the network, or a server that has stopped: nothing is heard of it", "network"),
            (
                Blame::Other,
                "the network or the server, which does not say what it is doing",
                "network-or-server",
            ),
        ];
        for (blame, text, key) in cases {
            assert_eq!((blamed(&blame).as_str(), blamed_key(&blame)), (text, key));
        }
    }
}
