"""A real Dask cluster on this machine, with its data and predictions on an S3 server and its runs on an MLflow server: what
it trains and scores is what this machine's processes do, though a worker is killed in the middle of either."""

import contextlib
import os
import pickle
import re
import socket
import sys
import time
from concurrent.futures import Future

import mlflow
import obstore
import optuna
import pandas as pd
import pytest
from conftest import PROGRAMS, answers, free_port, serving, warm_command

from baton import BatonError, config, cores, engine
from baton.engine import Cluster
from baton.serving import batch

# The worker that fits first is killed in the middle of it, by the project's feature code.
DIE_WHILE_FITTING = """
import os
_derive = derive


def derive(rows):
    if os.path.exists("products/diabetes/features/X.parquet") and not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)
    return _derive(rows)
"""
# So is the one that scores the first chunk, when that is done and nobody knows it yet.
DIE_WHILE_SCORING = """    _ask(_there.process, model, work, asked)
    if not os.path.exists("died again"):
        open("died again", "w").close()
        os.kill(os.getpid(), 9)
"""


@contextlib.contextmanager
def running(project, *command: str, ready=lambda: True):
    log = project.folder / f"dask-{command[0]}-{len([*project.folder.glob('dask-*')])}.log"
    command = [*warm_command(), "dask", *command, "--no-dashboard"]
    with serving(command, ready, log, cwd=project.folder, env=project.environment()) as server:
        yield server


@pytest.fixture
def scheduler(trained):
    """The address of one that has no workers yet."""
    port = free_port()

    def ready():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True

    with running(trained, "scheduler", "--host", "127.0.0.1", "--port", str(port), ready=ready):
        yield f"dask://127.0.0.1:{port}"


def worker(project, address: str):
    # With a nanny, another would take the place of the one that is killed.
    return running(project, "worker", address.replace("dask://", "tcp://"), "--nthreads", "1", "--no-nanny")


