"""Read a table in chunks of rows, so that one larger than memory can be scored; `tables` reads one whole.

The same sources, the same columns and the same values. A chunk is an Arrow table, which keeps each value as it came.
"""

import codecs
import contextlib
import csv
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from baton import BatonError, InputEmpty, SchemaMismatch
from baton.data import tables

BYTES = 32_000_000  # of rows that are held at once: fewer rows than are asked for, where they have long texts
FEW = 2048  # rows of a Parquet file with texts that are read at once
BLOCK = 4 * 2**20  # bytes of a file that are read at once; of a CSV, also the longest row there may be


class Source:
    """Files, in their order, as one table. `rows` is their number; of text, of its lines: a few too many, for progress.

    Raises `BatonError` for files that are missing or no tables, or differ in their columns.
    """

    def __init__(self, name: str, files: dict[str, Path] | None = None):
        self.name = name
        named = {str(tables.named(file)): file for file in tables.files(name)} if files is None else files
        parts = [_open(file, shown) for shown, file in named.items()]
        tables.require_same_columns({part.name: part.columns for part in parts})
        self._parts, self.columns = parts, parts[0].columns
        self.decimal = "," if all(part.decimal == "," for part in parts) else None
        self.rows = sum(part.rows for part in parts)

    def chunks(self, rows: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the table, or some columns, in chunks of `rows` rows or `BYTES`, the last one smaller, of one schema.

        Raises `InputEmpty` if there is no row.
        """
        wanted = self.columns if columns is None else columns
        schema = _common_schema([part.schema(wanted) for part in self._parts])
        batches = (_cast(batch, schema, part.name) for part in self._parts for batch in part.batches(rows, wanted))
        number = -1
        for number, chunk in enumerate(_of_equal_size(batches, rows)):  # noqa: B007
            yield chunk
        if number < 0:
            raise InputEmpty(f"{self.name}: there is a header with {len(self.columns)} columns, and no row.")

    def head(self, rows: int) -> pd.DataFrame:
        """The first rows, as `tables.read_table` reads them."""
        with contextlib.closing(self.chunks(rows)) as chunks:
            return to_frame(next(chunks), self.decimal)


def to_frame(chunk: pa.Table, decimal: str | None = None) -> pd.DataFrame:
    """A chunk as a DataFrame of numbers, booleans, dates and text, as `tables.read_table` gives it."""
    frame = chunk.to_pandas(ignore_metadata=True).apply(tables.plain)
    frame.attrs = {"decimal": decimal} if decimal else {}
    return frame


def spool(source: str, folder: Path, rows: int) -> list[Path]:
    """Write what a database answers to Parquet files of `rows` rows each, as it comes; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []

    def write(part: pd.DataFrame) -> None:
        files.append(folder / f"input-{len(files):05}.parquet")
        found = pa.Table.from_pandas(part, preserve_index=False)
        # A column without any value is of no kind yet: it takes that of the rows that follow.
        kinds = [pa.nulls(len(found)) if column.null_count == len(found) else column for column in found.columns]
        pq.write_table(pa.table(kinds, found.column_names), files[-1])

    tables.query(source, write, rows, BYTES)
    return files


class _Parquet:
    decimal = None

    def __init__(self, file: Path, name: Path):
        self.name, self._file = name, file
        with self._opened() as found:
            arrow, self.rows = found.schema_arrow, found.metadata.num_rows
        # pandas writes an index that has no name as a column of its own making.
        kept = [column for column in arrow.names if not re.fullmatch(r"__index_level_\d+__", column)]
        self._original = {column.strip(): column for column in kept}
        self._schema, self.columns = arrow, [*self._original]
        tables.require_different_names([column.strip() for column in kept], name)

    @contextlib.contextmanager
    def _opened(self):
        packed = fsspec.open(str(self._file), "rb", compression="infer")
        with tables.unreadable(self.name, "parquet"), packed if packed.compression else _path(self._file) as opened:
            yield pq.ParquetFile(opened, pre_buffer=False, buffer_size=BLOCK)

    def schema(self, columns: list[str]) -> pa.Schema:
        kinds = [self._schema.field(self._original[column]).type for column in columns]
        # Each file has categories of its own: as values, they are of one kind.
        kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in kinds]
        return pa.schema([*zip(columns, kinds, strict=True)])

    def batches(self, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        original = [self._original[column] for column in columns]
        with self._opened() as found:
            groups = [found.metadata.row_group(number) for number in range(found.metadata.num_row_groups)]
            wide = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
            texts = not all(map(pa.types.is_primitive, self.schema(columns).types))
            # A text that is often there is written once, so that nothing tells how long the rows are.
            rows = max(1, min(rows, int(BYTES / max(wide, 1)), FEW if texts else rows))
            for batch in found.iter_batches(rows, columns=original, use_threads=False):
                yield batch.select(original).rename_columns(columns)


class _Csv:
    def __init__(self, file: Path, name: Path):
        self.name, self._file = name, file
        with tables.unreadable(name, "csv"), self._bytes() as opened:
            head, self._utf8, lines = _look_at(opened, name)
        self.rows = lines - 1
        self._delimiter = tables.delimiter_of(head)
        self.decimal = "," if self._delimiter == ";" else None
        lines = csv.reader(io.StringIO(head, newline=""), delimiter=self._delimiter)
        self._header = next(row for row in lines if row)
        self._has_rows = next((True for row in lines if row), False)
        stripped = [column.strip() for column in self._header]
        tables.require_different_names([column for column in stripped if column], name)
        # A column without a name is no feature and no id.
        self._places = {column: place for place, column in enumerate(stripped) if column}
        self.columns = [*self._places]

    def schema(self, columns: list[str]) -> pa.Schema:
        return pa.schema([(column, pa.string()) for column in columns])

    def batches(self, rows: int, columns: list[str]) -> Iterator[pa.Table]:
        if not self._has_rows:
            return
        with tables.unreadable(self.name, "csv"), self._bytes() as opened, _as_utf8(opened, self._utf8) as text:
            blank = []  # rows without any value, which count only if others follow
            for batch in self._parse(text):
                table = pa.table(batch)
                filled = _filled(table)
                if filled:
                    found = [*blank, table.slice(0, filled)]
                    yield from (
                        pa.table([part.column(self._places[column]) for column in columns], columns) for part in found
                    )
                    blank = []
                blank += [table.slice(filled)] if filled < len(table) else []

    def _parse(self, text) -> Iterator[pa.RecordBatch]:
        """Parse as `tables` does, block by block."""
        quoted = None
        try:
            for batch in pyarrow.csv.open_csv(
                text,
                pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK),
                pyarrow.csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                tables.as_it_stands(self._header),
            ):
                quoted = len(batch) and re.search(r"[\r\n]", batch.column(batch.num_columns - 1)[-1].as_py())
                yield batch
        except pyarrow.ArrowInvalid as error:
            if "straddling" in str(error):
                raise BatonError(
                    f"{self.name}: a row is longer than {BLOCK // 2**20} MB. Is there a double quote that is never"
                    " closed? Correct it there."
                ) from None
            raise tables.ragged(error, self.name) or error from None
        if quoted and not text.ends_with_quote():
            raise tables.never_closed(self.name)

    def _bytes(self):
        return fsspec.open(str(self._file), "rb", compression="infer")


