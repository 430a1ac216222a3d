#!/usr/bin/env python3
"""Many runs in one sandbox that is used again and again: neither its processes nor the client may
grow. growth.py [--runs N] [--slack KIBIBYTES] [--verbose]; N is 2,000 by default, 1,000,000 shows
leaks of a single byte."""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import moat  # noqa: E402


def children(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
            if int(rest.split()[1]) == pid:
                found.append((int(stat.parent.name), name.split("(", 1)[1]))
        except OSError:
            continue
    return found


def lasting():
    """Its processes but for those of guests, by name."""
    found, todo = {"client": os.getpid()}, [os.getpid()]
    while todo:
        for pid, name in children(todo.pop()):
            if name.startswith("moat"):
                found[f"{name} {pid}"] = pid
            todo.append(pid)
    return found


def figures(pid):
    """Kibibytes of memory of its own, descriptors, threads."""
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = sum(int(status[f].split()[0]) for f in ("RssAnon", "RssShmem", "VmSwap"))
    return memory, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])


def one(sb, kind):
    if kind == 1:
        r = sb.run(["sh", "-c", "echo x >f; cat f | cat; sleep 1000 & exit 3"])
        assert (r.exit_code, r.stdout) == (3, "x\n"), r
    elif kind == 2:
        try:
            sb.run(["/no/such"])
            raise AssertionError("it ran")
        except FileNotFoundError:
            pass
    elif kind == 3:
        assert sb.run(["cat"], input="in", memory="64M").stdout == "in"
    elif kind == 4:
        assert sb.run(["sleep", "1000"], timeout=0.005).status == "wall limit"
    elif kind == 5:
        sb.write_file("d/f", b"data")
        assert sb.read_file("d/f") == b"data" and sb.list_files("d")[0].name == "f"
        sb.delete("d", recursive=True)
    elif kind == 6:
        sb.reset()
    else:
        assert sb.run(["/bin/true"], processes=8).exit_code == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--slack", type=int, default=1024)
    parser.add_argument("--only", type=int, help="runs of one kind alone, to find what leaks")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warm = max(options.runs // 4, 400)
    grown = []
    with moat.Sandbox() as sb:
        start, before = time.monotonic(), {}
        for i in range(warm + options.runs):
            if i == warm:
                one(sb, 6)
                before = {name: figures(pid) for name, pid in lasting().items()}
            one(sb, i % 20 if options.only is None else options.only)
            if options.verbose and i % 500 == 0:
                print(i, {n: figures(p) for n, p in lasting().items()}, f"{time.monotonic() - start:.1f} s", flush=True)
        one(sb, 6)  # nothing of the last runs is left
        for name, pid in lasting().items():
            if name not in before:
                continue
            old, new = before[name], figures(pid)
            print(f"{name}: {old[0]} KiB to {new[0]} KiB, {old[1]} descriptors to {new[1]}, {old[2]} threads to {new[2]}")
            # Threads of the sentry come and go with the load, and each sleeps on a pipe, which the
            # stubs' parent shares. What leaks by the run is hundreds.
            if new[0] > old[0] + options.slack or new[1] > old[1] + 24 or new[2] > old[2] + 8:
                grown.append(name)
    assert any("sentry" in name for name in before), before
    if grown:
        sys.exit(f"grown in {options.runs} runs: {', '.join(grown)}")


main()
