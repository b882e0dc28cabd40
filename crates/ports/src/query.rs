//! What can be asked of the registry: a port, a range or a service name, each with a transport if one is meant.

use std::fmt;
use std::str::FromStr;

use crate::{Ports, Transport};

/// A question to the registry: `1303`, `1300-1310`, `sftsrv`, and each with `/tcp`, `/udp`, `/sctp` or `/dccp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is meant.
    pub subject: Subject,
    /// This transport alone.
    pub transport: Option<Transport>,
}

/// Ports or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One port, or several that follow each other.
    Ports(Ports),
    /// A service name; upper and lower case are the same (RFC 6335, section 5.1).
    Name(String),
}

/// What was typed is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A number that no port has.
    #[error("`{0}` is not a port; ports are numbers from 0 to 65535")]
    NoPort(String),
    /// The last port of a range lies before its first.
    #[error("`{first}-{last}` is an empty range; write the lower port first: `{last}-{first}`")]
    Backwards {
        /// What stands first.
        first: u16,
        /// What stands last.
        last: u16,
    },
    /// Nothing at all.
    #[error(
        "an empty name means no service; write a port, a range or a service name, such as `1303`, `1300-1310` or `https`"
    )]
    Empty,
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        // Some names have a `/` of their own: only what is a transport is cut off.
        let cut = text.rsplit_once('/').and_then(|(subject, last)| Some((subject, last.parse().ok()?)));
        let (subject, transport) =
            cut.map_or((text, None), |(subject, transport)| (subject, Some(transport)));
        Ok(Self { subject: subject.parse()?, transport })
    }
}

impl FromStr for Subject {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.is_empty() {
            return Err(QueryError::Empty);
        }
        // A service name has a letter in it, so numbers and dashes are ports.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Ok(Self::Name(text.to_owned()));
        }
        let port = |part: &str| part.parse::<u16>().map_err(|_| QueryError::NoPort(text.to_owned()));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(QueryError::Backwards { first, last });
        }
        Ok(Self::Ports(Ports { first, last }))
    }
}

/// As it can be typed.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Ports(ports) => write!(f, "{ports}")?,
            Subject::Name(name) => f.write_str(name)?,
        }
        self.transport.map_or(Ok(()), |transport| write!(f, "/{transport}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_read_as_they_are_typed() {
        for text in [
            "1303",
            "1303/tcp",
            "1300-1310",
            "1300-1310/udp",
            "https",
            "https/tcp",
            "cl/1",
            "914c/g",
            "z39.50/sctp",
        ] {
            let query: Query = text.parse().unwrap();
            assert_eq!(query.to_string(), text);
            assert_eq!(query.transport.is_some(), text.ends_with("p") && text.contains('/'), "{text}");
        }
        assert_eq!("0".parse::<Query>().unwrap().to_string(), "0");
    }

    #[test]
    fn what_is_no_question_is_told() {
        let says = |text: &str| text.parse::<Query>().unwrap_err().to_string();
        assert_eq!(says("65536"), "`65536` is not a port; ports are numbers from 0 to 65535");
        assert_eq!(says("1-2-3"), "`1-2-3` is not a port; ports are numbers from 0 to 65535");
        assert_eq!(says("-5"), "`-5` is not a port; ports are numbers from 0 to 65535");
        assert_eq!(
            says("1310-1300/tcp"),
            "`1310-1300` is an empty range; write the lower port first: `1300-1310`"
        );
        let empty = "an empty name means no service; write a port, a range or a service name, such as `1303`, `1300-1310` or `https`";
        assert_eq!((says(""), says("/tcp")), (empty.into(), empty.into()));
    }
}
