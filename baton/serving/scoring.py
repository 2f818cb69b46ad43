"""Score a batch: chunk by chunk, on all cores; each row is predicted, or rejected with its reason, in its order."""

import collections
import contextlib
import datetime
import functools
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from tqdm import tqdm

from baton import BatonError, SchemaMismatch, TooManyRejects, config, models
from baton.data import stream
from baton.data.contract import Contract
from baton.handover import intervals, registry, saving, tracking
from baton.serving import batch as batches
from baton.serving import quarantine, reasons
from baton.serving.batch import Batch

LIBRARIES = sorted({"pandas", "numpy", "mlflow", "pyarrow", *models.packages()})
ROUND = 64  # rows, a multiple of which a model is asked for at once
SHOWN = 100_000  # rows that the report is drawn from


def score(batch: Batch, settings: config.Settings) -> dict:
    """Score the draft of a batch; return its manifest.

    Chunks that an earlier run has finished are kept. Raises `TooManyRejects` or `SchemaMismatch` if more than
    `max_reject_rate` of the rows can't be scored; the rejected rows are in the draft then.
    """
    started, source = time.monotonic(), batch.open()
    model = registry.version_of(batch.name, batch.model_version, settings.mlflow_tracking_uri)
    with registry.workers(model, settings.engine) as (submit, processes):
        head = source.head(batches.HEAD)
        size = batches.rows_of_a_chunk(head)
        batch = batches.begin(batch, model.contract.settle(head), size)
        ids = [column for column in model.contract.id_columns if column in source.columns]
        repeated, integers = (
            quarantine.repeated_ids(source.chunks(size, ids), batch.draft) if ids else (np.array([], int), [])
        )
        if model.contract.integer_ids is not None:  # what an id is does not change from batch to batch
            integers = [column for column in integers if column in model.contract.integer_ids]
        order = {
            "draft": str(batch.draft), "ids": ids, "integers": integers, "options": batch.options, "key": batch.key,
            "model_version": batch.model_version, "scored_at": batch.scored_at, "decimal": source.decimal,
        }  # fmt: skip
        batches.write_json(batch.draft / "order.json", order)

        waiting, start, unchecked = collections.deque(), 0, bool(batch.options["predictions_table"])
        with _progress(source.rows, batch.batch) as progress:
            for number, chunk in enumerate(source.chunks(size)):
                _require_unchanged(batch)  # before it is scored, since what is scored is kept for the next run
                if not _is_finished(batch.draft, number):
                    rows = batch.draft / f"chunk-{number:05}.arrow"
                    with pa.ipc.new_file(rows, chunk.schema) as file:
                        file.write_table(chunk)
                    again = repeated[np.searchsorted(repeated, start) : np.searchsorted(repeated, start + len(chunk))]
                    done = submit("score", order=str(batch.draft / "order.json"), chunk=str(rows), number=number,
                                  start=start, repeated=(again - start).tolist())  # fmt: skip
                    waiting.append((done, len(chunk), rows))
                else:
                    progress.update(len(chunk))
                start += len(chunk)
                while len(waiting) > 2 * processes:
                    _settle(waiting, progress)
                if unchecked and _is_finished(batch.draft, early := number - 2 * processes):
                    batches.check_table(batch, batch.draft / _part(early, batch.key, batch.options))
                    unchecked = False
            while waiting:
                _settle(waiting, progress)
    _require_unchanged(batch)

    notes = [json.loads(_note(batch.draft, number).read_text()) for number in range(number + 1)]
    counted = _count(notes)
    _gather_rejects(batch, len(notes))
    _require_few_rejects(batch, counted, notes, settings.max_reject_rate, model.contract)
    seconds = time.monotonic() - started
    manifest = {
        "status": "scored", "name": batch.name, "batch": batch.batch, "model_version": batch.model_version,
        "run_id": batch.run_id, "pinned": batch.pinned, "key": batch.key,
        "input": {"source": batch.source, "files": batch.files, "digest": batch.input_digest},
        **counted,
        "warnings": [*model.contract.doubts(head), *_warnings(notes, model.contract, source.columns)],
        "text_columns": notes[0]["text_columns"], "positive_class": model.contract.positive,
        "threshold": model.contract.threshold, "options": batch.options, "replaces": batch.replaces,
        "scored_at": batch.scored_at, "seconds": round(seconds, 2), "rows_per_second": round(start / seconds),
        "git_commit": tracking.git_commit(), "libraries": {name: version(name) for name in LIBRARIES},
    }  # fmt: skip
    return batches.seal(batch, manifest)


