"""Which rows of a batch can't be scored, and why: each is set aside with its reason, and the others are scored."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from baton import config
from baton.data import stream, values
from baton.data.contract import Contract

BUCKETS = 64  # files that ids are sorted into: of 20 million rows, each holds 5 MB


class Finding(NamedTuple):
    """Where in a chunk something is wrong: the rows (rows,) as a mask, and the column; "" for the ids of a row."""

    reason: str
    column: str
    rows: np.ndarray


def find(
    table: pd.DataFrame, contract: Contract, bounds: dict, profile: dict, repeated: np.ndarray
) -> tuple[pd.DataFrame, list[Finding]]:
    """Hold rows to what a model learned from; return their features, and what is wrong with them, worst first.

    `bounds` maps columns to the least and the most that is possible, None for no limit; `profile` is that of the
    model's version (see `profile.describe`), {} of one that has none; `repeated` (rows,) says which rows have the ids
    of an earlier one.
    """
    X, unreadable, infinite = contract.inspect(table)
    nowhere = np.zeros(len(X), bool)
    found = [Finding("unparsable", column, rows) for column, rows in unreadable.items()]
    found += [Finding("infinite", column, rows) for column, rows in infinite.items()]
    for column in X:
        kind, present = contract.columns[column].kind, X[column].notna().to_numpy()
        if column not in contract.optional and not present.all():
            empty = ~present & ~unreadable.get(column, nowhere) & ~infinite.get(column, nowhere)
            found.append(Finding("missing", column, empty))
        if column in bounds:
            found.append(Finding("out_of_bounds", column, ~_within(X[column], *bounds[column], kind)))
        found += _unlike_training(X[column], present, profile.get("columns", {}).get(column))
    found.append(Finding("duplicate_id", "", repeated))
    order = [*config.REASONS]
    return X, sorted((one for one in found if one.rows.any()), key=lambda one: order.index(one.reason))


def rejects(table: pa.Table, rows: np.ndarray, findings: list[Finding], reject: list[str]) -> pa.Table:
    """The rejected rows as they came, each with its number, and with the first reason, its column, and its value.

    `rows` (rows,) are the numbers of the rows. Of a repeated id, there is neither column nor value.
    """
    first = np.full(len(table), len(findings))
    rejecting = [(place, one) for place, one in enumerate(findings) if one.reason in reject]
    for place, one in rejecting[::-1]:
        first[one.rows] = place
    found = np.flatnonzero(first < len(findings))
    named = [findings[place] for place in first[found]]
    given = {column: table.column(column) for column in {one.column for one in named} & {*table.column_names}}
    seen = [
        given[one.column][int(row)].as_py() if one.column in given else None
        for row, one in zip(found, named, strict=True)
    ]
    return (
        table.take(pa.array(found, pa.int64()))
        .append_column("_row", pa.array(rows[found], pa.int64()))
        .append_column("_reason", pa.array([one.reason for one in named], pa.string()))
        .append_column("_column", pa.array([one.column or None for one in named], pa.string()))
        .append_column("_value", pa.array([None if value is None else str(value) for value in seen], pa.string()))
    )


def repeated_ids(chunks: Iterable[pa.Table]) -> tuple[np.ndarray, list[str]]:
    """Tell which rows of a table of ids have those of an earlier row, and which columns hold plain integers as text.

    Returns the numbers of the rows, sorted, and the names. Rows without any id are no duplicates of each other. Ids are
    compared by a 64-bit hash: of 20 million different ones, one row is taken for another once in 100,000 batches. They
    are sorted into files, so that it takes as little memory for many rows as for few.
    """
    kind, start, plain = np.dtype([("id", "u8"), ("row", "i8")]), 0, None
    with TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = [stack.enter_context(Path(folder, str(bucket)).open("w+b")) for bucket in range(BUCKETS)]
        for chunk in chunks:
            frame = stream.to_frame(chunk)
            plain = _plain_integers(frame) & (set(frame) if plain is None else plain)
            texts = pd.DataFrame({column: values.as_texts(frame[column]) for column in frame}).where(frame.notna(), "")
            hashed = pd.util.hash_pandas_object(texts, index=False).to_numpy()
            there = (texts != "").any(axis=1).to_numpy()
            entries = np.empty(there.sum(), kind)
            entries["id"], entries["row"] = hashed[there], np.arange(start, start + len(frame))[there]
            start += len(frame)
            entries = entries[np.argsort(entries["id"] % BUCKETS, kind="stable")]
            ends = np.searchsorted(entries["id"] % BUCKETS, np.arange(BUCKETS), side="right")
            for file, part in zip(files, np.split(entries, ends[:-1]), strict=True):
                file.write(part.tobytes())
        found = []
        for file in files:
            file.seek(0)
            entries = np.frombuffer(file.read(), kind)
            entries = entries[np.argsort(entries["id"], kind="stable")]
            found.append(entries["row"][1:][entries["id"][1:] == entries["id"][:-1]])
    return np.sort(np.concatenate(found)), [column for column in frame if column in (plain or set())] if start else []


def _plain_integers(frame: pd.DataFrame) -> set[str]:
    return {
        column
        for column in frame
        if pd.api.types.is_string_dtype(frame[column]) and frame[column].str.fullmatch(r"0|-?[1-9]\d{0,17}").all()
    }


def _within(column: pd.Series, least, most, kind: str) -> np.ndarray:
    """Tell which values are within bounds; a missing one is."""
    least, most = (pd.Timestamp(bound) if kind == "date" and bound is not None else bound for bound in (least, most))
    outside = np.zeros(len(column), bool)
    outside |= False if least is None else (column < least).to_numpy()
    outside |= False if most is None else (column > most).to_numpy()
    return ~outside


def _unlike_training(column: pd.Series, present: np.ndarray, described: dict | None) -> list[Finding]:
    """What is unlike all that was seen: a number or date far outside, a text that is not among all there were."""
    if not described:
        return []
    if edges := described.get("edges"):
        least, most = (pd.Timestamp(edge) if described["kind"] == "date" else edge for edge in (edges[0], edges[-1]))
        room = most - least
        far = (column < least - room) | (column > most + room)
        return [Finding("far_outside", str(column.name), far.to_numpy())]
    if described["kind"] == "text" and described["different"] == len(described["values"]):
        unseen = present & ~column.isin(described["values"]).to_numpy()
        return [Finding("unseen_category", str(column.name), unseen)]
    return []
