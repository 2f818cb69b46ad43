"""A real Dask cluster on this machine, with its data and predictions on an S3 server and its runs on an MLflow server: what
it trains and scores is what this machine's processes do, though a worker is killed in the middle of either."""

import contextlib
import os
import pickle
import re
import socket
import sys
import tempfile
import time
from concurrent.futures import Future

import mlflow
import obstore
import optuna
import pandas as pd
import pytest
from conftest import PROGRAMS, answers, free_port, serving, warm_command

from baton import BatonError, config, cores, engine
from baton.engine import Dask, connect
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


KINDS = os.environ.get("BATON_ENGINES", "dask").split()  # "dask ray" where Ray is installed too: nox -s cluster


def running(project, name: str, *command: str, ready=lambda: True):
    log = project.folder / f"{name}-{len([*project.folder.glob(f'{name}-*')])}.log"
    start = [*warm_command(), "dask"] if name == "dask" else [PROGRAMS / name]
    return serving([*start, *command], ready, log, cwd=project.folder, env=project.environment())


def answering(port: int):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True


class OfDask:
    """Starts a scheduler of Dask, and workers."""

    def __init__(self, project):
        self.project, self.port = project, free_port()
        self.address = f"dask://127.0.0.1:{self.port}"

    def start(self):
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        return running(self.project, "dask", "scheduler", *where, ready=lambda: answering(self.port))

    @contextlib.contextmanager
    def workers(self, count: int):
        # With a nanny, another would take the place of the one that is killed.
        how = [self.address.replace("dask", "tcp"), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        with contextlib.ExitStack() as started:
            for _ in range(count):
                started.enter_context(running(self.project, "dask", "worker", *how))
            yield


class OfRay:
    """Starts a head of Ray that does nothing itself, and a node of some processors."""

    def __init__(self, project):
        self.project, self.port, self.clients = project, free_port(), free_port()
        self.address = f"ray://127.0.0.1:{self.clients}"

    @contextlib.contextmanager
    def start(self):
        ports = ["--port", str(self.port), "--ray-client-server-port", str(self.clients)]
        with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as short:  # the path of a socket
            how = ["--head", *ports, "--num-cpus", "0", "--include-dashboard", "false", "--temp-dir", short]
            with self._node(*how, ready=lambda: answering(self.clients)) as head:
                yield head

    def workers(self, count: int):
        return self._node("--address", f"127.0.0.1:{self.port}", "--num-cpus", str(count))

    def _node(self, *how: str, **ready):
        any_port = ["--min-worker-port", "0", "--max-worker-port", "0", "--node-ip-address", "127.0.0.1"]
        return running(self.project, "ray", "start", "--block", "--disable-usage-stats", *any_port, *how, **ready)


@pytest.fixture(params=KINDS)
def cluster(trained, request):
    """One that is started, and has no workers yet."""
    cluster = {"dask": OfDask, "ray": OfRay}[request.param](trained)
    with cluster.start():
        yield cluster


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
    trained, bucket, server, cluster, monkeypatch
):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    with pytest.raises(BatonError, match=f"engine: {cluster.address} has no workers. Start some"):
        connect(cluster.address)
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
    with cluster.workers(2):
        printed = trained.build("--env--engine", cluster.address)
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

    with cluster.workers(2):
        trained.run("baton", "score", "--env--engine", cluster.address, "--env--batch", "there")
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
    dask, code = OfDask(trained), "    function, arguments = pickle.loads(work)\n"
    trained.edit("baton/engine.py", "PATIENCE = 30", "PATIENCE = 5")
    with dask.start() as process, dask.workers(1):
        kill = f"    os.kill({process.pid}, 9)\n"  # whatever is asked of a worker
        trained.edit("baton/engine.py", code, kill + code)
        printed = trained.run(*work.split(), "--env--engine", dask.address, succeeds=False)
    assert "Traceback" not in printed
    assert re.search(f"engine: {dask.address}.* is gone", printed)
    trained.edit("baton/engine.py", kill, "")
    trained.run(*work.split())


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    for kind in KINDS:
        address = f"{kind}://127.0.0.1:{free_port()}"
        with pytest.raises(BatonError, match=f"engine: {address} does not answer: .*Start it: see docs/scale.md"):
            connect(address)
    for kind, package in (("dask", "distributed"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        told = f"needs {kind.capitalize()}, which is not installed. Add '{kind}' to GROUPS in noxfile.py"
        with pytest.raises(BatonError, match=told):
            connect(f"{kind}://127.0.0.1:{free_port()}")


def test_a_worker_does_what_it_is_asked_in_this_project_and_in_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert engine._do(str(config.ROOT), pickle.dumps((os.getcwd, ()))) == str(config.ROOT)
    with pytest.raises(BatonError, match="a worker runs the project in .* start it there"):
        engine._do(str(tmp_path), pickle.dumps((os.getcwd, ())))


def test_what_was_cancelled_was_lost():
    future = Future()
    future.cancel()
    assert Dask.__new__(Dask).was_lost(future)


@contextlib.contextmanager
def cluster_of(workers: int):
    from distributed import LocalCluster

    how = {"n_workers": workers, "threads_per_worker": 1, "processes": workers > 1, "protocol": "tcp"}
    with LocalCluster(**how, dashboard_address=None) as local:
        address = local.scheduler_address.replace("tcp://", "dask://")
        with connect(address) as cluster:
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


def test_trials_of_a_search_are_scored_by_workers_that_have_nothing_to_do(trained, cluster):
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

    with cluster.workers(2):
        trained.build("--env--engine", cluster.address)
        there = trials()
        assert len(set((trained.folder / "who scores").read_text().split())) == 2
        # Code that was changed is what the same workers run next.
        with (trained.folder / "features.py").open("a") as features:
            features.write("\n\nopen('changed', 'w').close()\n")
        trained.build("--env--engine", cluster.address)
        assert (trained.folder / "changed").exists()
        trained.edit("baton/cores.py", "import contextlib\n", "import contextlib  # changed\n")
        # Workers of Ray are new ones for each build.
        force = ["ploomber", "build", "--force", "--env--engine", cluster.address]
        printed = trained.run(*force, succeeds=isinstance(cluster, OfRay))
        told = "baton.cores was changed after a worker had loaded it: stop the workers, and start them"
        assert (told in printed) == isinstance(cluster, OfDask)
    log.unlink()
    trained.build("--force")
    assert len(there) >= 12  # so many of each fold
    assert there == trials()
