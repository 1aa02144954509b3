"""The machine's Docker image: built when its tag is missing, from a registry's base or from Debian's packages."""

from __future__ import annotations

import fcntl
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xportal.errors import HardwareFailure, NotInstalled

if TYPE_CHECKING:
    from docker import APIClient

Say = Callable[[str], None]

RECIPE = Path(__file__).with_name("machine-image")  # part of the package
SUITE = "bookworm"
REGISTRY_BASE = f"debian:{SUITE}-slim"
LOCAL_BASE = f"xportal-debian:{SUITE}"
_LOCK = Path("/run/xportal-sandbox-image.lock")
_REGISTRY_ANSWERS_S = 15
_BUILD_SILENCE_S = 600
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_DEFAULT_SECURITY = "http://security.debian.org/debian-security"


def image_tag(recipe: Path = RECIPE) -> str:
    """The image's name: another recipe is another image."""
    if not (recipe / "Dockerfile").is_file():
        raise NotInstalled(
            f"the recipe of the sandbox's machine is missing: {recipe}",
            hint="xportal is not installed whole: install it again",
        )
    digest = hashlib.sha256()
    for path in sorted(path for path in recipe.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(recipe)}\0{len(content)}\0".encode() + content)
    return f"xportal-sandbox-machine:{digest.hexdigest()[:12]}"


def pack_recipe(recipe: Path) -> bytes:
    """The recipe as a tar file, Docker's build context.

    An installer or a umask may have changed the modes of the files, and Docker keeps the modes it is sent. So the modes
    in the tar file follow from the contents.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as context:
        for path in sorted(recipe.rglob("*")):
            entry = tarfile.TarInfo(str(path.relative_to(recipe)))
            content = b"" if path.is_dir() else path.read_bytes()
            entry.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE
            entry.mode = 0o755 if path.is_dir() or content.startswith(b"#!") else 0o644
            entry.size = len(content)
            context.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def ensure_image(client: APIClient, say: Say, recipe: Path = RECIPE) -> str:
    """The image's tag, once the image exists. The first time takes about a minute and needs Debian's mirror."""
    tag = image_tag(recipe)
    if _exists(client, tag):
        return tag
    with _alone(say):
        if not _exists(client, tag):
            base = _ensure_base(client, say)
            say(f"building the machine image {tag} from {base}, once")
            build(client, recipe, tag, base, say)
    return tag


def ensure_base(client: APIClient, say: Say) -> str:
    """A Debian to build from: one that is here, a registry's, or one made of packages."""
    with _alone(say):
        return _ensure_base(client, say)


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    """A block that one process of this computer runs at a time: two sandboxes may be started for the first time."""
    try:
        file = _LOCK.open("w")
    except OSError as error:
        raise HardwareFailure(f"cannot make {_LOCK}: {error.strerror}", hint="run as root") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another sandbox makes the machine image: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ensure_base(client: APIClient, say: Say) -> str:
    for base in (REGISTRY_BASE, LOCAL_BASE):
        if _exists(client, base):
            return base
    say(f"pulling {REGISTRY_BASE}")
    problem = _pull(client, REGISTRY_BASE)
    if problem is None:
        return REGISTRY_BASE
    say(f"no image registry answers ({problem}): making {LOCAL_BASE} from Debian's packages")
    make_base(client, LOCAL_BASE)
    return LOCAL_BASE


def make_base(client: APIClient, tag: str) -> None:
    """A minimal Debian made by mmdebstrap, imported as an image."""
    if shutil.which("mmdebstrap") is None:
        raise NotInstalled(
            f"no image registry answers and mmdebstrap is missing, so there is no {REGISTRY_BASE}",
            hint="apt-get install mmdebstrap debian-archive-keyring",
        )
    repository, _, label = tag.partition(":")
    done = subprocess.run(bootstrap_argv(find_mirrors(_apt_sources())), capture_output=True, check=False)
    if done.returncode != 0:
        raise HardwareFailure(f"mmdebstrap failed: {done.stderr.decode(errors='replace')[-400:].strip()}")
    client.import_image_from_data(done.stdout, repository=repository, tag=label)


def bootstrap_argv(mirrors: tuple[str, str]) -> list[str]:
    """The smallest Debian with apt, as a tar on stdout, from (mirror, security mirror)."""
    mirror, security = mirrors
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        '--dpkgopt=path-exclude="/usr/share/doc/*"',
        '--dpkgopt=path-exclude="/usr/share/man/*"',
        '--dpkgopt=path-exclude="/usr/share/locale/*"',
        SUITE,
        "-",
        f"deb {mirror} {SUITE} main",
        f"deb {mirror} {SUITE}-updates main",
        f"deb {security} {SUITE}-security main",
    ]


def find_mirrors(sources: str) -> tuple[str, str]:
    """The Debian mirrors that a host's apt sources name, in either format, or Debian's own."""
    addresses = [word for word in sources.split() if word.startswith(("http://", "https://"))]
    security = [address for address in addresses if address.rstrip("/").endswith("/debian-security")]
    plain = [address for address in addresses if address.rstrip("/").endswith("/debian")]
    return next(iter(plain), _DEFAULT_MIRROR), next(iter(security), _DEFAULT_SECURITY)


def build(client: APIClient, recipe: Path, tag: str, base: str, say: Say, *, cached: bool = True) -> None:
    """`docker build`; says each step. Without `cached` nothing of an earlier build is used."""
    from docker.errors import DockerException

    try:
        lines = client.build(
            fileobj=io.BytesIO(pack_recipe(recipe)),
            custom_context=True,
            tag=tag,
            nocache=not cached,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="host",
            buildargs={"BASE": base},
            timeout=_BUILD_SILENCE_S,
        )
        problem = _follow(lines, say)
    except DockerException as error:
        problem = str(error)
    if problem:
        raise HardwareFailure(f"building {tag} failed: {problem}", hint="is Debian's mirror reachable from here?")


def _follow(lines: Iterable[dict[str, Any]], say: Say) -> str | None:
    """Say the steps of a build; its error, with the last words before it, or None."""
    tail: list[str] = []
    for line in lines:
        if "error" in line:
            return " / ".join([*tail[-3:], str(line["error"]).strip()])
        text = str(line.get("stream", "")).strip()
        if text.startswith("Step "):
            say(text.splitlines()[0][:100])
        elif text:
            tail = [*tail[-9:], text]
    return None


def _pull(client: APIClient, image: str) -> str | None:
    """Pull; why not, or None. A registry has a few seconds for its first word."""
    import docker
    import requests
    from docker.utils import kwargs_from_env

    hurried = docker.APIClient(version=client.api_version, timeout=_REGISTRY_ANSWERS_S, **kwargs_from_env())
    repository, _, tag = image.partition(":")
    try:
        for line in hurried.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                return str(line["error"])
    except docker.errors.APIError as error:
        return str(error.explanation)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return type(error).__name__
    finally:
        hurried.close()
    return None


def _exists(client: APIClient, image: str) -> bool:
    import docker

    try:
        client.inspect_image(image)  # type: ignore[no-untyped-call]
    except docker.errors.ImageNotFound:
        return False
    return True


def _apt_sources() -> str:
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return "\n".join(path.read_text(errors="replace") for path in files if path.is_file())
