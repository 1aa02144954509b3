"""What commands answer: the schema of `--json`, and what the functions behind the commands return.

A script may rely on each field here. The records inside xportal (what AWS tells, what the agent tells, plans) change
without notice; these classes do not, and CHANGELOG.md names every change of them. `docs/json.md` is made of them.

A field holds text, a number, a flag, a time, None, or reports again. Times are in UTC. Prices are in US dollars an
hour. A size has its unit in its name. Durations are in seconds where the name tells no other unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any


@dataclass(frozen=True)
class Report:
    """The base class of all answers and of their parts."""


def as_json(answer: Any) -> Any:
    """A report, or a list of reports, as the values that JSON has.

    Raises TypeError for every other kind of object: to answer with a record would promise its fields to scripts.
    """
    if answer is None or type(answer) in (str, int, float, bool):
        return answer
    if isinstance(answer, Report):
        return {field.name: as_json(getattr(answer, field.name)) for field in fields(answer)}
    if isinstance(answer, (list, tuple)):
        return [as_json(item) for item in answer]
    if isinstance(answer, Mapping):
        return {key: as_json(value) for key, value in answer.items()}
    if isinstance(answer, datetime) and answer.tzinfo:
        return answer.astimezone(timezone.utc).isoformat()
    raise TypeError(f"{type(answer).__name__} is no report")


# Machines and drives


@dataclass(frozen=True)
class MachineReport(Report):
    """A portal's machine."""

    id: str
    """The instance's id in EC2."""
    state: str
    """Its state, as EC2 names it: `pending`, `running`, `shutting-down`, `terminated`, `stopping` or `stopped`."""
    type: str
    """Its instance type."""
    zone: str
    """Its availability zone."""
    address: str | None
    """Its public IP address."""
    spot: bool
    """Whether it is a spot machine; else it is on demand."""
    architecture: str
    """Its CPU architecture: `x86_64` or `arm64`."""
    image_id: str
    """The machine image (AMI) that it booted."""
    since: datetime
    """When it was launched."""


@dataclass(frozen=True)
class SnapshotReport(Report):
    """A snapshot of a drive."""

    id: str
    """The snapshot's id in EC2."""
    state: str
    """Its state, as EC2 names it: `pending`, `completed` or `error`."""
    started: datetime
    """When it was started: it holds the drive as it was at that moment."""
    size_gib: int
    """The size of the drive, in GiB."""


@dataclass(frozen=True)
class AwakeDriveReport(Report):
    """A drive that is on a machine."""

    name: str
    """The drive's name."""
    volume: str
    """The id of its volume."""
    size_gib: int
    """The volume's size, in GiB."""


# What the agent on the machine says


@dataclass(frozen=True)
class AgentDriveReport(Report):
    """A drive as its machine sees it."""

    name: str
    """The drive's name."""
    mount: str
    """The directory where it is mounted: `/v1` for the first drive."""
    volume_id: str
    """The id of its volume."""
    generation: int
    """How many times the drive came up, this time included, or another copy of it was chosen."""
    size_bytes: int | None
    """The size of its filesystem, in bytes; null while it is not mounted."""
    used_bytes: int | None
    """How much of that is used, in bytes; null while it is not mounted."""

    @property
    def used_fraction(self) -> float:
        """Between 0 and 1."""
        return (self.used_bytes or 0) / self.size_bytes if self.size_bytes else 0.0


@dataclass(frozen=True)
class AgentContainerReport(Report):
    """A container on the drive, as the agent knows it."""

    name: str
    """The container's name."""
    id: str | None
    """Docker's id of it, in full."""
    running: bool
    """Whether it runs."""
    gpu: bool | None
    """Whether it has the machine's GPUs."""
    note: str | None
    """Why it is in this state, in words, for instance why it could not be started."""
    warnings: tuple[str, ...]
    """What it writes outside the drives, and will lose, in words."""


