"""What a spec's file says, and what is made of it."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from xportal.cli.specs import example
from xportal.container.options import create_payload
from xportal.portal.converge import options_of
from xportal.spec import ContainerSpec, DriveSpec, FileSpec, MachineSpec, UnattendedSpec, schema
from xportal.spec.reading import read_spec

DURABLE = ("/v1", "/v2", "/home/ec2-user")


def read(text: str, **environ: str) -> FileSpec:
    """A spec in YAML."""
    return read_spec("portal.yaml", text.encode(), environ)


def container(keys: str, **environ: str) -> ContainerSpec:
    """The container with these keys."""
    return read(f"containers:\n  web: {{image: img, {keys}}}\n", **environ).containers[0]


def whole_example() -> str:
    """The example with every key: as if the # before each were removed."""
    return re.sub(r"^( *)#(?=[^ ])", r"\1", example(), flags=re.MULTILINE)


def keys_of(told: Any, section: str = "") -> set[str]:
    """The keys of a spec, each after its section as schema.SECTIONS has it."""
    found = set()
    for key, value in told.items():
        found.add(f"{section}.{key}")
        if key in ("machine", "limits"):
            found |= keys_of(value, key)
        if key == "drives":
            found |= {one for drive in value for one in keys_of(drive, "drives[]")}
        if key == "containers":
            found |= {one for each in value.values() for one in keys_of(each, "containers.NAME")}
    return found


def test_the_example_is_right_as_it_is_written() -> None:
    """What `xportal init` writes can be brought up."""
    spec = read(example())
    assert (spec.name, spec.machine.gpu, spec.drives) == ("train", True, (DriveSpec("train", 50),))
    assert spec.containers == ()


def test_the_example_has_every_key_and_each_is_right() -> None:
    """Those that are commented out, too; so no key lacks an explanation."""
    spec = read(whole_example(), WANDB_API_KEY="k")
    known = {f"{place}.{name}" for place, section in schema.SECTIONS.items() for name in section.model_fields}
    assert keys_of(yaml.safe_load(whole_example())) == known
    assert spec.alone == UnattendedSpec(
        'echo "$(date) AWS takes the machine back" >> /v1/notices.log', 60.0, checkpoint_on_rebalance=True,
        checkpoint_minutes=30.0,
    )  # fmt: skip
    assert (spec.follows.budget, spec.follows.max_hours, spec.follows.end_price) == (20.0, 48.0, 1.2)
    assert spec.machine == MachineSpec(
        gpu=True, types=("g5.xlarge", "g6.xlarge"), min_gpu_memory_gib=16.0, max_price=0.6, on_demand=False,
        image_id="ami-0123456789abcdef0", architecture="x86_64", ssh_from="203.0.113.0/24",
    )  # fmt: skip


def test_the_json_schema_takes_what_we_take() -> None:
    """It is a schema of JSON Schema, and takes the whole example and not a misspelt key."""
    told = schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(told)
    jsonschema.validate(yaml.safe_load(whole_example()), told)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"machine": {"gpus": True}}, told)


def test_json_is_read_like_yaml() -> None:
    """With tabs, escapes and exponents, which YAML has not."""
    text = '{\n\t"name": "a\\u002db",\n\t"limits": {"budget": 2e1}, "containers": {"web": {"image": "i\\/j"}}\n}'
    spec = read_spec("x.json", text.encode(), {})
    assert (spec.name, spec.follows.budget, spec.containers[0].image) == ("a-b", 20.0, "i/j")


def test_text_is_as_it_is_written() -> None:
    """No number loses its zeros, `no` is a word, and a port is no number to the base of 60."""
    told = container("restart: no, user: 0700, ports: [22:22], environment: {V: 1.10, W: 010, X: yes, Y: true, Z: ''}")
    assert (told.restart, told.user, told.ports) == ("no", "0700", ("22:22",))
    assert told.environment == ("V=1.10", "W=010", "X=yes", "Y=true", "Z=")


def test_variables() -> None:
    """Quoted or not they are put in, numbers among them; in on_notice they are the shell's."""
    text = "machine: {max_price: $P, gpu: '${GPU}'}\non_notice: echo $P $$\ndrives: [{name: d, size: '${S:-7}'}]\n"
    spec = read(text, P="0.5", GPU="true")
    assert (spec.machine.max_price, spec.machine.gpu, spec.drives[0].size_gib) == (0.5, True, 7)
    assert spec.alone.on_notice == "echo $P $$"
    assert spec.text == text


