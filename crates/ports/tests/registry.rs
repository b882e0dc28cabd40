//! Promise: what `sft-ports` embeds is IANA's registry, every record of it and nothing else, and it agrees with what other
//! systems ship.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use sft_ports::{Entry, Ports, Query, Subject, Transport, lookup};

/// The fields of a record from its CSV, in IANA's order.
type Row = Vec<String>;

/// The records of a CSV file (RFC 4180), without its head.
fn rows(name: &str) -> Vec<Row> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("registry").join(name)).unwrap();
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    assert!(row.is_empty() && field.is_empty(), "the last line ends");
    assert_eq!(rows[0][0], "Service Name");
    assert!(rows.iter().all(|row| row.len() == 12));
    rows.split_off(1)
}

/// A record as its CSV would have it, for one transport.
fn row_of(entry: &Entry, transport: &str) -> Row {
    let port = entry.ports().map(|ports| ports.to_string()).unwrap_or_default();
    vec![
        entry.name().into(),
        port,
        transport.into(),
        entry.description().into(),
        entry.assignee().into(),
        entry.contact().into(),
        entry.registered().into(),
        entry.modified().into(),
        entry.reference().into(),
        entry.service_code().into(),
        entry.unauthorized_use().into(),
        entry.notes().into(),
    ]
}

/// Every record that look-ups give, one for each transport, with how often.
fn embedded() -> BTreeMap<Row, usize> {
    let all_ports = Query { subject: Subject::Ports(Ports { first: 0, last: u16::MAX }), transport: None };
    let mut entries = lookup(&all_ports);
    // Those without a port are found by their names alone.
    let mut names: Vec<_> =
        rows("iana.csv").into_iter().filter(|row| row[1].is_empty()).map(|row| row[0].clone()).collect();
    names.sort_by_key(|name| name.to_lowercase());
    names.dedup_by_key(|name| name.to_lowercase());
    for name in names {
        let found = lookup(&Query { subject: Subject::Name(name), transport: None });
        entries.extend(found.into_iter().filter(|entry| entry.ports().is_none()));
    }
    let mut embedded = BTreeMap::new();
    for entry in entries {
        let mut transports: Vec<_> = entry.transports().iter().map(Transport::name).collect();
        if transports.is_empty() {
            transports.push("");
        }
        for transport in transports {
            *embedded.entry(row_of(entry, transport)).or_default() += 1;
        }
    }
    embedded
}

/// White space around a field means nothing, and a range of one port is a port; the table has neither.
fn trimmed(row: &Row) -> Row {
    let mut row: Row = row.iter().map(|field| field.trim().to_owned()).collect();
    if let Some((first, last)) = row[1].split_once('-')
        && first == last
    {
        row[1] = first.to_owned();
    }
    row
}

fn is_unassigned(row: &Row) -> bool {
    row[3].eq_ignore_ascii_case("unassigned") && row[2].is_empty()
}

fn ports(row: &Row) -> std::ops::RangeInclusive<u16> {
    let (first, last) = row[1].split_once('-').unwrap_or((&row[1], &row[1]));
    first.parse().unwrap()..=last.parse().unwrap()
}

#[test]
fn every_record_of_the_source_is_embedded_and_no_other() {
    let mut embedded = embedded();
    let newer = rows("newer.csv");
    let newer_at =
        |port: &str, transport: &str| newer.iter().any(|row| row[1] == port && row[2] == transport);
    let (mut the_same, mut cut) = (0, 0);
    for row in rows("iana.csv").iter().chain(&newer) {
        let row = trimmed(row);
        if let Some(times) = embedded.get_mut(&row) {
            *times -= 1;
            if *times == 0 {
                embedded.remove(&row);
            }
            the_same += 1;
        } else if is_unassigned(&row) {
            // A range in which something is assigned by now: the rest of it still is what it was.
            assert!(
                ports(&row).any(|port| newer.iter().any(|newer| newer[1] == port.to_string())),
                "{row:?}"
            );
            cut += 1;
        } else {
            assert!(newer_at(&row[1], &row[2]), "not embedded: {row:?}");
        }
    }
    assert!(the_same > 14_000, "{the_same}");
    assert!(cut <= newer.len());
    // What is left are the pieces of those ranges.
    for row in embedded.keys() {
        assert!(is_unassigned(row), "from nowhere: {row:?}");
        for port in ports(row) {
            assert!(!newer.iter().any(|newer| newer[1] == port.to_string()), "{row:?}");
        }
    }
    let free = |rows: &mut dyn Iterator<Item = &Row>| -> usize {
        rows.filter(|row| is_unassigned(row) && !row[1].is_empty()).map(|row| ports(row).count()).sum()
    };
    let all = self::embedded();
    let taken: std::collections::BTreeSet<_> = newer.iter().map(|row| row[1].clone()).collect();
    let iana = rows("iana.csv");
    let newly_taken = taken.iter().filter(|port| {
        let port: u16 = port.parse().unwrap();
        iana.iter().any(|row| is_unassigned(row) && !row[1].is_empty() && ports(row).contains(&port))
    });
    assert_eq!(free(&mut all.keys()) + newly_taken.count(), free(&mut iana.iter()), "no free port is lost");
}

