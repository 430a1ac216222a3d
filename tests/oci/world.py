"""Containers of a test's own: a bundle, a state directory, and whether anything of them is left."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

moat = os.environ["MOAT"]
if os.geteuid() or not shutil.which("busybox"):
    print("needs root and busybox")
    sys.exit(77)
work = tempfile.mkdtemp(prefix="moat-containers.")
root = os.path.join(work, "state")
R = [moat, "--root", root]
failures = []
lock = threading.Lock()


def fail(*words):
    with lock:
        failures.append(" ".join(str(w) for w in words))


def make_bundle():
    d = os.path.join(work, "rootfs")
    for name in ("bin", "proc", "dev", "tmp"):
        os.makedirs(os.path.join(d, name))
    shutil.copy(shutil.which("busybox"), os.path.join(d, "bin/busybox"))
    for a in ("sh", "sleep", "true"):
        os.symlink("busybox", os.path.join(d, "bin", a))
    subprocess.run(R + ["spec", "--bundle", work], check=True)
    with open(os.path.join(work, "config.json")) as f:
        c = json.load(f)
    c["process"].update(terminal=False, args=["sh", "-c", "sleep 100000 & sleep 100000"])
    c["root"]["readonly"] = True
    with open(os.path.join(work, "config.json"), "w") as f:
        json.dump(c, f)


def processes(word):
    """Ours: their command line has the folder of the state, and the word. Zombies have none."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().split(b"\0")
        except OSError:
            continue
        if root.encode() in line and (not word or word.encode() in line) and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def comm(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return "gone"


def waits(pid):
    try:
        return open(f"/proc/{pid}/wchan").read()
    except OSError:
        return "nothing"


def run(*args, timeout=120):
    """The command's status and messages. These go to a file: a container that lives holds them, too."""
    with tempfile.TemporaryFile("w+") as err:
        try:
            p = subprocess.run(R + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
                               timeout=timeout)
        except subprocess.TimeoutExpired:
            fail(*args, "does not end:", *(f"{p} {comm(p)} in {waits(p)};" for p in processes(args[-1])))
            return None
        err.seek(0)
        p.stderr = err.read()
        return p


def descendants(pids):
    """Their children, and theirs."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parents.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(pid))
        except OSError:
            pass
    found, look = [], list(pids)
    while look:
        children = [c for c in parents.get(look.pop(), []) if c not in pids]
        found += children
        look += children
    return found


def check_nothing_left(names):
    """Of containers with these names. What was killed may have been parents: the rest gets time to notice."""
    left = []
    for _ in range(600):
        left = processes("")
        if not left:
            break
        time.sleep(0.05)
    for pid in left:
        try:
            fail("process left:", pid, open(f"/proc/{pid}/cmdline").read().replace("\0", " "))
        except OSError:
            pass
    states = os.listdir(root) if os.path.isdir(root) else []
    if states:
        fail("state left:", *states)
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) in names:
            fail("cgroup left:", folder)
    with open("/proc/self/mountinfo") as f:
        if work in f.read():
            fail("a mount is left")


def end(what):
    """The end of the test."""
    for f in failures[:20]:
        print(f)
    print(f"{what}: {len(failures)} failures")
    sys.exit(1 if failures else 0)


def clean_up():
    for p in processes(""):
        os.kill(p, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
