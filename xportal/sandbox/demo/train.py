"""Fit a small neural network to a sine wave, with a checkpoint on the drive after every epoch.

Started again, on whatever machine, it goes on from its last checkpoint. Runs in the
demo's container with Python's standard library alone, until it is stopped.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

State = dict[str, Any]
CHECKPOINT = Path("/v1/checkpoint.json")
HIDDEN = 24
SAMPLES = 20_000
RATE = 0.02
REST_S = 0.3  # after each epoch: the demo's computer has other work to do


def train_epoch(weights: list[list[float]], epoch: int) -> float:
    """One pass of stochastic gradient descent over samples of sin(3x); returns the mean squared error."""
    into, bias, out = weights
    draw = random.Random(epoch)
    total = 0.0
    for _ in range(SAMPLES):
        x = draw.uniform(-math.pi, math.pi)
        hidden = [math.tanh(w * x + b) for w, b in zip(into, bias, strict=True)]
        error = sum(v * h for v, h in zip(out, hidden, strict=True)) - math.sin(3 * x)
        total += error * error
        for i, h in enumerate(hidden):
            slope = RATE * error * out[i] * (1 - h * h)
            out[i] -= RATE * error * h
            into[i] -= slope * x
            bias[i] -= slope
    return total / SAMPLES


def load() -> State:
    """The last checkpoint, or a new beginning."""
    if CHECKPOINT.exists():
        saved: State = json.loads(CHECKPOINT.read_text())
        return saved
    draw = random.Random(0)
    weights = [[draw.gauss(0, 1) for _ in range(HIDDEN)] for _ in ("into", "bias", "out")]
    return {"epoch": 0, "starts": 0, "loss": None, "weights": weights}


def save(state: State) -> None:
    """Replace the checkpoint as a whole: a power cut leaves the old one or the new one."""
    new = CHECKPOINT.with_suffix(".new")
    with new.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(CHECKPOINT)


def say(text: str) -> None:
    """One line for `xportal logs`, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Train on, from wherever the last run was stopped."""
    state = load()
    state["starts"] += 1
    say(f"start {state['starts']}, from epoch {state['epoch']}")
    while True:
        state["epoch"] += 1
        state["loss"] = train_epoch(state["weights"], state["epoch"])
        save(state)
        say(f"epoch {state['epoch']}: loss {state['loss']:.2e}")
        time.sleep(REST_S)


if __name__ == "__main__":
    main()
