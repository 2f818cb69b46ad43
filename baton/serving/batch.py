"""What a batch is, where its result lies, and how it appears: whole, in one step, or not at all.

predictions/<name>/batch=<id>/     the result that readers see
predictions/<name>/.batch=<id>/    a draft of the next one: `result/` and what it is made from
predictions/<name>/_failed/        a record of each batch that failed, until it is scored
"""

import contextlib
import ctypes
import dataclasses
import datetime
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from baton import BatonError, InputStale, SchemaMismatch, SettingsError, config
from baton.data import contract as contracts
from baton.data import objects, stream, tables
from baton.handover import intervals, registry

HEAD = 10_000  # rows by which a batch is looked at before it is scored
CELLS = 2_000_000  # values of a chunk: what a process holds of a batch at once
MOST_ROWS = 100_000  # rows of a chunk
PLAN = "plan.json"  # says of a draft what it is made of
ASIDE = "replaced"  # where a result lies, in a draft, that is taken away before the new one is put in its place
FORGOTTEN = 24 * 3600  # seconds after which a draft that nobody goes on with is swept

# The keys of env.yaml that a result depends on, besides its rows and its model.
SHAPING = ("keep_columns", "explain", "bounds", "reject", "predictions_format", "predictions_table")
LATER = ("interval", "predictions_store")  # the same; left out where not set, so that batches from before stay the same


@dataclasses.dataclass(frozen=True)
class Batch:
    """One run of scoring: these rows, this model version, these options.

    `files` are the input's: path, bytes and time of the last change. `complete` says that this very batch has been
    published before, `replaces` what it takes the place of, "" for nothing, and `replaced_key` its key. `scored_at` is
    UTC, ISO 8601, the same for all of its rows.
    """

    name: str
    batch: str
    model_version: str
    run_id: str | None
    pinned: bool
    source: str
    files: list[dict]
    input_digest: str
    options: dict
    scored_at: str
    complete: bool = False
    replaces: str = ""
    replaced_key: str | None = None

    @property
    def folder(self) -> Path:
        """Where the result is published."""
        return folder_of(self.name, self.batch)

    @property
    def draft(self) -> Path:
        """Where it is made."""
        return draft_of(self.name, self.batch)

    @property
    def result(self) -> Path:
        """The folder within the draft that will be published."""
        return self.draft / "result"

    @property
    def key(self) -> str:
        """What names this result: its rows, model version and options, and whether that version is pinned."""
        asked = [self.input_digest, self.model_version, self.options, *(["pinned"] if self.pinned else [])]
        named = json.dumps(asked, sort_keys=True, default=str)
        return hashlib.sha256(named.encode()).hexdigest()[:12]

    def open(self) -> stream.Source:
        """Its rows."""
        return stream.Source(
            self.source, {file.get("address", file["path"]): config.ROOT / file["path"] for file in self.files}
        )

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def folder_of(name: str, batch: str) -> Path:
    return config.ROOT / "predictions" / name / f"batch={batch}"


def draft_of(name: str, batch: str) -> Path:
    return config.ROOT / "predictions" / name / f".batch={batch}"


def source_of(score_data: str, batch: str) -> str:
    """Where the rows of a batch come from: `score_data`, which may hold the batch's name.

    A file within the project is named from there, however it is written.
    """
    source = score_data.replace("{batch}", batch)
    if tables.is_database(source) or objects.is_address(source):
        return source
    path = os.path.normpath(config.ROOT / source)
    return os.path.relpath(path, config.ROOT) if Path(path).is_relative_to(config.ROOT) else path


def read_batch(path: str | Path) -> Batch:
    """Read the batch that `receive` wrote."""
    return Batch(**json.loads(Path(path).read_text()))