class _Bytes(io.RawIOBase):
    """Bytes as they are read, of which the last are kept: a quote there closes what seems open."""

    def __init__(self, opened):
        self._opened, self._last = opened, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._opened.read(size)
        self._last = (self._last + found[-100:]).rstrip() or self._last
        return found

    def ends_with_quote(self) -> bool:
        return self._last.endswith(b'"')


def _open(file: Path, name: str):
    kind = tables.require_kind(file, name)
    return (_Parquet if kind == "parquet" else _Csv)(file, name)


@contextlib.contextmanager
def _path(file: Path):
    yield file


@contextlib.contextmanager
def _as_utf8(opened, is_utf8: bool):
    """The bytes of a text as UTF-8; of one in another encoding, by way of a file."""
    if is_utf8:
        yield _Bytes(opened)
        return
    with tempfile.TemporaryFile() as copy:
        head = opened.read(2)
        opened.seek(0)
        written = io.TextIOWrapper(opened, tables.other_encoding(head), errors="replace", newline="")
        reencoded = codecs.getwriter("utf-8")(copy)
        shutil.copyfileobj(written, reencoded)
        copy.seek(0)
        yield _Bytes(copy)


def _look_at(opened, name: Path) -> tuple[str, bool, int]:
    """Read a text once: return its beginning, whether it is UTF-8, and how many lines it has.

    Raises `BatonError` if it is no text.
    """
    head = opened.read(BLOCK)
    encodings = [] if tables.other_encoding(head) == "utf-16" else ["utf-8-sig"]
    for encoding in [*encodings, tables.other_encoding(head)]:
        opened.seek(0)
        decoder, first = codecs.getincrementaldecoder(encoding)("strict" if encodings else "replace"), None
        ends, text = 0, ""
        try:
            for block in iter(lambda: opened.read(BLOCK), b""):
                text = decoder.decode(block)
                tables.require_text(text, encoding, name)
                first = text if first is None else first
                ends += text.count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            encodings = []
            continue
        if not (first or "").strip():
            raise InputEmpty(f"{name}: the file is empty; expected a header line and rows.")
        return first, encoding == "utf-8-sig", ends + (not text.endswith("\n"))
    raise AssertionError  # the last encoding replaces what it can't decode


