"""Directories for what does not fit into memory for a while. What a process that was killed left is removed by others."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...schema.errors import Unavailable

_PREFIX = "flameduck-work-"


@contextmanager
def work_directory(parent: str) -> Iterator[Path]:
    """An empty directory below `parent`, gone afterwards. Raises `Unavailable` when the disk does not take it."""
    try:
        os.makedirs(parent, exist_ok=True)
        _remove_abandoned(parent)
        path, lock = _made_and_locked(parent)
    except OSError as error:
        raise Unavailable(f"{parent}: {error.strerror or error}") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _made_and_locked(parent: str) -> tuple[Path, int]:
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        lock = _locked(path)
        # Before the lock was there, another process may have taken the directory for abandoned.
        if lock is not None and os.path.exists(path):
            return Path(path), lock
        if lock is not None:
            os.close(lock)


def _remove_abandoned(parent: str) -> None:
    """A lock ends with its process, however that ends."""
    for path in Path(parent).glob(f"{_PREFIX}*"):
        lock = _locked(str(path))
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(path: str) -> int | None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None
