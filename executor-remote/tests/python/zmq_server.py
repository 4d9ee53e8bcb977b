"""MessagePack-RPC over ZeroMQ, as a Python program would serve it: zmq_server.py REP|ROUTER.

Prints its address, and serves until it is killed or its standard input ends.
"""

import os
import sys
import threading

import msgpack
import zmq


def add(a, b):
    return a + b


def echo(value):
    return value


def fail(message):
    raise ValueError(message)


FUNCTIONS = {"add": add, "echo": echo, "fail": fail}


def answer(request):
    kind, id, name, args = msgpack.unpackb(request)
    assert kind == 0, request
    try:
        return msgpack.packb([1, id, None, FUNCTIONS[name](*args)])
    except Exception as error:
        return msgpack.packb([1, id, f"{type(error).__name__}: {error}", None])


def leave_with_the_caller():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=leave_with_the_caller, daemon=True).start()
pattern = sys.argv[1]
context = zmq.Context()
server = context.socket(getattr(zmq, pattern))
port = server.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}", flush=True)
held = None
while True:
    *envelope, request = server.recv_multipart()
    reply = [*envelope, answer(request)]
    if pattern == "ROUTER" and held is None and b"hold" in request:
        # Kept back until the next one is answered: answers need not come in the order of the calls.
        held = reply
        continue
    server.send_multipart(reply)
    if held is not None:
        server.send_multipart(held)
        held = None
