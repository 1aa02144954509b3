"""Images built on a machine from a directory here."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from xportal.container import Engine, build
from xportal.errors import DockerFailed, UsageError

pytestmark = pytest.mark.machine


@pytest.fixture(autouse=True)
def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without buildx, also where this computer has it (tests/unit/container/test_buildx.py has the other way)."""
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")


def quiet(_line: str) -> None:
    """Nobody reads."""


@pytest.fixture
def context(tmp_path: Path, shell_image: str, second_engine: Engine, local: object) -> Path:
    """A build context with things that .dockerignore keeps here."""
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "secret.key").write_text("secret")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "large").write_bytes(b"x" * 1000)
    (tmp_path / ".dockerignore").write_text("# a comment\n*.key\ndir\n!dir/none\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG NAME=none\nCOPY . /context/\nLABEL name=$NAME\n")
    return tmp_path


def test_build_makes_a_tagged_image(second_engine: Engine, context: Path) -> None:
    """The log is told by lines, the argument arrives, the tag is set, and the id is the image's."""
    log: list[str] = []
    built = build(second_engine, context, log.append, tag="built:v1", build_args=["NAME=a b"])
    image = second_engine.client.images.get("built:v1")
    assert (built.image_id, built.tag) == (image.id, "built:v1")
    assert image.labels["name"] == "a b"
    assert any(line.startswith("Step 1/") for line in log)


def test_dockerignore_is_honoured(second_engine: Engine, context: Path) -> None:
    """What is ignored is not sent: a COPY of it fails for lack of a file."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY kept /kept\nCOPY secret.key /key\n")
    with pytest.raises(DockerFailed, match=r"secret\.key"):
        build(second_engine, context, quiet)


def test_build_arguments_of_the_environment(
    second_engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name alone has this computer's value; one that is not set here has the Dockerfile's own."""
    for value in ("ours", None):
        if value:
            monkeypatch.setenv("NAME", value)
        else:
            monkeypatch.delenv("NAME")
        built = build(second_engine, context, quiet, build_args=["NAME"])
        assert second_engine.client.images.get(built.image_id).labels["name"] == (value or "none")


def test_ignored_files_are_in_no_image(second_engine: Engine, context: Path) -> None:
    """A Dockerfile's own ignore file counts, byte order mark or not; an ignored Dockerfile is not there either."""
    (context / "dev.Dockerfile").write_text("FROM scratch\nCOPY . /context/\n")
    ignored = "\ufeffsecret.key\n*Dockerfile*\n.dockerignore\ndir/large\n"
    (context / "dev.Dockerfile.dockerignore").write_text(ignored, encoding="utf-8")
    built = build(second_engine, context, quiet, file=str(context / "dev.Dockerfile"))
    container = second_engine.client.containers.create(built.image_id, "never")
    try:
        pieces, _ = container.get_archive("/context")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            assert sorted(tar.getnames()) == ["context", "context/dir", "context/kept"]
    finally:
        container.remove()


def test_other_dockerfile(second_engine: Engine, context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """-f names a Dockerfile in the context or outside of it."""
    outside = tmp_path_factory.mktemp("outside") / "Other.dockerfile"
    for path, label in ((context / "dev.Dockerfile", "in"), (outside, "out")):
        path.write_text(f"FROM scratch\nCOPY kept /\nLABEL which={label}\n")
        built = build(second_engine, context, quiet, file=str(path))
        assert second_engine.client.images.get(built.image_id).labels["which"] == label


def test_nothing_to_build_is_a_usage_error(second_engine: Engine, tmp_path: Path) -> None:
    """No directory, or none with a Dockerfile: told before the machine is asked."""
    for directory, words in ((tmp_path / "none", "is not a directory"), (tmp_path, "there is no .*Dockerfile")):
        with pytest.raises(UsageError, match=words):
            build(second_engine, directory, quiet)


def test_failing_step_is_the_error(second_engine: Engine, context: Path) -> None:
    """A Dockerfile that makes no sense fails with Docker's words."""
    for content in ("FROM scratch\nNONSENSE x\n", "FROM scratch\nCOPY missing /\n"):
        (context / "Dockerfile").write_text(content)
        with pytest.raises(DockerFailed, match="the build of"):
            build(second_engine, context, quiet)


def test_base_image_that_cannot_be_pulled_has_a_hint(second_engine: Engine, context: Path) -> None:
    """A base image nobody has: push is the hint."""
    (context / "Dockerfile").write_text("FROM 127.0.0.1:1/no/base\n")
    with pytest.raises(DockerFailed) as failed:
        build(second_engine, context, quiet)
    assert "xportal push demo 127.0.0.1:1/no/base" in failed.value.hint


def test_bad_tag_is_ours(second_engine: Engine, context: Path) -> None:
    """A name that is no image name is an error of ours."""
    with pytest.raises((DockerFailed, UsageError), match="invalid"):
        build(second_engine, context, quiet, tag="Bad Name")
