"""The cores of a build: whatever is at work in it holds one, so that no more processes are busy than it has cores.

A worker holds one while it runs a task, and takes more for parts of it while they are idle.
"""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from multiprocessing.synchronize import Lock, Semaphore
from typing import Any, NamedTuple

from baton import engine

PATIENCE = 0.5  # seconds after which to look again whether another core has fallen idle


class Cores(NamedTuple):
    """Those of one build: how many are idle, and a lock that is held by who waits for one: it goes before `spread`."""

    idle: Semaphore
    waited_for: Lock


_cores: Cores | None = None  # of the build whose worker this process is


def make(count: int, context) -> Cores:
    """Make the cores of a build, to be handed to its workers by a context of multiprocessing."""
    return Cores(context.Semaphore(count), context.Lock())


def use(cores: Cores | None) -> None:
    """Make this process one that works on the cores of a build."""
    global _cores
    _cores = cores


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold a core of the build, for which this waits; a cluster's worker has one of its own."""
    if _cores is None:
        yield
        return
    with _cores.waited_for:
        _cores.idle.acquire()
    try:
        yield
    finally:
        _cores.idle.release()


def spread(function: Callable, items: Iterable) -> Iterator:
    """Yield function(item) of all items in their order, computed on the core that is held and on those that are idle.

    On a cluster's worker, the idle workers of the cluster take part: see `engine.Cluster.spread`.
    With another core, each is computed in a process that is forked for it, while this one waits: neither the function
    nor an item is pickled, but what is returned. If that process is killed, or the function raises, this one computes
    it again. Without, as outside of a build, and on systems where a process that has computed can't be forked, this one
    computes all.
    """
    if cluster := engine.around():
        yield from cluster.spread(function, items)
        return
    if _cores is None or sys.platform != "linux":
        yield from map(function, items)
        return
    waiting, running, found, following, taken = deque(enumerate(items)), {}, {}, 0, 0
    try:
        while waiting or running:
            while taken + 1 < len(waiting) + len(running) and _take_idle():
                taken += 1
            if not taken and not running:
                place, item = waiting.popleft()
                found[place] = function(item)  # to fork for it would only take its time
            while taken and waiting and len(running) <= taken:
                place, item = waiting.popleft()
                process, receiver = _fork(function, item)
                running[receiver] = process, place, item
            for receiver in wait(running, timeout=PATIENCE) if running else ():
                process, place, item = running[receiver]
                with contextlib.suppress(EOFError, OSError):
                    found[place] = receiver.recv()
                process.join()
                if place not in found:
                    found[place] = function(item)
                receiver.close()
                del running[receiver]
            while taken > max(len(running) - 1, 0):  # whoever waits for one goes before this
                _cores.idle.release()
                taken -= 1
            while following in found:
                yield found.pop(following)
                following += 1
    finally:
        for process, _, _ in running.values():
            process.kill()
            process.join()
        for _ in range(taken):
            _cores.idle.release()


def end_with_parent() -> None:
    """End this process when its parent does, however that ends: it would wait for ever, or work for nobody."""
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()


def _end_with(parent) -> None:
    parent.join()
    os._exit(1)


def _take_idle() -> bool:
    """Take a core if one is idle and no task waits for it."""
    if not _cores.waited_for.acquire(block=False):
        return False
    try:
        return _cores.idle.acquire(block=False)
    finally:
        _cores.waited_for.release()


def _fork(function: Callable, item) -> tuple[Any, Any]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(function, item, sender))
    process.start()
    sender.close()  # held by the new process alone, so that its end is noticed
    return process, receiver


def _answer(function: Callable, item, sender) -> None:
    end_with_parent()
    try:
        sender.send(function(item))
    finally:
        os._exit(0)  # at once: what it inherited is for its parent to tidy up, as is what the function raises
