"""Measures Python's own process pools, the primitives of its `multiprocessing`, and what it has to talk to other
programs, for the benches. Standard library only.

Protocol: the request is one line of JSON on standard input, its answer one line on standard output:

    {"subject": "python-process-pool", "workload": "noop", "workers": 2, "tasks": 10000, ...}
    {"values": [8600.0]}                the values of the workload's metrics, in their order
    {"error": "..."}                    what went wrong

There is one request; end of file on standard input ends the program at once. The workloads are those of ../src/workload.rs; `map` and `cpu` spin in
Python, so they say how well the pool feeds its workers and not how fast Python is.
"""

import concurrent.futures
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import threading
import time

import rpc

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


POOLS = {
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
    return round_trips(lambda x: pool.wait(pool.submit(noop, x)), request["tasks"])


def measure_roundtrip_paused(pool, request):
    once = lambda x: pool.wait(pool.submit(noop, x))
    return round_trips(once, request["tasks"], lambda: time.sleep(request["seconds"]))


def round_trips(once, trips, pause=lambda: None):
    """Times `once` again and again after a warm-up; the pause before each is not timed."""
    micros, warm_up = [], trips // 10
    for x in range(warm_up + trips):
        pause()
        begun = time.perf_counter()
        result = once(x)
        elapsed = time.perf_counter() - begun
        assert result == x, "wrong result"
        if x >= warm_up:
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


def measure_idle(pool, request):
    for handle in [pool.submit(noop, x) for x in range(1000)]:
        pool.wait(handle)
    time.sleep(0.5)
    before = activity()
    begun = time.perf_counter()
    time.sleep(request["seconds"])
    seconds = time.perf_counter() - begun
    on_cpu, sleeps = (after - before for after, before in zip(activity(), before))
    return [100 * on_cpu / 1e9 / seconds, sleeps / seconds]


POOL_MEASURES = {
    "noop": measure_noop,
    "roundtrip": measure_roundtrip,
    "roundtrip_paused": measure_roundtrip_paused,
    "map": measure_map,
    "payload": measure_payload,
    "blob": measure_payload,
    "cpu": measure_cpu,
    "pending": measure_pending,
    "idle": measure_idle,
}


def measure_queue(request):
    """One way from a producer to a consumer, from the first `put` to the last `get`; then there and back."""
    messages = request["tasks"]
    queue, times = multiprocessing.Queue(), multiprocessing.Queue()
    run_together([(produce, queue, messages, times), (consume, queue, messages, times)])
    (begun,), (ended,) = sorted(times.get() for _ in range(2))
    there, back = multiprocessing.Queue(), multiprocessing.Queue()

    def once(x):
        there.put(x)
        return back.get()

    with running([(echo_messages, there, back)]):
        trips = round_trips(once, request["trips"])
        there.put(None)
    return [messages / (ended - begun), trips[0]]


def produce(queue, messages, times):
    begun = time.monotonic()
    for x in range(messages):
        queue.put(x)
    times.put((begun,))


def consume(queue, messages, times):
    total = sum(queue.get() for _ in range(messages))
    ended = time.monotonic()
    assert total == messages * (messages - 1) // 2, "wrong result"
    times.put((ended,))


def echo_messages(there, back):
    while (x := there.get()) is not None:
        back.put(x)


def measure_lock(request):
    lock, pairs = multiprocessing.Lock(), request["tasks"]
    for count in (pairs // 10, pairs):
        begun = time.perf_counter()
        for _ in range(count):
            lock.acquire()
            lock.release()
        elapsed = time.perf_counter() - begun
    return [elapsed / pairs * 1e9, contend(acquire_and_release, lock, request["seconds"])[0]]


def acquire_and_release(lock):
    for _ in range(BATCH):
        lock.acquire()
        lock.release()


def measure_value(request):
    value = multiprocessing.Value("q")
    rate, increments = contend(increment, value, request["seconds"])
    assert value.value == increments, "wrong result"
    return [rate]


def increment(value):
    for _ in range(BATCH):
        with value.get_lock():
            value.value += 1


# How often a contender does its work between two looks at the clock.
BATCH = 100


def contend(batch, shared, seconds):
    """How often a second two processes together do that to the shared object, and how often in all."""
    counts = multiprocessing.Queue()
    # Long enough from now for both to be there.
    begin = time.monotonic() + 0.1
    run_together([(repeat, batch, shared, begin, begin + seconds, counts)] * 2)
    total = sum(counts.get() for _ in range(2))
    return total / seconds, total


def repeat(batch, shared, begin, end, counts):
    while time.monotonic() < begin:
        pass
    count = 0
    while time.monotonic() < end:
        batch(shared)
        count += BATCH
    counts.put(count)


@contextlib.contextmanager
def running(calls):
    """Runs each call in a process of its own; they have ended well when the block is left."""
    processes = [multiprocessing.Process(target=call[0], args=call[1:]) for call in calls]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"a process ended with {process.exitcode}"


def run_together(calls):
    with running(calls):
        pass


AUTHKEY = b"secret"


def measure_connection(request):
    """An object of so many bytes to another process and back, over the family of the address."""
    address = ("127.0.0.1", 0) if request["subject"] == "python-connection-tcp" else None
    data = bytes(request["bytes"])
    with multiprocessing.connection.Listener(address, "AF_INET" if address else "AF_UNIX", authkey=AUTHKEY) as listener:
        with running([(echo_objects, listener)]):
            with multiprocessing.connection.Client(listener.address, authkey=AUTHKEY) as connection:

                def once(x):
                    connection.send(data)
                    return x if connection.recv() == data else None

                return round_trips(once, request["trips"])[:1]


def echo_objects(listener):
    with listener.accept() as connection, contextlib.suppress(EOFError):
        while True:
            connection.send(connection.recv())


def measure_rpc(request):
    """One client, one call after the other: the proxy knows no other way. The server is in `address`, or Python's."""
    if request["address"]:
        host, port = request["address"].rsplit(":", 1)
        return call_one_by_one((host, int(port)), request)
    with multiprocessing.connection.Listener(("127.0.0.1", 0), authkey=AUTHKEY) as listener:
        server = multiprocessing.Process(target=serve_rpc, args=(listener,), daemon=True)
        server.start()
        values = call_one_by_one(listener.address, request)
        server.kill()
        server.join()
        return values


def serve_rpc(listener):
    handler = rpc.RPCHandler()
    handler.register_function(noop)
    handler.serve(listener)


def call_one_by_one(address, request):
    with multiprocessing.connection.Client(address, authkey=AUTHKEY) as connection:
        proxy = rpc.RPCProxy(connection)
        for count in (request["tasks"] // 10, request["tasks"]):
            begun = time.perf_counter()
            total = sum(proxy.noop(x) for x in range(count))
            elapsed = time.perf_counter() - begun
            assert total == count * (count - 1) // 2, "wrong result"
        return [request["tasks"] / elapsed, round_trips(proxy.noop, request["trips"])[0]]


def measure_manager(request):
    with multiprocessing.Manager() as manager:
        rate, _ = contend(set_and_get, manager.dict(), request["seconds"])
        return [rate]


def set_and_get(shared):
    key = os.getpid()
    for x in range(BATCH // 2):
        shared[key] = x
        assert shared[key] == x, "wrong result"


PRIMITIVE_MEASURES = {
    "python-queue": measure_queue,
    "python-lock": measure_lock,
    "python-value": measure_value,
    "python-connection-unix": measure_connection,
    "python-connection-tcp": measure_connection,
    "python-rpc": measure_rpc,
    "rpc-from-python": measure_rpc,
    "python-manager": measure_manager,
}


def measure(request):
    if request["subject"] in PRIMITIVE_MEASURES:
        return PRIMITIVE_MEASURES[request["subject"]](request)
    open_pool = POOLS[request["subject"]]
    if request["workload"] in ("startup", "startup8"):
        begun = time.perf_counter()
        pool = open_pool(request["workers"])
        pool.wait(pool.submit(noop, 1))
        values = [(time.perf_counter() - begun) * 1e3]
    else:
        pool = open_pool(request["workers"])
        values = POOL_MEASURES[request["workload"]](pool, request)
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


def activity():
    """Nanoseconds on a processor, and how often it went to sleep, of all threads of this process and its children
    but the calling one, which only looks on."""
    this = threading.get_native_id()
    on_cpu = sleeps = 0
    for pid in [os.getpid()] + [child.pid for child in multiprocessing.active_children()]:
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            if thread != this:
                with open(f"/proc/{pid}/task/{thread}/schedstat") as schedstat:
                    on_cpu += int(schedstat.read().split()[0])
                with open(f"/proc/{pid}/task/{thread}/status") as status:
                    sleeps += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
    return on_cpu, sleeps


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
