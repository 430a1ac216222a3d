#!/usr/bin/python3
import asyncio, os, signal, sys
async def main():
    print(await asyncio.gather(*(asyncio.sleep(0.01 * (5 - i), i) for i in range(5))))
    p = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo got $x; exit 4", stdin=-1, stdout=-1)
    out, _ = await p.communicate(b"line\n"); print(out, p.returncode)
    ps = [await asyncio.create_subprocess_shell(f"sleep 0.0{i}; exit {i}") for i in range(8)]
    print([await p.wait() for p in ps])
    async def serve(r, w):
        while line := await r.readline(): w.write(line.upper()); await w.drain()
        w.close()
    server = await asyncio.start_unix_server(serve, "s")
    async def client(n):
        r, w = await asyncio.open_unix_connection("s")
        w.write(b"hello %d\n" % n); w.write_eof()
        got = await r.read(); w.close(); return got
    print(await asyncio.gather(*(client(n) for n in range(20))))
    server.close()
    loop = asyncio.get_running_loop(); got = asyncio.Event(); loop.add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1); await asyncio.wait_for(got.wait(), 60); print("signal")
    print(await loop.run_in_executor(None, sum, range(1000)))
    try: await asyncio.wait_for(asyncio.sleep(10), 0.05)
    except asyncio.TimeoutError: print("timeout")
    await asyncio.wait_for(asyncio.to_thread(os.listdir, "/usr"), 60); q = asyncio.Queue(); asyncio.create_task(q.put(1)); print(await q.get())
asyncio.run(main()); os.unlink("s")
