//! `sft port`: which service a port belongs to, and which process has it.

use std::net::SocketAddr;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use sft_client::Location;
use sft_ports::{Entry, Listener, Ports, Query, Subject, Survey, Transport};

use crate::answer_page;
use crate::app::App;
use crate::args::RemoteArgs;
use crate::columns;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::near;
use crate::pinned;
use crate::port_page::{self, Form};
use crate::probe::{self, Answers, TcpAnswer, UdpAnswer};

/// Tell which service a port belongs to, and who listens on it
///
/// Shows what IANA's registry has about a port or a service, and which processes of this machine listen there: by number,
/// by range, by service name. Without a QUERY, everything that listens on this machine.
///
/// A host after a single port is asked as well: whether TCP and UDP are open, closed or filtered there, whether it is an
/// sft server, and with which key, or which certificate it shows. `sft port ssh nas:` ends the host with a colon, in case
/// it is named like a service.
#[derive(Debug, Args)]
#[command(
    override_usage = "sft port [OPTIONS] [QUERY]...\n       \
    sft port [OPTIONS] PORT HOST\n       \
    sft port [OPTIONS] --check QUERY...\n       \
    sft port [OPTIONS] --search TEXT",
    after_help = "With --check, sft ends with 0 if the port is free, 10 if sft has it, 11 if another program has it.\n\
    `--search` and service names know no upper and lower case."
)]
pub(crate) struct PortArgs {
    /// Ports such as 1303, 1300-1310 or https/tcp; after a single port, a host
    #[arg(value_name = "QUERY")]
    queries: Vec<String>,
    /// List the services with all of these words in their name or description
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["queries", "check"])]
    search: Option<String>,
    /// Say whether the ports are in use on this machine, and by whom
    #[arg(long, requires = "queries")]
    check: bool,
}

/// What was asked, sorted out.
enum Asked {
    /// Everything that listens.
    All,
    /// These, here.
    Here(Vec<Query>),
    /// A port of a host.
    There(Query, String),
}

/// Answers.
pub(crate) async fn run(app: &App, typed: PortArgs) -> anyhow::Result<Exit> {
    if let Some(text) = &typed.search {
        return search(app, text);
    }
    match sort_out(app, &typed.queries)? {
        Asked::All => everything(app),
        Asked::Here(queries) if typed.check => check(app, &queries).await,
        Asked::Here(queries) => here(app, &queries).await,
        Asked::There(..) if typed.check => {
            Err(Usage("`--check` is about this machine; without it, a host is asked".into()).into())
        }
        Asked::There(query, host) => there(app, &query, &host).await,
    }
}

fn sort_out(app: &App, texts: &[String]) -> anyhow::Result<Asked> {
    if texts.is_empty() {
        return Ok(Asked::All);
    }
    if let [subject, host] = texts
        && (is_host(host) || app.config.names(host))
    {
        return Ok(Asked::There(query(subject)?, host.trim_end_matches(':').to_owned()));
    }
    Ok(Asked::Here(texts.iter().map(|text| query(text)).collect::<Result<_, _>>()?))
}

fn query(text: &str) -> Result<Query, Usage> {
    text.parse().map_err(|error: sft_ports::QueryError| Usage(error.to_string()))
}

/// Whether the second of two arguments is a host: it is neither a port nor the name of a service.
fn is_host(text: &str) -> bool {
    match text.parse::<Query>() {
        Ok(Query { subject: Subject::Name(_), .. }) if text.ends_with(':') => true,
        Ok(query @ Query { subject: Subject::Name(_), .. }) => sft_ports::lookup(&query).is_empty(),
        _ => false,
    }
}

fn form(app: &App) -> Form {
    let width = if app.voice.stdout_terminal() { columns::terminal_width() } else { None };
    Form { width, zone: TimeZone::system() }
}

fn search(app: &App, text: &str) -> anyhow::Result<Exit> {
    let found = sft_ports::search(text);
    tell_services(app, &found)?;
    if found.is_empty() {
        app.voice.warn(&format!("no service has all words of `{text}` in its name or description"));
        return Ok(Exit::SomeFailed);
    }
    Ok(Exit::Done)
}

