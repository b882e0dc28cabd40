"""What goes without ssh: cp, a plain TCP pipe, the rsync daemon, and curl from nginx over TLS 1.3."""

import sys
from pathlib import Path

from harness.packages import find
from harness.paths import OpenPath
from harness.process import Server, run_quietly
from harness.tool import Task, Tool

PIPE_PORT = 4000
RSYNC_PORT = 8730
NGINX_PORT = 8443


def cp() -> list[Tool]:
    """What this machine can do without a network."""
    return [Tool("cp", "limit", lambda task: ["cp", "-r", str(task.source), str(task.into)], ways=("local",),
                 only_on="loopback")]


class Pipe:
    """A server that takes or gives a file or a tar stream over plain TCP (pipe.py): no encryption, no checks."""

    def __init__(self, path: OpenPath, state: Path, root: Path):
        self.path, self.state = path, state
        self.program = [sys.executable, str(Path(__file__).with_name("pipe.py"))]

    def __enter__(self) -> "Pipe":
        command = [*self.program, "serve", self.path.address, str(PIPE_PORT)]
        self.server = Server("the TCP pipe", self.path.server(), command, self.state / "pipe.log")
        self.server.__enter__()
        self.server.wait_until_listening(PIPE_PORT)
        return self

    def __exit__(self, *_) -> None:
        self.server.__exit__()

    def tools(self) -> list[Tool]:
        return [Tool("TCP pipe in clear", "limit", self.command, lambda: self.server.pid, tcp=True)]

    def command(self, task: Task) -> list[str]:
        return [*self.program, task.way, self.path.address, str(PIPE_PORT), str(task.source), str(task.into)]


class RsyncDaemon:
    """rsync as a daemon, in clear."""

    def __init__(self, path: OpenPath, state: Path, root: Path):
        self.path, self.state, self.root = path, state, root

    def __enter__(self) -> "RsyncDaemon":
        config = self.state / "rsyncd.conf"
        config.write_text("\n".join([
            f"pid file = {self.state / 'rsyncd.pid'}", "use chroot = no", "reverse lookup = no", "uid = 0", "gid = 0",
            "[bench]", f"  path = {self.root}", "  read only = no", ""]))
        command = ["rsync", "--daemon", "--no-detach", f"--config={config}", f"--address={self.path.address}",
                   f"--port={RSYNC_PORT}"]
        self.server = Server("rsync --daemon", self.path.server(), command, self.state / "rsyncd.log")
        self.server.__enter__()
        self.server.wait_until_listening(RSYNC_PORT)
        return self

    def __exit__(self, *_) -> None:
        self.server.__exit__()

    def tools(self) -> list[Tool]:
        return [Tool("rsync daemon in clear", "rival", self.command, lambda: self.server.pid, tcp=True, repeats=True)]

    def command(self, task: Task) -> list[str]:
        def remote(path: Path) -> str:
            return f"rsync://{self.path.address}:{RSYNC_PORT}/bench/{path.relative_to(self.root)}"

        if task.way == "up":
            return ["rsync", "-a", str(task.source), f"{remote(task.into)}/"]
        return ["rsync", "-a", remote(task.source), f"{task.into}/"]


class Nginx:
    """nginx over TLS 1.3, for curl to download from. Files only: curl brings no trees."""

    def __init__(self, path: OpenPath, state: Path, root: Path):
        self.path, self.state, self.root = path, state, root
        self.certificate = state / "nginx.crt"

    def __enter__(self) -> "Nginx":
        run_quietly(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-days", "2", "-subj", "/CN=bench", "-addext", f"subjectAltName=IP:{self.path.address}",
                     "-keyout", str(self.state / "nginx.key"), "-out", str(self.certificate)])
        config = self.state / "nginx.conf"
        config.write_text(self.config())
        command = [find("nginx"), "-c", str(config), "-e", str(self.state / "nginx-error.log")]
        self.server = Server("nginx", self.path.server(), command, self.state / "nginx.log")
        self.server.__enter__()
        self.server.wait_until_listening(NGINX_PORT)
        return self

    def __exit__(self, *_) -> None:
        self.server.__exit__()

    def tools(self) -> list[Tool]:
        return [Tool("curl from nginx, TLS", "rival", self.command, lambda: self.server.pid, ways=("down",), tcp=True,
                     files_only=True)]

    def command(self, task: Task) -> list[str]:
        url = f"https://{self.path.address}:{NGINX_PORT}/{task.source.relative_to(self.root)}"
        return ["curl", "-sS", "--fail", "--tlsv1.3", "--cacert", str(self.certificate), "-o", str(task.copy), url]

    def config(self) -> str:
        temporary = "\n".join(f"  {kind}_temp_path {self.state / kind};"
                              for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""
daemon off;
user root;
worker_processes auto;
pid {self.state / 'nginx.pid'};
events {{ }}
http {{
  access_log off;
{temporary}
  sendfile on;
  tcp_nopush on;
  output_buffers 4 512k;
  server {{
    listen {self.path.address}:{NGINX_PORT} ssl;
    ssl_certificate {self.certificate};
    ssl_certificate_key {self.state / 'nginx.key'};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    root {self.root};
  }}
}}
"""
