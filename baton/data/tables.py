"""Read a table wherever it is (files or a database), say what is wrong with it, and tell two tables apart.

A source, as `env.yaml` names it, is a CSV or Parquet file, a folder of them, a pattern such as `days/2026-*.csv`; the
same in an object store, such as `s3://bucket/days/2026-*.csv`; or a database: `postgresql://me:${PASSWORD}@host/db#table`,
with a table's name or a whole query behind the `#`.
"""

import codecs
import contextlib
import csv
import glob
import hashlib
import io
import itertools
import logging
import re
import socket
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

import fsspec
import pandas as pd
import pyarrow.csv

from baton import BatonError, InputEmpty, InputMissing, SchemaMismatch, config
from baton.data import objects

# What a file's name may end in, and how its bytes are read; each may be compressed (.gz, .bz2, .xz, .zip) as well.
CSV = (".csv", ".tsv", ".txt", ".data")
PARQUET = (".parquet", ".pq")
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
DELIMITERS = ",;\t|:^~ "
USUAL = ",;\t|"  # the others stand in names and times as well
PATIENCE = 120  # seconds after which a database that does not answer at all is given up
# How PostgreSQL's driver, and COPY, expect it to write, whatever is usual for a database or a role.
SPOKEN = {"client_encoding": "UTF8", "DateStyle": "ISO"}
# What a COPY of PostgreSQL is read as, by the numbers that it has for its types.
COPIED = {
    **dict.fromkeys((20, 21, 23), pyarrow.int64()), **dict.fromkeys((700, 701, 1700), pyarrow.float64()),
    **dict.fromkeys((25, 1042, 1043, 2950), pyarrow.string()), 16: pyarrow.bool_(), 1082: pyarrow.date32(),
    1114: pyarrow.timestamp("us"), 1184: pyarrow.timestamp("us", "UTC"),
}  # fmt: skip
NULLABLE = {
    pyarrow.int64(): pd.Int64Dtype(), pyarrow.float64(): pd.Float64Dtype(), pyarrow.bool_(): pd.BooleanDtype(),
    pyarrow.string(): pd.StringDtype(),
}  # fmt: skip

csv.field_size_limit(2**31 - 1)  # a value may be a whole document


def read_table(source: str) -> pd.DataFrame:
    """Read a source whole.

    Columns are numbers, booleans, dates, or text. All of a CSV is text, as it stands there: what it means is for the
    contract to say. `attrs["decimal"]` is "," where all of a source comes from files that a semicolon delimits, which
    are mostly written where the decimal mark is a comma. Raises `BatonError` for a source that is missing, empty, or
    not a table.
    """
    source = str(source)
    parts = {}
    if is_database(source):
        query(source, lambda answer: parts.update({source: answer}))
    elif objects.is_address(source):
        with tempfile.TemporaryDirectory() as folder:
            parts = {name: _read_file(path, name) for name, path in fetch(source, Path(folder)).items()}
    else:
        parts = {named(path): _read_file(path, named(path)) for path in files(source)}
    require_same_columns({path: part.columns for path, part in parts.items()})
    rows = next(iter(parts.values()))
    table = pd.concat([*parts.values()], ignore_index=True) if len(parts) > 1 else rows.reset_index(drop=True)
    if table.empty:
        raise InputEmpty(f"{source}: there is a header with {table.shape[1]} columns, and no row.")
    table = table.apply(plain)
    table.attrs = {"decimal": ","} if all(part.attrs.get("decimal") == "," for part in parts.values()) else {}
    return table


def require_same_columns(found: dict[object, list[str]]) -> None:
    """Raise `BatonError` if the columns of one file, by its name, are not those of the first, in any order."""
    first, columns = next(iter(found.items()))
    for path, others in found.items():
        if set(others) != set(columns):
            differ = ", ".join(map(repr, sorted(set(others) ^ set(columns))))
            raise SchemaMismatch(f"{path} and {first} have different columns: only one of them has {differ}")


def is_database(source: str) -> bool:
    """Tell a database from files: it starts with a URL's scheme, or with the variable that holds one."""
    return bool(re.match(r"([\w+]+://|\$\{\w+\}(#|$))", source)) and not objects.is_address(source)


