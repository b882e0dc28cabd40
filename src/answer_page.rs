//! What `sft port` shows of another machine: what came back when one of its ports was asked. Pure. What others say of
//! themselves is shown without what a terminal would obey.

use std::time::Duration;

use sft_base::Shown;

use crate::certificate::Certificate;
use crate::columns;
use crate::probe::{Answers, Native, TcpAnswer, UdpAnswer};

/// What came of asking a listener of this machine whether it is a server of ours.
pub(crate) fn is_sft(answers: &Answers, width: Option<usize>) -> String {
    let text = match (&answers.keys()[..], answers.is_sft()) {
        ([], false) => "what listens does not answer as sft".into(),
        ([], true) => "sft serves here, for SSH clients alone".into(),
        (keys, _) => {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            format!("sft serves here: {}", keys.join(" and "))
        }
    };
    columns::paragraph("sft", &text, width)
}

/// What an address of a host answered, without a heading. `trust` says whether a key is trusted.
pub(crate) fn answers(answers: &Answers, trust: impl Fn(&str) -> String, width: Option<usize>) -> String {
    let mut page = String::new();
    let mut row = |label: &str, text: &str| page += &columns::paragraph(label, text, width);
    if let Some(tcp) = &answers.tcp {
        row("tcp", &tcp_sentence(tcp));
    }
    if let Some(udp) = &answers.udp {
        row("udp", &udp_sentence(udp));
    }
    if !answers.is_anybody() {
        return page;
    }
    row("sft", &doors(answers));
    for key in answers.keys() {
        let key = key.to_string();
        row("fingerprint", &format!("{key}, {}", trust(&key)));
    }
    if let Some(TcpAnswer::Open { certificate: Some(certificate), .. }) = &answers.tcp {
        row("certificate", &certificate_sentence(certificate));
    }
    if let Some(TcpAnswer::Open { says: Some(line), .. }) = &answers.tcp {
        row("it says", &format!("{}{}", protocol(line), Shown(line.as_bytes())));
    }
    page
}

/// What a TCP port is, in words.
pub(crate) fn tcp_sentence(answer: &TcpAnswer) -> String {
    match answer {
        TcpAnswer::Open { rtt, .. } => format!("open, round trip {}", milliseconds(*rtt)),
        TcpAnswer::Closed => "closed: the host answers that nobody listens".into(),
        TcpAnswer::Filtered => "filtered: no answer within 3 s, as if something on the way dropped it".into(),
        TcpAnswer::Failed(error) => format!("cannot be asked: {error}"),
    }
}

/// What somebody shows who speaks TLS, in words.
fn certificate_sentence(certificate: &Certificate) -> String {
    let shown = |text: &str| Shown(text.as_bytes()).to_string();
    let names: Vec<_> = certificate.names.iter().take(NAMES_MAX).map(|name| shown(name)).collect();
    let more = match certificate.names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let issuer = certificate
        .issuer
        .as_ref()
        .map_or_else(|| "by itself".into(), |issuer| format!("by {}", shown(issuer)));
    let until = if certificate.is_over { "expired" } else { "valid until" };
    format!(
        "for {}{more}, {issuer}, {until} {}; SHA-256 {}",
        names.join(", "),
        certificate.until,
        certificate.sha256
    )
}

/// What a UDP port is, in words.
pub(crate) fn udp_sentence(answer: &UdpAnswer) -> String {
    match answer {
        UdpAnswer::Quic { rtt, .. } => format!("open, answers as QUIC, round trip {}", milliseconds(*rtt)),
        UdpAnswer::Other(rtt) => format!("open, answers and not as QUIC, round trip {}", milliseconds(*rtt)),
        UdpAnswer::Closed => "closed: the host answers that nobody listens".into(),
        UdpAnswer::Silent => {
            "no answer within 3 s: filtered on the way, or nobody there who speaks QUIC".into()
        }
        UdpAnswer::Failed(error) => format!("cannot be asked: {error}"),
    }
}

/// Which doors of a server of ours are open.
fn doors(answers: &Answers) -> String {
    let mut open = Vec::new();
    let mut why = Vec::new();
    let mut native = |name, native: &Native| match native {
        Native::Yes(_) => open.push(name),
        Native::No(Some(text)) => why.push(format!("over {name}: {text}")),
        Native::No(None) => {}
    };
    if let Some(UdpAnswer::Quic { native: spoken, .. }) = &answers.udp {
        native("QUIC", spoken);
    }
    if let Some(TcpAnswer::Open { native: spoken, .. }) = &answers.tcp {
        native("TCP", spoken);
    }
    let sftp = answers.is_sft()
        && matches!(&answers.tcp, Some(TcpAnswer::Open { says: Some(line), .. }) if line.starts_with("SSH-"));
    let mut doors = Vec::new();
    if !open.is_empty() {
        doors.push(format!("sft over {}", open.join(" and ")));
    }
    if sftp {
        doors.push("SFTP for SSH clients".into());
    }
    if doors.is_empty() {
        doors.push("not an sft server".into());
    }
    doors.extend(why);
    doors.join("; ")
}

