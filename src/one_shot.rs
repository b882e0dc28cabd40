//! A question to the local network that is answered to whoever asks, at once: a "one-shot" question of multicast DNS (RFC 6762,
//! sections 5.1 and 6.7), sent on every network from a port of its own.
//!
//! It stands beside the continuous question of `mdns-sd`, which is answered to everybody: such an answer is not given again within a
//! second, and comes a moment late, so that of two commands in quick succession one would wait. But it passes firewalls that
//! let nothing in to other ports. What comes is a stranger's: it is bounded, and what is no answer is passed over.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ParsedName, ParsedRecord};
use domain::rdata::{A, Aaaa, Ptr, Srv, Txt};
use if_addrs::{IfAddr, Interface};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::announce::{FINGERPRINT, SERVICES, VERSION, usable};
use crate::listening::Found;

/// Asks who serves, three times in a second, because questions and answers may be lost. Answers come until the receiver is
/// dropped; one server may come several times. Needs a runtime.
pub(crate) fn ask() -> Receiver<Found> {
    let (found, answers) = channel(ANSWERS_WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = asking(&found) => {}
            () = found.closed() => {}
        }
    });
    answers
}

async fn asking(found: &Sender<Found>) {
    let id = RandomState::new().build_hasher().finish() as u16;
    let Some(question) = question(id) else { return };
    let mut places: BTreeMap<IpAddr, Arc<Place>> = BTreeMap::new();
    let mut reading = JoinSet::new();
    for pause in PAUSES {
        sleep(pause).await;
        // Networks come and go; an address of IPv6 is usable only a moment after its network.
        for network in networks() {
            let (address, is_new) = (network.address, !places.contains_key(&network.address));
            if is_new
                && places.len() < NETWORKS_MAX
                && let Ok(place) = Place::open(network)
            {
                let place = Arc::new(place);
                reading.spawn(Arc::clone(&place).read(id, found.clone()));
                places.insert(address, place);
            }
        }
        for place in places.values() {
            // A network that cannot carry it has nobody to answer.
            let _ = place.socket.send_to(&question, place.network.group()).await;
        }
    }
    while reading.join_next().await.is_some() {}
}

/// An address of this machine in a network.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    /// Bits of the address that all in the network share.
    prefix: u8,
    /// The system's number of it.
    index: u32,
}

/// Those where others can be; first those of IPv4. Of IPv6, the addresses that every network has.
fn networks() -> Vec<Network> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut networks: Vec<_> = all.iter().filter_map(Network::of).collect();
    networks.sort_by_key(|network| network.address);
    networks
}

impl Network {
    fn of(interface: &Interface) -> Option<Self> {
        let index = interface.index?;
        match &interface.addr {
            IfAddr::V4(v4) if !v4.ip.is_loopback() => {
                Some(Self { address: v4.ip.into(), prefix: v4.prefixlen, index })
            }
            IfAddr::V6(v6) if v6.ip.is_unicast_link_local() => {
                Some(Self { address: v6.ip.into(), prefix: v6.prefixlen, index })
            }
            _ => None,
        }
    }

    fn group(&self) -> SocketAddr {
        match self.address {
            IpAddr::V4(_) => (GROUP_V4, PORT).into(),
            IpAddr::V6(_) => SocketAddrV6::new(GROUP_V6, PORT, 0, self.index).into(),
        }
    }