@pytest.fixture
def server(tmp_path):
    """The address of an MLflow server that keeps nothing yet."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [PROGRAMS / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, lambda: answers(f"{address}/health"), tmp_path / "log", cwd=tmp_path, env=environment):
        yield address


def test_on_a_cluster_the_same_is_trained_and_scored_though_workers_are_killed(
    trained, bucket, server, scheduler, monkeypatch
):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    with pytest.raises(BatonError, match=f"engine: {scheduler} has no workers. Start some"):
        Cluster(scheduler)
    here = trained.folder / "products/diabetes/compare/leaderboard.csv"
    expected = pd.read_csv(here, index_col="candidate")
    store = obstore.store.from_url(bucket, client_options={"allow_http": True})
    for file in ("train", "test"):
        store.put(f"in/{file}.csv", trained.folder / f"data/diabetes_{file}.csv")
    trained.keep_candidates("lr", "tree")
    trained.draw_nothing()
    trained.set(
        train_data=f"{bucket}/in/train.csv", score_data=f"{bucket}/in/test.csv", predictions_store=f"{bucket}/out",
        mlflow_tracking_uri=server, final_fit="training", promote="always",
    )  # fmt: skip
    with (trained.folder / "features.py").open("a") as features:
        features.write(DIE_WHILE_FITTING)
    trained.edit("baton/serving/batch.py", "max(1000, min", "max(40, min")
    trained.edit("baton/serving/batch.py", "MOST_ROWS = 100_000", "MOST_ROWS = 40")
    trained.edit("baton/handover/registry.py", "    _ask(_there.process, model, work, asked)\n", DIE_WHILE_SCORING)
    with worker(trained, scheduler), worker(trained, scheduler):
        printed = trained.build("--env--engine", scheduler)
        assert (trained.folder / "died").exists()
        assert "A process was killed" not in printed  # the cluster itself has another do it
        found = pd.read_csv(here, index_col="candidate")
        assert sorted(found.index) == ["lr", "tree"]
        assert found["mean"].to_dict() == expected.loc[found.index, "mean"].to_dict()
        client = mlflow.MlflowClient(server)
        (experiment,) = (one.experiment_id for one in client.search_experiments() if one.name == "diabetes")
        made = client.search_runs([experiment])
        assert sorted(run.data.tags.get("candidate", "the training") for run in made) == ["lr", "the training", "tree"]
        assert {run.info.status for run in made} == {"FINISHED"}

    with worker(trained, scheduler), worker(trained, scheduler):
        trained.run("baton", "score", "--env--engine", scheduler, "--env--batch", "there")
    assert (trained.folder / "died again").exists()
    trained.run("baton", "score", "--env--batch", "here")
    there, here = (batch.read(f"{bucket}/out/diabetes/batch={one}") for one in ("there", "here"))
    assert len(there) == 192
    pd.testing.assert_frame_equal(*(rows.drop(columns="scored_at") for rows in (there, here)), check_exact=True)
    assert not [*trained.folder.glob("predictions/diabetes/.batch=*")]


@pytest.mark.parametrize("work", ["ploomber build", "baton score --env--batch other"])
def test_a_scheduler_that_dies_half_way_is_told_and_the_next_run_goes_on(trained, work):
    trained.keep_candidates("tree")
    trained.draw_nothing()
    port = free_port()
    address, code = f"dask://127.0.0.1:{port}", "    function, arguments = pickle.loads(work)\n"
    trained.edit("baton/engine.py", "PATIENCE = 30", "PATIENCE = 5")
    scheduler = running(trained, "scheduler", "--host", "127.0.0.1", "--port", str(port))
    with scheduler as process, worker(trained, address):
        kill = f"    os.kill({process.pid}, 9)\n"  # whatever is asked of a worker
        trained.edit("baton/engine.py", code, kill + code)
        printed = trained.run(*work.split(), "--env--engine", address, succeeds=False)
    assert "Traceback" not in printed
    assert re.search(f"engine: {address}.* scheduler is gone", printed)
    trained.edit("baton/engine.py", kill, "")
    trained.run(*work.split())


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    address = f"dask://127.0.0.1:{free_port()}"
    with pytest.raises(BatonError, match=f"engine: {address} does not answer: .*Start its scheduler"):
        Cluster(address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BatonError, match=r"needs Dask, which is not installed. Add 'dask' to GROUPS in noxfile.py"):
        Cluster(address)


def test_a_worker_does_what_it_is_asked_in_this_project_and_in_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert engine._do(str(config.ROOT), pickle.dumps((os.getcwd, ()))) == str(config.ROOT)
    with pytest.raises(BatonError, match="a worker runs the project in .* start it there"):
        engine._do(str(tmp_path), pickle.dumps((os.getcwd, ())))


def test_what_was_cancelled_was_lost():
    future = Future()
    future.cancel()
    assert Cluster.was_lost(None, future)


@contextlib.contextmanager
def cluster_of(workers: int):
    from distributed import LocalCluster

    how = {"n_workers": workers, "threads_per_worker": 1, "processes": workers > 1, "protocol": "tcp"}
    with LocalCluster(**how, dashboard_address=None) as local:
        address = local.scheduler_address.replace("tcp://", "dask://")
        with Cluster(address) as cluster:
            yield cluster


def test_what_is_asked_twice_is_done_twice():
    with cluster_of(1) as cluster:
        futures = [cluster.submit(os.urandom, 8) for _ in range(2)]
        first, second = (future.result() for future in futures)
    assert first != second


def spread(function, items) -> tuple[int, list]:
    return os.getpid(), [*cores.spread(function, items)]


def at_work(item: int) -> tuple[int, int]:
    time.sleep(0.2)
    return item, os.getpid()


def in_trouble(item: tuple[int, str]) -> str:
    if os.getpid() != item[0]:
        if item[1] == "fail":
            raise ValueError
        if item[1] == "last":
            time.sleep(20)
        elif not os.path.exists(item[1]):
            open(item[1], "w").close()
            os.kill(os.getpid(), 9)
    return item[1]


def spread_trouble(troubles: list[str]) -> list[str]:
    return [*cores.spread(in_trouble, [(os.getpid(), trouble) for trouble in troubles])]


def test_a_worker_spreads_what_it_does_over_those_that_have_nothing_to_do(tmp_path):
    with cluster_of(3) as cluster:
        mine, results = cluster.submit(spread, at_work, range(12)).result()
        assert [item for item, _ in results] == [*range(12)]
        assert (len(who := {process for _, process in results}), mine in who) == (3, True)
        assert cluster.submit(spread, at_work, []).result()[1] == []

        # What another worker fails in, or is long about, this one does; what kills it is done again.
        begun = time.monotonic()
        troubles = ["fail", "last", str(tmp_path / "killed"), "fail"]
        assert cluster.submit(spread_trouble, troubles).result() == troubles
        assert time.monotonic() - begun < 15
        assert (tmp_path / "killed").exists()


def test_with_every_worker_at_work_each_does_its_own():
    with cluster_of(2) as cluster:
        both = [cluster.submit(spread, at_work, range(4)) for _ in range(2)]
        for mine, results in (future.result() for future in both):
            assert [process for _, process in results][:3] == [mine] * 3


def test_trials_of_a_search_are_scored_by_workers_that_have_nothing_to_do(trained, scheduler):
    trained.keep_candidates("tree")
    trained.draw_nothing()
    trained.edit("grids/default.yaml", "model: dt", "model: dt\n  tune: 12")
    started = "    if time.time() >= deadline:\n"
    note = f"    import os\n    open('who scores', 'a').write(f'{{os.getpid()}}\\n')\n{started}"
    trained.edit("baton/training/study.py", started, note)
    log = trained.folder / "products/diabetes/fit/tree/study.log"

    def trials() -> list[tuple]:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(log)))
        names = [study.study_name for study in optuna.get_all_study_summaries(storage)]
        found = [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).trials]
        return [(trial.state, trial.params, trial.value, trial.intermediate_values) for trial in found]

    with worker(trained, scheduler), worker(trained, scheduler):
        trained.build("--env--engine", scheduler)
        there = trials()
        assert len(set((trained.folder / "who scores").read_text().split())) == 2
        # Code that was changed is what the same workers run next.
        with (trained.folder / "features.py").open("a") as features:
            features.write("\n\nopen('changed', 'w').close()\n")
        trained.build("--env--engine", scheduler)
        assert (trained.folder / "changed").exists()
        trained.edit("baton/cores.py", "import contextlib\n", "import contextlib  # changed\n")
        printed = trained.run("ploomber", "build", "--force", "--env--engine", scheduler, succeeds=False)
        assert "baton.cores was changed after a worker had loaded it: stop the workers, and start them" in printed
    log.unlink()
    trained.build("--force")
    assert len(there) >= 12  # so many of each fold
    assert there == trials()
