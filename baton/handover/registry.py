"""Models as they are registered: saved with their feature code, addressed by alias, run in a process of their own.

The only module that saves or loads a model, or talks to MLflow's registry.

A version carries the feature file it was trained with, but Python keeps the first module of a name it imports: a
process that has the checkout's `features` would run a champion with today's code, and say nothing. So a model is
never loaded here: `predict` starts a fresh interpreter, which finds the version's own file first.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import yaml

from baton import BatonError, ModelRefused, NoChampion, config
from baton.data.contract import Contract
from baton.engine import LOCAL, connect
from baton.handover import history, saving, store, tracking
from baton.handover.saving import Model

PYTHON = [sys.executable]  # what runs `baton.handover.runner`
_early: list[subprocess.Popen] = []  # processes that have nothing to do yet
_kept: dict[str, subprocess.Popen] = {}  # processes that are not ended yet, by the feature code they have loaded
_there = threading.local()  # the process that this worker of a cluster has, and the folder of its model

# Has glibc keep what one chunk took for the next: to give it back and take it anew costs a tenth of the time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_TOP_PAD_": "67108864"}
DIGEST = "files_sha256"  # the tag of a version that names all of its files by their content
WITHDRAWN = "withdrawn: another training promoted meanwhile, so it was decided anew"
SIGNATURE = {"number": {"double"}, "boolean": {"double", "boolean"}, "text": {"string"}, "date": {"datetime"}}
SAME = ("serves", "compared_with", "decision")  # the tags of a version that tell it from others of its run


def log(client, run_id: str, folder: Path) -> None:
    """Add a saved model to its candidate's run."""
    from mlflow.entities import LoggedModelOutput

    model_id = _upload(client, client.get_run(run_id), "model", folder)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def find_champion(name: str, tracking_uri: str) -> Model | None:
    """Fetch the champion; None if none was ever promoted, or there is no store, which this makes none of."""
    file = store.file_of(tracking.resolve_uri(tracking_uri))
    if file and not file.is_file():
        return None
    number = history.champion_version(name, tracking_uri)
    return version_of(name, number, tracking_uri) if number else None


def champion_contract(settings: config.Settings) -> Contract | None:
    """The contract of the champion that a training is to be compared with; None where there is none to compare with."""
    champion = find_champion(settings.name, settings.mlflow_tracking_uri) if settings.track else None
    return champion.contract if champion else None


def version_of(name: str, number: str, tracking_uri: str) -> Model:
    """Fetch one registered version, and hold its files to what they were when it was registered.

    Raises `BatonError` if there is no such version, or a file of it is missing, added or another one.
    """
    from mlflow.exceptions import MlflowException

    client = tracking.connect(tracking_uri)
    try:
        found = client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE" and not tracking.is_missing(error, client, name):
            raise
        raise NoChampion(
            f"{name} has no version {number}, or it was deleted: `baton history` lists those there were"
        ) from error
    try:
        path = _fetch(name, str(found.version), found.tags.get(DIGEST), client.tracking_uri)
        changed = DIGEST in found.tags and saving.digest_files(path) != found.tags[DIGEST]
        model = saving.open_model(path, version=str(found.version), run_id=found.run_id, tags=found.tags)
    except Exception as error:
        raise ModelRefused(f"{name} version {number} is registered, but its files can't be read: {error}") from error
    if changed:
        raise ModelRefused(
            f"{model} is refused: a file of it was changed, added or removed since it was registered. Nothing of it was"
            f" loaded. Look at {path}, and restore it from a backup, or make another version champion (`baton"
            " rollback`, `baton promote`); if there is none, train under another name"
        )
    return model


def _fetch(name: str, number: str, digest: str | None, store_uri: str) -> Path:
    """Where the files of a version are: beside the embedded store; those of a server are downloaded, once."""
    from mlflow.artifacts import download_artifacts

    uri = f"models:/{name}/{number}"
    if store.file_of(store_uri):
        return Path(download_artifacts(uri, tracking_uri=store_uri))
    server = hashlib.sha256(store_uri.encode()).hexdigest()[:8]
    kept = config.ROOT / "products" / name / "versions" / f"{number}-{server}"

    def is_whole() -> bool:  # version 0.1 kept no digest, by which this could be told
        return kept.is_dir() and digest in {None, saving.digest_files(kept)}

    if not is_whole():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{kept}.lock"):
            if is_whole():  # another process has fetched it meanwhile, and may use it
                return kept
            with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
                whole = Path(download_artifacts(uri, dst_path=draft, tracking_uri=store_uri))
                shutil.rmtree(kept, ignore_errors=True)
                whole.rename(kept)
    return kept


def keep_digest(version: Model | None, tracking_uri: str) -> None:
    """Name the files of a version by their content, if version 0.1 registered it: from now on, a change is refused."""
    if version and DIGEST not in version.tags:
        client = tracking.connect(tracking_uri)
        client.set_model_version_tag(version.contract.name, version.version, DIGEST, saving.digest_files(version.path))


