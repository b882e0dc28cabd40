"""The SSH door of sft: what runs over OpenSSH's sshd with the same commands, run against `sft serve`."""

from dataclasses import replace
from pathlib import Path

from harness.paths import OpenPath
from harness.process import Server, run_quietly
from harness.sft import home
from harness.ssh import Ssh
from harness.tool import Tool

# The names of tools whose client is stock and whose server is sft, by their names against sshd.
DOORS = {name: f"{name} to sft" for name in ("scp", "sftp", "sftp, large requests", "rclone over sftp")}


class Door(Ssh):
    """An `sft serve` for clients of SSH, which lives as long as the `with` around it and serves `root` as `/`."""

    port = 1304
    # Its key is learnt at the first time; the first run of scp pays for it, with a line in a file.
    host_key_checking = "accept-new"

    def __init__(self, path: OpenPath, state: Path, root: Path, binary: Path):
        folder = state / "door"
        folder.mkdir()
        super().__init__(path, folder)
        self.root, self.binary = root, binary
        self.user_key = folder / ".ssh" / "id_ed25519"

    def __enter__(self) -> "Door":
        self.user_key.parent.mkdir(mode=0o700)
        run_quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.user_key)])
        authorized = self.user_key.parent / "authorized_keys"
        authorized.write_text(self.user_key.with_suffix(".pub").read_text())
        authorized.chmod(0o600)
        self.config.write_text(self.client_config())
        command = [str(self.binary), "serve", str(self.root), "--doors", "ssh", "--port", str(self.port),
                   "--bind", self.path.address, "--state", str(self.state / "server")]
        self.server = Server("sft serve, for SSH", self.path.server(), command, self.state / "serve.log", home(self.state))
        self.server.__enter__()
        self.server.wait_until_listening(self.port)
        return self

    def tools(self) -> list[Tool]:
        known = {tool.name: tool for tool in super().tools()}
        return [replace(known[name], name=to_us, kind="sft", by_name=True) for name, to_us in DOORS.items() if name in known]

    def remote(self, path: Path) -> str:
        return f"/{path.relative_to(self.root)}"
