"""What the harness reads from the kernel, from the emulator and from apt."""

import unittest

from harness.paths import Sent, all_paths, counters_in
from harness.process import TICKS, cpu_in, ports_in
from harness.tree import newest

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1200      12    0    0    0     0          0         0     1200      12    0    0    0     0       0          0
  wan0: 5000000    4000    0    0    0     0          0         0    70000    1000    0    0    0     0       0          0
"""
NET_TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:0517 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
"""


class Parsing(unittest.TestCase):
    def test_counters_are_received_and_sent_bytes(self):
        self.assertEqual(counters_in(NET_DEV), {"lo": (1200, 1200), "wan0": (5_000_000, 70_000)})

    def test_only_listeners_count_as_open(self):
        self.assertEqual(ports_in(NET_TCP), {2222})

    def test_processor_time_survives_a_name_with_spaces_and_brackets(self):
        stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 200 0 0 " + "30 20 4 6 20 0 1 0 99 1 1"
        self.assertEqual(cpu_in(stat), 60 / TICKS)

    def test_the_emulators_last_two_lines_are_summed(self):
        log = ("a->b: packets=1 bytes=1 lost=1 queue_dropped=1 write_failed=0 max_queue_bytes=0\n"
               "b->a: packets=1 bytes=1 lost=1 queue_dropped=1 write_failed=0 max_queue_bytes=0\n"
               "a->b: packets=10 bytes=500 lost=2 queue_dropped=1 write_failed=0 max_queue_bytes=9\n"
               "b->a: packets=100 bytes=150000 lost=3 queue_dropped=4 write_failed=0 max_queue_bytes=9\n")
        after = Sent.parse(log)
        self.assertEqual(after, Sent(150_500, 110, 5, 5))
        self.assertEqual(after.since(Sent(500, 10, 5, 0)), Sent(150_000, 100, 0, 5))

    def test_versions_of_a_kernel_are_numbers_not_words(self):
        self.assertEqual(newest("linux-source-6.1 - old\nlinux-source-6.12 - new\nlinux-source-6.2 - x\nlinux-source - meta\n"),
                         "linux-source-6.12")

    def test_the_limit_of_a_path_is_what_tcp_can_carry(self):
        paths = all_paths()
        self.assertAlmostEqual(paths["100ms-1pct-200M"].limit_mb_s, 25 * 0.955 * 0.99)
        self.assertIsNone(paths["loopback"].limit_mb_s)
        self.assertIsNone(paths["100ms-0.1pct-200M-halved"].limit_mb_s)
        self.assertEqual(paths["40ms-1pct-500M-no-udp"].title, "40 ms, 1 % loss, 500 Mbit/s, UDP blocked")


if __name__ == "__main__":
    unittest.main()
