//! What `sft port` shows of this machine: a page for a port or a service, tables of services and of listeners. Pure: text
//! from what was found out. What programs call themselves is shown without what a terminal would obey.

use std::time::SystemTime;

use jiff::tz::TimeZone;
use sft_base::Shown;
use sft_ports::{Entry, Holder, Listener, PortRange, Survey, Transport};

use crate::columns;

/// How a page is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// Characters in a line, if there is a limit.
    pub width: Option<usize>,
    /// In which times are told.
    pub zone: TimeZone,
}

/// Everything that the registry has about one service, under its own heading.
pub(crate) fn service(entry: &Entry, form: &Form) -> String {
    let ports = entry.ports().map(|ports| format!("{ports}  ")).unwrap_or_default();
    let mut page = format!("{ports}{}\n\n", entry.name());
    let none = "none in the registry";
    let or_none = |text: String| if text.is_empty() { none.into() } else { text };
    let description = entry.description();
    let described = if description == entry.name() {
        format!("{none} besides the name")
    } else {
        or_none(description.into())
    };
    let mut rows = vec![
        ("transports", transports(entry)),
        ("description", described),
        ("assigned to", or_none(sft_ports::people(&entry.assignee()))),
    ];
    if entry.contact() != entry.assignee() {
        rows.push(("contact", sft_ports::people(&entry.contact())));
    }
    rows.push(("dates", or_none(dates(entry))));
    rows.push(("references", or_none(sft_ports::people(&entry.reference()))));
    rows.push(("service code", entry.service_code().into()));
    rows.extend(remarks(entry));
    page.extend(rows.iter().map(|(label, text)| columns::paragraph(label, text, form.width)));
    page
}

/// What the registry has about a port or a span that is no service's: that it is reserved, or unassigned.
pub(crate) fn no_service(entry: &Entry, form: &Form) -> String {
    let span = entry.ports().filter(|ports| ports.first < ports.last);
    let span = span.map(|ports| format!(", like all of {ports}")).unwrap_or_default();
    let text = format!("{} ({}){span}", entry.description(), transports(entry));
    let mut rows = vec![("registry", text), ("dates", dates(entry))];
    rows.push(("references", sft_ports::people(&entry.reference())));
    rows.extend(remarks(entry));
    rows.iter().map(|(label, text)| columns::paragraph(label, text, form.width)).collect()
}

fn transports(entry: &Entry) -> String {
    if entry.transports().is_empty() { "all transports".into() } else { entry.transports().to_string() }
}

