"""What the sandbox does to and learns from this computer: AWS's files, the image's recipe, the container's powers."""

from __future__ import annotations

import io
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from tests.user import SECRET
from xportal.errors import NotInstalled
from xportal.sandbox import image
from xportal.sandbox.hardware import Boot
from xportal.sandbox.hardware.container import Chassis, Host, missing_capabilities
from xportal.sandbox.profile import remove_profile, with_section, write_profile

ENDPOINT = "http://127.0.0.1:5577"


@pytest.fixture
def aws_files(tmp_path: Path) -> dict[str, str]:
    """An environment whose AWS files are in a directory of their own."""
    return {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[default]\nregion = eu-west-1\n",
        "# mine\n[default]\n\n; note\nregion=eu-west-1\n\n\n# of work\n[profile work]\ns3 =\n  max = 3\n# end\n",
    ],
)
def test_a_section_comes_and_goes_without_a_trace(before: str) -> None:
    """Written, changed and removed, the section leaves the text as it was, comments and order included."""
    written = with_section(before, "profile ours", "region = a\n")
    assert written.startswith(before)
    assert written.endswith("[profile ours]\nregion = a\n")
    changed = with_section(written, "profile ours", "region = b\n")
    assert changed == written.replace("region = a", "region = b")
    assert with_section(changed, "profile ours", None) == before


def test_a_section_in_the_middle_keeps_its_neighbours() -> None:
    """What follows the section, with the comment above it, is not the section's."""
    text = "[a]\nx = 1\n\n[profile ours]\nregion = a\n\n# about b\n[b]\ny = 2\n"
    assert with_section(text, "profile ours", "region = c\n") == text.replace("region = a", "region = c")
    assert with_section(text, "profile ours", None) == "[a]\nx = 1\n\n# about b\n[b]\ny = 2\n"


def test_the_profile_is_private_and_keeps_the_mode_of_what_was_there(aws_files: dict[str, str]) -> None:
    """New files are 0600; a file that was there keeps its mode, but for the secret's, which only its owner may read."""
    config, credentials = Path(aws_files["AWS_CONFIG_FILE"]), Path(aws_files["AWS_SHARED_CREDENTIALS_FILE"])
    config.write_text("[default]\nregion = eu-west-1\n")
    config.chmod(0o640)
    for _ in range(2):
        write_profile(ENDPOINT, SECRET, aws_files)
        assert (config.stat().st_mode & 0o777, credentials.stat().st_mode & 0o777) == (0o640, 0o600)
        assert f"endpoint_url = {ENDPOINT}" in config.read_text()
        assert f"aws_secret_access_key = {SECRET.secret_access_key}" in credentials.read_text()
        credentials.chmod(0o644)
    remove_profile(ENDPOINT, aws_files)
    assert config.read_text() == "[default]\nregion = eu-west-1\n"
    assert not credentials.exists()
    credentials.write_text("[mine]\naws_access_key_id = a\n")
    credentials.chmod(0o644)
    write_profile(ENDPOINT, SECRET, aws_files)
    assert credentials.stat().st_mode & 0o777 == 0o600
    remove_profile(ENDPOINT, aws_files)
    assert credentials.read_text() == "[mine]\naws_access_key_id = a\n"


def test_the_profile_of_another_sandbox_stays(aws_files: dict[str, str]) -> None:
    """Removing a sandbox's profile leaves one that another sandbox has taken over."""
    write_profile(ENDPOINT, SECRET, aws_files)
    remove_profile("http://127.0.0.1:6000", aws_files)
    assert ENDPOINT in Path(aws_files["AWS_CONFIG_FILE"]).read_text()


