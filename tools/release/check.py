"""Installs an artefact into a clean environment and runs the suite on what is installed.

    python -m tools.release.check [--only-install] ARTEFACT [OPTION OF PYTEST ...]

The suite comes from the source distribution beside the artefact, without the package itself: a test
that reads the source tree fails. A source distribution becomes the wheel that this machine builds.
With --only-install the package is asked who it is and is given a command to run, and that is all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.release.build import unpack
from tools.release.environment import Environment, has_cargo

PARALLEL = ["-n", "3", "--dist", "loadscope"]


def check(artefact: Path, suite: list[str] | None) -> None:
    """Install ``artefact`` and run the suite on it, with these options of pytest; None: no suite.

    Raises:
        SystemExit: what is installed is not what the artefact should give, or a test failed.
    """
    (sdist,) = artefact.parent.glob("*.tar.gz")
    native = has_cargo() if artefact == sdist else "-abi3-" in artefact.name
    with tempfile.TemporaryDirectory() as folder:
        project = unpack(sdist, Path(folder))
        shutil.rmtree(project / "python")
        environment = Environment(Path(folder, "environment"))
        environment.install(str(artefact))
        ask(environment, project, "native" if native else "pure")
        if suite is not None:
            environment.install("--group", f"{project}/pyproject.toml:test")
            backends = "native,pure" if native else "pure"
            print(f"{artefact.name}: the suite on {backends}", flush=True)
            done = subprocess.run(
                [environment.bin / "pytest", *PARALLEL, "-m", "not packaging", *suite],
                cwd=project,
                env=environment.variables(DEFERPOWER_TEST_BACKENDS=backends),
                check=False,
            )
            if done.returncode != 0:
                raise SystemExit(f"check: the suite failed on {artefact.name}")


def ask(environment: Environment, project: Path, backend: str) -> None:
    """Ask the installed package, from where the suite runs, where and who it is."""
    code = "import deferpower; print(deferpower.__file__)"
    place = environment.output("python", "-c", code, cwd=project)
    if not Path(place).is_relative_to(environment.bin.parent):
        raise SystemExit(f"check: the suite would run on {place}")
    told = environment.output("deferpower", "doctor", cwd=project)
    if not re.search(rf"^backend: {backend}\b", told, re.MULTILINE):
        raise SystemExit(f"check: the install is not {backend}:\n{told}")
    task = ["run", "--resources-ok", "--deadline", "1s", "--", "echo", "done"]
    if environment.output("deferpower", *task, cwd=project) != "done\n":
        raise SystemExit("check: the installed command does not run a command")


def main() -> None:
    """Check the artefact that the command line names."""
    parser = argparse.ArgumentParser(description="Checks an artefact where it is installed.")
    parser.add_argument("--only-install", action="store_true", help="without the suite")
    parser.add_argument("artefact", type=Path)
    named, options = parser.parse_known_args()
    check(named.artefact.absolute(), None if named.only_install else options)


if __name__ == "__main__":
    main()
