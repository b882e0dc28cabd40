//! Where the server is that a name means, found again whenever it is dialled: a server may move while a command waits for it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sft_client::Locate;

use crate::near::{self, Near};
use crate::srv::{self, Told};

/// By preference; see [`Locate`].
type Groups = Vec<Vec<SocketAddr>>;

/// Of a server on the local network. Its port stays, because its key is pinned with the port.
pub(crate) fn of_near(host: String, near: Near) -> Locate {
    let port = near.port;
    again(vec![near.addresses], move || {
        let host = host.clone();
        async move {
            Ok(near::locate(&host, Some(port)).await.map(|near| vec![near.addresses]).unwrap_or_default())
        }
    })
}

/// Of a server that DNS tells of.
pub(crate) fn of_srv(host: String, found: Groups) -> Locate {
    again(found, move || {
        let host = host.clone();
        async move {
            match srv::locate(&host).await.map_err(io::Error::other)? {
                Told::At(groups) => Ok(groups),
                Told::Nothing | Told::NoAnswer => Ok(Groups::new()),
            }
        }
    })
}

/// At first what was found just now, and from then on what `look` finds; while that is nothing, what was found last.
fn again<F>(found: Groups, look: impl Fn() -> F + Send + Sync + 'static) -> Locate
where
    F: Future<Output = io::Result<Groups>> + Send + 'static,
{
    let (dialled, last) = (AtomicBool::new(false), Arc::new(Mutex::new(found)));
    Arc::new(move || {
        let looking = dialled.swap(true, Ordering::Relaxed).then(&look);
        let last = Arc::clone(&last);
        Box::pin(async move {
            let now = match looking {
                Some(looking) => looking.await?,
                None => Groups::new(),
            };
            let mut last = last.lock().expect("no holder of this lock panics");
            if !now.is_empty() {
                *last = now;
            }
            Ok(last.clone())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU16;

    #[tokio::test]
    async fn a_server_that_moved_is_found_again() {
        let at = |port: u16| vec![vec![SocketAddr::from(([192, 0, 2, 1], port))]];
        let asked = AtomicU16::new(0);
        let locate = again(at(1), move || {
            let asked = asked.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready(match asked {
                1 => Ok(at(2)),
                2 => Ok(Groups::new()),
                _ => Err(io::Error::other("no such service")),
            })
        });
        assert_eq!(locate().await.unwrap(), at(1), "nobody looks twice before the first time");
        assert_eq!(locate().await.unwrap(), at(2));
        assert_eq!(locate().await.unwrap(), at(2), "where it was last");
        assert_eq!(locate().await.unwrap_err().to_string(), "no such service");
    }
}
