#!/usr/bin/env python3
"""A judge: compiles and runs submissions in the sandboxes of `moat serve`. See README.md."""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

import submissions
from submissions import Submission

NS = 10**9
CPU = NS // 2
OUTPUT = 64 << 10
PROCESSES = 16

VERDICTS = {
    "Accepted": "OK",
    "Time Limit Exceeded": "TLE",
    "Memory Limit Exceeded": "MLE",
    "Output Limit Exceeded": "OLE",
    "Nonzero Exit Status": "RE",
    "Signalled": "RE",
}


class Connection(http.client.HTTPConnection):
    """Over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(300)
        self.sock.connect(self._path)


class Server:
    """`moat serve` with a number of sandboxes."""

    def __init__(self, sandboxes: int) -> None:
        self._dir = tempfile.TemporaryDirectory()
        self.path = os.path.join(self._dir.name, "http")
        program = [os.environ.get("MOAT", "moat"), "serve", "--unix", self.path, "--parallel", str(sandboxes), "--until-eof"]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin and self._process.stdout
        if not self._process.stdout.readline().startswith(b"ready"):
            raise SystemExit("moat serve does not start")

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._dir.cleanup()


class Worker:
    """One thread's connection to the server."""

    def __init__(self, path: str, clock: int) -> None:
        self._connection = Connection(path)
        self._clock = clock

    def _ask(self, method: str, url: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body)
        self._connection.request(method, url, data, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {text!r}")
        return text

    def _run(self, cmd: Dict[str, Any]) -> Dict[str, Any]:
        cmd.setdefault("files", [{"content": ""}, {"name": "stdout", "max": OUTPUT}, {"name": "stderr", "max": OUTPUT}])
        (result,) = json.loads(self._ask("POST", "/run", {"cmd": [cmd]}))
        if result["status"] == "Internal Error":
            raise RuntimeError(f"{cmd['args']}: {result['error']}")
        return result

    def _compile(self, s: Submission) -> Optional[str]:
        """The id of what is to be run, or None: it does not compile."""
        if s.language == "c":
            args = ["cc", "-O1", "-o", "program", "main.c"]
            source, program = "main.c", "program"
        else:
            args = ["python3", "-c", "compile(open('main.py').read(), 'main.py', 'exec')"]
            source, program = "main.py", "main.py"
        cmd = {
            "args": args,
            "cpuLimit": 60 * NS,
            "clockLimit": 300 * NS,
            "memoryLimit": 512 << 20,
            "copyIn": {source: {"content": s.source}},
            "copyOutCached": [program + "?"],
        }
        result = self._run(cmd)
        if result["status"] == "Accepted":
            return result["fileIds"][program]
        for number in result["fileIds"].values():
            self._ask("DELETE", "/file/" + number)
        return None

    def _test(self, s: Submission, program: str, given: str, wanted: str) -> str:
        result = self._run(
            {
                "args": ["./program"] if s.language == "c" else ["python3", "program"],
                "files": [{"content": given}, {"name": "stdout", "max": OUTPUT}, {"name": "stderr", "max": OUTPUT}],
                # Python starts slowly.
                "cpuLimit": CPU if s.language == "c" else 4 * CPU,
                "clockLimit": self._clock * NS,
                "memoryLimit": submissions.MEMORY,
                "procLimit": PROCESSES,
                "copyIn": {"program": {"fileId": program}},
            }
        )
        verdict = VERDICTS.get(result["status"], "?" + result["status"])
        if verdict == "OK" and result["files"]["stdout"].split() != wanted.split():
            verdict = "WA"
        return verdict

    def judge(self, s: Submission) -> str:
        program = self._compile(s)
        if program is None:
            return "CE"
        try:
            # The first test that fails decides.
            for given, wanted in s.problem.tests:
                verdict = self._test(s, program, given, wanted)
                if verdict != "OK":
                    return verdict
            return "OK"
        finally:
            self._ask("DELETE", "/file/" + program)

    def close(self) -> None:
        self._connection.close()


def judge_all(count: int, sandboxes: int, clock: int, verbose: bool) -> List[Tuple[Submission, str]]:
    server = Server(sandboxes)
    todo: "queue.SimpleQueue[Submission]" = queue.SimpleQueue()
    for s in submissions.make(count):
        todo.put(s)
    done: List[Tuple[Submission, str]] = []

    def work() -> None:
        worker = Worker(server.path, clock)
        while True:
            try:
                s = todo.get_nowait()
            except queue.Empty:
                break
            try:
                verdict = worker.judge(s)
            except Exception as e:  # a verdict that nobody expects
                verdict = f"error: {e}"
            done.append((s, verdict))
            if verbose:
                print(f"{s.number} {s.problem.name} {s.language}: {verdict}", flush=True)
        worker.close()

    threads = [threading.Thread(target=work) for _ in range(sandboxes)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    server.close()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--sandboxes", type=int, default=2)
    parser.add_argument("--clock", type=int, default=5, help="seconds of the clock that a program may take")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    start = time.monotonic()
    done = judge_all(options.submissions, options.sandboxes, options.clock, options.verbose)
    wrong = [(s, verdict) for s, verdict in done if verdict != s.expected]
    for s, verdict in wrong:
        print(f"submission {s.number} ({s.problem.name}, {s.language}): {verdict}, expected {s.expected}\n{s.source}")
    counts = collections.Counter(verdict for _, verdict in done)
    print(", ".join(f"{verdict} {n}" for verdict, n in sorted(counts.items())))
    print(f"{len(done)} submissions in {time.monotonic() - start:.1f} s, {len(wrong)} verdicts not as expected")
    sys.exit(len(wrong) > 0 or len(done) != options.submissions)


if __name__ == "__main__":
    main()
