"""What a model learned from and what it answered, in numbers small enough to keep for ever.

A batch is compared with these numbers alone: `count` puts its values into the bins and categories that are kept here,
by the code that counted them first.
"""

import numpy as np
import pandas as pd

from baton.data.contract import Contract
from baton.training import evaluation

BINS = 20  # of a number or a date, each with as many rows as the others; half as many where there are many columns
CATEGORIES = 50  # of a text; fewer where there are many columns
MANY = 100  # columns and classes
FEWEST = 5  # rows that a category needs to be written out: a rarer value may name a person
LONGEST = 64  # characters of a category that is written out


def describe(X: pd.DataFrame, y: pd.Series, predictions: np.ndarray, contract: Contract) -> dict:
    """Describe what was learned from, column by column, and what was answered, as plain JSON without NaN.

    `X` are features as `Contract.read_features` gives them and `y` their target. `predictions`, mostly of other rows,
    are probabilities (rows, classes) or numbers (rows,). Rows are counted, also where the column `weight` weighs them:
    so are the rows of a batch, which need not have it. Every entry says which share of its rows is `missing`; its
    `shares` are of the others, and sum to 1:

    - of a number or a date: `mean`, `std` (of a date in seconds), and `edges`, values that there are, from the least to
      the most. `shares` count the values up to each edge, above the one before, and last those above all.
    - of a text or a boolean: how many are `different`, and the most frequent `values`. `shares` count each, and last
      all others: rare ones, and texts of more than 64 characters.

    Up to 100 columns an entry takes some 0.6 kB (a text 2 kB), above that less: 200 columns take under 100 kB.
    """
    size = _size(len(X.columns) + len(contract.labels))
    answered = {"rows": len(predictions)}
    if contract.labels:
        predicted = evaluation.predicted_classes(predictions, contract.threshold)
        counts = np.bincount(predicted, minlength=len(contract.labels))
        answered |= {
            "predicted": _rounded(counts / max(len(predictions), 1)),
            "probability": [_describe(pd.Series(column), "number", *size) for column in predictions.T],
        }
        target = {"shares": _rounded(y.value_counts(normalize=True).reindex(contract.labels, fill_value=0))}
    else:
        answered |= {"number": _describe(pd.Series(predictions), "number", *size)}
        target = _describe(y, "number", *size)
    return {
        "rows": len(X),
        "weight": contract.weight,
        "labels": contract.labels,
        "columns": {column: _describe(X[column], kind, *size) for column, kind in contract.kinds.items()},
        "target": target,
        "predictions": answered,
    }


def count(column: pd.Series, described: dict) -> list[float]:
    """Share of a column's values in each bin or category of an entry that `describe` made; missing ones are left out.

    Of a column without values all shares are 0.
    """
    present = column.dropna()
    if "edges" in described:
        edges = np.array(described["edges"], dtype="datetime64[us]" if described["kind"] == "date" else "float64")
        places = np.searchsorted(edges, present.to_numpy(dtype=edges.dtype))
        counts = np.bincount(places, minlength=len(edges) + 1)
    else:
        present = present.astype(bool) if described["kind"] == "boolean" else present
        each = present.value_counts().reindex(described["values"], fill_value=0).to_numpy()
        counts = np.append(each, len(present) - each.sum())
    return _rounded(counts / max(len(present), 1))


def _describe(column: pd.Series, kind: str, bins: int, categories: int) -> dict:
    present = column.dropna()
    entry = {"kind": kind, "missing": round(float(column.isna().mean()), 6) if len(column) else 0.0}
    if kind in {"number", "date"}:
        sort = "datetime64[us]" if kind == "date" else "float64"
        values = present.to_numpy(dtype=sort)
        edges = np.unique(values)
        if len(edges) > bins + 1:
            # Values that there are: an edge between two would not tell how many rows have just this one, such as 0.
            edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
        entry |= _moments(values, kind) | {"edges": _plain(edges)}
    else:
        counts = (present.astype(bool) if kind == "boolean" else present).value_counts()
        short = counts.index.astype("str").str.len() <= LONGEST
        kept = counts[short & (counts >= FEWEST)].index[:categories]
        entry |= {"different": len(counts), "values": kept.tolist()}
    return entry | {"shares": count(column, entry)}


def _size(entries: int) -> tuple[int, int]:
    """Bins and categories of each entry, so that all together stay small."""
    return BINS if entries <= MANY else BINS // 2, int(np.clip(2000 // entries, 5, CATEGORIES))


def _moments(values: np.ndarray, kind: str) -> dict:
    """Mean and standard deviation; None of no values, or where they are beyond what a float holds."""
    numbers = values.astype("int64") / 1e6 if kind == "date" else values
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"mean": float(numbers.mean()), "std": float(numbers.std())} if len(values) else {}
    mean, std = (found[name] if np.isfinite(found.get(name, np.nan)) else None for name in ("mean", "std"))
    if kind == "date" and mean is not None:
        mean = str(np.datetime64(int(mean), "s"))
    return {"mean": mean, "std": std}


def _plain(edges: np.ndarray) -> list:
    if edges.dtype.kind == "M":
        midnight = edges == edges.astype("datetime64[D]")
        return [str(edge.astype("datetime64[D]") if day else edge) for edge, day in zip(edges, midnight, strict=True)]
    return edges.tolist()


def _rounded(shares) -> list[float]:
    return [round(float(share), 6) for share in shares]
