"""A team's MLflow server, as `nox -s server` starts it: on PostgreSQL, with logins; two clones train and serve by it."""

import concurrent.futures
import os
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import requests
import sqlalchemy
from conftest import NOXFILE, PROGRAMS, Project, answers, copy_sources, free_port, serving

from baton import config
from baton.handover import history

PASSWORDS = {"admin": "correct horse battery", "alice": "wonder land 1865", "bob": "the builder: 1999"}


@pytest.fixture(scope="module")
def team(postgres, tmp_path_factory) -> str:
    """The address of a server with the users alice and bob."""
    folder, port = tmp_path_factory.mktemp("team"), free_port()
    owner = sqlalchemy.create_engine(config.fill_in(postgres).replace("postgresql", "postgresql+pg8000"))
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("CREATE ROLE mlflow LOGIN PASSWORD 'secret'"))
        connection.execute(sqlalchemy.text("CREATE DATABASE mlflow OWNER mlflow"))
    owner.dispose()
    database = f"postgresql+pg8000://mlflow:secret@{postgres.rpartition('@')[2].partition('/')[0]}/mlflow"
    (folder / "deploy").symlink_to(config.ROOT / "deploy")
    (folder / "nox_server.py").write_text(NOXFILE)
    command = [PROGRAMS / "nox", "-f", "nox_server.py", "-s", "server", "--", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NOX_", "MLFLOW_"))}
    environment |= {"MLFLOW_BACKEND_STORE_URI": database}
    environment |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a long one", "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"]}
    address = f"http://127.0.0.1:{port}"
    how = {"cwd": folder, "env": environment}
    with serving(command, lambda: answers(f"{address}/health"), folder / "log", **how):
        for name in ("alice", "bob"):
            ask(address, "2.0/mlflow/users/create", username=name, password=PASSWORDS[name])
        yield address


def ask(address: str, what: str, who: str = "admin", **asked) -> None:
    """Have someone do what only logins are for."""
    done = requests.post(f"{address}/api/{what}", json=asked, auth=(who, PASSWORDS[who]), timeout=60)
    assert done.ok, done.text


def clone(folder: Path, name: str, address: str, candidate: str) -> Project:
    project = copy_sources(folder / name)
    project.keep_candidates(candidate)
    uri = address.replace("://", f"://{name}:${{PASSWORD_OF_{name.upper()}}}@")
    project.draw_nothing()
    project.set(name="shared", mlflow_tracking_uri=uri, promote="always", final_fit="training")
    return project


def test_two_clones_train_and_serve_at_once_and_who_may_not_is_told(team, tmp_path, monkeypatch):
    for name, password in PASSWORDS.items():
        monkeypatch.setenv(f"PASSWORD_OF_{name.upper()}", password)
    alice, bob = clone(tmp_path, "alice", team, "lr"), clone(tmp_path, "bob", team, "tree")
    printed = [alice.build()]

    # Bob may look, and not add to it.
    printed.append(bob.build(succeeds=False))
    assert "clean: the MLflow server says that this login may not do it: API request to endpoint" in printed[-1]
    monkeypatch.setenv("PASSWORD_OF_BOB", "guessed")
    printed.append(bob.run("baton", "history", succeeds=False))
    assert printed[-1].startswith("the MLflow server does not know this login: API request to endpoint")
    assert not [text for text in printed if "Traceback" in text]
    monkeypatch.setenv("PASSWORD_OF_BOB", PASSWORDS["bob"])
    for key, value in (("MLFLOW_TRACKING_USERNAME", "admin"), ("MLFLOW_TRACKING_PASSWORD", PASSWORDS["admin"])):
        monkeypatch.setenv(key, value)
    admin = mlflow.MlflowClient(team, team)
    experiment = admin.get_experiment_by_name("shared").experiment_id
    for kind, one in (("experiment", experiment), ("registered_model", "shared")):
        may = {"username": "bob", "resource_type": kind, "resource_id": one, "permission": "EDIT"}
        ask(team, "3.0/mlflow/users/permissions/grant", who="alice", **may)

    # Now both train at once, and then both score.
    (alice.folder / "grids/default.yaml").write_text("- {candidate: knn, model: knn}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        printed += pool.map(lambda project: project.build(), (alice, bob))
        events = history.read("shared", team)
        assert [event.kind for event in events] == ["promoted"] * 3
        assert [event.previous for event in events] == [None, *(event.version for event in events[:-1])]
        champion = admin.get_model_version_by_alias("shared", "champion")
        assert champion.version == events[-1].version
        printed += pool.map(
            lambda one: one[0].run("baton", "score", "--env--batch", one[1]), ((alice, "a"), (bob, "b"))
        )
    for project, batch in ((alice, "a"), (bob, "b")):
        rows = pd.read_parquet(project.folder / f"predictions/shared/batch={batch}")
        assert (len(rows), {*rows["model_version"]}) == (192, {champion.version})
    # Alice's training, with the candidates of two builds, and Bob's, all filed whole; and no version says that it became champion, and did not.
    runs = admin.search_runs([experiment])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.info.run_name for run in children) == ["knn", "lr", "tree"]
    assert (len(runs), {run.info.status for run in runs}) == (5, {"FINISHED"})
    for version in admin.search_model_versions("name='shared'"):  # who may edit may not delete
        promoted = version.version in {event.version for event in events}
        assert version.tags["decision"].startswith("promoted" if promoted else "withdrawn")
    assert "version" in alice.run("baton", "history")

    written = [file for one in (alice, bob) for file in one.folder.glob("pr*/**/*") if file.is_file()]
    for password in (*PASSWORDS.values(), "guessed"):
        for odd in (password, password.replace(" ", "%20").replace(":", "%3A")):
            assert not [text for text in printed if odd in text]
            assert not [file for file in written if odd.encode() in file.read_bytes()]