@dataclass(frozen=True)
class LeavingReport(Report):
    """Why a machine saves, or has saved."""

    why: str
    """`notice` (AWS takes the machine back), `idle` (nobody used it), `shutdown` (it was shut down), `rehearsal`, or
    `down`.
    """
    time: datetime | None
    """When AWS takes the machine back; null if AWS has not said that it does."""


@dataclass(frozen=True)
class SettingsReport(Report):
    """What a machine does by itself. It is kept on the drive."""

    on_notice: str | None
    """The command that it runs when AWS takes it back."""
    idle_minutes: float | None
    """After how many unused minutes it saves and ends itself; 0: never."""
    checkpoint_on_rebalance: bool | None
    """Whether it takes a checkpoint when AWS says that it may soon take it back."""
    checkpoint_minutes: float | None
    """The minutes between two rolling checkpoints; 0: it takes none."""


@dataclass(frozen=True)
class AgentReport(Report):
    """What the agent on a portal's machine says."""

    phase: str
    """How far the machine is: `opening` (its drives), `open`, `ready`, `saving`, `saved` or `failed`."""
    error: str | None
    """Why it failed, in words."""
    gpu: str | None
    """The name of its GPU; null if it has none."""
    docker: str | None
    """The version of its Docker."""
    drives: tuple[AgentDriveReport, ...]
    """Its drives, the one at `/v1` first."""
    containers: tuple[AgentContainerReport, ...]
    """The containers on the drive, whether they run or not; empty unless the phase is `ready` or `saving`."""
    leaving: LeavingReport | None
    """Why it saves, or has saved; null in the other phases, or if the agent is too old to say."""
    settings: SettingsReport | None
    """What it does by itself; null if nothing readable is kept on the drive, or the agent is too old to say."""


# Portals


@dataclass(frozen=True)
class UpSecondsReport(Report):
    """How long an `up` took, in seconds."""

    launch: float
    """Until the machine ran."""
    ssh: float
    """From then on until it let us log in."""
    ready: float
    """From then on until the containers were back."""
    total: float
    """In all."""


@dataclass(frozen=True)
class SaveSecondsReport(Report):
    """How long a save took, in seconds."""

    save: float
    """Until the drives were written out and AWS had started their snapshots."""
    wait: float
    """Waiting until AWS had done its part: snapshots were complete, machines were gone."""
    total: float
    """In all."""


@dataclass(frozen=True)
class SpecContainerReport(Report):
    """A container of a spec, and what `up` did for it."""

    name: str
    """Its name."""
    action: str
    """`made` (it was missing), `made anew` (its definition had changed) or `left alone`."""


@dataclass(frozen=True)
class SpecReport(Report):
    """The spec file by which `up` went."""

    file: str
    """The file's name, without its directory."""
    digest: str
    """The beginning of the SHA-256 of its text."""
    containers: tuple[SpecContainerReport, ...]
    """The containers that it defines, in its order."""


@dataclass(frozen=True)
class UpReport(Report):
    """What `up` did."""

    portal: str
    """The portal's name."""
    machine: MachineReport
    """Its machine."""
    price: float | None
    """The machine's spot price at its launch, in US dollars an hour; null on demand."""
    drives: tuple[AwakeDriveReport, ...]
    """Its drives."""
    new: bool
    """Whether this command launched the machine; else it was up already."""
    spec: SpecReport | None
    """The spec file by which it went; null without one."""
    agent: AgentReport
    """What the agent on the machine says."""
    seconds: UpSecondsReport
    """How long it took."""


@dataclass(frozen=True)
class PlannedDriveReport(Report):
    """A drive as `up` would bring it up."""

    name: str
    """The drive's name."""
    mount: str
    """The directory where it would be mounted."""
    source: str | None
    """The id of the snapshot or volume that it would go on from; null: it would be new and blank."""
    size_gib: int
    """The size that it would have, in GiB."""
    generation: int
    """The generation that it would be."""


