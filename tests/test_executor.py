"""The executor over small pipelines of functions: what runs, what is said, and how it ends."""

import errno
import json
import multiprocessing
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, learn, settings
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from ploomber import DAG
from ploomber.exceptions import DAGBuildEarlyStop, DAGBuildError
from ploomber.products import File
from ploomber.tasks import PythonCallable
from sklearn.neighbors import KNeighborsClassifier

from baton import BatonError, config, cores, executor
from baton.executor import Parallel

SETTINGS = settings(score_data="new.csv").model_dump(mode="json")


def write(product):
    Path(str(product)).write_text("done")


def write_after(product, upstream):
    write(product)


def write_with(product, settings):
    write(product)


def mistake(product):
    raise BatonError("table.csv, column 'age': 3 values are not a number")


def crash(product):
    raise RuntimeError("a bug of ours")


def die(product):
    os.kill(os.getpid(), signal.SIGKILL)


def write_half_and_die(product):
    Path(str(product)).write_text("half")
    die(product)


def enough(product):
    write(product)
    raise DAGBuildEarlyStop("nothing to do")


def break_off(product):
    Path(str(product)).write_text("half")
    raise BatonError("enough of it")


def write_on_a_full_disk(product):
    write(product)
    Path(product.metadata._product._path_to_metadata).write_text("")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_without_the_right(product):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def keep_in_a_broken_store(product):
    try:
        sqlite3.connect(":memory:").execute("SELECT * FROM runs")
    except sqlite3.OperationalError as error:
        raise RuntimeError("what a library makes of it") from error


def ask_a_server_that_is_away(product):
    try:
        raise MlflowException("API request to http://team.example failed\nwith a long story")
    except MlflowException as error:
        raise RuntimeError("what a library makes of it") from error


def interrupt(product):
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(3600)


def kill_the_build(product):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)


def write_although_interrupted(product):
    os.kill(os.getpid(), signal.SIGINT)
    write(product)


def try_the_lock(product):
    try:
        FileLock(Path(str(product)).with_name(".lock")).acquire(blocking=False)
        found = "free"
    except Timeout:
        found = "held"
    Path(str(product)).write_text(found)


def write_own_process(product):
    time.sleep(0.5)
    Path(str(product)).write_text(str(os.getpid()))


def work(others=None) -> tuple[float, float]:
    started = time.monotonic()
    if others:
        others.wait(60)
    time.sleep(0.2)
    return started, time.monotonic()


def work_alone(product):
    Path(str(product)).write_text(json.dumps([work()]))


def work_in_parts(product):
    """Beside the others, and then on all three cores at once, as a barrier shows."""
    times = [*cores.spread(work, [None] * 9)]
    while cores._cores.idle.get_value() < 2:
        time.sleep(0.05)
    times += cores.spread(work, [multiprocessing.get_context("fork").Barrier(3)] * 6)
    Path(str(product)).write_text(json.dumps(times))


def compute_in_threads(product):
    rows = np.random.default_rng(0).normal(size=(2000, 5))
    KNeighborsClassifier(algorithm="brute").fit(rows, rows[:, 0] > 0).predict(rows)
    write(product)


def pipeline(folder: Path, first=write, settings=SETTINGS, other=write_with, **executor) -> DAG:
    """first → second, and other beside them, which alone has settings."""
    dag = DAG(executor=Parallel(**({"lock": str(folder / ".lock"), "processes": 2} | executor)))
    tasks = {
        name: PythonCallable(function, File(folder / name), dag, name=name, params=params)
        for name, function, params in (
            ("first", first, None), ("second", write_after, None), ("other", other, {"settings": settings}),
        )
    }  # fmt: skip
    tasks["second"].set_upstream(tasks["first"])
    return dag


def test_everything_runs_and_each_task_is_announced_with_what_is_left(tmp_path, capsys):
    pipeline(tmp_path).build()
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"first", "second", "other"}
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] + "]" for line in printed] == ["[1/3]", "[2/3]", "[3/3]"]
    assert [line.rsplit(";")[1] for line in printed] == [" 2 left", " 1 left", " 0 left"]


@pytest.mark.parametrize(
    ("seconds", "tasks", "said"),
    [
        ([2.0] * 6, 200, ", about 3 min"),
        ([2.0] * 6, 90, ", about 90 s"),
        ([60.0, *[2.0] * 5], 90, ", about 90 s"),  # one that is slow says little of the others
        ([2.0] * 6, 9, ""),
        ([2.0] * 5, 200, ""),
    ],
)
def test_how_long_is_left_goes_by_most_of_the_tasks_that_are_done(seconds, tasks, said):
    assert executor._time_left(seconds, tasks, processes=2) == said


