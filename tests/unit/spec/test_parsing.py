"""Whatever a spec's file holds, it is read, or all that is wrong with it is told: nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.spec.malformed import cases
from xportal.spec import FileSpec, schema
from xportal.spec.faults import SpecInvalid
from xportal.spec.reading import read_spec

KEYS = sorted({name for section in schema.SECTIONS.values() for name in section.model_fields})
SNIPPETS = [
    *(f"{key}: " for key in KEYS),
    *("\n", "  ", "- ", "[", "]", "{", "}", ", ", "'", '"', "#", "&a ", "*a", "!!str ", "|\n", "? ", "$", "${A", "5"),
    *("${A:-x}", "true", "null", "1e999", "-1", "g5.xlarge", "8888:8888", "/v1/a:/a", "\x00", "\ud800", "é", "\t"),
]  # fmt: skip
ENVIRONMENT = {"A": "secretsecret"}
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(SNIPPETS),
    st.sampled_from(["$A", "${A}", "${B:-5}", "${B:?}"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner)
    ),
    max_leaves=12,
)
LINES = st.lists(st.sampled_from(SNIPPETS), max_size=30).map("".join)
TABLE = st.sampled_from([case.text for case in cases()])


def read(file: str, data: bytes) -> FileSpec | None:
    """A spec; None if faults are told, each with its line, and without a value of the environment."""
    try:
        return read_spec(file, data, ENVIRONMENT)
    except SpecInvalid as error:
        said = error.faults
    assert said
    for fault in said:
        assert 1 <= fault.line <= data.count(b"\n") + 2, fault
        assert "secretsecret" not in fault.text(file)
    return None


def any_text(data: bytes) -> None:
    read("portal.yaml", data)
    read("portal.json", data)


def any_values(told: Any) -> None:
    """As YAML and as JSON it is the same, right or wrong, where both can say it."""
    text = json.dumps(told)
    as_json = read("portal.json", text.encode())
    as_yaml = read("portal.yaml", yaml.safe_dump(told, allow_unicode=False).encode())
    if as_json and as_yaml:
        assert (as_json.machine, as_json.drives) == (as_yaml.machine, as_yaml.drives)


def mixed(one: str, other: str, cut: float) -> None:
    """A malformed spec that goes over into another."""
    any_text((one[: int(len(one) * cut)] + other[int(len(other) * cut) :]).encode())


def explore(inputs: int) -> None:
    """So many, shared out."""
    often = settings(
        max_examples=inputs // 4,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    often(given(st.binary(max_size=80))(any_text))()
    often(given(LINES.map(lambda text: text.encode("utf-8", "surrogatepass")))(any_text))()
    often(given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))(any_values))()
    often(given(TABLE, TABLE, st.floats(0, 1))(mixed))()


def test_some_inputs() -> None:
    """A sample of what `make test-all` tries."""
    explore(240)


@pytest.mark.all
def test_many_inputs() -> None:
    """Without a traceback."""
    explore(100_000)
