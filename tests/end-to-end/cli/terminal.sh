#!/bin/bash
# bash at a terminal: window size, Ctrl-C, Ctrl-Z, jobs, end of input; and the caller's terminal is as
# it was afterwards.
exec timeout -k 5 300 python3 - <<'EOF'
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

moat = os.environ["MOAT"]
def set_size(fd, rows, cols):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))

pid, master = pty.fork()
if pid == 0:
    set_size(0, 33, 77)
    os.execv(moat, [moat, "do", "--env", "PS1=ready> ", "--env", "TERM=dumb", "--", "bash", "--norc", "--noprofile", "--noediting"])
before = None
seen = b""
def expect(pattern, timeout=60):
    global seen
    end = time.monotonic() + timeout
    while not re.search(pattern, seen):
        left = end - time.monotonic()
        if left <= 0 or not select.select([master], [], [], left)[0]:
            print(f"did not see {pattern!r}; saw {seen!r}")
            os.kill(pid, signal.SIGKILL)
            sys.exit(1)
        try:
            seen += os.read(master, 4096)
        except OSError:
            break
    m = re.search(pattern, seen)
    if not m:
        print(f"the terminal closed before {pattern!r}; saw {seen!r}")
        sys.exit(1)
    seen = seen[m.end():]
    return m
def send(text):
    os.write(master, text)

run = b"sh -c 'echo go; exec sleep 100'\r"
expect(rb"ready> ")
send(b"stty size\r"); expect(rb"\n33 77\r\n"); expect(rb"ready> ")
send(b"tty; test -t 0 && echo is-a-tty\r"); expect(rb"\n/dev/"); expect(rb"is-a-tty\r\nready> ")
send(run); expect(rb"\ngo\r\n"); time.sleep(0.5); send(b"\x03"); expect(rb"ready> ")
send(b"echo status $?\r"); expect(rb"\nstatus 130\r\n"); expect(rb"ready> ")
send(run); expect(rb"\ngo\r\n"); time.sleep(0.5); send(b"\x1a"); expect(rb"Stopped.*\r\n"); expect(rb"ready> ")
send(b"jobs\r"); expect(rb"\n\[1\]\+ +Stopped +sh -c"); expect(rb"ready> ")
send(b"fg\r"); expect(rb"\nsh -c[^\n]*\r\n"); time.sleep(0.5); send(b"\x03"); expect(rb"ready> ")
send(b"sh -c 'echo go; exec cat'\r"); expect(rb"\ngo\r\n"); send(b"line\r"); expect(rb"line\r\nline\r\n"); send(b"\x04"); expect(rb"ready> ")
send(b"trap 'stty size' WINCH\r"); expect(rb"ready> ")
set_size(master, 44, 88); os.kill(pid, signal.SIGWINCH); time.sleep(0.3); send(b"\r"); expect(rb"44 88\r\n"); expect(rb"ready> ")
send(b"sleep 0.2 & wait; echo waited\r"); expect(rb"\nwaited\r\n|Done[^\n]*\nwaited"); expect(rb"ready> ")
send(b"stty -echo; read x; stty echo; echo got $x\r"); expect(rb"\r\n"); time.sleep(2); send(b"secret\r"); expect(rb"got secret\r\n"); expect(rb"ready> ")
send(b"exit 5\r"); expect(rb"exit\r\n")
status = os.waitpid(pid, 0)[1]
if os.waitstatus_to_exitcode(status) != 5:
    print("status", os.waitstatus_to_exitcode(status)); sys.exit(1)
EOF