fn tell_services(app: &App, entries: &[&Entry]) -> anyhow::Result<()> {
    if app.voice.json() {
        return entries.iter().try_for_each(|entry| app.voice.object(service_object(entry)));
    }
    if entries.is_empty() {
        return Ok(());
    }
    let page = port_page::services(entries, &form(app));
    app.voice.write(|out| out.write_all(page.as_bytes()))
}

fn everything(app: &App) -> anyhow::Result<Exit> {
    let survey = sft_ports::listeners()?;
    let all: Vec<_> = survey.listeners.iter().collect();
    if app.voice.json() {
        all.iter().try_for_each(|listener| app.voice.object(listener_object(listener)))?;
        app.voice.object(survey_object(&survey))?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        app.voice.note("nothing listens on this machine");
    } else {
        let page = port_page::listeners(&all, survey.hidden, &form(app));
        app.voice.write(|out| out.write_all(page.as_bytes()))?;
    }
    tell_unseen(app, &survey, &all, "");
    Ok(Exit::Done)
}

fn tell_unseen(app: &App, survey: &Survey, listeners: &[&Listener], typed: &str) {
    let notes = [port_page::unseen(survey, listeners, typed), port_page::elsewhere(survey)];
    for note in notes.into_iter().flatten() {
        app.voice.note(&format!("Note: {note}"));
    }
}

async fn here(app: &App, queries: &[Query]) -> anyhow::Result<Exit> {
    let survey = sft_ports::listeners()?;
    let mut exit = Exit::Done;
    for (at, query) in queries.iter().enumerate() {
        if at > 0 && !app.voice.json() {
            app.voice.write(|out| writeln!(out))?;
        }
        exit = exit.worse(one(app, &survey, query).await?);
    }
    if app.voice.json() {
        app.voice.object(survey_object(&survey))?;
    } else {
        let wanted: Vec<_> = queries.iter().flat_map(|query| listeners_of(&survey, query)).collect();
        let typed: String = queries.iter().map(|query| format!(" {query}")).collect();
        tell_unseen(app, &survey, &wanted, &typed);
    }
    Ok(exit)
}

async fn one(app: &App, survey: &Survey, query: &Query) -> anyhow::Result<Exit> {
    let found = sft_ports::lookup(query);
    if found.is_empty()
        && let Subject::Name(name) = &query.subject
    {
        app.voice.warn(&format!(
            "the registry has no service `{query}`; `sft port --search {name}` looks into descriptions too"
        ));
        return Ok(Exit::SomeFailed);
    }
    let listening = listeners_of(survey, query);
    if let Subject::Ports(ports) = query.subject
        && ports.first < ports.last
    {
        tell_range(app, &found, &listening, survey.hidden)?;
        return Ok(Exit::Done);
    }
    let mut asked = Vec::new();
    for port in ports_of(query) {
        asked.push((port, ask_ours(&listening, port).await));
    }
    if app.voice.json() {
        found.iter().try_for_each(|entry| app.voice.object(service_object(entry)))?;
        for listener in listening {
            let mut object = listener_object(listener);
            let answers = asked.iter().find(|(port, _)| *port == listener.address.port());
            if let Some((_, Some(answers))) = answers {
                put_sft(&mut object, answers);
            }
            app.voice.object(object)?;
        }
        return Ok(Exit::Done);
    }
    let page = page(survey, query, &found, &asked, &form(app));
    app.voice.write(|out| out.write_all(page.as_bytes()))?;
    Ok(Exit::Done)
}

/// The page of a single port, or of a service, which may have several or none.
fn page(
    survey: &Survey,
    query: &Query,
    found: &[&Entry],
    asked: &[(u16, Option<Answers>)],
    form: &Form,
) -> String {
    let mut page = String::new();
    let (services, others): (Vec<&Entry>, Vec<&Entry>) =
        found.iter().partition(|entry| !entry.name().is_empty());
    for (at, entry) in services.iter().enumerate() {
        page += if at > 0 { "\n" } else { "" };
        page += &port_page::service(entry, form);
    }
    if services.is_empty() {
        page += &format!("{query}\n\n");
    }
    page.extend(others.iter().map(|entry| port_page::no_service(entry, form)));
    if found.is_empty() {
        page += &columns::paragraph("registry", "has nothing about it", form.width);
    }
    for (port, answers) in asked {
        page += "\n";
        if asked.len() > 1 {
            page += &columns::paragraph("port", &port.to_string(), form.width);
        }
        page += &port_page::surroundings(*port, form);
        page += &port_page::here(survey, *port, query.transport, form);
        page += &answers.as_ref().map(|answers| answer_page::is_sft(answers, form.width)).unwrap_or_default();
    }
    page + "\n" + &columns::paragraph("source", sft_ports::SOURCE, form.width)
}

