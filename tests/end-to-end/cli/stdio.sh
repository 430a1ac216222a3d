#!/bin/bash
# Standard input and output of every kind: files share their offset with the caller, pipes and fifos are
# read no further than asked, sockets work, reads can be interrupted, /dev/stdout opens.
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
moat() { timeout -s KILL 60 "$MOAT" do -- "$@"; }
failed=0
check() { # check NAME GOT WANTED
	[ "$2" = "$3" ] && return
	printf '%s: got "%s", expected "%s"\n' "$1" "$2" "$3"
	failed=1
}

# One description for caller and sandbox, standard output and error together.
(echo 1; moat sh -c 'echo 2; echo 3 >&2'; echo 4) > out 2>&1
check "shared offset" "$(tr '\n' ' ' < out)" "1 2 3 4 "
echo first > out
moat echo second >> out
check "append" "$(tr '\n' ' ' < out)" "first second "
printf 'abcdef\n' > in
check "input offset" "$( (moat head -c 2; cat) < in)" "abcdef"
check "lseek and pread" "$(moat python3 -c '
import os
print(os.pread(0, 2, 3).decode(), os.lseek(0, 0, 1), os.lseek(0, 1, 0), os.read(0, 2).decode(), os.lseek(0, 0, 2))' < in)" "de 0 1 bc 7"
check "mmap" "$(moat python3 -c '
import mmap; print(mmap.mmap(0, 7, prot=mmap.PROT_READ)[:3].decode())' < in)" "abc"

# The caller's files are only added to, whatever the caller's way of opening them.
echo before > out
(moat sh -c 'echo more; echo again > /dev/stdout; echo end'; echo after) 1<> out
check "written at the end" "$(tr '\n' ' ' < out)" "before more again end after "
echo kept > out
moat python3 -c '
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def tried(f, *args):
    try:
        return str(f(*args))
    except OSError as e:
        return errno.errorcode[e.errno]
def fallocate(mode):
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    return "0" if libc.fallocate(1, mode, 0, 4096) == 0 else errno.errorcode[ctypes.get_errno()]
os.write(1, b"x\n")
source = os.open("/etc/passwd", os.O_RDONLY)
print(tried(os.ftruncate, 1, 0), tried(os.truncate, "/proc/self/fd/1", 0), fallocate(0), fallocate(3),
      tried(os.lseek, 1, 0, 0), tried(os.lseek, 1, 0, 1), tried(os.lseek, 1, 0, 2), tried(os.pwrite, 1, b"y\n", 0),
      tried(os.sendfile, 1, source, 0, 0), file=sys.stderr)' 1<> out 2> errors
check "only added to" "$(tr '\n' ' ' < out)" "kept x y "
check "nothing else" "$(cat errors)" "EPERM EPERM EPERM EPERM ESPIPE 7 7 2 0"

# What a program sees of them.
kinds='import os, stat, sys
print([stat.S_IFMT(os.fstat(f).st_mode) == k for f, k in ((0, stat.S_IFREG), (1, stat.S_IFIFO))])'
check "types" "$(moat python3 -c "$kinds" < in | cat)" "[True, True]"
check "reopen" "$(moat sh -c 'echo via > /dev/stdout; echo err > /dev/stderr' 2>&1 | cat | tr '\n' ' ')" \
	"via err "
check "no input" "$(moat cat < /dev/null; echo $?)" "0"

# Pipes: as they come, not before; and no more than was asked for.
check "late input" "$( (echo a; sleep 1; echo b) | moat cat | tr '\n' ' ')" "a b "
check "not read ahead" "$(printf 'one\ntwo\n' | (moat sh -c 'read x; echo $x' ; cat) | tr '\n' ' ')" \
	"one two "
mkfifo fifo
(sleep 0.3; echo through > fifo) &
check "fifo" "$(moat cat < fifo)" "through"
check "interrupted read" "$(sleep 6 | moat sh -c 'timeout 0.5 cat; echo $?')" "124"
check "closed reader" "$(moat sh -c 'yes; kill -l $? >&2' 2>&1 > >(head -1 > /dev/null))" "PIPE"

# A socket for both.
check "socket" "$(timeout 60 python3 -c '
import os, socket, subprocess
a, b = socket.socketpair()
p = subprocess.Popen([os.environ["MOAT"], "do", "--", "cat"], stdin=b, stdout=b)
b.close()
a.sendall(b"x" * 100000)
a.shutdown(socket.SHUT_WR)
n = 0
while d := a.recv(65536):
    n += len(d)
print(n, p.wait())')" "100000 0"
exit $failed
