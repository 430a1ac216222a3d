#!/bin/bash
# A room's internal headers are found by its own sources only, and of a part with rooms the others
# find the doors: tried with the very commands that compile the sources.
set -u
work=$(mktemp -d /tmp/moat-doors.XXXXXX)
trap 'rm -rf "$work"' EXIT
commands=$BUILD/compile_commands.json
[ -f "$commands" ] || exit 77
bad=0

# try SOURCE HEADER: compiles an #include of HEADER as SOURCE is compiled.
try() {
	printf '#include <errno.h>\n#include "%s"\nextern int unused;\n' "$2" >"$work/try.c"
	python3 - "$commands" "$SOURCE/$1" "$work/try.c" <<'EOF'
import json, shlex, subprocess, sys
commands, source, instead = sys.argv[1:]
with open(commands, encoding="utf-8") as f:
    found = [c for c in json.load(f) if c["file"] == source]
if not found:
    sys.exit(f"{source} is not compiled")
args = shlex.split(found[0]["command"])
args = args[:args.index("-o")] + args[args.index("-o") + 2:]
args = [instead if a == source else a for a in args if a != "-c"]
sys.exit(subprocess.run(args + ["-fsyntax-only"], cwd=found[0]["directory"]).returncode)
EOF
}

finds() {
	if ! try "$1" "$2" >"$work/log" 2>&1; then
		echo "$1 should find $2:"
		cat "$work/log"
		bad=1
	fi
}

finds_not() {
	if try "$1" "$2" >"$work/log" 2>&1 || ! grep -qE "No such file|file not found" "$work/log"; then
		echo "$1 should not find $2:"
		cat "$work/log"
		bad=1
	fi
}

# Between rooms.
finds netstack/tcp/tcp_input.c netstack/tcp/tcp_internal.h
finds netstack/tcp/tcp_input.c netstack/ip/ip.h
finds_not netstack/tcp/tcp_input.c netstack/ip/ip_internal.h
finds netstack/ip/ip4_input.c netstack/ip/ip_internal.h
finds_not netstack/ip/ip4_input.c netstack/tcp/tcp_internal.h
finds_not netstack/core/core.c netstack/buffer/npool_internal.h
finds_not netstack/stack/stack.c netstack/device/link_fd_internal.h
finds sentry/kernel/exec/exec_load.c sentry/kernel/exec/exec_internal.h
finds_not sentry/kernel/run/kernel.c sentry/kernel/exec/exec_internal.h
finds_not sentry/vfs/name/open.c sentry/vfs/file/file_internal.h
finds_not sentry/net/socket.c sentry/net/unix/unix_internal.h
# Into a part with rooms.
finds sentry/net/inet/socket.c netstack/netstack.h
finds sentry/net/inet/socket.c netstack/buffer/nbuf.h
finds_not sentry/net/inet/socket.c netstack/tcp/tcp.h
finds_not sentry/net/inet/socket.c netstack/tcp/tcp_internal.h
finds_not sentry/net/inet/socket.c netstack/core/core.h
finds boot/loader/loader.c sentry/kernel/run/kernel.h
finds_not boot/loader/loader.c sentry/kernel/run/run_internal.h
# Between parts.
finds_not netstack/ip/ip4_input.c sentry/vfs/file.h
finds_not base/log.c netstack/netstack.h
exit $bad
