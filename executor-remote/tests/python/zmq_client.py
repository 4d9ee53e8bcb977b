"""MessagePack-RPC over ZeroMQ, as a Python program would write it: zmq_client.py ADDRESS REQ|DEALER|BROKER.

Calls the functions that tests/zeromq.rs serves, checks every answer, and prints `ok` at the end.
"""

import os
import sys
import threading

import msgpack
import zmq

address, kind = sys.argv[1:]
context = zmq.Context()


def socket(kind, address):
    it = context.socket(kind)
    it.setsockopt(zmq.LINGER, 0)
    it.setsockopt(zmq.RCVTIMEO, 30_000)
    it.connect(address)
    return it


def expect(seen, wanted):
    if seen != wanted:
        sys.exit(f"got {seen!r} and not {wanted!r}")


def error_of(answer, number):
    kind, id, error, result = answer
    expect((kind, id, result), (1, number, None))
    return str(error)


def in_lockstep(address):
    """A REQ socket: one call, then its answer."""
    req = socket(zmq.REQ, address)

    def call(id, name, *args):
        req.send(msgpack.packb([0, id, name, args]))
        return msgpack.unpackb(req.recv())

    expect(call(1, "add", 2, 3), [1, 1, None, 5])
    expect(call(2, "greet", "Grüße"), [1, 2, None, "hello, Grüße"])
    expect(call(3, "total", list(range(100_000))), [1, 3, None, 4_999_950_000])
    for id, (name, args, wanted) in enumerate(
        [
            ("divide", (1, 0), "division by zero"),
            ("crash", (), "on purpose"),
            ("ad", (2, 3), "add"),
            ("add", ("two", 3), "two"),
        ],
        start=4,
    ):
        error = error_of(call(id, name, *args), id)
        if wanted not in error:
            sys.exit(f"{name}: {error!r} does not say {wanted!r}")
    # All of that has left the server and this socket whole.
    expect(call(9, "add", 20, 22), [1, 9, None, 42])
    req.close()


def pipelined():
    """A DEALER socket: as many calls on their way as one likes, with and without the empty frame of REQ."""
    dealer = socket(zmq.DEALER, address)
    calls = 2_000
    for id in range(calls):
        body = msgpack.packb([0, id, "add", [id, id]])
        dealer.send_multipart([b"", body] if id % 2 else [body])
    # A notification has no answer.
    dealer.send(msgpack.packb([2, "add", [1, 1]]))
    seen = {}
    for _ in range(calls):
        *envelope, body = dealer.recv_multipart()
        kind, id, error, result = msgpack.unpackb(body)
        expect((kind, error), (1, None))
        expect(envelope, [b""] if id % 2 else [])
        seen[id] = result
    expect(seen, {id: 2 * id for id in range(calls)})
    dealer.close()


def behind_a_broker():
    """REQ sockets behind a ROUTER-DEALER proxy: their messages come with an envelope of two frames."""
    front = context.socket(zmq.ROUTER)
    port = front.bind_to_random_port("tcp://127.0.0.1")
    back = socket(zmq.DEALER, address)
    back.setsockopt(zmq.RCVTIMEO, -1)
    threading.Thread(target=zmq.proxy, args=(front, back), daemon=True).start()
    failures = []

    def client():
        try:
            in_lockstep(f"tcp://127.0.0.1:{port}")
        except SystemExit as failure:
            failures.append(failure.code)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for it in clients:
        it.start()
    for it in clients:
        it.join()
    expect(failures, [])


{"REQ": lambda: in_lockstep(address), "DEALER": pipelined, "BROKER": behind_a_broker}[kind]()
print("ok", flush=True)
# The proxy's thread is inside of libzmq for ever.
os._exit(0)
