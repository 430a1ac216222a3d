#!/usr/bin/env python3
"""Every block of docs/EMBEDDING.md does what the page says: it is run, and prints the text below it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["SOURCE"])
BUILD = pathlib.Path(os.environ["BUILD"])
MOAT = pathlib.Path(os.environ["MOAT"])
CC = os.environ.get("CC", "cc")


def run(argv, env):
    """A session of its own, so that nothing of it is left, whatever goes wrong."""
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True)
    try:
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, f"{argv}: {process.returncode}"
        return output.decode()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def run_c(code, directory, env):
    source = directory / "example.c"
    # The page leaves out what each C programmer has at the top.
    source.write_text("#include <unistd.h>\n" + code)
    flags = run(["pkg-config", "--cflags", "--libs", "libmoat"], env).split()
    subprocess.run([CC, "-Wall", "-Wextra", "-Werror", str(source), "-o", str(directory / "example"), *flags], check=True)
    return run([str(directory / "example")], env)


def check_json(text, env):
    """What agents are told: the command is there, and answers."""
    for server in json.loads(text)["mcpServers"].values():
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
        answer = subprocess.run(
            [server["command"], *server["args"]],
            env=env,
            input=json.dumps(hello).encode() + b"\n",
            stdout=subprocess.PIPE,
            timeout=120,
            check=True,
        ).stdout
        assert json.loads(answer)["result"]["serverInfo"]["name"] == "moat", answer


def main():
    page = (SOURCE / "docs/EMBEDDING.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ran = 0
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / "bin").mkdir()
        (directory / "bin/moat").symlink_to(MOAT)
        node = shutil.which("node")
        served = (BUILD / "moat-serve").exists() and shutil.which("curl")
        env = {
            **os.environ,
            "PATH": f"{directory}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCE / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PKG_CONFIG_PATH": str(BUILD / "lib"),
            "LD_LIBRARY_PATH": str(BUILD / "lib"),
            "DIR": name,
            "MOAT_NODE": str(SOURCE / "examples/node/index.js"),
        }
        env.pop("MOAT")
        for i, (language, text) in enumerate(blocks):
            if language == "text" or ("moat serve" in text and not served):
                continue
            if language == "js" and not (node and (BUILD / "moat-serve").exists()):
                continue
            if language == "json":
                check_json(text, env)
                ran += 1
                continue
            if language == "c":
                output = run_c(text, directory, env)
            elif language == "js":
                output = run([node, "--input-type=module", "-e", text], env)
            else:
                output = run([sys.executable if language == "python" else "sh", "-c", text], env)
            assert blocks[i + 1][0] == "text", f"no text below: {text}"
            wanted = blocks[i + 1][1]
            assert [s.rstrip() for s in output.split("\n") if s.strip()] == [
                s.rstrip() for s in wanted.split("\n") if s.strip()
            ], f"{text}\nprints\n{output}\nand not\n{wanted}"
            ran += 1
    assert ran >= 7, f"only {ran} blocks"


main()
