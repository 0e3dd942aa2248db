"""Functions run by several processes that are a group, as torchrun would start them."""

import os
import pickle
import socket
import traceback

import torch

from bench.run.distributed import joined


def in_group(size, function, folder):
    """Fork `size` processes, call function(group) in each, and return what each gave."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pids = [_fork(rank, size, port, function, folder) for rank in range(size)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0] * size
    return [pickle.loads((folder / f"rank-{rank}").read_bytes()) for rank in range(size)]


def _fork(rank, size, port, function, folder):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ |= {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
        }
        with joined(rank, size, torch.device("cpu")) as group:
            given = function(group)
        (folder / f"rank-{rank}").write_bytes(pickle.dumps(given))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