fn tell_range(app: &App, found: &[&Entry], listening: &[&Listener], hidden: bool) -> anyhow::Result<()> {
    tell_services(app, found)?;
    if app.voice.json() {
        return listening.iter().try_for_each(|listener| app.voice.object(listener_object(listener)));
    }
    if listening.is_empty() {
        return app.voice.write(|out| writeln!(out, "\nNobody listens on any of them here."));
    }
    let page = port_page::listeners(listening, hidden, &form(app));
    app.voice.write(|out| write!(out, "\n{page}"))
}

/// The ports that a query means one by one: none for a service without a port.
fn ports_of(query: &Query) -> Vec<u16> {
    if let Subject::Ports(Ports { first, last }) = query.subject {
        return (first..=last).collect();
    }
    let found = sft_ports::lookup(query).into_iter().filter_map(Entry::ports);
    let mut ports: Vec<u16> = found.flat_map(|ports| ports.first..=ports.last).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn listeners_of<'a>(survey: &'a Survey, query: &Query) -> Vec<&'a Listener> {
    let ports = ports_of(query);
    let of_port = |listener: &&Listener| ports.contains(&listener.address.port());
    let of_transport =
        |listener: &&Listener| query.transport.is_none_or(|wanted| listener.transport == wanted);
    survey.listeners.iter().filter(of_port).filter(of_transport).collect()
}

/// Asks those who may be a server of ours whether they are: on its port, by its name, or because their name is hidden.
/// Nobody else is disturbed.
async fn ask_ours(listening: &[&Listener], port: u16) -> Option<Answers> {
    let candidates: Vec<_> = listening
        .iter()
        .filter(|listener| listener.address.port() == port)
        .filter(|listener| {
            let is_known = listener.holders.iter().any(|holder| holder.name == "sft");
            port == sft_auth::DEFAULT_PORT || is_known || listener.holders.is_empty()
        })
        .collect();
    let address = probe::from_here(candidates.first()?.address);
    let has = |transport| candidates.iter().any(|listener| listener.transport == transport);
    Some(probe::ask(&address.ip().to_string(), address, has(Transport::Tcp), has(Transport::Udp)).await)
}

/// Whether it is a server of ours at every address at which somebody listens.
async fn all_ours(listening: &[&Listener], port: u16) -> bool {
    let addresses: std::collections::BTreeSet<_> = listening.iter().map(|one| one.address.ip()).collect();
    for address in addresses {
        let there: Vec<_> = listening.iter().copied().filter(|one| one.address.ip() == address).collect();
        if !ask_ours(&there, port).await.is_some_and(|answers| answers.is_sft()) {
            return false;
        }
    }
    true
}

async fn check(app: &App, queries: &[Query]) -> anyhow::Result<Exit> {
    let is_seen =
        |query: &&Query| query.transport.is_none_or(|t| matches!(t, Transport::Tcp | Transport::Udp));
    if let Some(query) = queries.iter().find(|query| !is_seen(query)) {
        let text = format!("`{query}` cannot be checked: sockets are seen over tcp and udp alone");
        return Err(Usage(text).into());
    }
    let survey = sft_ports::listeners()?;
    let mut exit = Exit::Done;
    for query in queries {
        let ports = ports_of(query);
        if ports.is_empty() {
            return Err(Usage(format!("the registry has no port for `{query}`; name the port itself")).into());
        }
        let listening = listeners_of(&survey, query);
        let used: std::collections::BTreeSet<_> =
            listening.iter().map(|listener| listener.address.port()).collect();
        if used.is_empty() {
            tell_check(app, &query.to_string(), Exit::Done, "free")?;
        }
        for port in used {
            let of_port: Vec<_> = listening.iter().copied().filter(|l| l.address.port() == port).collect();
            let ours = all_ours(&of_port, port).await;
            let used = if ours { Exit::InUseBySft } else { Exit::InUseByOther };
            tell_check(app, &port.to_string(), used, &in_use(&of_port, ours, survey.hidden))?;
            exit = exit.worse(used);
        }
    }
    Ok(exit)
}

