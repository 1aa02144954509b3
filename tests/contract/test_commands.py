"""`xportal sandbox fault ...` and `set`: every option arrives."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.contract.conftest import Account
from tests.user import SECRET
from xportal.cli.app import app
from xportal.errors import UsageError
from xportal.reports import FaultReport
from xportal.sandbox.daemon import Lease, Place
from xportal.sandbox.private import write_private

AT_TIMES = {"count": 3, "rate": 0.25, "seed": 7}
AT_TIMES_WORDS = "--count 3 --rate 0.25 --seed 7"
CALLS = {**AT_TIMES, "operations": ["CreateVolume", "DeleteVolume"]}
CALLS_WORDS = f"{AT_TIMES_WORDS} --operation CreateVolume --operation DeleteVolume"


@pytest.fixture
def home(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sandbox's home in which the account's cloud is the one that serves."""
    place = Place(tmp_path / "home")
    place.home.mkdir()
    place.write_lease(Lease(os.getpid(), account.cloud.port))
    write_private(place.secret, json.dumps(asdict(SECRET)).encode())
    monkeypatch.setenv("XPORTAL_SANDBOX_HOME", str(place.home))
    return place.home


def types(*words: str) -> Any:
    """The JSON answer of `xportal sandbox fault WORDS`."""
    done = CliRunner().invoke(app, ["--json", "sandbox", "fault", *words], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("kind", "words", "options"),
    [
        ("capacity", "--type t3.medium --zone us-east-1b --market spot " + AT_TIMES_WORDS,
         {"type": "t3.medium", "zone": "us-east-1b", "market": "spot", **AT_TIMES}),
        ("throttle", CALLS_WORDS, CALLS),
        ("error", CALLS_WORDS, CALLS),
        ("lost", CALLS_WORDS, CALLS),
        ("slow", "--seconds 2.5 " + CALLS_WORDS, {"seconds": 2.5, **CALLS}),
        ("snapshot-fail", AT_TIMES_WORDS, AT_TIMES),
        ("snapshot-stuck", AT_TIMES_WORDS, AT_TIMES),
        ("snapshot-slow", "--seconds 9 " + AT_TIMES_WORDS, {"seconds": 9, **AT_TIMES}),
        ("role-gone", "", {}),
    ],
)  # fmt: skip
def test_a_fault_comes_is_listed_and_goes(kind: str, words: str, options: dict[str, Any]) -> None:
    """With all its options; `list` tells it, `clear` ends it."""
    told = {**dict.fromkeys(field.name for field in fields(FaultReport)), "kind": kind, "hits": 0, **options}
    assert types(kind, *words.split()) == told
    assert types("list") == [told]
    assert types("clear") == []
    assert types("list") == []


@pytest.mark.usefixtures("home")
def test_what_was_chosen_is_told_in_words() -> None:
    """Without --json: the fault and the options that are not as always."""
    done = CliRunner().invoke(app, ["sandbox", "fault", "lost", "--operation", "CreateSnapshot", "--count", "1"])
    assert done.stdout == "in force: lost count=1 operations=CreateSnapshot\n"
    told = CliRunner().invoke(app, ["sandbox", "fault", "list"]).stdout
    assert told == "FAULT\tHITS\tOPTIONS\nlost\t0\tcount=1 operations=CreateSnapshot\n"


@pytest.mark.usefixtures("home")
def test_settings_are_told_and_changed(account: Account) -> None:
    """`sandbox set`: each option is the setting that it names, the others stay; 0 is no rate."""
    before = account.admin("GET", "status")["settings"]
    words = ["--snapshot-rate", "2", "--snapshot-seconds", "0.5", "--snapshot-interval", "15"]
    changed = {"snapshot_bytes_per_second": 2.0 * 1024**2, "snapshot_seconds": 0.5, "snapshot_interval_seconds": 15.0}
    assert sets(*words) == {**before, **changed}
    assert sets() == {**before, **changed}
    assert sets("--snapshot-rate", "0") == {**before, **changed, "snapshot_bytes_per_second": None}


def sets(*words: str) -> Any:
    """The JSON answer of `xportal sandbox set WORDS`."""
    done = CliRunner().invoke(app, ["--json", "sandbox", "set", *words], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("home")
def test_a_setting_is_a_finite_number() -> None:
    """No other one could be told in JSON."""
    with pytest.raises(UsageError, match="finite"):
        sets("--snapshot-seconds", "inf")


@pytest.mark.usefixtures("home")
def test_an_unknown_operation_is_a_mistake_of_usage() -> None:
    """Exit status 2, with the name."""
    with pytest.raises(UsageError, match="no operation MakeSnapshot"):
        types("lost", "--operation", "MakeSnapshot")
