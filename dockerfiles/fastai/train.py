"""Train a small fastai model that survives its machine: stop it anywhere, start it again, it goes on.

After every epoch, and when it is asked to stop (SIGTERM, which `xportal down` and `docker stop` send),
model, optimizer and epoch go into one file on the drive. When it starts, it goes on from that file.
The data are made up here, from a fixed seed: nothing is downloaded.

usage: python train.py [--epochs N] [--rows N] [--checkpoint FILE]
exit status: 0 all epochs done; 143 stopped by SIGTERM, checkpoint written
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.tabular.all import (
    Callback,
    CancelFitException,
    Categorify,
    CategoryBlock,
    Learner,
    Normalize,
    TabularDataLoaders,
    accuracy,
    default_device,
    set_seed,
    tabular_learner,
)

STOPPED = 128 + signal.SIGTERM


def make_table(rows: int) -> pd.DataFrame:
    """Two interleaved spirals and a column of noise: not separable by a line, easy for a small network."""
    rng = np.random.default_rng(0)
    turn, arm = rng.uniform(0.5, 3.5, rows), rng.integers(0, 2, rows)
    angle = np.pi * (turn + arm)
    return pd.DataFrame(
        {
            "x": turn * np.cos(angle) + rng.normal(0, 0.1, rows),
            "y": turn * np.sin(angle) + rng.normal(0, 0.1, rows),
            "sensor": rng.choice(["a", "b", "c"], rows),
            "arm": arm,
        }
    )


def make_learner(rows: int) -> Learner:
    set_seed(0)
    loaders = TabularDataLoaders.from_df(
        make_table(rows),
        procs=[Categorify, Normalize],
        cat_names=["sensor"],
        cont_names=["x", "y"],
        y_names="arm",
        y_block=CategoryBlock(),
        bs=256,
        num_workers=0,
    )
    return tabular_learner(loaders, layers=[64, 64], metrics=accuracy)


def write_whole(state: dict[str, Any], path: Path) -> None:
    """Replace `path` by `state`, on the disk when this returns: a power cut leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Checkpoint(Callback):  # type: ignore[misc]  # fastai has no types
    """Keeps `path` at most one epoch behind the training, and up to date when SIGTERM arrives."""

    order = 60  # after the Recorder, whose numbers it prints

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, 0
        self.stop_asked = self.stopped = False

    def load(self) -> int:
        """Put the checkpoint, if there is one, into the learner; return how many epochs it has behind it."""
        if not self.path.exists():
            return 0
        # Tensors saved on a GPU load on a machine without one. Not weights_only: fastai's optimizer keeps its
        # state in types of its own. So load no checkpoint that somebody else made.
        state = torch.load(self.path, map_location=default_device(), weights_only=False)
        self.learn.model.load_state_dict(state["model"])
        self.learn.create_opt()
        self.learn.opt.load_state_dict(state["optimizer"])
        self.start = int(state["epoch"])
        return self.start

    def save(self, epoch: int) -> None:
        state = {"model": self.learn.model.state_dict(), "optimizer": self.learn.opt.state_dict(), "epoch": epoch}
        write_whole(state, self.path)

    def ask_to_stop(self, *_signal: object) -> None:
        self.stop_asked = True

    def after_batch(self) -> None:
        if self.stop_asked and self.training:
            self.save(self.epoch)  # this epoch is not finished: it will be run again, from the weights as they are now
            self.stopped = True
            raise CancelFitException

    def after_epoch(self) -> None:
        if self.epoch < self.start:  # fastai steps over the epochs of the earlier run, and still calls this
            return
        self.save(self.epoch + 1)
        train_loss, valid_loss, correct = self.recorder.log[1:4]
        numbers = f"train_loss {train_loss:.4f} valid_loss {valid_loss:.4f} accuracy {correct:.3f}"
        print(f"epoch {self.epoch + 1}/{self.n_epoch} on {default_device()}: {numbers}", flush=True)


def train(epochs: int, rows: int, path: Path) -> int:
    learn, checkpoint = make_learner(rows), Checkpoint(path)
    learn.add_cb(checkpoint)
    signal.signal(signal.SIGTERM, checkpoint.ask_to_stop)
    start = checkpoint.load()
    print(f"going on after epoch {start}" if start else "starting from nothing", flush=True)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, 3e-3, start_epoch=start)
    if checkpoint.stopped:
        print(f"stopped in epoch {checkpoint.epoch + 1}, checkpoint written", flush=True)
        return STOPPED
    print(f"done: {epochs} epochs", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Train a small fastai model that survives its machine.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--checkpoint", type=Path, default=Path("/v1/checkpoint.pth"))
    arguments = parser.parse_args()
    return train(arguments.epochs, arguments.rows, arguments.checkpoint)


if __name__ == "__main__":
    sys.exit(main())