    /// Whether this can be an answer from this network: nobody else is to be heard (RFC 6762, section 11).
    fn has(&self, from: SocketAddr) -> bool {
        let shared = |width: u8| u32::from(width.saturating_sub(self.prefix));
        let is_inside = match (self.address, from.ip()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(shared(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(_), IpAddr::V6(theirs)) => theirs.is_unicast_link_local(),
            _ => false,
        };
        from.port() == PORT && is_inside
    }
}

/// Where it is asked from.
struct Place {
    network: Network,
    socket: UdpSocket,
}

impl Place {
    fn open(network: Network) -> io::Result<Self> {
        let own = match network.address {
            IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, network.index).into(),
        };
        let socket = Socket::new(Domain::for_address(own), Type::DGRAM, Some(Protocol::UDP))?;
        match network.address {
            IpAddr::V4(ip) => {
                socket.set_multicast_if_v4(&ip)?;
                socket.set_multicast_ttl_v4(TTL)?;
            }
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_multicast_if_v6(network.index)?;
                socket.set_multicast_hops_v6(TTL)?;
            }
        }
        socket.set_nonblocking(true)?;
        socket.bind(&own.into())?;
        Ok(Self { network, socket: UdpSocket::from_std(socket.into())? })
    }

    /// Gives what is answered, up to a bound, or until nobody wants it.
    async fn read(self: Arc<Self>, id: u16, found: Sender<Found>) {
        // A message that fills it may go on, and is none.
        let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
        for _ in 0..MESSAGES_MAX {
            let Ok((bytes, from)) = self.socket.recv_from(&mut buffer).await else { continue };
            if bytes > MESSAGE_BYTES_MAX || !self.network.has(from) {
                continue;
            }
            for one in answers(&buffer[..bytes], id) {
                if found.send(one).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The message that asks for both services.
fn question(id: u16) -> Option<Vec<u8>> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    let mut message = message.question();
    for service in services() {
        message.push((service, Rtype::PTR)).ok()?;
    }
    Some(message.finish())
}

fn services() -> impl Iterator<Item = Name<Vec<u8>>> {
    SERVICES.iter().filter_map(|service| service.parse().ok())
}

/// What a message says of servers, if it is an answer to the question of this id; nothing if any of it cannot be read.
fn answers(message: &[u8], id: u16) -> Vec<Found> {
    records(message, id).map(|records| records.found()).unwrap_or_default()
}

type Owner<'a> = ParsedName<&'a [u8]>;

/// What a message has, each with the name that it is about.
#[derive(Default)]
struct Records<'a> {
    instances: Vec<(Owner<'a>, Owner<'a>)>,
    places: Vec<(Owner<'a>, Srv<Owner<'a>>)>,
    properties: Vec<(Owner<'a>, Txt<&'a [u8]>)>,
    addresses: Vec<(Owner<'a>, IpAddr)>,
}

fn records(message: &[u8], id: u16) -> Option<Records<'_>> {
    let message = Message::from_slice(message).ok()?;
    let header = message.header();
    let is_answer = header.qr() && header.opcode() == Opcode::QUERY && header.rcode() == Rcode::NOERROR;
    if header.id() != id || !is_answer {
        return None;
    }
    let mut records = Records::default();
    for record in message.iter().take(RECORDS_MAX) {
        records.take(&record.ok()?.0)?;
    }
    Some(records)
}

impl<'a> Records<'a> {
    fn take(&mut self, record: &ParsedRecord<'a, [u8]>) -> Option<()> {
        let owner = record.owner();
        match record.rtype() {
            Rtype::PTR => {
                let data = record.to_record::<Ptr<_>>().ok()??.into_data();
                self.instances.push((owner, data.into_ptrdname()));
            }
            Rtype::SRV => self.places.push((owner, record.to_record::<Srv<_>>().ok()??.into_data())),
            Rtype::TXT => self.properties.push((owner, record.to_record::<Txt<_>>().ok()??.into_data())),
            Rtype::A => {
                let data = record.to_record::<A>().ok()??.into_data();
                self.addresses.push((owner, data.addr().into()));
            }
            Rtype::AAAA => {
                let data = record.to_record::<Aaaa>().ok()??.into_data();
                self.addresses.push((owner, data.addr().into()));
            }
            _ => {}
        }
        Some(())
    }

    fn found(&self) -> Vec<Found> {
        let services: Vec<_> = services().collect();
        let ours = self.instances.iter().filter(|(service, instance)| {
            let is_ours = services.iter().any(|known| known == service);
            is_ours && instance.ends_with(service) && instance.label_count() == service.label_count() + 1
        });
        ours.filter_map(|(_, instance)| self.resolved(instance)).collect()
    }

    fn resolved(&self, instance: &Owner<'_>) -> Option<Found> {
        let (_, place) = self.places.iter().find(|(owner, _)| owner == instance)?;
        let addresses = self.addresses.iter().filter(|(owner, _)| owner == place.target());
        let addresses: HashSet<_> = addresses.map(|(_, address)| *address).collect();
        let properties = self.properties.iter().find(|(owner, _)| owner == instance).map(|(_, said)| said);
        Found {
            name: text(instance.first().as_slice()),
            host: host(place.target()),
            port: place.port(),
            addresses: usable(addresses),
            fingerprint: properties.and_then(|said| property(said, FINGERPRINT)),
            version: properties.and_then(|said| property(said, VERSION)),
        }
        .complete()
    }
}

/// As it is typed, without a full stop at the end.
fn host(name: &Owner<'_>) -> String {
    let labels: Vec<_> = name.iter().map(|label| text(label.as_slice())).collect();
    labels.join(".").trim_end_matches('.').to_owned()
}

/// The value of a key, which is compared as RFC 6763, section 6.4, says.
fn property(said: &Txt<&[u8]>, key: &str) -> Option<String> {
    said.iter().find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        pair[..at].eq_ignore_ascii_case(key.as_bytes()).then(|| text(&pair[at + 1..]))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// RFC 6762, section 11.
const TTL: u32 = 255;
/// Before each question.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(750)];
/// A machine with many virtual networks asks in the first ones.
const NETWORKS_MAX: usize = 32;
/// RFC 6762, section 17.
const MESSAGE_BYTES_MAX: usize = 9_000;
const RECORDS_MAX: usize = 256;
/// From one network.
const MESSAGES_MAX: usize = 4_096;
const ANSWERS_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::Ttl;
    use domain::base::message_builder::AnswerBuilder;

    const ID: u16 = 0x1303;

    fn name(text: &str) -> Name<Vec<u8>> {
        text.parse().unwrap()
    }

    fn address(text: &str) -> A {
        A::new(text.parse().unwrap())
    }

    /// The beginning of an answer to the question.
    fn answer(id: u16) -> AnswerBuilder<Vec<u8>> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_qr(true);
        let mut message = message.question();
        services().for_each(|service| message.push((service, Rtype::PTR)).unwrap());
        message.answer()
    }

    /// What a server says that is announced over UDP.
    fn whole(id: u16) -> Vec<u8> {
        let mut message = answer(id);
        let ttl = Ttl::from_secs(10);
        let (service, instance, host) =
            (name(SERVICES[0]), name("nas\\032(4000)._sftsrv._udp.local."), name("nas.local."));
        message.push((&service, ttl, Ptr::new(&instance))).unwrap();
        let mut message = message.additional();
        message.push((&instance, ttl, Srv::new(0, 0, 4000, &host))).unwrap();
        let said = Txt::<Vec<u8>>::from_octets(b"\x03v=1\x0dFP=SHA256:abc".to_vec());
        message.push((&instance, ttl, said.unwrap())).unwrap();
        message.push((&host, ttl, address("192.0.2.7"))).unwrap();
        message.push((&name("other.local."), ttl, address("192.0.2.8"))).unwrap();
        message.push((&name("NAS.local."), ttl, Aaaa::new("2001:db8::7".parse().unwrap()))).unwrap();
        message.finish()
    }

    #[test]
    fn what_is_asked() {
        let asked = question(ID).unwrap();
        let message = Message::from_slice(&asked[..]).unwrap();
        let names: Vec<_> =
            message.question().map(|question| question.unwrap().qname().to_string()).collect();
        assert_eq!(names, SERVICES.map(|service| service.trim_end_matches('.')));
        assert!(!message.header().qr() && message.header().id() == ID);
    }

    #[test]
    fn an_answer_has_all_that_is_needed() {
        let found = answers(&whole(ID), ID);
        let expected = Found {
            name: "nas (4000)".into(),
            host: "nas.local".into(),
            port: 4000,
            addresses: ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().unwrap()).into(),
            fingerprint: Some("SHA256:abc".into()),
            version: Some("1".into()),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_passed_over() {
        assert_eq!(answers(&whole(ID ^ 1), ID), [], "another id");
        assert_eq!(answers(&question(ID).unwrap(), ID), [], "a question");
        let mut failed = whole(ID);
        failed[3] |= 3;
        assert_eq!(answers(&failed, ID), [], "NXDOMAIN");
        // Other services, and records about others.
        let mut message = answer(ID);
        let ttl = Ttl::from_secs(10);
        let (printers, service) = (name("_ipp._tcp.local."), name(SERVICES[1]));
        message.push((&printers, ttl, Ptr::new(name("p._ipp._tcp.local.")))).unwrap();
        message.push((&service, ttl, Ptr::new(name("p._ipp._tcp.local.")))).unwrap();
        message.push((&service, ttl, Ptr::new(name("deep.er._sftsrv._tcp.local.")))).unwrap();
        message.push((&service, ttl, Ptr::new(name("nowhere._sftsrv._tcp.local.")))).unwrap();
        for instance in ["p._ipp._tcp.local.", "deep.er._sftsrv._tcp.local."] {
            message.push((name(instance), ttl, Srv::new(0, 0, 1, name("p.local.")))).unwrap();
        }
        message.push((name("p.local."), ttl, address("192.0.2.7"))).unwrap();
        assert_eq!(answers(&message.finish(), ID), []);
    }

    #[test]
    fn garbage_is_passed_over() {
        let whole = whole(ID);
        for bytes in 0..whole.len() {
            assert_eq!(answers(&whole[..bytes], ID), [], "the first {bytes} bytes");
        }
        // Each byte spoiled in several ways: whatever comes of it is bounded, and nothing panics.
        for at in 0..whole.len() {
            for with in [0x00, 0x01, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut spoiled = whole.clone();
                spoiled[at] = with;
                assert!(answers(&spoiled, ID).len() <= 1, "{with} at {at}");
            }
        }
        // A name that leads to itself, and one of nothing but pointers.
        let head = [0x13, 0x03, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(answers(&[&head[..], &[0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0]].concat(), ID), []);
        let pointers: Vec<u8> =
            (12u16..4_000).step_by(2).flat_map(|at| (0xc000 | at).to_be_bytes()).collect();
        assert_eq!(answers(&[&head[..], &pointers[..]].concat(), ID), []);
        let mut message = answer(ID);
        for serial in 0..2 * RECORDS_MAX as u32 {
            let instance = name(&format!("i{}._sftsrv._udp.local.", serial));
            message.push((name(SERVICES[0]), Ttl::from_secs(10), Ptr::new(instance))).unwrap();
        }
        assert_eq!(records(&message.finish(), ID).unwrap().instances.len(), RECORDS_MAX);
    }

    #[test]
    fn answers_come_from_the_network_that_was_asked() {
        let network = |address: &str, prefix| Network { address: address.parse().unwrap(), prefix, index: 7 };
        let has = |network: Network, from: &str| network.has(from.parse().unwrap());
        let v4 = network("192.0.2.1", 24);
        assert!(has(v4, "192.0.2.254:5353") && has(v4, "192.0.2.1:5353"));
        assert!(!has(v4, "192.0.3.1:5353"), "elsewhere");
        assert!(!has(v4, "192.0.2.254:53"), "no responder");
        assert!(!has(v4, "[fe80::1]:5353"));
        assert!(
            has(network("192.0.2.1", 32), "192.0.2.1:5353")
                && !has(network("192.0.2.1", 32), "192.0.2.0:5353")
        );
        assert!(has(network("192.0.2.1", 0), "10.1.1.1:5353"));
        let v6 = network("fe80::1", 64);
        assert!(has(v6, "[fe80::2]:5353") && !has(v6, "[2001:db8::1]:5353") && !has(v6, "192.0.2.1:5353"));
        assert_eq!(v4.group().to_string(), "224.0.0.251:5353");
        assert_eq!(v6.group().to_string(), "[ff02::fb%7]:5353");
    }
}
