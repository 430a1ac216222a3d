#!/usr/bin/env python3
"""The command lines of `commands` with runc and with moat: the same output and status.

Messages are compared without what comes before them (runc's logrus line, moat's "moat: "), and with
the runtimes' names made the same."""
import difflib, json, os, re, shutil, signal, subprocess, sys, tempfile

moat = os.environ["MOAT"]
here = os.path.dirname(os.path.realpath(__file__))
if os.geteuid() or not shutil.which("runc") or not shutil.which("busybox"):
    print("needs root, runc and busybox")
    sys.exit(77)

FUNCTIONS = r"""
edit() { python3 -c '
import json, os, sys
c = json.load(open("config.json"))
c["_b"] = os.getcwd()
exec(sys.argv[1])
del c["_b"]
json.dump(c, open("config.json", "w"))' "$1"; }
process() { echo "$1" >process.json; }
fresh() { cp config.orig config.json; }
wait_for() { local i; for i in $(seq 100); do $R state $2 2>/dev/null | grep -q "\"status\": \"$1\"" && return; sleep 0.05; done; echo "$2 is not $1"; }
"""


def make_bundle(path):
    root = os.path.join(path, "rootfs")
    for d in ("bin", "etc", "tmp", "proc", "sys", "dev"):
        os.makedirs(os.path.join(root, d))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
    applets = subprocess.run([os.path.join(root, "bin/busybox"), "--list"], capture_output=True,
                             text=True, check=True).stdout.split()
    for a in applets:
        if a != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", a))
    with open(os.path.join(root, "etc/passwd"), "w") as f:
        f.write("root:x:0:0::/:/bin/sh\n")
    subprocess.run(["runc", "spec"], cwd=path, check=True)
    with open(os.path.join(path, "config.json")) as f:
        c = json.load(f)
    c["process"]["terminal"] = False
    c["root"]["readonly"] = False
    c["process"]["capabilities"].pop("ambient", None)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(c, f)
    shutil.copy(os.path.join(path, "config.json"), os.path.join(path, "config.orig"))


def normal(text, bundle, name):
    out = []
    for line in text.splitlines():
        m = re.match(r'time="[^"]*" level=error msg="(.*)"$', line)
        if re.match(r'time="[^"]*" level=(warning|info)', line):
            continue
        if m:
            line = m.group(1).replace('\\"', '"').replace("\\\\", "\\")
            # runc's, where the host takes its time with a process that has ended.
            if line.startswith(("Failed to remove cgroup", "Failed to remove paths")):
                continue
        line = re.sub(r"^moat: ", "", line)
        line = re.sub(r"^(runc|moat) (create|run) failed: ", "", line)
        line = line.replace(bundle, "BUNDLE").replace("moat will", "runc will")
        out.append(line)
    return "\n".join(out)


def living(root):
    """Processes of ours: their command line has the folder of the state."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if root.encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def run_all(name, command, lines, work):
    bundle, root = os.path.join(work, "bundle"), os.path.join(work, "state-" + name)
    make_bundle(bundle)
    results = []
    env = dict(os.environ, R=f"{command} --root {root}")
    for line in lines:
        with tempfile.TemporaryFile() as out:
            p = subprocess.Popen(["bash", "-c", FUNCTIONS + line], cwd=bundle, stdout=out,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env,
                                 start_new_session=True)
            try:
                status = p.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                status = "time limit"
            out.seek(0)
            text = out.read().decode(errors="replace")
        results.append(f"{normal(text, bundle, name)}\n-> {status}")
    left = living(root)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    names = os.listdir(root) if os.path.isdir(root) else []
    shutil.rmtree(bundle)
    return results, left, names


with open(os.path.join(here, sys.argv[1] if len(sys.argv) > 1 else "commands")) as f:
    lines = [l.rstrip("\n") for l in f if l.strip() and not l.startswith("#")]
work = tempfile.mkdtemp(prefix="moat-oci.")
failed = 0
try:
    expected, _, _ = run_all("runc", "runc", lines, work)
    got, left, names = run_all("moat", moat, lines, work)
    for line, want, have in zip(lines, expected, got):
        # runc copies a container's output and errors by two threads: their order is chance.
        if sorted(want.splitlines()) == sorted(have.splitlines()):
            continue
        failed += 1
        print("$", line)
        for d in difflib.unified_diff(want.splitlines(), have.splitlines(), "runc", "moat",
                                      lineterm="", n=9):
            print("   ", d)
    if left or names:
        print("left behind: processes", left, "state", names)
        failed += 1
finally:
    shutil.rmtree(work, ignore_errors=True)
print(f"{len(lines)} command lines, {failed} of them not the same under runc and moat")
sys.exit(1 if failed else 0)
