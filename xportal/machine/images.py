"""Which AMI a machine boots: Amazon Linux 2023, with NVIDIA's driver where there is a GPU."""

from __future__ import annotations

from xportal.aws import catalogue
from xportal.aws.errors import AwsError
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
    try:
        image_id = catalogue.get_parameter(aws, parameter)
    except AwsError as error:
        if error.code != "ParameterNotFound":
            raise
        what = "Deep Learning image (with NVIDIA's driver)" if gpu else "Amazon Linux 2023"
        raise UsageError(
            f"AWS has no {what} for {architecture} in {aws.region}",
            hint="another --region, or --image-id AMI with one of your own; aws ssm get-parameter --name "
            f"{parameter} --region {aws.region} shows when there is one",
        ) from error
    return catalogue.get_image(aws, image_id)
