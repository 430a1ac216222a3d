#!/bin/bash
# tools/rooms on small trees made here: what the rules allow passes, every kind of breach is found.
set -u
work=$(mktemp -d /tmp/moat-rooms.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0

# tree: a fresh one, base <- netstack/low <- netstack/high; high has an inside.
tree() {
	rm -rf "$work/tree"
	mkdir -p "$work"/tree/{base,netstack/low,netstack/high,tools}
	cd "$work/tree" || exit 1
	echo 'int base;' >base/base.h
	printf '#include "base/base.h"\n' >netstack/low/low.h
	printf '#include "netstack/low/low.h"\n' >netstack/low/low.c
	printf '#include <stdio.h>\n#include "netstack/low/low.h"\n' >netstack/high/high.h
	printf '#include "netstack/high/high_internal.h"\n' >netstack/high/high.c
	printf '#include "high.h"\n' >netstack/high/high_internal.h
	printf '# low\n\nMay include: `base`.\n\nMore.\n' >netstack/low/README.md
	printf '# high\n\nMay include: `base`, `low`.\n' >netstack/high/README.md
	cat >tools/rooms.allow <<'EOF'
strict netstack/...
base:
netstack/low: base
netstack/high: base \
	netstack/low
EOF
}

# expect STATUS PATTERN WHAT: what tools/rooms makes of the tree.
expect() {
	local out rc
	out=$("$SOURCE/tools/rooms" --quiet --tree "$work/tree" 2>&1)
	rc=$?
	if [ $rc != "$1" ] || ! grep -qE "$2" <<<"$out"; then
		echo "$3: status $rc (expected $1), output (expected $2):"
		echo "$out"
		bad=1
	fi
}

tree
expect 0 '^$' 'a tree in order'

tree
printf '#include "netstack/high/high.h"\n' >>netstack/low/low.c
expect 1 '^netstack/low/low.c:2: netstack/low may not include netstack/high' 'an include upwards'
expect 1 '^a circle: netstack/high netstack/low$' 'the circle that it makes'
expect 1 '^    netstack/high/high.h:2: includes netstack/low/low.h$' 'a way round the circle'

tree
printf '\t#  include\t"../high/high.h"\n' >>netstack/low/low.c
expect 1 '^netstack/low/low.c:2: netstack/low may not include netstack/high' 'a relative path'

tree
sed -i 's|^netstack/low: base|& netstack/high|' tools/rooms.allow
printf '#include "netstack/high/high_internal.h"\n' >>netstack/low/low.c
expect 1 "^netstack/low/low.c:2: netstack/high/high_internal.h is netstack/high's own" 'an inside'
echo 'open netstack/high/high_internal.h: netstack/low' >>tools/rooms.allow
echo 'circle netstack/...' >>tools/rooms.allow
expect 1 '^a circle' 'no circle where rooms are strict'
sed -i '/^strict/d' tools/rooms.allow
expect 0 '^$' 'a circle and an inside that the rules allow'
mkdir sentry
printf '#include "netstack/low/low.h"\n' >sentry/new.c
printf '#include "sentry/new.c"\n' >>netstack/low/low.h
printf 'sentry: netstack/...\nnetstack/low: base netstack/high sentry\n' >>tools/rooms.allow
sed -i '0,/^netstack\/low/{/^netstack\/low/d}' tools/rooms.allow
expect 1 '^a circle: netstack/high netstack/low sentry$' 'a circle that has grown'

tree
mkdir netstack/new
echo 'int new;' >netstack/new/new.c
expect 1 '^netstack/new: the rules do not know this room' 'a new room'

tree
printf '#include "netstack/none/none.h"\n' >>netstack/low/low.c
expect 1 'netstack/none/none.h: there is no such room' 'a room that is not there'

tree
sed -i 's|^netstack/high: base|netstack/high:|' tools/rooms.allow
expect 1 'netstack/high may not include base, and does by way of netstack/low/low.h, base/base.h' \
	'what is seen through another header'

tree
echo 'int nothing;' >netstack/low/low.h
sed -i 's|`base`, ||' netstack/high/README.md
expect 1 '^rules: netstack/low may include base, and does not' 'a rule that nothing needs'
expect 1 'high/README.md: says that the room may include netstack/low; the rules say base' \
	'a README that says something else'

# And on this tree.
rm -rf "$work/tree"
mkdir "$work/tree"
cp -r "$SOURCE/base" "$SOURCE/netstack" "$SOURCE/tools" "$work/tree/" || exit 1
cp -r "$SOURCE/sentry" "$SOURCE/filter" "$SOURCE/boot" "$SOURCE/lib" "$work/tree/" || exit 1
[ ! -d "$SOURCE/control" ] || cp -r "$SOURCE/control" "$work/tree/" || exit 1
expect 0 '^$' 'this tree'
printf '#include "netstack/tcp/tcp_internal.h"\n' >>"$work/tree/netstack/ip/ip_output.c"
expect 1 'netstack/ip may not include netstack/tcp' 'this tree with a forbidden include'
expect 1 "tcp_internal.h is netstack/tcp's own" 'this tree with a forbidden include'
exit $bad
