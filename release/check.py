"""Installs an artefact into a clean environment and runs the suite on what is installed.

    python -m release.check ARTEFACT [OPTION OF PYTEST ...]

The suite comes from the source distribution beside the artefact, without the package itself: a test
that reads the source tree fails. A source distribution becomes the wheel that this machine builds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.build import unpack
from release.environment import Environment, has_cargo

PARALLEL = ["-n", "3", "--dist", "loadscope"]


def check(artefact: Path, options: list[str]) -> None:
    """Run the suite on ``artefact``.

    Raises:
        SystemExit: what is installed is not what the artefact should give, or a test failed.
    """
    (sdist,) = artefact.parent.glob("*.tar.gz")
    native = has_cargo() if artefact == sdist else "-abi3-" in artefact.name
    with tempfile.TemporaryDirectory() as folder:
        project = unpack(sdist, Path(folder))
        shutil.rmtree(project / "python")
        environment = Environment(Path(folder, "environment"))
        environment.install(str(artefact), "--group", f"{project}/pyproject.toml:test")
        check_install(environment, project, native)
        backends = "native,pure" if native else "pure"
        print(f"{artefact.name}: the suite on {backends}", flush=True)
        done = subprocess.run(
            [environment.bin / "pytest", *PARALLEL, "-m", "not packaging", *options],
            cwd=project,
            env=environment.variables(DEFERPOWER_TEST_BACKENDS=backends),
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"check: the suite failed on {artefact.name}")


def check_install(environment: Environment, project: Path, native: bool) -> None:
    """Ask the installed package, from where the suite runs, who and where it is."""
    place = environment.output(
        "python", "-c", "import deferpower; print(deferpower.__file__)", cwd=project
    )
    if not Path(place).is_relative_to(environment.bin.parent):
        raise SystemExit(f"check: the suite would run on {place}")
    wanted = "native" if native else "pure"
    told = environment.output("deferpower", "doctor", cwd=project)
    if not re.search(rf"^backend: {wanted}\b", told, re.MULTILINE):
        raise SystemExit(f"check: the install is not {wanted}:\n{told}")
    task = ["run", "--resources-ok", "--deadline", "1s", "--", "echo", "done"]
    if "done" not in environment.output("deferpower", *task, cwd=project):
        raise SystemExit("check: the installed command does not run a command")


if __name__ == "__main__":
    check(Path(sys.argv[1]).absolute(), sys.argv[2:])
