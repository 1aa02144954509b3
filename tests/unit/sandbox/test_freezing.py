"""Freezing a machine while new processes appear in it: the kernel gives up, and is asked again."""

from __future__ import annotations

import docker
import pytest
import requests

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware.docker import Engine

_BUSY = "Cannot pause container 3fa7: OCI runtime pause failed: unable to freeze: unknown"


class _Docker:
    """A docker.APIClient whose next answers to `pause` are errors of these texts."""

    def __init__(self, status: int, errors: list[str]) -> None:
        self.status = status
        self.errors = errors
        self.asked = 0

    def pause(self, container_id: str) -> None:
        self.asked += 1
        if self.errors:
            response = requests.Response()
            response.status_code = self.status
            raise docker.errors.APIError("pause failed", response=response, explanation=self.errors.pop(0))


def _freeze(client: _Docker) -> bool:
    return Engine(client).freeze("3fa7")  # type: ignore[arg-type]  # a fake of the one call it makes


def test_a_busy_machine_is_frozen_in_the_end() -> None:
    client = _Docker(500, [_BUSY] * 5)
    assert _freeze(client)
    assert client.asked == 6


def test_one_that_never_freezes_is_told() -> None:
    client = _Docker(500, [_BUSY] * 50)
    with pytest.raises(HardwareFailure, match="unable to freeze"):
        _freeze(client)
    assert client.asked < 50


def test_other_failures_are_told_at_once() -> None:
    client = _Docker(500, ["no space left on device"] * 2)
    with pytest.raises(HardwareFailure, match="no space"):
        _freeze(client)
    assert client.asked == 1


def test_a_machine_that_is_gone_was_not_frozen() -> None:
    assert not _freeze(_Docker(404, ["No such container"]))