fn tell_check(app: &App, what: &str, exit: Exit, text: &str) -> anyhow::Result<()> {
    if app.voice.json() {
        let state = match exit {
            Exit::InUseBySft => "sft",
            Exit::InUseByOther => "other",
            _ => "free",
        };
        return app.voice.write(|out| writeln!(out, "{}", json!({ "check": what, "state": state })));
    }
    app.voice.note(&format!("{what}: {text}"));
    Ok(())
}

fn in_use(listening: &[&Listener], ours: bool, hidden: bool) -> String {
    let mut names: Vec<_> = listening
        .iter()
        .flat_map(|listener| &listener.holders)
        .map(|holder| format!("{}, process {}", sft_base::Shown(holder.name.as_bytes()), holder.pid))
        .collect();
    names.sort_unstable();
    names.dedup();
    match (&names[..], ours) {
        ([], true) => "in use by sft, whose process is hidden from you".into(),
        ([], false) if hidden => "in use by a process that is hidden from you".into(),
        ([], false) => "in use, by no process that can be seen here".into(),
        (names, true) => format!("in use by sft ({})", names.join("; ")),
        (names, false) => format!("in use by {}", names.join("; ")),
    }
}

async fn there(app: &App, query: &Query, typed: &str) -> anyhow::Result<Exit> {
    let ports = ports_of(query);
    let &[port] = &ports[..] else {
        let text = format!("a host is asked about a single port, and `{query}` is {}", many(ports.len()));
        return Err(Usage(text).into());
    };
    let host = host(app, typed)?;
    let wanted = |transport| query.transport.is_none_or(|wanted| wanted == transport);
    let (tcp, udp) = (wanted(Transport::Tcp), wanted(Transport::Udp));
    if !tcp && !udp {
        return Err(
            Usage("a host can be asked over tcp and udp, and not over other transports".into()).into()
        );
    }
    let addresses = addresses(&host, port).await?;
    let mut anybody = false;
    for (at, address) in addresses.into_iter().enumerate() {
        let answers = probe::ask(&host, address, tcp, udp).await;
        anybody |= answers.is_anybody();
        tell_answers(app, &host, address, &answers, at > 0)?;
    }
    Ok(if anybody { Exit::Done } else { Exit::Connect })
}

fn many(count: usize) -> String {
    if count == 0 { "no port".into() } else { format!("{count} of them") }
}

/// What the name stands for in the configuration file, or the name itself.
fn host(app: &App, typed: &str) -> anyhow::Result<String> {
    match Location::parse(format!("{typed}:").as_ref())? {
        Location::Remote(location) if location.path.entry.is_root() => {
            Ok(app.target(&location, &RemoteArgs::default()).host)
        }
        _ => Err(Usage(format!("`{typed}` is neither a port, nor a service, nor a host")).into()),
    }
}

async fn addresses(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    if let Some(near) = near::locate(host, Some(port)).await {
        return Ok(near.addresses);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let mut found: Vec<_> = found.map_err(|error| NoSuchHost(host.into(), error))?.collect();
    let mut seen = Vec::new();
    found.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    Ok(found)
}

/// The name of a host means no address.
#[derive(Debug, thiserror::Error)]
#[error("the host {0} was not found: {1}")]
pub(crate) struct NoSuchHost(String, std::io::Error);

fn tell_answers(
    app: &App,
    host: &str,
    address: SocketAddr,
    answers: &Answers,
    again: bool,
) -> anyhow::Result<()> {
    if app.voice.json() {
        return app.voice.object(answers_object(host, address, answers));
    }
    let trust = |key: &str| pinned::words(app, host, address.port(), key);
    let page = answer_page::answers(answers, trust, form(app).width);
    let title =
        if host == address.ip().to_string() { host.to_owned() } else { format!("{host}, {}", address.ip()) };
    let gap = if again { "\n" } else { "" };
    app.voice.write(|out| write!(out, "{gap}{title}, port {}\n\n{page}", address.port()))
}

fn service_object(entry: &Entry) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".into(), "service".into());
    object.insert("name".into(), entry.name().into());
    if let Some(ports) = entry.ports() {
        object.insert("port".into(), ports.first.into());
        object.insert("last_port".into(), ports.last.into());
    }
    object.insert("transports".into(), entry.transports().iter().map(Transport::name).collect());
    let texts = [
        ("description", entry.description()),
        ("assignee", sft_ports::people(&entry.assignee()).into()),
        ("contact", sft_ports::people(&entry.contact()).into()),
        ("registered", entry.registered().into()),
        ("modified", entry.modified().into()),
        ("reference", sft_ports::people(&entry.reference()).into()),
        ("unauthorized_use", entry.unauthorized_use()),
        ("notes", entry.notes()),
    ];
    object.extend(
        texts
            .into_iter()
            .map(|(key, text)| (key.into(), if text.is_empty() { Value::Null } else { text.into() })),
    );
    object
}

