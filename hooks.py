"""What happens after a task: its report is filed with its run, and a failure leaves a trace that says why.

Ploomber calls these in the process that ran the task; a notebook opened in Jupyter runs without them.
"""

import json
from pathlib import Path

import nbformat
from ploomber.constants import TaskStatus
from ploomber.exceptions import DAGBuildEarlyStop

from baton import BatonError
from baton.data import tables
from baton.handover import filing, tracking
from baton.serving import batch, job

# The files that a task reads besides what other tasks made, by the setting that names them.
INPUTS = {"clean": "train_data", "features": "features"}


def notice_changes(task, product, params):
    """Run a task again for what Ploomber does not look at: the file it reads, the tasks before it, what it has made.

    That a candidate has left the grid, Ploomber doesn't see; nor that a file was cut off when the power failed.
    """
    if task.name in INPUTS:
        task.input_identity = tables.identity(params["settings"][INPUTS[task.name]])
    record = _record(product)
    unchanged = record.is_file() and record.read_text() == _state(task, product)
    if task.exec_status == TaskStatus.Skipped and not unchanged:
        product.metadata.delete()
        task.exec_status = TaskStatus.WaitingExecution


def record_state(task, product):
    """Write down what `notice_changes` compares with."""
    # The file is the one that was there when the build began: if it was replaced meanwhile, the next build will notice.
    _record(product).write_text(_state(task, product))


def file_candidate(task, product, params):
    """File what was fitted as a run of the training's; if MLflow does not take it now, `compare` files it."""
    made, uri = product.to_json_serializable(), params["settings"]["mlflow_tracking_uri"]
    try:
        filing.file_once(made, params["entry"]["candidate"], _training_of(task), uri)
    except BatonError:
        raise
    except Exception as error:
        print(f"\n  {task.name} is fitted, and will be filed later. {tracking.complaint(error) or error}\n")
    record_state(task, product)


def file_report(task, product, params):
    """Add the executed notebook, as HTML, to the training's run."""
    uri, report = params["settings"]["mlflow_tracking_uri"], Path(str(product["html"]))
    tracking.file_report(_training_of(task)["run_id"], uri, report)
    if task.name == "compare":
        verdict = json.loads(Path(str(product["verdict"])).read_text())
        print(f"\n{verdict['choice']}\n{verdict['reason']}\n")
    if task.name == "clean":
        warnings = json.loads(Path(str(product["warnings"])).read_text())
        print("".join(f"\n  Look at this: {warning}" for warning in warnings) + "\n" * bool(warnings), end="")
    record_state(task, product)


def record_failure(task, product, params):
    """Leave a FAILED run for a candidate that failed, with its error and its notebook as far as it got."""
    notebook = Path(str(product["nb"]))
    if "entry" in params.to_dict():
        name, uri = params["entry"]["candidate"], params["settings"]["mlflow_tracking_uri"]
        tracking.log_failure(_training_of(task)["run_id"], uri, name, _error_in(notebook), notebook)


def stop_if_complete(product):
    """End the serving pipeline early, and say so, if this very batch has been scored and published already."""
    received = batch.read_batch(str(product["batch"]))
    if received.complete:
        published = batch.read_published(received.name, received.batch, received.options.get("predictions_store"))
        print(f"\n{job.nothing_to_do(published)}")
        raise DAGBuildEarlyStop("complete already")


def publish_batch(task, product, params):
    """Put the batch that was scored, with its report, where readers look for it."""
    received = batch.read_batch(task.upstream["receive"].product["batch"])
    print(f"\n{job.publish(received, Path(str(product['html'])), params['settings']['mlflow_tracking_uri'])}\n")


def _record(product) -> Path:
    return Path(str(product["html"])).with_suffix(".record")


def _state(task, product) -> str:
    sizes = {name: _size(Path(path)) for name, path in product.to_json_serializable().items()}
    return json.dumps({"input": getattr(task, "input_identity", None), "after": sorted(task.upstream), "sizes": sizes})


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    # Feature code is compiled where it lies when a saved model is run.
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")


def _training_of(task) -> dict:
    """What `clean` found of the training that a task belongs to."""
    clean = task if task.name == "clean" else task.upstream["clean"]
    return json.loads(Path(str(clean.product["training"])).read_text())


def _error_in(notebook: Path) -> str:
    """The last error a notebook shows, in one line, with the traceback below it."""
    cells = nbformat.read(notebook, as_version=4).cells if notebook.is_file() else []
    errors = [output for cell in cells for output in cell.get("outputs", []) if output.output_type == "error"]
    return "\n".join([f"{errors[-1].ename}: {errors[-1].evalue}", *errors[-1].traceback]) if errors else "unknown"
