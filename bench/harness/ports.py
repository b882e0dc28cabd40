"""Ports on this machine: one that is free, and whether somebody listens there by now."""

import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    """A port that is free for TCP and UDP at the moment."""
    while True:
        with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until_open(port: int, server: subprocess.Popen, log: Path) -> None:
    """Waits until `server` takes TCP connections; ends the benchmark when it does not."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    if server.poll() is None:
        server.terminate()
        server.wait()
    raise SystemExit(f"bench: {server.args[0]} did not start: {log.read_text(errors='replace').strip()}")
