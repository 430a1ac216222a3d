"""What runs a program: the host itself, runc, bwrap, gVisor's runsc, moat."""
import json
import os
import shutil
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Mode:
    """argv(program) is the whole command line."""

    def __init__(self, name, prefix):
        self.name = name
        self.prefix = prefix

    def argv(self, program):
        return [*self.prefix, *program]

    def close(self):
        pass


class Runc(Mode):
    """runc on the host's own root, bound in a mount namespace that ends with the command."""
    SCRIPT = 'mount --rbind / "$0/rootfs" && exec runc --root "$0/state" run --bundle "$0" bench-$$'

    def __init__(self):
        super().__init__("runc", [])
        self.bundle = tempfile.mkdtemp(prefix="moat-bench-runc.")
        os.mkdir(f"{self.bundle}/rootfs")
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True, capture_output=True)
        with open(f"{self.bundle}/config.json") as f:
            self.config = json.load(f)
        self.config["root"]["readonly"] = False
        self.config["process"].update(terminal=False, env=[f"PATH={os.environ['PATH']}", "HOME=/root"])

    def argv(self, program):
        self.config["process"]["args"] = program
        with open(f"{self.bundle}/config.json", "w") as f:
            json.dump(self.config, f)
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", self.SCRIPT, self.bundle]

    def close(self):
        shutil.rmtree(self.bundle, ignore_errors=True)


def works(mode):
    try:
        return subprocess.run(mode.argv(["/bin/true"]), capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def candidates():
    """For each name the forms to try, the first that works is taken."""
    moat = os.environ.get("MOAT", os.path.join(TOP, "build/moat"))
    yield "native", [lambda: Mode("native", [])]
    if shutil.which("runc") and os.geteuid() == 0:
        yield "runc", [Runc]
    if shutil.which("bwrap"):
        yield "bwrap", [lambda: Mode("bwrap", ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev",
                                               "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--"])]
    if shutil.which("runsc"):
        forms = (["-ignore-cgroups", "-network", "none"], ["-rootless", "-network", "none"],
                 ["-ignore-cgroups", "-network", "none", "-platform", "ptrace"])
        yield "runsc", [lambda f=f: Mode("runsc", ["runsc", *f, "do"]) for f in forms]
    yield "moat", [lambda: Mode("moat", [moat, "do", "--"])]


def find(only, skip):
    """The modes that can run here, native first, moat last."""
    found = []
    for name, forms in candidates():
        if name in skip or (only and name not in only and name != "native"):
            continue
        for form in forms:
            mode = form()
            if works(mode):
                found.append(mode)
                break
            mode.close()
    return found
