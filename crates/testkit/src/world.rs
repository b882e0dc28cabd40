//! One server, one client who owns what it serves, and a folder that both live in.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Person, Ran, Relay, Running, Server, remove_tree};

/// A small world. The client calls the server `srv`.
#[derive(Debug)]
pub struct World {
    /// Serves.
    pub owner: Person,
    /// Has a key that owns what is served, and trusts the server.
    pub client: Person,
    sft: PathBuf,
    root: PathBuf,
    serve: Vec<OsString>,
    server: Option<Server>,
    port: u16,
    fingerprint: String,
    /// Last, so that those who use it have gone before.
    dir: TempDir,
}

impl World {
    /// A server of an empty folder, and a client.
    pub fn new(sft: &str) -> Self {
        Self::serving(sft, None, Vec::new())
    }

    /// The same with a folder that is there already, and with more flags for `sft serve`.
    pub fn serving(sft: &str, root: Option<&Path>, serve: Vec<OsString>) -> Self {
        let dir = TempDir::with_prefix("sft-world-").expect("there is a folder for temporary files");
        // Other users of the system play in some tests.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("it was just made");
        let sft = PathBuf::from(sft);
        let owner = Person::new(&sft, dir.path().join("owner"));
        let client = Person::new(&sft, dir.path().join("client")).with_key();
        owner.authorize(&client.public_key());
        let root = root.map_or_else(|| dir.path().join("served"), Path::to_path_buf);
        std::fs::create_dir_all(&root).expect("the folder to serve can be made");
        std::fs::create_dir_all(dir.path().join("scratch")).expect("a folder can be made");
        let server = Server::start(&owner, &root, 0, &serve);
        let (port, fingerprint) = (server.port(), server.fingerprint().to_owned());
        let world = Self { owner, client, sft, root, serve, server: Some(server), port, fingerprint, dir };
        world.introduce(&world.client, "srv", port);
        world
    }

    /// The folder that is served.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub fn served(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path in the client's folder for files.
    pub fn local(&self, path: &str) -> PathBuf {
        self.dir.path().join("scratch").join(path)
    }

    /// Someone else, with a key of their own, who trusts the server under the name `srv`.
    pub fn stranger(&self, name: &str) -> Person {
        let stranger = self.newcomer(name);
        self.introduce(&stranger, "srv", self.port);
        stranger
    }

    /// Someone else, with a key, who has never heard of the server.
    pub fn newcomer(&self, name: &str) -> Person {
        Person::new(&self.sft, self.dir.path().join(name)).with_key()
    }

    /// Someone without even a key.
    pub fn keyless(&self, name: &str) -> Person {
        Person::new(&self.sft, self.dir.path().join(name))
    }

    /// Puts a network that can be spoiled before the server; the client calls it by `alias`.
    pub fn relay(&self, alias: &str) -> Relay {
        let relay = Relay::start(self.address());
        self.introduce(&self.client, alias, relay.port());
        relay
    }

    /// Lets a person know a port of this machine under a name, and trust this world's server there.
    pub fn introduce(&self, person: &Person, alias: &str, port: u16) {
        person.names(alias, port);
        person.trusts(port, &self.fingerprint);
    }

    /// Runs `sft` as the client, to its end.
    pub fn sft(&self, args: Vec<OsString>) -> Ran {
        self.client.sft(args)
    }

    /// Starts `sft` as the client.
    pub fn start(&self, args: Vec<OsString>) -> Running {
        self.client.start(args)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its key's fingerprint.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The server's process.
    pub fn server(&mut self) -> &mut Running {
        self.server.as_mut().expect("the server runs").process()
    }

    /// Ends the server as a crash does.
    pub fn crash_server(&mut self) -> Ran {
        self.server.take().expect("the server runs").crash()
    }

    /// Stops the server as a service manager does.
    pub fn stop_server(&mut self) -> Ran {
        self.server.take().expect("the server runs").stop()
    }

    /// Starts the server again, where it was.
    pub fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.server = Some(Server::start(&self.owner, &self.root, self.port, &self.serve));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server = None;
        // What stands there may be deeper than the standard library likes; what is left is left to the folder's own end.
        remove_tree(self.dir.path());
    }
}