@dataclass(frozen=True)
class OfferReport(Report):
    """A machine that AWS offers."""

    type: str
    """The instance type."""
    zone: str
    """The availability zone."""
    price: float | None
    """The spot price now, in US dollars an hour; null on demand, for AWS tells that elsewhere."""
    memory_gib: float
    """The machine's memory, in GiB."""
    gpus: int
    """How many GPUs it has."""
    gpu_memory_gib: float
    """The memory of one GPU, in GiB; 0 without a GPU."""
    surplus: float | None
    """What AWS bills at most besides the price while the CPUs of a burstable machine are busy, in US dollars an hour;
    null of other types.
    """


@dataclass(frozen=True)
class QuotaReport(Report):
    """How many vCPUs the account may have at once in the region, of one family of types on one market."""

    name: str
    """The quota's name in the AWS console."""
    code: str
    """Its code."""
    vcpus: int | None
    """How many vCPUs it allows; null if AWS does not say."""
    needed: int
    """How many the machine has."""
    problem: str
    """In words, why the launch would be refused, or could be; empty if the quota is large enough."""


@dataclass(frozen=True)
class PlanReport(Report):
    """What `up` would do."""

    portal: str
    """The portal's name."""
    machine: MachineReport | None
    """The machine on which it is up already, so that nothing would be done; null if one would be launched."""
    drives: tuple[PlannedDriveReport, ...]
    """The drives that the launch would bring up, the one at `/v1` first; empty if it is up already."""
    offers: tuple[OfferReport, ...]
    """The machines that would be tried, in this order; empty if it is up already."""
    architecture: str
    """The machine's CPU architecture: `x86_64` or `arm64`."""
    image_id: str
    """The machine image (AMI)."""
    quota: QuotaReport | None
    """The account's quota that the first offer counts against; null if it is up already, or if xportal does not know
    the quota of this type.
    """
    containers: tuple[str, ...]
    """The names of the containers that the spec file defines; empty without one."""


@dataclass(frozen=True)
class FollowedReport(Report):
    """The spec file that a portal follows: that of its last `up` with a file."""

    file: str
    """The file's name, without its directory."""
    digest: str
    """The beginning of the SHA-256 of its text."""
    market: str
    """`spot` or `on-demand`."""
    max_price: float | None
    """Its `machine.max_price`, in US dollars an hour."""
    image_id: str | None
    """Its `machine.image_id`, which only an `up` with the file boots."""
    wait_capacity: bool
    """Its `machine.wait_capacity`."""
    budget: float | None
    """Its `limits.budget`, in US dollars."""
    max_hours: float | None
    """Its `limits.max_hours`."""
    end_price: float | None
    """Its `limits.max_price`, in US dollars an hour."""


@dataclass(frozen=True)
class KeptSpecReport(Report):
    """The spec file of a portal's last `up` with one, as it is kept on the drive."""

    portal: str
    """The portal's name."""
    file: str
    """The file's name, without its directory."""
    digest: str
    """The beginning of the SHA-256 of its text."""
    text: str
    """The file's text, in which variables are not expanded."""


@dataclass(frozen=True)
class CheckReport(Report):
    """A spec file that is right."""

    file: str
    """The file's path, as it was given or found."""
    digest: str
    """The beginning of the SHA-256 of its text."""
    portal: str
    """The name of the portal that it is the spec of."""
    drives: tuple[str, ...]
    """The names of the drives that it names."""
    containers: tuple[str, ...]
    """The names of the containers that it defines."""
    warnings: tuple[str, ...]
    """Variables that are not set here, in words."""


@dataclass(frozen=True)
class InitReport(Report):
    """A spec file that was written."""

    file: str
    """The file's path."""


