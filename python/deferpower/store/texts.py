"""Texts that many tasks share, each kept once: what is to be done, and what it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deferpower.store.records import damaged

if TYPE_CHECKING:
    from deferpower.store.database import Database


class Texts:
    """One table of texts, and the ids that were seen of it. Rows are never changed nor deleted."""

    def __init__(self, database: Database, table: Literal["specs", "lanes"]) -> None:
        self._database = database
        self._table = table
        self._select_id = f"SELECT id FROM {table} WHERE text = ?"
        self._select_text = f"SELECT text FROM {table} WHERE id = ?"
        self._insert = f"INSERT INTO {table} (text) VALUES (?) ON CONFLICT DO NOTHING"
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def id_of(self, text: str) -> int:
        """The id of a text, which is added if it is new. Opens a transaction of its own then."""
        found = self._ids.get(text)
        if found is None:
            found = self._database.read(lambda cursor: cursor.execute(self._select_id, (text,)).get)
            if found is None:
                found = self._database.write(
                    lambda cursor: (
                        cursor.execute(self._insert, (text,)),
                        cursor.execute(self._select_id, (text,)).get,
                    )[1]
                )
            self._note(found, text)
        return found

    def text_of(self, text_id: int) -> str:
        """The text of an id."""
        found = self._texts.get(text_id)
        if found is None:
            found = self._database.read(
                lambda cursor: cursor.execute(self._select_text, (text_id,)).get
            )
            if found is None:
                raise damaged(f"{self._table} {text_id}", "there is no such row")
            if not isinstance(found, str):
                raise damaged(f"{self._table} {text_id}", f"text is {found!a:.80}")
            self._note(text_id, found)
        return found

    def _note(self, text_id: int, text: str) -> None:
        self._ids[text] = text_id
        self._texts[text_id] = text
