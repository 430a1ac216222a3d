#!/usr/bin/env python3
"""Runs a set of OCI bundles, each what `runc spec` writes with one thing changed, under runc, crun and
moat, and compares what the programs print and how they end. Every bundle is in one of three classes:

  SAME     all three must agree, byte for byte
  REFUSED  runc or crun runs it, moat must say in one line why it does not
  INVALID  none of the three may run it, and moat must say why in one line

Exits 77 where runc or crun is missing or cannot run containers (in a container without privileges).
"""
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = "sh cat env grep hostname id ls mount mkdir pwd rm sed sort stat touch".split()

STATE = r"""
id; umask; pwd; hostname; cat /proc/sys/kernel/domainname; env | grep -v ^SHLVL | sort
grep -E '^(Cap|NoNew|Groups|Uid|Gid|Seccomp:)' /proc/self/status
ulimit -a | grep -vE 'signals|user proc'
cat /proc/self/oom_score_adj
touch /x 2>&1 && rm -f /x
"""
DEVICES = r"""
for d in null zero full random urandom tty ptmx fd stdin stdout stderr pts shm mqueue; do
	ls -ld /dev/$d | sed 's/[0-9]* *[A-Z][a-z][a-z] .*:[0-9]*//; s/  */ /g; s/ 5 / 0 /'; done
echo x >/dev/null && echo writable
"""
# How a mount looks, without the name of the host's file system.
MOUNT = r"""
mount | grep ' on /m ' | sed 's/^[^ ]* on/on/; s/type [a-z0-9]* (\([^)]*\))/\1/' |
	sed 's/,discard.*//; s/,errors=.*//; s/,size=[^,]*//; s/,nr_inodes=[^,]*//; s/,inode64//'
ls -l /m | cut -c1-10; touch /m/x 2>&1 && rm /m/x
"""


class Bundles:
    """The folder with the bundle, and the three runtimes."""

    def __init__(self, work, moat):
        self.work = work
        self.bundle = os.path.join(work, "bundle")
        self.volume = os.path.join(work, "volume")
        self.count = 0
        self.make_rootfs()
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True)
        with open(os.path.join(self.bundle, "config.json")) as f:
            self.default = json.load(f)
        # A crun of Debian 12 refuses to run where cgroup v1 and v2 are both in use: it is shown v1.
        crun = ["unshare", "-m", "sh", "-c",
                'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh",
                "crun", "--root", os.path.join(work, "crun"), "--cgroup-manager=disabled", "run"]
        self.runtimes = {
            "runc": ["runc", "--root", os.path.join(work, "runc"), "run"],
            "crun": crun,
            "moat": [moat, "run"],
        }

    def make_rootfs(self):
        bin_dir = os.path.join(self.bundle, "rootfs", "bin")
        os.makedirs(bin_dir)
        os.makedirs(os.path.join(self.bundle, "rootfs", "etc"))
        os.makedirs(os.path.join(self.volume, "sub"))
        shutil.copy(shutil.which("busybox"), os.path.join(bin_dir, "busybox"))
        for name in PROGRAMS:
            os.symlink("busybox", os.path.join(bin_dir, name))
        with open(os.path.join(self.bundle, "rootfs", "etc", "passwd"), "w") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        with open(os.path.join(self.volume, "f"), "w") as f:
            f.write("of the host\n")

    def run(self, runtime, config):
        """Its exit status and all that it and the program printed."""
        self.count += 1
        with open(os.path.join(self.bundle, "config.json"), "w") as f:
            json.dump(config, f)
        done = subprocess.run(self.runtimes[runtime] + ["moat-test-%d-%d" % (os.getpid(), self.count)],
                              cwd=self.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=90)
        text = done.stdout.decode(errors="replace")
        # What the runtimes themselves warn of is theirs to word.
        lines = [line for line in text.split("\n")
                 if not re.match(r'time="[^"]*" level=warning |W [0-9:.]+ [a-z_]+\.c:', line)]
        return done.returncode, "\n".join(lines)

    def config(self, script, change):
        config = copy.deepcopy(self.default)
        config["process"]["terminal"] = False
        config["process"]["args"] = ["sh", "-c", "exec 2>&1\n" + script]
        change(config)
        return config


