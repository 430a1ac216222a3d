"""Connections to a sandbox: the one that it ends with, and further ones, one for each call."""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from typing import Any, Dict, List, Optional, Sequence, Set

from . import _wire
from .errors import Error, SandboxGone, make_error

ROOT = "root"
START_SECONDS = 60
# Nothing of an answer waits for a guest.
ANSWER_SECONDS = 60


def wait_for(readers: Sequence[int], writers: Sequence[int], timeout: Optional[float]) -> Set[int]:
    """Those that something can be done with (an error is something); none after this many seconds.
    Descriptors of any number, as select() would not take them."""
    poll = select.poll()
    for fd in readers:
        poll.register(fd, select.POLLIN)
    for fd in writers:
        poll.register(fd, select.POLLOUT)
    return {fd for fd, _ in poll.poll(None if timeout is None else math.ceil(timeout * 1000))}


class Connection:
    """One thread's at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._last_id = 0
        self._buffer = b""
        self._greeted = False
        self.broken = False
        self._send(_wire.pack({"hello": {"version": _wire.VERSION}}), ())

    def close(self) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        try:
            if fds:
                sent = socket.send_fds(self._sock, [data], list(fds), socket.MSG_NOSIGNAL)
                data = data[sent:]
            self._sock.sendall(data, socket.MSG_NOSIGNAL)
        except OSError as e:
            self.broken = True
            raise SandboxGone(e.errno, "the sandbox is gone") from e

    def send(self, fds: Sequence[int] = (), **call: Any) -> int:
        self._last_id += 1
        request = {"id": self._last_id, "descriptors": len(fds), **call}
        self._send(_wire.pack({"request": request}), fds)
        return self._last_id

    def _take_frame(self) -> Optional[Dict[str, Any]]:
        if len(self._buffer) < 4:
            return None
        (size,) = struct.unpack("<I", self._buffer[:4])
        if size > _wire.FRAME_MAX:
            raise _wire.ProtocolError("a frame that is too large")
        if len(self._buffer) < 4 + size:
            return None
        frame = _wire.decode(_wire.FRAME, self._buffer[4 : 4 + size])
        self._buffer = self._buffer[4 + size :]
        return frame

    def receive(self, timeout: Optional[float]) -> Optional[Dict[str, Any]]:
        """The next response; None when none has come in this many seconds (None: waits for ever)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                frame = self._take_frame()
            except _wire.ProtocolError as e:
                self.broken = True
                raise SandboxGone(71, "the sandbox talks nonsense") from e
            if frame and not self._greeted and "hello" in frame:
                self._greeted = True
                continue
            if frame and "response" in frame:
                return frame["response"]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not wait_for([self.fileno()], [], left):
                return None
            try:
                data = self._sock.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                self.broken = True
                raise SandboxGone(32, "the sandbox is gone")
            self._buffer += data

    def call(self, fds: Sequence[int] = (), **call: Any) -> Dict[str, Any]:
        number = self.send(fds, **call)
        while True:
            response = self.receive(ANSWER_SECONDS)
            if response is None:
                self.broken = True
                raise SandboxGone(110, "the sandbox does not answer")
            if response["id"] != number:
                continue
            if "error" in response:
                raise make_error(response["error"]["number"], response["error"]["message"])
            return response


class Master:
    """A sandbox: its process (or the pool's), and its connections. For several threads."""

    def __init__(self, sock: socket.socket, helper: Optional["subprocess.Popen[bytes]"]) -> None:
        self._helper = helper
        self._lock = threading.Lock()
        self._idle: List[Connection] = []
        self._closed = False
        self._owner = Connection(sock)

    def take(self) -> Connection:
        with self._lock:
            if self._closed:
                raise SandboxGone(9, "the sandbox has been closed")
            if self._idle:
                return self._idle.pop()
            ours, theirs = socket.socketpair()
            try:
                self._owner.call([theirs.fileno()], attach={})
            except Error:
                ours.close()
                raise
            finally:
                theirs.close()
            return Connection(ours)

    def give_back(self, connection: Connection) -> None:
        with self._lock:
            if not connection.broken and not self._closed and len(self._idle) < 16:
                self._idle.append(connection)
                return
        connection.close()

    def call(self, **call: Any) -> Dict[str, Any]:
        connection = self.take()
        try:
            return connection.call(**call)
        finally:
            self.give_back(connection)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
            # The sandbox ends with its owner's connection.
            self._owner.close()
        for connection in idle:
            connection.close()
        if self._helper:
            self._helper.wait()


def launch(program: Optional[str], flags: Sequence[str]) -> Master:
    """Starts `moat sandbox` and waits until it can be driven."""
    program = program or os.environ.get("MOAT") or "moat"
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as complaints, theirs:
        argv = [program, "sandbox", "--control", str(theirs.fileno()), "--debug-log", "/dev/null"]
        try:
            helper = subprocess.Popen(
                argv + list(flags),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as e:
            ours.close()
            raise make_error(e.errno or 5, f"cannot run {program}: {e.strerror}") from e
        assert helper.stdout
        with helper.stdout:
            line = _read_line(helper.stdout.fileno())
        if not line.startswith(b"ready "):
            ours.close()
            helper.send_signal(signal.SIGKILL)
            helper.wait()
            complaints.seek(0)
            text = complaints.read(400).decode(errors="replace").split("\n")[0]
            raise make_error(5, text[6:] if text.startswith("moat: ") else text or "moat did not start")
    return Master(ours, helper)


def _read_line(fd: int) -> bytes:
    line = b""
    deadline = time.monotonic() + START_SECONDS
    while not line.endswith(b"\n") and len(line) < 64:
        if not wait_for([fd], [], max(0.0, deadline - time.monotonic())):
            break
        part = os.read(fd, 64)
        if not part:
            break
        line += part
    return line


def from_pool(path: str) -> Master:
    """Takes a sandbox that waits in a pool."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as pool:
        try:
            pool.connect(path)
            pool.send(b"take", socket.MSG_NOSIGNAL)
            data, fds, _, _ = socket.recv_fds(pool, 256, 1)
        except OSError as e:
            raise make_error(e.errno or 5, f"the pool at {path}: {e.strerror}") from e
    if not fds:
        raise make_error(16, "the pool: " + (data.decode(errors="replace") or "has hung up"))
    return Master(socket.socket(fileno=fds[0]), None)
