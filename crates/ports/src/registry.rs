//! IANA's registry of service names and ports, whole, as a table in the program.
//!
//! The table is text, a line for each record, sorted by port (`registry/refresh.py` makes it). It is read once, in a few
//! milliseconds, when the first question is asked; from then on a look-up is a binary search. Nothing is interpreted:
//! what IANA left empty is empty, and what it calls reserved or unassigned is a record like others.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::LazyLock;

use crate::{Ports, Query, Subject, Transport, Transports};

/// Where the data is from, and of when: a phrase.
pub const SOURCE: &str = include_str!("../registry/source.txt").trim_ascii_end();

/// A record of the registry: what stands there of a name, a port or a range, for one transport or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    ports: Option<Ports>,
    transports: Transports,
    name: &'static str,
    /// From the description on, as `table.tsv` has them.
    rest: [&'static str; 9],
}

impl Entry {
    /// The ports; none for services that have a name alone.
    pub fn ports(&self) -> Option<Ports> {
        self.ports
    }

    /// The transports; none for what concerns all of them, such as an unassigned range.
    pub fn transports(&self) -> Transports {
        self.transports
    }

    /// The service name; empty if there is none.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the service is, or `Reserved` or `Unassigned`; may have several lines, and may be empty.
    pub fn description(&self) -> Cow<'static, str> {
        if self.rest[0] == "=" { self.name.into() } else { unescaped(self.rest[0]) }
    }

    /// Whom it is assigned to, as the registry writes it: `[First_Last]`. See [`people`].
    pub fn assignee(&self) -> Cow<'static, str> {
        unescaped(self.rest[1])
    }

    /// Whom to ask, written like the assignee.
    pub fn contact(&self) -> Cow<'static, str> {
        if self.rest[2] == "=" { self.assignee() } else { unescaped(self.rest[2]) }
    }

    /// When it was registered, `YYYY-MM-DD`; empty for most of what is older than 2000.
    pub fn registered(&self) -> &'static str {
        self.rest[3]
    }

    /// When it was changed last, likewise.
    pub fn modified(&self) -> &'static str {
        self.rest[4]
    }

    /// The documents that define it: `[RFC9110]`.
    pub fn reference(&self) -> Cow<'static, str> {
        unescaped(self.rest[5])
    }

    /// DCCP's number for the service.
    pub fn service_code(&self) -> &'static str {
        self.rest[6]
    }

    /// Who is known to use it without being its assignee.
    pub fn unauthorized_use(&self) -> Cow<'static, str> {
        unescaped(self.rest[7])
    }

    /// What else the registry says; may have several lines.
    pub fn notes(&self) -> Cow<'static, str> {
        unescaped(self.rest[8])
    }

    /// Whether it concerns this transport: what names none concerns all.
    pub fn concerns(&self, transport: Transport) -> bool {
        self.transports.is_empty() || self.transports.contains(transport)
    }

    fn parse(line: &'static str) -> Self {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (ports, transports, name) = (next(), next(), next());
        Self {
            ports: Ports::parse(ports),
            transports: Transports::parse(transports),
            name,
            rest: std::array::from_fn(|_| next()),
        }
    }
}

/// What the registry has about a question, by port; services without a port come last.
pub fn lookup(query: &Query) -> Vec<&'static Entry> {
    let mut found = match &query.subject {
        Subject::Ports(ports) => TABLE.overlapping(*ports),
        Subject::Name(name) => TABLE.named(name),
    };
    found.retain(|entry| query.transport.is_none_or(|transport| entry.concerns(transport)));
    found
}

/// Every service that has all words of `text` in its name or description, whatever their case; by port.
pub fn search(text: &str) -> Vec<&'static Entry> {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let has = |entry: &Entry, word: &str| {
        contains_ignoring_case(entry.name, word) || contains_ignoring_case(entry.rest[0], word)
    };
    if words.is_empty() {
        return Vec::new();
    }
    let services = TABLE.entries.iter().filter(|entry| !entry.name.is_empty());
    services.filter(|entry| words.iter().all(|word| has(entry, word))).collect()
}

/// The nearest services below and above a port; ports that nobody has are passed over.
pub fn neighbours(port: u16) -> (Option<&'static Entry>, Option<&'static Entry>) {
    let numbered = |entry: &&Entry| entry.ports.is_some() && !entry.name.is_empty();
    let below = TABLE.entries[..TABLE.begin_at(port)].iter().rev();
    let above = TABLE.entries[TABLE.begin_at(port)..].iter();
    (
        below.filter(numbered).find(|entry| entry.ports.is_some_and(|ports| ports.last < port)),
        above.filter(numbered).find(|entry| entry.ports.is_some_and(|ports| ports.first > port)),
    )
}

/// People, organisations or documents as a reader expects them: `[Jon_Postel][IESG]` is `Jon Postel, IESG`.
pub fn people(written: &str) -> String {
    let names = written.split(['[', ']']).map(str::trim).filter(|name| !name.is_empty());
    let names = names.map(|name| if name.contains("://") { name.to_owned() } else { name.replace('_', " ") });
    names.map(|name| name.trim().to_owned()).collect::<Vec<_>>().join(", ")
}

struct Table {
    /// By first port, as in the file.
    entries: Vec<Entry>,
    /// For each entry the highest port of it and all before it: how far back a search has to go.
    reach: Vec<u16>,
    /// Those with a name, by it.
    by_name: Vec<u16>,
}

