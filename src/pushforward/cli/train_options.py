"""The options of ``train``, in the groups in which ``--help`` shows them.

An option that is not given leaves its setting to ``--set``, the configuration file, the
recommendation and the library's default, in this order; so each is None here, and its default is a
text: importing the defaults themselves would import torch, for which ``--help`` has no time. The
tests hold the texts against the defaults. The file is used as a whole, so it lists no names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DATA, MODEL, LIMITS = "Data", "Model", "Limits: the first that is reached ends training"
OPTIMISATION = "Optimisation"
REGULARISATION = "Regularisation and augmentation"
CHECKPOINTS = "Checkpoints and resuming"
SPEED = "Precision and speed"
OUTPUT = "Output"


def _option(panel: str, *names: str, help: str, default: str = "", **more: Any) -> Any:
    """An option of this panel, its help ending in the default."""
    if default:
        help += f" [dim]Default: {default}.[/dim]"
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=False, **more)


# Data ------------------------------------------------------------------------------------------

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A built-in name (see 'data'), a file, a folder or a quoted glob.",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    _option(DATA, metavar="A,B", help="Columns of a table.", default="all that can be learned"),
]
Kinds = Annotated[
    str | None,
    _option(
        DATA,
        metavar="A=KIND,...",
        help="What columns hold, where the file misleads: number, integer, category, boolean or "
        "date.",
        default="as the cells look",
    ),
]
Given = Annotated[
    str | None,
    _option(
        DATA,
        metavar="A,B",
        help="Columns that are given: learn the density of the others, conditional on these. For "
        "images: label.",
        default="none",
    ),
]
Missing = Annotated[
    str | None,
    _option(
        DATA,
        metavar="HOW",
        help="Rows that lack values: observed learns what is there, drop leaves them out, auto is "
        "observed where the model can.",
        default="auto",
    ),
]
Size = Annotated[
    int | None,
    _option(DATA, help="Bring image files to SIZE x SIZE pixels.", default="as they are"),
]
Crop = Annotated[
    str | None,
    _option(
        DATA,
        metavar="WHERE",
        help="centre or random: the square that --size cuts from an image.",
        default="centre",
    ),
]
Levels = Annotated[
    int | None,
    _option(DATA, help="Values are integers, 0 to LEVELS - 1.", default="as the source has"),
]
Fractions = Annotated[
    str | None,
    _option(
        DATA,
        metavar="V,T",
        help="Shares for validation and test, where the source has no such parts.",
        default="0.1,0.1",
    ),
]
SplitSeed = Annotated[int | None, _option(DATA, help="Another draw of these parts.", default="0")]
MaxUnreadable = Annotated[
    int | None,
    _option(DATA, help="Damaged images or lines to leave out before giving up.", default="100"),
]
Cache = Annotated[
    str | None,
    _option(
        DATA,
        metavar="WHEN",
        help="auto, always or never: keep decoded data on the disk; auto keeps large sets.",
        default="auto",
    ),
]

# Model -----------------------------------------------------------------------------------------

ModelName = Annotated[
    str | None,
    _option(MODEL, metavar="NAME", help="A model by name, see 'models'.", default="realnvp"),
]
Sets = Annotated[
    list[str] | None,
    _option(
        MODEL,
        "--set",
        metavar="PATH=VALUE",
        help="One setting by its path, such as model.couplings=6 or fit.lr=1e-3; repeatable.",
    ),
]
Config = Annotated[
    Path | None,
    _option(
        MODEL, metavar="FILE", help="YAML with source: and the sections model:, fit: and data:."
    ),
]
Seed = Annotated[
    int | None,
    _option(MODEL, help="Of first weights, order and noise, not of the splits.", default="0"),
]

# Limits ----------------------------------------------------------------------------------------

Epochs = Annotated[
    float | None,
    _option(LIMITS, help="Passes over the data.", default="20, and at least 2,000 steps"),
]
MaxSteps = Annotated[int | None, _option(LIMITS, help="Steps of the optimiser.", default="none")]
MaxTime = Annotated[
    str | None, _option(LIMITS, metavar="TIME", help="Such as 90s, 15m, 1h30m.", default="none")
]
Patience = Annotated[
    int | None,
    _option(LIMITS, help="Validations without a new best.", default="30"),
]

# Optimisation ----------------------------------------------------------------------------------

BatchSize = Annotated[
    int | None,
    _option(
        OPTIMISATION,
        help="Events in a step.",
        default="512 rows, 32 images (64 if few)",
    ),
]
Accumulate = Annotated[
    int | None,
    _option(OPTIMISATION, help="Parts of a batch, one after another, to save memory.", default="1"),
]
Optimiser = Annotated[
    str | None,
    _option(OPTIMISATION, metavar="NAME", help="adam, adamw, adamax or sgd.", default="adamw"),
]
Momentum = Annotated[
    float | None,
    _option(OPTIMISATION, help="Of sgd, and the first beta of the others.", default="0.9"),
]
Lr = Annotated[
    float | None, _option(OPTIMISATION, help="Learning rate after the warm-up.", default="0.004")
]
Warmup = Annotated[
    int | None, _option(OPTIMISATION, help="Steps over which the rate rises.", default="100")
]
Schedule = Annotated[
    str | None,
    _option(
        OPTIMISATION,
        metavar="NAME",
        help="constant, linear, cosine, steps (a tenth after 1/2 and after 3/4 of the budget), or "
        "plateau: falls by half when validation stalls.",
        default="cosine",
    ),
]
Clip = Annotated[
    float | None,
    _option(OPTIMISATION, help="Largest norm of the gradient.", default="2 bits/dim, 5 nats"),
]
Ema = Annotated[
    float | None,
    _option(
        OPTIMISATION,
        help="Decay of the averaged weights, which are the ones kept; 0: none.",
        default="0.995",
    ),
]

# Regularisation and augmentation ---------------------------------------------------------------

WeightDecay = Annotated[
    float | None, _option(REGULARISATION, help="Pull of weights towards zero.", default="0")
]
L2 = Annotated[
    float | None,
    _option(
        REGULARISATION,
        "--l2",
        help="The Real NVP paper's penalty on magnitudes and scales.",
        default="0",
    ),
]
Shift = Annotated[
    float | None,
    _option(REGULARISATION, help="Share of images moved by a pixel.", default="0"),
]
AugmentCrop = Annotated[
    int | None,
    _option(
        REGULARISATION,
        "--augment-crop",
        metavar="PIXELS",
        help="Pad images by so many pixels, cut them at random.",
        default="0",
    ),
]
Flip = Annotated[
    bool | None,
    _option(
        REGULARISATION,
        "--flip",
        help="Mirror half of the images left to right.",
        default="off",
    ),
]

# Checkpoints and resuming ----------------------------------------------------------------------

Resume = Annotated[
    bool,
    _option(
        CHECKPOINTS,
        "--resume",
        help="Go on with the run in --out, or the newest of SOURCE; start if there is none.",
    ),
]
CheckpointEvery = Annotated[
    float | None,
    _option(CHECKPOINTS, metavar="SECONDS", help="Between checkpoints.", default="60"),
]
ValidateEvery = Annotated[
    int | None,
    _option(
        CHECKPOINTS,
        metavar="STEPS",
        help="Between validations.",
        default="an epoch, within 100 to 500",
    ),
]
ValidateOn = Annotated[
    int | None,
    _option(
        CHECKPOINTS,
        metavar="EVENTS",
        help="Held-out events in a validation, at most.",
        default="1,000 images, 20,000 rows",
    ),
]
Rewinds = Annotated[
    int | None,
    _option(CHECKPOINTS, help="How often a run may go back after a NaN.", default="5"),
]

# Precision and speed ---------------------------------------------------------------------------

Device = Annotated[
    str | None, _option(SPEED, metavar="NAME", help="cpu, cuda, cuda:1, ...", default="cpu")
]
Threads = Annotated[
    int | None,
    _option(SPEED, help="CPU threads.", default="1 for small work, else torch's own"),
]
Precision = Annotated[
    str | None,
    _option(
        SPEED,
        metavar="NAME",
        help="float32, or bf16 for the networks; densities stay in float32.",
        default="float32",
    ),
]
Memory = Annotated[
    str | None,
    _option(
        SPEED,
        metavar="NAME",
        help="store, checkpoint or constant: what a step keeps for its gradient; constant does "
        "not grow with depth, but takes longer.",
        default="store",
    ),
]
Compile = Annotated[
    bool | None,
    _option(
        SPEED,
        "--compile",
        help="Compile the training step: slow to begin, faster after.",
        default="off",
    ),
]
Deterministic = Annotated[
    bool | None,
    _option(
        SPEED,
        "--deterministic",
        help="Only algorithms that repeat to the bit.",
        default="off",
    ),
]

# Output ----------------------------------------------------------------------------------------

Out = Annotated[
    Path | None,
    _option(OUTPUT, metavar="FOLDER", help="The run's folder.", default="a new one in runs/"),
]
Force = Annotated[
    bool, _option(OUTPUT, "--force", help="Replace the run or the model that --out holds.")
]
Quiet = Annotated[bool, _option(OUTPUT, "--quiet", "-q", help="Print only the result.")]
Tensorboard = Annotated[
    bool,
    _option(OUTPUT, "--tensorboard", help="Write the curves for TensorBoard too, at the end."),
]
