"""A manager for the tests of the Rust client. Prints its port, and ends when its standard input does."""

import os
import sys
import threading
from multiprocessing.managers import SyncManager


class Counter:
    def __init__(self, start=0):
        self.count = start

    def add(self, n):
        self.count += n
        return self.count

    def fail(self):
        error = ValueError("no such colour")
        error.args = ("no such colour", 7)
        raise error

    def make_set(self):
        return {1, 2, 3}

    def make_unreadable(self):
        return threading.current_thread


class Manager(SyncManager):
    pass


Manager.register("Counter", Counter)

if __name__ == "__main__":
    server = Manager(("127.0.0.1", 0), authkey=b"secret").get_server()
    print(server.address[1], flush=True)

    def leave_with_parent():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    server.serve_forever()
