#!/usr/bin/env python3
"""moat runcext exec: what it says to its caller, and what is left when the caller goes at any step."""
import json, os, shutil, signal, socket, subprocess, sys, tempfile, time

moat = os.environ["MOAT"]
if os.geteuid() or not shutil.which("busybox"):
    print("needs root and busybox")
    sys.exit(77)
work = tempfile.mkdtemp(prefix="moat-procsync.")
R = [moat, "--root", os.path.join(work, "state")]
failed = 0


def check(what, want, got):
    global failed
    if want != got:
        print(f"{what}: expected {want!r}, got {got!r}")
        failed += 1


def bundle():
    root = os.path.join(work, "rootfs")
    for d in ("bin", "proc", "dev", "tmp"):
        os.makedirs(os.path.join(root, d))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
    for a in ("sh", "sleep", "true", "cat", "kill"):
        os.symlink("busybox", os.path.join(root, "bin", a))
    subprocess.run(R + ["spec", "--bundle", work], check=True)
    with open(os.path.join(work, "config.json")) as f:
        c = json.load(f)
    c["process"].update(terminal=False, args=["sleep", "100000"])
    with open(os.path.join(work, "config.json"), "w") as f:
        json.dump(c, f)


class Caller:
    """One `runcext exec`, and our end of the socket."""

    def __init__(self, *args, flags=()):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(60)
        os.set_inheritable(theirs.fileno(), True)
        self.process = subprocess.Popen(
            R + ["runcext", "exec", *flags, "c", *args], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, _RUNCEXT_PROC_SYNC_PIPE=str(theirs.fileno())))
        theirs.close()
        self.text = ""

    def read(self):
        while True:
            try:
                message, end = json.JSONDecoder().raw_decode(self.text)
                self.text = self.text[end:]
                return message
            except ValueError:
                more = self.sock.recv(4096).decode()
                if not more:
                    return None
                self.text += more

    def say(self, text):
        try:
            self.sock.send(text.encode())
        except BrokenPipeError:
            pass

    def end(self):
        self.sock.close()
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


def inside():
    """Processes of the container besides the first."""
    out = subprocess.run(R + ["ps", "c"], capture_output=True, text=True).stdout
    return len(out.splitlines()) - 2


def wait_alone(what):
    for _ in range(600):
        if inside() == 0:
            return
        time.sleep(0.05)
    check(what + ": processes left inside", 0, inside())


try:
    bundle()
    subprocess.run(R + ["run", "-d", "--bundle", work, "c"], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # The whole of it.
    for args, status in ((["true"], 0), (["sh", "-c", "exit 9"], 9), (["sh", "-c", "kill -9 $$"], 137)):
        c = Caller(*args)
        m = c.read()
        check("first", "execPid", m["type"])
        check("the pid is the command's", c.process.pid, m["pid"])
        c.say('{"type":"execPidDone"}')
        check("then", {"type": "execStatus", "exited": True, "exited_status": status}, c.read())
        check("it waits for us", None, c.process.poll())
        c.say('{"type":"execStatusDone"}')
        check("nothing more", None, c.read())
        check("exit status", status, c.end()[0])
    # In pieces; and its output goes where it should.
    c = Caller("sh", "-c", "echo out; echo err >&2; env | busybox grep -c PROC_SYNC")
    c.read()
    for piece in ('{"ty', 'pe":"exec', 'PidDone"', '}'):
        c.say(piece)
        time.sleep(0.05)
    check("pieces", 1, c.read()["exited_status"])
    c.say('{"type":"execStatusDone"}')
    status, out, err = c.end()
    check("output", ("out\n0\n", "err\n"), (out, err))
    # Detached: the process that stays behind talks.
    c = Caller("sh", "-c", "exit 4", flags=["-d"])
    m = c.read()
    check("detached", "execPid", m["type"])
    check("another process", True, m["pid"] != c.process.pid)
    check("the command is done", 0, c.process.wait(60))
    c.say('{"type":"execPidDone"}')
    check("its status", 4, c.read()["exited_status"])
    c.say('{"type":"execStatusDone"}')
    check("end", None, c.read())
    c.end()
    # What fails says so.
    for args, flags, words in ((["nosuch"], [], "executable file not found in $PATH"),
                               (["true"], ["--user", "x"], "--user must be UID[:GID]"),
                               (["true"], ["-t", "-d"], "cannot allocate tty")):
        c = Caller(*args, flags=flags)
        m = c.read()
        check("error", ("error", True), (m["type"], words in m["message"]))
        check("no more", None, c.read())
        check("exit status of a failure", 255, c.end()[0])
    # Nonsense instead of an answer ends it.
    for text in ("x", "{}", '{"type":"execStatusDone"}', '{"type":"execPidDone"', "[" * 100000):
        c = Caller("sleep", "100000")
        c.read()
        c.say(text)
        c.sock.shutdown(socket.SHUT_WR)
        check("nonsense " + text[:20], 255, c.end()[0])
    wait_alone("after nonsense")
    # A caller that goes: before a message, after the pid, while it runs, before the last answer.
    for step in range(4):
        c = Caller("sh", "-c", "exit 0" if step == 3 else "sleep 100000")
        if step:
            c.read()
        if step > 1:
            c.say('{"type":"execPidDone"}')
        if step > 2:
            c.read()
        c.sock.close()
        try:
            c.process.wait(60)
        except subprocess.TimeoutExpired:
            check(f"step {step}", "ends", "lives")
            c.process.kill()
        c.end()
        wait_alone(f"caller gone at step {step}")
    # The command itself is killed.
    c = Caller("sleep", "100000")
    c.read()
    c.process.send_signal(signal.SIGKILL)
    check("its end is seen", None, c.read())
    c.end()
    wait_alone("command killed")
    # A descriptor that is none.
    for nr in ("", "x", "77", "0"):
        p = subprocess.run(R + ["runcext", "exec", "c", "true"], capture_output=True, text=True,
                           env=dict(os.environ, _RUNCEXT_PROC_SYNC_PIPE=nr), stdin=subprocess.DEVNULL)
        check(f"descriptor '{nr}'", 255, p.returncode)
finally:
    subprocess.run(R + ["delete", "--force", "c"], stderr=subprocess.DEVNULL)
    left = os.listdir(os.path.join(work, "state")) if os.path.isdir(os.path.join(work, "state")) else []
    check("state left", [], left)
    shutil.rmtree(work, ignore_errors=True)
sys.exit(1 if failed else 0)
