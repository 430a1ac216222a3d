#!/bin/bash
# A headless browser, with zygote, renderer and network processes, shows a page that a script made.
command -v chromium >/dev/null || exit 77
cat >page.html <<'EOF'
<html><head><title>t</title></head><body><h1>Hello</h1><p id=p></p><script>
const worker = new Worker(URL.createObjectURL(new Blob(['postMessage([1, 2, 3].map(x => x * x).join())'])));
document.getElementById('p').textContent = 'js ' + 6 * 7;
document.title = [...'moat'].reverse().join('');
</script></body></html>
EOF
# What it says of a machine without D-Bus and devices is not compared.
timeout 140 chromium --no-sandbox --headless --disable-gpu --disable-dev-shm-usage --no-first-run \
	--user-data-dir="$PWD/profile" --dump-dom "file://$PWD/page.html" 2>/dev/null
status=$?
rm -rf page.html profile .cache .config .local .pki
exit $status
