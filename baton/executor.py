"""Run a pipeline's tasks in parallel processes, say what is going on, and end with one clear message.

Named in `pipeline.yaml`. Ploomber's own parallel executor polls without pause, which takes a core from the models,
clears the terminal, and prints a traceback for every mistake.
"""

import contextlib
import errno
import functools
import importlib
import json
import logging
import multiprocessing
import os
import pydoc
import signal
import sqlite3
import statistics
import time
import uuid
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import threadpoolctl
from ploomber.constants import TaskStatus
from ploomber.exceptions import DAGBuildEarlyStop, DAGBuildError
from ploomber.executors import _format
from ploomber.executors.abc import Executor

from baton import BatonError, config, cores, grid, models
from baton.data import contract
from baton.engine import LOCAL, connect
from baton.handover import tracking
from baton.lock import hold

READY = {TaskStatus.WaitingExecution, TaskStatus.WaitingDownload}
DONE = {TaskStatus.Executed, TaskStatus.Skipped}
STOPPED = "needs no more"
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no right, or no room
KEPT = "What was done is kept: the next build runs only what is missing."


class BuildFailed(DAGBuildError):
    """A build that ended with a message of ours, to which Ploomber's address for help is not added."""

    def __init__(self, message: str, kind=BatonError, reason: str | None = None, facts: dict | None = None):
        Exception.__init__(self, message)
        self.outcome, self.exit_code, self.reason = kind.outcome, kind.exit_code, reason or message.strip()
        self.facts = facts or {}


class Failure(NamedTuple):
    """What a worker says of a task that failed: a message, and of a `BatonError` its kind and the facts it brings."""

    message: str
    kind: type[BatonError] = BatonError
    facts: dict = {}


def read_grid(name: str, ensembles: bool = False) -> list[dict]:
    """Read the candidates, or the ensembles of them, for `pipeline.yaml`: an error ends the build with its message."""
    try:
        return [entry for entry in grid.read(name) if (entry["model"] == models.ENSEMBLE) == ensembles]
    except BatonError as mistake:
        raise BuildFailed(f"\nNothing was run.\n{mistake}", _kind(mistake), str(mistake)) from None


