"""The nightly job: `baton score` and `baton backfill`, what they end with, and what is left of a batch that failed."""

import contextlib
import datetime
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from baton import BatonError, Busy, InputMissing, NoChampion, NothingToDo, SettingsError, config
from baton.data import objects, tables
from baton.engine import LOCAL
from baton.handover import history, registry, tracking
from baton.lock import hold
from baton.serving import batch as batches
from baton.serving.batch import Batch

PIPELINE = "pipeline.serve.yaml"
LARGE = 10_000_000  # bytes of input for which another process is worth its start
TERMINATED = threading.Event()  # set by SIGTERM, which ends a batch, and a range of them
PATIENCE = 60  # seconds that a command or an address of on_failure is waited for


def score(changed: dict, again: bool = True) -> dict:
    """Score one batch by the serving pipeline; return what came of it, as `baton score --json` prints it.

    `changed` are keys of env.yaml with other values. Without `again`, what was scored from the same rows is left as it
    is, by whatever version, unless another one is asked for. Raises `BatonError`, each kind with an exit code of its
    own. A batch that failed has a record by then, and `on_failure` was called.
    """
    asked = _asked(changed)
    try:
        settings = config.check_settings(asked)
        with _terminable(), hold(lock(settings.name)):
            if published := batches.read_published(settings.name, settings.batch, settings.predictions_store):
                # Without Ploomber, which takes longer to load than this; what the machine refuses, the pipeline tells.
                with _loading(), contextlib.suppress(OSError):
                    if _is_complete(published, settings, again):
                        raise NothingToDo(nothing_to_do(published))
            with registry.started_early(_processes(settings)):
                _build(changed | {"batch": settings.batch})
    except NothingToDo:
        raise
    except Exception as error:
        record_failure(asked, error)
        if isinstance(error, BatonError) or (said := tracking.complaint(error)) is None:
            raise
        complaint = BatonError(said)
        complaint.recorded = True
        raise complaint from error
    return report(batches.read_manifest(batches.folder_of(settings.name, settings.batch)))


def backfill(days: list[str], changed: dict, champion_then: bool = False) -> list[dict]:
    """Score a batch for each day, one input each; go on after one that fails. Return what came of each.

    With `champion_then`, each is scored by the version that was champion when its day ended.
    """
    asked = _asked(changed)
    if "{batch}" not in str(asked["score_data"]):
        raise SettingsError(
            f"backfill needs an input for each batch, and score_data is {asked['score_data']}: name a pattern, such as"
            " --env--score_data 'days/{batch}.csv'"
        )
    outcomes = []
    TERMINATED.clear()
    for day in days:
        try:
            version = {"model_version": _champion_on(day, config.check_settings(asked))} if champion_then else {}
            outcomes.append(score(changed | {"batch": day} | version, again=False))
        except Exception as error:
            if not isinstance(error, NothingToDo):
                record_failure(asked | {"batch": day}, error)  # where `score` has not
            outcomes.append(failed(error) | {"batch": day})
            if TERMINATED.is_set():
                break
    return outcomes


def lock(name: str) -> str:
    """The lock that one batch of a name holds, which `pipeline.serve.yaml` names as well."""
    return f"predictions/{name}/.lock"


def nothing_to_do(published: dict) -> str:
    return (
        f"Nothing has changed: batch {published['batch']} of {published['name']} was scored by version"
        f" {published['model_version']} from these {published['rows_in']} rows."
    )


def publish(batch: Batch, page: Path, tracking_uri: str) -> str:
    """Publish a batch and record it in MLflow; return what to tell of it.

    What MLflow refuses is told, and stops nothing: the rows are what matters.
    """
    refused = []

    def record(manifest: dict) -> None:
        try:
            tracking.log_batch(manifest, batch.result, tracking_uri)
        except Exception as error:  # whatever a store or a network says
            refused.append(f"  Look at this: the batch is published, and is not recorded in MLflow: {error}")

    manifest = batches.publish(batch, page, record)
    lines = [
        f"Batch {batch.batch} of {batch.name}: {manifest['rows_scored']} rows scored by version {batch.model_version},"
        f" {manifest['rows_rejected']} rejected, in {batch.folder.relative_to(config.ROOT)}"
    ]
    lines += [f"It replaces {batch.replaces}."] if batch.replaces else []
    lines += [f"  Look at this: {warning}" for warning in manifest["warnings"]]
    return "\n".join(lines + refused)


def report(manifest: dict) -> dict:
    """What came of a batch, in a line."""
    facts = (
        "name", "batch", "model_version", "rows_in", "rows_scored", "rows_rejected", "rejected", "seconds", "replaces",
    )  # fmt: skip
    folder = batches.folder_of(manifest["name"], manifest["batch"])
    return {"outcome": "scored", "exit_code": 0} | {key: manifest[key] for key in facts} | {"folder": str(folder)}


def failed(error: Exception) -> dict:
    """What came of a batch that failed, in a line."""
    reason = str(getattr(error, "reason", None) or tracking.complaint(error) or error).strip()
    if "Traceback (most recent call last)" in reason:  # of a mistake of ours, which the first of its errors tells
        errors = [line for line in reason.splitlines() if re.match(r"(?!ploomber)[\w.]+: \S", line)]
        reason = (errors or reason.splitlines()[-1:])[0]
    kind = error if hasattr(error, "outcome") else BatonError
    return {"outcome": kind.outcome, "exit_code": kind.exit_code, "reason": reason}