def require_champion(name: str, tracking_uri: str) -> Model:
    """Resolve the champion, or raise `BatonError` saying how to get one."""
    found = find_champion(name, tracking_uri)
    if found is None:
        raise NoChampion(
            f"there is no champion for {name!r} in {tracking_uri}: train one with `ploomber build`, or set name and"
            " mlflow_tracking_uri in env.yaml to where one is registered. (If training found none better than the"
            f" baseline, the end of products/{name}/compare/compare.html says so.)"
        )
    return found


def register(model: Model, tags: dict[str, str], description: str, tracking_uri: str) -> Model:
    """Register a saved model, with all that lies in its folder, as the next version.

    It becomes a version when it is whole. A version of its run that serves the same model, and whose card tells of a
    comparison with the same champion, is kept, if there is one. A model without a run, of a training that is not
    tracked, stays as it is.
    """
    if model.run_id is None:
        return model
    import mlflow

    name, client = model.contract.name, tracking.connect(tracking_uri)
    run = tracking.require_run(client, model.run_id)
    earlier = [
        found
        for found in client.search_model_versions(f"name='{name}'")
        if found.run_id == model.run_id and all(found.tags.get(tag) == tags.get(tag) for tag in SAME)
    ]
    if earlier:
        return version_of(name, earlier[0].version, tracking_uri)
    with saving.quiet():
        model_id = _upload(client, run, "version", model.path)
        tags = tags | {DIGEST: saving.digest_files(model.path)}
        version = mlflow.register_model(f"models:/{model_id}", name, tags=tags)
    client.update_model_version(name, version.version, description)
    return version_of(name, version.version, tracking_uri)


def withdraw(version: Model, tracking_uri: str) -> None:
    """Take back a version that was registered and never became champion, nor is named in the history.

    Where a server lets its user change versions and delete none, it is left with a tag that says so.
    """
    from mlflow.exceptions import MlflowException

    name, client = version.contract.name, tracking.connect(tracking_uri)
    in_history = {event.version for event in history.read(name, tracking_uri)}
    if version.version in in_history | {history.champion_version(name, tracking_uri)}:
        return
    try:
        client.delete_model_version(name, version.version)
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        client.set_model_version_tag(name, version.version, "decision", WITHDRAWN)


def _upload(client, run, name: str, folder: Path) -> str:
    """Add a folder to a run as a logged model; return the id of that."""
    logged = client.create_logged_model(run.info.experiment_id, name, source_run_id=run.info.run_id)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id


def predict(model: Model, X: pd.DataFrame) -> np.ndarray:
    """Run a saved model, in a process of its own, on features as `Contract.read_features` gives them.

    Returns probabilities (rows, classes) in the order of the contract's labels, or numbers (rows,).
    Raises `BatonError` if the file holds a type that is not on the list, the model answers its sample otherwise than
    when it was registered, or it fails.
    """
    return _predict(model, X)[0]


def predict_all(models: list[Model], table: pd.DataFrame) -> list[np.ndarray]:
    """Run several models on the same raw rows, each read by its own contract, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [*pool.map(lambda model: predict(model, model.contract.read_features(table)), models)]


def refit(model: Model, rows: pd.DataFrame, groups: np.ndarray, path: Path) -> Model:
    """Fit a saved model anew, settings unchanged and by its own feature code, on raw rows with their targets.

    `groups` (rows,) are what an encoder is cross-fitted by. Returns the new model, saved in `path`.
    """
    with tempfile.TemporaryDirectory() as folder:
        table, grouped = Path(folder, "rows.parquet"), Path(folder, "groups.npy")
        rows.to_parquet(table)
        np.save(grouped, groups)
        _run(model, "refit", rows=table, groups=grouped, path=path)
    return model._replace(path=path)


def require_servable(
    model: Model, at_most: dict[str, float], tracking_uri: str, X: pd.DataFrame | None = None
) -> np.ndarray:
    """Raise `BatonError` unless a model can be served; return its answers to `X`, features of rows, or to its sample.

    It is run as serving runs it, with the types it holds and its answers to its sample checked. Its answers must be
    numbers, its run FINISHED, its signature its contract's, and what it costs at most what `at_most` allows:
    `megabytes` of its file, `seconds_per_1000_rows`.
    """
    from mlflow.exceptions import MlflowException

    if model.run_id:
        try:
            status = tracking.connect(tracking_uri).get_run(model.run_id).info.status
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            status = "deleted"  # for good, by `mlflow gc`
        if status != "FINISHED":
            raise BatonError(f"{model} can't be served: its run {model.run_id} is {status}, and should be FINISHED")
    inputs = json.loads(yaml.safe_load((model.path / "MLmodel").read_text())["signature"]["inputs"])
    if [column.get("name") for column in inputs] != model.contract.features:
        raise BatonError(f"{model} can't be served: its signature names other columns than its contract")
    for column in inputs:
        if column["type"] not in SIGNATURE[kind := model.contract.kinds[column["name"]]]:
            raise BatonError(
                f"{model} can't be served: its signature takes {column['type']} for {column['name']!r}, a {kind}"
            )
    X = model.contract.read_features(saving.read_sample(model.path)) if X is None else X
    answers, seconds = _predict(model, X)
    if not np.isfinite(answers).all():
        raise BatonError(f"{model} can't be served: it answers rows with something that is no number")
    size = (model.path / "model.skops").stat().st_size  # not of what only tells of it: that comes later
    cost = {"megabytes": size / 1e6, "seconds_per_1000_rows": seconds}
    for name, most in at_most.items():
        if cost[name] > most:
            raise BatonError(f"{model} can't be served: {name} is {cost[name]:.3g}, and at_most allows {most:g}")
    return answers


def _predict(model: Model, X: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Predict in a process of its own; return the answers, and the seconds that 1,000 rows take."""
    with tempfile.TemporaryDirectory() as folder:
        rows, predictions, report = (Path(folder, name) for name in ("rows.parquet", "predictions.npy", "report.json"))
        X.reset_index(drop=True).to_parquet(rows)
        _run(model, "predict", rows=rows, predictions=predictions, report=report)
        return np.load(predictions), json.loads(report.read_text())["seconds"]