def score_chunk(pipeline, folder: Path, order: str, chunk: str, number: int, start: int, repeated: list[int]) -> None:
    """Score a chunk in the process of its model, which lies in `folder`; write a part, its rejects, and their counts.

    `order` is the file that says how, for all chunks; `chunk` an Arrow file, whose first row has the number `start` in
    the batch; `repeated` are its rows whose ids came before. Doing it twice writes the same.
    """
    asked, contract, profile, usual, residuals = _read_order(order, folder)
    options, draft = asked["options"], Path(asked["draft"])
    with pa.memory_map(chunk) as file:
        table = pa.ipc.open_file(file).read_all()
    frame = stream.to_frame(table, asked["decimal"])
    again = np.zeros(len(frame), bool)
    again[repeated] = True
    X, found = quarantine.find(frame, contract, options["bounds"], profile, again)
    rejected = np.any([one.rows for one in found if one.reason in options["reject"]] or [again & False], axis=0)
    numbers = np.arange(start, start + len(frame))

    rejects = quarantine.rejects(table, numbers, found, options["reject"])
    part = _predicted(
        pipeline, table.filter(pa.array(~rejected)), X[~rejected], numbers[~rejected], contract, usual, residuals, asked
    )
    made = {_part(number, asked["key"], options): part}
    made |= {f"rejects-{number:05}.parquet": rejects} if len(rejects) else {}
    for name, rows in made.items():
        _write(rows, draft / name)
    read = X.notna().sum()
    note = {
        "files": {name: (draft / name).stat().st_size for name in made},
        "rows_in": len(frame),
        "rows_scored": len(part),
        "text_columns": [field.name for field in part.schema if pa.types.is_string(field.type)],
        "rejected": collections.Counter(rejects["_reason"].to_pylist()),
        "warned": [
            [one.reason, one.column, int((one.rows & ~rejected).sum())]
            for one in found
            if one.reason not in options["reject"]
        ],
        "empty": [one.column for one in found if one.reason == "missing" and one.rows.all()],
        # By column: values that can't be read, and values that there are.
        "unparsable": {
            one.column: [int(one.rows.sum()), int(one.rows.sum() + read[one.column])]
            for one in found
            if one.reason == "unparsable"
        },
    }
    batches.write_json(_note(draft, number), note)


def sample(batch: Batch, rows: int = SHOWN) -> pd.DataFrame:
    """Some of a scored draft's rows, in their order: all of a small batch, parts that lie evenly in a large one."""
    parts = sorted(batch.result.glob("part-*"))
    wanted = max(1, rows // batches.MOST_ROWS) if len(parts) > 1 else 1
    chosen = [parts[place] for place in np.unique(np.linspace(0, len(parts) - 1, wanted).astype(int))]
    texts = json.loads((batch.result / "_manifest.json").read_text())["text_columns"]
    return pd.concat([batches.read_part(part, texts) for part in chosen], ignore_index=True).head(rows)


def extremes(predictions: pd.DataFrame, rows: int = 5) -> pd.DataFrame:
    """The predictions to look at first: the highest and the lowest, or the least certain of many classes."""
    by = next(
        (column for column in ("probability", "prediction") if pd.api.types.is_float_dtype(predictions.get(column))),
        None,
    )
    if by is None:
        certain = predictions.filter(like="probability_").max(axis=1)
        return predictions.loc[certain.nsmallest(2 * rows).index]
    ordered = predictions.sort_values(by, ascending=False, kind="stable")
    return pd.concat([ordered.head(rows), ordered[rows:].tail(rows)[::-1]])  # no row twice, be they few, or all alike


def _predicted(
    pipeline, table: pa.Table, X: pd.DataFrame, numbers, contract: Contract, usual: pd.Series | None,
    residuals: intervals.Residuals | None, asked: dict,
) -> pa.Table:  # fmt: skip
    """One row out for each in: ids or number, prediction, interval or probabilities, and what goes along.

    `probability` is that of the positive class for two classes; there is a `probability_<class>` for each of more.
    """
    columns = {
        column: _as_integers(table[column]) if column in asked["integers"] else table[column] for column in asked["ids"]
    } or {"row": pa.array(numbers, pa.int64())}
    answers = predict(pipeline, X, contract)
    columns["prediction"] = pa.array(_labelled(answers, contract), _type_of(contract))
    if level := asked["options"].get("interval"):
        columns["prediction_low"], columns["prediction_high"] = map(pa.array, residuals.bounds(answers, level))
    if contract.task == "binary":
        columns["probability"] = pa.array(answers[:, 1])
    elif contract.task == "multiclass":
        columns |= {f"probability_{label}": pa.array(answers[:, code]) for code, label in enumerate(contract.labels)}
    columns |= {column: table[column] for column in asked["options"]["keep_columns"]}
    at = pa.scalar(datetime.datetime.fromisoformat(asked["scored_at"]), pa.timestamp("us", "UTC"))
    columns |= {"model_version": pa.repeat(asked["model_version"], len(X)), "scored_at": pa.repeat(at, len(X))}
    if asked["options"]["explain"]:
        columns |= _explained(pipeline, X, contract, usual, asked["options"]["explain"])
    return pa.table(columns)


def _as_integers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.int64())