def process(**members):
    return lambda config: config["process"].update(members)


def linux(**members):
    return lambda config: config["linux"].update(members)


def mount(**members):
    return lambda config: config["mounts"].append(members)


def without(*path):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        del config[path[-1]]
    return change


def both(*changes):
    def change(config):
        for c in changes:
            c(config)
    return change


def caps(names, *sets):
    return process(capabilities={s: names for s in sets})


ALL_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
USER = process(user={"uid": 1000, "gid": 1000, "umask": 0o77, "additionalGids": [5, 6]})


def same_cases(volume):
    """name, script, change"""
    def bind(*options, **more):
        return mount(destination="/m", type="bind", source=volume, options=["bind", *options], **more)

    yield "what runc spec writes", STATE + DEVICES, lambda c: None
    yield "a user with groups and umask", STATE, USER
    yield "a user without capabilities that are inheritable", STATE, both(
        USER, caps(["CAP_KILL", "CAP_CHOWN"], "bounding", "effective", "permitted", "ambient"))
    yield "a user with ambient capabilities", STATE, both(USER, caps(["CAP_KILL"], *ALL_SETS))
    yield "root with ambient capabilities", STATE, caps(["CAP_KILL", "CAP_CHOWN"], *ALL_SETS)
    yield "no capabilities member", STATE, without("process", "capabilities")
    yield "capabilities null", STATE, process(capabilities=None)
    yield "capabilities empty", STATE, process(capabilities={})
    yield "capabilities of a newer kernel", STATE, caps(["CAP_KILL", "CAP_TIME_TRAVEL"], "bounding",
                                                       "permitted", "effective")
    yield "permitted beyond bounding", STATE, process(capabilities={
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL", "CAP_CHOWN"]})
    yield "new privileges allowed", STATE, process(noNewPrivileges=False)
    yield "no rlimits", "ulimit -n; ulimit -Hn", without("process", "rlimits")
    yield "an oom score", STATE, process(oomScoreAdj=300)
    yield "HOME is given", STATE, process(env=["PATH=/bin", "HOME=/elsewhere", "B=", "A=1", "A=2"])
    yield "a working directory that is missing", "pwd; ls -ld /new/dir | cut -c1-10", both(
        process(cwd="/new/dir"), lambda c: c["root"].update(readonly=False))
    yield "a writable root", STATE, lambda c: c["root"].update(readonly=False)
    yield "root.readonly not given", STATE, without("root", "readonly")
    yield "an absolute root.path", STATE, lambda c: c["root"].update(
        path=os.path.join(os.path.dirname(volume), "bundle", "rootfs"))
    yield "a later version", STATE, lambda c: c.update(ociVersion="1.1.0")
    yield "annotations and unknown members", STATE, lambda c: c.update(annotations={"a": ""}, new={"x": 1})
    yield "a hook", STATE, lambda c: c.update(hooks={"prestart": [{"path": "/bin/true"}]})
    yield "empty lists of hooks", STATE, lambda c: c.update(hooks={"prestart": [], "poststop": None})
    yield "a program by its path", "", process(args=["/bin/busybox", "echo", "a", "", "b c"])
    yield "a program by a relative path", "", process(args=["bin/busybox", "echo", "a"])
    yield "a status", "exit 42", lambda c: None
    yield "a signal to a child", 'sh -c "kill -9 \\$\\$"; echo $?', lambda c: None

    yield "a tmpfs", MOUNT, mount(destination="/m", type="tmpfs", source="tmpfs")
    yield "a tmpfs with a size", MOUNT, mount(destination="/m", type="tmpfs", source="x", options=[
        "nosuid", "nodev", "noexec", "size=10%", "mode=1777"])
    yield "a tmpfs with what was there", "ls /etc; cat /etc/passwd; echo x >/etc/y && ls /etc", mount(
        destination="/etc", type="tmpfs", source="x", options=["tmpcopyup"])
    yield "a second proc", "ls /m | grep self; mount | grep ' /m '", mount(
        destination="/m", type="proc", source="proc", options=["ro", "nosuid", "nodev", "noexec"])
    yield "a second mqueue", "mount | grep ' /m '", mount(destination="/m", type="mqueue", source="mqueue")
    yield "a second devpts", "ls /m", mount(destination="/m", type="devpts", source="devpts",
                                            options=["newinstance", "ptmxmode=0666"])
    yield "a bind mount", MOUNT, bind()
    yield "a bind mount without type", MOUNT, mount(destination="/m", source=volume, options=["rbind"])
    yield "a bind mount of type none", MOUNT, mount(destination="/m", type="none", source=volume,
                                                    options=["rbind", "ro"])
    for options in (["ro"], ["rro"], ["rprivate"], ["rslave", "ro"], ["nosuid", "noexec", "nodev"],
                    ["z"], ["lazytime"], ["strictatime"], ["unknown"], ["size=1m"]):
        yield "a bind mount with " + ",".join(options), MOUNT, bind(*options)
    yield "a bind mount relative to the bundle", MOUNT, mount(
        destination="/m", type="bind", source="../volume", options=["bind", "ro"])
    yield "a bind mount of a file in new folders", "cat /d/e/f; echo x 2>/dev/null >/d/e/f || echo ro", mount(
        destination="/d/e/f", type="bind", source=os.path.join(volume, "f"), options=["bind", "ro"])
    yield "a destination with dots", MOUNT, mount(
        destination="/../../m", type="bind", source=volume, options=["bind", "ro"])
    yield "two mounts on one place", "ls /m", both(
        mount(destination="/m", type="tmpfs", source="a"), bind())

    yield "masked files and folders", "cat /etc/passwd; ls /bin/../etc; echo $?", linux(
        maskedPaths=["/etc/passwd", "/bin/missing"])
    yield "a masked folder", "ls /etc; echo $?", linux(maskedPaths=["/etc"])
    yield "read-only paths", "touch /etc/x 2>&1; touch /etc/passwd 2>&1; touch /bin/x 2>&1", both(
        linux(readonlyPaths=["/etc", "/missing"]), lambda c: c["root"].update(readonly=False))
    yield "few namespaces", "echo run", linux(namespaces=[{"type": "mount"}, {"type": "uts"}])
    yield "a device that every container has", DEVICES, linux(devices=[
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}], resources={})
    yield "a user namespace with the host's ids", "id -u; touch /m/a && rm /m/a", both(
        bind(), lambda c: c["linux"]["namespaces"].append({"type": "user"}),
        linux(uidMappings=[{"containerID": 0, "hostID": 0, "size": 65536}],
              gidMappings=[{"containerID": 0, "hostID": 0, "size": 65536}]))
    yield "limits", "echo run", linux(resources={
        "memory": {"limit": 1 << 26}, "pids": {"limit": 50}, "cpu": {"shares": 512}})
    yield "members that no runtime here minds", "echo run", linux(
        intelRdt={"closID": "x"}, personality={"domain": "LINUX"}, rootfsPropagation="rslave")


def refused_cases(volume):
    """name, change, what moat's line must contain"""
    def bind(*options):
        return mount(destination="/m", type="bind", source=volume, options=["bind", *options])

    yield "a device", linux(devices=[{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]), \
        "linux.devices[0]: moat has no device /dev/fuse (c 10:229)"
    yield "a block device", linux(devices=[{"path": "/dev/d", "type": "b", "major": 7, "minor": 0}]), \
        "linux.devices[0]: moat has no device /dev/d (b 7:0)"
    yield "other ids", both(
        lambda c: c["linux"]["namespaces"].append({"type": "user"}),
        linux(uidMappings=[{"containerID": 0, "hostID": 100000, "size": 65536}],
              gidMappings=[{"containerID": 0, "hostID": 100000, "size": 65536}])), \
        "linux.uidMappings[0]: ids of the container can only be the host's own"


def invalid_cases(volume):
    """name, change, what moat's line must contain"""
    yield "effective beyond permitted", process(capabilities={
        "bounding": ["CAP_KILL"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_KILL"]}), \
        "effective has capabilities that permitted has not"
    yield "inheritable beyond bounding", process(capabilities={
        "bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "permitted": ["CAP_KILL"]}), \
        "inheritable has capabilities that bounding has not"
    yield "an rlimit's soft limit above the hard one", process(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 10}]), "soft limit above the hard limit"
    yield "an unknown rlimit", process(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), \
        "unknown resource limit 'RLIMIT_X'"
    yield "no args", without("process", "args"), "process.args: missing"
    yield "empty args", process(args=[]), "process.args: empty"
    yield "no process", without("process"), "process: missing"
    yield "no cwd", without("process", "cwd"), "process.cwd: missing"
    yield "a missing root", lambda c: c["root"].update(path="missing"), "root.path: "
    yield "a missing volume", mount(destination="/m", type="bind", source="/missing", options=["bind"]), \
        "mount at /m: /missing: No such file or directory"
    yield "a folder on a file", mount(destination="/etc/passwd", type="bind", source=volume,
                                      options=["bind"]), "cannot mount /etc/passwd: Not a directory"
    yield "an unknown namespace", linux(namespaces=[{"type": "mount"}, {"type": "soul"}]), \
        "linux.namespaces[1]: no namespace 'soul'"
    yield "a namespace twice", linux(namespaces=[{"type": "mount"}, {"type": "mount"}]), \
        "linux.namespaces[1]: namespace 'mount' is there twice"
    yield "a terminal without one", process(terminal=True), "standard input is not a terminal"
    yield "a program that is not there", process(args=["missing"]), \
        'exec: "missing": executable file not found in $PATH'


def is_one_line_of_moat(text):
    return re.fullmatch(r"moat: [^\n]+\n", text) is not None


def main():
    for program in ("runc", "crun", "busybox"):
        if not shutil.which(program):
            print("no %s here" % program)
            return 77
    if os.geteuid() != 0:
        print("runc and crun need root")
        return 77
    failures = []
    with tempfile.TemporaryDirectory(prefix="moat-bundles.") as work:
        os.chmod(work, 0o755)
        b = Bundles(work, os.environ["MOAT"])
        for runtime in ("runc", "crun"):
            status, text = b.run(runtime, b.config("exit 7", lambda c: None))
            if status != 7:
                print("%s runs no container here: %s" % (runtime, text.strip()))
                return 77
        counts = [0, 0, 0]
        for name, script, change in same_cases(b.volume):
            counts[0] += 1
            config = b.config(script, change)
            results = {runtime: b.run(runtime, config) for runtime in b.runtimes}
            if len(set(results.values())) != 1:
                failures.append("%s:\n%s" % (name, "\n".join(
                    "--- %s: status %d\n%s" % (k, *v) for k, v in results.items())))
        for name, change, message in refused_cases(b.volume):
            counts[1] += 1
            config = b.config("exit 7", change)
            results = {runtime: b.run(runtime, config) for runtime in b.runtimes}
            status, text = results["moat"]
            if (7, "") not in (results["runc"], results["crun"]) or status != 1 or \
                    message not in text or not is_one_line_of_moat(text):
                failures.append("%s: %s" % (name, results))
        for name, change, message in invalid_cases(b.volume):
            counts[2] += 1
            config = b.config("exit 7", change)
            results = {runtime: b.run(runtime, config) for runtime in b.runtimes}
            status, text = results["moat"]
            if results["runc"][0] in (0, 7) or results["crun"][0] in (0, 7) or \
                    status != 1 or message not in text or \
                    not is_one_line_of_moat(text):
                failures.append("%s: %s" % (name, results))
    print("%d bundles the same, %d refused, %d invalid; %d not as expected" % (*counts, len(failures)))
    for f in failures:
        print(f)
    return 1 if failures else 0


sys.exit(main())
