"""Rows that make no sense, kept as they are beside their table for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw


def keep(cursor: apsw.Cursor, table: str, row_id: int) -> None:
    """Copy a row, whatever is in it, into the table ``TABLE_damaged``.

    That is made when it is first needed; one of an older version gets the columns that it lacks.
    """
    aside = f"{table}_damaged"
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {aside} AS SELECT * FROM {table} WHERE 0")
    columns = _columns(cursor, table)
    known = _columns(cursor, aside)
    for column in columns:
        if column not in known:
            cursor.execute(f"ALTER TABLE {aside} ADD COLUMN {column}")
    names = ", ".join(columns)
    cursor.execute(
        f"INSERT INTO {aside} ({names}) SELECT {names} FROM {table} WHERE id = ?", (row_id,)
    )


def _columns(cursor: apsw.Cursor, table: str) -> list[str]:
    return [
        str(row[0]) for row in cursor.execute("SELECT name FROM pragma_table_info(?)", (table,))
    ]
