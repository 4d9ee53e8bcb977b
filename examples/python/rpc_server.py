"""The functions of the example `rpc_server` in Python, served by the well-known thirty lines: `rpc_client --pickle` calls them."""

import pickle
import sys
from multiprocessing.connection import Listener
from threading import Thread


class RPCHandler:
    def __init__(self):
        self._functions = {}

    def register_function(self, func):
        self._functions[func.__name__] = func

    def handle_connection(self, connection):
        try:
            while True:
                func_name, args, kwargs = pickle.loads(connection.recv())
                try:
                    r = self._functions[func_name](*args, **kwargs)
                    connection.send(pickle.dumps(r))
                except Exception as e:
                    connection.send(pickle.dumps(e))
        except EOFError:
            pass


def add(x, y):
    return x + y


def greet(name):
    return f"hello {name}"


def divide(x, y):
    return x // y


def count_primes(below):
    sieve = bytearray(b"\1") * below
    for n in range(2, int(below**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, below, n)))
    return sum(sieve[2:])


handler = RPCHandler()
for function in (add, greet, divide, count_primes):
    handler.register_function(function)
host, port = (sys.argv[1:] or ["127.0.0.1:25000"])[0].rsplit(":", 1)
listener = Listener((host, int(port)), authkey=b"secret password")
print("listening on {}:{}".format(*listener.address), flush=True)
while True:
    Thread(target=handler.handle_connection, args=(listener.accept(),), daemon=True).start()
