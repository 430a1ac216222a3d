#!/usr/bin/env python3
"""moat-serve, asked as go-judge's clients ask."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

SERVE = os.path.join(os.environ["BUILD"], "moat-serve")
if not os.path.exists(SERVE):
    print("built without libmicrohttpd")
    sys.exit(77)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.socket = os.path.join(cls.dir.name, "http")
        cls.server = cls.start("--unix", cls.socket, "--parallel", "2", "--store", "8", "--sessions", "3")

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        status = cls.server.wait(120)
        cls.server.stdout.close()
        left = os.path.exists(cls.socket)
        cls.dir.cleanup()
        assert status == 0 and not left

    @staticmethod
    def start(*flags):
        server = subprocess.Popen([SERVE, *flags], stdout=subprocess.PIPE)
        assert server.stdout.readline().startswith(b"ready")
        return server

    def ask(self, method, url, body=None, headers=None, connection=None):
        c = connection or UnixConnection(self.socket)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        c.request(method, url, data, headers or ({"Content-Type": "application/json"} if data else {}))
        answer = c.getresponse()
        text = answer.read()
        c.close()
        return answer.status, text

    def run_one(self, **cmd):
        cmd.setdefault(
            "files",
            [{"content": cmd.pop("stdin", "")}, {"name": "stdout", "max": 10240}, {"name": "stderr", "max": 10240}],
        )
        cmd.setdefault("cpuLimit", 20 * 10**9)
        cmd.setdefault("clockLimit", 60 * 10**9)
        status, text = self.ask("POST", "/run", {"cmd": [cmd]})
        self.assertEqual(status, 200, text)
        (result,) = json.loads(text)
        return result

    def shell(self, script, **cmd):
        return self.run_one(args=["sh", "-c", script], **cmd)

    def test_verdicts(self):
        r = self.shell("cat; echo err >&2", stdin="in\n")
        self.assertEqual((r["status"], r["exitStatus"], r["files"]), ("Accepted", 0, {"stdout": "in\n", "stderr": "err\n"}))
        self.assertGreater(r["runTime"], 0)
        r = self.shell("exit 3")
        self.assertEqual((r["status"], r["exitStatus"]), ("Nonzero Exit Status", 3))
        r = self.shell("kill -SEGV $$")
        self.assertEqual((r["status"], r["exitStatus"]), ("Signalled", 11))
        r = self.shell("while :; do :; done", cpuLimit=2 * 10**8)
        self.assertEqual(r["status"], "Time Limit Exceeded")
        self.assertGreaterEqual(r["time"], 2 * 10**8)
        self.assertEqual(self.shell("sleep 1000", clockLimit=2 * 10**8)["status"], "Time Limit Exceeded")
        r = self.run_one(args=["python3", "-c", "a = []\nwhile 1: a.append('x' * 100000)"], memoryLimit=64 << 20)
        self.assertEqual(r["status"], "Memory Limit Exceeded")
        r = self.shell("head -c 20000 /dev/zero | tr '\\0' x")
        self.assertEqual((r["status"], len(r["files"]["stdout"])), ("Output Limit Exceeded", 10240))
        self.assertEqual(self.shell("yes")["status"], "Output Limit Exceeded")
        r = self.run_one(args=["/no/such"])
        self.assertEqual(r["status"], "Internal Error")
        self.assertIn("/no/such", r["error"])

    def test_files_are_copied_and_kept(self):
        script = "#!/bin/sh\necho ran\n"
        r = self.shell("cp in out; ./in", copyIn={"in": {"content": script}}, copyOut=["out", "none?"], copyOutCached=["out"])
        self.assertEqual((r["status"], r["files"]["out"], r["files"]["stdout"]), ("Accepted", script, "ran\n"))
        number = r["fileIds"]["out"]
        self.assertEqual(json.loads(self.ask("GET", "/file")[1])[number], "out")
        self.assertEqual(self.ask("GET", "/file/" + number), (200, script.encode()))
        r = self.shell("./again", copyIn={"again": {"fileId": number}})
        self.assertEqual(r["files"]["stdout"], "ran\n")
        self.assertEqual(self.ask("DELETE", "/file/" + number)[0], 200)
        self.assertEqual(self.ask("GET", "/file/" + number)[0], 404)
        self.assertEqual(self.ask("DELETE", "/file/" + number)[0], 404)

    def test_file_errors(self):
        r = self.shell("true", copyOut=["none"])
        self.assertEqual((r["status"], r["fileError"][0]["name"]), ("File Error", "none"))
        r = self.shell("ln -s /etc/passwd link; head -c 5000 /dev/zero >big", copyOut=["link", "big"], copyOutMax=1000)
        types = {e["name"]: e["type"] for e in r["fileError"]}
        self.assertEqual(types, {"link": "CopyOutOpen", "big": "CopyOutSizeExceeded"})
        r = self.shell("head -c 9000000 /dev/zero >big", copyOutCached=["big"])
        self.assertEqual(r["fileError"][0]["type"], "CopyOutCreate")
        for bad in ({"src": "/etc/passwd"}, {"fileId": "none"}, {}):
            self.assertEqual(self.shell("true", copyIn={"x": bad})["status"], "Internal Error")

    def test_the_next_run_finds_a_fresh_world(self):
        for _ in range(4):
            self.shell("echo x >/w/f; echo x >/tmp/f; setsid sleep 1000 >/dev/null 2>&1 &")
            r = self.shell("ls -A /w /tmp; ps -C sleep -o pid=; echo end")
            self.assertEqual(r["files"]["stdout"], "/tmp:\n\n/w:\nend\n")

    def test_many_at_once(self):
        results = [None] * 8

        def one(i):
            results[i] = self.shell(f"echo {i}")["files"]["stdout"]

        threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [f"{i}\n" for i in range(8)])

    def group(self, commands, mapping, wanted=200):
        for cmd in commands:
            cmd.setdefault("cpuLimit", 20 * 10**9)
            cmd.setdefault("clockLimit", 60 * 10**9)
        status, text = self.ask("POST", "/run", {"cmd": commands, "pipeMapping": mapping})
        self.assertEqual(status, wanted, text)
        return json.loads(text)

    @staticmethod
    def command(script, *files, **more):
        return {"args": ["sh", "-c", script], "files": list(files), **more}

    def test_commands_are_connected_by_pipes(self):
        out = {"name": "stdout", "max": 10240}
        # An interactive problem: each waits for what the other says.
        judge = self.command("echo 20; read n; echo $n >&2; test $n = 40", None, None, {"name": "stderr", "max": 100})
        player = self.command("read n; echo $((n * 2))", None, None, out)
        both = [{"in": {"index": 0, "fd": 1}, "out": {"index": 1, "fd": 0}},
                {"in": {"index": 1, "fd": 1}, "out": {"index": 0, "fd": 0}}]
        a, b = self.group([judge, player], both)
        self.assertEqual((a["status"], a["files"], b["status"]), ("Accepted", {"stderr": "40\n"}, "Accepted"))
        # More than a pipe holds; the end is seen.
        one = [{"in": {"index": 0, "fd": 1}, "out": {"index": 1, "fd": 0}}]
        a, b = self.group([self.command("head -c 300000 /dev/zero"), self.command("wc -c", None, out)], one)
        self.assertEqual((a["status"], b["files"]["stdout"]), ("Accepted", "300000\n"))
        # Who writes to somebody who has ended is told.
        a, b = self.group([self.command("exec yes"), self.command("read x; echo $x", None, out)], one)
        self.assertEqual((a["status"], a["exitStatus"], b["files"]["stdout"]), ("Signalled", 13, "y\n"))
        # A program that cannot be run does not hold up the other.
        a, b = self.group([{"args": ["/no/such"]}, self.command("cat; echo end", None, out)], one)
        self.assertEqual((a["status"], b["files"]["stdout"]), ("Internal Error", "end\n"))

    def test_what_passes_a_pipe_can_be_kept(self):
        proxy = {"in": {"index": 0, "fd": 1}, "out": {"index": 1, "fd": 0}, "proxy": True, "name": "said", "max": 5}
        a, b = self.group([self.command("echo hello world"), self.command("cat", None, {"name": "stdout", "max": 100})], [proxy])
        self.assertEqual((a["files"]["said"], b["files"]["stdout"]), ("hello", "hello world\n"))
        # It is read to its end, though nobody reads any more.
        a, b = self.group([self.command("head -c 300000 /dev/zero"), self.command("true")], [{**proxy, "name": None}])
        self.assertEqual((a["status"], b["status"]), ("Accepted", "Accepted"))

    def test_bad_mappings(self):
        two = [self.command("true"), self.command("true")]
        good = {"in": {"index": 0, "fd": 1}, "out": {"index": 1, "fd": 0}}
        for bad in ({**good, "in": {"index": 2, "fd": 1}}, {**good, "out": {"index": -1, "fd": 0}}, {"in": good["in"]},
                    {**good, "in": {"index": 0, "fd": 16}}, {**good, "in": 7}):
            self.group(two, [bad], 400)
        self.group(two, [good, good], 400)
        self.group([self.command("true", None, {"name": "stdout"}), self.command("true")], [good], 400)
        self.group(two + two, [good], 400)  # two sandboxes

    def test_descriptors_beyond_the_three(self):
        r = self.shell("cat <&3; echo five >&5; echo $(cat <&4)", files=[
            None, {"name": "out", "max": 100}, None, {"content": "three\n"}, None, {"name": "fd5", "max": 100}])
        self.assertEqual((r["status"], r["files"]), ("Accepted", {"out": "three\n\n", "fd5": "five\n"}))
        r = self.shell("echo x >&3", files=[None, {"name": "out"}, {"name": "err"}, {"content": "read only"}])
        self.assertEqual(r["status"], "Nonzero Exit Status")
        r = self.shell("yes >&3 & sleep 0.2; exit 0", files=[None, None, None, {"name": "much", "max": 100}])
        self.assertEqual((r["status"], len(r["files"]["much"])), ("Output Limit Exceeded", 100))

    def test_a_terminal(self):
        r = self.shell("tty -s && read x; echo got $x", tty=True, files=[{"content": "typed\n"}, {"name": "out", "max": 100}])
        self.assertEqual((r["status"], r["files"]), ("Accepted", {"out": "typed\r\ngot typed\r\n"}))

    def test_bad_requests(self):
        for body in (b"no json", b"[]", b"{}", {"cmd": []}, {"cmd": [{}]}, {"cmd": [{"args": []}]}, {"cmd": [{"args": "sh"}]},
                     {"cmd": [{"args": ["a\0b"]}]}, {"cmd": [{"args": ["a"], "env": [1]}]},
                     {"cmd": [{"args": ["a"], "tty": True, "files": [None, None, {"name": "err"}]}]}, {"cmd": [{"args": ["a"], "files": [{"src": "/etc/passwd"}]}]},
                     {"cmd": [{"args": ["a"], "files": [None] * 17}]}, {"cmd": [{"args": ["a"]}], "pipeMapping": [{}]},
                     {"cmd": [{"args": ["a"], "files": {}}]}, {"cmd": [{"args": ["a"], "files": [{"streamIn": True}]}]},
                     {"cmd": [{"args": ["a"], "files": [None, {"content": ""}]}]}):
            status, text = self.ask("POST", "/run", body)
            self.assertEqual(status, 400, (body, text))
        self.assertEqual(self.ask("POST", "/run", b"{}", {"Content-Type": "text/plain"})[0], 415)
        self.assertEqual(self.ask("GET", "/run")[0], 405)
        self.assertEqual(self.ask("GET", "/nosuch")[0], 404)
        self.assertEqual(self.ask("PUT", "/file")[0], 405)

    def session(self, method, rest, body=None):
        status, text = self.ask(method, "/sandbox" + rest, body)
        return status, json.loads(text) if text.startswith(b"{") else text

    def test_a_client_holds_sandboxes(self):
        status, made = self.session("POST", "", {})
        self.assertEqual(status, 200)
        base = "/" + made["id"]
        status, r = self.session("POST", base + "/run", {"args": ["sh", "-c", "cat >f; cat f; echo e >&2"], "input": "AP8K"})
        self.assertEqual((status, r["status"], r["exitCode"], r["stdout"], r["stderr"]), (200, "exited", 0, "AP8K", "ZQo="))
        self.assertEqual(self.session("GET", base + "/file?path=/w/f"), (200, b"\0\xff\n"))
        self.assertEqual(self.session("PUT", base + "/file?path=/w/d/g", b"data")[0], 200)
        self.assertEqual(json.loads(self.session("GET", base + "/tree?path=/w/d")[1])[0]["name"], "g")
        self.assertEqual(self.session("DELETE", base + "/tree?path=/w/d"), (200, {}))
        status, r = self.session("GET", base + "/file?path=/w/d/g")
        self.assertEqual((status, r["code"]), (404, "ENOENT"))
        self.assertEqual(self.session("POST", base + "/reset", {}), (200, {}))
        self.assertEqual(self.session("GET", base + "/tree"), (200, b"[]"))
        # The fourth is the one too many, and this one makes place.
        others = [self.session("POST", "", {})[1]["id"] for _ in range(2)]
        self.assertEqual(self.session("POST", "", {})[0], 503)
        self.assertEqual(self.session("DELETE", base), (200, {}))
        self.assertEqual(self.session("POST", base + "/run", {"args": ["true"]})[0], 410)
        for other in others:
            self.assertEqual(self.session("DELETE", "/" + other), (200, {}))
        self.assertIn(b"moat_sessions 0", self.ask("GET", "/metrics")[1])

    def test_bad_requests_to_sandboxes(self):
        base = "/" + self.session("POST", "", {})[1]["id"]
        for method, rest, body, wanted in (
            ("POST", base + "/run", b"no json", 400), ("POST", base + "/run", {}, 400),
            ("POST", base + "/run", {"args": []}, 400), ("POST", base + "/run", {"args": ["a"], "input": "x"}, 400),
            ("POST", base + "/run", {"args": ["a"], "input": "===="}, 400),
            ("POST", base + "/run", {"args": ["a"], "cwd": 1}, 400), ("POST", base + "/run", {"args": ["/no/such"]}, 404),
            ("GET", base + "/run", None, 405), ("GET", base, None, 405), ("GET", "", None, 405),
            ("GET", base + "/file", None, 400), ("GET", base + "/file?path=/w/../etc/passwd", None, 400),
            ("GET", base + "/nosuch", None, 404), ("DELETE", base + "/tree", None, 405),
            ("DELETE", base[:-1], None, 410), ("POST", "/x/run", {"args": ["a"]}, 410), ("DELETE", "/", None, 410)):
            status, answer = self.session(method, rest, body)
            self.assertEqual(status, wanted, (method, rest, body, answer))
            self.assertIn("error", answer)
        self.assertEqual(self.ask("POST", "/sandbox", b"{}", {"Content-Type": "text/plain"})[0], 415)
        self.session("DELETE", base)

    def test_the_page_asks_for_what_there_is(self):
        """Its script runs over a document that page.js makes, against this server."""
        status, text = self.ask("GET", "/")
        page = text.decode()
        self.assertEqual(status, 200)
        self.assertTrue(page.startswith("<!DOCTYPE html>"))
        self.assertNotIn("http:", page)
        node = shutil.which("node")
        if not node:
            return
        script = os.path.join(os.environ["SOURCE"], "tests/lib/page.js")
        done = subprocess.run([node, script, self.socket], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout.decode())

    def test_what_it_says_of_itself(self):
        self.assertIn("moat", json.loads(self.ask("GET", "/version")[1])["buildVersion"])
        self.assertEqual(json.loads(self.ask("GET", "/config")[1])["parallelism"], 2)
        self.assertIn(b"moat_runs_total", self.ask("GET", "/metrics")[1])


class Access(unittest.TestCase):
    def test_it_ends_with_its_input(self):
        with tempfile.TemporaryDirectory() as d:
            server = subprocess.Popen([SERVE, "--unix", os.path.join(d, "http"), "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            with server.stdout:
                self.assertTrue(server.stdout.readline().startswith(b"ready"))
                self.assertIsNone(server.poll())
                server.stdin.close()
                self.assertEqual(server.wait(120), 0)

    def test_beyond_loopback_it_wants_a_token(self):
        refused = subprocess.run([SERVE, "--listen", "0.0.0.0:0"], stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"--token-file", refused.stderr)

    def test_the_token_is_asked_for(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "token")
            with open(path, "w") as f:
                f.write("secret\n")
            where = os.path.join(d, "http")
            server = Serve.start("--unix", where, "--token-file", path)
            try:
                self.assertEqual(os.stat(where).st_mode & 0o777, 0o600)
                for header, wanted in (("Bearer secret", 200), ("Bearer secres", 401), ("secret", 401), (None, 401)):
                    c = UnixConnection(where)
                    c.request("GET", "/version", headers={"Authorization": header} if header else {})
                    self.assertEqual(c.getresponse().status, wanted)
                    c.close()
                c = UnixConnection(where)
                c.request("GET", "/")
                answer = c.getresponse()
                self.assertEqual((answer.status, b"secret" in answer.read()), (200, False))
                self.assertIn("frame-ancestors 'none'", answer.headers["Content-Security-Policy"])
                c.close()
            finally:
                server.terminate()
                server.wait(120)
                server.stdout.close()


if __name__ == "__main__":
    unittest.main()
