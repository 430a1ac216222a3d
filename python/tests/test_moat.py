"""The package as programs use it. Needs $MOAT; no more than Python's own unittest."""

import asyncio
import errno
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "examples")]

import moat  # noqa: E402
from moat import _wire  # noqa: E402
from repl_session import Session  # noqa: E402


def numbers_in_proto():
    """{message: {field: number}} of control/moat.proto; fields of a oneof are the message's."""
    found, message = {}, None
    for line in (HERE.parents[2] / "control" / "moat.proto").read_text().splitlines():
        if m := re.match(r"message (\w+) \{", line):
            message = found.setdefault(m[1], {})
        elif m := re.match(r"\s+(?:repeated )?[\w.]+ (\w+) = (\d+)", line):
            message[m[1]] = int(m[2])
    return found


class Wire(unittest.TestCase):
    def test_fields_have_the_protocols_numbers(self):
        proto = numbers_in_proto()
        for message, schema in (("Request", _wire.REQUEST), ("Response", _wire.RESPONSE), ("Frame", _wire.FRAME)):
            ours = {name: number for name, (number, _) in schema.items()}
            self.assertEqual(ours, {name: proto[message].get(name) for name in ours})

    def test_what_is_encoded_is_decoded(self):
        request = {
            "id": 300,
            "descriptors": 0,
            "signal_process": {"id": "root", "pid": -5, "signal": 9, "delivery": 0},
        }
        data = _wire.encode(_wire.FRAME, {"request": request})
        self.assertEqual(_wire.decode(_wire.FRAME, data), {"request": request})

    def test_nonsense_is_refused(self):
        for data in (b"\x0a", b"\x0a\x05ab", b"\xff" * 11, b"\x0b", b"\x08\x01"):
            with self.assertRaises(_wire.ProtocolError):
                _wire.decode(_wire.FRAME, data)

    def test_unknown_fields_are_skipped(self):
        self.assertEqual(_wire.decode(_wire.NAME, b"\x50\x07\x5a\x01x\x61" + b"0" * 8)["id"], "")


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sb = moat.Sandbox(memory="512M", disk="32M")

    @classmethod
    def tearDownClass(cls):
        cls.sb.close()

    def test_result(self):
        r = self.sb.run(["python3", "-c", "print(6 * 7)"], timeout=60, memory="256M")
        self.assertEqual((r.status, r.exit_code, r.stdout, r.stderr), ("exited", 0, "42\n", ""))
        self.assertTrue(r.ok)
        self.assertGreater(r.wall_time, 0)
        r = self.sb.run(["sh", "-c", "echo no >&2; exit 3"])
        self.assertEqual((r.exit_code, r.stderr, r.ok), (3, "no\n", False))
        r = self.sb.run(["sh", "-c", "kill -TERM $$"])
        self.assertEqual((r.status, r.signal, r.exit_code), ("signalled", signal.SIGTERM, None))

    def test_input_and_environment(self):
        r = self.sb.run(["sh", "-c", "cat; echo $X; pwd"], input="in\n", env={"X": "y"}, cwd="/tmp")
        self.assertEqual(r.stdout, "in\ny\n/tmp\n")
        self.assertTrue(self.sb.run(["true"], input=b"x" * 1000000).ok)

    def test_limits(self):
        run = self.sb.run
        self.assertEqual(run(["sleep", "100"], timeout=0.1).status, "wall limit")
        self.assertEqual(run(["sh", "-c", "while :; do :; done"], cpu=0.1).status, "cpu limit")
        code = "a = []\nwhile 1: a.append('x' * 100000)"
        self.assertEqual(run(["python3", "-c", code], memory="64M").status, "memory limit")
        r = run(["yes"], output=1000)
        self.assertEqual((r.status, len(r.stdout_bytes), r.stdout_truncated), ("output limit", 1000, True))
        r = run(["sh", "-c", "ulimit -n; ulimit -f"], limits=moat.Limits(open_files=17, file_size=5120))
        self.assertEqual(r.stdout, "17\n10\n")

    def test_streaming(self):
        parts = []
        process = self.sb.start(["sh", "-c", "echo one; read x; echo two >&2"], stdin="pipe")

        def answer(stream, data):
            parts.append((stream, data))

        # The second part comes only after the first has been seen.
        self.assertEqual(process.stdout.read(4), b"one\n")
        r = process.communicate(b"go\n", answer)
        self.assertEqual(parts, [(2, b"two\n")])
        self.assertTrue(r.ok)

    def test_cancel_from_another_thread(self):
        process = self.sb.start(["sleep", "1000"])
        threading.Timer(0.1, process.cancel).start()
        self.assertEqual(process.communicate().status, "cancelled")
        process.cancel()

    def test_wait(self):
        process = self.sb.start(["sleep", "1000"], stdout=None, stderr=None)
        self.assertIsNone(process.wait(0.05))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait().signal, signal.SIGTERM)

    def test_errors(self):
        with self.assertRaises(FileNotFoundError) as caught:
            self.sb.run(["/no/such"])
        self.assertIn("/no/such", str(caught.exception))
        with self.assertRaises(PermissionError):
            self.sb.run(["/etc/passwd"])
        for bad in ("sh", []):
            with self.assertRaises(ValueError):
                self.sb.run(bad)
        with self.assertRaises(ValueError):
            self.sb.run(["true"], memory="lots")

    def test_many_threads(self):
        results = [None] * 16

        def one(i):
            results[i] = self.sb.run(["sh", "-c", f"echo {i}"]).stdout

        threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [f"{i}\n" for i in range(16)])

    def test_files(self):
        sb = self.sb
        sb.write_file("a/b.txt", "text")
        self.assertEqual(sb.read_file("/w/a/b.txt"), b"text")
        big = os.urandom(2500000)
        sb.write_file("big", big, 0o600)
        self.assertEqual(sb.read_file("big"), big)
        self.assertEqual(sb.run(["stat", "-c", "%a", "big"]).stdout, "600\n")
        with self.assertRaises(moat.Error) as caught:
            sb.read_file("big", max_size=100)
        self.assertEqual(caught.exception.errno, errno.EFBIG)
        sb.make_dir("c/d")
        self.assertTrue(any(e.name == "d" and e.is_dir for e in sb.list_files("c")))
        with tempfile.TemporaryDirectory() as d:
            source = pathlib.Path(d, "in")
            source.write_bytes(b"#!/bin/sh\necho ran\n")
            source.chmod(0o755)
            sb.copy_in(source, "script")
            self.assertEqual(sb.run(["/w/script"]).stdout, "ran\n")
            sb.copy_out("script", pathlib.Path(d, "out"))
            self.assertEqual(pathlib.Path(d, "out").read_bytes(), source.read_bytes())
        sb.delete("c", recursive=True)
        with self.assertRaises(FileNotFoundError):
            sb.list_files("c")

    def test_what_a_guest_leaves_leads_nowhere(self):
        self.sb.run(["sh", "-c", "cd /w; ln -s /etc/passwd l; mkfifo f; ln -s ../../../.. up"])
        for path, number in (("l", errno.ELOOP), ("f", errno.EINVAL), ("../etc/passwd", errno.EINVAL)):
            with self.assertRaises(moat.Error) as caught:
                self.sb.read_file(path)
            self.assertEqual(caught.exception.errno, number)
        with self.assertRaises(moat.Error):
            self.sb.write_file("up/tmp/../moat-test", "x")
        self.sb.write_file("up/tmp/inside", "x")
        self.assertFalse(os.path.exists("/tmp/inside"))
        self.assertEqual(self.sb.read_file("/tmp/inside"), b"x")


