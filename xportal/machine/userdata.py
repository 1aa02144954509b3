"""How the agent comes to a machine: its core in the launch's user data, all of it with the first login.

The user data are cloud-config: the core, the launch's facts and the ssh host key.
"""

from __future__ import annotations

import base64
import bz2
import functools
import gzip
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from importlib import resources

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from xportal.agent.core.config import AgentConfig
from xportal.errors import UsageError
from xportal.machine.shrinking import shrink

LIMIT = 16384  # EC2's, before base64
AGENT = resources.files("xportal.agent")
CORE = "core"  # the room of the agent that the user data carry; the others come with the first login of `up`
MAIN = "import sys\nfrom agent.core.main import main\nsys.exit(main(sys.argv[1:]))\n"

# Runs at every boot, before networks, users and Docker: so what it does can be done again.
# Its arguments are the launch's facts and the agent: names and sources in turn, parted by NULs. It compiles each source
# once, for several of the agent's commands run before the full one comes. The compiled file (PEP 552, not to be checked
# against its source) stands beside the source, which a Python of another version takes instead.
BOOT = '''import base64,bz2,io,marshal,os,subprocess,sys,zipfile
from importlib.util import MAGIC_NUMBER
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
  name=name.decode()
  z.writestr(name,text)
  z.writestr(name+"c",MAGIC_NUMBER+b"\\1"+bytes(11)+marshal.dumps(compile(text,agent+".pyz/"+name,"exec")))
put(agent+".pyz",out.getvalue(),0o644)
put(agent,b"""#!/bin/sh
cd /
exec /usr/bin/python3 -I $(readlink -e /opt/xportal/agent-whole || echo /opt/xportal/agent.pyz) "$@"
""",0o755)
sys.exit(subprocess.call([agent,"open"]))
'''

# Puts the full agent beside the core, for root's shell: a zip file is its stdin, $1 is the name of the directory that
# it becomes, $2 its SHA-256: where a connection breaks, stdin ends too early. It is compiled once, for compiling takes
# longer than most of the agent's commands, and all of it is on the disk before anything runs it: a power cut would
# leave compiled files that stop Python. A version that is there is not written again, and none is removed: what runs
# goes on with its own. Of two that bring the same one, the first to be done wins.
DELIVER = """set -e; umask 022
cd /opt/xportal
[ "$(readlink agent-whole)" != "$1" ] || exec cat > /dev/null
new=$1.$$
trap 'rm -rf $new $new.zip $new.link' EXIT
cat > $new.zip
[ "$(sha256sum < $new.zip)" = "$2  -" ] || { echo "the agent came in part"; exit 1; }
/usr/bin/python3 -Im zipfile -e $new.zip $new
/usr/bin/python3 -Im compileall -q $new
find $new -exec sync {} +
mv -T $new $1 2> /dev/null || [ -d $1 ]
ln -s $1 $new.link
mv -T $new.link agent-whole
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
    core = {name: shrink(text) for name, text in list_sources() if is_core(name)}
    files = {"__main__.py": MAIN, "agent/__init__.py": "", **core}
    return "\0".join(part for pair in files.items() for part in pair).encode()


def is_core(name: str) -> bool:
    """Whether a file of the agent is in the core's room."""
    return name.startswith(f"agent/{CORE}/")


def list_sources() -> list[tuple[str, str]]:
    """The agent's files, as (name in its zip file, text), in the order of their names."""
    rooms = [AGENT, *sorted((entry for entry in AGENT.iterdir() if entry.is_dir()), key=lambda room: room.name)]
    names = ["agent" if room is AGENT else f"agent/{room.name}" for room in rooms]
    return [
        (f"{name}/{file.name}", file.read_text(encoding="utf-8"))
        for name, room in zip(names, rooms, strict=True)
        for file in sorted(room.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py")
    ]


def deliver_argv(full: bytes) -> list[str]:
    """The command that takes the full agent on its stdin. Idempotent; it appears whole or not at all."""
    digest = hashlib.sha256(full).hexdigest()
    return ["sudo", "sh", "-c", DELIVER, "deliver", f"whole-{digest[:12]}", digest]


def full_agent() -> bytes:
    """A zip file of the full agent. The same sources give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
        for name, text in list_sources():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()