def files(source: str) -> list[Path]:
    """The files that a path, a folder or a pattern names, sorted; hidden ones and those named _… are not data."""
    path = config.resolve(source)
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    named = path if path.is_dir() else Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    # What the source itself names may be called anything.
    below = ((file, file.relative_to(named).as_posix()) for file in found if file.is_file())
    data = sorted(file for file, path in below if not objects.HIDDEN.search(path))
    if path.is_dir():
        data = [file for file in data if kind_of(file)]
    if not data:
        raise _missing(source, "no CSV or Parquet file in this folder" if path.is_dir() else "no such file")
    return data


def fetch(source: str, folder: Path) -> dict[str, Path]:
    """Copy the files that an address of an object store names to a folder; return them by their addresses."""
    return objects.fetch(source, _objects(source), folder)


def _objects(source: str) -> list[objects.Object]:
    found = objects.find(source, lambda path: kind_of(path) is not None)
    if not found:
        raise _missing(source, "no such file, or folder with a CSV or Parquet file")
    return found


def _missing(source: str, what: str) -> InputMissing:
    where = "It is not here yet, or train_data or score_data in env.yaml names the wrong place."
    return InputMissing(f"{source}: there is {what}. {where}")


def append(
    parts: Iterable[pd.DataFrame], destination: str, replacing: dict, last: Callable[[], object] = lambda: None
) -> None:  # fmt: skip
    """Add rows to a table of a database, which is made if it doesn't exist, in one transaction: all or nothing.

    Rows of the table with the values `replacing` in those columns are deleted first, so doing it twice changes nothing,
    one after the other or at once. When all is done but to commit it, `last` is called: if it raises, the table stays
    as it was. Raises `BatonError` if it can't be done.
    """
    import sqlalchemy

    schema, name = _table_name(destination)
    with _connected(destination, writing=True) as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        if is_postgresql:  # else two machines would both delete first, and both add; or both make the table
            table = schema or connection.dialect.default_schema_name, name
            _wait_for(connection, (*table, replacing))
            if not sqlalchemy.inspect(connection).has_table(name, schema):
                _wait_for(connection, table)
        for number, rows in enumerate(parts):
            if number == 0 and _takes(connection, destination, rows.columns):
                table, same = _rows_with(replacing, name, schema, connection)
                connection.execute(sqlalchemy.delete(table).where(*same))
            method = _copy if connection.dialect.driver == "pg8000" else None
            if len(rows):  # else a table might be made of columns whose types nothing tells
                rows.to_sql(name, connection, schema=schema, if_exists="append", index=False, method=method)
        if is_postgresql:  # what it could refuse at the end, and that `last` takes its time
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        last()


def _wait_for(connection, what: tuple) -> None:
    """Wait until no other transaction of PostgreSQL has what is named so, and keep it until this one ends."""
    import sqlalchemy

    asked = sqlalchemy.func.pg_advisory_xact_lock(sqlalchemy.func.hashtext(repr(what)))
    connection.execute(sqlalchemy.select(asked))


def _copy(table, connection, columns: list[str], rows: Iterable[tuple]) -> None:
    """Add rows by PostgreSQL's COPY, as pandas asks for: its driver would send one INSERT after the other."""
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_NOTNULL).writerows(rows)  # what is not quoted is NULL
    written.seek(0)
    quoted = connection.dialect.identifier_preparer
    names = ", ".join(map(quoted.quote, columns))
    command = f"COPY {quoted.format_table(table.table)} ({names}) FROM STDIN WITH (FORMAT CSV)"
    connection.connection.cursor().execute(command, stream=written)


def count(destination: str, where: dict, by: list[str]) -> dict[tuple, int]:
    """Count the rows of a table of a database that have the values `where`, by what they have in other columns.

    There are none if there is no such table, or it lacks such a column.
    """
    import sqlalchemy

    schema, name = _table_name(destination)
    with _connected(destination) as connection:
        if not sqlalchemy.inspect(connection).has_table(name, schema):
            return {}
        table, same = _rows_with(where, name, schema, connection)
        if not {*by} <= {*table.c.keys()}:
            return {}
        columns = [table.c[column] for column in by]
        counted = sqlalchemy.select(*columns, sqlalchemy.func.count()).where(*same).group_by(*columns)
        return {tuple(values): rows for *values, rows in connection.execute(counted)}


def _rows_with(values: dict, name: str, schema: str | None, connection):
    """A table as it is in a database, and the conditions by which its rows with these values are found."""
    import sqlalchemy

    table = sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema, autoload_with=connection)
    return table, [table.c[column] == value for column, value in values.items()]