@dataclass(frozen=True)
class LastTimeReport(Report):
    """The options of a portal's last `up`, which the next `up` uses unless it is given others."""

    portal: str
    """The portal's name."""
    at: datetime
    """When that `up` was."""
    options: str
    """The options that ask for the same, as a line for a shell; empty if none are needed."""
    drives: tuple[str, ...]
    """The names of its drives, the one at `/v1` first."""
    gpu: bool | None
    """True for `--gpu`, false for `--cpu`, null if neither was given."""
    types: tuple[str, ...]
    """The instance types, `--type`; empty if none was given."""
    min_gpu_memory_gib: float | None
    """`--min-gpu-memory`, in GiB."""
    architecture: str | None
    """`--architecture`, or the drive's."""
    on_notice: str | None
    """The beginning of the command of `--on-notice`, to be shown."""
    idle_minutes: float | None
    """`--idle-minutes`."""
    checkpoint_on_rebalance: bool | None
    """`--checkpoint-on-rebalance`."""
    checkpoint_minutes: float | None
    """`--checkpoint-every`, in minutes."""
    spec: FollowedReport | None
    """The spec file that the portal follows; null if none of its `up`s had one."""


@dataclass(frozen=True)
class PortalReport(Report):
    """A portal. If it is down, the fields from `machine` to `since` are null, except `state`."""

    portal: str
    """The portal's name."""
    machine: str | None
    """The id of its machine."""
    state: str
    """The machine's state, as EC2 names it (see MachineReport), or `down`."""
    type: str | None
    """The machine's instance type."""
    zone: str | None
    """The machine's availability zone."""
    address: str | None
    """The machine's public IP address; null if it has none, too."""
    spot: bool | None
    """Whether it is a spot machine."""
    price: float | None
    """Its spot price at its launch, in US dollars an hour; null on demand, too."""
    since: datetime | None
    """When the machine was launched."""
    last_time: LastTimeReport | None = None
    """The options of its last `up`; null if all portals are listed, or if nothing tells them."""
    ended: str | None = None
    """How it lost its last machine, in words, if it is down and was asked for; null otherwise, or if nothing tells."""
    agent: AgentReport | None = None
    """What the agent on the machine says; null if all portals are listed, or if it could not be asked."""


@dataclass(frozen=True)
class DriveLeftReport(Report):
    """What a save left of a drive."""

    drive: str
    """The drive's name."""
    snapshot: SnapshotReport | None
    """Its newest snapshot; null if it has none."""


@dataclass(frozen=True)
class DownReport(Report):
    """What `down` left of a portal."""

    portal: str
    """The portal's name."""
    drives: tuple[DriveLeftReport, ...]
    """Its drives."""
    found: bool
    """Whether there was anything to end; false if the portal was down already."""
    seconds: SaveSecondsReport
    """How long it took."""


@dataclass(frozen=True)
class DriveSavedReport(Report):
    """A drive and the checkpoint that was taken of it."""

    drive: str
    """The drive's name."""
    snapshot: SnapshotReport
    """The checkpoint."""


@dataclass(frozen=True)
class SaveReport(Report):
    """A checkpoint of all drives of a portal, as of one moment."""

    portal: str
    """The portal's name."""
    drives: tuple[DriveSavedReport, ...]
    """Its drives."""
    seconds: SaveSecondsReport
    """How long it took."""


@dataclass(frozen=True)
class NotCommittedReport(Report):
    """A container whose changes a save at a notice does not commit: the next `up` does."""

    container: str
    """The container's name."""
    reason: str
    """Why, in words."""


@dataclass(frozen=True)
class RehearsalReport(Report):
    """How a save at AWS's notice would go."""

    portal: str
    """The portal's name."""
    took: float
    """The seconds until AWS had the snapshots."""
    limit: float
    """The seconds that AWS gives."""
    in_time: bool
    """Whether the machine would still have had power: `took` is no more than `limit`."""
    back: float
    """The seconds after that until everything ran again."""
    steps: Mapping[str, float]
    """How long each step of the save took, by the step's name, in their order."""
    snapshots: Mapping[str, str]
    """The id of each drive's checkpoint, by the drive's name; empty if the machine has no role to take them with."""
    deferred: tuple[NotCommittedReport, ...]
    """The containers that were not committed."""
    killed: tuple[str, ...]
    """The processes that were ended for the drives to be unmounted, in words."""


