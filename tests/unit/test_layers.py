"""The import linter holds, and notices when a layer is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter as `make lint` does, on a tree."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package and its contracts."""
    shutil.copytree(ROOT / "xportal", tmp_path / "xportal", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_layers_hold(tree: Path) -> None:
    """The package as it is."""
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("drive/plan.py", "import xportal.aws.session"),
        ("aws/keys.py", "import xportal.portal.up"),
        ("portal/up/__init__.py", "import xportal.sandbox.control"),
        ("portal/down.py", "import xportal.watch.watch"),
        ("agent/core/disk.py", "import xportal.errors"),
        ("machine/offers.py", "import boto3"),
        ("cli/portals.py", "import rich"),
        ("agent/core/disk.py", "from . import drives"),
        ("sandbox/api/faults.py", "import xportal.sandbox.api.ec2.errors"),
        ("sandbox/api/ec2/records/volume.py", "import xportal.sandbox.api.ec2.records.instance"),
        ("sandbox/api/iam/policies.py", "import xportal.sandbox.api.iam.roles"),
        ("sandbox/hardware/disks.py", "import xportal.sandbox.api.server"),
    ],
)
def test_broken_layer_is_noticed(tree: Path, module: str, line: str) -> None:
    """One import too many fails the linter."""
    path = tree / "xportal" / module
    path.write_text(f"{path.read_text()}\n{line}  # noqa\n")
    assert lint(tree).returncode != 0


def test_a_package_without_a_layer_is_noticed(tree: Path) -> None:
    """Nothing new escapes the contracts."""
    (tree / "xportal" / "fleet").mkdir()
    (tree / "xportal" / "fleet" / "__init__.py").write_text("import xportal.cli\n")
    assert lint(tree).returncode != 0
