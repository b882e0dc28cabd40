"""Flame graphs: what is left of a stack, and what is drawn of many."""

import unittest
import xml.etree.ElementTree as tree

from harness import flame


class Flame(unittest.TestCase):
    def test_symbols_lose_their_hash_and_their_object(self):
        self.assertEqual(flame.plain("sft_base::digest::node_cv::h0123456789abcdef (/usr/bin/sft)"), "sft_base::digest::node_cv")
        self.assertEqual(flame.plain("vfs_write+0x1f ([kernel.kallsyms])"), "vfs_write")

    def test_plumbing_goes_and_the_kernel_is_cut(self):
        stack = ["_start", "std::rt::lang_start", "sft_engine::send", "sft_engine::send", "__x64_sys_write", "a", "b", "c", "d"]
        self.assertEqual(flame.shortened(stack), ["sft_engine::send", "__x64_sys_write", "a", "b", "c"])

    def test_boxes_are_as_wide_as_their_share_and_trifles_are_left_out(self):
        stacks = {("sender", "sft_base::hash"): 250, ("receiver", "vfs_write", "<odd>"): 749, ("receiver", "trifle"): 1}
        picture = tree.fromstring(flame.draw(stacks, "a & b"))
        boxes = {group[0].text: float(group[1].get("width")) for group in picture if group.tag.endswith("}g")}
        self.assertEqual(boxes["sender: 25.0 %"], flame.WIDTH * 0.25)
        self.assertEqual(boxes["<odd>: 74.9 %"], flame.WIDTH * 0.749)
        self.assertNotIn("trifle: 0.1 %", boxes)


if __name__ == "__main__":
    unittest.main()
