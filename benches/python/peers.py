"""Measures Python's own process pools for the benches. Standard library only.

Protocol: the request is one line of JSON on standard input, its answer one line on standard output:

    {"subject": "python-process-pool", "workload": "noop", "workers": 2, "tasks": 10000}
    {"values": [8600.0]}                the values of the workload's metrics, in their order
    {"error": "..."}                    what went wrong

There is one request; end of file on standard input ends the program at once. The workloads are those of ../src/workload.rs; `map` and `cpu` spin in
Python, so they say how well the pool feeds its workers and not how fast Python is.
"""

import concurrent.futures
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time

# Iterations of the loop in `spin` that take about 1 microsecond: 1.05 to 1.44 with CPython 3.11 on an AMD EPYC.
SPINS_PER_MICROSECOND = 15


def noop(x):
    return x


def echo(data):
    return data


def hold(path):
    """Returns when the other end of the FIFO at `path` is closed."""
    with open(path, "rb") as fifo:
        fifo.read()
    return 0


def spin(x, iterations=SPINS_PER_MICROSECOND):
    for _ in range(iterations):
        x = (x * 5 + 1) & 0xFFFF
    return x


def burn(x):
    return spin(x, 2000 * SPINS_PER_MICROSECOND)


class ProcessPool:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, workers):
        self.pool = concurrent.futures.ProcessPoolExecutor(workers)

    def submit(self, function, argument):
        return self.pool.submit(function, argument)

    def wait(self, handle):
        return handle.result()

    def map(self, function, items):
        return list(self.pool.map(function, items))

    def close(self):
        self.pool.shutdown()


class MultiprocessingPool:
    """multiprocessing.Pool"""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def submit(self, function, argument):
        return self.pool.apply_async(function, (argument,))

    def wait(self, handle):
        return handle.get()

    def map(self, function, items):
        return self.pool.map(function, items)

    def close(self):
        self.pool.close()
        self.pool.join()


SUBJECTS = {
    "python-process-pool": ProcessPool,
    "python-multiprocessing-pool": MultiprocessingPool,
}


def measure_noop(pool, request):
    tasks = request["tasks"]
    values = []
    for count in (tasks // 10, tasks):
        begun = time.perf_counter()
        handles = [pool.submit(noop, x) for x in range(count)]
        total = sum(pool.wait(handle) for handle in handles)
        values.append(count / (time.perf_counter() - begun))
        assert total == count * (count - 1) // 2, "wrong result"
    return values[1:]


def measure_roundtrip(pool, request):
    trips = request["tasks"]
    micros = []
    for x in range(-(trips // 10), trips):
        begun = time.perf_counter()
        result = pool.wait(pool.submit(noop, x))
        elapsed = time.perf_counter() - begun
        assert result == x, "wrong result"
        if x >= 0:
            micros.append(elapsed * 1e6)
    micros.sort()
    return [quantile(micros, 0.50), quantile(micros, 0.99)]


def measure_map(pool, request):
    items = range(request["tasks"])
    few = items[: len(items) // 10]
    assert pool.map(spin, few) == [spin(x) for x in few], "wrong result"
    begun = time.perf_counter()
    pool.map(spin, items)
    return [len(items) / (time.perf_counter() - begun)]


def measure_payload(pool, request):
    original = bytes(i % 251 for i in range(request["bytes"] // 1024)) * 1024
    data = pool.wait(pool.submit(echo, original))
    begun = time.perf_counter()
    for _ in range(request["tasks"]):
        data = pool.wait(pool.submit(echo, data))
    elapsed = time.perf_counter() - begun
    assert data == original, "the payload came back changed"
    return [2 * len(original) * request["tasks"] / 2**30 / elapsed]


def measure_cpu(pool, request):
    passes = 4
    seeds = range(request["tasks"] // passes)
    for handle in [pool.submit(burn, x) for x in range(request["workers"])]:
        pool.wait(handle)
    serial = parallel = 0.0
    for _ in range(passes):
        begun = time.perf_counter()
        expected = [burn(x) for x in seeds]
        between = time.perf_counter()
        handles = [pool.submit(burn, x) for x in seeds]
        results = [pool.wait(handle) for handle in handles]
        parallel += time.perf_counter() - between
        serial += between - begun
        assert results == expected, "wrong result"
    return [serial / parallel / request["workers"]]


def measure_pending(pool, request):
    tasks, workers = request["tasks"], request["workers"]
    pool.wait(pool.submit(noop, 1))
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, str(i)) for i in range(workers)]
        for path in paths:
            os.mkfifo(path, 0o600)
        held = [pool.submit(hold, path) for path in paths]
        # Opening a FIFO waits for the other side, so after this each worker is inside `hold`.
        barrier = [open(path, "wb") for path in paths]
        before = resident_bytes()
        handles = [pool.submit(noop, x) for x in range(tasks)]
        after = resident_bytes()
        for fifo in barrier:
            fifo.close()
        for handle in held + handles:
            pool.wait(handle)
    return [(after - before) / tasks]


MEASURES = {
    "noop": measure_noop,
    "roundtrip": measure_roundtrip,
    "map": measure_map,
    "payload": measure_payload,
    "cpu": measure_cpu,
    "pending": measure_pending,
}


def measure(request):
    open_pool = SUBJECTS[request["subject"]]
    if request["workload"] == "startup":
        begun = time.perf_counter()
        pool = open_pool(request["workers"])
        pool.wait(pool.submit(noop, 1))
        values = [(time.perf_counter() - begun) * 1e3]
    else:
        pool = open_pool(request["workers"])
        values = MEASURES[request["workload"]](pool, request)
    pool.close()
    return values


def quantile(ordered, q):
    """As in ../src/report.rs: interpolated between neighbours."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leave_at_end_of_input():
    """Ends this program and its workers once whoever asked is gone, in the middle of a measurement too."""
    # The bare descriptor: a worker forked meanwhile closes `sys.stdin`, and must find no lock of it held.
    while os.read(0, 1):
        pass
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(1)


def main():
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=leave_at_end_of_input, daemon=True).start()
    try:
        answer = {"values": measure(request)}
    except Exception as error:  # The reader of the answer is to know, whatever it was.
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
