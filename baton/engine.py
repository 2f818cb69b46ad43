"""Where candidates are fitted and chunks are scored: in processes of this machine, or on the workers of a Dask cluster.

`engine` in env.yaml says where: `local`, or `dask://host:port`, the address of a scheduler. Its workers find the
project's folder where this machine has it, and run in the environment that uv.lock describes: see docs/scale.md. They
are asked for nothing but `submit`, which gives the futures of `concurrent.futures`.
"""

import logging
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path

from baton import BatonError, config

LOCAL = "local"
START = "Start its scheduler: see docs/scale.md"
PATIENCE = 30  # seconds that a scheduler, and its first worker, are waited for


class Cluster:
    """The workers of a Dask cluster, each of which does one thing at a time; they may come and go.

    What a worker was doing that was killed is done again by another, up to three times: so it may be done twice, and
    has to come to the same. Raises `BatonError` if the cluster does not answer, or has no worker.
    """

    LOST = "each worker that tried it was killed, most often for want of memory, or the cluster's scheduler is gone"

    def __init__(self, address: str):
        try:
            from distributed import Client
        except ImportError:
            raise BatonError(
                f"engine: {address} needs Dask, which is not installed. Add 'dask' to GROUPS in noxfile.py"
            ) from None
        for name in ("distributed", "distributed.client", "tornado.application"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)  # else they tell of each worker that comes or goes
        self.address = address
        try:
            self._client = Client(address.replace("dask://", "tcp://"), timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            raise BatonError(f"{self} does not answer: {error}. {START}") from None
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            self._client.close()
            raise BatonError(f"{self} has no workers. Start some: see docs/scale.md") from None
        self._pool = self._client.get_executor(pure=False)

    @property
    def count(self) -> int:
        """How many things are done at once, by the workers that there are now."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, ValueError):  # the second, where the client has given up
            raise BatonError(f"{self} does not answer any more: its scheduler is gone. {START}") from None

    def submit(self, function: Callable, *arguments) -> Future:
        """Have it done by a worker. Both are pickled, as for a process of this machine."""
        return self._pool.submit(_do, str(config.ROOT), pickle.dumps((function, arguments)))

    def was_lost(self, future: Future) -> bool:
        """Tell whether this was given up, because each worker that tried it was killed, or nobody is there to try."""
        from distributed import KilledWorker

        try:
            return isinstance(future.exception(), KilledWorker)
        except CancelledError:
            return True

    def __str__(self) -> str:
        return f"engine: {self.address}"

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        from distributed import KilledWorker

        self._pool.shutdown(wait=False)
        self._client.close()
        if isinstance(error, CancelledError | KilledWorker):
            raise BatonError(f"{self}: {self.LOST}") from None


def _do(folder: str, work: bytes):
    """Do on a worker, in the project's folder, what was asked for."""
    if Path(folder).resolve() != config.ROOT:
        raise BatonError(f"a worker runs the project in {config.ROOT}, and this one is in {folder}: start it there")
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # hooks.py is there, in no package
    function, arguments = pickle.loads(work)
    return function(*arguments)