/// What somebody speaks who says this, if that is plain.
fn protocol(line: &str) -> &'static str {
    match line {
        line if line.starts_with("SSH-") => "SSH: ",
        line if line.starts_with("HTTP/") || line.starts_with("<!DOCTYPE") => "HTTP: ",
        _ => "",
    }
}

/// A certificate may have hundreds.
const NAMES_MAX: usize = 5;

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::ServerKey;

    const RTT: Duration = Duration::from_micros(1_234);

    fn page(tcp: TcpAnswer, udp: UdpAnswer) -> String {
        answers(&Answers { tcp: Some(tcp), udp: Some(udp) }, |_| "which you trust".into(), None)
    }

    fn open(native: Native, says: &str) -> TcpAnswer {
        TcpAnswer::Open { rtt: RTT, native, says: Some(says.into()), certificate: None }
    }

    #[test]
    fn a_server_of_ours() {
        let key = ServerKey([7; 32]);
        let quic = UdpAnswer::Quic { rtt: RTT, native: Native::Yes(key) };
        let expected = format!(
            "  tcp          open, round trip 1.2 ms\n  udp          open, answers as QUIC, round trip 1.2 ms\n  \
             sft          sft over QUIC and TCP; SFTP for SSH clients\n  fingerprint  {key}, which you trust\n  \
             it says      SSH: SSH-2.0-sft_1\n"
        );
        assert_eq!(page(open(Native::Yes(key), "SSH-2.0-sft_1"), quic), expected);
        let ssh_alone = Answers { tcp: Some(open(Native::No(None), "SSH-2.0-sft_1")), udp: None };
        assert_eq!(is_sft(&ssh_alone, None), "  sft          sft serves here, for SSH clients alone\n");
        let here = Answers { tcp: Some(open(Native::Yes(key), "")), udp: None };
        assert_eq!(is_sft(&here, None), format!("  sft          sft serves here: {key}\n"));
    }

    #[test]
    fn others_and_nobody() {
        assert_eq!(
            page(TcpAnswer::Closed, UdpAnswer::Closed),
            "  tcp          closed: the host answers that nobody listens\n  \
             udp          closed: the host answers that nobody listens\n"
        );
        assert_eq!(
            page(TcpAnswer::Filtered, UdpAnswer::Silent),
            "  tcp          filtered: no answer within 3 s, as if something on the way dropped it\n  \
             udp          no answer within 3 s: filtered on the way, or nobody there who speaks QUIC\n"
        );
        assert_eq!(
            page(TcpAnswer::Failed("No route to host".into()), UdpAnswer::Other(RTT)),
            "  tcp          cannot be asked: No route to host\n  udp          open, answers and not as QUIC, round trip 1.2 ms\n  \
             sft          not an sft server\n"
        );
        let web = open(Native::No(Some("TLS that does not offer sft/1".into())), "HTTP/1.1 400 \u{1b}");
        assert_eq!(
            page(web, UdpAnswer::Failed("no".into())),
            "  tcp          open, round trip 1.2 ms\n  udp          cannot be asked: no\n  \
             sft          not an sft server; over TCP: TLS that does not offer sft/1\n  it says      HTTP: HTTP/1.1 400 \\u{1b}\n"
        );
        let certificate = Certificate {
            names: (0..7).map(|at| format!("{at}\u{1b}.example.org")).collect(),
            issuer: Some("CN=somebody".into()),
            until: "2026-11-24".into(),
            is_over: true,
            sha256: "ab".into(),
        };
        let expected = "for 0\\u{1b}.example.org, 1\\u{1b}.example.org, 2\\u{1b}.example.org, 3\\u{1b}.example.org, \
                        4\\u{1b}.example.org and 2 more, by CN=somebody, expired 2026-11-24; SHA-256 ab";
        assert_eq!(certificate_sentence(&certificate), expected);
        let nobody = Answers { tcp: Some(TcpAnswer::Closed), udp: None };
        assert_eq!(is_sft(&nobody, None), "  sft          what listens does not answer as sft\n");
    }
}
