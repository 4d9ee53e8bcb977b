"""Reads pickles that the tests have written, and writes its own.

Frames on standard input: a pickle, then the same value as Python source. Frames on standard output: what is wrong with it
(nothing, if all is well), then the value as this interpreter pickles it, by each protocol from 0 to 5. A frame is its length,
four bytes, the greatest first, and its content.
"""

import builtins
import pickle
import queue
import struct
import sys
import traceback
from multiprocessing import managers


def in_order(value):
    """As `ascii`, with the items of sets in one order."""
    if isinstance(value, tuple):
        return f"({list(map(in_order, value))})"
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(in_order, value))})"
    return ascii(value)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b) or (a != a and b != b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (set, frozenset)):
        return a == b and sorted(map(in_order, a)) == sorted(map(in_order, b))
    if isinstance(a, BaseException):
        return same(a.args, b.args)
    return a == b


NAMES = dict(vars(builtins), nan=float("nan"), inf=float("inf"), Empty=queue.Empty, RemoteError=managers.RemoteError)


def verdict(data, source):
    try:
        value = pickle.loads(data)
    except Exception:
        return "it does not load: " + traceback.format_exc(), None
    expected = eval(source, NAMES)
    if same(value, expected):
        return "", value
    return f"{value!a} is not {expected!a}", value


def receive():
    header = sys.stdin.buffer.read(4)
    if not header:
        sys.exit()
    return sys.stdin.buffer.read(struct.unpack(">I", header)[0])


def send(data):
    sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)


while True:
    data, source = receive(), receive().decode()
    problem, value = verdict(data, source)
    send(problem.encode())
    for protocol in range(6):
        send(pickle.dumps(value, protocol))
    sys.stdout.buffer.flush()
