"""The sandbox as a program uses it: running programs, files in and out."""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _connection
from ._connection import ROOT, Connection, Master, wait_for
from .errors import Error, SandboxGone, make_error

NOBODY = 65534
CHUNK = 1 << 20
OUTPUT_MAX = 16 << 20
# How long the end of what was killed, or whose time is up, may take to be told.
GRACE_SECONDS = 30
DEFAULT_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/w",
    "LANG": "C.UTF-8",
}
RLIMITS = {"file_size": 1, "stack": 3, "open_files": 7}

Size = Union[int, str]
OnOutput = Callable[[int, bytes], Any]


def parse_size(size: Optional[Size]) -> int:
    """Bytes of "256M", "1G", 4096; 0 of None."""
    if size is None:
        return 0
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", size.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"no size: {size!r}")
    return int(match.group(1)) << 10 * " KMGT".index(match.group(2).upper() or " ")


def _nanoseconds(seconds: Optional[float]) -> int:
    if seconds is None:
        return 0
    if seconds <= 0:
        raise ValueError("a time limit must be more than nothing")
    return max(1, int(seconds * 1e9))


@dataclass(frozen=True)
class Result:
    """How a program ended.

    status is "exited", "signalled", "cpu limit", "wall limit", "memory limit", "output limit" or
    "cancelled". Times are in seconds, memory in bytes.
    """

    status: str
    exit_code: Optional[int]
    signal: Optional[int]
    user_time: float
    system_time: float
    wall_time: float
    memory_peak: int
    stdout_bytes: bytes
    stderr_bytes: bytes
    stdout_truncated: bool
    stderr_truncated: bool

    @property
    def ok(self) -> bool:
        return self.status == "exited" and self.exit_code == 0

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")


@dataclass(frozen=True)
class Entry:
    """A name in a directory of the sandbox."""

    name: str
    mode: int
    size: int
    modified: float

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True)
class Limits:
    """On a program and all that it starts, together. None: no limit."""

    timeout: Optional[float] = None  # seconds of the clock
    cpu: Optional[float] = None  # seconds of processor time
    memory: Optional[Size] = None
    processes: Optional[int] = None  # threads; beyond it, fork fails
    output: Optional[Size] = None  # to collected streams
    file_size: Optional[Size] = None
    open_files: Optional[int] = None
    stack: Optional[Size] = None

    def on_wire(self) -> Dict[str, Any]:
        return {
            "wall_ns": _nanoseconds(self.timeout),
            "cpu_ns": _nanoseconds(self.cpu),
            "memory": parse_size(self.memory),
            "processes": self.processes or 0,
        }

    def rlimits(self) -> List[Dict[str, int]]:
        core = [{"resource": 4, "soft": 0, "hard": 0}]
        wanted = ((n, parse_size(getattr(self, name))) for name, n in RLIMITS.items())
        return core + [{"resource": n, "soft": v, "hard": v} for n, v in wanted if v]


