#!/usr/bin/env python3
"""Processes that are killed while containers are created, started, entered, signalled and deleted: the
state can be read at any time, `delete --force` works, and nothing is left.

    killed.py [ROUNDS] [SEED]"""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from world import R, check_nothing_left, clean_up, descendants, end, fail, make_bundle, processes, run, work

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)


def check_state(name):
    p = subprocess.run(R + ["state", name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if p.returncode == 0:
        try:
            status = json.loads(p.stdout)["status"]
        except (ValueError, KeyError):
            return fail("state of", name, "cannot be read:", p.stdout)
        if status not in ("creating", "created", "running", "stopped"):
            fail("state of", name, "is", status)
    elif "does not exist" not in p.stderr and p.returncode != -signal.SIGKILL:
        fail("state of", name, "fails:", p.stderr)
    p = subprocess.run(R + ["list", "--format", "json"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=120)
    try:
        if p.returncode != -signal.SIGKILL:
            json.loads(p.stdout)
    except ValueError:
        fail("list:", p.returncode, p.stdout, p.stderr)


def killer(name, random_, stop):
    """Kills one process of the container (its zygote and stubs, too), or one of the commands about it, at a
    random moment."""
    deadline = time.monotonic() + random_.random() * 1.0
    while time.monotonic() < deadline and not stop.is_set():
        time.sleep(0.005)
    found = processes(name)
    if random_.random() < 0.5:
        found = descendants(found) or found
    if found:
        try:
            os.kill(random_.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            pass


def one_round(n, random_):
    name = f"k{n}"
    stop = threading.Event()
    t = threading.Thread(target=killer, args=(name, random_, stop))
    t.start()
    run("create", "--bundle", work, name)
    check_state(name)
    run("start", name)
    run("exec", name, "true")
    run("exec", "-d", name, "sleep", "100000")
    check_state(name)
    run("kill", name, random_.choice(["TERM", "KILL"]))
    if random_.random() < 0.5:
        run("delete", name)
    stop.set()
    t.join()
    check_state(name)
    p = run("delete", "--force", name)
    if p and p.returncode:
        fail("delete --force", name, p.returncode, p.stderr)
    p = run("state", name)
    if p and "does not exist" not in p.stderr:
        fail(name, "is there after delete --force:", p.stderr)


def client(numbers):
    for n in numbers:
        one_round(n, random.Random(seed * 1000003 + n))


try:
    make_bundle()
    clients = [threading.Thread(target=client, args=(range(i, rounds, 4),)) for i in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    check_nothing_left({f"k{n}" for n in range(rounds)})
finally:
    clean_up()
end(f"{rounds} rounds, seed {seed}")
