"""Run programs of the environment in forks of one process, which has loaded the libraries: seconds saved each time.

    python warm.py SOCKET                         # load the libraries, and serve until standard input ends
    python -S warm.py SOCKET PROGRAM [ARGUMENT …] # have a program run there, as if it were started here

The project's own modules are not loaded: each program takes those that PYTHONPATH names. The processes in which it
runs models are forks as well.
"""

import contextlib
import functools
import gc
import importlib
import importlib.metadata
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

LIBRARIES = [
    "pycaret.classification", "pycaret.regression", "mlflow.sklearn", "ploomber.cli", "ipykernel.kernelapp",
    # What these and Baton load only when they need it.
    "fsspec.implementations.local", "lightgbm", "matplotlib_inline.backend_inline",
    "mlflow.store.tracking.sqlalchemy_store", "optuna", "ploomber_engine.ipython", "pyarrow.dataset", "skops.io",
]  # fmt: skip
RUNNER = ["-m", "baton.handover.runner"]


class Popen(subprocess.Popen):
    """Start a process, and have it forked here if models are to be run in it."""

    address: str

    def __init__(self, command, *others, **how):
        if isinstance(command, list) and command[1:] == RUNNER:
            command = [sys.executable, "-S", __file__, self.address, "python", *RUNNER]
        super().__init__(command, *others, **how)


def ask(address: str, *program: str) -> int:
    """Have a program run with the folder, the environment and the streams of this process; return its exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"."], [0, 1, 2])
        order = {"program": program, "folder": os.getcwd(), "environment": dict(os.environ)}
        server.sendall(json.dumps(order).encode() + b"\n")
        return int(server.makefile().readline() or 1)


def serve(address: str) -> None:
    """Fork for each order, tell whoever gave it how the fork ended, and end the fork when it is given up."""
    load()
    Popen.address, subprocess.Popen = address, Popen
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    asking: dict[int, socket.socket] = {}  # who waits for each fork
    with socket.create_server(address, family=socket.AF_UNIX) as listening:
        while sys.stdin not in (ready := select.select([listening, woken, sys.stdin, *asking.values()], [], [])[0]):
            if woken in ready:
                woken.recv(1000)
            for child, connection in [*asking.items()]:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    with contextlib.suppress(BrokenPipeError):
                        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                    asking.pop(child).close()
            for child, connection in asking.items():
                if connection in ready:  # nobody is there any more
                    with contextlib.suppress(ProcessLookupError):  # it has no group yet: it is looked at again
                        os.killpg(child, signal.SIGKILL)
            if listening in ready:
                connection = listening.accept()[0]
                streams = socket.recv_fds(connection, 1, 3)[1]
                order = json.loads(connection.makefile().readline())
                child = os.fork()
                if not child:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for mine in (listening, woken, wakes, connection, *asking.values()):
                        mine.close()
                    answer(order, streams)
                asking[child] = connection
                for given in streams:
                    os.close(given)
    shutil.rmtree(Path(address).parent)  # which was made for it


def load() -> None:
    import matplotlib

    # Ploomber asks for them twice a task, which reads what is installed each time.
    importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
    os.environ["PYCARET_CUSTOM_LOGGING_PATH"] = os.devnull
    with matplotlib.rc_context():  # PyCaret restyles every plot
        for library in LIBRARIES:
            importlib.import_module(library)
        set_up_once()
    use_once()
    for name in [name for name in sys.modules if name.partition(".")[0] == "baton"]:
        del sys.modules[name]  # MLflow asks for `baton.handover.store`, and found it here
    gc.collect()
    gc.freeze()  # what is loaded stays: no fork need look through it for garbage


def set_up_once() -> None:
    """Have PyCaret look once at what is installed: it keeps what it has found."""
    import pandas as pd
    from pycaret.classification import ClassificationExperiment

    rows = pd.DataFrame({"a": range(20), "y": [0, 1] * 10})
    quiet = {"html": False, "verbose": False, "system_log": False, "log_experiment": False}
    ClassificationExperiment().setup(rows, target="y", preprocess=False, memory=False, n_jobs=1, **quiet)


def use_once() -> None:
    """So with the others, which look for packages, templates and fonts."""
    import io

    import mlflow.sklearn
    from matplotlib.figure import Figure
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_code_cell, new_notebook
    from sklearn.dummy import DummyClassifier

    how = {"serialization_format": "skops", "pip_requirements": ["pandas"]}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        mlflow.sklearn.save_model(DummyClassifier().fit([[0], [1]], [0, 1]), f"{folder}/model", **how)
    figure = Figure()
    figure.subplots().set(title="text")
    figure.savefig(io.BytesIO())
    HTMLExporter().from_notebook_node(new_notebook(cells=[new_code_cell("1")]))


def answer(order: dict, streams: list[int]) -> NoReturn:
    """Run what is asked, with the streams of whoever asked, and end."""
    os.setsid()
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    code = run(**order)
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    os._exit(code)


def run(program: list[str], folder: str, environment: dict[str, str]) -> int:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:1] = environment.get("PYTHONPATH", "").split(os.pathsep)
    for name in [name for name in sys.modules if name.partition(".")[0] == "baton"]:
        del sys.modules[name]  # imported by MLflow, from where the tests are
    name, *arguments = program
    try:
        if program[:2] == ["python", "-m"]:
            sys.argv = program[2:]
            runpy.run_module(program[2], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments if name == "python" else [str(Path(sys.executable).with_name(name)), *arguments]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    address, *program = sys.argv[1:]
    sys.exit(ask(address, *program) if program else serve(address))
