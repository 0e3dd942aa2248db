"""Functions run by several processes that are a group, as torchrun would start them."""

import os
import pickle
import socket
import traceback

import torch

from bench.run.distributed import joined
from bench.run.execute import Options, execute


def in_group(size, function, folder):
    """Fork `size` processes, call function(group) in each, and return what each gave."""

    def take_part(rank):
        with joined(rank, size, torch.device("cpu")) as group:
            given = function(group)
        (folder / f"rank-{rank}").write_bytes(pickle.dumps(given))
        return 0

    assert _fork_all(size, take_part) == [0] * size
    return [pickle.loads((folder / f"rank-{rank}").read_bytes()) for rank in range(size)]


def execute_in_group(size, run_dir):
    """Fork `size` processes that make a run together; return the first one's exit code."""
    codes = _fork_all(
        size, lambda rank: execute(run_dir, Options("cpu", 1, rank=rank, processes=size))
    )
    return codes[0]


def _fork_all(size, take_part):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pids = [_fork(rank, size, port, take_part) for rank in range(size)]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def _fork(rank, size, port, take_part):
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
        code = take_part(rank)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
