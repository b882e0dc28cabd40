"""OpenSSH and what runs over it: scp, sftp, tar, rsync, rclone, lftp. A server with keys of its own."""

import getpass
import os
from pathlib import Path

from harness.packages import find
from harness.paths import OpenPath
from harness.process import Server, run_quietly
from harness.tool import Task, Tool, shell

# The fastest cipher that both ends offer by default on a processor with AES instructions; the second where sft is the server.
CIPHER = "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
PORT = 2222
HOST = "bench"


class Ssh:
    """An sshd that lives as long as the `with` around it, at the server's end of a path."""

    port = PORT
    host_key_checking = "yes"

    def __init__(self, path: OpenPath, state: Path):
        self.path, self.state = path, state
        self.config = state / "ssh_config"
        self.user_key = state / "user"

    def __enter__(self) -> "Ssh":
        for name in ("host", "user"):
            run_quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.state / name)])
        if os.geteuid() == 0:
            # sshd refuses to start without it, and Debian makes it at boot only.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (self.state / "sshd_config").write_text(self.server_config())
        (self.state / "known_hosts").write_text(
            f"[{self.path.address}]:{PORT} {(self.state / 'host.pub').read_text()}")
        self.config.write_text(self.client_config())
        command = [find("sshd"), "-D", "-e", "-f", str(self.state / "sshd_config")]
        self.server = Server("sshd", self.path.server(), command, self.state / "sshd.log")
        self.server.__enter__()
        self.server.wait_until_listening(PORT)
        return self

    def __exit__(self, *_) -> None:
        self.server.__exit__()

    def tools(self) -> list[Tool]:
        over = {"kind": "rival", "server_pid": lambda: self.server.pid, "tcp": True}
        found = [
            Tool("scp", command=self.scp, links=False, **over),
            # Only greets: what sft's answer to a listing is told from.
            Tool("ssh, true", command=self.scp, ways=(), greet=self.ssh("true"), **over),
            Tool("sftp", command=self.sftp_by_default, by_name=True, **over),
            Tool("sftp, large requests", command=self.sftp, **over),
            Tool("tar over ssh", command=self.tar, **over),
            Tool("rsync over ssh", command=self.rsync, repeats=True, **over),
            Tool("rclone over sftp", command=self.rclone, repeats=True, **over),
            Tool("lftp over sftp", command=self.lftp, repeats=True, **over),
        ]
        needed = {"rsync over ssh": "rsync", "rclone over sftp": "rclone", "lftp over sftp": "lftp"}
        return [tool for tool in found if find(needed.get(tool.name, "scp"))]

    def ssh(self, command: str) -> list[str]:
        return ["ssh", "-F", str(self.config), HOST, command]

    def scp(self, task: Task) -> list[str]:
        return ["scp", "-q", "-r", "-F", str(self.config), *self.ends(task)]

    def sftp(self, task: Task) -> list[str]:
        """Requests of as much as OpenSSH's server takes, and twice as many of them under way as by default."""
        return self.sftp_by_default(task, "-B 261120 -R 128")

    def sftp_by_default(self, task: Task, sizes: str = "") -> list[str]:
        verb = "put" if task.way == "up" else "get"
        recursive = "" if task.source.is_file() else "-r "
        source, into = self.as_named(task)
        script = f"{verb} {recursive}{source} {into}/"
        return shell(f'echo "$1" | sftp -q -F {self.config} {sizes} -b - {HOST}', script)

    def tar(self, task: Task) -> list[str]:
        pack = f"tar -C {task.source.parent} -cf - {task.source.name}"
        unpack = f"tar -C {task.into} -xf -"
        remote = f"ssh -F {self.config} {HOST}"
        return shell(f"{pack} | {remote} {unpack}" if task.way == "up" else f"{remote} {pack} | {unpack}")

    def rsync(self, task: Task) -> list[str]:
        return ["rsync", "-a", "-e", f"ssh -F {self.config}", *self.ends(task)]

    def rclone(self, task: Task) -> list[str]:
        """Eight files at once, four streams for a large one. No digests: they would take another pass on both sides."""
        target = task.into if task.source.is_file() else task.copy
        source, target = ((str(task.source), f":sftp:{self.remote(target)}") if task.way == "up"
                          else (f":sftp:{self.remote(task.source)}", str(target)))
        return ["rclone", "copy", "-q", "--config", str(self.state / "rclone.conf"), "--sftp-host", self.path.address,
                "--sftp-port", str(self.port), "--sftp-user", getpass.getuser(), "--sftp-key-file", str(self.user_key),
                "--sftp-disable-hashcheck", "--sftp-chunk-size", "255k", "--sftp-concurrency", "64",
                "--transfers", "8", "--checkers", "16", "--multi-thread-streams", "4", source, target]

    def lftp(self, task: Task) -> list[str]:
        """Eight files at once, and a large one in four parts where lftp can do that, which is down."""
        source, into = self.as_named(task)
        if task.source.is_file():
            verb = f"put -O {into}/ {source}" if task.way == "up" else f"pget -n 4 -O {into}/ {source}"
        else:
            verb = f"mirror {'-R ' if task.way == 'up' else ''}--parallel=8 {source} {into}/"
        settings = ["set cmd:fail-exit yes", "set net:max-retries 1", "set sftp:auto-confirm yes",
                    f'set sftp:connect-program "ssh -a -x -F {self.config}"', "set sftp:max-packets-in-flight 256",
                    "set sftp:size-read 0x10000", "set sftp:size-write 0x10000", "set mirror:set-permissions yes"]
        return ["lftp", "--norc", "-c", "; ".join([*settings, f"open -u {getpass.getuser()}, sftp://{HOST}", verb])]

    def server_config(self) -> str:
        places = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
        sftp = next((place for place in places if Path(place).exists()), "internal-sftp")
        return "\n".join([
            f"Port {PORT}",
            f"ListenAddress {self.path.address}",
            f"HostKey {self.state / 'host'}",
            f"AuthorizedKeysFile {self.state / 'user.pub'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "MaxStartups 100",
            # A home without start-up files: what this user's shell does at its start is no part of any rival.
            f"SetEnv PATH={os.environ['PATH']} HOME={self.state}",
            f"Subsystem sftp {sftp}",
            "",
        ])

    def client_config(self) -> str:
        return "\n".join([
            f"Host {HOST} {self.path.address}",
            f"  HostName {self.path.address}",
            f"  Port {self.port}",
            f"  User {getpass.getuser()}",
            f"  IdentityFile {self.user_key}",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {self.state / 'known_hosts'}",
            "  GlobalKnownHostsFile none",
            f"  StrictHostKeyChecking {self.host_key_checking}",
            f"  Ciphers {CIPHER}",
            "",
        ])

    def remote(self, path: Path) -> str:
        """What the server calls a path."""
        return str(path)

    def as_named(self, task: Task) -> tuple[str, str]:
        """Source and target, each as the end that has it calls it."""
        if task.way == "up":
            return str(task.source), self.remote(task.into)
        return self.remote(task.source), str(task.into)

    def ends(self, task: Task) -> list[str]:
        """Source and target as scp and rsync write them."""
        source, into = self.as_named(task)
        return [source, f"{HOST}:{into}/"] if task.way == "up" else [f"{HOST}:{source}", f"{into}/"]
