"""That every tool asks for its server when it is measured, and not before: servers are started anew between runs."""

import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

from harness import plain, qcp
from harness.door import Door
from harness.sft import Sft
from harness.ssh import Ssh


class Tools(unittest.TestCase):
    def test_each_finds_a_server_that_was_started_anew(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        here = Path(folder.name)
        servers = [plain.Pipe(Mock(), here, here), plain.RsyncDaemon(Mock(), here, here), plain.Nginx(Mock(), here, here),
                   Ssh(Mock(), here), Sft(Mock(), here, here, here), Door(Mock(), here, here, here)]
        for server in servers:
            self.assert_finds(server, server.tools())
        ssh = Ssh(Mock(), here)
        self.assert_finds(ssh, qcp.tools(Mock(), ssh))

    def assert_finds(self, server, tools) -> None:
        for pid in 1, 2:
            server.server = SimpleNamespace(pid=pid)
            self.assertEqual({tool.server_pid() for tool in tools}, {pid}, tools[0].name)


if __name__ == "__main__":
    unittest.main()
