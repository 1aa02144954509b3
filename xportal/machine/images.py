"""Which AMI a machine boots: Amazon Linux 2023, with NVIDIA's driver where there is a GPU."""

from __future__ import annotations

from xportal.aws import catalogue
from xportal.aws.records import Image
from xportal.aws.session import Aws
from xportal.errors import UsageError
from xportal.spec import DEFAULT_ARCHITECTURE, MachineSpec

LOGIN_USER = "ec2-user"

# AWS's public SSM parameters.
_CPU = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}"
_GPU = "/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"


def get_machine_image(aws: Aws, spec: MachineSpec, *, gpu: bool) -> Image:
    """The AMI of a machine with or without a GPU. Raises UsageError if `--image-id` does not fit."""
    architecture = spec.architecture or DEFAULT_ARCHITECTURE
    if spec.image_id:
        image = catalogue.get_image(aws, spec.image_id)
        if image.architecture != architecture:
            raise UsageError(f"{image.id} is {image.architecture}, not {architecture}", hint="see --architecture")
        return image
    parameter = (_GPU if gpu else _CPU).format(architecture=architecture)
    return catalogue.get_image(aws, catalogue.get_parameter(aws, parameter))
