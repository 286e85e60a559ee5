"""Every error this package raises, as one tree.

    FlameduckError
    ├── InputError            what came in cannot be taken
    │   ├── UnknownFormat     no reader recognises the bytes
    │   ├── CorruptProfile    a reader recognises them and cannot finish
    │   └── LimitExceeded     a size or a count is over its limit
    ├── RequestError          a question cannot be answered as asked
    │   ├── InvalidSelector   a label selector does not parse
    │   ├── InvalidTime       a time or a range does not parse
    │   ├── UnknownType       no profile type, or several, fit the name
    │   └── InvalidSql        the SQL does not parse, bind or run
    ├── SettingsError         a setting is unknown or out of range
    ├── StorageError          the store cannot do it
    │   ├── ObjectMissing     an object is not there
    │   ├── ObjectExists      an exclusive create lost
    │   ├── CommitConflict    a catalog entry removes a block that is gone
    │   └── CorruptBlock      stored bytes contradict their checksum or each other
    ├── BrokenPlugin          what another package brings does not work
    └── Unavailable           try again later
        └── Overloaded        there is too much to do: slow down

`exit_status` is the one table from class to CLI exit code and HTTP status.
"""

from __future__ import annotations

from typing import ClassVar


class FlameduckError(Exception):
    """The root. `transient` says whether the same call may succeed later."""

    transient: ClassVar[bool] = False


class InputError(FlameduckError):
    """What came in cannot be taken."""


class UnknownFormat(InputError):
    """No reader recognises the bytes."""


class CorruptProfile(InputError):
    """A reader recognises the bytes and cannot finish.

    `profile` is the number of the bad profile in its batch, where a batch was read.
    """

    def __init__(self, reason: str, profile: int | None = None) -> None:
        super().__init__(reason)
        self.profile = profile


class LimitExceeded(InputError):
    """A size or a count is over its limit; the message names field, limit and value."""


class RequestError(FlameduckError):
    """A question cannot be answered as asked."""


class InvalidSelector(RequestError):
    """A label selector does not parse."""


class InvalidTime(RequestError):
    """A time or a time range does not parse."""


class UnknownType(RequestError):
    """No profile type, or more than one, fits the name that was given."""


class InvalidSql(RequestError):
    """The SQL does not parse, bind or run."""


class SettingsError(FlameduckError):
    """A setting is unknown or out of range."""


class StorageError(FlameduckError):
    """The store cannot do it."""


class ObjectMissing(StorageError):
    """An object is not there."""


class ObjectExists(StorageError):
    """An exclusive create found the object already there."""


class CommitConflict(StorageError):
    """A catalog entry removes a block that is no longer live."""

    transient = True


class CorruptBlock(StorageError):
    """Stored bytes contradict their checksum or each other."""


class BrokenPlugin(FlameduckError):
    """A format or an output of another package does not work; the message names both."""


class Unavailable(FlameduckError):
    """Try again later."""

    transient = True


class Overloaded(Unavailable):
    """There is too much to do: slow down. The message names the limit."""


_STATUS: tuple[tuple[type[FlameduckError], int, int], ...] = (
    (LimitExceeded, 1, 413),
    (InputError, 1, 400),
    (RequestError, 2, 400),
    (SettingsError, 2, 400),
    (ObjectMissing, 1, 404),
    (CommitConflict, 1, 409),
    (StorageError, 1, 500),
    (Overloaded, 1, 429),
    (Unavailable, 1, 503),
    (FlameduckError, 1, 500),
)


def exit_status(error: FlameduckError) -> tuple[int, int]:
    """(CLI exit code, HTTP status) of an error; the first class that fits decides."""
    return next((code, status) for kind, code, status in _STATUS if isinstance(error, kind))
