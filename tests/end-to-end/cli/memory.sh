#!/bin/bash
# --memory: what a program may have, and what happens beyond.
set -u
work=$(mktemp -d /tmp/moat-cli.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	bad=1
}
moat() { timeout 90 "$MOAT" "$@"; }

cat >"$work/hog.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* hog private|shared|forks|hold MEGABYTES */
int main(int argc, char **argv)
{
	size_t n = strtoul(argv[2], NULL, 0) << 20;
	int flags = MAP_ANONYMOUS | (!strcmp(argv[1], "shared") ? MAP_SHARED : MAP_PRIVATE);
	char *p;

	/* In pieces: one that is larger than the limit would be refused. */
	for (size_t i = 0; i < n; i += 1 << 20) {
		p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (p == MAP_FAILED)
			return 3;
		memset(p, 1, 1 << 20);
	}
	if (!strcmp(argv[1], "forks")) {
		for (int i = 0; i < 8; i++)
			if (!fork()) {
				sleep(2);
				_exit(0);
			}
		for (int i = 0; i < 8; i++) {
			int status;

			if (wait(&status) < 0 || status)
				return 4;
		}
	}
	puts("done");
	fflush(stdout);
	if (!strcmp(argv[1], "hold"))
		getchar();
	return 0;
}
C
gcc -O1 -o "$work/hog" "$work/hog.c" || exit 1

same within done "$(moat do --memory 256m "$work/hog" private 100)"
same 'shared within' done "$(moat do --memory 256m "$work/hog" shared 100)"
moat do --memory 64m "$work/hog" private 4000 2>/dev/null; same beyond 137 $?
moat do --memory 64m "$work/hog" shared 4000 2>/dev/null; same 'shared beyond' 137 $?
# The process with the most memory goes, the sandbox stays.
same 'others live' '137 here' \
	"$(moat do --memory 64m sh -c "$work/hog private 4000 2>/dev/null; echo \$? here" 2>/dev/null)"
# Nine processes that share 100 MB have 100 MB.
same 'copy on write' done "$(moat do --memory 200m "$work/hog" forks 100)"
# oom_score_adj decides between equals. Both hold what they have until their input ends.
same oom_score_adj '0 137' "$(moat do --memory 200m bash -c "
	mkfifo /tmp/held /tmp/first /tmp/second
	(echo 1000 >/proc/self/oom_score_adj; exec $work/hog hold 20 </tmp/first >/tmp/held 2>/dev/null) & first=\$!
	exec 8>/tmp/first; read -r _ </tmp/held
	$work/hog hold 190 </tmp/second >/dev/null 2>&1 & second=\$!
	exec 9>/tmp/second
	wait \$first; killed=\$?
	exec 9>&-
	wait \$second; echo \$? \$killed" 2>/dev/null)"
# One request beyond all there is fails at once, as Linux's heuristic overcommit has it.
moat do --memory 64m python3 -c 'bytearray(200 << 20)' 2>&1 | grep -q MemoryError ||
	{ echo "no MemoryError"; bad=1; }
exit $bad