class Parallel(Executor):
    """Run what is outdated in `processes` workers (default: one a core), which are kept, so libraries load once each.

    A failed task stops what depends on it and nothing else. All settings are checked before the first task. `lock` is
    the file by which no two builds of this pipeline are at work at once, each reading what the other has half replaced.
    `preload` names slow modules that workers with nothing to do yet import meanwhile. `start_method` is
    multiprocessing's; by default the platform's. `engine` may name a cluster, whose workers take their place.
    `on_failure` is a function, by its dotted name, that is given the settings and the error of a build that fails.
    `unused` is not used.
    """

    def __init__(
        self,
        lock: str,
        processes: int | None = None,
        preload=(),
        start_method: str | None = None,
        on_failure: str | None = None,
        unused: str = "",
        engine: str = LOCAL,
    ):
        try:  # as early as this, for `ploomber task` and others that run a pipeline without its executor
            config.check_keys()
        except BatonError as mistake:
            raise BuildFailed(str(mistake), _kind(mistake)) from None
        _forget_cut_off(Path(lock).parent.name)
        self.lock = lock
        self.processes = processes or os.cpu_count()
        self.preload = preload
        self.start_method = start_method
        self.on_failure = on_failure
        self.engine = engine
        # Ploomber warns of each parameter that no cell names; those that make a task rerun or that a hook reads are
        # such.
        warnings.filterwarnings("ignore", r"\s*These parameters are not used in the task's source code")

    def __call__(self, dag, show_progress):
        super().__call__(dag)
        params = [task.params.to_dict() for task in dag.values()]
        settings = {key: value for one in params for key, value in (one.get("settings") or {}).items()}
        try:
            with self._checked(settings):
                return self._run(dag, settings)
        except (BuildFailed, BatonError) as error:
            failed = isinstance(error, BuildFailed)
            failure = error if failed else BuildFailed(f"\n{error}\n{KEPT}", _kind(error), str(error))
            if self.on_failure:
                pydoc.locate(self.on_failure)(settings, failure)
            raise failure from None

    def _checked(self, settings: dict):
        """Check all that can be checked before anything runs; return the lock, which is held."""
        try:
            config.check_settings(settings)
            return hold(self.lock)
        except (BatonError, OSError) as mistake:
            message = _message(mistake)
            raise BuildFailed(f"\nNothing was run.\n{message}", _kind(mistake), message) from None

    def _run(self, dag, settings: dict) -> list:
        total = sum(task.exec_status not in DONE for task in dag.values())
        if not total:
            print("Everything is up to date: no code, parameter or input has changed. (--force builds all the same)")
            return []
        reports, failures, running = [], {}, {}
        again: list = []  # tasks whose process was killed, perhaps for another's sake: each has one more try, alone
        interval = config.check_settings(settings).interval if "interval" in settings else None
        able: set = set()  # names of candidates that are known to answer the question
        seconds: list[float] = []  # of the tasks that are done
        build = uuid.uuid4().hex
        with self._workers() as pool, _ended_at_once():
            idle = min(pool.count, total)
            while True:
                ready = [task for task in dag.values() if task.exec_status in READY and task not in running.values()]
                _require_able([task for task in ready if task.name not in able], interval)
                able |= {task.name for task in ready}
                # No more than are at work at once: so those that a killed process takes along are known.
                waiting = [task for task in again or ready if task not in running.values()]
                count = max(1, pool.count)  # where no worker is left, one task waits for the next
                for task in waiting[: max(0, (1 if again else count) - len(running))]:
                    running[pool.submit(_build, task, build)] = task
                for _ in range(idle - len(running)):
                    pool.submit(_import, self.preload)
                idle = 0  # once: later, a worker that has nothing to do has nothing to come either
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                if isinstance(pool, _Pool) and any(map(pool.was_lost, finished)):
                    finished, _ = wait(running)
                    pool.replace()
                    lost = [one for one, task in running.items() if pool.was_lost(one) and task not in again]
                    again += [running.pop(future) for future in lost]
                    if lost:
                        names = ", ".join(task.name for task in again)
                        print(f"A process was killed. What was at work runs again, one at a time: {names}", flush=True)
                    finished -= {*lost}
                for future in finished:
                    task = running.pop(future)
                    again = [one for one in again if one is not task]
                    report, note = self._settle(task, future, pool, failures, seconds)
                    reports += [report] if report else []
                    done = len(reports) + len(failures)
                    left = f"{total - done} left{_time_left(seconds, total - done, count)}"
                    print(f"[{done}/{total}] {task.name} {note}; {left}", flush=True)
                    if note == STOPPED:
                        raise DAGBuildEarlyStop(note)
                # A cluster keeps an answer while there is a future of it, and has it done again if that is lost.
                finished, future = set(), None
        if failures:
            messages = {name: failure.message for name, failure in failures.items()}
            first = next(iter(failures.values()))
            raise BuildFailed(_explain(messages, reports, dag), first.kind, first.message, first.facts)
        return reports

    def _workers(self):
        """What runs the tasks."""
        try:
            return _Pool(self.processes, self.start_method) if self.engine == LOCAL else connect(self.engine)
        except BatonError as mistake:
            raise BuildFailed(f"\nNothing was run.\n{mistake}", _kind(mistake), str(mistake)) from None

    def _settle(self, task, future: Future, pool, failures: dict, durations: list):
        """Note a finished task's outcome on it, so that Ploomber starts or aborts what depends on it."""
        if pool.was_lost(future):
            failure = Failure(pool.LOST)
        else:
            report, metadata, seconds, failure = future.result()
        if failure and failure.message == STOPPED:
            return None, STOPPED
        if failure:
            task.exec_status = TaskStatus.Errored
            failures[task.name] = failure
            return None, "FAILED"
        task.product.metadata.update_locally(metadata)
        task.exec_status = TaskStatus.Executed
        durations.append(seconds)
        return report, f"done in {seconds:.1f} s"


def _time_left(seconds: list[float], tasks: int, processes: int) -> str:
    """Say about how long the other tasks take, if they take as long as most of those that are done."""
    left = statistics.median(seconds) * tasks / processes if len(seconds) > 5 else 0
    if left < 10:
        return ""
    return f", about {left:.0f} s" if left < 100 else f", about {left / 60:.0f} min"


def _forget_cut_off(name: str) -> None:
    """Delete Ploomber's notes of a task where a power failure has cut them off: else each build ends in a traceback."""
    found = [
        *config.ROOT.glob(f"products/{name}/**/.*.metadata"),
        *config.ROOT.glob(f"predictions/{name}/*/.*.metadata"),
    ]
    for file in found:
        try:
            json.loads(file.read_text())
        except ValueError:
            file.unlink()


def _require_able(tasks: list, interval: float | None) -> None:
    """End the build before any candidate is fitted, if one can't answer the question that `clean` has found."""
    for task in tasks:
        if "entry" in task.params.to_dict():
            asked = contract.read_contract(str(task.upstream["clean"].product["contract"]))
            try:
                grid.check(task.params["entry"], asked.task)
                asked.require_interval(interval)
            except BatonError as mistake:
                raise BuildFailed(f"\nNo candidate was fitted.\n{mistake}\n{KEPT}") from None