@dataclass(frozen=True)
class WatchReport(Report):
    """How a watch ended."""

    portal: str
    """The portal's name."""
    why: str
    """Why it ended, in words."""
    interruptions: int
    """How many machines AWS took."""
    dollars: float
    """What the portal's machines have cost, in US dollars, at their launch prices and without drives."""
    hours: float
    """How long its machines have run."""
    saved: DownReport | None
    """What the watch's own `down` left; null if somebody else ended the portal."""


@dataclass(frozen=True)
class ServiceReport(Report):
    """A watch that runs as a service."""

    portal: str
    """The portal's name."""
    service: str
    """The name of the user's systemd unit."""


@dataclass(frozen=True)
class SshConfigReport(Report):
    """A portal's alias for ssh."""

    portal: str
    """The portal's name."""
    alias: str
    """The name by which ssh reaches its machine."""
    profile: str | None
    """The AWS profile with which ssh asks for the machine; null if the computer's own role gives the credentials."""
    region: str
    """The AWS region."""
    text: str
    """What ssh's configuration says of the alias."""
    written: bool
    """Whether that is in xportal's own file of the alias."""
    included: bool
    """Whether `~/.ssh/config` includes xportal's files."""


@dataclass(frozen=True)
class PortReport(Report):
    """A forwarded port."""

    local: int
    """The port of this computer's loopback."""
    remote: int
    """The port of the machine's loopback."""


@dataclass(frozen=True)
class ForwardReport(Report):
    """Ports that lead to a machine now."""

    portal: str
    """The portal's name."""
    machine: str
    """The machine's id."""
    ports: tuple[PortReport, ...]
    """The ports, in the order in which they were given."""


@dataclass(frozen=True)
class NotebookReport(Report):
    """A Jupyter server that can be reached now."""

    portal: str
    """The portal's name."""
    machine: str
    """The machine's id."""
    container: str | None
    """The name of its container; null if it runs on the machine itself."""
    url: str
    """Where a browser on this computer finds it, with the token. Whoever has that can do what the server can."""


# Drives


@dataclass(frozen=True)
class DriveReport(Report):
    """A drive, and where its newest data is."""

    drive: str
    """The drive's name."""
    state: str
    """`awake` (on a machine), `volume` (on a volume without a machine), `snapshot`, `snapshot pending`,
    `snapshot error`, or `empty`.
    """
    where: str | None
    """The id of that machine, volume or snapshot; null if the drive is empty."""
    zone: str | None
    """The availability zone of that machine or volume; null for a snapshot, which is in all of them."""
    size_gib: int
    """Its size, in GiB; 0 if it is empty."""
    generation: int
    """The generation of its newest data; 0 if it is empty."""
    snapshots: int
    """How many snapshots it has."""
    saved: datetime | None
    """When its newest snapshot was started; null if it has none."""


@dataclass(frozen=True)
class CopyReport(Report):
    """A volume or a snapshot of a drive."""

    id: str
    """Its id in EC2."""
    kind: str
    """`volume`; or of a snapshot `final` (everything was unmounted), `checkpoint` (the work went on), or `by hand`."""
    state: str
    """Its state, as EC2 names it: of a snapshot `pending`, `completed` or `error`; of a volume `available` or `in-use`,
    as a rule.
    """
    generation: int
    """The generation of the drive that it holds: the newest is the highest."""
    size_gib: int
    """Its size, in GiB."""
    made: datetime
    """When it was made."""
    note: str
    """In words: whether it is the newest or forked, and what it was restored from."""


@dataclass(frozen=True)
class PruneReport(Report):
    """What a prune has deleted, or with `--dry-run` would delete."""

    drive: str
    """The drive's name."""
    deleted: tuple[CopyReport, ...]
    """The snapshots that went, oldest first."""
    kept: int
    """How many snapshots stay."""


@dataclass(frozen=True)
class DeleteReport(Report):
    """What is left of a drive that was given up."""

    drive: str
    """The drive's name."""
    deleted: tuple[CopyReport, ...]
    """The copies that went, oldest first."""
    left: tuple[CopyReport, ...]
    """Copies that stay: snapshots that were made by hand, and those of which somebody made an image."""


