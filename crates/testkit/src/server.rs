//! A running `sft serve`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Person, Ran, Running, args};

/// A server on a port that the system gave, or on one it had before.
#[derive(Debug)]
pub struct Server {
    running: Running,
    port: u16,
    fingerprint: String,
}

impl Server {
    /// Starts `sft serve` as its owner, and waits until it listens. Port 0 lets the system choose.
    pub fn start(owner: &Person, root: &Path, port: u16, more: &[OsString]) -> Self {
        let mut line = args!["serve", root, "--json", "--bind", "127.0.0.1", "--port", port.to_string()];
        line.extend_from_slice(more);
        let mut running = owner.start(line);
        let begun = Instant::now();
        let said = loop {
            if let Some(said) = first_object(&running.stdout_so_far()) {
                break said;
            }
            if running.is_over() || begun.elapsed() > START_MAX {
                running.kill();
                panic!("the server does not say where it listens\n{:?}", running.ended());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let (port, fingerprint) = understood(&said);
        Self { running, port, fingerprint }
    }

    /// Where it listens, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port of that.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its key's fingerprint, `SHA256:...`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Ends it as a crash does, and waits until its port is free.
    pub fn crash(mut self) -> Ran {
        self.running.kill();
        self.running.ended()
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(self) -> Ran {
        self.running.terminate();
        self.running.wait(STOP_MAX)
    }
}

fn first_object(text: &str) -> Option<serde_json::Value> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.filter_map(|line| serde_json::from_str(line).ok()).next()
}

fn understood(said: &serde_json::Value) -> (u16, String) {
    let address = said["addresses"][0].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let fingerprint = said["fingerprint"].as_str();
    match (address, fingerprint) {
        (Some(address), Some(fingerprint)) => (address.port(), fingerprint.to_owned()),
        _ => panic!("`sft serve --json` does not say addresses and fingerprint: {said}"),
    }
}

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);
