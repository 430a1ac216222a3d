#!/usr/bin/python3
"""A pod through containerd's CRI plugin, as a kubelet has it made: says what every step answers.

cri.py SOCKET HANDLER WORK: the plugin's socket, the runtime handler, a directory of the test's own.
Numbers of fields are those of the CRI's runtime.v1 (kubernetes/cri-api).
"""
import os
import subprocess
import sys
import time

import grpc

BOX = "moat.test/box:latest"


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(message):
    """{field: int, str, bytes, dict, or a list of them} as protobuf's wire format."""
    out = b""
    for field, value in message.items():
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, int):
                out += varint(field << 3) + varint(v)
                continue
            v = encode(v) if isinstance(v, dict) else v.encode() if isinstance(v, str) else v
            out += varint(field << 3 | 2) + varint(len(v)) + v
    return out


def decode(data):
    """The last value of each field: int or bytes."""
    out, i = {}, 0

    def number():
        nonlocal i
        n = shift = 0
        while True:
            b = data[i]
            i += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    while i < len(data):
        key = number()
        if key & 7 == 0:
            out[key >> 3] = number()
        elif key & 7 == 2:
            n = number()
            out[key >> 3] = data[i:i + n]
            i += n
        else:
            raise ValueError(f"wire type {key & 7}")
    return out


class Runtime:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel("unix://" + socket)

    def __call__(self, method, request, timeout=120):
        call = self.channel.unary_unary("/runtime.v1.RuntimeService/" + method,
                                        request_serializer=encode, response_deserializer=decode)
        return call(request, timeout=timeout)


def say(what, *values):
    print(f"{what}:", *values, flush=True)


def until(what, condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    say(what, "never")


class Pod:
    def __init__(self, cri, handler, work):
        self.cri, self.work = cri, work
        self.logs = f"{work}/logs"
        os.makedirs(self.logs, exist_ok=True)
        self.config = {1: {1: "pod", 2: f"uid-{handler}", 3: "default"}, 2: "pod-host", 3: self.logs,
                       8: {2: {1: {1: 0, 2: 1, 3: 0}}}}
        self.id = cri("RunPodSandbox", {1: self.config, 2: handler})[1].decode()

    def ip(self):
        status = decode(self.cri("PodSandboxStatus", {1: self.id})[1])
        say("pod ready", status.get(3, 0) == 0)
        return decode(status[5])[1].decode()

    def container(self, name, *command, mounts=(), linux=None):
        config = {1: {1: name}, 2: {1: BOX}, 3: list(command), 11: f"{name}.log", 15: linux or {},
                  7: [{1: inside, 2: outside} for outside, inside in mounts]}
        made = self.cri("CreateContainer", {1: self.id, 2: config, 3: self.config})
        return made[1].decode()

    def start(self, *args, **options):
        container = self.container(*args, **options)
        self.cri("StartContainer", {1: container})
        return container

    def status(self, container):
        status = decode(self.cri("ContainerStatus", {1: container})[1])
        return ["created", "running", "exited"][status.get(3, 0)], status.get(7, 0)

    def log(self, name):
        """What the container wrote, without the times."""
        with open(f"{self.logs}/{name}.log", encoding="utf-8") as log:
            return [line.rstrip("\n").split(" ", 3)[1:] for line in log]

    def run(self, container, *command, timeout=30):
        try:
            r = self.cri("ExecSync", {1: container, 2: list(command), 3: timeout})
        except grpc.RpcError as e:
            return e.code().name
        return r.get(3, 0), r.get(1, b"").decode(), r.get(2, b"").decode()


def network(pod, web, client):
    ip = pod.ip()
    until("the server", lambda: pod.run(client, "wget", "-qO-", "http://127.0.0.1:8080/f")[0] == 0)
    say("a container's server, from the other", pod.run(client, "wget", "-qO-", "http://127.0.0.1:8080/f"))
    outside = subprocess.run(["busybox", "wget", "-qO-", f"http://{ip}:8080/f"], capture_output=True, timeout=60)
    say("and from the node", outside.returncode, outside.stdout)
    address = pod.run(client, "ip", "-4", "-o", "addr", "show", "eth0")
    say("both have the pod's address", ip in address[1], address == pod.run(web, "ip", "-4", "-o", "addr", "show", "eth0"))


def shared(pod, web, client):
    say("one volume", pod.run(client, "sh", "-c", "echo written > /data/g"), pod.run(web, "cat", "/data/g"))
    say("one /dev/shm", pod.run(client, "sh", "-c", "echo in memory > /dev/shm/x"), pod.run(web, "cat", "/dev/shm/x"))
    say("names", pod.run(web, "hostname"), pod.run(client, "hostname"))
    say("pids of its own", pod.run(client, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"))
    say("the other's root", pod.run(client, "ls", "/only-web"))


def execs(pod, client):
    say("status 3", pod.run(client, "sh", "-c", "echo out; echo err >&2; exit 3"))
    say("no such program", pod.run(client, "/nowhere") == "UNKNOWN")
    say("too slow", pod.run(client, "sleep", "1000", timeout=1))
    say("and then", pod.run(client, "echo", "still there"))


def statistics(pod, client):
    pod.run(client, "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    stats = decode(pod.cri("ContainerStats", {1: client})[1])
    say("cpu time", decode(decode(stats[2])[2])[1] > 10_000_000)
    say("memory", 0 < decode(decode(stats[3])[2])[1] < 1 << 30)


def ends(pod, web, client):
    seven = pod.start("seven", "sh", "-c", "echo last words; exit 7")
    until("the end of seven", lambda: pod.status(seven)[0] == "exited")
    say("seven", pod.status(seven), pod.log("seven"))
    pod.cri("RemoveContainer", {1: seven})
    pod.cri("StopContainer", {1: web, 2: 1})
    say("web, stopped", pod.status(web)[0], pod.status(web)[1] in (137, 143))
    say("client", pod.status(client), pod.run(client, "echo", "alive"))
    limited = pod.start("limited", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000",
                        linux={1: {4: 32 << 20}})
    until("the end of limited", lambda: pod.status(limited)[0] == "exited" or pod.log("limited"))
    say("client", pod.status(client))
    again = pod.start("again", "sh", "-c", "echo from a later container; sleep 1000")
    until("again", lambda: pod.log("again"))
    say("again", pod.status(again), pod.log("again"))


def main():
    socket, handler, work = sys.argv[1:]
    cri = Runtime(socket)
    volume = f"{work}/volume"
    os.makedirs(volume, exist_ok=True)
    with open(f"{volume}/f", "w", encoding="utf-8") as f:
        f.write("a file\n")
    pod = Pod(cri, handler, work)
    web = pod.start("web", "sh", "-c", "mkdir /only-web; exec httpd -f -p 8080 -h /data", mounts=[(volume, "/data")])
    client = pod.start("client", "sleep", "100000", mounts=[(volume, "/data")])
    say("running", pod.status(web), pod.status(client))
    network(pod, web, client)
    shared(pod, web, client)
    execs(pod, client)
    statistics(pod, client)
    ends(pod, web, client)
    cri("StopPodSandbox", {1: pod.id})
    say("stopped", decode(cri("PodSandboxStatus", {1: pod.id})[1]).get(3, 0) == 1)
    cri("RemovePodSandbox", {1: pod.id})
    try:
        cri("PodSandboxStatus", {1: pod.id})
        say("removed", False)
    except grpc.RpcError as e:
        say("removed", e.code().name)


main()
