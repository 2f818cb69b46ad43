"""What of a model's trainings can be removed from the store, and what is kept for good.

Runs, candidates' models and refused versions of old trainings go. Never what is or was champion, what a batch was
scored by, or what is young.
"""

import time
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import ViewType
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from baton import BatonError
from baton.handover import history, store, tracking

PAGE = 1000  # runs that are asked for at once


class Old(NamedTuple):
    """What can be removed: `trainings` of `all_trainings`, by the ids of their runs; all `runs`, with those of
    candidates and trials; the `models` they filed; the numbers of `versions`; and `megabytes`, NaN on a server."""

    trainings: list[str]
    all_trainings: int
    runs: list[str]
    models: list[str]
    versions: list[str]
    megabytes: float

    def describe(self) -> str:
        room = "" if self.megabytes != self.megabytes else f", {self.megabytes:,.0f} MB"
        versions = f", {len(self.versions)} versions that were never champion" if self.versions else ""
        return (
            f"{len(self.trainings)} of {self.all_trainings} trainings: {len(self.runs)} runs (theirs, their candidates'"
            f" and trials'), {len(self.models)} saved models{versions}{room}"
        )


def find_old(name: str, keep: int, days: float, tracking_uri: str) -> Old:
    """Find the trainings of a model but the `keep` newest and those of the last `days`, with all that belongs to them.

    Of those, the runs of a version that was champion or scored a batch stay, and so does the training it came from.
    """
    file = store.file_of(tracking.resolve_uri(tracking_uri))
    client = tracking.connect(tracking_uri) if file is None or file.is_file() else None  # to look makes no store
    experiment = client and client.get_experiment_by_name(name)
    if experiment is None:
        raise BatonError(f"there is no experiment {name!r} in {tracking_uri}: nothing was trained there")
    # Those that were deleted in MLflow's pages still take their room in the embedded store; on a server, all is done.
    view = ViewType.ALL if file else ViewType.ACTIVE_ONLY
    found = _all(client.search_runs, [experiment.experiment_id], run_view_type=view)
    runs = {run.info.run_id: run for run in found}  # the newest first
    parents = {run_id: run.data.tags.get("mlflow.parentRunId") for run_id, run in runs.items()}
    trainings = [run_id for run_id, parent in parents.items() if parent not in runs]
    trainings.sort(key=lambda run_id: -runs[run_id].info.start_time)

    versions = client.search_model_versions(f"name='{name}'")
    needed = _needed(name, client, tracking_uri)
    kept = {version.run_id for version in versions if str(version.version) in needed}
    kept |= {parents.get(run_id) for run_id in kept}
    limit = (time.time() - days * 86_400) * 1000
    old = {*trainings[keep:]}
    gone = [
        run_id
        for run_id, run in runs.items()
        if _training_of(run_id, parents) in old and run_id not in kept and run.info.start_time < limit
    ]
    above = {parents[run_id] for run_id in runs.keys() - {*gone}}  # what stays keeps the runs above it
    gone = {run_id: None for run_id in gone if run_id not in above | {parents.get(run_id) for run_id in above}}
    filed = _all(client.search_logged_models, [experiment.experiment_id])
    models = [model for model in filed if model.source_run_id in gone]
    places = [runs[run_id].info.artifact_uri for run_id in gone] + [model.artifact_location for model in models]
    return Old(
        trainings=[run_id for run_id in trainings if run_id in gone],
        all_trainings=len(trainings),
        runs=[*gone],
        models=[model.model_id for model in models],
        versions=[str(version.version) for version in versions if version.run_id in gone],
        megabytes=_megabytes(places, file),
    )


def remove(name: str, old: Old, tracking_uri: str) -> None:
    """Remove what was found; of the embedded store for good, with its files.

    On a server, runs and models are marked as deleted, and whoever runs it frees the room with `mlflow gc`. Broken off
    half way, it is completed by doing it again.
    """
    client = tracking.connect(tracking_uri)
    embedded = store.file_of(tracking.resolve_uri(tracking_uri)) is not None
    # As `mlflow gc` does, which would take along whatever else is marked as deleted, of other names too.
    kept = client._tracking_client.store
    for number in old.versions:
        client.delete_model_version(name, number)
    for model_id in old.models:
        if embedded:
            get_artifact_repository(client.get_logged_model(model_id).artifact_location).delete_artifacts()
            kept._hard_delete_logged_model(model_id)
        else:
            client.delete_logged_model(model_id)
    for run_id in [*(run_id for run_id in old.runs if run_id not in old.trainings), *old.trainings]:  # a training last
        if embedded:
            get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts()
            kept._hard_delete_run(run_id)
        else:
            client.delete_run(run_id)


def _needed(name: str, client, tracking_uri: str) -> set[str]:
    """The versions that are or were champion, or that a batch was scored by."""
    events = history.read(name, tracking_uri) if client.search_registered_models(f"name='{name}'") else []
    needed = {event.version for event in events if event.moves} | {event.previous for event in events}
    needed.add(history.champion_version(name, tracking_uri))
    batches = client.get_experiment_by_name(f"{name}-batches")
    if batches:
        needed |= {run.data.tags.get("model_version") for run in _all(client.search_runs, [batches.experiment_id])}
    return {number for number in needed if number}


def _training_of(run_id: str, parents: dict[str, str | None]) -> str:
    while parents.get(run_id) in parents:
        run_id = parents[run_id]
    return run_id


def _all(search, experiments: list[str], **how) -> list:
    """All that a search of MLflow's finds, page after page."""
    found, token = [], None
    while token is None or token:
        page = search(experiments, max_results=PAGE, page_token=token, **how)
        found, token = [*found, *page], page.token or ""
    return found


def _megabytes(locations: list[str], file: Path | None) -> float:
    """What lies at these locations of the embedded store; NaN for a server's."""
    if file is None:
        return float("nan")
    paths = [store.path_of(location, file) for location in locations]
    return sum(one.stat().st_size for path in paths for one in path.rglob("*") if one.is_file()) / 1e6
