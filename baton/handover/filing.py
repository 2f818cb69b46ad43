"""A candidate in MLflow: one run below its training's, with all that its task has made.

Nothing is fitted here: what is filed is read from the task's products. So where MLflow does not answer, it is filed
later, by the task that compares, or by the next build.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from baton import BatonError
from baton.handover import registry, tracking


def file_once(made: dict[str, str], candidate: str, facts: dict, tracking_uri: str) -> str | None:
    """File a candidate if that was not done yet; return its run id, None of a training that is not tracked.

    `made` are the products of its task by name, of which `record` holds params, metrics, when it was started, and
    trials; `facts` are what `clean` found of the training. The run is FINISHED when it is whole: one that was broken
    off is taken back, and filed anew.
    """
    if facts["run_id"] is None:
        return None
    record, filed = Path(made["record"]).read_text(), Path(made["record"]).with_name("run.json")
    key = hashlib.sha256(record.encode()).hexdigest()[:16]
    if filed.is_file() and (earlier := json.loads(filed.read_text()))["record"] == key:
        return earlier["run_id"]
    client = tracking.connect(tracking_uri)
    parent = tracking.require_run(client, facts["run_id"])
    run_id = _find_whole(client, parent, candidate, key)
    run_id = run_id or _file(client, parent, made, candidate, facts, json.loads(record), key)
    filed.write_text(json.dumps({"record": key, "run_id": run_id}))
    return run_id


def file_all(fits: dict[str, dict], facts: dict, tracking_uri: str) -> dict[str, str | None]:
    """File those candidates that are not yet, each by what its task has made; return the run ids of all."""
    runs: dict[str, str | None] = {}
    try:
        for name, made in fits.items():
            runs[name] = file_once(made, name, facts, tracking_uri)
    except Exception as error:
        if (reason := tracking.complaint(error)) is None:
            raise
        raise BatonError(
            f"{len(fits) - len(runs)} of {len(fits)} candidates are fitted and not in MLflow yet. {reason}. The next"
            " build files them: nothing is fitted anew"
        ) from error
    return runs


def _find_whole(client, parent, candidate: str, key: str) -> str | None:
    """The run that was filed by a record, if it is whole; what was broken off is taken back, of another record, too."""
    below = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' AND tags.candidate = '{candidate}'"
    whole = None
    for run in client.search_runs([parent.info.experiment_id], below):
        same, status = run.data.tags.get("record") == key, run.info.status
        if same and status == "FINISHED":
            whole = run.info.run_id
        elif same or status == "RUNNING":  # nobody else files this candidate now
            _take_back(client, run)
    return whole


def _file(client, parent, made: dict, candidate: str, facts: dict, record: dict, key: str) -> str:
    tags = {name: facts[name] for name in ("task", "metric", "data_digest")} | {"candidate": candidate, "record": key}
    tags |= {"mlflow.parentRunId": parent.info.run_id, "mlflow.runName": candidate}
    tags, started = tracking.tags_of(tags), int(record["started"] * 1000)
    # Through the client, a few statements for all of it: a sweep files hundreds.
    run_id = client.create_run(parent.info.experiment_id, start_time=started, tags=tags).info.run_id
    try:
        tracking.log_values(client, run_id, record["metrics"], record["params"])
        client.log_inputs(run_id, parent.inputs.dataset_inputs)  # the rows are the training's
        client.log_artifacts(run_id, made["figures"], "figures")
        client.log_text(run_id, Path(made["scores"]).read_text(), "tables/scores.csv")
        if Path(made["html"]).is_file():  # there is none where the notebook was run by hand
            client.log_artifact(run_id, made["html"], "notebook")
        registry.log(client, run_id, Path(made["model"]))
        shared = {"git_commit": tags["git_commit"], "mlflow.parentRunId": run_id}
        for trial in record["trials"]:
            _file_trial(client, parent.info.experiment_id, shared, trial, facts["metric"])
    except BaseException as error:
        with contextlib.suppress(Exception):  # where the store does not answer, nor does it to this
            client.set_tag(run_id, "error", str(error)[:5000])
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def _file_trial(client, experiment: str, shared: dict, trial: dict, metric: str) -> None:
    """File a `study.Trial` as a run, with the tags that it shares with the others of its candidate."""
    tags = shared | {"mlflow.runName": f"trial {trial['number']}", "trial": trial["state"]}
    tags |= {"error": trial["error"]} if trial["error"] else {}
    started, ended = int(trial["started"] * 1000), int((trial["started"] + trial["seconds"]) * 1000)
    run = client.create_run(experiment, start_time=started, tags=tags)
    metrics = {metric: trial["score"], "seconds": trial["seconds"]}
    tracking.log_values(client, run.info.run_id, metrics, trial["params"], ended)
    status = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}[trial["state"]]
    client.set_terminated(run.info.run_id, status, ended)


def _take_back(client, run) -> None:
    """Remove a run that was broken off, with its model and its trials."""
    experiment = run.info.experiment_id
    for model in client.search_logged_models([experiment], filter_string=f"source_run_id = '{run.info.run_id}'"):
        client.delete_logged_model(model.model_id)
    while trials := client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"):
        for trial in trials:
            client.delete_run(trial.info.run_id)
    client.delete_run(run.info.run_id)
