"""Where the files of the embedded store lie: in `mlruns` beside its SQLite file, whatever folder that is in.

By itself MLflow writes the location of every file into the store as an absolute path, so a copy of the folder reads the
original's files, and fails once they are gone. Here the store says `baton:/mlruns/...`, and MLflow asks `open_files`
what that means: an entry point in pyproject.toml tells it so, in each program of an environment that has Baton.
"""

import contextlib
import sqlite3
import urllib.parse
import urllib.request
from pathlib import Path

SCHEME = "baton"

# The columns that hold locations.
LOCATIONS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
]


def file_of(uri: str) -> Path | None:
    """The file of an embedded store; None for a server."""
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database).resolve() if uri.startswith("sqlite:") else None


def location(experiment: str) -> str:
    """Where the files of an experiment lie, as its store is told."""
    return f"{SCHEME}:/mlruns/{experiment}"


def open_files(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None):
    """Give MLflow the repository of the files at `baton:/mlruns/...`, for the store that the tracking URI names."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    store = tracking_uri or mlflow.get_tracking_uri()
    file = file_of(store)
    if file is None:
        raise MlflowException(
            f"{artifact_uri} lies beside the SQLite file of its store, but the tracking URI is {store!r}: set it to"
            " sqlite:///FOLDER/mlflow.db"
        )
    return LocalArtifactRepository(path_of(artifact_uri, file).as_uri(), tracking_uri, registry_uri)


def path_of(artifact_uri: str, file: Path) -> Path:
    """What `baton:/mlruns/...` means for a store's file."""
    return file.parent / urllib.request.url2pathname(urllib.parse.urlsplit(artifact_uri).path.lstrip("/"))


def make_movable(file: Path) -> None:
    """Rewrite absolute locations, as older versions and MLflow itself make them, if what they mean is beside the store.

    It is if they name this very folder; or another, from which the store was moved or copied with its files: then the
    absolute path would mean the original's. The locations of any other folder stay as they are.
    """
    with contextlib.closing(sqlite3.connect(file)) as store, store:
        absolute = [
            (table, column, written, *_split(written))
            for table, column in LOCATIONS
            for (written,) in store.execute(
                f"SELECT DISTINCT {column} FROM {table}"
                f" WHERE {column} LIKE 'file:%/mlruns/%' OR {column} LIKE '/%/mlruns/%'"
            )
        ]
        ours = {folder for *_, folder, inside in absolute if folder == file.parent or (file.parent / inside).exists()}
        for table, column, written, folder, inside in absolute:
            if folder in ours:
                there = f"{SCHEME}:/{urllib.parse.quote(inside)}"
                store.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (there, written))


def _split(location: str) -> tuple[Path, str]:
    """Part an absolute location into the folder that `mlruns` is in, and what follows."""
    path = Path.from_uri(location) if location.startswith("file:") else Path(location)
    folder, mlruns, inside = path.as_posix().rpartition("/mlruns/")
    return Path(folder), mlruns[1:] + inside
