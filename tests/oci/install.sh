#!/bin/bash
# moat install and uninstall: what the engines' files become, twice, back again; nothing else in them changes.
# Then the words for bash, and that the manual pages are well formed.
set -u
work=$(mktemp -d /tmp/moat-install.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	printf '%s: expected\n%s\ngot\n%s\n' "$1" "$2" "$3"
	bad=1
}
install() { "$MOAT" install --prefix "$work" --program /usr/bin/moat "$@" >"$work/out" 2>&1; }
uninstall() { "$MOAT" uninstall --prefix "$work" "$@" >"$work/out" 2>&1; }
etc=$work/etc

# --dry-run changes nothing, and says what it would.
install --dry-run docker containerd podman
same 'status of a dry run' 0 $?
same 'files of a dry run' '' "$(find "$etc" -type f 2>/dev/null)"
grep -q '"path": "/usr/bin/moat"' "$work/out" || { echo "a dry run shows nothing"; bad=1; }

# From nothing, twice, and to nothing.
install docker containerd podman
same status 0 $?
before=$(cd "$etc" && find . -type f | sort | xargs md5sum)
install docker containerd podman
same 'second time' "$before" "$(cd "$etc" && find . -type f | sort | xargs md5sum)"
same 'says so' 3 "$(grep -c 'nothing to do' "$work/out")"
python3 - "$etc" <<-'PY' || bad=1
	import json, sys
	c = json.load(open(sys.argv[1] + "/docker/daemon.json"))
	assert c == {"runtimes": {"moat": {"path": "/usr/bin/moat"}}}, c
	try:
	    import tomllib
	except ImportError:
	    sys.exit(0)
	c = tomllib.load(open(sys.argv[1] + "/containerd/config.toml", "rb"))
	r = c["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["moat"]
	assert r == {"runtime_type": "io.containerd.runc.v2", "options": {"BinaryName": "/usr/bin/moat"}}, r
	c = tomllib.load(open(sys.argv[1] + "/containers/containers.conf.d/50-moat.conf", "rb"))
	assert c == {"engine": {"runtimes": {"moat": ["/usr/bin/moat"]}}}, c
PY
uninstall docker containerd podman
same 'uninstalled' '' "$(find "$etc" -type f)"
uninstall docker containerd podman
same 'uninstalled twice' 0 $?

# What was there stays, byte by byte where it can.
printf '{\n  "debug": true,\n  "runtimes": {"other": {"path": "/x"}, "moat": {"runtimeArgs": ["--debug"]}}\n}\n' \
	>"$etc/docker/daemon.json"
chmod 600 "$etc/docker/daemon.json"
printf 'version = 2\nroot = "/x"\n[plugins]\n  a = 1' >"$etc/containerd/config.toml"
install docker containerd
same 'mode' 600 "$(stat -c %a "$etc/docker/daemon.json")"
python3 - "$etc" <<-'PY' || bad=1
	import json, sys
	c = json.load(open(sys.argv[1] + "/docker/daemon.json"))
	assert list(c) == ["debug", "runtimes"], c
	assert c["runtimes"]["other"] == {"path": "/x"}, c
	assert c["runtimes"]["moat"] == {"runtimeArgs": ["--debug"], "path": "/usr/bin/moat"}, c
PY
uninstall docker containerd
same 'containerd, as before' $'version = 2\nroot = "/x"\n[plugins]\n  a = 1' "$(cat "$etc/containerd/config.toml")"
same 'docker, the others' '{"debug": true, "runtimes": {"other": {"path": "/x"}}}' \
	"$(python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))))' "$etc/docker/daemon.json")"

# A moat that somebody has written there by hand is his.
printf 'version = 2\n[plugins."x".containerd.runtimes.moat]\n' >"$etc/containerd/config.toml"
install containerd
same "somebody's own" 2 "$(wc -l <"$etc/containerd/config.toml")"

# What cannot be read is left alone.
echo '{' >"$etc/docker/daemon.json"
install docker
same 'broken: status' 1 $?
same 'broken' '{' "$(cat "$etc/docker/daemon.json")"
echo '{"default-runtime": "moat"}' >"$etc/docker/daemon.json"
uninstall docker
same 'default: status' 1 $?
printf 'root = "/x"\n' >"$etc/containerd/config.toml"
install containerd
same 'an old form: status' 1 $?
install nonsense
same 'nonsense: status' 1 $?
same 'no temporary is left' '' "$(find "$etc" -name '*moat-new')"

# Completion, and pages.
"$MOAT" help --completion >"$work/completion"
complete_words() {
	bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moat; echo "${COMPREPLY[@]}"' \
		- "$work/completion" "$@"
}
same 'completes a command' 'install' "$(complete_words moat inst)"
same 'completes a flag' '--console-socket' "$(complete_words moat --root /x exec --con)"
same 'completes an engine' 'podman' "$(complete_words moat install po)"
mkdir "$work/pages"
for c in '' $("$MOAT" help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'); do
	# shellcheck disable=SC2086
	"$MOAT" help --man $c >"$work/pages/moat${c:+-}$c.1" || { echo "no page for $c"; bad=1; }
done
python3 - "$work/pages" <<-'PY' || bad=1
	import os, re, sys
	names = os.listdir(sys.argv[1])
	assert len(names) > 20, names
	for name in names:
	    text = open(os.path.join(sys.argv[1], name)).read()
	    assert text.startswith(".TH MOAT"), name
	    for section in ("NAME", "SYNOPSIS", "DESCRIPTION"):
	        assert f"\n.SH {section}\n" in text, (name, section)
	    # A line that begins with a dot is one of these requests.
	    for line in re.findall(r"^[.'].*", text, re.M):
	        assert re.match(r"\.(TH|SH|TP|B|BR|I|PP)( |$)", line), (name, line)
PY
exit $bad
