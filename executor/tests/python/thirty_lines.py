"""The well-known proxy of thirty lines, and a program that calls a Rust program with it: thirty_lines.py ADDRESS KEY-FILE SERVER-PID BACKEND."""

import pickle
import sys
from multiprocessing.connection import Client


class RPCProxy:
    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        def do_rpc(*args, **kwargs):
            self._connection.send(pickle.dumps((name, args, kwargs)))
            result = pickle.loads(self._connection.recv())
            if isinstance(result, Exception):
                raise result
            return result

        return do_rpc


def address_of(text):
    if text.startswith("unix:"):
        return text[len("unix:") :]
    host, port = text.rsplit(":", 1)
    return host, int(port)


address, key_file, server, backend = sys.argv[1:]
with open(key_file, "rb") as file:
    key = file.read().rstrip(b"\r\n")
with Client(address_of(address), authkey=key) as connection:
    proxy = RPCProxy(connection)
    assert proxy.add(2, 3) == 5
    assert proxy.greet("Grüße") == "hello, Grüße"
    assert proxy.length("12345") == 5
    assert proxy.total(list(range(100_000))) == 4_999_950_000
    assert proxy.nothing() is None
    # Arguments by name fill a struct.
    assert proxy.area(width=3, height=4) == 12

    for function, arguments, kind, text in [
        (proxy.panics, ("on purpose",), Exception, "on purpose"),
        (proxy.ad, (2, 3), AttributeError, "add"),
        (proxy.add, ("two", 3), TypeError, "two"),
        (proxy.add, (2, 3, 4), TypeError, "3"),
    ]:
        try:
            value = function(*arguments)
        except kind as error:
            said = " ".join([str(error), *getattr(error, "__notes__", [])])
            assert text in said, said
        else:
            raise AssertionError(f"{arguments} gave {value!r}")

    # Where functions run is what the server's command line says.
    processes = {proxy.process_id() for _ in range(20)}
    assert (int(server) in processes) == (backend != "process"), processes
    if backend == "process":
        # A worker that dies costs one call.
        try:
            proxy.dies()
        except Exception as error:
            assert "worker" in str(error), error
        else:
            raise AssertionError("the worker should have died")
    assert proxy.add(20, 22) == 42
print("ok")
