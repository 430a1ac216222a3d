#!/usr/bin/env python3
"""Programs whose input and output are streamed over moat-serve's WebSockets."""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SERVE = os.path.join(os.environ["BUILD"], "moat-serve")
if not os.path.exists(SERVE):
    print("built without libmicrohttpd")
    sys.exit(77)
REQUEST, RESIZE, INPUT, CANCEL = b"\1", b"\2", b"\3\0", b"\4"


class Refused(Exception):
    pass


class WebSocket:
    def __init__(self, path, url, **headers):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(path)
        head = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(), **headers}
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in head.items() if v is not None)
        self.sock.sendall(f"GET {url} HTTP/1.1\r\n{lines}\r\n".encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            part = self.sock.recv(65536)
            if not part:
                raise Refused("closed")
            self.data += part
        answer, self.data = self.data.split(b"\r\n\r\n", 1)
        self.head = answer.decode()
        if " 101 " not in self.head:
            self.sock.close()
            raise Refused(self.head.split("\r\n")[0])

    def close(self):
        self.sock.close()

    def frame(self, payload, op=2, last=True, mask=b"\x12\x34\x56\x78"):
        n = len(payload)
        length = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
        masked = bytes(c ^ mask[i % 4] for i, c in enumerate(payload))
        return bytes([(0x80 if last else 0) | op]) + length + mask + masked

    def send(self, payload, **how):
        self.sock.sendall(self.frame(payload, **how))

    def take(self, n):
        while len(self.data) < n:
            part = self.sock.recv(65536)
            if not part:
                raise EOFError
            self.data += part
        out, self.data = self.data[:n], self.data[n:]
        return out

    def receive(self):
        op, n = self.take(2)
        if n == 126:
            (n,) = struct.unpack(">H", self.take(2))
        elif n == 127:
            (n,) = struct.unpack(">Q", self.take(8))
        return op & 15, self.take(n)

    def until(self, text):
        seen = b""
        while text not in seen:
            op, payload = self.receive()
            assert op == 2 and payload[0] == 2, (op, payload, seen)
            seen += payload[2:]
        return seen

    def rest(self):
        """All output by descriptor, and the answer; then it is closed."""
        out, answer = {1: b"", 2: b""}, None
        while True:
            op, payload = self.receive()
            if op == 8:
                self.close()
                return out, answer
            assert op == 2 and answer is None, (op, payload)
            if payload[0] == 1:
                answer = json.loads(payload[1:])
            else:
                out[payload[1]] += payload[2:]


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.path = os.path.join(cls.dir.name, "http")
        cls.server = subprocess.Popen([SERVE, "--unix", cls.path, "--parallel", "1"], stdout=subprocess.PIPE)
        assert cls.server.stdout.readline().startswith(b"ready")

    @classmethod
    def tearDownClass(cls):
        # One that is still served does not hold it up.
        left = cls.start(cls, "sleep 1000")
        cls.server.terminate()
        assert cls.server.wait(120) == 0
        left.close()
        cls.server.stdout.close()
        cls.dir.cleanup()

    def start(self, script, files=({"streamIn": True}, {"streamOut": True}, {"streamOut": True}), **more):
        ws = WebSocket(self.path, "/stream")
        cmd = {"args": ["sh", "-c", script], "files": list(files), "cpuLimit": 20 * 10**9, "clockLimit": 60 * 10**9, **more}
        ws.send(REQUEST + json.dumps({"cmd": [cmd]}).encode())
        return ws

    def test_input_and_output_are_streamed(self):
        ws = self.start("echo ready; while read x; do echo got $x; echo err $x >&2; done; echo end; exit 3")
        self.assertIn("Sec-WebSocket-Accept: BACScCJPNqyz+UBoqMH89VmURoA=", ws.head)
        ws.until(b"ready\n")
        ws.send(INPUT + b"one\n")
        self.assertEqual(ws.until(b"err one\n").count(b"got one\n"), 1)
        ws.send(INPUT)
        out, answer = ws.rest()
        self.assertEqual(out[1], b"end\n")
        (r,) = answer["results"]
        self.assertEqual((r["status"], r["exitStatus"]), ("Nonzero Exit Status", 3))

    def test_much_goes_through(self):
        ws = self.start("cat")
        data = os.urandom(1 << 20)
        ws.sock.setblocking(True)
        pid = os.fork()
        if not pid:
            # The other side of the same socket.
            for i in range(0, len(data), 70000):
                ws.send(INPUT + data[i : i + 70000])
            ws.send(INPUT)
            os._exit(0)
        out, answer = ws.rest()
        os.waitpid(pid, 0)
        self.assertEqual(answer["results"][0]["status"], "Accepted")
        self.assertEqual(out[1], data)

    def test_a_terminal_has_a_size(self):
        ws = self.start("stty -echo; trap 'stty size' WINCH; echo ready; while :; do read line && eval \"$line\"; done",
                        files=[{"streamIn": True}, {"streamOut": True}], tty=True)
        ws.until(b"ready\r\n")
        ws.send(RESIZE + b'{"rows": 33, "cols": 44}')
        # The trap runs when the read is over; until the size has come it is another.
        deadline = time.monotonic() + 60
        seen = b""
        while b"33 44" not in seen and time.monotonic() < deadline:
            ws.send(INPUT + b"stty size\n")
            seen += ws.until(b"\n")
        self.assertIn(b"33 44", seen)
        ws.send(INPUT + b"exit 5\n")
        _, answer = ws.rest()
        self.assertEqual(answer["results"][0]["exitStatus"], 5)

    def test_it_can_be_cancelled(self):
        ws = self.start("echo on; trap '' TERM INT; while :; do sleep 0.1; done")
        ws.until(b"on\n")
        ws.send(CANCEL)
        _, answer = ws.rest()
        self.assertEqual(answer["results"][0]["status"], "Signalled")

    def test_who_hangs_up_cancels(self):
        ws = self.start("echo on; sleep 1000")
        ws.until(b"on\n")
        ws.close()
        # There is but one sandbox.
        out, _ = self.start("echo next").rest()
        self.assertEqual(out[1], b"next\n")

    def test_output_is_limited(self):
        ws = self.start("exec yes")
        out, answer = ws.rest()
        self.assertEqual(answer["results"][0]["status"], "Output Limit Exceeded")
        self.assertLess(len(out[1]), 11 << 20)

    def test_limits_and_files_are_those_of_run(self):
        _, answer = self.start("sleep 1000", clockLimit=200000000).rest()
        self.assertEqual(answer["results"][0]["status"], "Time Limit Exceeded")
        out, answer = self.start("cat in; echo x >out", copyIn={"in": {"content": "text"}}, copyOut=["out"],
                                 files=[None, {"name": "stdout", "max": 100}, {"streamOut": True}]).rest()
        self.assertEqual((out[1], answer["results"][0]["files"]), (b"", {"stdout": "text", "out": "x\n"}))
        _, answer = self.start("x", args=["/no/such"]).rest()
        self.assertEqual(answer["results"][0]["status"], "Internal Error")

    def test_a_session_streams(self):
        c = WebSocketSession(self.path)
        ws = WebSocket(self.path, f"/sandbox/{c.id}/stream")
        ws.send(REQUEST + json.dumps({"args": ["sh", "-c", "tty; stty size"], "terminal": {"rows": 5, "cols": 6}}).encode())
        out, r = ws.rest()
        self.assertEqual((out[1].split(b"\r\n")[1], r["status"], r["exitCode"]), (b"5 6", "exited", 0))
        ws = WebSocket(self.path, f"/sandbox/{c.id}/stream")
        ws.send(REQUEST + json.dumps({"args": ["cat"], "input": "aGk="}).encode())
        ws.until(b"hi")
        ws.send(CANCEL)
        self.assertEqual(ws.rest()[1]["status"], "cancelled")
        ws = WebSocket(self.path, f"/sandbox/{c.id}/stream")
        ws.send(REQUEST + json.dumps({"args": ["yes"], "output": 1000}).encode())
        self.assertEqual(ws.rest()[1]["status"], "output limit")
        for body, code in (({"args": []}, "EINVAL"), ({"args": ["/no/such"]}, "ENOENT")):
            ws = WebSocket(self.path, f"/sandbox/{c.id}/stream")
            ws.send(REQUEST + json.dumps(body).encode())
            self.assertEqual(ws.rest()[1]["code"], code)
        ws = WebSocket(self.path, "/sandbox/nosuch/stream")
        ws.send(REQUEST + b'{"args": ["true"]}')
        self.assertEqual(ws.rest()[1]["code"], "EPIPE")

    def test_messages_may_come_in_parts(self):
        ws = WebSocket(self.path, "/stream")
        request = REQUEST + json.dumps({"cmd": [{"args": ["cat"], "files": [{"streamIn": True}, {"streamOut": True}]}]}).encode()
        for i, c in enumerate(ws.frame(request[:9], last=False) + ws.frame(b"ping", op=9) + ws.frame(request[9:], op=0)):
            ws.sock.sendall(bytes([c]))
            if i % 16 == 0:
                time.sleep(0.001)
        self.assertEqual(ws.receive(), (10, b"ping"))
        ws.send(INPUT + b"x" * 200)
        ws.send(INPUT)
        self.assertEqual(ws.rest()[0][1], b"x" * 200)

    def test_nonsense_ends_it(self):
        good = REQUEST + json.dumps({"cmd": [{"args": ["sleep", "1000"], "clockLimit": 600 * 10**9}]}).encode()
        ws = WebSocket(self.path, "/stream")
        frame = ws.frame
        for data in (frame(b""), frame(b"\1no json"), frame(b"\7"), b"\x82\1x", b"\xf2" + frame(b"x")[1:], frame(b"x", op=3), frame(b"x", op=0),
                     b"\x82\xff" + b"\xff" * 8 + b"mask", frame(b"x" * 126, op=9), frame(good) + frame(b"\7"), frame(good) + frame(b"\3"),
                     frame(good) + frame(b"\3\x10x"), frame(good) + frame(b"", op=8), frame(good[:9], last=False) + frame(b"x")):
            ws.sock.sendall(data)
            try:
                while True:
                    ws.receive()
            except (EOFError, ConnectionResetError):
                ws.close()
            ws = WebSocket(self.path, "/stream")
        ws.close()
        for wrong in ({"cmd": []}, {"cmd": [{"args": ["a"]}] * 2}, {"cmd": [{"args": []}]}, [],
                      {"cmd": [{"args": ["a"], "files": [{"streamOut": True}]}]},
                      {"cmd": [{"args": ["a"], "files": [None, {"streamIn": True}]}]}):
            ws = WebSocket(self.path, "/stream")
            ws.send(REQUEST + json.dumps(wrong).encode())
            self.assertIn("error", ws.rest()[1])

    def test_who_may_connect(self):
        for headers in ({"Upgrade": None}, {"Upgrade": "h2c"}, {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "x"},
                        {"Origin": "http://evil.example"}, {"Origin": "null"}):
            with self.assertRaises(Refused):
                WebSocket(self.path, "/stream", **headers)
        WebSocket(self.path, "/stream", Origin="http://localhost").close()


class WebSocketSession:
    def __init__(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"POST /sandbox HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            answer = b""
            while part := s.recv(4096):
                answer += part
        self.id = json.loads(answer.split(b"\r\n\r\n", 1)[1])["id"]


if __name__ == "__main__":
    unittest.main()
