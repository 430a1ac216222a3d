#!/bin/bash
# Every mistake is one line on stderr that begins with "moat: ", a status, and nothing left behind.
set -u
work=$(mktemp -d /tmp/moat-cli.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0

# expect STATUS PATTERN ARGUMENTS...
expect() {
	local status=$1 pattern=$2 out rc
	shift 2
	out=$(timeout 90 "$MOAT" "$@" 2>&1 >/dev/null </dev/null)
	rc=$?
	if [ $rc != "$status" ] || [ "$(wc -l <<<"$out")" != 1 ] || ! grep -qE "^moat: .*$pattern" <<<"$out"; then
		echo "moat $*: status $rc (expected $status), output:"
		echo "$out"
		bad=1
	fi
}

expect 125 'no command'
expect 125 'unknown command' nosuch
expect 125 'unknown flag --nosuch' --nosuch do true
expect 125 'unknown flag --nosuch' do --nosuch true
expect 125 'needs a value' do --cwd
expect 125 'takes no value' do --strace=yes true
expect 125 'control is needed' sandbox
expect 125 'open descriptor' sandbox --control 77
expect 125 'at least 16M' mcp --memory 1M
expect 125 'takes no arguments' mcp now
expect 125 '0 to 10000' pool --size x
expect 125 'there are status' pool nosuch
expect 125 'No such file' pool --socket /no/such/pool status
expect 125 'no program' do
expect 125 'no program' do --strace --
expect 125 'No such file' do --rootfs /no/such/dir true
expect 125 'Not a directory' do --rootfs /etc/passwd true
expect 125 'absolute' do --cwd relative true
expect 125 'NAME=VALUE' do --env novalue true
expect 125 'no user' do --user nosuchuser true
expect 125 'no group' do --user root:nosuchgroup true
expect 125 'SRC:DST' do --volume /tmp true
expect 125 'No such file' do --volume /no/such:/x true
expect 125 'unknown mode' do --volume /tmp:/x:rx true
expect 125 'sandbox, host or none' do --network=tunnel true
expect 125 'publish goes with --network=sandbox' do --publish 8080:80 --network=host true
expect 125 'egress: /no/such/policy' do --egress=/no/such/policy true
expect 125 'cannot open the log' do --egress=deny --egress-log= true
expect 125 'no platform' do --platform=kvm true
expect 125 'size' do --memory lots true
expect 125 'duration' do --timeout soon true
expect 125 'log' do --debug-log /no/such/dir/log true
expect 127 'no-such-program' do no-such-program
expect 127 '/no/such/program' do /no/such/program
expect 126 '/etc/passwd' do /etc/passwd
expect 126 '/tmp' do /tmp
printf '#!/no/such/interpreter\n' >"$work/script"
printf 'garbage\001\002' >"$work/garbage"
chmod +x "$work/script" "$work/garbage"
expect 127 'script' do "$work/script"
expect 126 'garbage' do "$work/garbage"
expect 124 'time limit' do --timeout 300ms sleep 10

expect 1 'config.json: No such file' run --bundle "$work/none" id
expect 1 'no container id' run --bundle "$work"
expect 1 'invalid container ID format' run --bundle "$work" a/b
mkdir "$work/b"
echo '{' >"$work/b/config.json"
expect 1 'config.json: line 2' run --bundle "$work/b" id
echo '{"ociVersion":"1.0.2","process":{"cwd":"/","args":["sh",3]},"root":{"path":"r"}}' >"$work/b/config.json"
expect 1 'process.args\[1\]: expected a string' run --bundle "$work/b" id
echo '{"ociVersion":"1.0.2","process":{"cwd":"/","args":["sh"]},"root":{"path":"r"}}' >"$work/b/config.json"
expect 1 'root.path: .*No such file' run --bundle "$work/b" id
echo '{"ociVersion":"1.0.2","process":{"cwd":"/","args":["sh"],"terminal":true},"root":{"path":"/"}}' >"$work/b/config.json"
expect 1 'terminal' run --bundle "$work/b" id

[ "$("$MOAT" --version)" ] || bad=1
"$MOAT" help | grep -q 'moat.*do' || { echo "help"; bad=1; }
"$MOAT" help do | grep -q -- --rootfs || { echo "help do"; bad=1; }
exit $bad