# Containers


@dataclass(frozen=True)
class RunReport(Report):
    """A container that was started."""

    id: str
    """Docker's id of the container, in full."""
    name: str
    """Its name."""
    image: str
    """The image, as it was asked for."""
    status: int | None
    """Its exit status; null if it runs on in the background, or is removed when it ends (`--rm` without `--attach`)."""
    stdout: str | None
    """What it wrote to its stdout, with `--attach`; else null."""
    stderr: str | None
    """What it wrote to its stderr, with `--attach`; else null."""


@dataclass(frozen=True)
class ExecReport(Report):
    """A command that ran in a container."""

    container: str
    """The container, as it was asked for."""
    status: int
    """The command's exit status, which is xportal's, too."""
    stdout: str
    """What it wrote to its stdout."""
    stderr: str
    """What it wrote to its stderr."""


@dataclass(frozen=True)
class LineReport(Report):
    """A line that a container wrote."""

    stream: str
    """`stdout` or `stderr`."""
    text: str
    """The line, without its end."""


@dataclass(frozen=True)
class ContainerReport(Report):
    """A container on a portal's machine."""

    name: str
    """Its name."""
    id: str
    """The first 12 characters of Docker's id of it."""
    image: str
    """Its image, as it was asked for."""
    status: str
    """Its state, in Docker's words: `Up 3 minutes`."""
    running: bool
    """Whether it runs."""
    ports: tuple[str, ...]
    """Its ports, as `docker ps` writes them: `127.0.0.1:8888->8888/tcp`."""
    gpu: str | None
    """The name of the machine's GPU if the container has it, or `yes` if the machine tells no name; null if the
    container has no GPU.
    """


@dataclass(frozen=True)
class StopReport(Report):
    """A container that was stopped."""

    container: str
    """The container, as it was asked for."""
    stopped: bool = True
    """True: `stop` fails otherwise."""


@dataclass(frozen=True)
class StartReport(Report):
    """A container that was started, or started again."""

    container: str
    """The container, as it was asked for."""
    started: bool = True
    """True: the command fails otherwise."""


@dataclass(frozen=True)
class ImageReport(Report):
    """An image on the machine."""

    names: tuple[str, ...]
    """Its names, each with its tag; empty if it has none."""
    id: str
    """Its id."""
    created: datetime
    """When it was made."""
    size_bytes: int
    """Its size, with the layers that it shares with others."""


@dataclass(frozen=True)
class PullReport(Report):
    """An image that the machine has fetched from its registry."""

    image: str
    """The image, as it was asked for."""
    id: str
    """Its id."""


@dataclass(frozen=True)
class RemoveReport(Report):
    """A container that was removed."""

    container: str
    """The container, as it was asked for."""
    removed: bool = True
    """True: `rm` fails otherwise."""


@dataclass(frozen=True)
class PushReport(Report):
    """An image that is on the machine, and what was sent for that."""

    image: str
    """The image's name."""
    image_id: str
    """Docker's id of the image."""
    sent_layers: int
    """How many layers were sent."""
    skipped_layers: int
    """How many layers were there already."""
    sent_bytes: int
    """How many bytes were sent."""
    skipped_bytes: int
    """How many bytes the skipped layers have."""


@dataclass(frozen=True)
class BuildReport(Report):
    """An image that was built on the machine."""

    image_id: str
    """Docker's id of the image."""
    tag: str | None
    """The name that `--tag` gave it."""


# The sandbox


@dataclass(frozen=True)
class SandboxMachineReport(Report):
    """A machine in the sandbox, that is not terminated."""

    id: str
    """The instance's id."""
    state: str
    """Its state, as EC2 names it (see MachineReport)."""
    type: str
    """Its instance type."""
    zone: str
    """Its availability zone."""
    region: str
    """Its region."""
    market: str
    """`spot` or `on-demand`."""
    public_ip: str | None
    """Its address, as this computer reaches it."""
    launched: datetime
    """When it was launched."""
    power_ends_at: datetime | None
    """When its power is cut; null unless the sandbox takes it back."""
    volumes: Mapping[str, str]
    """The ids of its volumes, by their device names."""


