# /// script
# dependencies = ["nox>=2025.5.1", "uv>=0.9"]
# ///
"""Everything this project can be asked to do: `nox -l` lists it, `nox -s NAME` does it, making what it needs first."""

import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"  # uv makes the two environments from uv.lock; nox only starts things in them
nox.options.sessions = ["lint", "tests"]

WORK = ".venv"  # trains, tests, and opens notebooks; what an editor finds by itself
SERVE = ".venv-serve"  # what the nightly job needs, and nothing that trains
# Groups of pyproject.toml that are wanted as well: "xgboost", "catboost"; "object-store" (S3); "dask", "ray" (cluster)
GROUPS = []

# Container images often tell Python to keep no compiled code. uv compiles nothing when it installs: each process that
# runs a model would compile the libraries anew, which takes longer than the model does.
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true")}


def make(session: nox.Session, folder: str, *groups: str) -> None:
    options = [f"--group={group}" for group in (*GROUPS, *groups)] + ["--no-default-groups"] * (folder == SERVE)
    session.run(
        sys.executable, "-m", "uv", "sync", "--locked", "--quiet", *options,
        env={"UV_PROJECT_ENVIRONMENT": folder}, external=True,
    )  # fmt: skip


def run(session: nox.Session, folder: str, program: str, *arguments: str, env=None, **how) -> None:
    home = Path(folder).absolute()
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    active = {"VIRTUAL_ENV": str(home), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    env = QUIET | COMPILED | active | (env or {})
    session.run(str(programs / program), *arguments, env=env, external=True, **how)


@nox.session
def pipeline(session: nox.Session) -> None:
    """Train, register the champion, score the new rows, and say where everything is."""
    train(session)
    score(session)
    run(session, WORK, "baton", "results")


@nox.session
def train(session: nox.Session) -> None:
    """Build the training pipeline; options go behind --, as in: nox -s train -- --env--folds 10"""
    make(session, WORK)
    run(session, WORK, "ploomber", "build", *session.posargs)


@nox.session
def score(session: nox.Session) -> None:
    """Score a batch by the serving pipeline, in the small environment that has no PyCaret."""
    make(session, SERVE)
    run(session, SERVE, "baton", "score", *session.posargs, success_codes=[0, 3])  # 3: nothing to do


@nox.session
def baton(session: nox.Session) -> None:
    """Run the command `baton`; what it is to do goes behind --, as in: nox -s baton -- history"""
    make(session, WORK)
    run(session, WORK, "baton", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite; pytest's options go behind --."""
    make(session, WORK, "xgboost", "catboost", "object-store", "dask", "server")
    run(session, WORK, "pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and likely mistakes."""
    make(session, WORK)
    run(session, WORK, "ruff", "check")
    run(session, WORK, "ruff", "format", "--check")


@nox.session
def ui(session: nox.Session) -> None:
    """Show the trainings in MLflow's pages, until Ctrl-C; options go behind --: --port 5001, --no-browser"""
    make(session, WORK)
    run(session, WORK, "python", "-m", "baton.ui", *session.posargs)


@nox.session
def server(session: nox.Session) -> None:
    """Start a team's MLflow server, with logins; options of `mlflow server` go behind --: see docs/team.md"""
    make(session, WORK, "server")
    Path("server").mkdir(exist_ok=True)  # what it keeps, unless the options say otherwise
    options = {"--app-name": "basic-auth", "--host": "127.0.0.1", "--artifacts-destination": "server/files"}
    if "MLFLOW_BACKEND_STORE_URI" not in os.environ:  # where a database's password is in no command
        options |= {"--backend-store-uri": "sqlite:///server/mlflow.db"}
    given = [part for name, value in options.items() if name not in session.posargs for part in (name, value)]
    # MLflow's jobs for language models would be eight processes more.
    settings = {"MLFLOW_AUTH_CONFIG_PATH": "deploy/mlflow/auth.ini", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    run(session, WORK, "mlflow", "server", *given, *session.posargs, env=settings)


@nox.session
def cluster(session: nox.Session) -> None:
    """Train and score on a real cluster, with servers of S3 and MLflow, while workers are killed: see docs/scale.md"""
    make(session, WORK, "object-store", "dask", "ray", "server")
    run(session, WORK, "pytest", "-v", "tests/test_engine.py", *session.posargs, env={"BATON_ENGINES": "dask ray"})


@nox.session
def spark(session: nox.Session) -> None:
    """Score a table of Spark by the champion, on a Spark of this machine: see docs/scale.md"""
    make(session, ".venv-spark", "spark")
    run(session, ".venv-spark", "python", "bench/spark.py")


@nox.session
def jupyter(session: nox.Session) -> None:
    """Open the notebooks in JupyterLab, each with its parameters, which are never saved."""
    make(session, WORK)
    # Jupytext's asynchronous manager, which Jupyter would take, breaks Ploomber's extension: no file would open.
    manager = "--ServerApp.contents_manager_class=jupytext.TextFileContentsManager"
    run(session, WORK, "jupyter", "lab", manager, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time training against a script; others by name, as in -- scoring: see bench/README.md"""
    make(session, WORK, "bench", "dask")
    name, *arguments = session.posargs or ["train"]
    run(session, WORK, "python", f"bench/{name}.py", *arguments)
