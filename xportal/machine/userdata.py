"""The user data of a launch: cloud-config that brings the agent, the launch's facts and the ssh host key."""

from __future__ import annotations

import ast
import base64
import bz2
import gzip
import io
import json
import re
import tokenize
from dataclasses import dataclass
from importlib import resources
from typing import cast

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from xportal.agent.config import AgentConfig
from xportal.errors import UsageError

LIMIT = 16384  # EC2's, before base64
MAIN = "import sys\nfrom agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"

# Runs at every boot, before networks, users and Docker: so what it does can be done again.
# Its arguments are the launch's facts and the agent: names and sources in turn, parted by NULs.
BOOT = """import base64,bz2,io,os,subprocess,sys,zipfile
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
put(agent,b'#!/bin/sh\\ncd /\\nexec /usr/bin/python3 -I %s.pyz "$@"\\n'%agent.encode(),0o755)
sys.exit(subprocess.call([agent,"open"]))
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


def pack() -> bytes:
    """The agent's files for a zip file that `python3 FILE` runs: NAME, NUL, SOURCE, NUL and so on.

    Not a zip file yet: in one piece it compresses better.
    """
    modules = sorted(resources.files("xportal.agent").iterdir(), key=lambda file: file.name)
    sources = {
        f"agent/{file.name}": strip(file.read_text(encoding="utf-8")) for file in modules if is_source(file.name)
    }
    return "\0".join(part for pair in {"__main__.py": MAIN, **sources}.items() for part in pair).encode()


def is_source(name: str) -> bool:
    """Whether a file of the package is one of its modules."""
    return name.endswith(".py")


def strip(source: str) -> str:
    """Python source without comments, docstrings and functions' annotations; every line keeps its number."""
    text = source.encode()
    cuts = [*comments(source), *signatures(source, text), *docstrings(source)]
    for first, last, instead in sorted(cuts, reverse=True):
        lines = text[first:last].count(b"\n")
        text = text[:first] + instead + b"\n" * lines + text[last:]
    return re.sub(r"[ \t]+(?=\n)", "", text.decode())


Cut = tuple[int, int, bytes]  # from byte, to byte, what to put there


def comments(source: str) -> list[Cut]:
    """Where the comments are."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            start = offset(source, row, len(source.splitlines()[row - 1][:column].encode()))
            found.append((start, start + len(token.string.encode()), b""))
    return found


def docstrings(source: str) -> list[Cut]:
    """Where the docstrings are; `0` takes the place of one that is the whole body."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            first = node.body[0]
            alone = len(node.body) == 1 and not isinstance(node, ast.Module)
            found.append((*span(source, first), b"0" if alone else b""))
    return found


def signatures(source: str, text: bytes) -> list[Cut]:
    """Where the annotations of parameters and results are."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.annotation:
            start, end = span(source, node)
            found.append((start + len(node.arg.encode()), end, b""))
        elif isinstance(node, ast.FunctionDef) and node.returns:
            start, end = span(source, node.returns)
            found.append((text.rindex(b"->", 0, start), end, b""))
    return found


def span(source: str, node: ast.stmt | ast.expr | ast.arg) -> tuple[int, int]:
    """A node's first byte, and the one after its last."""
    last = offset(source, cast(int, node.end_lineno), cast(int, node.end_col_offset))
    return offset(source, node.lineno, node.col_offset), last


def offset(source: str, line: int, column: int) -> int:
    """The byte at a line (from 1) and a column in bytes."""
    return sum(len(text.encode()) for text in source.splitlines(keepends=True)[: line - 1]) + column