def test_variables_that_are_not_set_are_told() -> None:
    """As Compose does, nothing takes their place; a name alone in the environment is left out."""
    spec = read("containers:\n  web:\n    image: img\n    environment: [A, 'B=$C', D]\n", D="d")
    assert spec.containers[0].environment == ("B=", "D=d")
    assert len(spec.warnings) == 2
    assert spec.warnings[0].startswith("portal.yaml:4: containers.web.environment[1]: C is not set")


def test_secrets_stay_here() -> None:
    """What is kept has the file's own words; what is told has names for values."""
    spec = read("containers:\n  web: {image: img, environment: {A: '${KEY}', KEY: }}\n", KEY="topsecret")
    assert spec.containers[0].environment == ("A=topsecret", "KEY=topsecret")
    assert "topsecret" not in spec.text + str(spec.follows)
    assert spec.without_hidden("no topsecret here") == "no ${KEY} here"


def test_a_key_without_a_value_is_none() -> None:
    """As when all keys of a section are commented out."""
    assert read("name:\nmachine:\ndrives:\nlimits:\ncontainers:\n") == read_spec(
        "portal.yaml", b"name:\nmachine:\ndrives:\nlimits:\ncontainers:\n", {}
    )
    assert read("machine:\n").machine == MachineSpec(on_demand=False)
    assert read("").drives == ()


def test_what_the_file_does_not_say_is_off() -> None:
    """A key that is taken out of a file has an effect."""
    assert read("name: a\n").alone == UnattendedSpec("", 0.0, checkpoint_on_rebalance=False, checkpoint_minutes=0.0)


def test_a_definition_has_its_digest() -> None:
    """The same whatever the order of keys; another for each change, a variable's value among them."""
    one = container("command: a b, user: me").digest()
    assert one == container("user: me, command: [a, b]").digest()
    others = [
        container(keys, V="1").digest() for keys in ("command: a, user: me", "command: a b", "environment: {V: }")
    ]
    assert len({one, *others, container("environment: {V: }", V="2").digest()}) == 5


def test_a_new_xportal_makes_no_container_anew() -> None:
    """The digest of a definition is the same in all versions: a key with its default is not in it."""
    assert container("command: sleep 5").digest() == "299028f86f0831ff"
    assert container("command: sleep 5, init: true, gpus: all").digest() == "299028f86f0831ff"


def test_a_definition_is_what_docker_run_takes() -> None:
    """An entrypoint of several words goes on in the command."""
    options = options_of(container("entrypoint: [tini, -g], command: sleep 5, gpus: none, init: false"), ["old:/data"])
    assert (options.entrypoint, options.command) == ("tini", ("-g", "sleep", "5"))
    assert (options.mounts, options.gpu, options.init) == (("old:/data",), False, False)
    assert options_of(container("command: [sleep, '5']")).entrypoint is None


@pytest.mark.parametrize(
    "keys",
    [
        "ports: [80, '80:80', '127.0.0.1:80:80', 'localhost:80:80/udp', '8000-8002:80-82', '127.0.0.1::80', '9-10']",
        "volumes: [/data, 'cache:/c', '/v1/x:/x:ro', '/v2:/y', '/home/ec2-user/z:/z:rw,z']",
        "shm_size: 8g, mem_limit: 1.5gb", "shm_size: 512m, mem_limit: 1073741824", "ipc: 'container:other'",
        "ulimits: {memlock: -1, nofile: {soft: 1, hard: -1}}", "restart: 'on-failure:3'", "labels: [a=, b=c=d]",
    ],
)  # fmt: skip
def test_what_is_right_here_is_right_for_docker(keys: str) -> None:
    """No value passes that `xportal run` would refuse once the machine is up."""
    create_payload(options_of(container(keys)), gpu=True, durable=DURABLE, environ={})


def test_the_schema_is_json() -> None:
    """As text, for `xportal schema`; what only our documentation uses is not in it."""
    assert json.loads(schema.json_schema_text()) == schema.json_schema()
    assert '"option"' not in schema.json_schema_text()
