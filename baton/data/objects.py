"""Files of an object store, such as S3: fetched to be read, and a result put there so that readers find it whole.

An address is `s3://bucket/path`, `gs://…` or `az://…`. Logins, regions and endpoints come from the environment, by the
names that each provider's own tools use, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.

A store is spoken with in a process of its own, for each thing that is asked: the library's threads would not be in a
process that is forked from this one later, which then waits for them for ever.
"""

import contextlib
import datetime
import functools
import glob
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from baton import BatonError, Busy, config

HIDDEN = re.compile(r"(^|/)[._]")  # of a path: .ipynb_checkpoints and _delta_log hold no rows
MANIFEST = "_manifest.json"
# Names of a result's files in a store; those of other programs are not ours to remove.
OURS = re.compile(r"(part-\d+(-[0-9a-f]{12})?|_rejects|_report)-[0-9a-z-]{1,8}\.(parquet|csv|html)")
NO_LOGIN = "http://169.254.169.254/"  # where a machine of AWS is asked for its role, if the environment has no login


class Object(NamedTuple):
    """A file of a store: its path within the bucket, its bytes, what names its content, and when it was written."""

    path: str
    size: int
    e_tag: str
    modified: datetime.datetime


def is_address(source: str) -> bool:
    """Tell an object store from files and databases."""
    return bool(re.match(r"(s3|gs|az)://", source))


def _in_a_process(function: Callable) -> Callable:
    """Have a function of this module run in a process that ends with it, and with this one."""

    @functools.wraps(function)
    def run(*arguments):
        how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": config.ROOT}
        serve = [sys.executable, "-c", "from baton.data import objects; objects.serve()"]
        with subprocess.Popen(serve, **how) as process:
            pickle.dump((function.__name__, arguments), process.stdin)
            process.stdin.flush()
            answer = process.stdout.read()
        if not answer:
            raise BatonError("the process that spoke with the object store was killed, most often for want of memory")
        failed, found = pickle.loads(answer)
        if failed:
            raise found
        return found

    return run


def serve() -> None:
    """Do what is asked on the standard input, and answer on the standard output."""
    name, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = False, globals()[name].__wrapped__(*arguments)
    except Exception as error:
        answer = True, error
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    os._exit(0)  # at once: the thread that reads would be waited for


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def find(source: str, is_data: Callable[[PurePosixPath], bool]) -> list[Object]:
    """The files that an address, a folder or a pattern names, sorted; in a folder, those that are data."""
    bucket, path = _divide(source)
    fixed = "/".join(itertools.takewhile(lambda part: not glob.has_magic(part), path.split("/")))
    listed = list_objects(bucket, path, fixed, source)
    if [one.path for one in listed] == [path]:
        return listed
    if glob.has_magic(path):
        pattern = re.compile(glob.translate(path, recursive=True, include_hidden=True, seps="/"))
        # Without those of no bytes that stand for folders.
        found = [one for one in listed if pattern.match(one.path) and (one.size or is_data(PurePosixPath(one.path)))]
    else:
        found = [one for one in listed if is_data(PurePosixPath(one.path))]
    return sorted(one for one in found if not HIDDEN.search(one.path.removeprefix(fixed)))


@_in_a_process
def list_objects(bucket: str, path: str, fixed: str, source: str) -> list[Object]:
    """The file of a path, if there is one; else all that are in the folder `fixed`."""
    with _opened(bucket, source) as (store, library):
        if path:
            with contextlib.suppress(FileNotFoundError):
                return [_described(library.head(store, path))]
        return [_described(meta) for meta in library.list(store, prefix=fixed or None).collect()]


@_in_a_process
def fetch(source: str, found: list[Object], folder: Path) -> dict[str, Path]:
    """Copy files that `find` has found to a folder, with the times of their last change.

    Returns them by their addresses.
    """
    bucket, _ = _divide(source)
    above = PurePosixPath(os.path.commonpath([PurePosixPath(one.path).parent for one in found]))
    files = {}
    with _opened(bucket, source) as (store, library):
        for one in found:
            file = folder / PurePosixPath(one.path).relative_to(above)
            _copy(library.get(store, one.path, options={"if_match": one.e_tag}), file)
            os.utime(file, (one.modified.timestamp(),) * 2)
            files[f"{bucket}/{one.path}"] = file
    return files


