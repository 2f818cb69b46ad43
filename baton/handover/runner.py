"""Run one saved model in this process, which has no other feature code.

Started by `registry`, which says why, as `python -m baton.handover.runner`. It reads orders, a line of JSON each, until
its standard input ends, and answers each with a line. Before anything else, a model is held to the answers that it gave
when it was saved.
"""

import functools
import importlib
import json
import os
import queue
import shutil
import sys
import threading
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io

from baton import config
from baton.handover import intervals, saving

SAME = 1e-6  # of the answers' own spread (1 for probabilities), within which two answers are the same


def load(folder: Path):
    """Load a model from its folder, its own feature code before any other, and no type that isn't trusted."""
    code = folder / "code"
    sys.path.insert(0, str(code))
    trusted = {name for file in [None, *code.glob("*.py")] for name in saving.trusted_types(file and str(file))}
    found = skops.io.get_untrusted_types(file=folder / "model.skops")
    if unknown := sorted(set(found) - trusted):
        raise SystemExit(f"{folder / 'model.skops'} holds types that are not trusted: {', '.join(unknown)}")
    # From their source: compiled code beside it belongs to no digest, and Python would take it for the source.
    sys.pycache_prefix, kept = os.devnull, sys.pycache_prefix
    for file in code.glob("*.py"):
        importlib.import_module(file.stem)
    sys.pycache_prefix = kept
    return skops.io.load(folder / "model.skops", trusted=found)


def check_sample(pipeline, folder: Path, contract) -> None:
    """End with a message if a model answers its sample otherwise than when it was saved, or with no finite number.

    A model saved before samples were kept (version 0.1) has none.
    """
    if not (folder / saving.SAMPLE).is_file():
        return
    then = np.load(folder / saving.ANSWERS)
    now = saving.probabilities(pipeline, contract.read_features(pd.read_parquet(folder / saving.SAMPLE)), contract)
    if not np.isfinite(now).all():
        raise SystemExit(f"{int((~np.isfinite(now)).sum())} of its answers to {len(now)} sample rows are no numbers")
    spread = 1.0 if contract.labels else float(then.std()) or 1.0
    differ = ~np.isclose(now, then, rtol=SAME, atol=SAME * spread).reshape(len(now), -1).all(axis=1)
    if differ.any():
        raise SystemExit(
            f"it answers {int(differ.sum())} of {len(now)} sample rows otherwise than when it was registered, by up to"
            f" {np.abs(now - then).max():.3g}"
        )


def predict(model: str, rows: str, predictions: str, report: str) -> None:
    """Predict raw rows of a Parquet file, leave the answers as .npy, and what 1,000 rows take as JSON."""
    pipeline, contract = _open(Path(model))
    # As in training, by the contract: a missing text is None there, and NaN in what Parquet gives.
    np.save(predictions, saving.probabilities(pipeline, contract.read_features(pd.read_parquet(rows)), contract))
    Path(report).write_text(json.dumps({"seconds": _measure(pipeline, Path(model), contract)}))


def refit(model: str, rows: str, groups: str, path: str) -> None:
    """Fit a model anew, settings unchanged, on the raw rows and targets of a Parquet file, and save it to `path`."""
    from sklearn.base import clone

    from baton.training import preparation

    pipeline, contract = _open(Path(model))
    code = next((str(file) for file in Path(model, "code").glob("*.py")), None)
    table = pd.read_parquet(rows)
    X, y = contract.read_features(table), table[contract.target]
    trains = preparation.select(table.assign(**X), config.load_features(code))
    weights = contract.read_weights(table[trains])
    pipeline = preparation.fit(clone(pipeline), X[trains], y[trains], np.load(groups)[trains], weights)
    saving.save(Path(path), saving.model_arguments(pipeline, contract, X, y, code), saving.take_sample(table))
    for residuals in Path(model).glob(intervals.FILE):  # which no refit has of its own
        shutil.copy2(residuals, path)


def open_early(model: str) -> None:
    """Load a model that is soon asked for."""
    _open(Path(model))


def score(model: str, **asked) -> None:
    """Score a chunk of a batch."""
    from baton.serving import scoring

    pipeline, _ = _open(Path(model))
    scoring.score_chunk(pipeline, Path(model), **asked)


def _measure(pipeline, folder: Path, contract) -> float:
    """Seconds that 1,000 raw rows take, of the sample's."""
    rows = saving.read_sample(folder).sample(1000, replace=True, random_state=0).reset_index(drop=True)
    started = time.perf_counter()
    saving.probabilities(pipeline, contract.read_features(rows), contract)
    return time.perf_counter() - started


def _open(folder: Path):
    """Load a model and its contract, once, and hold it to its sample."""
    return _open_file(folder, (folder / "model.skops").stat().st_mtime_ns)


@functools.cache
def _open_file(folder: Path, _):
    warnings.simplefilter("ignore")
    pipeline, contract = load(folder), saving.open_model(folder).contract
    check_sample(pipeline, folder, contract)
    return pipeline, contract


def _changed_packages(folder: Path) -> str:
    """Say which packages the model was saved with in another version than is installed, to be added to a message."""
    pins = (folder / "requirements.txt").read_text().splitlines() if (folder / "requirements.txt").is_file() else []
    changed = []
    for name, _, pinned in (pin.partition("==") for pin in pins if "==" in pin):
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "none"
        changed += [f"{name} {pinned} then, {installed} now"] if installed != pinned else []
    return f" ({'; '.join(changed)})" if changed else ""


def do(work: str, **asked) -> dict:
    """Do what is asked; return why it failed, in a line, whatever a library makes of a model that it can't read.

    What the machine refuses, such as room on a disk or in memory, says nothing against the model.
    """
    try:
        {"predict": predict, "refit": refit, "score": score, "open": open_early}[work](**asked)
        return {}
    except (OSError, MemoryError) as error:
        return {"machine": str(error) or "there is no memory left"}
    except SystemExit as refused:
        reason = str(refused)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    return {"refused": f"{reason}{_changed_packages(Path(asked['model']))}"}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    orders = queue.SimpleQueue()
    threading.Thread(target=_take_orders, args=[orders], daemon=True).start()
    while True:
        answers.write(json.dumps(do(**json.loads(orders.get()))) + "\n")
        answers.flush()


def _take_orders(orders: queue.SimpleQueue) -> None:
    """Take orders until whoever gives them has ended, and end with it, in the middle of one, too."""
    for order in sys.stdin:
        orders.put(order)
    os._exit(0)


if __name__ == "__main__":
    main()
