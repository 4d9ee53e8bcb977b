"""Remote calls by the standard library: rpc_client.py HOST:PORT|PATH KEY.

RPCProxy is the client of the Python Cookbook (recipe 11.8), as it is everywhere. Every answer is checked; `ok` is printed at
the end.
"""

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


def expect(seen, wanted):
    if seen != wanted or type(seen) is not type(wanted):
        sys.exit(f"got {seen!r} and not {wanted!r}")


def raised(call):
    try:
        value = call()
    except Exception as error:
        return error
    sys.exit(f"got {value!r} and no exception")


def expect_raised(call, kind, message, notes=None):
    error = raised(call)
    expect(type(error), kind)
    if message not in str(error):
        sys.exit(f"{error!r} does not say {message!r}")
    if notes is not None:
        expect(getattr(error, "__notes__", []), notes)


address, key = sys.argv[1:]
if ":" in address:
    host, port = address.rsplit(":", 1)
    address = (host, int(port))
connection = Client(address, authkey=key.encode())
proxy = RPCProxy(connection)

# More than once: the first calls of a function run elsewhere than the later ones.
for _ in range(10):
    expect(proxy.add(2, 3), 5)
    expect(proxy.greet("Grüße"), "hello, Grüße")
    expect(proxy.nothing(), None)
    expect(proxy.total([1, 2, 3]), 6)
    expect(proxy.later(2.5), 5.0)
    expect(proxy.square_elsewhere(7), 49)
    # By name, by place, and both.
    expect(proxy.scale(x=2, y=3, factor=10), [20, 30])
    expect(proxy.scale(2, 3, factor=10), [20, 30])
    expect(proxy.swap({"a": 1, "b": (2, 3)}), {"b": (2, 3), "a": 1})

    expect_raised(lambda: proxy.parse("seven"), RuntimeError, "invalid digit found in string",
                  ["remote: an error of the type core::num::error::ParseIntError"])
    expect_raised(lambda: proxy.look_up("k"), KeyError, "'k'", ["there are 3 keys"])
    expect_raised(lambda: proxy.open_file(), FileNotFoundError, "No such file")
    expect_raised(lambda: proxy.crash(), RuntimeError, "the function panicked: on purpose",
                  ["remote: the function panicked"])
    expect_raised(lambda: proxy.ad(2, 3), AttributeError, "there is no function `ad`; did you mean `add`")
    expect_raised(lambda: proxy.add("two", 3), TypeError, "")
    expect_raised(lambda: proxy.add(1, 2, 3), TypeError, "")
    expect_raised(lambda: proxy.add(1, y=2), TypeError, "")
    expect_raised(lambda: proxy.greet(object()), TypeError, "builtins.object")

large = list(range(100_000))
expect(proxy.total(large), sum(large))

# Pickled once, the answer is, too.
connection.send(("add", (2, 3), {}))
expect(connection.recv(), 5)
connection.send("no call")
expect(type(connection.recv()), TypeError)

connection.close()
print("ok")