@contextlib.contextmanager
def kept_running(model: Model):
    """Within this, have one process do all that is asked of models with this one's feature code: to start one takes
    seconds."""
    code, process = _code_of(model), _start()
    _kept[code] = process
    try:
        yield
    finally:
        del _kept[code]
        _end(process)


@contextlib.contextmanager
def workers(model: Model, engine: str = LOCAL):
    """Yield `submit(work, **asked)`, which returns a future, and how many processes of a model are side by side.

    Each starts when there is work for it, and ends with this process, however that ends; a cluster's workers each keep
    the process of the model that they were last asked for.
    """
    if engine != LOCAL:
        with connect(engine) as cluster:
            yield lambda work, **asked: cluster.submit(_do_there, model, work, asked), cluster.count
        return
    mine, started, count = threading.local(), [], cores()

    def do(work: str, asked: dict) -> None:
        if not hasattr(mine, "process"):
            mine.process = _early.pop() if _early else _start()
            started.append(mine.process)
        _ask(mine.process, model, work, asked)

    pool = concurrent.futures.ThreadPoolExecutor(count)
    for _ in range(min(count, len(_early))):
        pool.submit(do, "open", {})  # while this one reads the first rows; what is wrong with it, the first chunk tells
    try:
        yield lambda work, **asked: pool.submit(do, work, asked), count
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in started:
            _end(process)
        pool.shutdown()


@contextlib.contextmanager
def started_early(count: int):
    """Start the processes that `workers` will need first: they load their libraries while this one loads its own.

    They are used by whoever is forked from this process, too.
    """
    processes = [_start() for _ in range(count)]
    _early.extend(processes)
    try:
        yield
    finally:
        _early.clear()
        for process in processes:
            _end(process)


def _do_there(model: Model, work: str, asked: dict) -> None:
    """Do on a cluster's worker what is asked of a model."""
    if getattr(_there, "path", None) != model.path or _there.process.poll() is not None:
        if hasattr(_there, "process"):
            _end(_there.process)
        _there.process, _there.path = _start(), model.path
    _ask(_there.process, model, work, asked)


def cores() -> int:
    """How many processes can be at work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _run(model: Model, work: str, **files: Path) -> None:
    """Let a process of its own do something with a model; raise `BatonError` with its last words if it fails."""
    kept = _kept.get(_code_of(model))
    process = kept or _start()
    try:
        _ask(process, model, work, {name: str(file) for name, file in files.items()})
    finally:
        if not kept:
            _end(process)


def _ask(process: subprocess.Popen, model: Model, work: str, asked: dict) -> None:
    with process.lock:
        with contextlib.suppress(BrokenPipeError):  # it has ended, which no answer says as well
            process.stdin.write(json.dumps({"work": work, "model": str(model.path)} | asked) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
    if not answer:
        raise BatonError(
            f"the process of {model} was killed, most often for want of memory: give it more, and try again"
        )
    failed = json.loads(answer)
    if "machine" in failed:
        raise BatonError(f"the machine says: {failed['machine']}. Make room, or give whoever runs this the permission")
    if "refused" in failed:
        raise ModelRefused(f"{model} can't be used: {failed['refused']}")


def _start() -> subprocess.Popen:
    # One thread: there is a process a core, and threads that wait for each other take many times as long.
    environment = dict.fromkeys((f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL")), "1") | os.environ
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    how |= {"env": MEMORY | environment}
    process = subprocess.Popen([*PYTHON, "-m", "baton.handover.runner"], cwd=config.ROOT, **how)
    process.lock = threading.Lock()  # an order at a time
    return process


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()
    process.stdout.close()


def _code_of(model: Model) -> str:
    """A model's feature code, by which it is told which models a process may load one after the other."""
    return "\n".join(file.read_text() for file in sorted((model.path / "code").glob("*.py")))