def record_failure(settings: dict, error: Exception) -> None:
    """Leave a record of a batch that failed, beside its last good result, and call what `on_failure` names.

    `settings` are as they were written, which may be wrong. That another run is at work is no failure of the batch.
    """
    if getattr(error, "recorded", False) or getattr(error, "outcome", None) == Busy.outcome:
        return
    error.recorded = True
    name, batch = (None if settings.get(key) is None else str(settings[key]) for key in ("name", "batch"))
    source = settings.get("score_data") and batches.source_of(str(settings["score_data"]), str(batch))
    record = failed(error) | getattr(error, "facts", {}) | {
        "status": "failed", "name": name, "batch": batch, "input": {"source": source},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "git_commit": tracking.git_commit(),
    }  # fmt: skip
    with contextlib.suppress(OSError):  # a full disk, maybe; the failure itself is told in any case
        if all(re.fullmatch(_pattern(key), value or "") for key, value in (("name", name), ("batch", batch))):
            folder, draft = batches.failed_folder(name, batch), batches.draft_of(name, batch)
            # On a full disk, what the next run makes anew leaves no room for the record.
            for remade in [*draft.glob("chunk-*.arrow"), draft / "result" / "_report.html"]:
                remade.unlink(missing_ok=True)
            shutil.rmtree(draft / "input", ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            rejects = draft / "result" / "_rejects.parquet"
            if record["outcome"] in {"too many rejects", "schema mismatch"} and rejects.is_file():
                shutil.copyfile(rejects, folder / "_rejects.parquet")
            batches.write_json(folder / "_manifest.json", record)
    _call(settings.get("on_failure"), record)


def _call(on_failure: str | None, record: dict) -> None:
    """Hand a record to a command, on its standard input, or to a web address; what goes wrong there is only told."""
    if on_failure in (None, "", "none", "None"):
        return
    body = json.dumps(record, default=str).encode()
    try:
        if re.match(r"https?://", on_failure):
            request = urllib.request.Request(
                config.fill_in(on_failure), body, {"Content-Type": "application/json", "User-Agent": "baton"}
            )
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        else:
            subprocess.run(on_failure, shell=True, input=body, cwd=config.ROOT, timeout=PATIENCE, check=True)
    except Exception as error:
        print(f"on_failure ({on_failure}) failed as well: {config.hide(str(error), on_failure)}", file=sys.stderr)


def _asked(changed: dict) -> dict:
    """The settings of a batch as they are written, with those that the command line changes."""
    written = config.read_env(config.ROOT / "baton" / "defaults.yaml") | config.read_env() | changed
    keys = [*config.Settings.model_fields]
    # What stands in two braces is a template, which Ploomber fills in; a batch always has one.
    now = datetime.datetime.now().isoformat()

    def fill_in(text: str) -> str:
        return re.sub(r"\{\{\s*now(?:\[:(\d+)\])?\s*\}\}", lambda found: now[: int(found[1] or len(now))], text)

    filled = {key: fill_in(value) if isinstance(value, str) else value for key, value in written.items() if key in keys}
    return filled | {"batch": fill_in(str(written["batch"]))}


def _build(changed: dict) -> None:
    """Build the serving pipeline, as `ploomber build -e pipeline.serve.yaml` does."""
    with _loading():
        from ploomber.cli import build

    options = [
        word for key, value in changed.items() for word in (f"--env--{key}", "none" if value is None else str(value))
    ]
    sys.argv = ["ploomber", "--entry-point", str(config.ROOT / PIPELINE), *options]
    os.chdir(config.ROOT)
    try:
        build.main(catch_exception=False)
    except BatonError:
        raise
    except Exception as error:
        # The executor's own error has its record already.
        failure = BatonError(str(error))
        failure.__dict__ |= {"reason": str(error)} | vars(error)
        raise failure from error


@contextlib.contextmanager
def _terminable():
    """Let SIGTERM, by which systemd and Kubernetes end a job that takes too long, fail the batch as any error does."""

    def end(*_):
        TERMINATED.set()
        raise BatonError("it was ended from outside (SIGTERM), as by a time limit. What was done is kept: run it again")

    if threading.current_thread() is not threading.main_thread():  # no other may listen to signals
        yield
        return
    TERMINATED.clear()
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _loading():
    """Look for no garbage while libraries load, nor among them when all ends: that takes as long as 200 rows do."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _processes(settings: config.Settings) -> int:
    """How many processes a batch will keep busy, by the size of its files; more start when there is work for them."""
    if settings.engine != LOCAL:
        return 0
    source = batches.source_of(settings.score_data, settings.batch)
    elsewhere = tables.is_database(source) or objects.is_address(source)
    size = 0 if elsewhere else sum(file.stat().st_size for file in tables.files(source))
    return min(registry.cores(), 1 + size // LARGE)


def _champion_on(day: str, settings: config.Settings) -> str:
    """The version that was champion when a day (UTC) ended."""
    moves = [event for event in history.read(settings.name, settings.mlflow_tracking_uri) if event.moves]
    before = [event.version for event in moves if event.time[:10] <= day]
    version = before[-1] if before else moves[0].previous if moves else None
    if version is None:
        raise NoChampion(f"{settings.name} had no champion on {day}: `baton history` tells since when there is one")
    return version


def _is_complete(published: dict, settings: config.Settings, again: bool) -> bool:
    """Tell whether a published batch is what is asked for; `again` is as `score` says."""
    left = not again and settings.model_version in {None, published["model_version"]}
    try:
        received, *_ = batches.receive(settings)
    except InputMissing:
        if left:  # once it is scored, it may be moved away
            return True
        raise
    return received.complete or (
        left and batches.same_rows(published, received) and batches.is_everywhere(received, published)
    )


def _pattern(key: str) -> str:
    return next(limit.pattern for limit in config.Settings.model_fields[key].metadata if hasattr(limit, "pattern"))