def receive(settings: config.Settings) -> tuple[Batch, registry.Model, pd.DataFrame]:
    """Say which batch is asked for, by which model it is scored, and what its first rows are.

    The alias `champion` is resolved here, once. Raises a `BatonError` of its own kind for each reason not to go on:
    no champion, no intervals of the level asked for, input that is missing, empty, too old or not what the model takes,
    or another batch of the same name that it would replace.
    """
    folder = folder_of(settings.name, settings.batch)
    _sweep(folder)
    _put_back(draft_of(settings.name, settings.batch), folder)
    before = read_published(settings.name, settings.batch, settings.predictions_store)
    source = source_of(settings.score_data, settings.batch)
    _require_same_source(before, settings, source)
    # What was scored by a version that was asked for by number stays so, until someone says otherwise.
    kept = before["model_version"] if before and before["pinned"] and not settings.replace else None
    pinned = settings.model_version or kept
    model = (
        registry.version_of(settings.name, pinned, settings.mlflow_tracking_uri)
        if pinned
        else registry.require_champion(settings.name, settings.mlflow_tracking_uri)
    )
    intervals.require(model, settings.interval)
    tables.check_destination(settings.predictions_table)
    draft = draft_of(settings.name, settings.batch)
    files = _files(source, draft / "input")
    received = Batch(
        settings.name, settings.batch, model.version, model.run_id, bool(pinned), source,
        [_describe(file, address) for address, file in files.items()], tables.digest_files([*files.values()]),
        {key: getattr(settings, key) for key in SHAPING}
        | {key: value for key in LATER if (value := getattr(settings, key)) is not None},
        datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat(),
    )  # fmt: skip
    if not tables.is_database(source):
        _require_fresh(received, settings.max_age)
    opened = received.open()
    head = opened.head(HEAD)
    settled = model.contract.settle(head)
    _require_kinds(settled, head, source)
    _require_columns(received, opened.columns, settled)
    same = bool(before) and before["key"] == received.key
    if same:  # what is scored again, for a place that it is missing from, is the same to the last byte
        received = dataclasses.replace(received, scored_at=before["scored_at"])
    if same and is_everywhere(received, before):
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(failed_folder(settings.name, settings.batch), ignore_errors=True)
        return dataclasses.replace(received, complete=True), model, head
    if kept and not settings.model_version and not same:
        raise SettingsError(
            f"batch {settings.batch} of {settings.name} was scored by version {kept}, which was asked for by number,"
            f" and its input or options have changed. Score it by the same version: --env--model_version {kept}, or by"
            " the champion: --env--replace true"
        )
    replaced = {"replaces": _described(before), "replaced_key": before and before["key"]}
    return dataclasses.replace(received, **replaced), model, head


def begin(batch: Batch, settled: contracts.Contract, chunk: int) -> Batch:
    """Open a draft, or go on with one of the same rows, model and options that was broken off, and with its time.

    `settled` is the contract by which its rows are read, `chunk` how many rows at once.
    """
    plan, earlier, token = batch.draft / PLAN, {}, uuid.uuid4().hex[:8]
    with contextlib.suppress(OSError, ValueError):
        earlier = json.loads(plan.read_text())
    # What was published elsewhere in the meantime has its time in each of its rows.
    other = batch.replaced_key == batch.key and earlier.get("scored_at") != batch.scored_at
    if (earlier.get("key"), earlier.get("chunk", chunk)) == (batch.key, chunk) and not other:
        batch, token = dataclasses.replace(batch, scored_at=earlier["scored_at"]), earlier.get("token", token)
    else:
        for path in batch.draft.glob("*"):
            if path.name != "input":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        batch.result.mkdir(parents=True)
    written = {"key": batch.key, "chunk": chunk, "scored_at": batch.scored_at, "token": token}
    write_json(plan, written | {"contract": settled.to_dict()})
    return batch


def read_manifest(folder: Path) -> dict | None:
    """Read the manifest of a published batch; None unless all that it names is there, whole."""
    try:
        written = json.loads((folder / "_manifest.json").read_text())
        whole = all((folder / part["file"]).stat().st_size == part["bytes"] for part in written["files"])
        return written if whole else None
    except (OSError, ValueError, KeyError, TypeError):  # it was cut off, or is of version 0.1
        return None


