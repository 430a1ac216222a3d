#!/usr/bin/env python3
"""Many containers, made by several clients at a time, that live together and are deleted together: each does
what it was told, and nothing is left.

    crowd.py [CONTAINERS] [CLIENTS]"""
import subprocess
import sys
import threading

from world import R, check_nothing_left, clean_up, end, fail, make_bundle, run, work

containers = int(sys.argv[1]) if len(sys.argv) > 1 else 100
clients = int(sys.argv[2]) if len(sys.argv) > 2 else 8


def succeeds(*args):
    p = run(*args, timeout=600)
    if p and p.returncode:
        fail(*args, p.returncode, p.stderr)


def for_each(what):
    """what(name) for every container, by all clients."""

    def client(numbers):
        for n in numbers:
            what(f"w{n}")

    threads = [threading.Thread(target=client, args=(range(i, containers, clients),)) for i in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def begin(name):
    succeeds("run", "-d", "--bundle", work, name)


def enter(name):
    p = subprocess.run(R + ["exec", name, "sh", "-c", "echo $HOME; exit 3"], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=600)
    if p.returncode != 3 or not p.stdout:
        fail("exec", name, p.returncode, p.stdout, p.stderr)


try:
    make_bundle()
    for_each(begin)
    listed = subprocess.run(R + ["list", "-q"], capture_output=True, text=True, timeout=600).stdout.split()
    if len(listed) != containers:
        fail(len(listed), "containers are listed")
    for_each(enter)
    for_each(lambda name: succeeds("delete", "--force", name))
    check_nothing_left({f"w{n}" for n in range(containers)})
finally:
    clean_up()
end(f"{containers} containers, {clients} clients")
