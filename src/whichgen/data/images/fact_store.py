"""Store the facts about image files, and thumbnails of the images, in an SQLite database."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from whichgen.data.images.image_facts import ImageFacts
from whichgen.errors import StoreError, WhichgenWarning
from whichgen.io.atomic_writes import is_permission_error
from whichgen.option_names import name_option

#: File name of the database. Increase the number if facts are computed or encoded differently, so
#: that facts from earlier versions are not used.
_FILE_NAME = "facts-2.sqlite"

_TABLE = """
CREATE TABLE IF NOT EXISTS images (
    digest BLOB PRIMARY KEY, facts TEXT NOT NULL, thumbnail BLOB NOT NULL, has_history INTEGER
) WITHOUT ROWID
"""

#: Number of images whose facts are collected in memory before they are written.
_FLUSH_IMAGES = 512

#: Maximum number of digests per query. Old versions of SQLite allow 999 parameters.
_MAX_DIGESTS = 500

#: Maximum time in seconds to wait while another thread or process writes to the database.
_TIMEOUT = 60.0

#: Error codes of a database that is read-only, or that can't be created in its folder.
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)

#: Error codes of a damaged database. SQLite reports a table with the wrong columns as SQLITE_ERROR.
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)

_FACTS = TypeAdapter(ImageFacts)

T = TypeVar("T")


class _DamagedDatabaseError(StoreError):
    """The database was damaged and has been deleted."""


class FactStore:
    """Facts about image files, and thumbnails of the images, in an SQLite database.

    Files are identified by their digest. If the folder is read-only, new facts and thumbnails are
    kept in memory.

    Parameters
    ----------
    folder
        Folder of the database; ``None`` to keep all facts and thumbnails in memory.

    Raises
    ------
    StoreError
        The database can't be created or read, for example because the disk is full.

    Warns
    -----
    WhichgenWarning
        The database is damaged. It is replaced with an empty database, because the facts can be
        collected again.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / _FILE_NAME if folder else None
        self._new_entries: dict[bytes, tuple[ImageFacts, bytes]] = {}
        self._lock = threading.Lock()
        query = "SELECT digest, has_history FROM images"
        #: Maps the digest of each file in the store to whether its facts include the JPEG history.
        self._has_history: dict[bytes, int] = {}
        try:
            self._has_history = (
                self._run(lambda database: dict(database.execute(query).fetchall())) or {}
            )
        except _DamagedDatabaseError:
            warnings.warn(
                f"{self._file} was damaged and has been deleted; the image files are read again",
                WhichgenWarning,
                stacklevel=2,
            )

    def has_facts(self, digest: bytes, *, with_history: bool = False) -> bool:
        """Return whether the store has the facts about a file.

        Parameters
        ----------
        digest
            Digest of the file (:func:`~whichgen.data.images.decoding.hash_image`).
        with_history
            Whether the facts must include the JPEG history.
        """
        if with_history:
            return bool(self._has_history.get(digest))
        return digest in self._has_history

    def add(self, facts: ImageFacts, thumbnail: bytes) -> None:
        """Add or replace the facts and the thumbnail of a file; can be called from any thread.

        They are written to the database later, at the latest by :meth:`flush`.

        Parameters
        ----------
        facts
            The facts, which include the digest of the file.
        thumbnail
            Encoded thumbnail of the image.

        Raises
        ------
        StoreError
            The database can't be written, for example because the disk is full.
        """
        with self._lock:
            self._new_entries[facts.digest] = facts, thumbnail
            self._has_history[facts.digest] = facts.history is not None
            is_due = len(self._new_entries) % _FLUSH_IMAGES == 0
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write the facts and thumbnails that are only in memory to the database.

        They stay in memory if the folder is ``None`` or read-only.

        Raises
        ------
        StoreError
            See :meth:`add`.
        """

        def insert(database: sqlite3.Connection) -> bool:
            rows = (
                (facts.digest, _FACTS.dump_json(facts), thumbnail, facts.history is not None)
                for facts, thumbnail in self._new_entries.values()
            )
            database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", rows)
            return True

        with self._lock:
            is_written = bool(self._new_entries) and self._run(insert)
            if is_written:
                self._new_entries.clear()

    def read_facts(self, digests: Sequence[bytes]) -> dict[bytes, ImageFacts]:
        """Return a dictionary from digests to facts; digests that the store lacks are omitted.

        Raises
        ------
        StoreError
            The database can't be read, for example because it is damaged.
        """
        texts: dict[bytes, str] = self._select(
            "SELECT digest, facts FROM images WHERE digest IN (%s)", digests
        )
        facts = {digest: _FACTS.validate_json(text) for digest, text in texts.items()}
        return facts | {d: self._new_entries[d][0] for d in digests if d in self._new_entries}

    def read_thumbnails(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return a dictionary from digests to thumbnails; digests that the store lacks are omitted.

        Raises
        ------
        StoreError
            See :meth:`read_facts`.
        """
        query = "SELECT digest, thumbnail FROM images WHERE digest IN (%s)"
        thumbnails: dict[bytes, bytes] = self._select(query, digests)
        return thumbnails | {d: self._new_entries[d][1] for d in digests if d in self._new_entries}

    def _select(self, query: str, digests: Sequence[bytes]) -> dict[bytes, T]:
        """Return a dictionary from the first to the second column of a query's result.

        ``query`` selects two columns and contains ``%s``, which is replaced by placeholders for the
        digests.
        """
        rows: dict[bytes, T] = {}

        def select(database: sqlite3.Connection) -> None:
            for start in range(0, len(digests), _MAX_DIGESTS):
                part = digests[start : start + _MAX_DIGESTS]
                rows.update(database.execute(query % ",".join("?" * len(part)), part))

        self._run(select)
        return rows

    def _run(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Call a function with a connection to the database, and return its result.

        Return ``None`` if the store has no folder, or if the folder or the database would have to
        be changed but is read-only. Each call opens its own connection, because a connection can be
        used by a single thread only.
        """
        if self._file is None:
            return None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=_TIMEOUT)) as database, database:
                database.execute(_TABLE)
                return action(database)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _READ_ONLY:
                return None
            if code in _DAMAGED and self._file.is_file():
                try:
                    self._file.unlink(missing_ok=True)
                except OSError:  # for example, the folder is read-only
                    return None
                self._has_history = {
                    digest: facts.history is not None
                    for digest, (facts, _) in self._new_entries.items()
                }
                raise _DamagedDatabaseError(
                    f"{self._file} was damaged ({error}) and has been deleted. Try again."
                ) from error
            folder = name_option("--cache-dir", "folder")
            advice = (
                f"No space left on device. Free some disk space or choose another {folder}."
                if code == sqlite3.SQLITE_FULL
                else f"Try again, or choose another {folder}."
            )
            raise StoreError(f"can't use {self._file} ({error}). {advice}") from error
        except OSError as error:
            if is_permission_error(error):
                return None
            raise StoreError(
                f"can't create {self._file.parent} ({error}). Choose another "
                f"{name_option('--cache-dir', 'folder')}."
            ) from error
