"""Where candidates are fitted and chunks scored: in processes of this machine, or on the workers of a Dask cluster.

`engine` in env.yaml says where: `local`, or `dask://host:port`, the address of a scheduler. Its workers find the
project's folder where this machine has it, and run in the environment that uv.lock describes: see docs/scale.md. They
are asked for nothing but `submit`, which gives the futures of `concurrent.futures`.
"""

import contextlib
import logging
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType

from baton import BatonError, config

LOCAL = "local"
START = "Start its scheduler: see docs/scale.md"
LONG = 1.0  # seconds that what another worker does may take at least
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

    @classmethod
    def around(cls) -> "Cluster | None":
        """The cluster that this process is a worker of, while it does what it was asked for; None if it is not."""
        if "distributed" not in sys.modules:
            return None
        from distributed import get_client, get_worker

        try:
            get_worker()
        except ValueError:
            return None
        cluster = cls.__new__(cls)
        cluster._client = get_client()
        cluster._pool = cluster._client.get_executor(pure=False)
        return cluster

    @property
    def count(self) -> int:
        """How many things are done at once, by the workers that there are now."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, ValueError):  # the second, where the client has given up
            raise BatonError(f"{self} does not answer any more: its scheduler is gone. {START}") from None

    def submit(self, function: Callable, *arguments) -> Future:
        """Have it done by a worker. Both are pickled, as for a process of this machine."""
        return self._submit(function, arguments)

    def _submit(self, function: Callable, arguments: tuple, *shared) -> Future:
        return self._pool.submit(_do, str(config.ROOT), pickle.dumps((function, arguments)), *shared)

    def spread(self, function: Callable, items: Iterable) -> Iterator:
        """Yield function(item) of all items in their order, computed by this worker and by those with nothing to do.

        Both are pickled, with what they use of the project's own code. What another worker fails in, or is long about,
        this one computes: so it may be computed twice.
        """
        shared = self._client.scatter(_pickle(function), hash=False)  # sent once to each worker that has need of it
        waiting, running, found, following, longest = dict(enumerate(items)), {}, {}, 0, LONG
        here, kept = None, set()  # those that another worker has failed in stay here
        with ThreadPoolExecutor(1) as mine:
            try:
                while waiting or running:
                    if waiting and here is None:
                        place = next(iter(waiting))
                        item, begun = waiting.pop(place), time.monotonic()
                        here = mine.submit(function, item)
                        running[here] = place, item
                    for place in [one for one in waiting if one not in kept][: self._idle()]:
                        item = waiting.pop(place)
                        running[self._submit(_compute, (item,), shared)] = place, item
                    ended, _ = wait(running, None if here else 2 * longest, FIRST_COMPLETED)
                    for future in ended or [next(iter(running))]:
                        place, item = running.pop(future)
                        if future is here:
                            here, found[place], longest = None, future.result(), max(longest, time.monotonic() - begun)
                        elif future.cancel() or future.cancelled() or future.exception():
                            waiting[place] = item
                            kept.add(place)
                        else:
                            found[place] = future.result()
                    while following in found:
                        yield found.pop(following)
                        following += 1
            finally:
                for future in running:
                    future.cancel()

    def _idle(self) -> int:
        """How many more things could be done right now."""
        at_work = self._client.processing()
        return sum(max(0, count - len(at_work[worker])) for worker, count in self._client.nthreads().items())

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


def _do(folder: str, work: bytes, *shared):
    """Do on a worker, in the project's folder and by its code as it is now, what was asked for."""
    if Path(folder).resolve() != config.ROOT:
        raise BatonError(f"a worker runs the project in {config.ROOT}, and this one is in {folder}: start it there")
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # hooks.py is there, in no package
    _forget_what_was_changed()
    function, arguments = pickle.loads(work)
    try:
        return function(*arguments, *shared)
    finally:
        _loaded.update({name: _written(module) for name, module in _of_the_project() if name not in _loaded})


def _compute(item, function: bytes):
    return pickle.loads(function)(item)


_loaded: dict[str, int] = {}  # the project's modules that this worker has loaded, and when they had been written


def _forget_what_was_changed() -> None:
    """Have the user's modules loaded anew if one was changed; a worker lives for longer than they stay as they are."""
    changed = {name for name, module in _of_the_project() if _loaded.get(name, _written(module)) != _written(module)}
    ours = sorted(name for name in changed if name.partition(".")[0] == "baton")
    if ours:
        raise BatonError(f"{ours[0]} was changed after a worker had loaded it: stop the workers, and start them again")
    if changed:
        for name, _ in _theirs():
            _loaded.pop(name, None)
            del sys.modules[name]


def _of_the_project() -> list[tuple[str, ModuleType]]:
    files = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()]}
    ours = [name for name, file in files.items() if file and Path(file).is_relative_to(config.ROOT)]
    return [(name, sys.modules[name]) for name in ours if "site-packages" not in files[name]]


def _theirs() -> list[tuple[str, ModuleType]]:
    """The modules of the user's own code."""
    return [(name, module) for name, module in _of_the_project() if name.partition(".")[0] not in ("baton", "__main__")]


def _written(module: ModuleType) -> int:
    file = Path(module.__file__)
    return file.stat().st_mtime_ns if file.exists() else 0


def _pickle(function: Callable) -> bytes:
    """Pickle a function with all of the user's code that it uses: another worker may not have loaded it."""
    import cloudpickle

    with contextlib.ExitStack() as after:
        for _, module in _theirs():
            cloudpickle.register_pickle_by_value(module)
            after.callback(cloudpickle.unregister_pickle_by_value, module)
        return cloudpickle.dumps(function)