def read_published(name: str, batch: str, store: str | None) -> dict | None:
    """Read the manifest of what `predictions_store` has of a batch, or else of its folder.

    Other machines publish in the store too. Raises `BatonError` if it does not answer.
    """
    address = _address(store, name, batch)
    there = address and objects.read_manifest(address)
    return there or read_manifest(folder_of(name, batch))


def read(place: str | Path) -> pd.DataFrame:
    """Read all rows of a published batch, or of one that takes its place while it is read: never some of each.

    It lies in a folder, or at an address of an object store, such as `s3://bucket/predictions/churn/batch=2026-01-31`.
    """
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError), _as_folder(place) as folder:
            manifest = json.loads((folder / "_manifest.json").read_text())
            return pd.concat(_parts(folder, manifest), ignore_index=True)
        time.sleep(0.1)
    raise BatonError(f"{place}: its manifest, or files that this names, are gone. Score the batch again")


@contextlib.contextmanager
def _as_folder(place: str | Path) -> Iterator[Path]:
    if not objects.is_address(str(place)):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        objects.fetch_result(str(place), Path(folder))
        yield Path(folder)


def _parts(folder: Path, manifest: dict) -> Iterator[pd.DataFrame]:
    for file in (part["file"] for part in manifest["files"] if part["file"].startswith("part-")):
        yield read_part(folder / file, manifest.get("text_columns", []))


def read_part(file: Path, text_columns: list[str]) -> pd.DataFrame:
    """Read a part as it was written: in a CSV, `text_columns` are text whatever they look like.

    Whole numbers of which some are missing stay whole numbers, as pandas' `Int64`.
    """
    if file.suffix == ".parquet":
        return _to_frame(pq.read_table(file))
    how = tables.quotes_tell(dict.fromkeys(text_columns, pa.string()))
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    found = pyarrow.csv.read_csv(file, parse_options=parse, convert_options=how)
    # A column in which nothing stands, and that is no text, is one of numbers: of a batch without a row, each.
    kinds = [(one.name, pa.float64() if pa.types.is_null(one.type) else one.type) for one in found.schema]
    return _to_frame(found.cast(pa.schema(kinds)))


def _to_frame(part: pa.Table) -> pd.DataFrame:
    holes = {field.name for field in part.schema if pa.types.is_integer(field.type) and part[field.name].null_count}
    frame = part.select([name for name in part.column_names if name not in holes]).to_pandas()
    for place, name in enumerate(part.column_names):
        if name in holes:
            frame.insert(place, name, part[name].to_pandas(types_mapper={part[name].type: pd.Int64Dtype()}.get))
    return frame


def seal(batch: Batch, manifest: dict) -> dict:
    """Write the manifest of a finished draft, with the size of each file that it names; return it."""
    names = sorted(file.name for file in batch.result.iterdir() if file.name != "_manifest.json")
    sizes = [{"file": name, "bytes": (batch.result / name).stat().st_size} for name in names]
    manifest = manifest | {"files": sizes}
    write_json(batch.result / "_manifest.json", manifest)
    return manifest


def publish(batch: Batch, report: Path, record: Callable[[dict], object] = lambda manifest: None) -> dict:
    """Put a scored batch, with its report, in its place, in one step; return its manifest.

    Its `predictions_table` has all rows, but to commit them, before its `predictions_store`, where of two machines one
    is refused; then comes `record`, which is given the manifest. A run that is killed in between does all of it again,
    and nothing is doubled or left out. Raises `BatonError` if the database or the store refuses; then nothing is
    published anywhere.
    """
    shutil.copyfile(report, batch.result / "_report.html")
    manifest = seal(batch, json.loads((batch.result / "_manifest.json").read_text()))

    def put_in_store() -> None:
        if address := _address(batch.options.get("predictions_store"), batch.name, batch.batch):
            token = json.loads((batch.draft / PLAN).read_text())["token"]
            files = [batch.result / part["file"] for part in manifest["files"]]
            objects.publish(files, manifest, address, token, batch.replaced_key)

    if table := batch.options["predictions_table"]:
        key = _key_in_table(batch)
        tables.append((part.assign(**key) for part in _parts(batch.result, manifest)), table, key, put_in_store)
    else:
        put_in_store()
    record(manifest)
    for file in [*batch.result.iterdir(), batch.result]:
        _flush(file)
    (batch.draft / PLAN).unlink()  # what is in the draft now is not to be gone on with: soon it is what was replaced
    _swap(batch.result, batch.folder)
    _flush(batch.folder.parent)
    shutil.rmtree(batch.draft, ignore_errors=True)
    shutil.rmtree(failed_folder(batch.name, batch.batch), ignore_errors=True)
    return manifest


