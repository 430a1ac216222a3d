#!/usr/bin/env python3
"""Programs that are held when their connection ends never run, and leave nothing."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SOURCE"], "python"))
import moat  # noqa: E402
from moat import _wire  # noqa: E402

# What libmoat uses, and the package does not.
_wire.REQUEST["execute"][1]["hold"] = (5, "bool")
_wire.REQUEST["proceed"] = (35, {"id": (1, "str"), "pid": (2, "sint"), "veto": (3, "bool")})
# /proc/N of the first process and of the shell that looks.
LOOK = "ls /w; set -- /proc/[0-9]*; echo $#"


class Held(unittest.TestCase):
    def setUp(self):
        self.sb = moat.Sandbox()
        self.fds = [os.open("/dev/null", os.O_RDWR)] * 3

    def tearDown(self):
        self.sb.close()
        os.close(self.fds[0])

    def hold(self, connection, **limits):
        spec = {"args": ["touch", "/w/ran"], "env": ["PATH=/bin:/usr/bin"], "cwd": "/w", "uid": 65534, "gid": 65534}
        call = {"id": "root", "process": spec, "hold": True, **limits}
        return connection.call(self.fds, execute=call)["process"]["pid"]

    def until_alone(self):
        for _ in range(1000):
            if self.sb.run(["sh", "-c", LOOK]).stdout == "2\n":
                return
            time.sleep(0.02)
        self.fail(self.sb.run(["sh", "-c", LOOK]).stdout)

    def test_it_ends_with_its_connection(self):
        for limits in ({}, {"limits": {"processes": 5}}, {"bound": True}):
            connection = self.sb._master.take()
            for _ in range(3):
                self.hold(connection, **limits)
            self.assertEqual(self.sb.run(["sh", "-c", LOOK]).stdout, "5\n")
            connection.close()
            self.until_alone()

    def test_a_reset_meanwhile(self):
        for _ in range(10):
            connection = self.sb._master.take()
            self.hold(connection)
            connection.close()
            self.sb.reset()
            self.assertEqual(self.sb.run(["sh", "-c", LOOK]).stdout, "2\n")

    def test_what_is_not_held_does_not_proceed(self):
        connection = self.sb._master.take()
        pid = self.hold(connection)
        for wrong in (0, -1, 1, pid + 1, 1 << 30):
            with self.assertRaises(moat.Error) as e:
                connection.call(proceed={"id": "root", "pid": wrong})
            self.assertEqual(e.exception.errno, 3)
        connection.call(proceed={"id": "root", "pid": pid})
        with self.assertRaises(moat.Error):
            connection.call(proceed={"id": "root", "pid": pid})
        connection.call(wait_pid={"id": "root", "pid": pid})
        self.assertEqual(self.sb.list_files()[0].name, "ran")
        connection.close()

    def test_the_sandbox_may_end_meanwhile(self):
        connection = self.sb._master.take()
        self.hold(connection)
        self.sb.close()
        connection.close()


if __name__ == "__main__":
    unittest.main()
