#!/usr/bin/python3
import concurrent.futures, os, queue, threading, time
q = queue.Queue()
results = []
def worker():
    while (n := q.get()) is not None:
        results.append(n * n)
threads = [threading.Thread(target=worker) for _ in range(16)]
for t in threads: t.start()
for n in range(20000): q.put(n)
for _ in threads: q.put(None)
for t in threads: t.join()
print(len(results), sum(results))
lock, cond, ready = threading.Lock(), threading.Condition(), []
def waiter(i):
    with cond:
        cond.wait_for(lambda: len(ready) == 1, timeout=100)
        results.append(i)
ts = [threading.Thread(target=waiter, args=(i,)) for i in range(10)]
for t in ts: t.start()
with cond:
    ready.append(1); cond.notify_all()
for t in ts: t.join()
print(sorted(results[-10:]))
b = threading.Barrier(8); order = []
def meet():
    for _ in range(50): b.wait()
    with lock: order.append(1)
ts = [threading.Thread(target=meet) for _ in range(8)]
for t in ts: t.start()
for t in ts: t.join()
print(len(order))
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda n: n % 7, range(1000))))
e = threading.Event(); start = time.monotonic(); print(e.wait(0.1), 0.09 < time.monotonic() - start < 30)
t = threading.Timer(0.05, lambda: print("timer")); t.start(); t.join()
s = threading.Semaphore(2); print(s.acquire(), s.acquire(), s.acquire(blocking=False), s.acquire(timeout=0.01))
print(len(os.sched_getaffinity(0)) > 0, threading.active_count())
