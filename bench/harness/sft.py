"""sft itself: a server on a free port with a home of its own, and the commands of its client."""

import os
import re
import subprocess
import time
from pathlib import Path

from harness.ports import free_port, wait_until_open

TRANSPORTS = ("auto", "tcp", "quic")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class SftServer:
    """A server that lives as long as the `with` around it. It serves `root`."""

    def __init__(self, binary: Path, place: Path, root: Path):
        self.binary = binary
        self.place = place
        self.root = root
        self.port = free_port()
        home = place / "home"
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SSH_", "SFT_"))}
        self.env = keep | {"HOME": str(home)}

    def __enter__(self) -> "SftServer":
        ssh = self.place / "home" / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        key = ssh / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (ssh / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        (ssh / "authorized_keys").chmod(0o600)
        log = self.place / "serve.log"
        command = [str(self.binary), "serve", str(self.root), "--port", str(self.port), "--bind", "127.0.0.1",
                   "--state", str(self.place / "state")]
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until_open(self.port, self.process, log)
        self.trust(self.fingerprint(log))
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    def cp(self, transport: str, sources: list[str], target: str, durable: bool = True) -> list[str]:
        how = [] if durable else ["--durability", "none"]
        return [str(self.binary), "cp", "-q", "--port", str(self.port), "--transport", transport, *how, *sources, target]

    def name(self, path: Path) -> str:
        """How the client calls a path that is served."""
        return f"127.0.0.1:{path.relative_to(self.root)}"

    def fingerprint(self, log: Path) -> str:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if found := FINGERPRINT.search(log.read_text()):
                return found.group()
            time.sleep(0.02)
        self.process.terminate()
        raise SystemExit(f"bench: `sft serve` printed no fingerprint: {log.read_text()}")

    def trust(self, fingerprint: str) -> None:
        """Pins the server, as `sft join` or an answer on a terminal would."""
        command = [str(self.binary), "trust", "add", f"127.0.0.1:{self.port}", fingerprint]
        subprocess.run(command, env=self.env, check=True, stderr=subprocess.DEVNULL)


def build(root: Path) -> Path:
    """Builds the release binary; where it is."""
    print("bench: cargo build --release", flush=True)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "sft"], cwd=root, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", root / "target")
    return Path(target) / "release" / "sft"
