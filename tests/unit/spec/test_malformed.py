"""A spec that makes no sense: every fault is told at once, with its place, before anything is asked of AWS."""

from __future__ import annotations

import io
import re
import socket
from pathlib import Path

import pytest

from tests.crash.hostile import typed
from tests.unit.spec.malformed import ENVIRONMENT, Case, cases, said_of

CASES = cases()


def test_the_table_is_long() -> None:
    """And has no row twice."""
    assert len({(case.file, case.text) for case in CASES}) == len(CASES) >= 190


@pytest.mark.parametrize("case", CASES, ids=[f"{number}" for number in range(len(CASES))])
def test_all_that_is_wrong_is_told(case: Case) -> None:
    """Line by line, with the file and the line of each; and no value of the environment."""
    assert said_of(case) == case.said
    assert case.said
    for line in case.said:
        assert re.match(rf"{re.escape(case.file)}:[0-9]+: ", line), line
        assert not any(secret in line for secret in ENVIRONMENT.values())


@pytest.mark.parametrize("each", [12, pytest.param(1, marks=pytest.mark.all)])
def test_none_causes_a_call(each: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed after `up`, each ends with 2, and nobody comes to AWS's address."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as aws:
        aws.setblocking(False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{aws.getsockname()[1]}")
        for name, value in (("ACCESS_KEY_ID", "A"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        for case in CASES[::each]:
            path, told = tmp_path / case.file, io.StringIO()
            path.write_text(case.text)
            said = typed("up", str(path), stderr=told)
            assert (said.status, said.text) == (2, ""), told.getvalue()
            first = told.getvalue().splitlines()[0]
            assert first.startswith(f"error: {case.file}:"), first
            with pytest.raises(BlockingIOError):
                aws.accept()


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """No file, a directory, bytes that are no text, too many."""
    for name, status in (("none.yaml", 2), (str(tmp_path), 1)):
        assert typed("check", name).status == status
    path = tmp_path / "portal.yaml"
    for data, told in ((b"name: a\n# \xff\n", "portal.yaml:2: this is no UTF-8"), (b"#" * 70_000, "64 KiB")):
        path.write_bytes(data)
        said = typed("check", str(path))
        assert said.status == 2
        assert told in said.text
