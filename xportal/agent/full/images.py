"""Docker's command line for what only the full agent does: layers and images."""

from __future__ import annotations

import json
from typing import List, Optional

from ..core.docker import Docker


class DockerImages(Docker):
    """As `Docker`, with layers and images."""

    def layer_bytes(self, container: str) -> int:
        """What the container has written to its own layer. Reads the whole layer's directory."""
        return int(self._docker("container", "inspect", "-s", "-f", "{{.SizeRw}}", container, timeout=None).out)

    def is_changed(self, container: str) -> bool:
        """Whether the container's own layer differs from its image."""
        return bool(self._docker("diff", container, timeout=None).out.strip())

    def commit(self, container: str, image: str) -> str:
        """Make an image of the container's layer. Returns the image's id."""
        return self._docker("commit", container, image, timeout=None).out.strip()

    def tags(self, image: str) -> Optional[List[str]]:
        """An image's names; None if there is no such image."""
        got = self._docker("image", "inspect", "-f", "{{json .RepoTags}}", image, check=False)
        return list(json.loads(got.out) or []) if got.status == 0 else None

    def remove_image(self, image: str) -> Optional[str]:
        """Remove an image. Returns why it could not be (it is in use), or None."""
        return self._why("rmi", image)