def _explained(pipeline, X: pd.DataFrame, contract: Contract, usual: pd.Series, count: int) -> dict[str, pa.Array]:
    """The columns that moved each prediction most: see `reasons.explain`."""
    rows = X if len(X) else usual.to_frame().T  # so that no row has its columns, too
    given = reasons.explain(pipeline, rows, contract, usual, count).head(len(X))
    kinds = {column: pa.float64() if column.endswith("_effect") else pa.string() for column in given}
    return {column: pa.Array.from_pandas(given[column], type=kind) for column, kind in kinds.items()}


def predict(pipeline, X: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Predict probabilities (rows, classes) or numbers (rows,): of a row, the same whatever rows are beside it.

    Linear algebra takes the last few rows of a matrix by another way than the others, which rounds otherwise; so their
    number is rounded up. (A multilayer perceptron's answers still differ, in the last bit.)
    """
    if not len(X):
        return np.empty((0, len(contract.labels)) if contract.labels else 0)
    whole = np.arange(-(-len(X) // ROUND) * ROUND) % len(X)
    return saving.probabilities(pipeline, X.iloc[whole], contract)[: len(X)]


def _labelled(answers: np.ndarray, contract: Contract) -> list | np.ndarray:
    if contract.task == "regression":
        return answers
    if contract.threshold is not None:
        return np.array(contract.labels)[(answers[:, 1] >= contract.threshold).astype(int)]
    # scikit-learn's order of classes, so that a tie goes to the class that `predict` would name.
    order = sorted(range(len(contract.labels)), key=lambda code: contract.labels[code])
    return np.array(contract.labels)[order][answers[:, order].argmax(axis=1)]


def _type_of(contract: Contract) -> pa.DataType:
    return pa.float64() if contract.task == "regression" else pa.array(contract.labels).type


@functools.cache
def _read_order(
    order: str, folder: Path
) -> tuple[dict, Contract, dict, pd.Series | None, intervals.Residuals | None]:  # fmt: skip
    """What is asked of each chunk, the contract it is read by, and the model's profile, typical values, residuals."""
    asked, file = json.loads(Path(order).read_text()), folder / "profile.json"
    contract = Contract.from_dict(json.loads(Path(asked["draft"], batches.PLAN).read_text())["contract"])
    profile = json.loads(file.read_text()) if file.is_file() else {}
    usual = reasons.typical(folder, contract) if asked["options"]["explain"] else None
    return asked, contract, profile, usual, intervals.read(folder)


def _part(number: int, key: str, options: dict) -> str:
    """The file of a chunk's rows, in the draft."""
    return f"result/part-{number:05}-{key}.{options['predictions_format']}"


def _note(draft: Path, number: int) -> Path:
    """What says that a chunk is finished, and what it counted."""
    return draft / f"chunk-{number:05}.json"


def _is_finished(draft: Path, number: int) -> bool:
    """Tell whether all of a chunk is there, whole: a machine that died may have cut off its files, or its note."""
    try:
        files = json.loads(_note(draft, number).read_text())["files"]
        return all((draft / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _write(table: pa.Table, file: Path) -> None:
    draft = file.with_name(f".{file.name}")
    if file.suffix == ".csv":
        pyarrow.csv.write_csv(table, draft)
    else:
        # A dictionary of values that hardly repeat takes most of the time, and room.
        repeat = [one.name for one in table.schema if one.name != "row" and not pa.types.is_floating(one.type)]
        pq.write_table(table, draft, use_dictionary=repeat)
    draft.replace(file)


def _settle(waiting: collections.deque, progress) -> None:
    done, rows, chunk = waiting.popleft()
    done.result()
    chunk.unlink()  # not before: a cluster may do it twice
    progress.update(rows)


def _progress(total: int, name: str):
    """A bar with rows, rows per second and time left; lines, ten seconds apart, where there is no terminal."""
    terminal = sys.__stderr__.isatty()
    return tqdm(
        total=total, desc=f"batch {name}", unit=" rows", unit_scale=True, dynamic_ncols=terminal,
        file=sys.__stderr__ if terminal else _Lines(),
        mininterval=0.5 if terminal else 10, ascii=not terminal, leave=terminal, delay=2,
    )  # fmt: skip


class _Lines:
    """What a log gets of a bar that is drawn again and again: a line each time."""

    def write(self, drawn: str) -> None:
        if drawn.strip():
            print(drawn.strip(), file=sys.__stderr__, flush=True)

    def flush(self) -> None:
        pass


def _require_unchanged(batch: Batch) -> None:
    """Raise `BatonError` if a file of the input is not what it was when its digest was taken."""
    for file in batch.files:
        path, happened = config.ROOT / file["path"], "removed"
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            happened = "changed" if (found.st_size, found.st_mtime) != (file["bytes"], file["modified"]) else None
        if happened:
            raise BatonError(
                f"{file['path']}: the file was {happened} while it was read; nothing is published. Deliver it under"
                " another name and rename it when it is whole, then score it again"
            )


def _count(notes: list[dict]) -> dict:
    """Rows by what became of them: each that came in was scored, or rejected."""
    rejected = sum((collections.Counter(note["rejected"]) for note in notes), collections.Counter())
    rows_in, rows_scored = (sum(note[key] for note in notes) for key in ("rows_in", "rows_scored"))
    if rows_in != rows_scored + rejected.total():
        raise BatonError(
            f"{rows_in} rows came in, {rows_scored} were scored and {rejected.total()} rejected; nothing is published"
        )
    return {
        "rows_in": rows_in, "rows_scored": rows_scored, "rows_rejected": rejected.total(),
        "rejected": {reason: rejected[reason] for reason in config.REASONS if rejected[reason]},
    }  # fmt: skip


def _gather_rejects(batch: Batch, chunks: int) -> None:
    """Write the rejected rows of all chunks to one file, which is there without any, too."""
    files = [batch.draft / f"rejects-{number:05}.parquet" for number in range(chunks)]
    files = [file for file in files if file.is_file()]
    if files:
        schema = pq.read_schema(files[0])
    else:
        empty = next(batch.open().chunks(1)).slice(0, 0)
        schema = quarantine.rejects(empty, np.array([], int), [], []).schema
    target = batch.result / "_rejects.parquet"
    with pq.ParquetWriter(target.with_name(f".{target.name}"), schema) as writer:
        for file in files:
            writer.write_table(pq.read_table(file))
    target.with_name(f".{target.name}").replace(target)


def _require_few_rejects(batch: Batch, counted: dict, notes: list[dict], most: float, contract: Contract) -> None:
    empty = set.intersection(*(set(note["empty"]) for note in notes))
    if counted["rows_rejected"] == counted["rows_in"] > 1 and (column := min(empty, default="")):
        raise SchemaMismatch(f"{batch.source}: column {column!r} has no value at all. Nothing is published")
    if counted["rows_rejected"] <= most * counted["rows_in"]:
        return
    reasons = ", ".join(f"{rows} {reason}" for reason, rows in counted["rejected"].items())
    message = (
        f"{batch.source}: {counted['rows_rejected']} of {counted['rows_in']} rows can't be scored ({reasons}), more"
        f" than max_reject_rate allows ({most:.0%}). Nothing is published"
    )
    for column in contract.columns:
        unread, present = (sum(note["unparsable"].get(column, [0, 0])[place] for note in notes) for place in (0, 1))
        if unread > 1 and unread == present:
            raise SchemaMismatch(f"{message}. Column {column!r} holds no {contract.columns[column].kind}s at all")
    refused = TooManyRejects(message)
    refused.facts = {"model_version": batch.model_version} | counted  # of the record that a failed batch leaves
    raise refused


def _warnings(notes: list[dict], contract: Contract, columns: list[str]) -> list[str]:
    """What is odd in the rows that were scored, with its column and count."""
    found = collections.Counter()
    for note in notes:
        for reason, column, rows in note["warned"]:
            found[reason, column] += rows
    worst_first, in_order = [*config.REASONS], ["", *contract.features]
    ordered = sorted(found.items(), key=lambda one: (worst_first.index(one[0][0]), in_order.index(one[0][1])))
    absent = [column for column in contract.optional if column not in columns]
    unnamed = [column for column in contract.id_columns if column not in columns]
    return [
        *(f"id column {column!r} is not there: no id of it is written, or compared" for column in unnamed),
        *(f"column {column!r} is not there; it counts as missing" for column in absent),
        *(
            f"{f'column {column!r}: ' if column else ''}{count} {'value' if column else 'row'}{'s' * (count > 1)}"
            f" {config.REASONS[reason]}"
            for (reason, column), count in ordered
            if count
        ),
    ]