def test_another_recipe_is_another_image(tmp_path: Path) -> None:
    """The tag follows content and names of the recipe's files; without a recipe it is said."""
    with pytest.raises(NotInstalled, match="recipe"):
        image.image_tag(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    first = image.image_tag(tmp_path)
    (tmp_path / "file").write_text("")
    second = image.image_tag(tmp_path)
    (tmp_path / "file").rename(tmp_path / "elif")
    assert len({first, second, image.image_tag(tmp_path)}) == 3


def test_the_machine_s_programs_run_whatever_modes_an_installer_left(tmp_path: Path) -> None:
    """Docker keeps the modes it is sent: what begins with `#!` is a program, all else is read by everybody."""
    copy = tmp_path / "recipe"
    shutil.copytree(image.RECIPE, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert image.pack_recipe(copy) == image.pack_recipe(image.RECIPE)
    with tarfile.open(fileobj=io.BytesIO(image.pack_recipe(copy))) as context:
        modes = {entry.name.removeprefix("root/"): entry.mode for entry in context}
    assert modes["etc"] == modes["usr/lib/xportal-sandbox/gpu"] == modes["usr/lib/xportal-sandbox/dmidecode"] == 0o755
    assert modes["Dockerfile"] == modes["etc/cloud/cloud.cfg"] == 0o644


class SlowDocker:
    """A FAKE of Docker Engine's API: a Debian is there, and a build lasts until `go_on`."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.builds, self.go_on = threading.Event(), threading.Event()

    def inspect_image(self, name: str) -> None:
        if name != image.REGISTRY_BASE and name not in self.built:
            raise ImageNotFound(name)

    def build(self, *, tag: str, **_: object) -> list[dict[str, str]]:
        self.builds.set()
        assert self.go_on.wait(10)
        self.built.append(tag)
        return []


@pytest.mark.machine  # it needs root
def test_two_sandboxes_that_need_the_image_make_it_once(tmp_path: Path) -> None:
    """The second one says that it waits, and finds it made."""
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    engine = SlowDocker()
    said: list[str] = []

    def says(text: str) -> None:
        said.append(text)
        if "waiting" in text:
            engine.go_on.set()

    with ThreadPoolExecutor() as sandboxes:
        first = sandboxes.submit(image.ensure_image, engine, says, tmp_path)  # type: ignore[arg-type]
        assert engine.builds.wait(10)
        second = sandboxes.submit(image.ensure_image, engine, says, tmp_path)  # type: ignore[arg-type]
        assert first.result(10) == second.result(10)
    assert len(engine.built) == 1


@pytest.mark.parametrize(
    ("sources", "mirrors"),
    [
        ("", ("http://deb.debian.org/debian", "http://security.debian.org/debian-security")),
        (
            "deb [arch=amd64] http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian-security x main\n"
            "deb https://packages.test/apt tools main\n",
            ("http://mirror.test/debian", "http://mirror.test/debian-security"),
        ),
        (
            "Types: deb\nURIs: http://one.test/debian/\n",
            ("http://one.test/debian/", "http://security.debian.org/debian-security"),
        ),
    ],
)
def test_the_base_comes_from_the_hosts_mirror(sources: str, mirrors: tuple[str, str]) -> None:
    """Both formats of apt's sources are read; repositories that are not Debian's are not used."""
    assert image.find_mirrors(sources) == mirrors


@pytest.mark.all
@pytest.mark.machine
def test_the_image_is_made_from_nothing() -> None:
    """With no image and no registry: a base of Debian's packages, and the machine on it."""
    client: Any = docker.APIClient(version="1.41")
    said: list[str] = []
    base, tag = "xportal-test-base:bookworm", "xportal-test-machine:new"
    try:
        image.make_base(client, base)
        image.build(client, image.RECIPE, tag, base, said.append, cached=False)
        assert client.inspect_image(tag)["Config"]["StopSignal"] == "SIGRTMIN+3"
        assert [line.split("/")[0] for line in said] == [f"Step {number}" for number in range(1, len(said) + 1)]
    finally:
        for name in (tag, base):
            client.remove_image(name, force=True)
        client.close()


def test_missing_capabilities_have_names() -> None:
    """A set without number 24 lacks SYS_RESOURCE; a full one lacks nothing."""
    assert missing_capabilities(0x1FFFEFFFFFF, 40) == ("SYS_RESOURCE",)
    assert missing_capabilities(0x1FFFFFFFFFF, 40) == ()


def test_a_machines_container_by_cgroup_version() -> None:
    """Version 1 gets the host's hierarchies, version 2 a namespace of its own; neither is `Privileged`."""
    boot = Boot(
        "i-1", "g5.xlarge", "ami-1", "x86_64", 4, 16384, gpu_count=1, gpu_name="NVIDIA A10G", gpu_memory_mib=24576
    )
    chassis = Chassis(boot, "image:1", Path("/home/box"), "127.77.0.1")
    first, second = (chassis.plan_container(Host(("SYS_RESOURCE",), version)) for version in (1, 2))
    assert first["HostConfig"]["CgroupnsMode"] == "host"
    assert first["HostConfig"]["Binds"] == ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    assert second["HostConfig"]["CgroupnsMode"] == "private"
    assert "Binds" not in second["HostConfig"]
    assert "Privileged" not in first["HostConfig"]
    assert first["HostConfig"]["CapDrop"] == ["SYS_RESOURCE"]
    assert first["HostConfig"]["PortBindings"] == {"22/tcp": [{"HostIp": "127.77.0.1", "HostPort": "22"}]}
    assert first["Env"] == ["SOFTWARE=amazon-linux", "GPU_COUNT=1", "GPU_NAME=NVIDIA A10G", "GPU_MEMORY_MIB=24576"]
    assert (
        Chassis(boot, "image:1", Path("/home/box"), None).plan_container(Host((), 1))["HostConfig"]["PortBindings"]
        == {}
    )
