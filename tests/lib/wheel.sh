#!/bin/sh
# The wheel is built without a network, installs, and works from where it is.
set -eu
python3 -m venv --help >/dev/null 2>&1 || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 - "$SOURCE/python" "$dir" <<'P'
import importlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
print(importlib.import_module("wheel_backend").build_wheel(sys.argv[2]))
P
if python3 -m pip --version >/dev/null 2>&1; then
	python3 -m pip install --quiet --no-index --no-deps --target "$dir/site" "$dir"/moat-*.whl
else
	mkdir "$dir/site"
	(cd "$dir/site" && python3 -m zipfile -e "$dir"/moat-*.whl .)
fi
test -f "$dir/site/moat/py.typed"
cd "$dir"
PYTHONPATH="$dir/site" python3 -c '
import moat
with moat.Sandbox() as sb:
    assert sb.run(["echo", "hi"]).stdout == "hi\n"
'
