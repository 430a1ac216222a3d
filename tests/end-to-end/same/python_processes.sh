#!/usr/bin/python3
import multiprocessing as mp, os, signal, subprocess, sys
def square(n): return n * n
def child(conn, q, value, lock):
    for _ in range(100):
        with lock: value.value += 1
    conn.send({"got": conn.recv()}); q.put(os.getpid() > 0)
if __name__ == "__main__":
    with mp.Pool(4) as pool:
        print(sum(pool.map(square, range(1000))))
        print(pool.apply_async(square, (12,)).get(10))
    for method in "fork", "spawn":
        ctx = mp.get_context(method)
        a, b = ctx.Pipe(); q = ctx.Queue(); v = ctx.Value("i", 0); lock = ctx.Lock()
        ps = [ctx.Process(target=child, args=(b, q, v, lock)) for _ in range(1)]
        for p in ps: p.start()
        a.send("hello"); print(a.recv(), q.get())
        for p in ps: p.join()
        print(method, v.value, [p.exitcode for p in ps])
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=4096); m.buf[:5] = b"shmem"
    n = shared_memory.SharedMemory(name=m.name); print(bytes(n.buf[:5])); n.close(); m.close(); m.unlink()
    print(subprocess.run(["echo", "out"], capture_output=True, text=True))
    print(subprocess.run("echo err >&2; exit 3", shell=True, capture_output=True))
    p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = p.communicate(b"x" * 1000000); print(len(out), p.returncode)
    try: subprocess.run(["sleep", "10"], timeout=0.1)
    except subprocess.TimeoutExpired: print("timeout")
    p = subprocess.Popen(["sleep", "10"]); p.send_signal(signal.SIGTERM); print(p.wait())
    try: subprocess.run(["/no/such/program"])
    except FileNotFoundError as e: print(e)
    r, w = os.pipe(); os.set_inheritable(w, True)
    os.dup2(w, 200); subprocess.run(["bash", "-c", "echo through >&200"], close_fds=False); os.close(200); os.close(w); print(os.read(r, 100))
    print(subprocess.run(["pwd"], cwd="/usr", capture_output=True).stdout, subprocess.run(["env"], env={"A": "b"}, capture_output=True).stdout)
    pid = os.posix_spawn("/bin/echo", ["echo", "spawned"], {}); print(os.waitpid(pid, 0)[1])
    sys.exit(5)
