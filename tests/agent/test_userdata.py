"""The user data: small enough, the same agent that is in the package, the host key it promises."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_stripping_leaves_the_program_as_it_was(path: Path) -> None:
    """Without comments, docstrings and signatures' annotations: the same code on the same lines."""
    source = path.read_text()
    stripped = userdata.strip(source)
    assert [line.strip() for line in stripped.splitlines() if line.strip().startswith("#")] == []
    assert outline(stripped) == outline(source)


def outline(source: str) -> list[tuple[str, int]]:
    """Every statement but docstrings, with its line."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.append((type(node).__name__, node.lineno))
    return found


def test_stripping_keeps_what_only_looks_like_comments() -> None:
    """Hashes in strings, strings that are no docstrings, bodies that are nothing but a docstring."""
    source = (
        'X = "# no comment"  # one\n\n\n'
        'def f(a: int = 1, *, b: "str") -> None:\n    """Doc."""\n\n\n'
        'class E(Exception):\n    """Doc."""\n'
    )
    spaces: dict[str, object] = {}
    stripped = userdata.strip(source)
    exec(compile(stripped, "f", "exec"), spaces)
    assert spaces["X"] == "# no comment"
    assert "Doc" not in stripped
    assert "int" not in stripped
    assert "one" not in stripped
