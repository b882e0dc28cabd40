//! What a browser is told that comes without TLS: the ways in.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Answers 426, and closes.
pub(crate) async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let port = stream.local_addr()?.port();
    timeout(ANSWER_MAX, async {
        stream.write_all(refusal(port).as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with a request unread would take the answer away again.
        let mut ignored = [0; 4096];
        let mut left = REQUEST_BYTES_MAX;
        while left > 0 {
            let read = stream.read(&mut ignored).await?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        Ok(())
    })
    .await
    .unwrap_or(Ok(()))
}

fn refusal(port: u16) -> String {
    let text = format!(
        "This is a file transfer server, and it does not speak HTTP. The ways in:\n\
         \x20 sft ls sft://HOST:{port}/\n\
         \x20 sftp -P {port} HOST\n"
    );
    format!(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: sft/1, SSH/2.0\r\nConnection: Upgrade, close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

const ANSWER_MAX: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_whole_and_names_the_port() {
        let answer = refusal(1303);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("\r\nUpgrade: "));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("sftp -P 1303 HOST"));
    }
}
