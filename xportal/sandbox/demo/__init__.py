"""The main job told as it happens: `python -m xportal.sandbox.demo`, or `make demo`."""
