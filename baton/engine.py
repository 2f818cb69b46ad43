"""Where candidates are fitted and chunks scored: in processes of this machine, or on the workers of a cluster.

`engine` in env.yaml says where: `local`; `dask://host:port`, the address of a Dask scheduler; or `ray://host:port`,
that of Ray's server for clients. The workers find the project's folder where this machine has it, and run in the
environment that uv.lock describes: see docs/scale.md. They are asked for nothing but `submit`, which gives the futures
of `concurrent.futures`.
"""

import contextlib
import logging
import os
import pickle
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType

from baton import BatonError, config

LOCAL = "local"
START = "Start it: see docs/scale.md"
LONG = 1.0  # seconds that what another worker does may take at least
PATIENCE = 30  # seconds that a cluster, and its first worker, are waited for


class Cluster(ABC):
    """The workers of a cluster, each of which does one thing at a time; they may come and go.

    What a worker was doing that was killed is done again by another, up to three times: so it may be done twice, and
    has to come to the same. Opening one raises `BatonError` if it does not answer, or has no worker.
    """

    LOST = "each worker that tried it was killed, most often for want of memory, or the cluster itself is gone"

    def submit(self, function: Callable, *arguments) -> Future:
        """Have it done by a worker. Both are pickled, as for a process of this machine."""
        return self._submit(function, arguments)

    def _submit(self, function: Callable, arguments: tuple, *shared) -> Future:
        return self._ask(str(config.ROOT), pickle.dumps((function, arguments)), *shared)

    @property
    @abstractmethod
    def count(self) -> int:
        """How many things are done at once, by the workers that there are now."""

    @abstractmethod
    def _ask(self, *arguments) -> Future:
        """Have `_do` done by a worker, to which an argument that `_share` gave is what was shared."""

    @abstractmethod
    def _share(self, content: bytes):
        """Send something once to each worker that will have need of it."""

    @abstractmethod
    def _idle(self) -> int:
        """How many more things could be done right now."""

    @abstractmethod
    def _is_loss(self, error: BaseException | None) -> bool:
        """Tell whether this says that workers, or all of the cluster, are gone."""

    @abstractmethod
    def _close(self) -> None:
        """Ask for nothing more."""

    def was_lost(self, future: Future) -> bool:
        """Tell whether this was given up, because each worker that tried it was killed, or nobody is there to try."""
        try:
            return self._is_loss(future.exception())
        except CancelledError:
            return True

    def spread(self, function: Callable, items: Iterable) -> Iterator:
        """Yield function(item) of all items in their order, computed by this worker and by those with nothing to do.

        Both are pickled, with what they use of the project's own code. What another worker fails in, or is long about,
        this one computes: so it may be computed twice.
        """
        shared = self._share(_pickle(function))
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

    def __str__(self) -> str:
        return f"engine: {self.address}"

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self._close()
        if self._is_loss(error):
            raise BatonError(f"{self}: {self.LOST}") from None


class Dask(Cluster):
    """The workers of a Dask scheduler."""

    def __init__(self, address: str):
        from distributed import Client

        for name in ("distributed", "distributed.client", "tornado.application"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)  # else they tell of each worker that comes or goes
        self.address = address
        try:
            self._use(Client(address.replace("dask://", "tcp://"), timeout=PATIENCE))
        except (OSError, TimeoutError) as error:
            raise BatonError(f"{self} does not answer: {error}. {START}") from None
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            self._close()
            raise BatonError(f"{self} has no workers. Start some: see docs/scale.md") from None

    @classmethod
    def around(cls) -> "Dask | None":
        if "distributed" not in sys.modules:
            return None
        from distributed import get_client, get_worker

        try:
            get_worker()
        except ValueError:
            return None
        cluster = cls.__new__(cls)
        cluster._use(get_client())
        return cluster

    def _use(self, client) -> None:
        self._client, self._pool = client, client.get_executor(pure=False)

    @property
    def count(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except (OSError, ValueError):  # the second, where the client has given up
            raise BatonError(f"{self} does not answer any more: its scheduler is gone. {START}") from None

    def _ask(self, *arguments) -> Future:
        return self._pool.submit(_do, *arguments)

    def _share(self, content: bytes):
        return self._client.scatter(content, hash=False)

    def _idle(self) -> int:
        at_work = self._client.processing()
        return sum(max(0, count - len(at_work[worker])) for worker, count in self._client.nthreads().items())

    def _is_loss(self, error: BaseException | None) -> bool:
        from distributed import KilledWorker

        return isinstance(error, CancelledError | KilledWorker)

    def _close(self) -> None:
        self._pool.shutdown(wait=False)
        self._client.close()


class Ray(Cluster):
    """The workers of a Ray cluster, one a processor."""

    def __init__(self, address: str):
        import ray

        self.address, deadline, opened = address, time.monotonic() + PATIENCE, False
        while not opened:  # on a busy machine, the process that it starts for each client may come too late
            try:
                ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False)
                opened = True
            except (ConnectionError, RuntimeError) as error:
                if time.monotonic() > deadline:
                    raise BatonError(f"{self} does not answer: {' '.join(str(error).split())}. {START}") from None
        while not self.count and time.monotonic() < deadline:
            time.sleep(0.1)
        if not self.count:
            self._close()
            raise BatonError(f"{self} has no workers. Start some: see docs/scale.md")

    @classmethod
    def around(cls) -> "Ray | None":
        ray = sys.modules.get("ray")
        return cls.__new__(cls) if ray and ray.is_initialized() and ray.get_runtime_context().get_task_id() else None

    @property
    def count(self) -> int:
        import ray

        try:
            return int(ray.cluster_resources().get("CPU", 0))
        except Exception:  # a client that has lost its server raises no kind of its own
            raise BatonError(f"{self} does not answer any more. {START}") from None

    def _ask(self, *arguments) -> Future:
        import ray

        asked, done = ray.remote(num_cpus=1, max_retries=3)(_do).remote(*arguments).future(), Future()

        def pass_on(_):
            error = asked.exception()
            if not done.set_running_or_notify_cancel():
                return
            if error:
                done.set_exception(getattr(error, "cause", None) or error)  # without Ray's account of it
            else:
                done.set_result(asked.result())

        asked.add_done_callback(pass_on)
        return done

    def _share(self, content: bytes):
        import ray

        return ray.put(content)

    def _idle(self) -> int:
        import ray

        return int(ray.available_resources().get("CPU", 0))

    def _is_loss(self, error: BaseException | None) -> bool:
        from ray.exceptions import RayError

        return isinstance(error, RayError | ConnectionError)

    def _close(self) -> None:
        import ray

        ray.shutdown()


KINDS = {"dask": Dask, "ray": Ray}


def connect(address: str) -> Cluster:
    """Open the cluster of an address."""
    kind = address.partition(":")[0]
    try:
        return KINDS[kind](address)
    except ImportError:
        raise BatonError(
            f"engine: {address} needs {kind.capitalize()}, which is not installed. Add {kind!r} to GROUPS in noxfile.py"
        ) from None


def around() -> Cluster | None:
    """The cluster that this process is a worker of, while it does what it was asked for; None if it is not."""
    return next(filter(None, (kind.around() for kind in KINDS.values())), None)


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