def check_destination(destination: str | None, columns: Iterable[str] = ()) -> None:
    """Raise `BatonError` if rows with these columns could not be added to a table, before they are scored for it."""
    if destination is not None:
        _table_name(destination)
        with _connected(destination) as connection:
            _takes(connection, destination, columns)


def _takes(connection, destination: str, columns: Iterable[str]) -> bool:
    """Tell whether a table is there; raise `BatonError` if it is, and lacks one of these columns."""
    import sqlalchemy

    schema, name = _table_name(destination)
    existing = sqlalchemy.inspect(connection)
    if not existing.has_table(name, schema):
        return False
    if lacking := {*columns} - {column["name"] for column in existing.get_columns(name, schema)}:
        raise BatonError(
            f"{destination}: the table exists, and lacks the columns {', '.join(sorted(lacking))}; name another in"
            " predictions_table"
        )
    return True


def identity(source: str | None) -> str:
    """Name a source, or a feature file, by its content, so that a change is noticed; "none" for no file.

    A file counts with its bytes, a database with the rows it answers. What can't be read is named by its error, which
    the task that reads it will raise.
    """
    if source is None:
        return "none"
    try:
        if is_database(source):
            return digest(read_table(source))
        if objects.is_address(source):  # by what the store says of them, which reads none
            named = repr([one._replace(modified=None) for one in _objects(source)])
            return hashlib.sha256(named.encode()).hexdigest()
        return digest_files(files(source))
    except (BatonError, OSError) as error:
        return f"unreadable: {error}"


def digest_files(files: list[Path]) -> str:
    """Name files by their content: a SHA-256 in hex."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def digest(rows: pd.DataFrame) -> str:
    """Name a table by its content: 12 hex digits over columns, types and values, in order."""
    head = repr([(column, str(kind)) for column, kind in rows.dtypes.items()]).encode()
    values = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
    return hashlib.sha256(head + values).hexdigest()[:12]


def kind_of(file: PurePath) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return "csv" if last in CSV else "parquet" if last in PARQUET else None


def named(file: Path) -> Path:
    """A file as messages name it: within the project, from there."""
    return file.relative_to(config.ROOT) if file.is_relative_to(config.ROOT) else file


def _read_file(file: Path, name: str | Path) -> pd.DataFrame:
    kind = require_kind(file, name)
    with unreadable(name, kind):
        with fsspec.open(str(file), "rb", compression="infer") as opened:
            content = opened.read()
        rows = pd.read_parquet(io.BytesIO(content)) if kind == "parquet" else _read_csv(content, name)
    if rows.index.names != [None]:  # a Parquet file's index is data as well
        rows = rows.reset_index(allow_duplicates=True)
    rows.columns = [str(column).strip() for column in rows.columns]
    if kind == "csv":  # delimiters at the end of every line are no columns, and lines of them at the end no rows
        filled = (rows != "").to_numpy()
        last = max(filled.any(axis=1).nonzero()[0], default=-1)
        rows = rows.loc[:last, (rows.columns != "") | filled.any(axis=0)]
    require_different_names(rows.columns, name)
    return rows


def require_kind(file: Path, name: str | Path) -> str:
    """Tell whether a file is a CSV or Parquet; raise `BatonError` if it is neither, or more than one file in one."""
    kind = kind_of(file)
    if kind is None:
        raise BatonError(
            f"{name}: can't read a {file.suffix or 'nameless'} file; give one of: {', '.join(CSV + PARQUET)}"
        )
    with unreadable(name, kind):
        if file.suffix.lower() == ".zip" and (packed := len(zipfile.ZipFile(file).namelist())) != 1:
            raise BatonError(f"{name}: there are {packed} files in it, and one is expected: zip each table by itself")
    return kind


@contextlib.contextmanager
def unreadable(name: Path, kind: str):
    """Tell in one line why a file can't be read: each library and compression raises errors of another kind."""
    try:
        yield
    except (BatonError, GeneratorExit):
        raise
    except Exception as error:
        raise BatonError(f"{name}: this can't be read as {kind}: {_first_line(error)}") from None


