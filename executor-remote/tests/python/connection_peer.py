"""The other side of a connection, by Python's own multiprocessing.connection.

connection_peer.py listen ADDRESS KEY   prints its address, echoes to one client until that closes
connection_peer.py connect ADDRESS KEY  sends messages, expects each back, and closes
connection_peer.py objects ADDRESS KEY  the same with objects

ADDRESS is HOST:PORT, unix:/path or unix:@name; KEY may be empty for none. What goes wrong is printed as one line.
"""

import signal
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

# Whoever started this may have died.
signal.alarm(60)

SIZES = [0, 1, 255, 16384, 16385, 1 << 20]


OBJECTS = [
    "hi",
    None,
    True,
    -(1 << 40),
    2.5,
    b"bytes",
    ("add", (2, 3), {"key": [1, [], {}]}),
    {1, 2, 3},
    "\u00e4" * 70000,
]


def parse(address):
    if address.startswith("unix:@"):
        return "\0" + address[6:]
    if address.startswith("unix:"):
        return address[5:]
    host, port = address.rsplit(":", 1)
    return (host, int(port))


def text(address):
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    address = address if isinstance(address, str) else address.decode()
    return "unix:" + address.replace("\0", "@")


def listen(address, key):
    with Listener(address, authkey=key) as listener:
        print(text(listener.address), flush=True)
        with listener.accept() as connection:
            try:
                while True:
                    connection.send_bytes(connection.recv_bytes())
            except EOFError:
                print("closed", flush=True)


def connect(address, key):
    with Client(address, authkey=key) as connection:
        for size in SIZES:
            message = bytes(n & 255 for n in range(size))
            connection.send_bytes(message)
            assert connection.recv_bytes() == message, size
    print("done", flush=True)


def objects(address, key):
    with Client(address, authkey=key) as connection:
        for value in OBJECTS:
            connection.send(value)
            back = connection.recv()
            assert back == value and type(back) is type(value), value
        connection.send(ValueError("x"))
        back = connection.recv()
        assert type(back) is ValueError and back.args == ("x",)
    print("done", flush=True)


role, address, key = sys.argv[1], parse(sys.argv[2]), sys.argv[3].encode() or None
try:
    {"listen": listen, "connect": connect, "objects": objects}[role](address, key)
except (AuthenticationError, EOFError, OSError) as error:
    print(f"{type(error).__name__}: {error}", flush=True)
