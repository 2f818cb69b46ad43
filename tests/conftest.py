"""A real project to test: a clone of this one, trained once by the README's own command, and copied for each test."""

import contextlib
import functools
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

# One thread a worker, as in a build: more would only wait for each other.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import pytest
import yaml
from filelock import FileLock

from baton import config

if TYPE_CHECKING:  # what takes seconds to load is loaded where it is used: who only hands out tests needs none of it
    import pandas as pd

    from baton.data.contract import Contract
    from baton.data.split import Division

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
PROGRAMS = Path(sys.executable).parent
NOTEBOOKS = config.ROOT / "tasks"
WARM = Path(__file__).parent / "warm.py"
PROJECT = Path(__file__).parent / "project"  # the env.yaml, features.py and grid that the machinery is tested with
ODD = "pw @/x%1#'"  # a password with all that a URL, a template and SQL would read as their own

# The project's noxfile, in an environment that is there already.
NOXFILE = f"""
import sys
sys.path.insert(0, {str(config.ROOT)!r})
import noxfile
noxfile.make, noxfile.WORK = lambda *_: None, {sys.prefix!r}
"""


def pytest_addoption(parser):
    parser.addoption("--env-file", help="an env file whose keys tests/test_project.py takes in place of env.yaml's")


def pytest_sessionstart(session):
    if session.config.getoption("numprocesses", None):  # before the workers are started, which load as much
        start_warm()


def pytest_collection_modifyitems(config, items):
    """Begin with what takes long, so that no worker waits for another at the end.

    worksteal gives each worker an equal part to begin with: the trained project is made in the first, meanwhile the
    second has the tests that build a project of their own.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    trained = [item for item in items if "first_hour" in item.fixturenames]
    fresh = [item for item in items if "fresh" in item.fixturenames]
    rest = [item for item in items if not {"first_hour", "fresh"} & {*item.fixturenames}]
    first = max(0, len(items) // workers - len(trained))
    items[:] = [*trained, *rest[:first], *fresh, *rest[first:]]


class Project:
    """A folder with a whole project in it, and the programs of the environment the tests run in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"

    def environment(self) -> dict[str, str]:
        # The suite may itself be run by nox, which makes the programs it starts skip their set-up; and MLflow hands the
        # store that a test has used to every program started after it.
        others = ("NOX_", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return inherited | {"PYTHONPATH": str(self.folder), "COLUMNS": "200"}

    def run(self, program: str, *arguments: str, succeeds: bool | None = True) -> str:
        """Run a program in the folder, in a process that has the libraries loaded; its success must be as told."""
        return self._run([*warm_command(), program, *arguments], succeeds)

    def start(self, program: str, *arguments: str, programs: Path = PROGRAMS) -> str:
        """Run a program in the folder as a user does, from the start."""
        return self._run([programs / program, *arguments], succeeds=True)

    def _run(self, command: list, succeeds: bool | None) -> str:
        """Return all that a command printed."""
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=self.folder, text=True, env=self.environment(), **how)
        assert succeeds is None or (done.returncode == 0) == succeeds, done.stdout
        return done.stdout

    def build(self, *arguments: str, succeeds: bool = True) -> str:
        return self.ploomber("build", *arguments, succeeds=succeeds)

    def ploomber(self, *arguments: str, succeeds: bool = True) -> str:
        return self.run("ploomber", *arguments, succeeds=succeeds)

    def set(self, **keys) -> None:
        """Set keys of env.yaml."""
        env = yaml.safe_load((self.folder / "env.yaml").read_text())
        (self.folder / "env.yaml").write_text(yaml.safe_dump(env | keys, sort_keys=False))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def keep_candidates(self, *names: str) -> None:
        """Shrink the grid, where a test is not about the grid."""
        file = self.folder / "grids" / "default.yaml"
        entries = [entry for entry in yaml.safe_load(file.read_text()) if entry["candidate"] in names]
        file.write_text(yaml.safe_dump(entries, sort_keys=False))

    def draw_nothing(self) -> None:
        """Leave out every picture of training but those of the comparison, where a test is about none of them."""
        self.set(figures="none")
        file = self.folder / "pipeline.yaml"
        text, count = re.subn(r"  - source: tasks/explore.py\n.*?\n\n", "", file.read_text(), flags=re.DOTALL)
        assert count == 1
        file.write_text(text)

    def tracked_nothing(self) -> bool:
        import registering

        store = (self.folder / "mlflow.db").read_bytes()
        return store == registering.empty_store().read_bytes() and not (self.folder / "mlruns").exists()

    def read(self, path: str) -> dict:
        """Read a JSON file of `products/<name>/`, for the name that env.yaml has."""
        name = yaml.safe_load((self.folder / "env.yaml").read_text())["name"]
        return json.loads((self.folder / "products" / name / path).read_text())