@dataclass(frozen=True)
class SandboxDriveReport(Report):
    """A volume or a snapshot of a drive in the sandbox."""

    drive: str
    """The drive's name."""
    id: str
    """The id of the volume or snapshot."""
    state: str
    """Its state, as EC2 names it (see CopyReport)."""
    size_gib: int
    """Its size, in GiB."""


@dataclass(frozen=True)
class FaultReport(Report):
    """A fault that is in force. The fields from `rate` on are its options. An option is null if this kind of fault does
    not have it, or if it was not given.
    """

    kind: str
    """Which fault it is: the word behind `sandbox fault`."""
    hits: int
    """How often it has hit."""
    rate: float | None = None
    """The share that is hit, 0 to 1."""
    count: int | None = None
    """How many are hit at most."""
    seed: int | None = None
    """Decides which ones are hit."""
    operations: tuple[str, ...] | None = None
    """The API's operations that are hit; empty: all of EC2's."""
    seconds: float | None = None
    """By how much calls or snapshots are delayed."""
    type: str | None = None
    """The instance type that is hit."""
    zone: str | None = None
    """The availability zone that is hit."""
    market: str | None = None
    """The market that is hit: `spot` or `on-demand`."""
    instance_id: str | None = None
    """The machine that is hit."""
    family: str | None = None
    """The family of instance types whose quota it is: `standard`, `g` or `p`."""
    vcpus: float | None = None
    """The vCPUs that the account may have at once."""
    problem: str | None = None
    """What is the matter with the account."""


@dataclass(frozen=True)
class SandboxReport(Report):
    """The sandbox, and what it holds. The lists are empty while it is stopped: what it holds is kept, and shown when it
    runs.
    """

    running: bool
    """Whether it runs."""
    endpoint_url: str
    """Where its API answers."""
    region: str
    """The region of its profile."""
    profile: str
    """The AWS profile that leads to it."""
    home: str
    """The directory of its disks and its state."""
    machines: tuple[SandboxMachineReport, ...]
    """Its machines that are not terminated."""
    drives: tuple[SandboxDriveReport, ...]
    """The volumes, then the snapshots, of drives."""
    faults: tuple[FaultReport, ...]
    """The faults in force."""


@dataclass(frozen=True)
class SandboxSettingsReport(Report):
    """How the sandbox behaves, until it stops."""

    snapshot_seconds: float
    """How long every snapshot is pending at least."""
    snapshot_bytes_per_second: float | None
    """The bytes that changed since the last snapshot, divided by this rate, are added to that time; null: nothing is
    added.
    """
    snapshot_interval_seconds: float
    """The least time between two snapshots of a volume."""
    invisible_seconds: float
    """How long a new machine is not found by its id."""
    mapping_seconds: float
    """How long a machine that has begun to run shows only the first of its disks."""
    iam_seconds: float
    """How long IAM itself does not find a new role or instance profile."""
    profile_seconds: float
    """How long a new instance profile is not known to EC2."""
    stale_seconds: float
    """After a change, for how long machines, volumes, snapshots, key pairs and tags may be shown as they were."""
    shutdown_seconds: float
    """After how long a machine that shuts down loses its power."""
    tags_seconds: float
    """After how long a terminated machine has lost its tags."""
    terminated_seconds: float
    """After how long a terminated machine is forgotten."""


@dataclass(frozen=True)
class SandboxUserReport(Report):
    """The sandbox's IAM user, who may do what the policy given says."""

    profile: str
    """The AWS profile of its access key."""
    arn: str
    """The ARN of the user."""


@dataclass(frozen=True)
class InterruptReport(Report):
    """A machine that the sandbox takes back."""

    machine: str
    """The machine's id."""


@dataclass(frozen=True)
class ResetReport(Report):
    """A sandbox that is gone, with everything in it."""

    home: str
    """The directory that it had."""