def require_different_names(columns: list[str], source: str | Path) -> None:
    """Raise `BatonError` naming the columns that have the same name."""
    twice = [*dict.fromkeys(column for column, count in Counter(columns).items() if count > 1)]
    if twice:
        raise BatonError(f"{source}: more than one column has the name {', '.join(map(repr, twice))}")


def _read_csv(content: bytes, name: Path) -> pd.DataFrame:
    text = _decode(content, name)
    if not text.strip():
        raise BatonError(f"{name}: the file is empty; expected a header line and rows.")
    delimiter = delimiter_of(text)
    header = next(row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    try:
        rows = pyarrow.csv.read_csv(
            io.BytesIO(f"{text}\n".encode()),  # a header alone is none to Arrow without its line end
            pyarrow.csv.ReadOptions(use_threads=False, block_size=min(len(content) * 2 + 1024, 2**31 - 1)),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            as_it_stands(header),
        ).to_pandas()
    except pyarrow.ArrowInvalid as error:
        raise ragged(error, name) or error from None
    # A quote that is never closed makes one value of all that follows; in any column but the last, the row is ragged.
    if len(rows) and re.search(r"[\r\n]", rows.iat[-1, -1]) and not text.rstrip().endswith('"'):
        raise never_closed(name, f"row {len(rows)}")
    rows.attrs = {"decimal": ","} if delimiter == ";" else {}
    return rows


def as_it_stands(header: list[str]) -> pyarrow.csv.ConvertOptions:
    """Have each value of a CSV read as the text it is."""
    text = {column: pyarrow.string() for column in header}
    return pyarrow.csv.ConvertOptions(column_types=text, null_values=[], strings_can_be_null=False)


def quotes_tell(kinds: pyarrow.Schema | dict, **others) -> pyarrow.csv.ConvertOptions:
    """Have a CSV read in which what is missing is not in quotes, and an empty text is."""
    missing = {"null_values": [""], "strings_can_be_null": True, "quoted_strings_can_be_null": False}
    return pyarrow.csv.ConvertOptions(column_types=kinds, **missing, **others)


def ragged(error: pyarrow.ArrowInvalid, name: Path) -> BatonError | None:
    """What to say of a row with more or fewer values than the header; None if the error is another one."""
    found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
    return found and BatonError(
        f"{name}: row {int(found[1]) - 1} has {found[3]} values where the header names {found[2]} columns."
        " Correct it there; if values hold the delimiter or a quote, put them in double quotes."
    )


def never_closed(name: Path, row: str = "a row near the end") -> BatonError:
    return BatonError(f"{name}: {row} opens a double quote that is never closed. Correct it there.")


def _decode(content: bytes, name: Path) -> str:
    """Read bytes as UTF-8 (or what a byte order mark says), else as Latin-1 with what Windows adds."""
    encoding = "utf-8-sig" if other_encoding(content) != "utf-16" else "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        encoding = other_encoding(content)
        text = content.decode(encoding, errors="replace")
    require_text(text, encoding, name)
    return text


def other_encoding(content: bytes) -> str:
    """What a text is written in that is not UTF-8, by its first bytes."""
    return "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "cp1252"


def require_text(text: str, encoding: str, name: Path) -> None:
    """Raise `BatonError` if what was decoded holds characters that no text has."""
    control = "[\x00-\x08\x0e-\x1f]" if encoding == "cp1252" else "\x00"
    if re.search(control, text):
        raise BatonError(
            f"{name}: this is no text but binary data. Is it a spreadsheet, or compressed? Save it as CSV."
        )


def delimiter_of(text: str) -> str:
    """The delimiter that divides the first lines into equally many columns; of several, a usual one, into the most."""
    lines = [*itertools.islice(io.StringIO(text, newline=""), 200)]
    found = {}
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        even, usual = widths.count(widths[0]) > 0.8 * len(widths), delimiter in USUAL  # a row may lack some
        if widths[0] > 1 and (even or usual):
            found[delimiter] = (even, usual, widths[0])
    return max(found, key=found.get, default=",")


def plain(column: pd.Series) -> pd.Series:
    """Turn what databases and Parquet files hold (decimals, days, …) into numbers, booleans, dates or text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if isinstance(column.dtype, pd.ArrowDtype) and pd.api.types.is_float_dtype(column):
        return column.astype(column.dtype.numpy_dtype)  # a float32 stays one: see `values.parse_numbers`
    if isinstance(column.dtype, pd.ArrowDtype | pd.PeriodDtype | pd.IntervalDtype):
        column = column.astype("object")
    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None)
    if not pd.api.types.is_object_dtype(column):
        return column
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in {"timedelta", "timedelta64"}:
        return pd.to_timedelta(column).dt.total_seconds()
    if kind == "boolean":
        return column.astype("boolean")
    if kind in {"decimal", "integer", "floating", "mixed-integer-float"}:
        return pd.to_numeric(column)
    if kind in {"date", "datetime", "datetime64"}:
        return pd.to_datetime(column, utc=True).dt.tz_localize(None)
    return column.astype("str").where(column.notna(), None).astype("str")


def query(
    source: str, take: Callable[[pd.DataFrame], object], rows: int | None = None, size: int | None = None
) -> None:  # fmt: skip
    """Give what a database answers to `take`: as it comes, `rows` rows at a time, or all at once.

    From PostgreSQL come fewer rows where they have more than `size` bytes.
    """
    import sqlalchemy

    asked = source.partition("#")[2].strip()
    is_query = bool(re.search(r"\s", asked))
    schema, name = (None, None) if is_query else _table_name(source)
    failed = []

    def give(part: pd.DataFrame) -> None:
        try:
            require_different_names(part.columns, source)
            take(part.apply(plain))
        except Exception as error:
            failed.append(error)
            raise

    try:
        with _connected(source, reading=True) as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # meant for answers that come at once
                connection.exec_driver_sql("SET LOCAL extra_float_digits = 1")
            if is_query:
                # A colon is a cast, or a time; there is nothing to fill in.
                statement = sqlalchemy.text(asked.replace(":", r"\:"))
            else:
                quoted = sqlalchemy.table(name, schema=schema)
                statement = sqlalchemy.select(sqlalchemy.text("*")).select_from(quoted)
                asked = f"SELECT * FROM {connection.dialect.identifier_preparer.format_table(quoted)}"
            if connection.dialect.driver == "pg8000" and _copy_out(asked, connection, give, rows, size):
                return
            streamed = connection.execution_options(stream_results=rows is not None)
            # In parts, a column of whole numbers stays one, whether or not some are missing in a part.
            how = {} if rows is None else {"dtype_backend": "numpy_nullable"}
            found = pd.read_sql_query(statement, streamed, chunksize=rows, **how)
            for part in [found] if rows is None else found:
                give(part)
    except BatonError:
        if failed:  # which the database has nothing to do with
            raise failed[0] from None
        raise


def _copy_out(asked: str, connection, give: Callable, rows: int | None, size: int | None) -> bool:
    """Give what PostgreSQL answers by COPY: its driver makes each value in Python, at a fifth of the speed.

    Returns False, and gives nothing, where columns are of other kinds than those in `COPIED`, or where the database has
    something to say against it, which it says again.
    """
    import pg8000

    driver, cursor = connection.connection.driver_connection, connection.connection.cursor()
    asked = f"{asked.rstrip(';')}\n"  # its last line may be a comment
    try:
        attempt = connection.begin_nested()
        try:
            cursor.execute(f"SELECT * FROM ({asked}) AS asked LIMIT 0")
        except pg8000.Error:
            attempt.rollback()
            return False
        attempt.commit()
        schema = [(name, COPIED.get(kind)) for name, kind, *_ in cursor.description or ()]
        if not schema or any(kind is None for _, kind in schema):
            return False
        if rows is not None:  # a day such as "infinity" would make text of some parts
            schema = [(name, pyarrow.string() if kind == pyarrow.date32() else kind) for name, kind in schema]
        read = _Copied(pyarrow.schema(schema), give, rows, size)
        # Not by the cursor, which would take a % for the place of a value.
        driver.execute_unnamed(f"COPY ({asked}) TO STDOUT (FORMAT CSV)", stream=read)
        read.end()
    except BaseException:  # amid an answer, nothing else can be asked, not even to roll back
        connection.invalidate()
        raise
    return True


class _Copied:
    """What PostgreSQL sends of a COPY, a row at a time, given on in parts of `rows` rows or `size` bytes, or as one."""

    def __init__(self, schema: pyarrow.Schema, give: Callable[[pd.DataFrame], object], rows, size: int | None):
        self._schema, self._give, self._rows, self._size = schema, give, rows, size
        self._lines, self._held, self._given = [], 0, 0

    def write(self, line: bytes) -> None:
        self._lines.append(line)
        self._held += len(line)
        if len(self._lines) == self._rows or (self._size is not None and self._held > self._size):
            self._give_on()

    def end(self) -> None:
        if self._lines or not self._given:
            self._give_on()

    def _give_on(self) -> None:
        content, self._lines, self._held, self._given = b"".join(self._lines), [], 0, self._given + 1
        table = self._parsed(content)
        for place, (name, kind) in enumerate(zip(self._schema.names, self._schema.types, strict=True)):
            with contextlib.suppress(pyarrow.ArrowInvalid):  # a day such as "infinity" is for whoever reads texts
                table = table.set_column(place, name, table[place].cast(kind))
        self._give(table.to_pandas() if self._rows is None else table.to_pandas(types_mapper=NULLABLE.get))

    def _parsed(self, content: bytes) -> pyarrow.Table:
        kinds = [pyarrow.string() if pyarrow.types.is_temporal(kind) else kind for kind in self._schema.types]
        schema = pyarrow.schema([*zip(self._schema.names, kinds, strict=True)])
        if not content:
            return schema.empty_table()
        how = quotes_tell(schema, true_values=["t"], false_values=["f"])
        size = min(len(content) + 4, 2**31 - 1)
        options = pyarrow.csv.ReadOptions(column_names=schema.names, block_size=size, use_threads=False)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)  # of one column, NULL
        content = codecs.BOM_UTF8 + content  # else it would take one from the first value
        return pyarrow.csv.read_csv(io.BytesIO(content), options, parse, how)


def _table_name(source: str) -> tuple[str | None, str]:
    schema, _, name = source.partition("#")[2].strip().rpartition(".")
    if not name or re.search(r"\s", name):
        raise BatonError(f"{source}: name the table behind a #, as in sqlite:///warehouse.db#customers")
    return schema or None, name


@contextlib.contextmanager
def _connected(source: str, reading: bool = False, writing: bool = False):
    """A transaction with the database of a source: committed if all goes well, else rolled back."""
    import sqlalchemy

    # That a connection which was lost can't be closed either, it would report with a traceback.
    logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())
    try:
        url = sqlalchemy.make_url(config.fill_in(source.partition("#")[0]))
        if url.drivername in {"postgres", "postgresql"}:
            # The one driver that comes with Baton; another may be named, as in postgresql+psycopg://
            url = url.set(drivername="postgresql+pg8000")
        if url.get_backend_name() == "sqlite":
            url = url.set(database=str(config.resolve(url.database or "")))
            if reading and not Path(url.database).is_file():
                raise BatonError(f"{source}: there is no such file, and reading would make an empty one")
        is_pg8000 = url.drivername == "postgresql+pg8000"
        how = {"timeout": PATIENCE} if is_pg8000 or url.get_backend_name() == "sqlite" else {}
        how |= {"startup_params": SPOKEN} if is_pg8000 else {}
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=how)
        if is_pg8000:
            sqlalchemy.event.listen(engine, "connect", lambda connected, _: _watch(connected._usock))
        with engine.begin() as connection:
            if url.get_backend_name() == "sqlite":
                # By itself, its driver would make a table before it begins; and who reads before it writes can't wait.
                connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
            yield connection
    except BatonError:
        raise
    except Exception as error:
        raise BatonError(f"{source}: the database says: {config.hide(_reason(error), source)}") from None


def _watch(connected: socket.socket) -> None:
    """Have it noticed within `PATIENCE` if the host at the other end vanishes, however long its answer may take.

    By itself, a system asks after two hours of silence whether the other end is there.
    """
    connected.settimeout(None)
    if connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return  # it is this machine
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tries = {"TCP_KEEPIDLE": PATIENCE // 2, "TCP_KEEPINTVL": PATIENCE // 10, "TCP_KEEPCNT": 5}
    tries |= {"TCP_USER_TIMEOUT": PATIENCE * 1000}  # what was sent, and nobody says that it came
    for name, value in tries.items():
        if hasattr(socket, name):  # not every system has each
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reason(error: Exception) -> str:
    """The message of the database itself, below what each library on the way made of it."""
    while inner := getattr(error, "orig", None) or error.__cause__:
        error = inner
    fields = error.args[0] if error.args else ""  # as pg8000 gives it
    return fields.get("M", str(fields)) if isinstance(fields, dict) else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