def test_a_worker_does_not_wait_for_threads_of_the_process_that_was_forked(tmp_path):
    compute_in_threads(tmp_path / "here")
    pipeline(tmp_path, compute_in_threads, start_method="fork").build()
    assert (tmp_path / "second").exists()


def test_no_two_builds_are_at_work_at_once(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(DAGBuildError, match="Nothing was run.\nAnother build of this"):
        pipeline(tmp_path).build()
    assert not (tmp_path / "first").exists()
    pipeline(tmp_path).build()
    assert (tmp_path / "second").exists()


def test_the_lock_is_held_while_tasks_run(tmp_path):
    pipeline(tmp_path, try_the_lock).build()
    assert (tmp_path / "first").read_text() == "held"


def test_builds_of_different_names_are_at_work_at_once(tmp_path):
    with FileLock(tmp_path / ".lock"):
        pipeline(tmp_path / "churn", lock=str(tmp_path / "churn" / ".lock")).build()
    assert (tmp_path / "churn" / "second").exists()


def test_a_second_build_runs_nothing_and_says_so(tmp_path, capsys):
    first = pipeline(tmp_path)
    first.build()
    capsys.readouterr()
    for again in (first, pipeline(tmp_path)):
        again.build()
        assert capsys.readouterr().out.startswith("Everything is up to date")


def test_a_mistake_of_the_users_is_told_without_a_traceback_and_others_are_kept(tmp_path):
    with pytest.raises(DAGBuildError) as caught:
        pipeline(tmp_path, mistake).build()
    said = str(caught.value)
    assert "1 of 3 tasks failed." in said
    assert "first: table.csv, column 'age': 3 values are not a number\n" in said
    assert "Not run, because they depend on that: second." in said
    assert "Traceback" not in said
    assert "Need help?" not in said  # an address of Ploomber's, which can't help
    assert (tmp_path / "other").read_text() == "done"
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (write_on_a_full_disk, "first: the machine says: .*No space left on device. Make room"),
        (write_without_the_right, "first: the machine says: .*Permission denied. Make room, or give"),
        (keep_in_a_broken_store, "first: the MLflow store says: no such table: runs. See to the file"),
        (ask_a_server_that_is_away, "first: MLflow says: API request to http://team.example failed. See to the store"),
    ],
)
def test_what_the_machine_refuses_is_told_without_a_traceback_and_stops_no_later_build(tmp_path, first, said):
    with pytest.raises(DAGBuildError, match=said) as caught:
        pipeline(tmp_path, first).build()
    assert "Traceback" not in str(caught.value)
    pipeline(tmp_path).build()
    assert (tmp_path / "second").read_text() == "done"


def test_a_bug_is_told_with_its_traceback(tmp_path):
    with pytest.raises(DAGBuildError, match=r"(?s)first: .*Traceback.*in crash.*RuntimeError: a bug of ours"):
        pipeline(tmp_path, crash).build()


def test_a_killed_worker_ends_the_build_with_a_message(tmp_path):
    with pytest.raises(DAGBuildError, match="its process was killed, most often for want of memory"):
        pipeline(tmp_path, die).build()


def die_unless_alone(product):
    """As for want of memory, beside another task."""
    here = Path(str(product))
    here.with_name("first-tried").open("a").write("once more ")
    until = time.monotonic() + 60
    while not here.with_name("other-tried").exists() and time.monotonic() < until:
        time.sleep(0.01)
    if here.with_name("first-tried").read_text().count("once") == 1:
        die(product)
    write(product)


def be_beside(product, settings):
    here, first = Path(str(product)), Path(str(product)).with_name("first-tried")
    here.with_name("other-tried").open("a").write("once more ")
    until = time.monotonic() + 60
    while not (first.exists() and first.read_text().count("once") == 2) and time.monotonic() < until:
        time.sleep(0.01)
    write(product)


def test_tasks_that_a_killed_process_took_along_run_again_one_at_a_time(tmp_path, capsys):
    pipeline(tmp_path, die_unless_alone, other=be_beside).build()
    assert "What was at work runs again, one at a time: first, other\n" in capsys.readouterr().out
    assert [(tmp_path / name).read_text() for name in ("first", "second", "other")] == ["done"] * 3
    assert (tmp_path / "first-tried").read_text().count("once") == 2


