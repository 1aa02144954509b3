"""The user data: small enough, the same agent that is in the package, the host key it promises."""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from xportal.agent.config import AgentConfig, DriveConfig
from xportal.errors import UsageError
from xportal.machine import userdata

PACKAGE = Path(userdata.__file__).parents[1] / "agent"
# Names as long as AWS's tags allow, so that the size is the worst there is.
LONG = AgentConfig(
    portal="p" * 128,
    launch="l" * 36,
    region="ap-northeast-1",
    endpoint="https://ec2.ap-northeast-1.amazonaws.com",
    drives=[DriveConfig(name="d" * 128, generation=1000, blank=True)],
)


def cloud_config(config: AgentConfig) -> dict[str, object]:
    """The user data as cloud-init understands it."""
    text = gzip.decompress(userdata.build(config, userdata.new_host_key())).decode()
    assert text.startswith("#cloud-config\n")
    read: dict[str, object] = yaml.safe_load(text)
    return read


def test_it_fits_into_ec2_s_limit(record_property: Callable[[str, object], None]) -> None:
    """16384 bytes before base64, with the longest names."""
    size = len(userdata.build(LONG, userdata.new_host_key()))
    record_property("user data, bytes", size)
    assert size <= userdata.LIMIT


def test_too_much_is_refused_before_the_launch() -> None:
    """AWS would refuse it too, less clearly."""
    drives = [DriveConfig(name=f"{n:x}" * 30, generation=n, mount=f"/{n:x}" * 30) for n in range(4000)]
    config = AgentConfig("p", "l", "r", "e", drives)
    with pytest.raises(UsageError, match="EC2 takes 16384"):
        userdata.build(config, userdata.new_host_key())


def test_the_facts_arrive() -> None:
    """The agent reads what the launch wrote."""
    command = cloud_config(LONG)["bootcmd"][0]  # type: ignore[index]
    assert AgentConfig.from_json(json.loads(command[3])) == LONG


def test_the_host_key_is_the_pinned_one_and_new_for_each_launch() -> None:
    """cloud-init gets the private half of the public key that the client pins; other keys are deleted."""
    key = userdata.new_host_key()
    config = yaml.safe_load(userdata.cloud_config(LONG, key))
    assert config["ssh_deletekeys"] is True
    private = serialization.load_ssh_private_key(config["ssh_keys"]["ed25519_private"].encode(), None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert public.decode() == key.public == config["ssh_keys"]["ed25519_public"]
    assert key.public.startswith("ssh-ed25519 AAAA")
    assert userdata.new_host_key() != key
    assert "PRIVATE" not in repr(key)


def test_the_same_launch_gives_the_same_bytes() -> None:
    """A repeated RunInstances with the same ClientToken must not differ."""
    key = userdata.new_host_key()
    data = userdata.build(LONG, key)
    assert data == userdata.build(LONG, key)
    assert data[4:8] == bytes(4)  # no time of compression in gzip's header


def test_there_is_room_for_more() -> None:
    """The next feature of the core must not meet the limit first."""
    assert len(userdata.build(LONG, userdata.new_host_key())) <= userdata.LIMIT - 256


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_shrinking_leaves_the_program_as_it_was(path: Path) -> None:
    """Without comments, docstrings and annotations: the same code."""
    source = path.read_text()
    shrunk = userdata.shrink(source)
    assert "#" not in [line.strip()[:1] for line in shrunk.splitlines()]
    assert statements(shrunk) == statements(source)


def statements(source: str) -> list[str]:
    """Every statement by its kind, but docstrings and imports of what annotations need."""
    found = []
    for node in ast.walk(ast.parse(source)):
        typing = isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not (typing or docstring or isinstance(node, ast.Pass)):
            found.append(type(node).__name__)
    return found


def test_shrinking_keeps_what_only_looks_like_annotations_and_comments() -> None:
    """Hashes in strings, fields of data classes, bodies that are nothing but a docstring."""
    source = (
        "from dataclasses import dataclass\n"
        'X = "# no comment"  # one\n\n\n'
        'def f(a: int = 1, *, b: "str") -> None:\n    """Doc."""\n\n\n'
        'class E(Exception):\n    """Doc."""\n\n\n'
        "@dataclass\nclass D:\n    a: int\n    b: str = 'b'\n"
    )
    spaces: dict[str, Any] = {"__name__": __name__}
    shrunk = userdata.shrink(source)
    exec(compile(shrunk, "f", "exec"), spaces)
    assert spaces["X"] == "# no comment"
    assert (spaces["D"](1).a, spaces["D"](1).b) == (1, "b")
    for word in ("Doc", "int", "one"):
        assert word not in shrunk


def test_the_core_needs_nothing_else(tmp_path: Path) -> None:
    """Every module of the core imports with no other there, and knows that it is not the whole."""
    for name in userdata.CORE:
        (tmp_path / "agent").mkdir(exist_ok=True)
        (tmp_path / f"agent/{name}.py").write_text(userdata.shrink(userdata.read_source(name)))
    names = ",".join(f"agent.{name}" for name in userdata.CORE)
    script = f"import {names}; print(agent.whole.is_whole())"
    argv = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_the_whole_agent_is_whole_and_always_the_same(tmp_path: Path) -> None:
    """All modules as they are in the package; the version that names it changes with its bytes alone."""
    whole = userdata.whole_agent()
    assert whole == userdata.whole_agent()
    (tmp_path / "whole").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "whole") as archive:
        names = archive.namelist()
    assert sorted(names) == ["__main__.py", *sorted(f"agent/{path.name}" for path in PACKAGE.glob("*.py"))]
    argv = [sys.executable, "-I", tmp_path / "whole", "status"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["phase"] == "opening"
    assert userdata.deliver_argv(whole)[-1] != userdata.deliver_argv(whole + b"x")[-1]


def test_half_an_agent_is_none(tmp_path: Path) -> None:
    """A connection that breaks ends the command's stdin: the agent stays what it was, and comes with the next try."""
    whole = userdata.whole_agent()
    argv = [word.replace("/opt/xportal", str(tmp_path)) for word in userdata.deliver_argv(whole)[1:]]
    for part in (b"", whole[:20_000]):
        done = subprocess.run(argv, input=part, check=False, capture_output=True)
        assert done.returncode == 1
        assert list(tmp_path.iterdir()) == []
    subprocess.run(argv, input=whole, check=True)
    assert (tmp_path / "agent-whole").read_bytes() == whole
