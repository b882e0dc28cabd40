//! Copies a directory to a server and shows what is there then.
//!
//! Run it beside a server, with its fingerprint (which `sft serve` shows) as the pin:
//!
//!     cargo run -p sft-client --example copy -- localhost:backup ./photos SHA256:...

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sft_auth::Folders;
use sft_client::{
    Client, ClientKeys, ConnectOptions, EventSink, Fingerprint, KeySearch, Location, PushOptions, Target,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [destination, source, fingerprint] = arguments()?;
    let Location::Remote(destination) = Location::parse(destination.as_ref())? else {
        return Err("the destination must be on a host: host:path".into());
    };
    let expected: Fingerprint = fingerprint.parse()?;

    // Who we are: the keys that OpenSSH and ssh-agent have, then sft's own.
    let folders = Folders::find()?;
    let keys = ClientKeys::find(&KeySearch::usual(&folders, None))?;
    // Whom we trust: the servers in the user's list, and this one if it shows the key that was named.
    let mut options = ConnectOptions::new(keys, folders.trusted());
    options.on_unknown = Some(Arc::new(move |server| server.fingerprint == expected));
    let client = Client::connect(Target::of(&destination), options).await?;
    println!("connected to {} as {}", client.server(), client.identity().await?);

    // Progress is read from counters, whenever it suits; events tell what happens to single entries.
    let (sink, mut events) = EventSink::new();
    let counters = sink.counters().clone();
    let telling = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            println!("{event:?}");
        }
    });
    let sources = [PathBuf::from(source)];
    let summary = client.push(&sources, &destination.path, PushOptions::default(), sink).await?;
    telling.await?;
    let moved = counters.bytes_moved.load(Ordering::Relaxed);
    println!(
        "{} copied, {} unchanged, {} failed, {moved} bytes moved",
        summary.committed, summary.unchanged, summary.failed
    );

    for entry in client.list(&destination.path.entry).await? {
        println!("{:>12}  {}", entry.size, entry.path);
    }
    client.close().await;
    Ok(())
}

fn arguments() -> Result<[String; 3], &'static str> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.try_into().map_err(|_| "usage: copy HOST:DESTINATION SOURCE FINGERPRINT")
}
