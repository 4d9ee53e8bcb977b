"""The well-known RPC of some thirty lines over `multiprocessing.connection`: each message is a pickle of a pickle."""

import pickle
import threading


class RPCHandler:
    def __init__(self):
        self._functions = {}

    def register_function(self, function):
        self._functions[function.__name__] = function

    def handle_connection(self, connection):
        try:
            while True:
                name, args, kwargs = pickle.loads(connection.recv())
                try:
                    result = self._functions[name](*args, **kwargs)
                    connection.send(pickle.dumps(result))
                except Exception as error:
                    connection.send(pickle.dumps(error))
        except EOFError:
            pass

    def serve(self, listener):
        while True:
            client = listener.accept()
            threading.Thread(target=self.handle_connection, args=(client,), daemon=True).start()


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
