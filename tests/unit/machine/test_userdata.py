"""The user data: small enough, the same agent that is in the package, the host key it promises."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from xportal.agent.core import extensions
from xportal.agent.core.config import AgentConfig, DriveConfig
from xportal.errors import UsageError
from xportal.machine import userdata

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
    """1 KiB: the next feature of the core must not meet the limit first."""
    assert len(userdata.build(LONG, userdata.new_host_key())) <= userdata.LIMIT - 1024


def test_the_core_needs_nothing_else(tmp_path: Path) -> None:
    """Every module of the core imports with no other there, and knows that it is alone."""
    *parts, end = userdata.pack().decode().split("\0")[2:]
    files = dict(zip(parts[::2], [*parts[1::2], end], strict=True))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    names = ",".join(name.removesuffix(".py").replace("/", ".") for name in files if "__" not in name)
    script = f"import {names}; print(type(agent.core.extensions.load()).__name__)"
    argv = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "Extensions\n", done.stderr


def test_the_core_is_compiled_when_the_machine_boots(tmp_path: Path) -> None:
    """No command compiles it again; a Python of another version takes the sources that stand beside."""
    program = userdata.BOOT.replace("/opt/xportal", str(tmp_path)).replace("/etc/xportal", str(tmp_path))
    assert '"open"' in program
    agent = cloud_config(LONG)["bootcmd"][0][4]  # type: ignore[index]
    argv = [sys.executable, "-Ic", program.replace('"open"', '"--help"'), "{}", agent]
    subprocess.run(argv, check=False, capture_output=True)
    packed = tmp_path / "agent.pyz"
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sources = {name for name in files if name.endswith(".py")}
    assert sources | {f"{name}c" for name in sources} == files.keys()

    def told(without: str) -> str:
        spoilt = tmp_path / "spoilt.pyz"
        with zipfile.ZipFile(spoilt, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, b"?" * 20 if name.endswith(without) else content)
        done = subprocess.run([sys.executable, "-I", spoilt, "--help"], check=False, capture_output=True, text=True)
        return done.stderr.replace(spoilt.name, packed.name)

    whole = subprocess.run([sys.executable, "-I", packed, "--help"], check=False, capture_output=True, text=True).stderr
    assert "the full agent is not here yet" in whole
    assert told(without=".py") == told(without=".pyc") == whole


def test_the_full_agent_knows_that_it_is_full() -> None:
    """As the package is here."""
    assert type(extensions.load()).__name__ == "Full"


def test_the_full_agent_has_everything_and_always_the_same(tmp_path: Path) -> None:
    """All modules as they are in the package; the version that names it changes with its bytes alone."""
    full = userdata.full_agent()
    assert full == userdata.full_agent()
    (tmp_path / "full").write_bytes(full)
    with zipfile.ZipFile(tmp_path / "full") as archive:
        names = archive.namelist()
    package = Path(userdata.__file__).parents[1]
    assert sorted(names) == [
        "__main__.py",
        *sorted(str(path.relative_to(package)) for path in package.glob("agent/**/*.py")),
    ]
    argv = [sys.executable, "-I", str(tmp_path / "full"), "status"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["phase"] == "opening"
    assert userdata.deliver_argv(full)[-1] != userdata.deliver_argv(full + b"x")[-1]


def test_half_an_agent_is_none(tmp_path: Path) -> None:
    """A connection that breaks ends the command's stdin: the agent stays what it was, and comes with the next try."""
    full = userdata.full_agent()
    argv = _deliver_argv(full, tmp_path)
    for part in (b"", full[:20_000]):
        done = subprocess.run(argv, input=part, check=False, capture_output=True)
        assert done.returncode == 1
        assert list(tmp_path.iterdir()) == []
    subprocess.run(argv, input=full, check=True)
    assert _files(tmp_path / "agent-whole") == _packed(full)


def test_an_agent_that_is_there_stays(tmp_path: Path) -> None:
    """Two commands bring the same one at once, or one after the other; another version runs meanwhile."""
    full, older = userdata.full_agent(), _zip({"__main__.py": "print('older')"})
    argv = {given: _deliver_argv(given, tmp_path) for given in (full, older)}
    subprocess.run(argv[older], input=older, check=True)
    before = (tmp_path / "agent-whole").resolve()
    subprocess.run(argv[full], input=full, check=True)
    here = tmp_path / "agent-whole"
    written = (here.resolve() / "__main__.py").stat().st_ino
    here.unlink()  # as the second of two found it, which looked before the first was done
    subprocess.run(argv[full], input=full, check=True)
    subprocess.run(argv[full], input=full, check=True)
    assert (here.resolve() / "__main__.py").stat().st_ino == written
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["agent-whole", before.name, here.resolve().name])
    assert subprocess.check_output([sys.executable, "-I", before], text=True) == "older\n"


def test_the_agent_is_compiled_when_it_comes(tmp_path: Path) -> None:
    """By the machine's own Python; nothing is compiled, or written, by what runs later."""
    full = userdata.full_agent()
    subprocess.run(_deliver_argv(full, tmp_path), input=full, check=True)
    here = (tmp_path / "agent-whole").resolve()
    sources, compiled = list(here.rglob("*.py")), list(here.rglob("*.pyc"))
    assert {path.stem for path in sources} == {path.name.split(".")[0] for path in compiled}
    subprocess.run(["/usr/bin/python3", "-I", here, "status"], check=True, capture_output=True)
    assert len(list(here.rglob("*.pyc"))) == len(compiled)


def _deliver_argv(full: bytes, directory: Path) -> list[str]:
    """The command that puts it into a directory, without sudo."""
    return [word.replace("/opt/xportal", str(directory)) for word in userdata.deliver_argv(full)[1:]]


def _packed(full: bytes) -> dict[str, bytes]:
    """A zip file's files."""
    with zipfile.ZipFile(io.BytesIO(full)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _files(directory: Path) -> dict[str, bytes]:
    """A directory's sources."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.py")}


def _zip(files: dict[str, str]) -> bytes:
    """A zip file of texts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()