class Process:
    """A program that runs. stdin, stdout and stderr are binary files, where pipes were asked for."""

    def __init__(self, master: Master, connection: Connection, pid: int, limits: Limits) -> None:
        self._master = master
        self._connection: Optional[Connection] = connection
        self._limits = limits
        self._killed_for: Optional[str] = None
        self._give_up: Optional[float] = None
        self._end: Optional[Dict[str, Any]] = None
        # Whoever cancels, from another thread, wakes the one that waits.
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        self.pid = pid
        self.stdin: Optional[BinaryIO] = None
        self.stdout: Optional[BinaryIO] = None
        self.stderr: Optional[BinaryIO] = None
        if limits.timeout is not None:
            self._give_up = time.monotonic() + limits.timeout + GRACE_SECONDS

    def send_signal(self, number: int) -> None:
        """To the program's first process. Nothing happens if it has ended."""
        call = {"id": ROOT, "pid": self.pid, "signal": number, "delivery": 0}
        try:
            self._master.call(signal_process=call)
        except SandboxGone:
            raise
        except Error:
            pass

    def cancel(self) -> None:
        """Kills it; any thread."""
        self._kill("cancelled")

    def _kill(self, why: str) -> None:
        with self._lock:
            if self._killed_for or not self._connection:
                return
            self._killed_for = why
            self._give_up = time.monotonic() + GRACE_SECONDS
            os.write(self._wake_writer, b"x")
        self.send_signal(signal.SIGKILL)

    def _listen(self, timeout: Optional[float]) -> bool:
        """Takes what the connection has; True once the end has come."""
        assert self._connection
        response = self._connection.receive(timeout)
        if response and "exit_status" in response:
            self._end = response["exit_status"]
        elif response and "error" in response:
            raise make_error(response["error"]["number"], response["error"]["message"])
        return self._end is not None

    def _remaining(self) -> Optional[float]:
        if self._give_up is None:
            return None
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise SandboxGone(110, "the sandbox does not say how the program ended")
        return left

    def wait(self, timeout: Optional[float] = None) -> Optional[Result]:
        """Waits for the end without reading output. None when it has not come in that time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._end:
            left = self._remaining()
            if deadline is not None:
                more = max(0.0, deadline - time.monotonic())
                left = more if left is None else min(left, more)
            if not self._listen(left) and deadline is not None and time.monotonic() >= deadline:
                return None
        self.close()
        return self._result(_Stream(), _Stream(), False)

    def communicate(self, input: Optional[bytes] = None, on_output: Optional[OnOutput] = None) -> Result:
        """Feeds input, collects output until the end."""
        streams = {1: _Stream(self.stdout), 2: _Stream(self.stderr)}
        feeder = _Feeder(self.stdin, input or b"")
        limit = parse_size(self._limits.output)
        budget = limit or None
        over = False

        def collect(number: int) -> bool:
            nonlocal budget, over
            data = streams[number].read()
            if not data:
                return False
            if budget is not None and len(data) > budget:
                data, over = data[:budget], True
                streams[number].truncated = True
                self._kill("output limit")
            if budget is not None:
                budget -= len(data)
            streams[number].keep(data)
            if data and on_output:
                on_output(number, data)
            return True

        try:
            while not self._end:
                assert self._connection
                readers = [self._connection.fileno(), self._wake_reader]
                readers += [s.fd for s in streams.values() if s.fd >= 0]
                writers = [feeder.fd] if feeder.fd >= 0 else []
                ready = wait_for(readers, writers, self._remaining())
                for number, stream in streams.items():
                    if stream.fd in ready:
                        collect(number)
                if feeder.fd in ready:
                    feeder.feed()
                if self._connection.fileno() in ready:
                    self._listen(0)
                if self._wake_reader in ready:
                    os.read(self._wake_reader, 1)
            for number in streams:
                # What a process that is being killed still writes, for ever, is not waited for.
                for _ in range(64):
                    if not collect(number):
                        break
        finally:
            self.close()
        return self._result(streams[1], streams[2], over)

    def _result(self, out: "_Stream", err: "_Stream", over: bool) -> Result:
        end = self._end
        assert end is not None
        wait_status = end["wait_status"]
        killed = os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else None
        status = {1: "cpu limit", 2: "wall limit", 3: "memory limit"}.get(end["reason"])
        if over:
            status = "output limit"
        elif status is None and killed and self._killed_for:
            status = self._killed_for
        status = status or ("signalled" if killed else "exited")
        return Result(
            status=status,
            exit_code=None if killed or status != "exited" else os.WEXITSTATUS(wait_status),
            signal=killed,
            user_time=end["user_ns"] / 1e9,
            system_time=end["kernel_ns"] / 1e9,
            wall_time=end["wall_ns"] / 1e9,
            memory_peak=end["memory_peak"],
            stdout_bytes=bytes(out.data),
            stderr_bytes=bytes(err.data),
            stdout_truncated=out.truncated,
            stderr_truncated=err.truncated,
        )

    def close(self) -> None:
        """Lets go of it; a program that still runs is killed."""
        for f in (self.stdin, self.stdout, self.stderr):
            if f:
                try:
                    f.close()
                except OSError:
                    pass
        with self._lock:
            connection, self._connection = self._connection, None
            if not connection:
                return
            os.close(self._wake_reader)
            os.close(self._wake_writer)
        # A program that is not at its end is bound to it.
        connection.broken = connection.broken or self._end is None
        self._master.give_back(connection)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Stream:
    """A pipe that is read, and what came."""

    def __init__(self, f: Optional[BinaryIO] = None) -> None:
        self.fd = f.fileno() if f else -1
        self.data = bytearray()
        self.truncated = False
        if f:
            os.set_blocking(self.fd, False)

    def read(self) -> bytes:
        if self.fd < 0:
            return b""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return b""
        if not data:
            self.fd = -1
        return data

    def keep(self, data: bytes) -> None:
        room = OUTPUT_MAX - len(self.data)
        self.data += data[:room]
        self.truncated = self.truncated or len(data) > room


class _Feeder:
    """A pipe that is written."""

    def __init__(self, f: Optional[BinaryIO], data: bytes) -> None:
        self._file = f
        self._data = memoryview(data)
        self.fd = f.fileno() if f else -1
        if f:
            os.set_blocking(self.fd, False)
        if not data:
            self._close()

    def _close(self) -> None:
        if self._file:
            self._file.close()
        self.fd = -1

    def feed(self) -> None:
        try:
            self._data = self._data[os.write(self.fd, self._data) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._data = self._data[:0]
        if not self._data:
            self._close()


class Sandbox:
    """A sandbox in which programs run, one after the other or, from several threads, at once.

    Only /w and /tmp can be written. Without rootfs the host's programs and libraries are there, but
    no homes and no data. With pool, the sandbox is one that waits there, as the pool was told to
    make it.
    """

    def __init__(
        self,
        *,
        rootfs: Optional[str] = None,
        volumes: Sequence[str] = (),
        memory: Optional[Size] = None,
        disk: Optional[Size] = None,
        pool: Optional[str] = None,
        moat: Optional[str] = None,
        flags: Sequence[str] = (),
    ) -> None:
        args: List[str] = []
        if rootfs:
            args += ["--rootfs", os.fspath(rootfs)]
        for volume in volumes:
            args += ["--volume", volume]
        if memory is not None:
            args += ["--memory", str(parse_size(memory))]
        if disk is not None:
            args += ["--disk", str(parse_size(disk))]
        self._master = _connection.from_pool(pool) if pool else _connection.launch(moat, args + list(flags))

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the sandbox and all that runs in it."""
        self._master.close()

    def ping(self) -> None:
        """Raises SandboxGone if it has ended."""
        self._master.call(status={"id": ROOT})

    def reset(self) -> None:
        """Kills all that runs, and empties /w and /tmp: nothing of earlier programs can be found."""
        self._master.call(reset={"id": ROOT})

    # --- programs ---------------------------------------------------------------------------------

    def start(
        self,
        args: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        cwd: str = "/w",
        stdin: Union[int, None, str] = None,
        stdout: Union[int, None, str] = "pipe",
        stderr: Union[int, None, str] = "pipe",
        extra_fds: Sequence[int] = (),
        keep: bool = False,
        limits: Limits = Limits(),
    ) -> Process:
        """Starts a program. Streams are "pipe", a descriptor, or None for /dev/null; extra_fds become
        3, 4 and so on."""
        if isinstance(args, str) or not args:
            raise ValueError("args must be a list of strings, the program first")
        spec = {
            "args": list(args),
            "env": [f"{k}={v}" for k, v in (DEFAULT_ENV if env is None else env).items()],
            "cwd": cwd,
            "uid": NOBODY,
            "gid": NOBODY,
            "umask": 0o022,
            "rlimits": limits.rlimits(),
            "no_new_privileges": True,
            "extra_files": len(extra_fds),
        }
        on_wire = {**limits.on_wire(), "keep": keep}
        fds: List[int] = []
        ours: List[Optional[int]] = []
        theirs: List[int] = []
        connection = self._master.take()
        try:
            for number, wanted in enumerate((stdin, stdout, stderr)):
                given, kept, own = _open_stream(number, wanted)
                fds.append(given)
                ours.append(kept)
                theirs += own
            call = {"id": ROOT, "process": spec, "bound": True, "limits": on_wire}
            pid = connection.call(fds + list(extra_fds), execute=call)["process"]["pid"]
            connection.send(wait_pid={"id": ROOT, "pid": pid})
        except BaseException:
            for fd in ours:
                if fd is not None:
                    os.close(fd)
            self._master.give_back(connection)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        process = Process(self._master, connection, pid, limits)
        modes = ("wb", "rb", "rb")
        files = [None if fd is None else os.fdopen(fd, mode, 0) for fd, mode in zip(ours, modes)]
        process.stdin, process.stdout, process.stderr = files  # type: ignore[assignment]
        return process

    def run(
        self,
        args: Sequence[str],
        *,
        input: Union[bytes, str, None] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: str = "/w",
        timeout: Optional[float] = None,
        cpu: Optional[float] = None,
        memory: Optional[Size] = None,
        processes: Optional[int] = None,
        output: Optional[Size] = None,
        limits: Optional[Limits] = None,
        on_output: Optional[OnOutput] = None,
    ) -> Result:
        """Runs a program to its end. on_output(1 or 2, bytes) gets the output as it comes."""
        data = input.encode() if isinstance(input, str) else input
        limits = limits or Limits(timeout, cpu, memory, processes, output)
        process = self.start(args, env=env, cwd=cwd, stdin="pipe" if data else None, limits=limits)
        return process.communicate(data, on_output)

    # --- files ------------------------------------------------------------------------------------

    def write_file(self, path: str, data: Union[bytes, str], mode: int = 0o644) -> None:
        """Makes directories that are missing. The path is absolute, or relative to /w."""
        data = data.encode() if isinstance(data, str) else data
        offset = 0
        while offset == 0 or offset < len(data):
            self._master.call(
                file_write={
                    "id": ROOT,
                    "path": _absolute(path),
                    "data": data[offset : offset + CHUNK],
                    "offset": offset,
                    "mode": mode,
                    "truncate": offset == 0,
                    "parents": offset == 0,
                }
            )
            offset += CHUNK

    def read_file(self, path: str, max_size: Size = "1G") -> bytes:
        out = bytearray()
        while True:
            part = {"id": ROOT, "path": _absolute(path), "offset": len(out), "size": CHUNK}
            data = self._master.call(file_read=part)["file_data"]["data"]
            out += data
            if len(out) > parse_size(max_size):
                raise make_error(27, f"{path}: is larger than {max_size}")
            if len(data) < CHUNK:
                return bytes(out)

    def copy_in(self, source: Union[str, "os.PathLike[str]"], path: str) -> None:
        """A file of the caller's."""
        with open(source, "rb") as f:
            self.write_file(path, f.read(), stat.S_IMODE(os.fstat(f.fileno()).st_mode))

    def copy_out(self, path: str, target: Union[str, "os.PathLike[str]"]) -> None:
        data = self.read_file(path)
        with open(target, "wb") as f:
            f.write(data)

    def make_dir(self, path: str, mode: int = 0o755) -> None:
        call = {"id": ROOT, "path": _absolute(path), "mode": mode, "parents": True, "directory": True}
        self._master.call(file_write=call)

    def delete(self, path: str, recursive: bool = False) -> None:
        self._master.call(file_delete={"id": ROOT, "path": _absolute(path), "recursive": recursive})

    def list_files(self, path: str = "/w") -> List[Entry]:
        answer = self._master.call(file_list={"id": ROOT, "path": _absolute(path)})["file_list"]
        return [
            Entry(os.fsdecode(e["name"]), e["mode"], e["size"], e["modified_ns"] / 1e9)
            for e in answer["entries"]
        ]


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/w/" + path


def _open_stream(number: int, wanted: Union[int, None, str]) -> Tuple[int, Optional[int], List[int]]:
    """What the program gets, what we keep of it, and what we close when it has been given away."""
    if wanted is None:
        null = os.open("/dev/null", os.O_RDWR)
        return null, None, [null]
    if isinstance(wanted, int):
        return wanted, None, []
    if wanted != "pipe":
        raise ValueError(f"a stream must be 'pipe', a descriptor or None: {wanted!r}")
    reader, writer = os.pipe()
    return (reader, writer, [reader]) if number == 0 else (writer, reader, [writer])
