"""Virtual environments that hold one artefact, what it needs, and nothing of the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path


class Environment:
    """A clean virtual environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / "bin"
        # What a developer has set must not lead back into the tree.
        self._variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEFERPOWER_", "PYTHON"))
        }

    def install(self, *what: str) -> None:
        """Install requirements, files or ``--group`` options, with the pip of this interpreter."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        subprocess.run([*pip, "install", "--quiet", *what], env=self._variables, check=True)

    def variables(self, **more: str) -> dict[str, str]:
        """The environment variables for its programs, with ``more`` of them."""
        return {**self._variables, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", **more}

    def output(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        """What one of its programs prints."""
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=cwd,
            env=self.variables(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout


def has_cargo() -> bool:
    """Whether a source distribution becomes the native wheel here."""
    return shutil.which("cargo") is not None
