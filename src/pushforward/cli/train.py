"""``train``: from a source to a saved model."""

from __future__ import annotations

from typing import Any

import typer

from . import train_options as o

__all__ = ["train"]

NOT_SETTINGS = ("config", "sets", "seed", "resume", "out", "force", "quiet", "tensorboard")
"""What is said about the run, and is no setting of it."""


def train(
    ctx: typer.Context,
    source: o.Source = None,
    columns: o.Columns = None,
    kinds: o.Kinds = None,
    given: o.Given = None,
    missing: o.Missing = None,
    size: o.Size = None,
    crop: o.Crop = None,
    levels: o.Levels = None,
    fractions: o.Fractions = None,
    split_seed: o.SplitSeed = None,
    max_unreadable: o.MaxUnreadable = None,
    cache: o.Cache = None,
    model: o.ModelName = None,
    sets: o.Sets = None,
    config: o.Config = None,
    seed: o.Seed = None,
    epochs: o.Epochs = None,
    max_steps: o.MaxSteps = None,
    max_time: o.MaxTime = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    accumulate: o.Accumulate = None,
    optimiser: o.Optimiser = None,
    momentum: o.Momentum = None,
    lr: o.Lr = None,
    warmup: o.Warmup = None,
    schedule: o.Schedule = None,
    clip: o.Clip = None,
    ema: o.Ema = None,
    weight_decay: o.WeightDecay = None,
    l2: o.L2 = None,
    shift: o.Shift = None,
    augment_crop: o.AugmentCrop = None,
    flip: o.Flip = None,
    resume: o.Resume = False,
    checkpoint_every: o.CheckpointEvery = None,
    validate_every: o.ValidateEvery = None,
    validate_on: o.ValidateOn = None,
    rewinds: o.Rewinds = None,
    device: o.Device = None,
    threads: o.Threads = None,
    precision: o.Precision = None,
    memory: o.Memory = None,
    compile: o.Compile = None,
    deterministic: o.Deterministic = None,
    out: o.Out = None,
    force: o.Force = False,
    quiet: o.Quiet = False,
    tensorboard: o.Tensorboard = False,
) -> None:
    """Train a model on any source and leave a folder with the model, its report and its settings.

    Example: pushforward train digits

    Example: pushforward train table.csv --columns age,income --max-time 15m

    Example: pushforward train digits --given label

    Example: pushforward train --out runs/digits --resume --max-time 1h

    A setting is taken from the first of these that has it: an option, --set, the --config file,
    the recommendation for the data (or the named model's own), the library's default, which is the
    one shown below. A limit (epochs, steps, time) replaces the limits of all that come later in
    this list. Every setting has its place in a YAML file: model.*, fit.* and data.*, as in the
    config.yaml that each run leaves.

    Ctrl-C ends training with the best weights so far and exits with code 130; SIGTERM saves a
    checkpoint, no more, and exits with 143. Both print the command that goes on. On several GPUs:
    torchrun --nproc-per-node 8 -m pushforward train ...
    """
    from .config import read_config, read_sets
    from .run import Wishes, run

    stronger = [
        read_config(config) if config else {},
        read_sets(sets or []),
        _level({key: value for key, value in ctx.params.items() if value is not None}),
    ]
    run(Wishes(stronger, seed, out, resume=resume, force=force, quiet=quiet, board=tensorboard))


def _level(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as a level of settings."""
    from .config import DATA_FIELDS

    level: dict[str, Any] = {"model": {}, "fit": {}, "data": {}}
    for name, value in given.items():
        if name in NOT_SETTINGS:
            continue
        if name == "source":
            level["source"] = value
        elif name == "model":
            level["model"]["name"] = value
        elif name == "augment_crop":  # crop is of image files, as they are read
            level["fit"]["crop"] = value
        else:
            level["data" if name in DATA_FIELDS else "fit"][name] = value
    return level