#[test]
fn each_record_is_found_by_its_port_its_name_and_its_transport() {
    for row in rows("iana.csv") {
        let row = trimmed(&row);
        if is_unassigned(&row) || rows_of_newer_cover(&row) {
            continue;
        }
        for subject in [&row[1], &row[0]] {
            if subject.is_empty() || subject.chars().all(|c| c.is_ascii_digit()) && subject == &row[0] {
                continue;
            }
            let typed = if row[2].is_empty() { subject.clone() } else { format!("{subject}/{}", row[2]) };
            let query: Query = typed.parse().unwrap();
            let found = lookup(&query);
            assert!(found.iter().any(|entry| row_of(entry, &row[2]) == row), "{typed} does not find {row:?}");
        }
    }
}

fn rows_of_newer_cover(row: &Row) -> bool {
    static NEWER: std::sync::LazyLock<Vec<Row>> = std::sync::LazyLock::new(|| rows("newer.csv"));
    NEWER.iter().any(|newer| newer[1] == row[1] && newer[2] == row[2])
}

/// Debian's list (package netbase) names what its programs use, which is not always what IANA says. A record that both
/// have must have the same name, but for these.
const DISAGREEMENTS: &[&str] = &[
    // Another spelling of the same service.
    "210/tcp z3950",
    "5061/tcp sip-tls",
    "5061/udp sip-tls",
    "6001/tcp x11-1",
    "6002/tcp x11-2",
    "6003/tcp x11-3",
    "6004/tcp x11-4",
    "6005/tcp x11-5",
    "6006/tcp x11-6",
    "6007/tcp x11-7",
    "6667/tcp ircd",
    // Another service, or another name, which IANA has not assigned to that port.
    "21/udp fsp",
    "1645/tcp datametrics",
    "1645/udp datametrics",
    "7000/tcp bbs",
    "750/tcp kerberos4",
    "751/udp kerberos-master",
    "751/tcp kerberos-master",
    "752/udp passwd-server",
    "754/tcp krb-prop",
    "2121/tcp iprop",
    "1127/tcp supfiledbg",
    "106/tcp poppassd",
    "775/tcp moira-db",
    "777/tcp moira-update",
    "1178/tcp skkserv",
    "1210/udp predict",
    "1236/tcp rmtcfg",
    "1313/tcp xtel",
    "1314/tcp xtelw",
    "2600/tcp zebrasrv",
    "2601/tcp zebra",
    "2602/tcp ripd",
    "2603/tcp ripngd",
    "2604/tcp ospfd",
    "2605/tcp bgpd",
    "2606/tcp ospf6d",
    "2607/tcp ospfapi",
    "2608/tcp isisd",
    "5555/udp rplay",
    "5680/tcp canna",
    "8021/tcp zope-ftp",
    "8081/tcp tproxy",
    "8088/tcp omniorb",
    "8990/tcp clc-build-daemon",
    "10000/tcp webmin",
    "10081/tcp kamanda",
];

#[test]
fn it_agrees_with_what_debian_ships() {
    let text = std::fs::read_to_string("/etc/services").expect("the package netbase is installed");
    let (mut agree, mut wrong) = (0, Vec::new());
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(at)) = (words.next(), words.next()) else { continue };
        let names: Vec<_> = std::iter::once(name).chain(words).collect();
        let found = lookup(&at.parse().unwrap());
        let said: Vec<_> = found.iter().map(|entry| entry.name()).filter(|name| !name.is_empty()).collect();
        if said.is_empty() {
            continue;
        }
        if said.iter().any(|said| names.iter().any(|name| said.eq_ignore_ascii_case(name))) {
            agree += 1;
        } else if !DISAGREEMENTS.contains(&format!("{at} {name}").as_str()) {
            wrong.push(format!("{at}: {names:?} in /etc/services, {said:?} at IANA"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(agree > 200, "only {agree} records were there to compare");
}

#[test]
fn a_look_up_takes_microseconds_and_the_table_little_room() {
    let questions: Vec<Query> =
        ["1303", "443/tcp", "sftsrv", "6010", "https/udp"].map(|text| text.parse().unwrap()).into();
    lookup(&questions[0]);
    let began = Instant::now();
    for _ in 0..10_000 {
        assert!(questions.iter().all(|question| !lookup(question).is_empty()));
    }
    let each = began.elapsed() / 50_000;
    // Less than one when built for use; the bound is for a machine that has much else to do.
    assert!(each.as_micros() < 100, "{each:?}");
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("registry/table.tsv");
    assert!(table.metadata().unwrap().len() < 700 << 10);
}
