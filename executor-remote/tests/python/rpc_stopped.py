"""A client whose server stops: rpc_stopped.py HOST:PORT KEY. Prints `called` after its first call, and `ok` when it has learnt."""

import pickle
import sys
from multiprocessing.connection import Client

host, port = sys.argv[1].rsplit(":", 1)
connection = Client((host, int(port)), authkey=sys.argv[2].encode())
connection.send(pickle.dumps(("add", (2, 3), {})))
assert pickle.loads(connection.recv()) == 5
print("called", flush=True)
try:
    connection.recv()
except EOFError:
    print("ok", flush=True)
