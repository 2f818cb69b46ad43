"""Read a table and say what is wrong with it; tell two tables apart."""

import functools
import hashlib
import warnings
from pathlib import Path

import pandas as pd

from baton import BatonError, config

# index_col=False: where rows have more values than the header has names, pandas would take the first for the row's
# name and shift all others to the left; so it warns instead, and that is an error here.
READERS = {".csv": functools.partial(pd.read_csv, index_col=False), ".parquet": pd.read_parquet}


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file whole; raise `BatonError` for one that is missing, empty, or not a table."""
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BatonError(f"{path}: can't read a {path.suffix or 'nameless'} file; give one of: {', '.join(READERS)}")
    if not path.is_file():
        raise BatonError(f"{path}: there is no such file. Set train_data and score_data in env.yaml to your tables.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            rows = reader(path)
    except pd.errors.EmptyDataError:
        raise BatonError(f"{path}: the file is empty; expected a header line and rows.") from None
    except pd.errors.ParserWarning:
        raise BatonError(f"{path}: some rows have more values than the header has names; mend the header") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, ValueError) as error:
        raise BatonError(f"{path}: this can't be read as a table: {str(error).strip()}") from None
    if rows.empty:
        raise BatonError(f"{path}: there is a header with {rows.shape[1]} columns, and no row.")
    return rows


def identity(path: str | None) -> str:
    """Name a file of `env.yaml` by its bytes, so that a changed one is noticed; "none" for no file."""
    if path is None:
        return "none"
    file = config.resolve(path)
    return hashlib.file_digest(file.open("rb"), "sha256").hexdigest() if file.is_file() else f"missing {path}"


def digest(rows: pd.DataFrame) -> str:
    """Name a table by its content: 12 hex digits over columns, types and values, in order."""
    head = repr([(column, str(kind)) for column, kind in rows.dtypes.items()]).encode()
    values = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
    return hashlib.sha256(head + values).hexdigest()[:12]
