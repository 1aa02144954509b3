"""How the agent comes to a machine: its core in the launch's user data, the whole of it with the first login.

The user data are cloud-config: the core, the launch's facts and the ssh host key.
"""

from __future__ import annotations

import ast
import base64
import bz2
import functools
import gzip
import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from xportal.agent.config import AgentConfig
from xportal.errors import UsageError

LIMIT = 16384  # EC2's, before base64
AGENT = resources.files("xportal.agent")
# What a machine does alone. The rest (`whole_agent`) comes with the first login of `up`: commits, the home directory...
CORE = (
    "__init__",
    "__main__",
    "config",
    "containers",
    "deadline",
    "dirty",
    "disk",
    "docker",
    "drives",
    "events",
    "files",
    "gpu",
    "imds",
    "leaving",
    "mounts",
    "notices",
    "opening",
    "process",
    "requests",
    "saving",
    "state",
    "units",
    "watching",
    "whole",
)
MAIN = "import sys\nfrom agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"

# Runs at every boot, before networks, users and Docker: so what it does can be done again.
# Its arguments are the launch's facts and the agent: names and sources in turn, parted by NULs.
BOOT = '''import base64,bz2,io,os,subprocess,sys,zipfile
def put(path,data,mode):
 os.makedirs(os.path.dirname(path),exist_ok=True)
 with open(path+".new","wb") as f:
  os.fchmod(f.fileno(),mode)
  f.write(data)
  f.flush()
  os.fsync(f.fileno())
 os.replace(path+".new",path)
agent="/opt/xportal/agent"
put("/etc/xportal/agent.json",sys.argv[1].encode(),0o600)
parts=bz2.decompress(base64.b64decode(sys.argv[2])).split(b"\\0")
out=io.BytesIO()
with zipfile.ZipFile(out,"w") as z:
 for name,text in zip(parts[::2],parts[1::2]):
  z.writestr(name.decode(),text)
put(agent+".pyz",out.getvalue(),0o644)
put(agent,b"""#!/bin/sh
cd /
exec /usr/bin/python3 -I $(readlink -e /opt/xportal/agent-whole || echo /opt/xportal/agent.pyz) "$@"
""",0o755)
sys.exit(subprocess.call([agent,"open"]))
'''

# Puts the whole agent beside the core, for root's shell: the zip file is its stdin, $1 names its version, $2 is its
# SHA-256: where a connection breaks, stdin ends too early. A version that is there is not written again, and none is
# removed: what runs goes on with its own.
DELIVER = """set -e
cd /opt/xportal
[ "$(readlink agent-whole)" != "$1" ] || exec cat > /dev/null
cat > $1.$$
[ "$(sha256sum < $1.$$)" = "$2  -" ] || { rm $1.$$; echo "the agent came in part"; exit 1; }
sync $1.$$
mv $1.$$ $1
ln -s $1 agent-whole.$$
mv -T agent-whole.$$ agent-whole
"""


@dataclass(frozen=True)
class HostKey:
    """A machine's ssh host key: the private half as OpenSSH's PEM, the public one as `ssh-ed25519 AAAA...`."""

    private: str
    public: str

    def __repr__(self) -> str:
        return f"HostKey(public={self.public!r})"


def new_host_key() -> HostKey:
    """A key for one launch. It rides in the user data, which the account can read: so never for two."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return HostKey(private.decode(), public.decode())


def build(config: AgentConfig, host_key: HostKey) -> bytes:
    """The user data, gzipped, which cloud-init undoes.

    Raises `UsageError` if it exceeds EC2's 16 KB, which only very many or very long names can cause.
    """
    data = gzip.compress(cloud_config(config, host_key).encode(), 9, mtime=0)
    if len(data) > LIMIT:
        raise UsageError(
            f"the machine's user data would be {len(data)} bytes, and EC2 takes {LIMIT}",
            hint="fewer drives, or shorter names",
        )
    return data


def cloud_config(config: AgentConfig, host_key: HostKey) -> str:
    """The user data as cloud-init reads it."""
    facts = json.dumps(config.to_json(), separators=(",", ":"))
    agent = base64.b64encode(bz2.compress(pack(), 9)).decode()
    cloud = {
        "bootcmd": [["/usr/bin/python3", "-Ic", BOOT, facts, agent]],
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
    }
    return "#cloud-config\n" + yaml.safe_dump(cloud, width=1 << 20)


@functools.cache
def pack() -> bytes:
    """The core's files for a zip file that `python3 FILE` runs: NAME, NUL, SOURCE, NUL and so on.

    Not a zip file yet: in one piece it compresses better.
    """
    sources = {f"agent/{name}.py": shrink(read_source(name)) for name in CORE}
    return "\0".join(part for pair in {"__main__.py": MAIN, **sources}.items() for part in pair).encode()


def read_source(name: str) -> str:
    """The source of one of the agent's modules."""
    return (AGENT / f"{name}.py").read_text(encoding="utf-8")


def deliver_argv(whole: bytes) -> list[str]:
    """The command that takes the whole agent on its stdin. Idempotent; it appears whole or not at all."""
    digest = hashlib.sha256(whole).hexdigest()
    return ["sudo", "sh", "-c", DELIVER, "deliver", f"whole-{digest[:12]}.pyz", digest]


def whole_agent() -> bytes:
    """A zip file of the whole agent, for Python to run. The same sources give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
        for name in sorted(file.name.removesuffix(".py") for file in AGENT.iterdir() if file.name.endswith(".py")):
            archive.writestr(zipfile.ZipInfo(f"agent/{name}.py"), read_source(name), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def shrink(source: str) -> str:
    """Python source without what only people and mypy read: comments, docstrings, annotations, wide indents."""
    text = ast.unparse(Shrink().visit(ast.parse(source)))
    return re.sub("^(    )+", lambda found: " " * (len(found.group()) // 4), text, flags=re.MULTILINE)


class Shrink(ast.NodeTransformer):
    """Takes docstrings and annotations out of a module's tree."""

    def visit(self, node: ast.AST) -> Any:
        """What is left of a node; None: nothing."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return None
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__"):
            node.names = [alias for alias in node.names if alias.name == "TypeVar"]
            return node if node.names else None
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)  # what makes it a field of a data class
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        self.generic_visit(node)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            node.body = node.body or [ast.Pass()]
        return node
