#!/bin/bash
# A sandbox that has been taken over, one attempt each: taken_over.def says which, and how it ends.
set -u
[ "$(id -u)" = 0 ] || exit 77
work=$(mktemp -d /tmp/moat-taken-over.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
tried=0
# Kernels without 32-bit programs have no such table: the instruction itself is a fault.
gcc -x c -o "$work/int80" - <<<'int main(void) { long r = 20; __asm__ volatile("int $0x80" : "+a"(r)); return 0; }' || exit 1
"$work/int80" 2>/dev/null && int80=1 || int80=
while read -r kind name; do
	timeout 120 "$BUILD/boundary/moat_taken_over" do --platform=systrap -- /bin/true "$name" >"$work/out" 2>&1
	case $kind in
	KILLED) expected="moat: the sandbox was killed: it made a system call that its filter forbids" ;;
	HELD) expected="moat: the sandbox ended with status 40" ;;
	esac
	[ $name = compat_int80 ] && [ -z "$int80" ] &&
		expected="moat: the sandbox was killed by signal 11 (Segmentation fault)"
	tried=$((tried + 1))
	grep -qxF "$expected" "$work/out" || { echo "$name: $(cat "$work/out")"; bad=1; }
done < <(sed -n 's/^\(KILLED\|HELD\)(\([a-z0-9_]*\),.*/\1 \2/p' "$(dirname "$0")/taken_over.def")
[ $tried -gt 90 ] || { echo "only $tried attempts"; bad=1; }
[ ! -e /new ] || { echo "a file was made in the host's root"; bad=1; }
exit $bad