def _filled(table: pa.Table) -> int:
    """Number of rows up to the last one with a value: what follows has only delimiters."""
    count = len(table)
    while count and not any(column[count - 1].as_py() for column in table.columns):
        count -= 1
    return count


def _common_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """The schema that takes the rows of all: of numbers the wider, of anything else that differs, text."""
    return pa.schema(
        [(column, _common_type([one.field(column).type for one in schemas])) for column in schemas[0].names]
    )


def _cast(batch, schema: pa.Schema, name: Path) -> pa.Table:
    try:
        return pa.table(batch).cast(schema)
    except pa.ArrowInvalid as error:
        raise SchemaMismatch(
            f"{name}: a column is of another kind than in the other files, and can't be made alike: {error}. Write it"
            " alike in all of them"
        ) from error


def _common_type(types: list[pa.DataType]) -> pa.DataType:
    if len({*types}) == 1:
        return types[0]
    try:
        fields = [pa.schema([("", kind)]) for kind in types]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        return pa.string()


def _of_equal_size(parts: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows each, or of fewer that have `BYTES`; the last one has the rest."""
    kept, count, size = [], 0, 0
    for piece in (piece for part in parts for piece in _small(part)):
        if kept and size + piece.nbytes > BYTES:
            yield pa.concat_tables(kept)
            kept, count, size = [], 0, 0
        kept, count, size = [*kept, piece], count + len(piece), size + piece.nbytes
        while count >= rows:
            whole = pa.concat_tables(kept)
            yield whole.slice(0, rows)
            rest = whole.slice(rows)
            kept, count, size = [rest] if len(rest) else [], len(rest), rest.nbytes
    if count:
        yield pa.concat_tables(kept)


def _small(part: pa.Table) -> Iterator[pa.Table]:
    """A table in pieces of at most `BYTES` each, or of a row."""
    if part.nbytes <= BYTES or len(part) < 2:
        yield part
        return
    half = len(part) // 2
    yield from _small(part.slice(0, half))
    yield from _small(part.slice(half))
