#!/bin/bash
# Network namespaces cost the sentry memory: beyond a share of the sandbox's there are no more, and what
# has gone is given back.
set -u
[ "$(id -u)" = 0 ] && command -v python3 >/dev/null || exit 77
out=$("$MOAT" do --memory=512M -- python3 -c '
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def make(): # a namespace, and its stack
    if libc.unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")
    return socket.socket()
def fill():
    held = []
    try:
        for i in range(5000):
            held.append(make())
    except OSError as e:
        return len(held), errno.errorcode[e.errno]
    return len(held), "no end"
first, second = fill(), fill()
print(*first, *second)
for i in range(2000):
    make().close()
make()
print("more")
')
echo "$out"
read -r n1 why1 n2 why2 <<<"$out"
[[ $out == *more && $why1 == ENOMEM && $why2 == ENOMEM ]] && [ "$n1" -gt 50 ] && [ "$n1" -lt 2000 ] &&
	[ "$n2" -ge $((n1 * 9 / 10)) ]
