#!/bin/bash
# Programs built by Go: their runtime makes its own system calls.
for p in /usr/local/bin/docker /usr/bin/age /usr/bin/gofmt /usr/lib/go*/bin/gofmt; do
	[ -x "$p" ] || continue
	found=1
	case $p in
	*docker) $p --version; $p run --nosuchflag 2>&1 | head -2; for i in 1 2 3 4 5; do $p --version; done | sort -u ;;
	*age) $p --version; echo $?; echo secret >s; age-keygen -o key 2>/dev/null; $p -R <(age-keygen -y key) -o s.age s && $p -d -i key s.age ;;
	*gofmt) printf 'package x\nfunc  f( ) {\nreturn}\n' >x.go; $p -d x.go | tail -4 | cut -c1-40; $p x.go ;;
	esac
done
[ -n "$found" ] || exit 77
