"""What a stock Python program does with a manager that is not Python's.

usage: manager_client.py ADDRESS KEY SCENARIO

ADDRESS is `host:port`, `unix:/path` or `unix:@name`. A scenario that fails ends with a traceback and the status 1.
"""

import multiprocessing.managers as managers
import queue
import sys
import threading
import time
from multiprocessing.connection import Client


def address_of(text):
    if text.startswith("unix:@"):
        return b"\0" + text[len("unix:@"):].encode()
    if text.startswith("unix:"):
        return text[len("unix:"):]
    host, port = text.rsplit(":", 1)
    return host, int(port)


ADDRESS, KEY, SCENARIO = address_of(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]


def sync_manager():
    """The manager as `multiprocessing.Manager()` has it, with proxies of its own classes."""
    manager = managers.SyncManager(ADDRESS, KEY)
    manager.connect()
    return manager


def base_manager(*names):
    """A manager that knows nothing but names: its proxies have the methods that the server tells."""

    class Manager(managers.BaseManager):
        pass

    for name in names:
        Manager.register(name)
    manager = Manager(ADDRESS, KEY)
    manager.connect()
    return manager


def raises(kind, call, *args, **kwds):
    try:
        value = call(*args, **kwds)
    except kind as error:
        assert type(error) is kind, f"{type(error)} is not {kind}"
        return error
    raise AssertionError(f"{kind} was not raised, but {value!r} returned")


def check_dict(d):
    d["a"] = 1
    d.update({"b": 2.5, "c": [None, True, b"x"]})
    assert d["a"] == 1 and d.get("b") == 2.5 and d.get("z") is None and d.get("z", 7) == 7
    assert len(d) == 3 and "a" in d and "z" not in d
    assert raises(KeyError, lambda: d["nothing"]).args == ("nothing",)
    assert list(d) == ["a", "b", "c"], list(d)
    assert [key for key in d.keys()] == ["a", "b", "c"]
    assert d.items() == [("a", 1), ("b", 2.5), ("c", [None, True, b"x"])], d.items()
    assert d.values() == [1, 2.5, [None, True, b"x"]]
    assert d.pop("b") == 2.5 and d.setdefault("e", 5) == 5 and d.popitem() == ("e", 5)
    assert d.copy() == {"a": 1, "c": [None, True, b"x"]}
    del d["c"]
    raises(TypeError, d.__setitem__, [], 1)
    d[(1, "two")] = {"nested": {1, 2}}
    assert d[(1, "two")] == {"nested": {1, 2}}
    assert str(d) == "{'a': 1, (1, 'two'): {'nested': {1, 2}}}", str(d)
    d[2**100] = -(2**90)
    assert d[2**100] == -(2**90)
    d.clear()
    assert len(d) == 0


def check_list(l):
    l.append(4)
    l.extend((1, 3))
    l.insert(0, 2)
    assert len(l) == 4 and l[0] == 2 and l[-1] == 3
    assert [item for item in l] == [2, 4, 1, 3], "iteration"
    raises(IndexError, lambda: l[10])
    l.reverse()
    assert l[:] == [3, 1, 4, 2] and l[1:3] == [1, 4] and l[::-2] == [2, 1]
    l.sort()
    assert l.copy() == [1, 2, 3, 4] if hasattr(l, "copy") else l[:] == [1, 2, 3, 4]
    l.sort(reverse=True)
    assert list(reversed(l)) == [1, 2, 3, 4]
    l[1:3] = ["x"]
    assert l[:] == [4, "x", 1], l[:]
    assert "x" in l and l.index("x") == 1 and l.count(4) == 1
    l.remove("x")
    raises(ValueError, l.remove, "x")
    assert l.pop() == 1 and l + [5] == [4, 5] and l * 2 == [4, 4]
    del l[0]
    raises(IndexError, l.pop)
    assert str(l) == "[]"


def check_queue(q):
    q.put(1)
    q.put("two", block=False)
    assert q.qsize() == 2 and not q.empty() and q.full()
    raises(queue.Full, q.put, 3, timeout=0.01)
    raises(queue.Full, q.put_nowait, 3)
    assert q.get() == 1 and q.get(timeout=5) == "two"
    raises(queue.Empty, q.get, timeout=0.01)
    raises(queue.Empty, q.get, False)
    raises(queue.Empty, q.get_nowait)
    waiting = threading.Thread(target=lambda: q.put(q.get() + 1))
    waiting.start()
    q.put(41)
    waiting.join()
    assert q.get() == 42
    q.task_done()


def scenario_sync():
    manager = sync_manager()
    d = manager.dict({"z": 0}, y=1)
    assert d._getvalue() == {"z": 0, "y": 1}
    d.clear()
    check_dict(d)
    l = manager.list(range_as_list(3))
    assert l._getvalue() == [0, 1, 2]
    del l[:]
    check_list(l)
    l += [1]
    l *= 3
    assert l[:] == [1, 1, 1]
    check_queue(manager.Queue(maxsize=2))
    names = manager.Namespace(x=1)
    names.y = "two"
    assert (names.x, names.y) == (1, "two") and str(names) == "Namespace(x=1, y='two')", str(names)
    del names.x
    raises(AttributeError, lambda: names.x)
    assert names._getvalue().y == "two"
    value = manager.Value("i", 3)
    value.value += 1
    assert value.value == 4 and value.get() == 4 and str(value) == "Value('i', 4)"
    event = manager.Event()
    assert not event.is_set() and event.wait(0.01) is False
    waiting = threading.Thread(target=event.wait)
    waiting.start()
    event.set()
    waiting.join()
    assert event.wait() is True
    raises(managers.RemoteError, event._getvalue)