impl Table {
    fn read(text: &'static str) -> Self {
        let entries: Vec<_> = text.lines().map(Entry::parse).collect();
        let mut furthest = 0;
        let reach = entries.iter().map(|entry| {
            furthest = entry.ports.map_or(furthest, |ports| ports.last.max(furthest));
            furthest
        });
        let reach = reach.collect();
        let mut by_name: Vec<u16> =
            (0..).zip(&entries).filter(|(_, entry)| !entry.name.is_empty()).map(|(at, _)| at).collect();
        by_name.sort_by(|a, b| order(entries[usize::from(*a)].name, entries[usize::from(*b)].name));
        Self { entries, reach, by_name }
    }

    /// Where the entries begin whose first port is at least this one.
    fn begin_at(&self, port: u16) -> usize {
        self.entries.partition_point(|entry| entry.ports.is_some_and(|ports| ports.first < port))
    }

    fn overlapping(&self, wanted: Ports) -> Vec<&Entry> {
        let mut begin = self.begin_at(wanted.first);
        while begin > 0 && self.reach[begin - 1] >= wanted.first {
            begin -= 1;
        }
        let reached = |entry: &&Entry| entry.ports.is_some_and(|ports| ports.first <= wanted.last);
        let overlaps = |entry: &&Entry| entry.ports.is_some_and(|ports| ports.last >= wanted.first);
        self.entries[begin..].iter().take_while(reached).filter(overlaps).collect()
    }

    fn named(&self, name: &str) -> Vec<&Entry> {
        let entry = |at: &u16| &self.entries[usize::from(*at)];
        let begin = self.by_name.partition_point(|at| order(entry(at).name, name) == Ordering::Less);
        self.by_name[begin..]
            .iter()
            .map(entry)
            .take_while(|entry| entry.name.eq_ignore_ascii_case(name))
            .collect()
    }
}

/// By name; upper and lower case are the same.
fn order(a: &str, b: &str) -> Ordering {
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// `word` is in lower case already.
fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

fn unescaped(text: &'static str) -> Cow<'static, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                other => other,
            })),
            other => plain.push(other),
        }
    }
    plain.into()
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("../registry/table.tsv")));

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str) -> Vec<String> {
        let show = |entry: &Entry| match entry.ports() {
            Some(ports) => format!("{} {ports} {}", entry.name(), entry.transports()),
            None => format!("{} {}", entry.name(), entry.transports()),
        };
        lookup(&query.parse().unwrap()).into_iter().map(show).collect()
    }

    #[test]
    fn by_port_name_transport_and_range() {
        assert_eq!(names("1303"), ["sftsrv 1303 tcp, udp"]);
        assert_eq!(names("SFTSRV/udp"), ["sftsrv 1303 tcp, udp"]);
        assert_eq!(names("https/sctp"), ["https 443 sctp"]);
        assert_eq!(
            names("https"),
            ["https 443 tcp, udp", "https 443 sctp", "https tcp"],
            "once without a port"
        );
        assert_eq!(names("80/tcp"), ["http 80 tcp, udp", "www 80 tcp, udp", "www-http 80 tcp"]);
        assert_eq!(names("6010"), ["x11 6000-6063 tcp, udp"], "in the middle of a range");
        assert_eq!(names("1301-1303"), [" 1301 tcp, udp", " 1302 tcp, udp", "sftsrv 1303 tcp, udp"]);
        assert_eq!(names("cl/1"), ["cl/1 172 tcp, udp"], "a name with a slash of its own");
        assert_eq!(names("zigbee-gateway"), ["zigbee-gateway tcp, udp"], "a service without a port");
        assert!(names("no-such-service").is_empty());
        assert!(names("49152-65535").is_empty(), "nothing is registered there");
    }

    #[test]
    fn what_the_registry_has_of_a_port() {
        let entry = lookup(&"1303".parse().unwrap())[0];
        assert_eq!(entry.description(), "sftsrv");
        assert_eq!(people(&entry.assignee()), "Robert Frazier");
        assert_eq!(entry.contact(), entry.assignee());
        let empty = [entry.registered(), entry.modified(), entry.service_code()];
        assert_eq!(empty, [""; 3], "it has no dates");
        assert!(entry.reference().is_empty() && entry.notes().is_empty());
        let http = lookup(&"http".parse().unwrap())[0];
        assert_eq!((people(&http.reference()).as_str(), http.modified()), ("RFC9110", "2021-10-01"));
        assert_eq!(people("[_3GPP_2][https://a.example/b_c]"), "3GPP 2, https://a.example/b_c");
    }

    #[test]
    fn by_text() {
        let found = search("file TRANSFER simple");
        let ports: Vec<_> = found.iter().map(|entry| (entry.name(), entry.ports().unwrap().first)).collect();
        assert!(ports.contains(&("sftp", 115)) && !ports.contains(&("ftp", 21)), "{ports:?}");
        assert!(search("").is_empty() && search("no such words at all").is_empty());
    }

    #[test]
    fn neighbours_are_services() {
        let ends = |port| {
            let (below, above) = neighbours(port);
            let first = |entry: Option<&Entry>| entry.map(|entry| entry.ports().unwrap().first);
            (first(below), first(above))
        };
        assert_eq!(ends(1303), (Some(1300), Some(1304)), "1301 and 1302 are nobody's");
        assert_eq!(ends(6010).1, Some(6064), "neighbours of a port within a range lie outside of it");
        assert_eq!(ends(0), (None, Some(1)));
        assert_eq!(ends(65535).1, None);
    }
}
