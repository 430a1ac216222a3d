#!/usr/bin/env python3
"""moat pool: sandboxes that wait, for C and Python, bounded, in order, gone with their clients."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SOURCE"], "python"))
import moat  # noqa: E402

MOAT = os.environ["MOAT"]


class Pool(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.dir.name, "pool")
        self.daemon = None

    def tearDown(self):
        if self.daemon:
            self.daemon.terminate()
            self.assertEqual(self.daemon.wait(60), 0)
            self.daemon.stdout.close()
            self.assertFalse(os.path.exists(self.socket))
        self.dir.cleanup()

    def start(self, *flags):
        argv = [MOAT, "pool", "--socket", self.socket, *flags]
        self.daemon = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
        self.assertTrue(self.daemon.stdout.readline().startswith(b"ready"))

    def ask(self, *what):
        argv = [MOAT, "pool", "--socket", self.socket, *what]
        return subprocess.run(argv, stdout=subprocess.PIPE, timeout=60).stdout.decode()

    def status(self):
        return json.loads(self.ask("status"))

    def until(self, **wanted):
        """Waits until the status is so; the test's own time limit ends it if it never is."""
        while True:
            status = self.status()
            if all(status[k] == v for k, v in wanted.items()):
                return status
            time.sleep(0.02)

    def test_each_client_has_its_own_and_the_pool_is_refilled(self):
        self.start("--size", "2", "--memory", "512M", "--disk", "32M")
        self.until(ready=2)
        with moat.Sandbox(pool=self.socket) as a, moat.Sandbox(pool=self.socket) as b:
            a.write_file("f", "a's")
            self.assertEqual(b.list_files(), [])
            self.assertEqual(b.run(["echo", "hi"]).stdout, "hi\n")
            self.until(ready=2, taken=2)
        self.until(ready=2, taken=0)

    def test_there_are_no_more_than_the_maximum_and_clients_wait_in_order(self):
        self.start("--size", "1", "--max", "2")
        first = [moat.Sandbox(pool=self.socket) for _ in range(2)]
        got = []

        def take(i):
            with moat.Sandbox(pool=self.socket) as sb:
                got.append(i)
                sb.run(["true"])

        threads = []
        for i in range(3):
            threads.append(threading.Thread(target=take, args=(i,)))
            threads[i].start()
            self.until(waiting=i + 1)
        self.assertEqual(self.status()["taken"], 2)
        # One place is free at a time: whoever comes next has waited for the one before.
        first[0].close()
        for t in threads:
            t.join()
        self.assertEqual(got, [0, 1, 2])
        first[1].close()

    def test_resize_and_drain(self):
        self.start("--size", "1")
        self.until(ready=1)
        self.ask("resize", "3")
        self.until(ready=3)
        self.ask("resize", "0")
        self.until(ready=0, taken=0)
        with moat.Sandbox(pool=self.socket) as sb:
            self.ask("drain")
            self.assertTrue(sb.run(["true"]).ok)
            with self.assertRaises(moat.Error) as caught:
                moat.Sandbox(pool=self.socket)
            self.assertIn("drained", str(caught.exception))

    def test_one_that_dies_while_it_waits_is_replaced(self):
        self.start("--size", "1")
        self.until(ready=1)
        children = pathlib.Path(f"/proc/{self.daemon.pid}/task").glob("*/children")
        helpers = [int(pid) for c in children for pid in c.read_text().split()]
        self.assertEqual(len(helpers), 1)
        os.kill(helpers[0], signal.SIGKILL)
        self.until(ready=1, started=2)
        with moat.Sandbox(pool=self.socket) as sb:
            self.assertTrue(sb.run(["true"]).ok)

    def test_what_cannot_start_is_told_to_who_asks(self):
        self.start("--rootfs", "/no/such/root", "--size", "0")
        with self.assertRaises(moat.Error) as caught:
            moat.Sandbox(pool=self.socket)
        self.assertIn("/no/such/root", str(caught.exception))

    def test_a_second_daemon_is_refused(self):
        self.start("--size", "0")
        argv = [MOAT, "pool", "--socket", self.socket]
        second = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertIn(b"in use", second.stderr)
        self.assertEqual(self.status()["size"], 0)

    def test_clients_survive_the_daemon(self):
        self.start("--size", "1")
        sb = moat.Sandbox(pool=self.socket)
        self.daemon.terminate()
        self.assertEqual(self.daemon.wait(60), 0)
        self.daemon.stdout.close()
        self.daemon = None
        self.assertTrue(sb.run(["true"]).ok)
        sb.close()

    def test_the_library_takes_from_it(self):
        test = os.path.join(os.environ["BUILD"], "lib_api_test")
        self.start("--size", "2", "--memory", "512M", "--disk", "32M")
        subprocess.run([test], env={**os.environ, "MOAT_POOL": self.socket}, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main()
