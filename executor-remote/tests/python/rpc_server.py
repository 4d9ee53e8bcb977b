"""The well-known thirty-line RPC server, with a thread for each client, on a port that it prints."""

import pickle
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
                # Receive a message
                func_name, args, kwargs = pickle.loads(connection.recv())
                # Run the RPC and send a response
                try:
                    r = self._functions[func_name](*args, **kwargs)
                    connection.send(pickle.dumps(r))
                except Exception as e:
                    connection.send(pickle.dumps(e))
        except EOFError:
            pass


def rpc_server(handler, address, authkey):
    sock = Listener(address, authkey=authkey)
    print(*sock.address, sep=":", flush=True)
    while True:
        client = sock.accept()
        t = Thread(target=handler.handle_connection, args=(client,))
        t.daemon = True
        t.start()


def add(x, y):
    return x + y


def echo(x):
    return x


def nothing():
    return None


def describe(person):
    return f"{person['name']} is {person['age']}"


def fail(text):
    error = ValueError(text)
    error.add_note("as it was asked to")
    raise error


def look_up(key):
    return {}[key]


def leave(code):
    import os

    os._exit(code)


handler = RPCHandler()
for function in (add, echo, nothing, describe, fail, look_up, leave):
    handler.register_function(function)
rpc_server(handler, ("127.0.0.1", 0), authkey=b"peekaboo")
