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

ADDED = ("_row", "_reason", "_column", "_value")  # to a rejected row; they may be there, if it was corrected since
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
            outside = ~_within(X[column], *bounds[column], kind) | infinite.get(column, nowhere)
            found.append(Finding("out_of_bounds", column, outside))
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
    table = table.select([column for column in table.column_names if column not in ADDED])
    return (
        table.take(pa.array(found, pa.int64()))
        .append_column("_row", pa.array(rows[found], pa.int64()))
        .append_column("_reason", pa.array([one.reason for one in named], pa.string()))
        .append_column("_column", pa.array([one.column or None for one in named], pa.string()))
        .append_column("_value", pa.array([None if value is None else str(value) for value in seen], pa.string()))
    )


def repeated_ids(chunks: Iterable[pa.Table], room: Path | None = None) -> tuple[np.ndarray, list[str]]:
    """Tell which rows of a table of ids have those of an earlier row, and which columns hold plain integers as text.

    An earlier row counts whether or not it can be scored. Spaces around an id are no part of it. Rows without any id
    are no duplicates of each other. Returns the numbers of the rows, sorted, and the names. Ids are compared by a
    64-bit hash: of 20 million different ones, one row is taken for another once in 100,000 batches. They are sorted
    into files, in the folder `room`, so that it takes as little memory for many rows as for few.
    """
    kind, start, plain = np.dtype([("id", "u8"), ("row", "i8")]), 0, None
    with TemporaryDirectory(dir=room) as folder, contextlib.ExitStack() as stack:
        files = [stack.enter_context(Path(folder, str(bucket)).open("w+b")) for bucket in range(BUCKETS)]
        for chunk in chunks:
            frame = stream.to_frame(_exact(chunk))
            plain = _plain_integers(chunk) & (set(frame) if plain is None else plain)
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


def _exact(ids: pa.Table) -> pa.Table:
    """Ids with whole numbers and decimals as text: pandas makes fractions of them where one is missing."""
    exact = [
        column.cast(pa.string()) if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type) else column
        for column in ids.columns
    ]
    return pa.table(exact, ids.column_names)


def _plain_integers(ids: pa.Table) -> set[str]:
    texts = {name: ids[name].to_pandas() for name in ids.column_names if pa.types.is_string(ids[name].type)}
    there = {name: column[column.fillna("") != ""] for name, column in texts.items()}
    return {name for name, column in there.items() if column.empty or values.are_integers(column)}


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
