"""The keys of a spec, section by section. A key is here if something acts on it, and only then.

docs/spec.md and `xportal schema` are made of these classes. `option` names the option of `up` or `watch` that wins over
the key.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xportal.spec import leaves


def key(meaning: str, *, option: str = "", default: Any = None) -> Any:
    """A key that may be left out."""
    return Field(default=default, description=meaning, json_schema_extra={"option": option} if option else None)


class Section(BaseModel):
    """Keys that are all known. One without a value is as one that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, told: Any) -> Any:
        if not isinstance(told, dict):
            return told
        return {
            name: value for name, value in told.items() if name not in cls.model_fields or not leaves.is_nothing(value)
        }


class Machine(Section):
    """The machine that is wanted. If the section says nothing, it is a CPU machine from the spot market."""

    gpu: leaves.Flag | None = key("Whether it has a GPU.", option="--gpu, --cpu")
    types: tuple[leaves.InstanceType, ...] = key(
        "The instance types that may be taken. Without them, xportal knows some that fit.", option="--type", default=()
    )
    min_gpu_memory: leaves.GpuMemory | None = key(
        "The memory of one GPU is at least so many GiB.", option="--min-gpu-memory"
    )
    architecture: leaves.Architecture | None = key(
        "The CPU's architecture; it must be that of the drives' programs.", option="--architecture"
    )
    market: leaves.Market = key(
        "Spot machines are cheap, and AWS may take them back; on-demand machines cost the full price.",
        option="--on-demand, --spot",
        default="spot",
    )
    max_price: leaves.Price | None = key(
        "No spot offer above this price, in US dollars an hour, is taken at a launch.", option="--max-price"
    )
    image_id: leaves.ImageId | None = key(
        "It boots this machine image (AMI) instead of Amazon Linux 2023.", option="--image-id"
    )
    ssh_from: leaves.SshFrom | None = key(
        "Ssh is let in from this range of addresses; `here`: from this computer's address. Without it, it stays as it "
        "is; at first it is this computer's address.",
        option="--ssh-from",
    )
    wait_capacity: leaves.Flag = key(
        "If there is no machine, or none at `max_price`, `up` tries again until there is.",
        option="--wait-capacity",
        default=False,
    )


class Drive(Section):
    """A drive. The first is at `/v1`, with Docker's data and the home directory; the others are at `/v2`, `/v3`, ..."""

    name: leaves.Name = Field(description="Its name in the account.", json_schema_extra={"option": "--drive"})
    size: leaves.Gib | None = key(
        "Its size in GiB: of a new drive (then 50 without it), or to grow to. No drive shrinks.", option="--size"
    )


class Limits(Section):
    """Where the portal ends, with a save. `watch` keeps these limits; the machine itself keeps `idle_minutes`."""

    budget: leaves.Dollars | None = key(
        "The portal's machines, at their launch prices and without drives, have cost so many US dollars.",
        option="--budget",
    )
    max_hours: leaves.Hours | None = key("The portal's machines have run for so many hours.", option="--max-hours")
    max_price: leaves.Price | None = key(
        "The machine's spot price has risen above so many US dollars an hour.", option="watch --max-price"
    )
    idle_minutes: leaves.Minutes = key(
        "Nobody has used the machine for so many minutes; 0: never.", option="--idle-minutes", default=0.0
    )


class Container(Section):
    """A container, with the keys that Compose gives a service, where they mean the same."""

    image: leaves.Text = Field(description="The image; the machine has it, or pulls it.")
    command: leaves.Words = key("What runs instead of the image's own command.", default=())
    entrypoint: leaves.Words = key("What runs instead of the image's own entrypoint.", default=())
    environment: leaves.Environment = key(
        "Variables for the program, as a mapping or a list of `NAME=VALUE`. A name alone takes this computer's value.",
        default=(),
    )
    ports: tuple[leaves.Port, ...] = key(
        "`[PORT:]CONTAINER_PORT[/udp]` each, bound to the machine's loopback.", default=()
    )
    volumes: tuple[leaves.Volume, ...] = key(
        "`SOURCE:PATH[:ro]` each; the source is a directory on a drive (`/v1/data`) or a volume's name. The first "
        "drive is at `/v1` in every container.",
        default=(),
    )
    working_dir: leaves.Text | None = key("The directory in which the command starts.")
    user: leaves.Text | None = key("Who runs it, instead of the image's own user.")
    shm_size: leaves.Bytes | None = key("The size of `/dev/shm`, as `8g`.")
    mem_limit: leaves.Bytes | None = key("The most memory that it may use.")
    ipc: leaves.Ipc | None = key("`host` shares the machine's shared memory.")
    ulimits: leaves.Ulimits = key("Limits by name, each a number, or `soft` and `hard`.", default=())
    restart: leaves.Restart | None = key("`no`, `always`, `unless-stopped` or `on-failure[:TIMES]`.")
    network_mode: leaves.Text | None = key("The network that it joins.")
    labels: leaves.Labels = key("Labels, as a mapping or a list of `NAME=VALUE`.", default=())
    init: leaves.Flag = key("Whether a first process passes signals on, and collects ended ones.", default=True)
    gpus: leaves.Gpus = key("`all`: the machine's GPUs, whenever it has some; `none`.", default="all")


class Portal(Section):
    """A portal: what `xportal up` is to bring up."""

    name: leaves.Name | None = key("The portal's name. Without it, it is the file's, without its ending.")
    machine: Machine = key("The machine that is wanted.", default=Machine())
    drives: tuple[Drive, ...] = key(
        "The drives, in their order. Without them, those of the last `up`; at first one of the portal's name.",
        option="--drive",
        default=(),
    )
    limits: Limits = key("Where the portal ends, with a save.", default=Limits())
    checkpoint_every: leaves.Minutes = key(
        "The minutes between two rolling checkpoints, so that later snapshots are quick; 0: none.",
        option="--checkpoint-every",
        default=0.0,
    )
    checkpoint_on_rebalance: leaves.Flag = key(
        "Whether it takes a checkpoint when AWS says that it may soon take the machine back.",
        option="--checkpoint-on-rebalance",
        default=False,
    )
    on_notice: leaves.ShellCommand = key(
        "A command for the machine's shell when AWS takes it back, before the save. Variables in it are the shell's.",
        option="--on-notice",
        default="",
    )
    containers: dict[leaves.ContainerName, Container] = key(
        "The containers, by name. `up` makes one that is missing, makes one anew whose definition has changed, and "
        "leaves all others alone.",
        default={},
    )


SECTIONS: dict[str, type[Section]] = {
    "": Portal,
    "machine": Machine,
    "drives[]": Drive,
    "limits": Limits,
    "containers.NAME": Container,
}


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    schema = Portal.model_json_schema()
    schema["title"] = "xportal's spec of a portal"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_options(schema)}


def json_schema_text() -> str:
    """The same, as a file."""
    return json.dumps(json_schema(), indent=2)


def _without_options(told: Any) -> Any:
    if isinstance(told, dict):
        return {
            name: _without_options(value)
            for name, value in told.items()
            if not (name == "option" and isinstance(value, str))
        }
    return [_without_options(one) for one in told] if isinstance(told, list) else told
