"""Texts that many tasks share, each kept once: what is to be done, and what it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deferpower.store.records import damaged

if TYPE_CHECKING:
    import apsw

    from deferpower.store.database import Database

MOST_NOTED = 1000
"""So many rows at most are noted in memory; more are looked up again."""


class Texts:
    """One table of texts, and the ids that were seen of it. No id is ever used again."""

    def __init__(self, database: Database, table: Literal["specs", "lanes"]) -> None:
        self._database = database
        self._table = table
        self._select_id = f"SELECT id FROM {table} WHERE text = ?"
        self._select_text = f"SELECT text FROM {table} WHERE id = ?"
        self._select_one = f"SELECT 1 FROM {table} WHERE id = ?"
        self._insert = f"INSERT INTO {table} (text) VALUES (?) ON CONFLICT DO NOTHING"
        self._ids: dict[str, int] = {}

    def id_of(self, text: str) -> int:
        """The id of a text, which is added if it is new. Opens a transaction of its own then."""
        found = self._ids.get(text)
        if found is None:
            found = self._database.read(lambda cursor: self.find(cursor, text))
            if found is None:
                found = self._database.write(lambda cursor: self.add(cursor, text))
            if len(self._ids) >= MOST_NOTED:
                self._ids.clear()
            self._ids[text] = found
        return found

    def find(self, cursor: apsw.Cursor, text: str) -> int | None:
        """The id of a text; ``None`` if it is not there."""
        found: int | None = cursor.execute(self._select_id, (text,)).get
        return found

    def add(self, cursor: apsw.Cursor, text: str) -> int:
        """The id of a text, which is added if it is not there."""
        cursor.execute(self._insert, (text,))
        added: int = cursor.execute(self._select_id, (text,)).get
        return added

    def has(self, cursor: apsw.Cursor, text_id: int) -> bool:
        """Whether an id is there still."""
        return cursor.execute(self._select_one, (text_id,)).get is not None

    def forget(self, text: str) -> None:
        """Look a text up again when it is asked for next."""
        self._ids.pop(text, None)

    def text_of(self, text_id: int, cursor: apsw.Cursor | None = None) -> str:
        """The text of an id, in the transaction of a cursor or one of its own."""
        if cursor is None:
            return self._database.read(lambda cursor: self.text_of(text_id, cursor))
        found = cursor.execute(self._select_text, (text_id,)).get
        if found is None:
            raise damaged(f"{self._table} {text_id}", "there is no such row")
        if not isinstance(found, str):
            raise damaged(f"{self._table} {text_id}", f"text is {found!a:.80}")
        return found
