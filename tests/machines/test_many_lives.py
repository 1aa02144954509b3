"""I8 and I9: over many lives a container keeps settings, volumes and data, its image few layers, the drive its size."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE, AgentLab, Machine, result
from tests.machines.lab import Lab

pytestmark = pytest.mark.machine

PROGRAM = Path(__file__).with_name("repeat_on_machine.py")
LIVES = int(os.environ.get("XPORTAL_TEST_LIVES", "5"))  # 130 for the whole: 10 to 20 minutes for each way
MAX_LAYERS = 60 if LIVES > 60 else 3
SPARE = 8 << 20  # bytes: the filesystem's and Docker's own books

# With something of everything that a container can have.
RUN = r"""set -e
docker network create --subnet 10.9.0.0/24 lan > /dev/null
docker network create side > /dev/null
docker create --name train --init --label xportal.gpu=auto --label com.docker.compose.project=demo \
    --label com.docker.compose.service=train --restart unless-stopped -v /data -v models:/models -v /v1:/v1 \
    --mount type=volume,dst=/scratch --mount type=tmpfs,dst=/fast --network lan --network-alias trainer --ip 10.9.0.9 \
    --shm-size 128m --ulimit nofile=1000:2000 --memory 256m --cpu-shares 512 --device /dev/null:/dev/zip \
    --cap-add SYS_NICE --security-opt no-new-privileges --sysctl net.ipv4.ip_unprivileged_port_start=90 \
    --add-host there:10.9.0.77 --dns 10.9.0.53 --hostname box -p 127.0.0.1:8888:88 --read-only=false --pids-limit 100 \
    --env "WORDS=it's \"quoted\" \$HOME" --workdir /data --user 0:0 --stop-signal INT --stop-timeout 7 \
    --health-cmd "cat /ledger" --health-interval 60s --log-opt max-size=1m --entrypoint sh tiny \
    -c 'trap "exit 0" INT; while :; do sleep 0.1; done'
docker network connect --alias second side train
docker start train > /dev/null
docker exec train sh -c 'echo 0 > /ledger; echo 0 > /data/ledger; echo mine > /models/file'
"""
# One that somebody stopped, and one in the network of the first.
OTHERS = r"""set -e
loop='trap exit TERM; while :; do sleep 0.1; done'
docker run -d --name stopped --restart always tiny sh -c "$loop" > /dev/null
docker stop stopped > /dev/null
docker run -d --name plain --network container:train tiny sh -c "$loop" > /dev/null
"""


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> AgentLab:
    """Machines with agents."""
    return AgentLab(lab)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("way", "volume"), [("edit", "vol-0d1"), pytest.param("anew", "vol-0d2", marks=pytest.mark.all)]
)
def test_a_container_over_many_lives(
    cloud: AgentLab, way: str, volume: str, record_property: Callable[[str, object], None]
) -> None:
    """The GPU gained and lost in turn, layer and volumes changed each time; Docker's files edited, and not."""
    cloud.lab.hardware.create_volume(volume, 8, None)
    machine = cloud.boot(volume, blank=True, gpus=1)
    result(machine.follow("boot"))
    machine.run(MAKE_IMAGE)
    machine.run(RUN)
    if LIVES < 60:
        machine.run(OTHERS)
    machine.run(f"cat > /tmp/lives.py <<'END'\n{PROGRAM.read_text()}\nEND")
    told = machine.run(f"cd /; sudo python3 /tmp/lives.py {LIVES} {way} {MAX_LAYERS}").splitlines()
    first, *each = [json.loads(line) for line in told]

    for life in each:
        expected = [str(number) for number in range(life["life"])]
        assert life["ledgers"][:2] == [expected, expected]
        assert life["gpus"] == life["life"] % 2
        assert bool(life["ledgers"][2]) == bool(life["gpus"]), life["notes"]
        assert life["states"] == first["states"], life["notes"]
        assert life["settings"] == first["settings"]
        assert life["address"] == "10.9.0.9"
        assert "train" in [one["container"] for one in life["saved"]["committed"]]
        assert life["layers"] <= MAX_LAYERS + 1
        assert life["volumes"] == first["volumes"]
    assert len({life["id"] for life in each}) == (1 if way == "edit" else LIVES)
    assert max(life["used"] for life in each) - each[1]["used"] < MAX_LAYERS * (1 << 19) + SPARE
    assert max(len(life["images"]) for life in each) <= len(each[1]["images"]) + MAX_LAYERS + 2
    for life in (each[min(number, LIVES) - 1] for number in (10, 50, 130)):
        figures = {"layers": life["layers"], "images": len(life["images"]), "bytes": life["used"]}
        record_property(f"{way}, life {life['life']}", figures)
    record_property(f"{way}, seconds", sum(life["seconds"] for life in each))
    machine.off()


