"""The one error tree of housevis.

Every error that a user can cause carries three parts: what was wrong, where
(file, row, column, setting, address), and what to do about it. The command
line prints them as one message without a traceback and exits with
``exit_code``: 2 for a mistake in how the command was used, 1 for data that
cannot be processed.
"""

from __future__ import annotations

from collections.abc import Callable


class HousevisError(Exception):
    """Base of all errors that housevis raises on purpose.

    Args:
        what: What was wrong, as one sentence without a final full stop.
        where: The file, row, column, setting or address it was found in.
        remedy: What the user can do about it, as a sentence.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __reduce__(self) -> tuple[Callable[..., HousevisError], tuple[object, ...]]:
        """Keep all three parts on the way from one process to another."""
        return _restored, (type(self), self.what, self.where, self.remedy)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


def _restored(kind: type[HousevisError], what: str, where: str | None, remedy: str | None) -> HousevisError:
    return kind(what, where=where, remedy=remedy)


class UsageError(HousevisError):
    """A command, option or argument that cannot work as given."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file that is missing, malformed or inconsistent."""


class RightsError(UsageError):
    """Imagery whose terms do not allow the use, and no licence is recorded."""


class DataError(HousevisError):
    """Input data that cannot be processed."""


class ListingsError(DataError):
    """A listings file that cannot be read, or lacks a column that is needed."""


class ImageryError(DataError):
    """Imagery that is unreachable, damaged or absent."""


class DatabaseError(DataError):
    """A database that cannot be opened or does not fit this version."""


class WeightsError(DataError):
    """Network weights that are missing, damaged or not the ones expected."""


class ModelError(DataError, ValueError):
    """A model that cannot be fitted, saved, loaded or applied; a ValueError, as scikit-learn expects."""


class LeakError(ModelError):
    """An estimate of a sale by a model that was fitted on it, or an attribute that knows the price."""


class StorageError(DataError):
    """A file or folder that cannot be read or written, or a disk that is full."""


class RunError(DataError):
    """A run that does not exist, is incomplete or was made with other settings."""


class WorkerError(HousevisError):
    """Workers that cannot be reached, or that die over the same piece of work again and again."""
