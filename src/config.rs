//! The user's configuration file: names for hosts, with what is needed to reach them.
//!
//! A key that is not known is refused and named, because a setting that silently does nothing is worse than none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sft_client::{RemoteLocation, Target, TransportChoice};

/// What the configuration file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    hosts: BTreeMap<String, HostAlias>,
    home: PathBuf,
}

/// How a host is reached, as far as the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostAlias {
    address: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    #[serde(default, deserialize_with = "transport")]
    transport: Option<TransportChoice>,
    identity: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    host: BTreeMap<String, HostAlias>,
}

/// How a host is reached, after the command line, the name that was typed and the file were asked, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The server.
    pub target: Target,
    /// Whether its port was named anywhere, and is not just the usual one.
    pub port_named: bool,
    /// Transports that may be used.
    pub transport: TransportChoice,
    /// A key file that goes before all others.
    pub identity: Option<PathBuf>,
}

/// What the command line says about reaching a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    /// `--port`
    pub port: Option<u16>,
    /// `--transport`
    pub transport: Option<TransportChoice>,
    /// `-i`
    pub identity: Option<PathBuf>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It is there and cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("the configuration file {} is wrong: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

impl Config {
    /// Reads the file; one that does not exist says nothing. `home` is what `~` stands for in it.
    pub(crate) fn load(path: &Path, home: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, home)
                .map_err(|reason| ConfigError::Parse { path: path.to_owned(), reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str, home: &Path) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        Ok(Self { hosts: file.host, home: home.to_owned() })
    }

    /// Whether there is a host of this name in the file.
    pub(crate) fn names(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// How to reach the host of a location.
    pub(crate) fn reach(&self, location: &RemoteLocation, typed: &Typed) -> Reach {
        let alias = self.hosts.get(&location.host).cloned().unwrap_or_default();
        let mut target = Target::of(location);
        target.host = alias.address.unwrap_or(target.host);
        let port = typed.port.or(location.port).or(alias.port);
        target.port = port.unwrap_or(target.port);
        target.user = target.user.or(alias.user);
        let transport = typed.transport.or(alias.transport).unwrap_or_default();
        let identity = typed.identity.clone().or_else(|| alias.identity.map(|path| self.expand(path)));
        Reach { target, port_named: port.is_some(), transport, identity }
    }

    fn expand(&self, path: PathBuf) -> PathBuf {
        match path.strip_prefix("~") {
            Ok(rest) => self.home.join(rest),
            Err(_) => path,
        }
    }
}

fn transport<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TransportChoice>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_client::Location;

    fn config(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/home/ana"))
    }

    fn location(text: &str) -> RemoteLocation {
        match Location::parse(text.as_ref()) {
            Ok(Location::Remote(location)) => location,
            other => panic!("{other:?}"),
        }
    }

    const NAS: &str = r#"
        [host.nas]
        address = "192.0.2.7"
        port = 2022
        user = "ana"
        transport = "tcp"
        identity = "~/.ssh/nas"
    "#;

    #[test]
    fn an_alias_fills_what_was_not_typed() {
        let config = config(NAS).unwrap();
        let reach = config.reach(&location("nas:x"), &Typed::default());
        assert_eq!(reach.target.to_string(), "192.0.2.7:2022");
        assert_eq!(reach.target.user.as_deref(), Some("ana"));
        assert_eq!(reach.transport, TransportChoice::Tcp);
        assert_eq!(reach.identity, Some("/home/ana/.ssh/nas".into()));
        let other = config.reach(&location("host:x"), &Typed::default());
        assert_eq!((other.target.to_string().as_str(), other.identity), ("host:1303", None));
    }

    #[test]
    fn what_was_typed_goes_before() {
        let config = config(NAS).unwrap();
        let reach = config.reach(&location("sft://bob@nas:99/x"), &Typed::default());
        assert_eq!(
            (reach.target.to_string().as_str(), reach.target.user.as_deref()),
            ("192.0.2.7:99", Some("bob"))
        );
        let typed =
            Typed { port: Some(7), transport: Some(TransportChoice::Quic), identity: Some("key".into()) };
        let reach = config.reach(&location("sft://nas:99/x"), &typed);
        assert_eq!(reach.target.port, 7);
        assert_eq!(reach.transport, TransportChoice::Quic);
        assert_eq!(reach.identity, Some("key".into()));
    }

    #[test]
    fn wrong_files_are_refused_with_place_and_reason() {
        let unknown = config("[host.nas]\nadress = \"x\"\n").unwrap_err();
        assert!(unknown.contains("line 2") && unknown.contains("unknown field `adress`"), "{unknown}");
        assert!(unknown.contains("`address`"), "what is known is named: {unknown}");
        assert!(config("[hosts.nas]\n").unwrap_err().contains("unknown field `hosts`"));
        assert!(
            config("[host.a]\ntransport = \"udp\"").unwrap_err().contains("write `quic`, `tcp` or `auto`")
        );
        assert!(config("[host.a]\nport = 70000").unwrap_err().contains("line 2"));
    }

    #[test]
    fn no_file_says_nothing_and_an_unreadable_one_is_told() {
        assert!(
            Config::load(Path::new("/nonexistent/config.toml"), Path::new("/")).unwrap().hosts.is_empty()
        );
        let error = Config::load(Path::new("/"), Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration file /: "), "{error}");
    }
}