def range_as_list(n):
    return list(range(n))


def scenario_base():
    manager = base_manager("dict", "list", "Queue")
    check_dict(manager.dict())
    check_list(manager.list())
    check_queue(manager.Queue(2))


def scenario_locks():
    manager = sync_manager()
    for lock in (manager.Lock(), manager.RLock(), manager.Semaphore(), manager.BoundedSemaphore(1)):
        counter = {"n": 0}

        def work():
            for _ in range(20):
                with lock:
                    seen = counter["n"]
                    time.sleep(0)
                    counter["n"] = seen + 1

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter["n"] == 60, counter
    lock = manager.Lock()
    assert lock.acquire() and not lock.acquire(False) and not lock.acquire(True, 0.01)
    lock.release()
    raises(RuntimeError, lock.release)
    raises(ValueError, manager.BoundedSemaphore(1).release)
    rlock = manager.RLock()
    assert rlock.acquire() and rlock.acquire()
    rlock.release()
    rlock.release()
    raises(RuntimeError, rlock.release)


def scenario_server():
    manager = sync_manager()
    assert manager._number_of_objects() == 0
    d, l = manager.dict(), manager.list([1])
    assert manager._number_of_objects() == 2
    assert "refcount=1" in manager._debug_info() and "[1]" in manager._debug_info()
    # A proxy that knows nothing but its token.
    auto = managers.AutoProxy(l._token, "pickle", authkey=KEY)
    assert auto.pop() == 1
    del auto, d, l
    assert manager._number_of_objects() == 0, manager._debug_info()
    error = raises(managers.RemoteError, manager._create, "nonsense")
    assert "no such type or name" in str(error), error
    d = manager.dict()
    error = raises(managers.RemoteError, d._callmethod, "fly")
    assert "'dict' object has no method 'fly'" in str(error), error
    raises(TypeError, d._callmethod, "get")
    assert d.get("still here") is None
    unknown = managers.Token("dict", ADDRESS, "ffff")
    raises(managers.RemoteError, managers.DictProxy, unknown, "pickle", authkey=KEY)


def scenario_nested():
    import multiprocessing

    multiprocessing.current_process().authkey = KEY
    manager = sync_manager()
    outer, inner = manager.dict(), manager.list([1])
    outer["inner"] = inner
    again = outer["inner"]
    again.append(2)
    assert inner[:] == [1, 2]
    del inner, again
    assert outer["inner"][:] == [1, 2], "it lives inside of the other"
    outer["inner"].append(3)
    assert outer["inner"][:] == [1, 2, 3]


def scenario_wrong_key():
    import multiprocessing

    raises(multiprocessing.AuthenticationError, sync_manager)


def scenario_user_type():
    manager = base_manager("Counter")
    counter = manager.Counter(5)
    assert counter.add(2) == 7 and counter.add(n=3) == 10 and counter.count() == 10
    assert "too many" in str(raises(RuntimeError, counter.fail, "too many"))
    assert "panicked: no" in str(raises(RuntimeError, counter.panic))
    raises(TypeError, counter.add, "two")
    assert counter.count() == 10
    raises(managers.RemoteError, manager.Counter, "five")


def shared(kind):
    """The one object of that kind, which whoever comes first creates and leaves behind."""
    manager = sync_manager()
    connection = Client(ADDRESS, authkey=KEY)
    with connection:
        info = managers.dispatch(connection, None, "debug_info")
    if info:
        ident = info.split(":")[0].strip()
        token = managers.Token(kind, ADDRESS, ident)
        return managers.AutoProxy(token, "pickle", authkey=KEY)
    proxy = getattr(manager, kind)()
    proxy._incref()  # one reference for those who come later
    return proxy


def scenario_hold_lock():
    """Holds the lock until it is killed."""
    lock = shared("Lock")
    assert lock.acquire()
    print("held", flush=True)
    sys.stdin.read()


def scenario_take_lock():
    lock = shared("Lock")
    assert not lock.acquire(False)
    print("waiting", flush=True)
    assert lock.acquire(True, 60)


def scenario_blocked_get():
    """Waits for an item that comes only when it is gone."""
    q = shared("Queue")
    print("waiting", flush=True)
    q.get()


def scenario_put_and_get():
    q = shared("Queue")
    q.put("kept")
    assert q.get(timeout=60) == "kept"


def scenario_crash():
    """Takes references and goes without giving them up."""
    d = sync_manager().dict({"left": "behind"})
    print("created", flush=True)
    sys.stdin.read()
    d.clear()


def scenario_one_object():
    assert sync_manager()._number_of_objects() == 1


def scenario_soon_no_object():
    manager = sync_manager()
    deadline = time.monotonic() + 60
    while manager._number_of_objects() > 0:
        assert time.monotonic() < deadline, manager._debug_info()
        time.sleep(0.05)


def scenario_shutdown():
    with Client(ADDRESS, authkey=KEY) as connection:
        managers.dispatch(connection, None, "shutdown")


globals()["scenario_" + SCENARIO]()
print("done", flush=True)
