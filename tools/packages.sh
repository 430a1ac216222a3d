# Installs Debian packages that are missing; sourced by tools/quickstart and tools/check.
# install_missing PACKAGE...
install_missing() {
	local missing=() p
	for p in "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed ||
			missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	echo "installing: ${missing[*]}"
	if [ "$(id -u)" != 0 ]; then
		echo "$0: run it as root (sudo), or install these packages first" >&2
		return 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q >/dev/null || return 1
	apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null || return 1
}

BUILD_PACKAGES="gcc libc6-dev make cmake ninja-build pkg-config libseccomp-dev libjansson-dev
	libcap-dev libbsd-dev libnl-3-dev libnl-route-3-dev libzydis-dev liburing-dev protobuf-c-compiler libprotobuf-c-dev"

# build PRESET FOLDER [TARGET]: configures once, builds what changed.
build() {
	local log
	log=$(mktemp)
	if { [ -f "$2/build.ninja" ] || cmake --preset "$1" >"$log" 2>&1; } &&
		cmake --build "$2" ${3:+--target "$3"} >"$log" 2>&1; then
		rm -f "$log"
		return 0
	fi
	tail -50 "$log" >&2
	rm -f "$log"
	echo "building ($1) failed" >&2
	return 1
}
