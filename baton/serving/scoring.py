"""A batch: rows that arrive together, scored by one pinned model version, published at once or not at all."""

import dataclasses
import datetime
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from baton import BatonError, config
from baton.data import tables
from baton.data.contract import Contract
from baton.handover import registry


@dataclasses.dataclass(frozen=True)
class Batch:
    """What identifies a batch: the same name, rows and model version are the same batch, however often asked for."""

    name: str
    batch: str
    model_version: str
    run_id: str
    input_digest: str
    rows: int
    predictions_table: str | None
    remarks: list[str]

    @property
    def folder(self) -> Path:
        return config.ROOT / "predictions" / self.name / f"batch={self.batch}"

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def read_batch(path: str) -> Batch:
    """Read the batch that `receive` wrote."""
    written = json.loads(Path(path).read_text())
    return Batch(**{field.name: written[field.name] for field in dataclasses.fields(Batch)})


def receive(
    table: pd.DataFrame, model: registry.Model, batch: str, source: str, predictions_table: str | None = None
) -> tuple[Batch, pd.DataFrame]:
    """Hold the rows to the champion's contract; say which batch they are, and return their ids and features.

    Raises `BatonError` if a column the model needs is missing or not of its kind, or `predictions_table` can't be
    reached.
    """
    contract = model.contract
    X = contract.read_features(table, source)
    ids = table[[column for column in contract.id_columns if column in table.columns]].apply(_as_integers)
    tables.check_destination(predictions_table)
    received = Batch(
        contract.name, batch, model.version, model.run_id, tables.digest(table), len(table), predictions_table,
        contract.remarks(table),
    )  # fmt: skip
    return received, pd.concat([ids, X], axis=1)


def is_published(batch: Batch) -> bool:
    """Tell whether this very batch (same rows, same version) was scored before and all of it is still there."""
    manifest = batch.folder / "_manifest.json"
    if not manifest.is_file():
        return False
    try:
        written = json.loads(manifest.read_text())
    except ValueError:  # it was cut off
        return False
    whole = all((batch.folder / part).is_file() for part in [*written["parts"], "_report.html"])
    return whole and all(written.get(key) == value for key, value in batch.to_dict().items())


def score(table: pd.DataFrame, model: registry.Model) -> pd.DataFrame:
    """Score rows, as `receive` returns them, with a registered model: one row out for each in, in the same order.

    Columns: the id columns, or `row` (the row's number in its file, from 0) if there are none; `prediction`;
    `probability` of the positive class for two classes, or `probability_<class>` for each of more;
    `model_version`; `scored_at` (UTC).
    """
    contract = model.contract
    answers = registry.predict(model, contract.read_features(table))
    id_columns = [column for column in contract.id_columns if column in table.columns]
    ids = table[id_columns] if id_columns else pd.DataFrame({"row": np.arange(len(table))}, index=table.index)
    scored = ids.assign(prediction=_labelled(answers, contract))
    if contract.task == "binary":
        scored = scored.assign(probability=answers[:, 1])
    elif contract.task == "multiclass":
        scored = scored.assign(
            **{f"probability_{label}": answers[:, code] for code, label in enumerate(contract.labels)}
        )
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return scored.assign(model_version=model.version, scored_at=pd.Timestamp(now)).reset_index(drop=True)


def publish(predictions: pd.DataFrame, batch: Batch, contract: Contract) -> Path:
    """Write a batch's predictions and its manifest beside their place, then move them there in one step.

    They go to the batch's `predictions_table` first, if it has one, in one transaction. A batch of the same id is
    replaced. Returns the manifest's path.
    """
    if len(predictions) != batch.rows:
        raise BatonError(
            f"batch {batch.batch}: {batch.rows} rows came in and {len(predictions)} were scored; nothing is published"
        )
    draft = batch.folder.with_name(f".{batch.folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    predictions.to_parquet(draft / "part-0.parquet", index=False)
    manifest = batch.to_dict() | {
        "rows_in": batch.rows,
        "rows_scored": len(predictions),
        "rows_rejected": 0,
        "positive_class": contract.positive,
        "scored_at": predictions["scored_at"].iloc[0].isoformat(),
        "parts": ["part-0.parquet"],
    }
    (draft / "_manifest.json").write_text(json.dumps(manifest, indent=2, default=str))
    if batch.predictions_table:
        key = {"model_name": batch.name, "batch": batch.batch}
        tables.append(predictions.assign(**key), batch.predictions_table, replacing=key)
    replaced = draft.with_name(draft.name + ".replaced")
    if batch.folder.exists():
        batch.folder.rename(replaced)
    draft.rename(batch.folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return batch.folder / "_manifest.json"


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


def _as_integers(ids: pd.Series) -> pd.Series:
    """Ids of a CSV are text; where all are plain integers they are so in the output, to be joined with others."""
    plain = pd.api.types.is_string_dtype(ids) and ids.str.fullmatch(r"0|-?[1-9]\d{0,17}").all()
    return ids.astype("int64") if plain else ids


def _labelled(answers: np.ndarray, contract: Contract) -> np.ndarray:
    if contract.task == "regression":
        return answers
    # scikit-learn's order of classes, so that a tie goes to the class that `predict` would name.
    order = sorted(range(len(contract.labels)), key=lambda code: contract.labels[code])
    return np.array(contract.labels)[order][answers[:, order].argmax(axis=1)]