def test_a_task_that_dies_alone_fails_and_what_it_took_along_is_done(tmp_path):
    with pytest.raises(DAGBuildError, match="1 of 3 tasks failed.\n\nfirst: its process was killed"):
        pipeline(tmp_path, die).build()
    assert (tmp_path / "other").read_text() == "done"


def test_the_workers_of_a_killed_build_end_too(tmp_path):
    ended, alive = os.pipe()
    building = multiprocessing.get_context("fork").Process(target=pipeline(tmp_path, kill_the_build).build)
    building.start()
    os.close(alive)  # held by the build and its workers alone now
    assert select.select([ended], [], [], 300)[0]
    os.close(ended)
    building.join()
    assert building.exitcode == -signal.SIGKILL


@pytest.fixture
def _interruptible():
    """Let Ctrl-C interrupt, as it does in a terminal; what is started in the background has it ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("_interruptible")
def test_a_workers_task_is_not_cut_off_by_the_signal_that_ends_the_build(tmp_path):
    """A terminal's Ctrl-C reaches every process; only the build's own decides how the workers end."""
    pipeline(tmp_path, write_although_interrupted).build()
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_as_many_processes_work_as_asked_for(tmp_path, processes):
    dag = DAG(executor=Parallel(str(tmp_path / ".lock"), processes))
    for name in ("a", "b", "c"):
        PythonCallable(write_own_process, File(tmp_path / name), dag, name=name)
    dag.build()
    assert len({(tmp_path / name).read_text() for name in ("a", "b", "c")}) == processes


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_task_uses_the_cores_that_others_leave_idle_and_no_more(tmp_path, start_method):
    dag = DAG(executor=Parallel(str(tmp_path / ".lock"), processes=3, start_method=start_method))
    for name in "abcdef":
        function = work_in_parts if name == "a" else work_alone
        PythonCallable(function, File(tmp_path / name), dag, name=name)
    dag.build()
    times = [one for name in "abcdef" for one in json.loads((tmp_path / name).read_text())]
    assert len(times) == 9 + 6 + 5
    assert max(sum(started <= moment < ended for started, ended in times) for moment, _ in times) == 3


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupted_build_ends_at_once_with_a_message(tmp_path):
    with pytest.raises(DAGBuildError, match="Interrupted. What was done is kept"):
        pipeline(tmp_path, interrupt).build()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("first", "said"), [(break_off, "enough of it"), (write_half_and_die, "its process was killed")]
)
def test_what_a_task_left_half_done_does_not_pass_for_what_it_made_before(tmp_path, first, said):
    pipeline(tmp_path).build()
    with pytest.raises(DAGBuildError, match=said):
        pipeline(tmp_path, first).build()
    assert (tmp_path / "first").read_text() == "half"
    pipeline(tmp_path).build()
    assert (tmp_path / "first").read_text() == "done"


def test_an_early_stop_ends_the_build_well_and_leaves_the_rest_undone(tmp_path):
    assert pipeline(tmp_path, enough, processes=1).build() is None
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folds": "many", "metric": "AUK"}, r"(?s)metric: there is no such metric \(did you mean 'AUC'\?\).*folds: input should be a valid integer"),
        ({"holdout": 0.9}, "holdout: input should be less than or equal to 0.5"),
    ],
)  # fmt: skip
def test_wrong_settings_stop_the_build_before_anything_runs(tmp_path, changed, said):
    with pytest.raises(DAGBuildError, match=said) as caught:
        pipeline(tmp_path, settings=SETTINGS | changed).build()
    assert str(caught.value).startswith("\nNothing was run.\n")
    assert "Need help?" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_grid_stops_the_build_before_anything_runs(tmp_path):
    (tmp_path / "mine.yaml").write_text("- {candidate: a, model: kn}")
    with pytest.raises(
        DAGBuildError, match=r"Nothing was run.\n.*candidate 'a': there is no model 'kn' \(did you mean 'knn'"
    ):
        executor.read_grid(str(tmp_path / "mine.yaml"))


def clean(product):
    table = pd.DataFrame({"x": range(40), "y": ["yes", "no"] * 20})
    Path(str(product["contract"])).write_text(json.dumps(learn(table).to_dict()))


def fit_after(product, upstream, entry, settings=None):
    write(product)


@pytest.mark.parametrize("has_run", [False, True], ids=["clean runs", "clean has run"])
@pytest.mark.parametrize("model", ["ridge", "stack(lr+svm)"])
def test_a_candidate_that_cannot_answer_the_question_stops_the_build_before_any_is_fitted(tmp_path, model, has_run):
    """Which question it is, `clean` finds out; where it need not run again, it has."""

    def build(settings=None, **candidates: str) -> None:
        dag = DAG(executor=Parallel(str(tmp_path / ".lock"), processes=2))
        before = PythonCallable(clean, {"contract": File(tmp_path / "contract.json")}, dag, name="clean")
        for name, asked in candidates.items():
            params = {"entry": {"candidate": name, "model": asked, "model_params": {}, "tune": 0}}
            params |= {"settings": settings} if settings else {}
            before >> PythonCallable(fit_after, File(tmp_path / name), dag, name=f"fit-{name}", params=params)
        dag.build()

    if has_run:
        build()
    said = f"No candidate was fitted.\ncandidate 'b': the question is binary, and model '{model.strip(')').split('+')[-1]}'"
    with pytest.raises(DAGBuildError, match=said):
        build(a="lr", b=model)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"contract.json"}
    said = "No candidate was fitted.\ninterval is 0.9, and 'y' asks a binary question"
    with pytest.raises(DAGBuildError, match=said):
        build(a="lr", settings={"interval": 0.9})
    assert not (tmp_path / "a").exists()
    build(a="lr")
    assert (tmp_path / "a").read_text() == "done"


def test_what_ploomber_notes_of_a_task_is_forgotten_where_it_was_cut_off(tmp_path, monkeypatch):
    shutil.copy(PROJECT / "env.yaml", tmp_path)
    monkeypatch.setattr(config, "ROOT", tmp_path)
    products, batch = tmp_path / "products" / "demo", tmp_path / "predictions" / "demo" / "batch=b"

    def build() -> list[str]:
        dag = DAG(executor=Parallel("products/demo/training.lock", processes=2))
        for folder in (products / "clean", batch):
            PythonCallable(write, File(folder / "made"), dag, name=folder.name)
        done = dag.build()
        return sorted(name for name, has_run in zip(done["name"], done["Ran?"], strict=True) if has_run)

    for folder in (products / "clean", batch):
        folder.mkdir(parents=True)
    assert build() == ["batch=b", "clean"]
    for cut_off in ("", '{"timestamp": 17', "\0" * 100):
        (products / "clean" / ".made.metadata").write_text(cut_off)
        assert build() == ["clean"]
        (batch / ".made.metadata").write_text(cut_off)
        assert build() == ["batch=b"]


def test_a_folder_that_cannot_be_written_to_is_told_without_a_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DAGBuildError, match="Nothing was run.\n.*Not a directory|File exists"):
        pipeline(tmp_path, lock=str(tmp_path / "file" / ".lock")).build()


def test_idle_workers_are_not_waited_for(tmp_path):
    """What a worker imports ahead is for nobody's use once the tasks are done."""
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(3600)")
    sys.path.insert(0, str(tmp_path))
    try:
        products = tmp_path / "products"
        products.mkdir()
        dag = DAG(executor=Parallel(str(tmp_path / ".lock"), processes=2, preload=["slow_module"]))
        first = PythonCallable(write, File(products / "first"), dag, name="first")
        second = PythonCallable(write_after, File(products / "second"), dag, name="second")
        first >> second
        dag.build()
    finally:
        sys.path.remove(str(tmp_path))
    assert (products / "second").read_text() == "done"


ON_TWO_CORES = """
import multiprocessing
import numpy as np
from baton import cores, executor

executor._prepare()
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier as Trees

cores.use(cores.make(2, multiprocessing.get_context("fork")))
X = np.random.default_rng(0).normal(size=(3000, 20))
def fit(depth):
    LGBMClassifier(n_estimators=5, max_depth=depth, n_jobs=2, verbosity=-1).fit(X, X[:, 0] > 0)
    return Trees(max_iter=5, max_depth=depth).fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0)
print(len([fit(3), *cores.spread(fit, [3, 4, 5])]))
"""


def test_a_machine_that_allows_more_threads_does_not_stop_what_is_forked_for_a_part_of_a_task():
    """A library that has computed in threads would wait for them, in a process that is forked from this one."""
    command, more = [sys.executable, "-c", ON_TWO_CORES], os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=more, cwd=config.ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("4", 0), done.stderr