class Life(unittest.TestCase):
    def test_reset(self):
        with moat.Sandbox() as sb:
            sb.run(["sh", "-c", "echo x >/w/f; echo x >/tmp/f; setsid sleep 1000 >/dev/null 2>&1 &"])
            sb.reset()
            self.assertEqual(sb.list_files("/w") + sb.list_files("/tmp"), [])
            self.assertEqual(sb.run(["ps", "-C", "sleep", "-o", "pid="]).stdout, "")

    def test_closed(self):
        sb = moat.Sandbox()
        process = sb.start(["sleep", "1000"])
        sb.close()
        sb.close()
        with self.assertRaises(moat.SandboxGone):
            sb.ping()
        with self.assertRaises(moat.SandboxGone):
            process.communicate()

    def test_no_program(self):
        with self.assertRaises(FileNotFoundError):
            moat.Sandbox(moat="/no/such/moat")
        with self.assertRaises(moat.Error) as caught:
            moat.Sandbox(rootfs="/no/such/root")
        self.assertIn("/no/such/root", str(caught.exception))

    def test_nothing_is_leaked(self):
        with moat.Sandbox() as sb:
            sb.run(["true"])
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                sb.run(["true"], input="x")
                sb.run(["yes"], output=10)
                sb.start(["sleep", "1000"]).close()
                with self.assertRaises(moat.Error):
                    sb.run(["/no/such"])
            self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1)


class Async(unittest.TestCase):
    def test_programs_at_once(self):
        async def main():
            async with moat.AsyncSandbox() as sb:
                wait = "touch /tmp/{}; until [ -e /tmp/{} ]; do sleep 0.01; done; echo {}"
                runs = [sb.run(["sh", "-c", wait.format(i, (i + 1) % 8, i)]) for i in range(8)]
                self.assertEqual([r.stdout for r in await asyncio.gather(*runs)], [f"{i}\n" for i in range(8)])
                await sb.write_file("f", "x")
                self.assertEqual(await sb.read_file("f"), b"x")

        asyncio.run(main())

    def test_a_cancelled_task_kills_its_program(self):
        async def main():
            async with moat.AsyncSandbox() as sb:
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(sb.run(["sleep", "1000"]), 0.2)
                self.assertEqual((await sb.run(["ps", "-C", "sleep", "-o", "pid="])).stdout, "")

        asyncio.run(main())

    def test_stream(self):
        async def main():
            async with moat.AsyncSandbox() as sb:
                parts = [p async for p in sb.stream(["sh", "-c", "echo a; echo b >&2"])]
                self.assertTrue(parts.pop().ok)
                self.assertEqual(sorted(parts), [(1, b"a\n"), (2, b"b\n")])

        asyncio.run(main())


class ReplSession(unittest.TestCase):
    def test_names_are_kept_and_calls_interrupted(self):
        with moat.Sandbox() as sb, Session(sb) as session:
            self.assertIsNone(session.run("x = 6\nprint('set')").value)
            a = session.run("print('out'); x * 7")
            self.assertEqual((a.value, a.output, a.error), ("42", "out\n", None))
            self.assertIn("ZeroDivisionError", session.run("1 / 0").error)
            a = session.run("while True: pass", timeout=0.5)
            self.assertTrue(a.interrupted and not a.lost)
            self.assertIn("KeyboardInterrupt", a.error)
            self.assertEqual(session.run("x").value, "6")
            a = session.run("import os; os._exit(3)")
            self.assertTrue(a.lost)
            self.assertIn("NameError", session.run("x").error)


if __name__ == "__main__":
    unittest.main()
