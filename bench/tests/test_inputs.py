"""Inputs are the same on every machine, made once, and a copy that differs is noticed."""

import shutil
import tempfile
import unittest
from pathlib import Path

from harness.inputs import MIB, large, mixed, mixed_sizes, small
from harness.profile import profiles, shrunk


class Inputs(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)

    def test_an_input_is_made_once_and_is_the_same_anywhere(self):
        first = small(20, 5).get(self.place)
        before = first.path.stat().st_mtime_ns
        self.assertEqual(small(20, 5).get(self.place).path.stat().st_mtime_ns, before)
        (self.place / "other").mkdir()
        other = small(20, 5).get(self.place / "other")
        self.assertTrue(first.is_copied_to(other.path, thoroughly=True))
        self.assertEqual((first.amount, first.unit, first.bytes), (20, "files/s", 20 * 4096))

    def test_what_was_half_made_is_made_anew(self):
        (self.place / "large-1m").mkdir()
        (self.place / "large-1m" / "rest").touch()
        made = large(MIB).get(self.place)
        self.assertEqual((made.bytes, made.entries, made.is_file), (MIB, 1, True))

    def test_a_copy_that_lacks_or_differs_is_noticed(self):
        made = small(20, 5).get(self.place)
        copy = self.place / "copy"
        shutil.copytree(made.path, copy)
        self.assertTrue(made.is_copied_to(copy, thoroughly=True))
        (copy / "d0001" / "f0002").write_bytes(b"x" * 4096)
        self.assertTrue(made.is_copied_to(copy, thoroughly=False))
        self.assertFalse(made.is_copied_to(copy, thoroughly=True))
        (copy / "d0001" / "f0002").unlink()
        self.assertFalse(made.is_copied_to(copy, thoroughly=False))
        self.assertFalse(made.is_copied_to(self.place / "nothing", thoroughly=False))

    def test_mixed_sizes_repeat_and_reach_both_ends(self):
        sizes = mixed_sizes(500, 1 << 30)
        self.assertEqual(sizes, mixed_sizes(500, 1 << 30))
        self.assertEqual((min(sizes), max(sizes), len(sizes)), (1, 1 << 30, 500))
        self.assertTrue(16 << 10 < sorted(sizes)[250] < 64 << 10)
        self.assertEqual(mixed(10, MIB).get(self.place).entries, 10)

    def test_every_profile_can_be_shrunk(self):
        for profile in profiles().values():
            for group in profile.groups:
                self.assertEqual(shrunk(group).rounds, 1, profile.name)
                self.assertNotEqual(shrunk(group).recipe.name, "tree")


if __name__ == "__main__":
    unittest.main()
