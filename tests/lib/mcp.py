#!/usr/bin/env python3
"""moat mcp, spoken to by a client of its own: what agents send, what they must not be able to break."""

import json
import os
import queue
import subprocess
import threading
import unittest

MOAT = os.environ["MOAT"]
WAIT = 120


class Client:
    def __init__(self, version="2025-06-18", *flags):
        self.server = subprocess.Popen([MOAT, "mcp", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answers = {}
        self.incoming = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.last = 0
        if version:
            client = {"name": "test", "version": "1"}
            params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
            self.info = self.request("initialize", params)
            self.notify("notifications/initialized")

    def read(self):
        for line in self.server.stdout:
            self.incoming.put(json.loads(line))
        self.incoming.put(None)

    def send_raw(self, text):
        self.server.stdin.write(text.encode() + b"\n")
        self.server.stdin.flush()

    def send(self, message):
        self.send_raw(json.dumps({"jsonrpc": "2.0", **message}))

    def notify(self, method, params=None):
        self.send({"method": method, **({"params": params} if params else {})})

    def begin(self, method, params=None):
        self.last += 1
        self.send({"id": self.last, "method": method, **({"params": params} if params is not None else {})})
        return self.last

    def next(self):
        message = self.incoming.get(timeout=WAIT)
        assert message and message["jsonrpc"] == "2.0", message
        assert ("result" in message) != ("error" in message), message
        return message

    def answer(self, number):
        while number not in self.answers:
            message = self.next()
            self.answers[message["id"]] = message
        return self.answers.pop(number)

    def request(self, method, params=None):
        message = self.answer(self.begin(method, params))
        return message["result"] if "result" in message else message["error"]

    def tool(self, name, **arguments):
        result = self.request("tools/call", {"name": name, "arguments": arguments})
        assert all(c["type"] == "text" for c in result["content"]), result
        return result

    def text(self, name, **arguments):
        result = self.tool(name, **arguments)
        assert not result["isError"], result
        return result["content"][0]["text"]

    def close(self):
        self.server.stdin.close()
        status = self.server.wait(WAIT)
        self.reader.join(WAIT)
        self.server.stdout.close()
        return status


class Protocol(unittest.TestCase):
    def test_versions(self):
        for asked, answered in (
            ("2025-06-18", "2025-06-18"),
            ("2025-03-26", "2025-03-26"),
            ("2024-11-05", "2024-11-05"),
            ("1999-01-01", "2025-06-18"),
        ):
            c = Client(asked)
            self.assertEqual(c.info["protocolVersion"], answered)
            self.assertEqual(c.info["serverInfo"]["name"], "moat")
            self.assertIn("tools", c.info["capabilities"])
            # Older clients know text only.
            result = c.tool("run_shell", command="echo hi")
            self.assertEqual("structuredContent" in result, answered == "2025-06-18")
            self.assertEqual(c.close(), 0)

    def test_tools_have_schemas(self):
        c = Client()
        tools = {t["name"]: t for t in c.request("tools/list")["tools"]}
        names = {"run_python", "run_shell", "read_file", "write_file", "list_files", "reset"}
        self.assertEqual(set(tools), names)
        for t in tools.values():
            self.assertTrue(t["description"])
            self.assertEqual(t["inputSchema"]["type"], "object")
            self.assertLessEqual(set(t["inputSchema"]["required"]), set(t["inputSchema"]["properties"]))
        c.close()

    def test_errors_have_their_codes(self):
        c = Client(None)
        self.assertEqual(c.request("tools/list")["code"], -32600)
        self.assertEqual(c.request("ping"), {})
        c.request("initialize", {"protocolVersion": "2025-06-18"})
        self.assertEqual(c.request("no/such")["code"], -32601)
        self.assertEqual(c.request("tools/call", {"name": "no_such"})["code"], -32602)
        self.assertEqual(c.request("tools/call", {})["code"], -32602)
        self.assertEqual(c.request("tools/call")["code"], -32602)
        for raw, code in (
            ("no json", -32700),
            ("[]", -32600),
            ("3", -32600),
            ('{"id": 1, "method": "ping"}', -32600),
            ('{"jsonrpc": "2.0", "id": {}, "method": "ping"}', -32600),
            ('{"jsonrpc": "2.0", "id": 77}', -32600),
        ):
            c.send_raw(raw)
            self.assertEqual(c.next()["error"]["code"], code, raw)
        # Notifications are never answered, known or not.
        c.notify("notifications/unknown")
        c.notify("notifications/cancelled", {"requestId": 12345})
        c.send_raw("")
        self.assertEqual(c.request("ping"), {})
        c.send({"id": "text", "method": "ping"})
        self.assertEqual(c.next()["id"], "text")
        c.close()

    def test_bad_arguments_are_told_to_the_model(self):
        c = Client()
        for name, arguments in (
            ("run_python", {}),
            ("run_python", {"code": 3}),
            ("run_shell", {"command": "a\0b"}),
            ("read_file", {"path": "../etc/passwd"}),
            ("read_file", {"path": "none"}),
            ("write_file", {"path": "x"}),
            ("write_file", {"path": "/usr/x", "content": "x"}),
            ("list_files", {"path": "/none"}),
        ):
            result = c.tool(name, **arguments)
            self.assertTrue(result["isError"], (name, arguments))
            self.assertTrue(result["content"][0]["text"])
        message = c.request("tools/call", {"name": "run_python", "arguments": "text"})
        self.assertTrue(message["isError"])
        c.close()

    def test_cancelled_calls_end_without_an_answer(self):
        c = Client()
        number = c.begin("tools/call", {"name": "run_shell", "arguments": {"command": "sleep 1000"}})
        self.assertEqual(c.request("ping"), {})
        c.notify("notifications/cancelled", {"requestId": number})
        script = "while ps -C sleep -o args= | grep -q 1000; do sleep 0.01; done; echo gone"
        self.assertEqual(c.text("run_shell", command=script), "gone\n")
        self.assertNotIn(number, c.answers)
        c.close()

    def test_a_client_that_leaves_takes_everything_along(self):
        c = Client()
        c.begin("tools/call", {"name": "run_shell", "arguments": {"command": "sleep 1000"}})
        self.assertEqual(c.close(), 0)


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = Client("2025-06-18", "--memory", "256M", "--disk", "32M", "--output", "10K")

    @classmethod
    def tearDownClass(cls):
        cls.c.close()

    def test_python(self):
        self.assertEqual(self.c.text("run_python", code="print(6 * 7)"), "42\n")
        self.assertEqual(self.c.text("run_python", code="print(input())", stdin="hi\n"), "hi\n")
        r = self.c.tool("run_python", code="1 / 0")
        self.assertTrue(r["isError"])
        self.assertIn("ZeroDivisionError", r["content"][0]["text"])
        self.assertEqual(r["structuredContent"]["exit_code"], 1)

    def test_shell(self):
        r = self.c.tool("run_shell", command="echo out; echo err >&2; exit 3")
        self.assertEqual(r["content"][0]["text"], "out\n[stderr]\nerr\n[exit code 3]\n")
        r = self.c.tool("run_shell", command="printf 'a\\377b\\000c'")
        self.assertEqual(r["structuredContent"]["stdout"], "a\ufffdb\0c")

    def test_limits(self):
        r = self.c.tool("run_shell", command="echo first; sleep 1000", timeout=0.3)
        self.assertEqual(r["structuredContent"]["status"], "wall limit")
        self.assertIn("first\n", r["content"][0]["text"])
        code = "a = []\nwhile 1: a.append('x' * 100000)"
        r = self.c.tool("run_python", code=code)
        self.assertEqual(r["structuredContent"]["status"], "memory limit")
        r = self.c.tool("run_shell", command="head -c 20000 /dev/zero | tr '\\0' x")
        self.assertTrue(r["structuredContent"]["stdout_truncated"])
        self.assertIn("[output was cut here]", r["content"][0]["text"])
        self.assertEqual(self.c.tool("run_shell", command="yes")["structuredContent"]["status"], "output limit")

    def test_files_and_reset(self):
        c = self.c
        c.text("write_file", path="d/note.txt", content="h\u00e9\n")
        self.assertEqual(c.text("read_file", path="/w/d/note.txt"), "h\u00e9\n")
        self.assertEqual(c.text("run_shell", command="cat d/note.txt"), "h\u00e9\n")
        self.assertEqual(c.text("list_files", path="d"), "note.txt\t4\n")
        entries = c.tool("list_files")["structuredContent"]["entries"]
        self.assertIn({"name": "d", "type": "directory"}, [{k: e[k] for k in ("name", "type")} for e in entries])
        c.text("reset")
        self.assertEqual(c.text("list_files"), "")

    def test_there_is_no_network_and_no_home(self):
        script = "ls /home /root 2>/dev/null; ls /sys/class/net | wc -l; id -un"
        r = self.c.text("run_shell", command=script)
        self.assertEqual(r.split()[-1], "nobody")
        r = self.c.tool("run_python", code="import socket; socket.create_connection(('192.0.2.1', 80), 5)")
        self.assertTrue(r["isError"])


if __name__ == "__main__":
    unittest.main()