DEEP = r"""set -e
cat > /tmp/Dockerfile <<'END'
FROM tiny
ENV WORDS="it's \"quoted\" \$HOME" EMPTY=
LABEL some.label="a b='c'"
EXPOSE 80/tcp 53/udp
VOLUME ["/data", "/with space"]
WORKDIR /work dir
USER 12:34
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-e", "-c"]
HEALTHCHECK --interval=9s --retries=2 CMD ["cat", "it's here"]
ONBUILD ENV LATER="x y"
ENTRYPOINT ["sh", "-c", "exec \"$@\"", "--"]
CMD ["sleep", "99"]
END
sed 1d /tmp/Dockerfile > /tmp/settings
{ echo FROM tiny; for n in 1 2 3 4 5; do echo "RUN echo $n > /$n"; done; echo 'RUN echo > /1'; } > /tmp/Dockerfile
cat /tmp/settings >> /tmp/Dockerfile
docker build -q -t deep - < /tmp/Dockerfile > /dev/null
docker run -d --init --name deep deep > /dev/null
docker exec -u 0 deep sh -c 'echo mine > /mine'
docker stop -t 0 deep > /dev/null
"""
FLATTEN = """
import sys
from pathlib import Path
sys.path.insert(0, "/opt/xportal/agent-whole")
from agent.core.events import Log
from agent.full import commits
from agent.full.docker_api import Engine
from agent.full.docker import Docker
docker, drive, log = Docker(), Path("/xportal/v1/.xportal"), Log(Path("/run/flat.jsonl"))
commits.Commits(Engine(), docker, drive, log).commit_changed(docker.inspect(docker.list_ids()))
commits.flatten_deep(Engine(), docker, drive, log, int(sys.argv[1]))
"""


def test_a_deep_image_is_made_flat_with_all_its_settings(cloud: AgentLab) -> None:
    """ENV, CMD, ONBUILD and all the others, whatever needs quoting in them; the files; nothing else is left over."""
    cloud.lab.hardware.create_volume("vol-0d3", 4, None)
    machine = cloud.boot("vol-0d3", blank=True)
    result(machine.follow("boot"))
    machine.run(MAKE_IMAGE)
    machine.run(DEEP)
    machine.run(f"cat > /tmp/flatten.py <<'END'\n{FLATTEN}\nEND")
    machine.run("cd /; sudo python3 /tmp/flatten.py 60")
    deep = inspect_image(machine)
    assert len(deep["RootFS"]["Layers"]) > 4
    assert deep["Config"]["Env"][1:] == ['WORDS=it\'s "quoted" $HOME', "EMPTY="]
    before = machine.run("docker volume ls -q; docker ps -aq")

    machine.run("cd /; sudo python3 /tmp/flatten.py 4")
    flat = inspect_image(machine)
    assert len(flat["RootFS"]["Layers"]) <= 2
    assert flat["Config"] == deep["Config"]
    assert machine.run("docker volume ls -q; docker ps -aq") == before
    assert machine.run("docker run --rm --user 0 xportal/deep cat /mine /1 /5") == "mine\n\n5"
    assert machine.run(f"docker image inspect {deep['Id']} > /dev/null 2>&1 || echo gone") == "gone"
    machine.off()


def inspect_image(machine: Machine) -> dict[str, Any]:
    """What Docker knows of the committed image."""
    (found,) = json.loads(machine.run("docker image inspect xportal/deep"))
    return dict(found)
