"""The wheel and the sdist: what is in them, and that a wheel alone is the whole program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.stories.conftest import User, free_port
from xportal.sandbox import image
from xportal.sandbox.hardware.docker import Engine

ROOT = Path(__file__).parents[2]
NOT_IN_GIT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info")
# Imports what any module of the installed package imports, at its top or in a function, but for type checkers.
IMPORT_EVERYTHING = """
import ast, importlib, pathlib, xportal

def list_imports(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield child.module
        yield from list_imports(child)

for file in pathlib.Path(xportal.__file__).parent.rglob("*.py"):
    for name in list_imports(ast.parse(file.read_text())):
        importlib.import_module(name)
"""
DIGEST = "from xportal.sandbox import image; print(image.RECIPE, image.image_tag())"


@dataclass(frozen=True)
class Built:
    """The two files that `python -m build` makes."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Made from a copy of the clone, in which everything lies around that tests and tools leave in packages."""
    tree, out = tmp_path_factory.mktemp("tree") / "clone", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, tree, ignore=NOT_IN_GIT)
    run(sys.executable, "-m", "compileall", "-q", "xportal/spec", cwd=tree)
    # Without isolation: setuptools is here already, and need not be fetched twice. The wheel is made from the sdist.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), cwd=tree)
    [sdist], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def programs(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment with nothing but the wheel, with its extra, and what it requires."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python")]
    run(*pip, "install", "--quiet", "--no-compile", f"{built.wheel}[sandbox]")
    return venv / "bin"


def run(*argv: str, cwd: Path = ROOT) -> str:
    """What a program prints; with anything but exit status 0 the test fails with all that it said."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def list_package() -> set[str]:
    """The files of the package in the clone."""
    files = (path for path in (ROOT / "xportal").rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_the_wheel_has_the_package_and_nothing_else(built: Built) -> None:
    """Every module, and every file of the machine image's recipe; no tests, no caches."""
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == list_package()
    assert "xportal/sandbox/machine-image/root/usr/lib/xportal-sandbox/power-on" in names


def test_the_sdist_has_what_a_wheel_is_made_of(built: Built) -> None:
    """The same files, and what pyproject.toml names."""
    with tarfile.open(built.sdist) as sdist:
        names = {entry.name.partition("/")[2] for entry in sdist if entry.isfile()}
    made = {"PKG-INFO", "setup.cfg"}  # by setuptools
    names = {name for name in names if ".egg-info/" not in name}
    assert names - made == {*list_package(), "LICENSE", "README.md", "pyproject.toml"}


def test_a_wheel_is_the_whole_program(programs: Path, tmp_path: Path) -> None:
    """In an empty directory it tells its version and its help, has the clone's recipe, and finds all it imports."""
    assert run(f"{programs}/xportal", "--version", cwd=tmp_path) == f"xportal {version('xportal')}\n"
    assert " sandbox " in run(f"{programs}/xportal", "--help", cwd=tmp_path)
    recipe, tag = run(f"{programs}/python", "-c", DIGEST, cwd=tmp_path).split()
    assert recipe.startswith(str(programs.parent))
    assert tag == image.image_tag()
    run(f"{programs}/python", "-c", IMPORT_EVERYTHING, cwd=tmp_path)


@pytest.fixture
def user(programs: Path, tmp_path: Path) -> Iterator[User]:
    """Somebody who has installed the wheel, in an empty home; their sandbox is gone afterwards."""
    somebody = User(tmp_path, program=f"{programs}/xportal")
    yield somebody
    somebody.types("sandbox", "reset")


@pytest.mark.all
@pytest.mark.machine
def test_a_wheel_alone_brings_portals_up_and_down(user: User) -> None:
    """Sandbox start, up, run, down, up elsewhere, down and reset."""
    user.types("sandbox", "start", "--port", str(free_port()), timeout=600)
    with Engine.connect() as engine:
        base = image.ensure_base(engine.client, print)
    user.types("--sandbox", "up", "demo", "--cpu")
    user.types("--sandbox", "push", "demo", base)
    user.types("--sandbox", "run", "demo", "--name", "work", base, "--", "sh", "-c", "date >>/v1/note; sleep 3600")
    note = user.types("--sandbox", "exec", "demo", "work", "--", "cat", "/v1/note").stdout
    user.types("--sandbox", "down", "demo")
    assert user.asks("--sandbox", "status") == []
    user.types("--sandbox", "up", "demo", "--gpu")
    [work] = user.asks("--sandbox", "ps", "demo")
    assert (work["running"], bool(work["gpu"])) == (True, True)
    assert user.types("--sandbox", "exec", "demo", "work", "--", "head", "-n1", "/v1/note").stdout == note
    user.types("--sandbox", "down", "demo")
    user.types("sandbox", "reset")
    assert not (user.home / "sandbox").exists()
