"""A lock of the project: what must not run twice at once."""

from filelock import FileLock, Timeout

from baton import Busy, config

PATIENCE = 5  # seconds: a process that was killed has workers, which notice a moment later


def hold(file: str):
    """Take a lock, which the system lets go when this process ends, however it does; a context manager.

    A process may take again what it has. Raises `Busy` if another process has it.
    """
    path = config.ROOT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(path, is_singleton=True).acquire(timeout=PATIENCE)
    except Timeout:
        raise Busy(
            "Another build of this pipeline and name is running in this folder. Build again when it has ended."
        ) from None
