#!/usr/bin/python3
"""create, run and exec with --pidfd-socket: what comes is a pidfd of the process that stands for it."""
import array
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

if os.geteuid() or not shutil.which("busybox"):
    print("needs root and busybox")
    sys.exit(77)
work = tempfile.mkdtemp(prefix="moat-pidfd.")
moat = [os.environ["MOAT"], "--root", work + "/state"]
path = work + "/socket"


def run(*args):
    return subprocess.run([*moat, *args], stdin=subprocess.DEVNULL, timeout=60)


def receive(listener):
    """The word, and the descriptor beside it."""
    connection, _ = listener.accept()
    fds = array.array("i")
    word, control, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
    for level, kind, data in control:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        fds.frombytes(data)
    assert len(fds) == 1, fds
    return word.decode(), fds[0]


def pid_of(fd):
    with open("/proc/self/fdinfo/%d" % fd) as f:
        return int([line for line in f if line.startswith("Pid:")][0].split()[1])


def ended(fd):
    return bool(select.select([fd], [], [], 30)[0])


try:
    os.makedirs(work + "/rootfs/bin")
    shutil.copy(shutil.which("busybox"), work + "/rootfs/bin/sleep")
    with open(work + "/config.json", "w") as f:
        json.dump({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
                   "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"],
                               "user": {"uid": 0, "gid": 0}}}, f)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.settimeout(60)
    assert run("create", "--bundle", work, "--pidfd-socket", path, "--pid-file", work + "/pid", "a").returncode == 0
    word, init = receive(listener)
    assert word == "standard", word
    assert pid_of(init) == int(open(work + "/pid").read())
    assert run("start", "a").returncode == 0
    assert run("exec", "-d", "--pidfd-socket", path, "--pid-file", work + "/pid", "a", "sleep", "1000").returncode == 0
    word, process = receive(listener)
    assert word == "setns", word
    assert pid_of(process) == int(open(work + "/pid").read())
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert ended(process)
    assert not select.select([init], [], [], 0)[0]
    # In a sub-cgroup there is no process of a guest's: said, not ignored.
    assert run("exec", "--cgroup", "/sub", "a", "sleep", "0").returncode == 255
    assert run("exec", "--cgroup", "/", "a", "sleep", "0").returncode == 0
    assert run("delete", "--force", "a").returncode == 0
    assert ended(init)
    # Nobody listens: nothing is left.
    assert run("create", "--bundle", work, "--pidfd-socket", work + "/nobody", "b").returncode == 1
    assert not os.listdir(work + "/state"), os.listdir(work + "/state")
finally:
    run("delete", "--force", "a")
    shutil.rmtree(work)
