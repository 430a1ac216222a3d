#!/usr/bin/env python3
"""A Python session that lives in a sandbox: names are kept from call to call, as in a notebook.

    with moat.Sandbox() as sb, Session(sb) as session:
        session.run("x = 6")
        print(session.run("x * 7").value)       # 42

A call that takes too long is interrupted as by Ctrl-C, and the session goes on; if that does not
help, it is killed, and the next call begins a new one. Run as a program, it is a small REPL.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, List, Optional

import moat

# Runs inside: requests come by descriptor 3, answers go to 4, one JSON object a line, so that the
# code's own output stays apart.
DRIVER = r"""
import ast, json, sys, traceback, signal
requests, answers = open(3, "r"), open(4, "w")
names = {"__name__": "__main__"}
sys.stdout.reconfigure(line_buffering=True)
signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in requests:
    value = error = None
    try:
        tree = ast.parse(json.loads(line)["code"], "<session>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        exec(compile(tree, "<session>", "exec"), names)
        if last:
            result = eval(compile(ast.Expression(last.value), "<session>", "eval"), names)
            value = None if result is None else repr(result)
    except SystemExit as e:
        error = "SystemExit: %s" % e
    except BaseException:
        kind, e, tb = sys.exc_info()
        error = "".join(traceback.format_exception(kind, e, tb and tb.tb_next))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.flush()
    sys.stderr.flush()
    print(json.dumps({"value": value, "error": error}), file=answers, flush=True)
"""


@dataclass
class Answer:
    value: Optional[str]  # of the last expression, as repr() has it
    error: Optional[str]  # a traceback
    output: str  # what the code has printed
    interrupted: bool
    lost: bool  # the session had to be ended: its names are gone


class Session:
    def __init__(self, sandbox: moat.Sandbox, memory: str = "512M") -> None:
        self._sandbox = sandbox
        self._limits = moat.Limits(memory=memory, processes=64)
        self._process: Optional[moat.Process] = None
        self._requests: Optional[BinaryIO] = None
        self._answers = -1
        self._output = -1

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self._process:
            self._process.close()
            self._process = None
        if self._requests:
            self._requests.close()
            self._requests = None
        for fd in (self._answers, self._output):
            if fd >= 0:
                os.close(fd)
        self._answers = self._output = -1

    def _start(self) -> None:
        request_reader, request_writer = os.pipe()
        self._answers, answer_writer = os.pipe()
        self._output, output_writer = os.pipe()
        self._requests = os.fdopen(request_writer, "wb", 0)
        try:
            self._process = self._sandbox.start(
                ["python3", "-c", DRIVER],
                stdout=output_writer,
                stderr=output_writer,
                extra_fds=[request_reader, answer_writer],
                limits=self._limits,
            )
        finally:
            for fd in (request_reader, answer_writer, output_writer):
                os.close(fd)
        os.set_blocking(self._output, False)

    def run(self, code: str, timeout: float = 30.0, grace: float = 5.0) -> Answer:
        if not self._process:
            self._start()
        assert self._process and self._requests
        self._requests.write(json.dumps({"code": code}).encode() + b"\n")
        output: List[bytes] = []
        line = self._wait(output, timeout)
        interrupted = line is None
        if interrupted:
            # Again and again: code may catch it.
            end = time.monotonic() + grace
            while line is None and time.monotonic() < end:
                self._process.send_signal(signal.SIGINT)
                line = self._wait(output, 0.2)
        self._drain(output)
        text = b"".join(output).decode(errors="replace")
        if not line:
            result = self._process.wait(0)
            self.close()
            why = result.status if result and result.status != "exited" else "the session has ended"
            return Answer(None, why, text, interrupted, True)
        answer = json.loads(line)
        return Answer(answer["value"], answer["error"], text, interrupted, False)

    def _drain(self, output: List[bytes]) -> bool:
        try:
            part = os.read(self._output, 65536)
        except BlockingIOError:
            return True
        output.append(part)
        return bool(part)

    def _wait(self, output: List[bytes], timeout: float) -> Optional[bytes]:
        """The line of the answer; None when it does not come in time, empty when it never will."""
        end = time.monotonic() + timeout
        line = b""
        fds = [self._answers, self._output]
        while not line.endswith(b"\n"):
            ready = select.select(fds, [], [], max(0.0, end - time.monotonic()))[0]
            if not ready:
                return None
            if self._output in ready and not self._drain(output):
                fds.remove(self._output)
            if self._answers in ready:
                part = os.read(self._answers, 65536)
                if not part:
                    return b""
                line += part
        while self._output in fds and select.select([self._output], [], [], 0)[0]:
            if not self._drain(output):
                break
        return line


def main() -> None:
    with moat.Sandbox(memory="1G") as sandbox, Session(sandbox) as session:
        while True:
            try:
                code = input(">>> " if sys.stdin.isatty() else "")
            except EOFError:
                break
            answer = session.run(code)
            sys.stdout.write(answer.output)
            if answer.error or answer.value:
                print(answer.error or answer.value)


if __name__ == "__main__":
    main()
