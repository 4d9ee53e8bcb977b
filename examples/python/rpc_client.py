"""Calls the functions of the example `rpc_server` with the well-known thirty lines and nothing but the standard library."""

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


host, port = (sys.argv[1:] or ["127.0.0.1:25000"])[0].rsplit(":", 1)
proxy = RPCProxy(Client((host, int(port)), authkey=b"secret password"))
print("add(2, 3) =", proxy.add(2, 3))
print("greet('bob') =", repr(proxy.greet("bob")))
print("count_primes(100000) =", proxy.count_primes(100000))
for call in (lambda: proxy.divide(1, 0), lambda: proxy.ad(2, 3)):
    try:
        print(call())
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