@functools.cache
def start_warm() -> subprocess.Popen:
    """Start what has the libraries loaded: once for all test workers, and for the tests that a test runs."""
    address = os.environ["WARM_SOCKET"] = str(Path(tempfile.mkdtemp(prefix="warm-")) / "socket")
    return subprocess.Popen([sys.executable, WARM, address], stdin=subprocess.PIPE, start_new_session=True)


def warm_command() -> list[str]:
    """What to put before a program's name to have it run where the libraries are loaded."""
    if "WARM_SOCKET" not in os.environ:
        start_warm()
    address = Path(os.environ["WARM_SOCKET"])
    given_up = time.monotonic() + 300
    while not address.is_socket():
        assert time.monotonic() < given_up
        time.sleep(0.05)
    return [sys.executable, "-S", str(WARM), str(address)]


def free_port() -> int:
    """Choose a port of 127.0.0.1 for a server to start on.

    Not by binding port 0: until the server has loaded, the system may give such a port to another worker's kernel or
    connection. It gives away none below 32768.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def answers(address: str) -> bool:
    """Tell whether a server answers at this address, with no error."""
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(address, timeout=10).status == 200
    return False


@contextlib.contextmanager
def serving(command: list, ready, log: Path, **how):
    """Run a server in a process group of its own, wait until `ready()` is true, and end the group.

    What it printed is in `log`, and in pytest's report of a test that fails.
    """
    with log.open("w") as printed:
        server = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True, **how)
    try:
        given_up = time.monotonic() + 600
        while not ready():
            assert server.poll() is None, f"it ended with {server.returncode}: {command}\n{log.read_text()}"
            assert time.monotonic() < given_up, f"it does not answer: {command}\n{log.read_text()}"
            time.sleep(0.1)
        yield server
    finally:
        for how_to_end in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(server.pid, how_to_end)
                server.wait(30)
        print(log.read_text())


def load_script(path: Path):
    """Import a file that is no part of any package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_task(name: str, **given) -> None:
    """Run a notebook's code below its parameters, in this process."""
    code = (NOTEBOOKS / f"{name}.py").read_text()
    _, _, below = code.partition('# %% tags=["parameters"]')[2].partition("# %%")
    exec(compile(below.partition("\n")[2], name, "exec"), given)


def learn(table, target: str = "y", champion=None, **keys) -> "Contract":
    """Learn the contract of a table, with these settings and the usual ones."""
    from baton.data import contract

    return contract.learn_contract(table, settings(target=target, **keys), champion)


def settings(**keys) -> config.Settings:
    return config.Settings(**{"name": "demo", "train_data": "t.csv", "target": "y"} | keys)


def copy_sources(folder: Path) -> Project:
    """Copy what git would clone, with the edits that are not committed yet, and put the tests' project into it.

    What a user writes (`env.yaml`, `features.py`, the grid) is hers to change: tests of the machinery have their own.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=config.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (config.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(config.ROOT / name, folder / name)
    for compiled in (config.ROOT / "baton").rglob("__pycache__"):  # as the times of the files are kept, it holds
        shutil.copytree(compiled, folder / compiled.relative_to(config.ROOT))
    for name in ("env.yaml", "features.py"):
        shutil.copy2(PROJECT / name, folder / name)
    shutil.copy2(PROJECT / "grids" / "default.yaml", folder / "grids" / "default.yaml")
    return Project(folder)


@pytest.fixture(autouse=True)
def _warm_models(monkeypatch):
    """Models run in processes that have the libraries loaded."""
    monkeypatch.setattr("baton.handover.registry.PYTHON", [*warm_command(), "python"])


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A project nothing was done in yet; but for an empty MLflow store, which takes more than a second to make."""
    import registering

    project = copy_sources(tmp_path / "project")
    shutil.copy2(registering.empty_store(), project.folder / "mlflow.db")
    return project