fn listener_object(listener: &Listener) -> Map<String, Value> {
    let since = |holder: &sft_ports::Holder| {
        holder.since.and_then(|since| jiff::Timestamp::try_from(since).ok()).map(|since| since.to_string())
    };
    let processes: Vec<_> = listener
        .holders
        .iter()
        .map(|holder| json!({ "pid": holder.pid, "name": holder.name, "command": holder.command, "since": since(holder) }))
        .collect();
    let mut object = Map::new();
    object.insert("kind".into(), "listener".into());
    object.insert("port".into(), listener.address.port().into());
    object.insert("transport".into(), listener.transport.name().into());
    object.insert("address".into(), listener.address.ip().to_string().into());
    object
        .insert("service".into(), port_page::service_of(listener.address.port(), listener.transport).into());
    object.insert("user".into(), listener.user.clone().into());
    object.insert("processes".into(), processes.into());
    object
}

fn survey_object(survey: &Survey) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".into(), "survey".into());
    object.insert("hidden".into(), survey.hidden.into());
    object.insert("namespaces".into(), survey.namespaces.clone().into());
    object.insert("registry".into(), sft_ports::SOURCE.into());
    object
}

fn put_sft(object: &mut Map<String, Value>, answers: &Answers) {
    object.insert("sft".into(), answers.is_sft().into());
    object.insert("fingerprint".into(), answers.keys().first().map(ToString::to_string).into());
}

fn answers_object(host: &str, address: SocketAddr, answers: &Answers) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".into(), "answer".into());
    object.insert("host".into(), host.into());
    object.insert("address".into(), address.ip().to_string().into());
    object.insert("port".into(), address.port().into());
    let milliseconds = |rtt: std::time::Duration| Value::from(rtt.as_secs_f64() * 1000.0);
    if let Some(tcp) = &answers.tcp {
        let (state, rtt, says) = match tcp {
            TcpAnswer::Open { rtt, says, .. } => ("open", Some(*rtt), says.clone()),
            TcpAnswer::Closed => ("closed", None, None),
            TcpAnswer::Filtered => ("filtered", None, None),
            TcpAnswer::Failed(_) => ("failed", None, None),
        };
        let certificate = match tcp {
            TcpAnswer::Open { certificate: Some(shown), .. } => json!({
                "names": shown.names, "issuer": shown.issuer, "until": shown.until, "sha256": shown.sha256,
            }),
            _ => Value::Null,
        };
        object.insert(
            "tcp".into(),
            json!({ "state": state, "rtt_ms": rtt.map(milliseconds), "says": says, "certificate": certificate }),
        );
    }
    if let Some(udp) = &answers.udp {
        let (state, rtt) = match udp {
            UdpAnswer::Quic { rtt, .. } => ("quic", Some(*rtt)),
            UdpAnswer::Other(rtt) => ("open", Some(*rtt)),
            UdpAnswer::Closed => ("closed", None),
            UdpAnswer::Silent => ("silent", None),
            UdpAnswer::Failed(_) => ("failed", None),
        };
        object.insert("udp".into(), json!({ "state": state, "rtt_ms": rtt.map(milliseconds) }));
    }
    put_sft(&mut object, answers);
    object
}
