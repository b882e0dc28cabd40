"""OpenSSH as a rival: a server on a port and with keys of its own, and the commands of scp and rsync over it."""

import os
import shutil
import subprocess
from pathlib import Path

from harness.ports import free_port, wait_until_open

NEEDED = {"sshd": "openssh-server", "scp": "openssh-client", "rsync": "rsync"}
# The fastest cipher that both ends offer by default on a processor with AES instructions.
CIPHER = "aes128-gcm@openssh.com"


def find(tool: str) -> str | None:
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def install_missing() -> None:
    """Installs what is missing with apt, without letting a server start by itself."""
    missing = sorted({package for tool, package in NEEDED.items() if find(tool) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"bench: please install {' '.join(missing)}, as root: apt-get install {' '.join(missing)}")
    print(f"bench: installing {' '.join(missing)}", flush=True)
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        quiet = {"stdout": subprocess.DEVNULL, "env": env}
        subprocess.run(["apt-get", "update", "-q"], check=True, **quiet)
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", *missing], check=True, **quiet)
    finally:
        if ours:
            policy.unlink()


class SshServer:
    """An sshd that lives as long as the `with` around it."""

    def __init__(self, place: Path):
        self.place = place
        self.port = free_port()

    def __enter__(self) -> "SshServer":
        self.place.mkdir(mode=0o700)
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.place / name)]
            subprocess.run(command, check=True)
        if os.geteuid() == 0:
            # sshd refuses to start without it, and Debian makes it at boot only.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (self.place / "sshd_config").write_text(self.server_config())
        (self.place / "ssh_config").write_text(self.client_config())
        with open(self.place / "sshd.log", "wb") as log:
            command = [find("sshd"), "-D", "-e", "-f", str(self.place / "sshd_config")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until_open(self.port, self.process, self.place / "sshd.log")
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    def scp(self, sources: list[str], target: str) -> list[str]:
        return ["scp", "-q", "-r", "-F", str(self.place / "ssh_config"), *sources, target]

    def rsync(self, sources: list[str], target: str) -> list[str]:
        return ["rsync", "-a", "-e", f"ssh -F {self.place / 'ssh_config'}", *sources, target]

    def name(self, path: Path) -> str:
        """How scp and rsync call a path of the server."""
        return f"bench:{path}"

    def server_config(self) -> str:
        sftp = next(p for p in ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "internal-sftp")
                    if p == "internal-sftp" or Path(p).exists())
        return "\n".join([
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.place / 'host'}",
            f"AuthorizedKeysFile {self.place / 'user.pub'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            f"Subsystem sftp {sftp}",
            "",
        ])

    def client_config(self) -> str:
        known = self.place / "known_hosts"
        host_key = (self.place / "host.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        return "\n".join([
            "Host bench",
            "  HostName 127.0.0.1",
            f"  Port {self.port}",
            f"  IdentityFile {self.place / 'user'}",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {known}",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            f"  Ciphers {CIPHER}",
            "",
        ])


def versions() -> list[str]:
    """What the rivals call themselves."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    rsync = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=True).stdout
    return [ssh, rsync.splitlines()[0].strip()]
