//! Which server is meant, after aliases were looked up and before addresses are.

use std::fmt;

use sft_auth::{DEFAULT_PORT, ServerName, ServerNameError};

use crate::location::RemoteLocation;

/// A server, and the name to act as there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name to act as; none leaves it to the key.
    pub user: Option<String>,
    /// A host name, or an address without brackets.
    pub host: String,
    /// UDP and TCP port.
    pub port: u16,
}

impl Target {
    /// The server that a location names, on the usual port where it names none.
    pub fn of(location: &RemoteLocation) -> Self {
        let port = location.port.unwrap_or(DEFAULT_PORT);
        Self { user: location.user.clone(), host: location.host.clone(), port }
    }

    /// The name under which the server's key is pinned.
    pub fn name(&self) -> Result<ServerName, ServerNameError> {
        ServerName::new(&self.host, self.port)
    }
}

/// `host:port`, with brackets around an address of IPv6.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    #[test]
    fn the_port_is_1303_where_none_is_named() {
        let target = |text: &str| match Location::parse(text.as_ref()) {
            Ok(Location::Remote(location)) => Target::of(&location).to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(target("host:x"), "host:1303");
        assert_eq!(target("sft://host:99/x"), "host:99");
        assert_eq!(target("[::1]:x"), "[::1]:1303");
    }
}
