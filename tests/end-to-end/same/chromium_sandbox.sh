#!/bin/bash
# A headless browser with its own sandbox, which an ordinary user makes of user namespaces: it prints a
# page, and its renderers are in namespaces of their own behind a filter.
command -v chromium >/dev/null && [ "$(id -u)" = 0 ] || exit 77
user="setpriv --reuid 12345 --regid 12345 --clear-groups"
$user unshare -Ur true 2>/dev/null || exit 77
home=$(mktemp -d /tmp/moat-chromium-XXXXXX)
trap 'rm -rf "$home"' EXIT
chown 12345:12345 "$home"
export HOME=$home
cat >"$home/page.html" <<'END'
<html><head><title>t</title></head><body><p id=p></p><script>
document.getElementById('p').textContent = 'js ' + 6 * 7;
</script></body></html>
END
chmod 644 "$home/page.html"
# What it says of a machine without D-Bus and devices is not compared.
timeout 140 $user chromium --headless --disable-gpu --disable-dev-shm-usage --no-first-run \
	--user-data-dir="$home/profile" --dump-dom "file://$home/page.html" 2>/dev/null