@pytest.fixture(scope="session")
def first_hour(tmp_path_factory, worker_id) -> tuple[Project, str]:
    """What a newcomer has after the README's first command, and what it printed. Made once for all test workers."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    project, printed = Project(shared / "first" / "project"), shared / "first" / "printed.txt"
    with FileLock(shared / "first.lock"):
        if not printed.exists():
            copy_sources(project.folder)
            printed.write_text(project.start("nox", "-s", "pipeline"))
    return project, printed.read_text()


@pytest.fixture
def trained(first_hour, tmp_path) -> Project:
    """A copy of the trained project, to be spoiled by one test."""
    new = tmp_path / "project"
    shutil.copytree(first_hour[0].folder, new, ignore=shutil.ignore_patterns(".venv*", ".nox"), symlinks=True)
    return Project(new)


@pytest.fixture(scope="session")
def features():
    """The feature code of the tests' project."""
    return config.load_features(str(PROJECT / "features.py"))


class Sample(NamedTuple):
    """The sample table as `clean` leaves it."""

    contract: "Contract"
    X: "pd.DataFrame"
    y: "pd.Series"
    folds: "pd.DataFrame"
    division: "Division"


@pytest.fixture(scope="session")
def diabetes() -> Sample:
    from baton.data import contract, split, tables

    table = tables.read_table(config.ROOT / "data" / "diabetes_train.csv")
    asked = settings(name="diabetes", target="Outcome")
    division = split.separate(table, contract.learn_contract(table, asked), asked)
    X, y = division.contract.read_features(division.training), division.training["Outcome"]
    return Sample(division.contract, X, y, division.folds, division)


@pytest.fixture(scope="session")
def moto(tmp_path_factory, worker_id) -> str:
    """The address of an S3 server of the tests' own; in an environment of its own, as it needs an older `dateutil`."""
    folder = tmp_path_factory.mktemp("moto")
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    pip = [sys._base_executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--only-binary=:all:", "--target", str(shared / "packages-moto")]
    with FileLock(shared / "moto.lock"):
        if not (shared / "packages-moto").exists():
            subprocess.run([*pip, "moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"], check=True)
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(shared / "packages-moto")}
    command = [sys._base_executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    address = f"http://127.0.0.1:{port}"
    with serving(command, lambda: answers(f"{address}/moto-api/"), folder / "log", env=environment):
        yield address


@pytest.fixture
def bucket(moto, monkeypatch) -> str:
    """The address of an empty bucket, which the environment says how to reach."""
    login = {"ENDPOINT_URL": moto, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "us-east-1"}
    for name, value in login.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    name = f"bucket-{time.time_ns()}"
    urllib.request.urlopen(urllib.request.Request(f"{moto}/{name}", method="PUT")).close()
    return f"s3://{name}"


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of the tests' own, with an odd password: its address, where `${ODD}` holds the password."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), Path(shutil.which("initdb") or "").parent]
    programs = next((folder for folder in found if (folder / "initdb").is_file()), None)
    if programs is None:
        pytest.fail("there is no PostgreSQL to test with. Install it: apt-get install postgresql", pytrace=False)
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    how = {"cwd": folder, "stdout": (folder / "log").open("w"), "stderr": subprocess.STDOUT}
    (folder / "password").write_text(ODD)
    if os.name == "posix" and os.getuid() == 0:  # PostgreSQL refuses to run as root
        how |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    port = free_port()
    data = ["-D", str(folder / "data")]
    first = [
        "--username=me",
        f"--pwfile={folder / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
    ]
    serve = ["-h", "127.0.0.1", "-p", str(port), "-c", "unix_socket_directories=", "-c", "fsync=off"]
    try:
        subprocess.run([programs / "initdb", *data, *first, "--no-sync"], check=True, **how)
        server = subprocess.Popen([programs / "postgres", *data, *serve], **how)
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready).returncode:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("ODD", ODD)
                yield f"postgresql://me:${{ODD}}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for clients
            server.wait(300)
    finally:
        shutil.rmtree(folder)
