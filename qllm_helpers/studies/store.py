"""Where a study keeps finished units while it runs: one SQLite file in the cache folder.

A unit is written in one transaction, so a process killed at any moment leaves whole units only,
and two processes can run the same study at once: the first result of a unit stays. The journal
is SQLite's default one, not the write-ahead log: writes are rare and small, and the default also
works on the network drives of a cluster.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from qllm_helpers.files import DataError, cache_dir, sha256

_APPLICATION = 0x514C4C4D  # "QLLM": marks the file as ours
_LAYOUT = 1
_HEADER = b"SQLite format 3\x00"


class ResultStore:
    """Finished units by their key.

    Parameters
    ----------
    path : Path or None
        File; None for ``studies.sqlite`` in the cache folder (``$QLLM_CACHE_DIR``).

    Raises
    ------
    DataError
        If the file is damaged or was not made by this class. It is left as it is.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "studies.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign_header()
        self._connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self._damaged(str(error)) from error
        except DataError:
            self._connection.close()
            raise

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self.path} is not a readable store of results ({why}). It was left as it is: "
            "move it away, or set QLLM_CACHE_DIR to another folder"
        )

    def _refuse_foreign_header(self) -> None:
        # an empty file is what a process leaves that is killed before its first transaction
        if self.path.exists():
            with self.path.open("rb") as stream:
                start = stream.read(len(_HEADER))
            if start and start != _HEADER:
                raise self._damaged("another kind of file, or a damaged one")

    def _prepare(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables == 0:
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
                self._connection.execute(
                    "CREATE TABLE units (key TEXT PRIMARY KEY, specification TEXT NOT NULL, "
                    "rows TEXT NOT NULL, digest TEXT NOT NULL)"
                )
            self._check()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _check(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (layout,) = self._connection.execute("PRAGMA user_version").fetchone()
        if (application, layout) != (_APPLICATION, _LAYOUT):
            raise self._damaged("made by another program or another version")
        (state,) = self._connection.execute("PRAGMA quick_check").fetchone()
        if state != "ok":
            raise self._damaged(state)

    def get(self, key: str) -> list[dict] | None:
        """Rows of a unit.

        Parameters
        ----------
        key : str
            From :meth:`qllm_helpers.studies.grid.Unit.key`.

        Returns
        -------
        list of dict or None
            None if the unit has not been computed.

        Raises
        ------
        DataError
            If the stored rows are damaged.
        """
        try:
            found = self._connection.execute(
                "SELECT rows, digest FROM units WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error
        if found is None:
            return None
        if sha256(found[0].encode()) != found[1]:
            raise self._damaged(f"unit {key[:12]} does not match its digest")
        return json.loads(found[0])

    def add(self, key: str, specification: dict, rows: list[dict]) -> None:
        """Store the rows of a unit, unless another process was first.

        Parameters
        ----------
        key : str
        specification : dict
            What the key is made of; for people who look into the file.
        rows : list of dict
            JSON values only.

        Raises
        ------
        DataError
            If the file became unreadable.
        """
        text = json.dumps(rows, sort_keys=True)
        values = (key, json.dumps(specification, sort_keys=True), text, sha256(text.encode()))
        try:
            self._connection.execute("INSERT OR IGNORE INTO units VALUES (?, ?, ?, ?)", values)
        except sqlite3.OperationalError:
            raise  # locked for a minute, or the disk is full: not damage, and SQLite says what
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *_) -> None:
        self.close()
