"""``compare``: several models on the same data, with the same splits and the same budget."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from . import train_options as o

if TYPE_CHECKING:
    from ..data import Dataset
    from .config import Level, Plan

__all__ = ["compare"]

ROWS = "realnvp,nsf,maf,nice,vae,gan,gmm"
IMAGES = "realnvp,glow,nice,maf,vae,gan,gmm"


def compare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A built-in name (see 'data'), a file, a folder or a quoted glob.",
            show_default=False,
        ),
    ],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help=f"Models by name, see 'models'. If not given, for rows {ROWS}; for images "
            f"{IMAGES}.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Training time of each model: 90s, 10m, 1h30m.")
    ] = "2m",
    columns: o.Columns = None,
    size: o.Size = None,
    levels: o.Levels = None,
    fractions: o.Fractions = None,
    split_seed: o.SplitSeed = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="A setting for all models, such as fit.batch_size=64, or for one of them: "
            "maf:model.width=64; repeatable. A limit, as fit.epochs=5, replaces the budget.",
            show_default=False,
        ),
    ] = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    device: o.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Where to write; compare/DATA if not given.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a comparison: what is finished stays as it is."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a comparison that lies in the folder.")
    ] = False,
) -> None:
    """Train several models on the same data and put them side by side.

    Example: pushforward compare digits --models realnvp,nice,vae,gan,gmm --budget 1m

    Example: pushforward compare table.csv --budget 10m --out runs/table-compared

    Each model learns the same training part for the same time, in a process of its own, and is
    measured on the same test part: loss and what kind of density it is, parameters, training time,
    rates of sampling and scoring, memory. The folder gets compare.html with the table, samples side
    by side and curves, compare.md, compare.json, and the run of each model, in a folder of its own
    as train leaves it. A model that fails does not end the comparison.
    """
    from ..data import open_data
    from ..training.settings import seconds
    from .compare_runs import Contest, conclude, hold

    try:
        limit = float(seconds(budget))
    except ValueError as error:
        raise InputError(f"--budget {budget!r} will not do: {error}.") from None
    if not limit > 0:
        raise InputError(f"--budget {budget!r} will not do: give a time above 0, such as 10m.")
    if resume and force:
        raise InputError("--resume goes on with a comparison and --force replaces it; give one.")
    reading = {
        "columns": columns,
        "size": size,
        "levels": levels,
        "fractions": fractions,
        "split_seed": split_seed,
    }
    reading = {key: value for key, value in reading.items() if value is not None}
    fit = {"max_time": limit, "threads": threads, "device": device}
    common: Level = {
        "source": source,
        "data": reading,
        "fit": {key: value for key, value in fit.items() if value is not None},
    }
    wanted = _Settings(common, _by_model(sets or []), seed)
    first = wanted.plan("realnvp")
    dataset = open_data(source, **first.data.arguments())
    names = _names(models or (IMAGES if dataset.kind == "images" else ROWS))
    plans = _fitting(wanted, names, dataset, chosen=models is None)
    folder = out or Path("compare", dataset.name)
    command = _command(source, list(plans), budget, wanted, folder)
    contest = Contest(folder, plans, seed, limit)
    contest.claim(resume=resume, force=force)
    failed = hold(contest, dataset, command)
    conclude(contest, dataset, failed, command)


@dataclass(frozen=True)
class _Settings:
    """What was asked of all models, and of each."""

    common: Mapping[str, Any]
    of_model: Mapping[str, Sequence[str]]
    seed: int | None

    def plan(self, name: str) -> Plan:
        """The settings of one model."""
        from .config import plan, read_sets

        asked = [*self.of_model.get("", ()), *self.of_model.get(name, ())]
        return plan([{"model": {"name": name}}, dict(self.common), read_sets(asked)], self.seed)


def _names(text: str) -> list[str]:
    """The models' names, each once.

    Raises:
        InputError: there is none, or no model of that name.
    """
    import difflib

    from ..models.registry import PRESETS

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("--models names no model; give some, such as realnvp,vae,gmm.")
    for name in names:
        if name not in PRESETS:
            near = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f"did you mean {near[0]}?" if near else "see pushforward models."
            raise InputError(f"--models: there is no model {name!r}; {hint}")
    return names


def _by_model(sets: Sequence[str]) -> dict[str, list[str]]:
    """``maf:model.width=64`` under its model's name, others under the empty one."""
    found: dict[str, list[str]] = {}
    for text in sets:
        path, equals, _ = text.partition("=")
        name, colon, rest = path.partition(":")
        if colon and equals:
            found.setdefault(name.strip(), []).append(rest + text[len(path) :])
        else:
            found.setdefault("", []).append(text)
    return found


def _fitting(
    wanted: _Settings, names: Sequence[str], dataset: Dataset, *, chosen: bool
) -> dict[str, Plan]:
    """The plans of the models, all of which can be built for the data.

    Of those that nobody named, ``chosen`` by us, what does not suit the data is left out.

    Raises:
        InputError: a named model cannot learn these data, or a setting is of no model.
    """
    from .prepare import prepare

    for name in wanted.of_model:
        if name and name not in names:
            raise InputError(f"--set {name}:... is for a model that is not compared.")
    plans = {}
    for name in names:
        plan = wanted.plan(name)
        try:
            if prepare(plan, dataset).flow.labels:
                raise InputError("it is a classifier, which has neither density nor samples.")
        except InputError as error:
            if chosen:
                continue
            raise InputError(f"{name}: {error} Or leave it out of --models.") from None
        plans[name] = plan
    return plans


def _command(
    source: str, names: Sequence[str], budget: str, wanted: _Settings, folder: Path
) -> str:
    """What repeats the comparison, ready for a shell."""
    words = ["pushforward", "compare", source, "--models", ",".join(names), "--budget", budget]
    data = {**wanted.common["data"], **wanted.common["fit"]}
    del data["max_time"]
    for key, value in data.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    for name, texts in wanted.of_model.items():
        for text in texts:
            words += ["--set", f"{name}:{text}" if name else text]
    if wanted.seed is not None:
        words += ["--seed", str(wanted.seed)]
    return shlex.join([*words, "--out", str(folder)])
