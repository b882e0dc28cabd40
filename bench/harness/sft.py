"""sft itself: a server with a home of its own, and clients that have never met it, or have."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness.packages import version_of
from harness.paths import OpenPath
from harness.process import Failed, Server, run_quietly
from harness.tool import Task, Tool

PORT = 1303
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class Sft:
    """A server that lives as long as the `with` around it, and serves `root`.

    A client starts each run with a home that knows the server's key and nothing else, and meets a server that has just been
    started, unless it is a `known peer`: that one gets the home of the run before it and its server, and with them whatever
    sft remembers.
    """

    def __init__(self, path: OpenPath, state: Path, root: Path, binary: Path):
        self.path, self.state, self.root, self.binary = path, state, root, binary
        self.homes = 0
        self.latest = state / "sft-home"

    def __enter__(self) -> "Sft":
        self.pristine = self.state / "sft-home"
        ssh = self.pristine / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        key = ssh / "id_ed25519"
        run_quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
        (ssh / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        (ssh / "authorized_keys").chmod(0o600)
        self.log = self.state / "sft-serve.log"
        self.start()
        try:
            run_quietly([str(self.binary), "trust", "add", f"{self.path.address}:{PORT}", self.fingerprint(self.log)],
                        env=home(self.pristine))
        except BaseException:
            self.server.__exit__()
            raise
        return self

    def start(self) -> None:
        command = [str(self.binary), "serve", str(self.root), "--port", str(PORT), "--bind", self.path.address,
                   "--state", str(self.state / "sft-state")]
        self.server = Server("sft serve", self.path.server(), command, self.log, home(self.pristine))
        self.server.__enter__()
        try:
            self.server.wait_until_listening(PORT)
        except BaseException:
            self.server.__exit__()
            raise

    def __exit__(self, *_) -> None:
        self.server.__exit__()

    def tools(self) -> list[Tool]:
        return [
            self.tool("sft", "auto", greets=True),
            self.tool("sft, known peer", "auto", known=True, greets=True, only_on="wan"),
            self.tool("sft, TCP alone", "tcp"),
            self.tool("sft, QUIC alone", "quic"),
            self.tool("sft, not durable", "auto", durable=False, only_on="loopback"),
        ]

    def tool(self, name: str, transport: str, durable: bool = True, known: bool = False, greets: bool = False,
             only_on: str | None = None) -> Tool:
        def command(task: Task) -> list[str]:
            how = [] if durable else ["--durability", "none"]
            return [*self.client("cp", transport), *how, *self.ends(task)]

        greet = [*self.client("ls", transport), self.name(self.root)] if greets else None
        env = self.known_home if known else self.fresh_home
        return Tool(name, "sft", command, lambda: self.server.pid, durable=durable, repeats=True, greet=greet, env=env,
                    only_on=only_on)

    def client(self, verb: str, transport: str) -> list[str]:
        return [str(self.binary), verb, "-q", "--port", str(PORT), "--transport", transport]

    def ends(self, task: Task) -> list[str]:
        if task.way == "up":
            return [str(task.source), f"{self.name(task.into)}/"]
        return [self.name(task.source), f"{task.into}/"]

    def name(self, path: Path) -> str:
        """How the client calls a path that is served."""
        return f"{self.path.address}:{path.relative_to(self.root)}"

    def fresh_home(self) -> dict[str, str]:
        # A server remembers what paths to its clients carried: this one has never met any.
        self.server.__exit__()
        self.start()
        self.homes += 1
        self.latest = self.state / f"sft-home-{self.homes}"
        shutil.copytree(self.pristine, self.latest)
        return home(self.latest)

    def known_home(self) -> dict[str, str]:
        return home(self.latest)

    def fingerprint(self, log: Path) -> str:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if found := FINGERPRINT.search(log.read_text()):
                return found.group()
            time.sleep(0.02)
        raise Failed(f"`sft serve` printed no fingerprint: {log.read_text()}")


def home(folder: Path) -> dict[str, str]:
    """An environment in which sft finds nothing but what is in `folder`."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SSH_", "SFT_"))}
    return keep | {"HOME": str(folder)}


def build(root: Path) -> Path:
    """Builds the release binary; where it is."""
    print("bench: cargo build --release", flush=True)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "sft"], cwd=root, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", root / "target")
    return Path(target) / "release" / "sft"


def commit(repository: Path) -> str:
    """What git calls the state that a build begins with."""
    return version_of(["git", "-C", str(repository), "describe", "--always", "--dirty"])


def version(binary: Path, built_from: str | None) -> str:
    """What the binary calls itself, and where it comes from."""
    name = version_of([str(binary), "--version"])
    return f"{name}, built from {built_from}" if built_from else f"{name}, built before"
