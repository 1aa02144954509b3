"""What the documents' tests work with: the fastai image, and a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.fastai import build_image
from xportal.sandbox.demo.stage import Stage


@pytest.fixture(scope="session")
def fastai_image() -> str:
    """The name of the CPU build of the fastai image; it stays, as Docker's cache for the next session."""
    return build_image()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A person's terminal with a sandbox of its own, running; all of it is gone afterwards, or the test fails."""
    made = Stage()
    try:
        made.type(f"xportal sandbox start --port {made.port}")
        made.export("AWS_PROFILE", "xportal-sandbox")
        yield made
    finally:
        made.close()
