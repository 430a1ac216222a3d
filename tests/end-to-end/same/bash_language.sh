#!/bin/bash
# Pipelines, subshells, here-documents, traps, functions, arithmetic, globs.
echo one two three | tr ' ' '\n' | sort -r | head -2
(cd / && pwd; exit 3); echo "subshell: $?"
cat <<EOF
here-document of $((6 * 7)) in $(basename "$PWD")
EOF
cat <<<"here-string"
f() { local x=$1; echo "f($x) $#"; return 4; }
f a b; echo "f: $?"
trap 'echo "exit trap"' EXIT
trap 'echo "usr1 trap"' USR1
kill -USR1 $$
trap 'echo "err trap"' ERR
false
trap - ERR
set -o pipefail
false | true; echo "pipefail: $?"
false | true | (exit 5); echo "${PIPESTATUS[@]}"
touch a1 a2 b1; echo a* ?1; rm -f a1 a2 b1; echo a*
while read -r n; do echo "line $n"; done < <(seq 3)
exec 7>file; echo "to seven" >&7; exec 7>&-; cat file; rm file
diff <(echo x) <(echo y); echo "diff: $?"
for i in {1..50}; do echo $i; done | while read -r i; do echo $((i * i)); done | tail -1
s=abcdef; echo "${s:2:3} ${s/cd/XX} ${#s} ${s^^}"
declare -A m=([k]=v [l]=w); echo "${m[k]} ${#m[@]}"
case $s in a*f) echo matched;; *) echo no;; esac
printf '%05d|%-5s|%x\n' 42 ab 255
ulimit -n 64; ulimit -n
umask 077; touch private; stat -c %a private; rm private
sh -c 'kill -TERM $$'; echo "killed: $?"
sh -c 'kill -KILL $$'; echo "killed: $?"
nosuchcommand 2>/dev/null; echo "missing: $?"
/etc/passwd 2>/dev/null; echo "not executable: $?"
exec bash -c 'echo exec; exit 9'
