"""Files that somebody else may have put in place of ours, or beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deferpower.errors import StoreError
from deferpower.store.database import Database
from store.support import SCHEMA, add, notes
from waiting import PATIENCE_S

STRANGER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file another user's")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "agent.db"
    with Database(found, SCHEMA) as database:
        database.write(add("mine"))
    return found


def refuse(path: Path, saying: str) -> None:
    with pytest.raises(StoreError, match=saying):
        Database(path, SCHEMA)


@as_root
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_file_that_a_stranger_planted_is_not_used(is_empty: bool, path: Path) -> None:
    """Else its commands would be run as this user."""
    if is_empty:
        path.write_bytes(b"")
    before = path.read_bytes()
    os.chown(path, STRANGER, STRANGER)
    path.chmod(0o666)
    refuse(path, "another user's file")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208


def test_a_file_that_everybody_may_write_to_is_not_used(path: Path) -> None:
    path.chmod(0o666)
    refuse(path, "everybody may write to it")
    path.chmod(0o660)
    with Database(path, SCHEMA) as database:
        assert notes(database) == ["mine"]


def test_a_file_of_two_names_is_not_used(path: Path) -> None:
    """Each name would have a log of its own."""
    other = path.with_name("other.db")
    other.hardlink_to(path)
    refuse(path, "2 names")
    refuse(other, "2 names")
    other.unlink()
    Database(path, SCHEMA).close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo", "stranger"])
def test_what_lies_where_the_logs_go_is_neither_followed_nor_taken_in(
    suffix: str, kind: str, path: Path, tmp_path: Path
) -> None:
    victim, beside = tmp_path / "victim", Path(f"{path}{suffix}")
    victim.write_text("not yours")
    match kind:
        case "link":
            beside.symlink_to(victim)
        case "dangling":
            beside.symlink_to(tmp_path / "nowhere")
        case "directory":
            beside.mkdir()
        case "fifo":
            os.mkfifo(beside)
        case "stranger":
            if os.geteuid() != 0:
                pytest.skip("only root can make a file another user's")
            beside.write_bytes(b"\0" * 4096)
            os.chown(beside, STRANGER, STRANGER)
    refuse(path, f"{beside}: not a file of this user's")
    assert victim.read_text() == "not yours"
    assert not (tmp_path / "nowhere").exists()


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "make", [os.mkfifo, make_socket, lambda path: path.symlink_to("/dev/null")]
)
def test_what_is_no_file_is_not_opened(make: Callable[[Path], object], tmp_path: Path) -> None:
    """Opening a FIFO would wait for ever."""
    make(tmp_path / "odd")
    refuse(tmp_path / "odd", "not a regular file")


def test_a_directory_that_may_not_be_searched_is_said(path: Path) -> None:
    program = (
        "import sys\nfrom deferpower.errors import StoreError\n"
        "from deferpower.store.database import Database\n"
        "try: Database(sys.argv[1], sys.argv[2:])\n"
        "except StoreError as error: print(error)"
    )
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    path.parent.chmod(0o600)
    try:
        done = subprocess.run(
            [*(prefix if os.geteuid() == 0 else []), sys.executable, "-c", program, path, *SCHEMA],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        path.parent.chmod(0o700)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{path}: permission denied")
