#!/usr/bin/env python3
"""image.py OUT: an image of busybox, as `docker save` would have it, under two names: box, whose command is a
shell, and pause, which sleeps."""
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile

busybox_path = shutil.which("busybox")
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as t:
    def add(name, type=tarfile.DIRTYPE, mode=0o755, data=b"", link=""):
        i = tarfile.TarInfo(name)
        i.type, i.mode, i.size, i.linkname = type, mode, len(data), link
        t.addfile(i, io.BytesIO(data))
    for d in ("bin", "etc", "root", "proc", "sys", "dev"):
        add(d)
    add("tmp", mode=0o1777)
    busybox = open(busybox_path, "rb").read()
    add("bin/busybox", tarfile.REGTYPE, 0o755, busybox)
    for a in subprocess.run([busybox_path, "--list"], capture_output=True, text=True).stdout.split():
        if a != "busybox":
            add("bin/" + a, tarfile.SYMTYPE, 0o777, link="busybox")
    add("etc/passwd", tarfile.REGTYPE, 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
layer = layer.getvalue()


def image(tag, command):
    config = json.dumps({"architecture": "amd64", "os": "linux",
                         "config": {"Env": ["PATH=/bin"], "Cmd": command},
                         "rootfs": {"type": "layers",
                                    "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    return {"Config": tag + ".json", "RepoTags": [f"moat.test/{tag}:latest"], "Layers": ["layer.tar"]}, config


images = [image("box", ["sh"]), image("pause", ["sleep", "1000000"])]
files = [("layer.tar", layer), ("manifest.json", json.dumps([m for m, _ in images]).encode())]
files += [(m["Config"], config) for m, config in images]
with tarfile.open(sys.argv[1], "w") as t:
    for name, data in files:
        i = tarfile.TarInfo(name)
        i.size = len(data)
        t.addfile(i, io.BytesIO(data))
