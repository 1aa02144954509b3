"""What a build sends, by Docker's rules for ignore files: a secret that is named there is in no image."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from xportal.container.context import find_ignored, list_sent, pack, parse
from xportal.errors import LocalFileError, UsageError

SECRETS = "secrets\n!secrets/public\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A context with something to hide."""
    for name in (
        "Dockerfile",
        "key.pem",
        "app/main.py",
        "app/key.pem",
        "secrets/key",
        "secrets/deep/key",
        "secrets/public",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def sent(directory: Path, name: str = "Dockerfile") -> dict[str, str]:
    """The files in the archive with their texts."""
    archive, _ = pack(directory, directory / name)
    with archive, tarfile.open(fileobj=archive) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {path: file.read().decode() for path, file in found.items() if file}


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("key.pem", "key.pem", True),
        ("key.pem", "app/key.pem", False),
        ("*.pem", "app/key.pem", False),
        ("**/*.pem", "key.pem", True),
        ("**/*.pem", "app/deep/key.pem", True),
        ("**", "app/key.pem", True),
        ("app/**", "app/deep/key.pem", True),
        ("app/**", "app", False),
        ("app/**/key.pem", "app/key.pem", True),
        ("app", "app/deep/key.pem", True),
        ("/app/", "app/key.pem", True),
        ("  app  \r", "app/key.pem", True),
        ("./app/../secrets", "secrets/key", True),
        ("# app", "app", False),
        (" # app", "# app", True),
        ("key.???", "key.pem", True),
        ("key?pem", "key/pem", False),
        ("key.[a-p]em", "key.pem", True),
        ("key.[^p]em", "key.pem", False),
        (r"key\*", "key*", True),
        (r"key\*", "key.pem", False),
        ("key.p+m", "key.ppm", False),
        ("*\n!app", "app/main.py", False),
        ("*\n!app\napp/*.pem", "app/key.pem", True),
        ("*\n! app/main.py", "app/main.py", False),
        (SECRETS, "secrets/key", True),
        (SECRETS, "secrets/public", False),
        ("**/secrets\n!secrets/public", "secrets/deep/key", True),
        ("!secrets\nsecrets", "secrets/key", True),
        ("", "app", False),
    ],
)
def test_patterns_are_docker_s(text: str, path: str, ignored: bool) -> None:
    """As docs.docker.com has them: the last that matches a path, or a directory above it, decides."""
    assert parse(text).has(path) == ignored


@pytest.mark.parametrize("text", ["key.[", "[]", "!", "end\\", "[z-a]"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """Before anything is sent that it may have been meant for."""
    with pytest.raises(UsageError, match=r"\.dockerignore: "):
        parse(text)


@pytest.mark.parametrize("text", ["key.pem\n", "\ufeffkey.pem\n", "\ufeffkey.pem\r\n# end", "**/key.pem"])
def test_what_is_ignored_is_not_sent(directory: Path, text: str) -> None:
    """A byte order mark, which some editors write, is no part of the first line."""
    (directory / ".dockerignore").write_text(text, encoding="utf-8", newline="")
    assert "key.pem" not in sent(directory)
    assert "app/main.py" in sent(directory)


@pytest.mark.parametrize("text", [f"**/{SECRETS}", f"{SECRETS}", f"*/deep/../deep\n{SECRETS}"])
def test_what_is_brought_back_brings_nothing_else(directory: Path, text: str) -> None:
    """Of a directory that is ignored, the file after ! is sent alone."""
    (directory / ".dockerignore").write_text(text)
    assert {path for path in sent(directory) if path.startswith("secrets")} == {"secrets/public"}


@pytest.mark.parametrize("name", ["Dockerfile", "dev.Dockerfile", "app/dev.Dockerfile"])
def test_the_dockerfile_s_own_ignore_file_comes_first(directory: Path, name: str) -> None:
    """FILE.dockerignore beside it takes the place of .dockerignore."""
    (directory / name).write_text("FROM scratch\n")
    (directory / f"{name}.dockerignore").write_text("key.pem\n")
    (directory / ".dockerignore").write_text("app/main.py\n")
    told = sent(directory, name)
    assert "key.pem" not in told
    assert {"app/main.py", name} <= told.keys()


@pytest.mark.parametrize(
    ("text", "kept", "named"), [("*\n", False, True), ("Dockerfile\n", True, True), ("key.pem\n", True, False)]
)
def test_a_dockerfile_that_is_ignored_is_in_no_image(directory: Path, text: str, kept: bool, named: bool) -> None:
    """It is sent under a name that Docker is told to take out; .dockerignore stays if it is not ignored itself."""
    (directory / ".dockerignore").write_text(text)
    archive, name = pack(directory, directory / "Dockerfile")
    archive.close()
    told = sent(directory)
    assert (name != "Dockerfile") == named
    if not named:
        assert told[".dockerignore"] == text
        return
    [own] = [path for path in told if path.startswith(".dockerfile.")]
    assert told[own] == "Dockerfile"
    assert "Dockerfile" not in told
    lines = told[".dockerignore"].splitlines()
    assert own in lines
    assert (".dockerignore" in lines) != kept


def test_a_dockerfile_outside_is_sent(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its own ignore file lies beside it."""
    outside = tmp_path_factory.mktemp("outside") / "Other"
    outside.write_text("FROM scratch\n")
    outside.with_name("Other.dockerignore").write_text("key.pem\n")
    archive, name = pack(directory, outside)
    with archive, tarfile.open(fileobj=archive) as tar:
        assert name in tar.getnames()
        assert "key.pem" not in tar.getnames()


def test_what_cannot_be_read_is_an_error(directory: Path) -> None:
    """Never a part of the context that is silently missing: neither an ignore file nor a directory."""
    (directory / ".dockerignore").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not UTF-8"):
        pack(directory, directory / "Dockerfile")
    (directory / ".dockerignore").unlink()
    os.symlink("nowhere", directory / "link")
    assert "link" in set(list_sent(directory, find_ignored(directory, directory / "Dockerfile")))
    with pytest.raises(LocalFileError):
        pack(directory / "none", directory / "Dockerfile")