/// What few records have.
fn remarks(entry: &Entry) -> [(&'static str, String); 2] {
    [("also used", entry.unauthorized_use().into()), ("notes", entry.notes().into())]
}

fn dates(entry: &Entry) -> String {
    match (entry.registered(), entry.modified()) {
        ("", "") => String::new(),
        (registered, "") => format!("registered {registered}"),
        ("", modified) => format!("changed {modified}"),
        (registered, modified) => format!("registered {registered}, changed {modified}"),
    }
}

/// Where a port lies, and next to whom.
pub(crate) fn surroundings(port: u16, form: &Form) -> String {
    let range = PortRange::of(port);
    let (first, last) = range.bounds();
    let range = format!("{} ({first}-{last}): {}", range.name(), range.meaning());
    let (below, above) = sft_ports::neighbours(port);
    let name = |entry: &Entry| entry.ports().map(|ports| format!("{ports} {}", entry.name()));
    let both: Vec<_> = [below, above].into_iter().flatten().filter_map(name).collect();
    columns::paragraph("range", &range, form.width)
        + &columns::paragraph("neighbours", &both.join(", "), form.width)
}

/// Who listens on one port of this machine.
pub(crate) fn here(survey: &Survey, port: u16, wanted: Option<Transport>, form: &Form) -> String {
    let listening: Vec<_> =
        survey.on(port).filter(|listener| wanted.is_none_or(|wanted| listener.transport == wanted)).collect();
    if listening.is_empty() {
        return columns::paragraph("here", "nobody listens", form.width);
    }
    let mut page = String::new();
    let mut groups = grouped(&listening);
    while !groups.is_empty() {
        // What one program has at the same addresses over both transports is said once.
        let group = groups.remove(0);
        let mut transports = vec![group.transport.name()];
        groups.retain(|other| {
            let same = other.addresses == group.addresses && other.is_of(&group);
            transports.extend(same.then(|| other.transport.name()));
            !same
        });
        let label = if page.is_empty() { "here" } else { "" };
        // What follows is a colon, which would make one more of those in an address.
        let bracketed = |at: &String| if at.contains(':') { format!("[{at}]") } else { at.clone() };
        let addresses: Vec<_> = group.addresses.iter().map(bracketed).collect();
        let place = format!("{} on {}", transports.join(" and "), addresses.join(", "));
        let text = format!("{place}: {}", group.whose(survey.hidden, form));
        page += &columns::paragraph(label, &text, form.width);
        for holder in group.holders.iter().filter(|holder| !holder.command.is_empty()) {
            let width = form.width.map(|width| width.saturating_sub(columns::LABEL));
            let command = columns::cut(&shown(&holder.command), width);
            page += &format!("{:indent$}{command}\n", "", indent = columns::LABEL);
        }
    }
    page
}

/// All of these listeners, a line each. Where there is little room, the day has no time, or is missing,
/// and the program has no directory.
pub(crate) fn listeners(listeners: &[&Listener], hidden: bool, form: &Form) -> String {
    let narrow = form.width.is_some_and(|width| width < NARROW);
    let since = |since| match narrow {
        true => minute(since, &form.zone).split(' ').next().unwrap_or_default().to_owned(),
        false => minute(since, &form.zone),
    };
    let row = |group: Group| {
        let pids: Vec<_> = group.holders.iter().map(|holder| holder.pid.to_string()).collect();
        let first = group.holders.first();
        let unknown = if hidden { "(hidden from you)" } else { "(not seen here)" };
        [
            format!("{}/{}", group.port, group.transport),
            group.addresses.join(", "),
            service_of(group.port, group.transport).unwrap_or_default().to_owned(),
            shown(&group.user.clone().unwrap_or_default()),
            pids.join(","),
            first.and_then(|holder| holder.since).map(since).unwrap_or_default(),
            first.map_or_else(|| unknown.to_owned(), |holder| shown(command(holder, narrow))),
        ]
    };
    let rows: Vec<_> = grouped(listeners).into_iter().map(row).collect();
    if form.width.is_some_and(|width| width < TIGHT) {
        let head = ["PORT", "ADDRESS", "SERVICE", "USER", "PID", "COMMAND"];
        let rows = rows.into_iter().map(|[port, address, service, user, pid, _, command]: [String; 7]| {
            [port, address, service, user, pid, command]
        });
        return columns::table(head, &rows.collect::<Vec<_>>(), form.width);
    }
    let head = ["PORT", "ADDRESS", "SERVICE", "USER", "PID", "SINCE", "COMMAND"];
    columns::table(head, &rows, form.width)
}

/// Records of the registry, a line each.
pub(crate) fn services(entries: &[&Entry], form: &Form) -> String {
    let row = |entry: &&Entry| {
        [
            entry.ports().map(|ports| ports.to_string()).unwrap_or_default(),
            if entry.transports().is_empty() { "all".into() } else { entry.transports().to_string() },
            entry.name().into(),
            entry.description().lines().next().unwrap_or_default().to_owned(),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    columns::table(["PORT", "TRANSPORTS", "SERVICE", "DESCRIPTION"], &rows, form.width)
}

/// What could not be seen, and what to type to see it; nothing if all was.
pub(crate) fn unseen(survey: &Survey, listeners: &[&Listener], typed: &str) -> Option<String> {
    let without = listeners.iter().filter(|listener| listener.holders.is_empty()).count();
    let whose = match without {
        1 => "the process of 1 socket".into(),
        count => format!("the processes of {count} sockets"),
    };
    let text = format!("{whose} cannot be seen without privilege; try `sudo sft port{typed}`");
    (survey.hidden && without > 0).then_some(text)
}

/// Other network namespaces have ports of their own.
pub(crate) fn elsewhere(survey: &Survey) -> Option<String> {
    let first = survey.namespaces.first()?;
    let others = match survey.namespaces.len() {
        1 => "one more network namespace, such as a container, has listeners of its own".into(),
        count => {
            format!("{count} more network namespaces, such as containers, have listeners of their own")
        }
    };
    Some(format!("{others}; for those around process {first}: `sudo nsenter -t {first} -n sft port`"))
}

/// Sockets of one program on one port, which differ in address alone.
struct Group {
    port: u16,
    transport: Transport,
    addresses: Vec<String>,
    user: Option<String>,
    holders: Vec<Holder>,
}

fn grouped(listeners: &[&Listener]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for listener in listeners {
        let group = Group {
            port: listener.address.port(),
            transport: listener.transport,
            addresses: vec![listener.address.ip().to_string()],
            user: listener.user.clone(),
            holders: listener.holders.clone(),
        };
        let alike = groups.iter_mut().find(|known| {
            (known.port, known.transport) == (group.port, group.transport) && known.is_of(&group)
        });
        match alike {
            Some(known) if known.addresses.contains(&group.addresses[0]) => {}
            Some(known) => known.addresses.extend(group.addresses),
            None => groups.push(group),
        }
    }
    groups
}

impl Group {
    fn is_of(&self, other: &Self) -> bool {
        self.user == other.user && self.holders == other.holders
    }

    /// Who that is, and since when.
    fn whose(&self, hidden: bool, form: &Form) -> String {
        let mut text = self.processes(hidden);
        if let Some(user) = &self.user {
            text += &format!(", user {}", shown(user));
        }
        if let Some(since) = self.holders.first().and_then(|holder| holder.since) {
            text += &format!(", since {}", minute(since, &form.zone));
        }
        text
    }

    fn processes(&self, hidden: bool) -> String {
        if self.holders.is_empty() {
            let unknown =
                if hidden { "a process that is hidden from you" } else { "no process that can be seen here" };
            return unknown.into();
        }
        let names = self.holders.iter().map(|holder| format!("{} {}", shown(&holder.name), holder.pid));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The service name that the registry has for a port, the first one if there are several.
pub(crate) fn service_of(port: u16, transport: Transport) -> Option<&'static str> {
    let query = format!("{port}/{transport}").parse().ok()?;
    sft_ports::lookup(&query).into_iter().map(Entry::name).find(|name| !name.is_empty())
}

fn command(holder: &Holder, narrow: bool) -> &str {
    let command = if holder.command.is_empty() { &holder.name } else { &holder.command };
    let program = command.split(' ').next().unwrap_or_default();
    let folder = program.rfind('/').map_or(0, |at| at + 1);
    if narrow { &command[folder..] } else { command }
}

fn minute(time: SystemTime, zone: &TimeZone) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => String::new(),
    }
}

fn shown(text: &str) -> String {
    Shown(text.as_bytes()).to_string()
}

/// A terminal with fewer characters in a line has no room for all of a command.
const NARROW: usize = 100;
/// One with fewer than these has none for the day either.
const TIGHT: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn form(width: Option<usize>) -> Form {
        Form { width, zone: TimeZone::UTC }
    }

    fn listener(transport: Transport, address: &str, pids: &[u32]) -> Listener {
        let holders = pids.iter().map(|pid| Holder {
            pid: *pid,
            name: "web\u{1b}[2J".into(),
            command: "/opt/web --port 80 --with 'a long command'".into(),
            since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        });
        Listener {
            transport,
            address: address.parse::<SocketAddr>().unwrap(),
            user: Some("ada".into()),
            holders: holders.collect(),
        }
    }

    fn survey(listeners: Vec<Listener>, hidden: bool) -> Survey {
        Survey { listeners, hidden, namespaces: Vec::new() }
    }

    fn found(query: &str) -> Vec<&'static Entry> {
        sft_ports::lookup(&query.parse().unwrap())
    }

    #[test]
    fn a_service() {
        let page = service(found("1303")[0], &form(None)) + &surroundings(1303, &form(None));
        let expected = "1303  sftsrv\n\n  transports   tcp, udp\n  description  none in the registry besides the name\n  \
                        assigned to  Robert Frazier\n  dates        none in the registry\n  references   none in the registry\n  \
                        range        registered (1024-49151): IANA assigns these on request, and any program may listen there\n  \
                        neighbours   1300 h323hostcallsc, 1304 boomerang\n";
        assert_eq!(page, expected);
        let page = service(found("ssh/sctp")[0], &form(Some(50)));
        let expected = "22  ssh\n\n  transports   sctp\n  description  SSH\n  assigned to  Randall Stewart\n  dates        changed \
                        2022-02-07\n  references   RFC9260\n  notes        Defined TXT keys: u=<username>\n               p=<password>\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn what_is_nobodys() {
        assert_eq!(
            no_service(found("18080")[0], &form(None)),
            "  registry     Unassigned (all transports), like all of 18001-18103\n"
        );
        assert_eq!(
            no_service(found("1302")[0], &form(None)),
            "  registry     Reserved (tcp, udp)\n  dates        changed 2019-10-30\n  notes        De-Assigned on 2019-10-30\n"
        );
    }

    #[test]
    fn who_listens_here() {
        let tcp = ["0.0.0.0:80", "[::]:80"].map(|at| listener(Transport::Tcp, at, &[7, 8]));
        let udp = ["0.0.0.0:80", "[::]:80"].map(|at| listener(Transport::Udp, at, &[7, 8]));
        let mut all = [tcp, udp].concat();
        all.push(listener(Transport::Tcp, "127.0.0.1:80", &[]));
        let page = here(&survey(all.clone(), true), 80, None, &form(Some(60)));
        let expected = "  here         tcp and udp on 0.0.0.0, [::]: web\\u{1b}[2J 7,\n               web\\u{1b}[2J 8, user ada, since 2023-11-14\n               \
                        22:13\n               /opt/web --port 80 --with 'a long command'\n               /opt/web --port 80 --with 'a long command'\n               \
                        tcp on 127.0.0.1: a process that is hidden\n               from you, user ada\n";
        assert_eq!(page, expected);
        let root = here(&survey(all.clone(), false), 80, Some(Transport::Tcp), &form(None));
        assert!(root.contains("tcp on 127.0.0.1: no process that can be seen here, user ada\n"), "{root}");
        assert!(!root.contains("udp"), "{root}");
        assert_eq!(here(&survey(all, true), 81, None, &form(None)), "  here         nobody listens\n");
    }

    #[test]
    fn all_that_listens() {
        let all = [listener(Transport::Tcp, "0.0.0.0:22", &[7]), listener(Transport::Udp, "[::1]:9", &[])];
        let table = listeners(&all.iter().collect::<Vec<_>>(), true, &form(Some(81)));
        let expected = "PORT    ADDRESS  SERVICE  USER  PID  SINCE       COMMAND\n\
                        22/tcp  0.0.0.0  ssh      ada   7    2023-11-14  web --port 80 --with 'a long co…\n\
                        9/udp   ::1      discard  ada                    (hidden from you)\n";
        assert_eq!(table, expected);
        let tight = listeners(&[&all[0]], true, &form(Some(TIGHT - 1)));
        assert!(tight.ends_with("  7    web --port 80 --with 'a long comm…\n"), "{tight}");
        let wide = listeners(&[&all[0]], true, &form(Some(NARROW)));
        assert!(wide.ends_with("  2023-11-14 22:13  /opt/web --port 80 --with 'a long command'\n"), "{wide}");
        let table = listeners(&[&all[1]], false, &form(None));
        assert!(table.ends_with("  (not seen here)\n"), "{table}");
    }

    #[test]
    fn what_cannot_be_seen_is_said_with_what_to_type() {
        let all = [listener(Transport::Tcp, "0.0.0.0:80", &[]), listener(Transport::Tcp, "0.0.0.0:81", &[])];
        let [one, two] = [&all[..1], &all[..]].map(|some| some.iter().collect::<Vec<_>>());
        let hidden = survey(all.to_vec(), true);
        assert_eq!(
            unseen(&hidden, &one, " 80").unwrap(),
            "the process of 1 socket cannot be seen without privilege; try `sudo sft port 80`"
        );
        assert_eq!(
            unseen(&hidden, &two, "").unwrap(),
            "the processes of 2 sockets cannot be seen without privilege; try `sudo sft port`"
        );
        assert_eq!(unseen(&survey(all.to_vec(), false), &two, ""), None, "privilege would show no more");
        let spaces =
            |namespaces: &[u32]| elsewhere(&Survey { namespaces: namespaces.into(), ..hidden.clone() });
        assert_eq!(spaces(&[]), None);
        let one = "one more network namespace, such as a container, has listeners of its own; for those around process 42: \
                   `sudo nsenter -t 42 -n sft port`";
        assert_eq!(spaces(&[42]).unwrap(), one);
        let two = "2 more network namespaces, such as containers, have listeners of their own; for those around process 42: \
                   `sudo nsenter -t 42 -n sft port`";
        assert_eq!(spaces(&[42, 43]).unwrap(), two);
    }
}
