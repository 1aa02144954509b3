"""Images: those of the catalogue, by their id."""

from __future__ import annotations

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.errors import ApiError, not_found
from xportal.sandbox.api.ec2.records.image import Image


def get_image(backend: Ec2Backend, image_id: str) -> Image:
    if not image_id.startswith("ami-"):
        raise ApiError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    image = backend.amis.get(image_id)
    if not isinstance(image, Image):
        raise not_found("InvalidAMIID", f"[{image_id}]")
    return image
