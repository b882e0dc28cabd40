//! Waits for the first bytes of a connection without taking them.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::{FIRST_BYTES_MAX, Speaks, classify};

/// A connection that is no TLS, by whom it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Ssh,
    Http,
}

/// Says who has come, reading nothing. None if it is nobody we serve, or they did not say until the deadline.
pub(crate) async fn meet(stream: &TcpStream, deadline: Instant) -> Option<Caller> {
    match timeout_at(deadline, decided(stream)).await {
        Ok(Ok(Speaks::Ssh)) => Some(Caller::Ssh),
        Ok(Ok(Speaks::Http)) => Some(Caller::Http),
        Ok(Ok(Speaks::Tls | Speaks::Unknown | Speaks::Undecided) | Err(_)) | Err(_) => None,
    }
}

async fn decided(stream: &TcpStream) -> io::Result<Speaks> {
    let mut first = [0; FIRST_BYTES_MAX];
    let mut seen = 0;
    loop {
        let there = stream.peek(&mut first).await?;
        let speaks = classify(&first[..there]);
        // No more than before may mean that the peer has ended its side.
        if speaks != Speaks::Undecided || there == 0 {
            return Ok(speaks);
        }
        if there == seen {
            // A socket with some bytes is always ready: looking again at once would look for ever.
            sleep(LOOK_AGAIN).await;
        }
        seen = there;
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_that_come_one_by_one_are_waited_for_and_left_in_place() {
        let (mut client, server) = pair().await;
        let soon = Instant::now() + Duration::from_secs(20);
        let meeting = tokio::spawn(async move { (meet(&server, soon).await, server) });
        for byte in b"SSH-" {
            client.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        let (caller, server) = meeting.await.unwrap();
        assert_eq!(caller, Some(Caller::Ssh));
        let mut first = [0; 4];
        assert_eq!((server.peek(&mut first).await.unwrap(), &first), (4, b"SSH-"));
    }

    #[tokio::test]
    async fn who_stops_halfway_is_given_up() {
        let (mut client, server) = pair().await;
        client.write_all(b"SS").await.unwrap();
        assert_eq!(meet(&server, Instant::now() + Duration::from_millis(60)).await, None);
        client.write_all(b"L").await.unwrap();
        assert_eq!(meet(&server, Instant::now() + Duration::from_secs(20)).await, None);
    }
}
