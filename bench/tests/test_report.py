"""From runs to figures, tables and pictures; and that an interrupted benchmark loses nothing."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

from harness import plot, report
from harness.choice import Choice
from harness.figures import cases
from harness.results import Key, Results

COST = {"seconds": 2.0, "sync_s": 0.5, "client_cpu_s": 1.0, "client_peak_bytes": 5_000_000, "server_cpu_s": 0.5,
        "server_peak_bytes": 7_000_000, "wire_bytes": 105_000_000, "received_bytes": 104_000_000, "packets": 1000,
        "lost_packets": 10, "dropped_packets": 5, "samples": [0, 5_000_000, 12_000_000, 12_000_000], "stopped": False}
LOOPBACK = {"title": "loopback", "rate_mbit": 0, "limit_mb_s": None, "halved_s": None}
FAR = {"title": "100 ms", "rate_mbit": 1000, "limit_mb_s": 100.0, "halved_s": [0.1, 0.2]}
BIG = {"title": "One file", "unit": "MB/s", "bytes": 100_000_000, "entries": 1}


def key_of(tool: str, way: str = "up", path: str = "loopback", kernel: str = "", again: bool = False) -> dict:
    return {"path": path, "input": "large", "way": way, "tool": tool, "kernel": kernel, "again": again}


class Reports(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        about = {"profile": "quick", "begun": "2026-11-23T00:00:00+00:00", "machine": "a machine", "versions": ["sft 1"],
                 "skipped": ["lftp is not here"]}
        self.results = Results.begin(Path(self.place.name, "one"), about)
        self.results.write({"paths": {"loopback": LOOPBACK, "far": FAR}})
        self.results.write({"inputs": {"large": BIG}})
        self.results.write({"tools": {"cp": {"kind": "limit", "durable": False}, "scp": {"kind": "rival", "durable": False},
                                      "sft": {"kind": "sft", "durable": True}}})

    def add(self, key: dict, **cost):
        self.results.write({"key": key, "run": COST | cost})

    def rows(self, number: int = 0) -> dict:
        return {row.label: row for row in cases(self.results)[number].rows}

    def test_rates_are_medians_and_ratios_are_of_rates(self):
        for seconds in (1.0, 4.0, 2.0):
            self.add(key_of("sft"), seconds=seconds, sync_s=0.0)
        self.add(key_of("scp"), seconds=10.0)
        rows = self.rows()
        self.assertEqual(rows["sft"].value, 50.0)
        self.assertEqual(rows["sft"].ratios, {"scp": 5.0})
        self.assertEqual((rows["sft"].client_cpu, rows["sft"].server_cpu), (10.0, 5.0))
        self.assertAlmostEqual(rows["scp"].synced, 100 / 10.5)
        self.assertEqual(rows["scp"].wire, 1.05)

    def test_the_limit_of_loopback_is_cp_with_its_sync(self):
        self.add(key_of("cp", "local"), seconds=1.5, sync_s=0.5)
        self.add(key_of("sft"), seconds=2.5, sync_s=0.0)
        case = cases(self.results)[0]
        self.assertEqual((case.limit, case.limit_name), (50.0, "cp and sync"))
        self.assertAlmostEqual(self.rows()["sft"].of_limit, 0.8)

    def test_what_was_stopped_counts_what_had_arrived(self):
        self.add(key_of("scp", path="far", kernel="cubic"), seconds=10.0, stopped=True, received_bytes=10_471_519)
        row = self.rows()["scp, cubic"]
        self.assertTrue(row.stopped)
        self.assertAlmostEqual(row.value, 1.0, places=4)
        self.assertIsNone(row.wire)

    def test_again_is_told_in_seconds_of_which_less_is_better(self):
        self.add(key_of("sft", again=True), seconds=0.5)
        self.add(key_of("scp", again=True), seconds=1.5)
        case = cases(self.results)[0]
        self.assertEqual((case.unit, case.less_is_better), ("s", True))
        self.assertEqual(self.rows()["sft"].ratios, {"scp": 3.0})

    def test_a_benchmark_goes_on_where_it_was_cut_short(self):
        self.add(key_of("sft"))
        with open(self.results.folder / "runs.jsonl", "a") as file:
            file.write('{"key": {"path": "loop')
        found = Results.load(self.results.folder)
        self.assertEqual(found.runs, self.results.runs)
        self.assertEqual(found.about, self.results.about)
        key = Key(**key_of("sft"))
        self.assertTrue(found.is_enough(key, 1, 60))
        self.assertFalse(found.is_enough(key, 2, 60))
        self.assertTrue(found.is_enough(key, 2, 1), "slow ones run once")

    def test_everything_is_written_and_every_picture_is_xml(self):
        self.add(key_of("cp", "local"))
        self.add(key_of("sft"))
        for tool in ("sft", "scp"):
            self.add(key_of(tool, "down", "far", "cubic" if tool == "scp" else ""))
        self.results.fail("scp <fell> over & out")
        text = report.write(self.results).read_text()
        self.assertIn("| **sft** | 50.0 | 40.0 | 1.00 |  | yes |", text)
        self.assertIn("| scp, cubic | 50.0 | 40.0 | 0.40 | 1.00 × | no |", text)
        self.assertIn("**Failed:** scp <fell> over & out", text)
        self.assertIn("Left out: lftp is not here", text)
        pictures = sorted(path.name for path in self.results.folder.glob("*.svg"))
        self.assertEqual(pictures, ["far-large-down-over-time.svg", "far-large-down.svg", "loopback-large-up.svg"])
        for name in pictures:
            self.assertIn(f"({name})", text)
            xml.parse(self.results.folder / name)
        told = json.loads((self.results.folder / "report.json").read_text())
        self.assertEqual([case["unit"] for case in told["cases"]], ["MB/s", "MB/s"])

    def test_scales_end_at_round_numbers(self):
        self.assertEqual([plot.nice(value) for value in (0.11, 61, 119, 1000)], [0.12, 80, 120, 1000])
        self.assertEqual(plot.smooth([0, 300_000, 600_000]), [1.5, 3.0, 4.5])


class Choices(unittest.TestCase):
    def takes(self, only: list[str], without: list[str] = [], **key) -> bool:
        return Choice(only, without, None, False).takes(Key(**(key_of("sft") | key)))

    def test_sft_is_one_tool_and_other_words_are_families(self):
        self.assertTrue(self.takes(["sft"]))
        self.assertFalse(self.takes(["sft"], tool="sft, QUIC alone"))
        self.assertTrue(self.takes(["QUIC"], tool="sft, QUIC alone"))
        self.assertTrue(self.takes(["rsync", "scp"], tool="rsync daemon in clear"))
        self.assertFalse(self.takes([], ["rsync"], tool="rsync over ssh"))

    def test_kinds_go_together_and_what_has_no_kernel_is_in(self):
        self.assertTrue(self.takes(["down", "bbr", "large"], way="down", input="large-1024m", kernel="bbr"))
        self.assertFalse(self.takes(["down", "bbr"], way="down", kernel="cubic"))
        self.assertTrue(self.takes(["down", "bbr"], way="down"))
        self.assertFalse(self.takes(["small"], input="large-8m"))


if __name__ == "__main__":
    unittest.main()