@_in_a_process
def publish(files: list[Path], manifest: dict, address: str, token: str, replacing: str | None) -> None:
    """Put a result in the place of the one that is there: its files first, then the manifest that names them.

    A reader goes by the manifest, and so finds the former result or this one. What no manifest names is removed
    afterwards: the former's files, and those of a run that was killed. `token` makes names that no other result has,
    and the same again for a run that goes on with this one. A result of the same `key` that is there stays. Raises
    `Busy` if there is another than the one of the key `replacing`, which stays too.
    """
    with _opened(address, address) as (store, library):
        former, e_tag = _manifest(store, library)
        if former and _is_whole(store, library, former):
            if former["key"] == manifest["key"]:
                _remove_unnamed(store, library, set())
                return
            if former["key"] != replacing:
                raise _overtaken(address)
        named = {f"{file.stem}-{token}{file.suffix}": file for file in files}
        for name, file in named.items():
            library.put(store, name, file)
        sizes = [{"file": name, "bytes": file.stat().st_size} for name, file in named.items()]
        content = json.dumps(manifest | {"files": sizes}, indent=2, default=str).encode()
        try:
            library.put(store, MANIFEST, content, mode={"e_tag": e_tag} if e_tag else "create", use_multipart=False)
        except (library.exceptions.AlreadyExistsError, library.exceptions.PreconditionError):
            former, _ = _manifest(store, library)
            _delete(store, library, {*named} - _names(former))
            if not former or former["key"] != manifest["key"]:
                raise _overtaken(address) from None
        _remove_unnamed(store, library, _names(former))


@_in_a_process
def read_manifest(address: str) -> dict | None:
    """Read the manifest of a result in a store; None unless all that it names is there, whole."""
    with _opened(address, address) as (store, library):
        manifest, _ = _manifest(store, library)
        return manifest if manifest and _is_whole(store, library, manifest) else None


@_in_a_process
def fetch_result(address: str, folder: Path) -> bool:
    """Copy a result, manifest and all, to a folder; False if it is not there, or another takes its place meanwhile."""
    with _opened(address, address) as (store, library), contextlib.suppress(FileNotFoundError):
        manifest, _ = _manifest(store, library)
        for part in manifest["files"] if manifest else ():
            _copy(library.get(store, part["file"]), folder / part["file"])
        if manifest:
            (folder / MANIFEST).write_text(json.dumps(manifest))
            return True
    return False


def _manifest(store, library) -> tuple[dict | None, str | None]:
    """The manifest that is there, and what names its content."""
    try:
        answer = library.get(store, MANIFEST)
    except FileNotFoundError:
        library.list(store).collect()  # which a bucket that is not there refuses
        return None, None
    manifest = json.loads(bytes(answer.bytes()))
    if not isinstance(manifest, dict) or not {"files", "key"} <= manifest.keys():
        raise BatonError(
            f"predictions_store: there is a {MANIFEST} in a batch's folder that no batch has written. Remove it, or"
            " name another place"
        )
    return manifest, answer.meta["e_tag"]


def _names(manifest: dict | None) -> set[str]:
    return {part["file"] for part in manifest["files"]} if manifest else set()


def _remove_unnamed(store, library, former: set[str]) -> None:
    """Remove the files of the former result, and what no manifest names and is older than the one that is there.

    Who put it there can't publish it any more: the manifest is another one than before.
    """
    listed = {meta["path"]: meta["last_modified"] for meta in library.list(store).collect()}
    manifest, _ = _manifest(store, library)
    named = {MANIFEST, *_names(manifest)}
    ours = {name: modified for name, modified in listed.items() if OURS.fullmatch(name)}
    old = {name for name, modified in ours.items() if MANIFEST in listed and modified < listed[MANIFEST]}
    _delete(store, library, (former & listed.keys() | old) - named)


def _delete(store, library, names: set[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # another run was first
            library.delete(store, name)


def _overtaken(address: str) -> Busy:
    return Busy(
        f"{address}: another run has published this batch there in the meantime, and its result stays. If this one is"
        " to take its place, run it again"
    )


def _copy(answer, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        for part in answer.stream():
            opened.write(part)


def _is_whole(store, library, manifest: dict) -> bool:
    sizes = {meta["path"]: meta["size"] for meta in library.list(store).collect()}
    return all(sizes.get(part["file"]) == part["bytes"] for part in manifest["files"])


def _divide(source: str) -> tuple[str, str]:
    """The address of a bucket, and the path within it."""
    scheme, _, rest = source.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path.strip("/")


def _described(meta: dict) -> Object:
    return Object(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])


@contextlib.contextmanager
def _opened(address: str, source: str) -> Iterator[tuple[Any, Any]]:
    """Open what an address names; what the store refuses is a `BatonError` that names `source`."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise BatonError(
            f"{source}: an object store needs obstore, which is not installed. Add 'object-store' to GROUPS in"
            " noxfile.py"
        ) from None
    try:
        # Without TLS where the endpoint has none: a store on this machine, or behind a proxy of the same one.
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        bucket, path = _divide(address)
        url = f"{bucket}/{urllib.parse.quote(path)}"  # a % in an address is one in the path, too
        yield obstore.store.from_url(url, client_options={"allow_http": plain}), obstore
    except (obstore.exceptions.BaseError, FileNotFoundError) as error:  # the second, where there is no such bucket
        said = re.search(r"<Message>(.*?)</Message>", str(error), re.DOTALL)
        reason = said[1] if said else str(error).strip().splitlines()[0]
        if NO_LOGIN in reason:
            reason = (
                "there is no login for it. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run as a role that may"
            )
        elif "403 Forbidden" in reason:
            reason = f"this login may not do it, or its secret is wrong: {reason}"
        raise BatonError(f"{source}: the object store says: {reason}") from None
