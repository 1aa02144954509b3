"""The recipe of the fastai image, without building it."""

from __future__ import annotations

import re
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[2] / "dockerfiles" / "fastai"


def _pins() -> dict[str, str]:
    lines = [line for line in (RECIPE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {pin[1]: pin[2] for line in lines if (pin := re.fullmatch(r"([a-z0-9-]+)==(\S+)", line))}
    assert len(pins) == len(lines)
    return pins


def test_every_package_is_pinned_and_pytorch_is_left_to_the_base() -> None:
    """Pip gets one exact version of everything, and is never asked for PyTorch, CUDA or torchvision."""
    pins = _pins()
    assert not [name for name in pins if re.match(r"torch|nvidia|triton|cuda", name)]
    assert {"jupyterlab", "ipykernel"} <= set(pins)


def test_fastai_is_the_promised_one() -> None:
    """The image has fastai 2.8 or newer."""
    major, minor, *_ = (int(part) for part in _pins()["fastai"].split("."))
    assert (2, 8) <= (major, minor) < (3, 0)


def test_what_is_asked_for_is_what_is_pinned() -> None:
    """Every package named in requirements.in stands in requirements.txt."""
    asked = re.findall(r"^([a-z0-9-]+)", (RECIPE / "requirements.in").read_text(), flags=re.MULTILINE)
    assert asked
    assert set(asked) <= set(_pins())
