"""A lab with real machines for each test file that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machines.lab import Lab
from xportal.sandbox.hardware.docker import Engine
from xportal.sandbox.image import ensure_image


@pytest.fixture(scope="session")
def machine_image() -> str:
    """The machine's image, built when missing."""
    with Engine.connect() as engine:
        return ensure_image(engine.client, print)


@pytest.fixture(scope="module")
def lab(machine_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hardware in a home of its own; afterwards nothing of it has power or is mounted."""
    lab = Lab(tmp_path_factory.mktemp("sandbox"), machine_image)
    try:
        yield lab
    finally:
        lab.close()