def check_table(batch: Batch, part: Path) -> None:
    """Raise `BatonError` if `predictions_table` lacks a column of a part, before the others are scored."""
    columns = [*read_part(part, []).columns, *_key_in_table(batch)]
    tables.check_destination(batch.options["predictions_table"], columns)


def failed_folder(name: str, batch: str) -> Path:
    """Where the record of a batch that failed lies; readers of `predictions/` pass over what begins with _."""
    return config.ROOT / "predictions" / name / "_failed" / f"batch={batch}"


def write_json(file: Path, content: dict) -> None:
    """Write a file of JSON, whole or not at all."""
    draft = file.with_name(f"{file.name}.draft")
    draft.write_text(json.dumps(content, indent=2, default=str))
    draft.replace(file)


def rows_of_a_chunk(head: pd.DataFrame) -> int:
    """How many rows are held at once, of a table that begins so: fewer where they have many columns, or long texts."""
    row = head.memory_usage(deep=True, index=False).sum() / max(len(head), 1)
    return max(1000, min(MOST_ROWS, CELLS // max(head.shape[1], 1), int(stream.BYTES / max(row, 1))))


def _files(source: str, folder: Path) -> dict[str, Path]:
    """The files of a source by what they are called; what is not a file here is copied to `folder`."""
    if objects.is_address(source):
        return tables.fetch(source, folder)
    found = stream.spool(source, folder, MOST_ROWS) if tables.is_database(source) else tables.files(source)
    return {str(tables.named(file)): file for file in found}


def _require_same_source(before: dict | None, settings: config.Settings, source: str) -> None:
    """Raise `SettingsError` if a batch of this name was made from another input: mostly, two files of one day."""
    if before and before["input"]["source"] != source and not settings.replace:
        raise SettingsError(
            f"batch {settings.batch} of {settings.name} was made from {before['input']['source']}"
            f" ({before['rows_in']} rows), and is asked for from {source} now. To replace it: --env--replace true. To"
            " keep both, name this one: --env--batch NAME"
        )


def _require_fresh(batch: Batch, max_age: float | None) -> None:
    """Raise `InputStale` if the newest file of the input is older than `max_age` hours."""
    newest = max(file["modified"] for file in batch.files)
    age = (time.time() - newest) / 3600
    if max_age is not None and age > max_age:
        raise InputStale(
            f"{batch.source}: its newest file is {age:.1f} hours old, and max_age allows {max_age:g}. Did what delivers"
            " it run? To score it all the same: --env--max_age none"
        )


def _require_kinds(contract: contracts.Contract, head: pd.DataFrame, source: str) -> None:
    """Raise `SchemaMismatch` if a whole column is missing, or of another kind than the model was trained on."""
    X, unreadable, infinite = contract.inspect(head, source)
    for column, rows in unreadable.items():
        if rows.sum() > 1 and not X[column].notna().any() and column not in infinite:
            raise SchemaMismatch(contracts.complaint(head[column], rows, contract.columns[column], source))


def _require_columns(batch: Batch, columns: list[str], contract: contracts.Contract) -> None:
    """Raise `SettingsError` if an option names a column that is not there, or would be written twice."""
    for column in batch.options["keep_columns"]:
        if column not in columns:
            nearest = config.did_you_mean(column, columns)
            raise SettingsError(f"keep_columns names {column!r}, which {batch.source} lacks{nearest}")
        if contracts.WRITTEN.fullmatch(column.lower() if batch.options["predictions_table"] else column):
            raise SettingsError(f"keep_columns names {column!r}, which scoring writes; rename it in the table")
    for column in batch.options["bounds"]:
        if contract.kinds.get(column) not in {"number", "date"}:
            bounded = [name for name, kind in contract.kinds.items() if kind in {"number", "date"}]
            raise SettingsError(
                f"bounds names {column!r}, which is no column of numbers or dates that the model takes"
                f"{config.did_you_mean(column, bounded)}. Those are: {', '.join(bounded)}"
            )


def same_rows(before: dict | None, batch: Batch) -> bool:
    """Tell whether a published batch was made of these rows with these options, by whatever version."""
    if before is None or before["input"]["digest"] != batch.input_digest:
        return False
    return json.dumps(before["options"], sort_keys=True) == json.dumps(batch.options, sort_keys=True, default=str)


def _key_in_table(batch: Batch) -> dict:
    """The values of `predictions_table` by which a batch's rows are found."""
    return {"model_name": batch.name, "batch": batch.batch}


def is_everywhere(batch: Batch, before: dict) -> bool:
    """Tell whether a published batch is all over: in `predictions_table`, in `predictions_store`, and in its folder.

    One that has no folder at all was published from another machine, if no draft of it is here; one that has a damaged
    one is to be scored again.
    """
    here = read_manifest(batch.folder)
    unfinished = not here and (batch.folder.exists() or (read_manifest(batch.result) or {}).get("key") == before["key"])
    if unfinished or (here and here["key"] != before["key"]):
        return False
    if table := batch.options["predictions_table"]:
        found = tables.count(table, _key_in_table(batch), ["model_version", "scored_at"])
        found = {(str(version), pd.to_datetime(at, utc=True)): rows for (version, at), rows in found.items()}
        made = str(before["model_version"]), pd.Timestamp(before["scored_at"])
        if found != ({made: before["rows_scored"]} if before["rows_scored"] else {}):
            return False
    if address := _address(batch.options.get("predictions_store"), batch.name, batch.batch):
        there = objects.read_manifest(address)
        return bool(there) and there["key"] == before["key"]
    return True


def _address(store: str | None, name: str, batch: str) -> str | None:
    """Where in `predictions_store` a batch lies."""
    return store and f"{store.rstrip('/')}/{name}/batch={batch}"


def _sweep(folder: Path) -> None:
    """Remove drafts that were left by runs that died, unless they may still be gone on with."""
    for draft in folder.parent.glob(".batch=*"):
        if draft.name != f".{folder.name}" and time.time() - draft.stat().st_mtime > FORGOTTEN:
            _put_back(draft, draft.with_name(draft.name.removeprefix(".")))
            shutil.rmtree(draft, ignore_errors=True)


def _put_back(draft: Path, folder: Path) -> None:
    """Put a result in its place again if a run was killed after it took it away, before it put the new one there."""
    if (draft / ASIDE).is_dir() and not folder.exists():
        (draft / ASIDE).rename(folder)


def _describe(file: Path, address: str) -> dict:
    found, path = file.stat(), str(tables.named(file))
    elsewhere = {} if address == path else {"address": address}
    return {"path": path, "bytes": found.st_size, "modified": found.st_mtime} | elsewhere


def _described(before: dict | None) -> str:
    """What a published batch is, in words, to be told to whoever replaces it."""
    if before is None:
        return ""
    return f"{before['rows_scored']} rows scored by version {before['model_version']} at {before['scored_at']}"


def _flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk, whatever happens to the machine."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _swap(new: Path, place: Path) -> None:
    """Put a folder in a place; what was there takes the folder's own. A reader finds one or the other at any moment.

    Where the system can't exchange two folders (network file systems, mostly), the place is empty for an instant:
    `read` waits for it.
    """
    if not place.exists():
        new.rename(place)
        return
    try:
        _exchange(new, place)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV}:
            raise
        place.rename(new.with_name(ASIDE))
        new.rename(place)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one step, by Linux's renameat2."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "no renameat2") from None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
