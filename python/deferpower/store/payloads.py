"""Large contents, each in a file of its own beside the database: ``agent.db-payloads/``.

A file is on the disk before the row that names it is committed, and goes after the row has gone.
What a crash leaves in between is swept away when the database is opened the next time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deferpower.errors import StoreError
from deferpower.store.failures import refused

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Payloads:
    """The files of one database, named after tokens that are never used twice."""

    def __init__(self, database_path: str) -> None:
        """Nothing is made before the first file is."""
        self._directory = Path(f"{database_path}-payloads")

    def path(self, token: bytes) -> Path:
        """The file of a token."""
        return self._directory / token.hex()

    @contextlib.contextmanager
    def writing(self, contents: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
        """Have files on the disk before the block runs, which commits what names them.

        If it fails, they go again. No sweep comes in between. After an interrupt they stay, since
        it may have come after the commit: the next sweep can tell.

        Raises:
            StoreError: one cannot be written.
        """
        written: list[bytes] = []
        with self._locked(fcntl.LOCK_SH, make=True) as directory:
            try:
                for token, content in contents:
                    written.append(token)
                    self._write(directory, token, content)
                os.fsync(directory)
                yield
            except Exception as error:
                self.remove(written)
                if isinstance(error, OSError) and not isinstance(error, StoreError):
                    raise refused(str(self._directory), error) from error
                raise

    def _write(self, directory: int, token: bytes, content: bytes) -> None:
        descriptor = os.open(token.hex(), _NEW_FILE, 0o600, dir_fd=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def remove(self, tokens: Iterable[bytes]) -> None:
        """Delete files; one that cannot be is swept away later."""
        for token in tokens:
            with contextlib.suppress(OSError):
                self.path(token).unlink()

    def sweep(self, used: Callable[[], Iterable[object]]) -> None:
        """Delete what no row names, unless somebody is writing just now.

        Args:
            used: gives the tokens that rows name. Where one has no file, a file may have lost its
                row to damage: then nothing is deleted.
        """
        if not self._directory.is_dir():
            return
        with contextlib.suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            found = [entry.name for entry in self._directory.iterdir()]
            tokens = {bytes.fromhex(name) for name in found if _is_ours(name)}
            named = set(used())
            if named <= tokens:
                self.remove(tokens - named)

    @contextlib.contextmanager
    def _locked(self, kind: int, *, make: bool = False) -> Iterator[int]:
        """The directory, ours alone and locked, as a descriptor."""
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    self._directory.mkdir(0o700)
            descriptor = os.open(self._directory, _DIRECTORY)
        except OSError as error:
            raise refused(str(self._directory), error) from error
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid():
                raise StoreError(
                    f"{self._directory}: another user's directory; move it away, "
                    "or give another path for the database"
                )
            if stat.S_IMODE(status.st_mode) != 0o700:
                os.fchmod(descriptor, 0o700)
            fcntl.flock(descriptor, kind)
            yield descriptor
        finally:
            os.close(descriptor)


def _is_ours(name: str) -> bool:
    return len(name) == 32 and all(character in "0123456789abcdef" for character in name)