class _Pool:
    """Processes that share the cores of a build; in place of those of which one was killed come new ones."""

    LOST = "its process was killed, most often for want of memory: lower the number of processes in pipeline.yaml"

    def __init__(self, processes: int, start_method: str | None):
        self.count, self.context = processes, multiprocessing.get_context(start_method)
        self.replace()

    def replace(self) -> None:
        shared = [cores.make(self.count, self.context)]  # what was killed may have held one
        self.pool = ProcessPoolExecutor(self.count, self.context, _prepare_worker, shared)

    def was_lost(self, future: Future) -> bool:
        return isinstance(future.exception(), BrokenProcessPool)

    def submit(self, *work) -> Future:
        try:
            return self.pool.submit(*work)
        except BrokenProcessPool as killed:  # one that had nothing to do
            future: Future = Future()
            future.set_exception(killed)
            return future

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_) -> None:
        self.pool.shutdown()


@contextlib.contextmanager
def _ended_at_once():
    """End the workers when all is done, or given up: left alone, each tidies up every notebook it ran, for seconds."""
    others = set(multiprocessing.active_children())
    try:
        yield
    except KeyboardInterrupt:
        raise BuildFailed(f"\nInterrupted. {KEPT}") from None
    finally:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


def _prepare_worker(shared: cores.Cores):
    # A terminal's Ctrl-C reaches all processes, and the build's ends its workers. One that is killed can't: without
    # a word, they would wait for ever for their next task.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the build may make an error of it; a worker just ends
    cores.end_with_parent()
    cores.use(shared)


@functools.cache
def _prepare() -> None:
    """Prepare a process to build tasks, once."""
    # One worker a core already: threads within a worker would only fight over it. Worse, one forked from a process that
    # has computed in threads (a notebook's kernel, say) waits for ever for those it has not. So both the libraries that
    # are loaded are set, and those to come.
    threadpoolctl.threadpool_limits(1)
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # whatever is usual for the machine
    os.environ["OMP_THREAD_LIMIT"] = "1"  # for LightGBM, which asks for all cores by itself
    # Ploomber logs each error with its traceback as it happens; the build's last message says it once.
    logging.getLogger("ploomber").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a picture in another alphabet


def _import(modules):
    _prepare()
    with cores.held():
        for module in modules:
            importlib.import_module(module)


def _build(task, build: str):
    """Build one task in a worker, on a core; return (report, metadata, seconds, failure message or None).

    `build` names the build, by which a task that is run again, as its process was killed, finds what it began.
    """
    _prepare()
    os.environ[tracking.BUILD] = build
    with cores.held():
        return _build_on_core(task)


def _build_on_core(task):
    started = time.perf_counter()
    try:
        # If this ends half way, what it has overwritten by then is not to pass for what was made before.
        task.product.metadata.delete()
        report, metadata = task._build(catch_exceptions=True)
    except Exception as error:  # all of it: what isn't returned from a worker as text is lost
        with contextlib.suppress(OSError):
            task.product.metadata.delete()  # on a full disk it is there, and empty, which would stop every build
        return None, None, 0, Failure(_message(error), _kind(error), getattr(_mistake(error), "facts", {}))
    return report, metadata, time.perf_counter() - started, None


def _mistake(error: Exception | None) -> BatonError | None:
    """The `BatonError` that an error is, or was caused by."""
    while error is not None and not isinstance(error, BatonError):
        error = error.__cause__
    return error


def _kind(error: Exception) -> type[BatonError]:
    mistake = _mistake(error)
    return type(mistake) if mistake else BatonError


def _message(error: Exception) -> str:
    """A mistake of the user's, or what the machine or MLflow refuses, in its own words; all else with its traceback."""
    cause, mlflows = error, None
    while cause is not None:
        if isinstance(cause, BatonError):
            return str(cause)
        if isinstance(cause, DAGBuildEarlyStop):
            return STOPPED
        if isinstance(cause, OSError) and cause.errno in REFUSED:
            return f"the machine says: {cause}. Make room, or give whoever runs this the permission"
        if isinstance(cause, sqlite3.DatabaseError):
            return f"the MLflow store says: {cause}. See to the file that mlflow_tracking_uri in env.yaml names"
        mlflows = mlflows or tracking.complaint(cause)  # what is below it may say more
        cause = cause.__cause__
    return mlflows or _format.exception(error)


def _explain(failures: dict[str, str], reports: list, dag) -> str:
    stopped = [task.name for task in dag.values() if task.exec_status == TaskStatus.Aborted]
    lines = [f"\n{len(failures)} of {len(dag)} tasks failed.\n"]
    lines += [f"{name}: {message}\n" for name, message in failures.items()]
    if stopped:
        lines.append(f"Not run, because they depend on that: {', '.join(stopped)}.")
    if reports:
        lines.append(KEPT)
    return "\n".join(lines)
