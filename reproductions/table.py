"""Put all results into one page: ``python reproductions/table.py`` writes README.md.

What is in ``results/`` was measured; what is in ``PREPARED`` has a command, and was not run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import RESULTS

from pushforward.files import write_text

PAGE = Path(__file__).with_name("README.md")

ORDER = (
    "mnist_course_course",
    "mnist_course_realnvp",
    "mnist",
    "vae_mnist",
    "nice_mnist",
    "planar",
    "gan_mnist",
    "tabular",
    "revnet_cifar10",
)

PREPARED = {
    "CIFAR-10 over minutes: Jet, Real NVP, Flow++ couplings (no published curve)": (
        "python benchmarks/cifar10_curves.py --data DATA --minutes 60 --device cuda"
    ),
    "Real NVP on CIFAR-10, published 3.49 bits/dim": (
        "python benchmarks/cifar10.py --data DATA --device cuda"
    ),
    "RevNet-38 and ResNet-32 on CIFAR-10 by the paper's protocol, published 7.24 % and 7.14 %": (
        "python reproductions/revnet_cifar10.py --data DATA --full --device cuda"
    ),
}

INTRODUCTION = """# Reproductions

What the papers and courses report, and what this library gets, each by one command. DATA is a
folder with `mnist/`, `cifar10/` and `tabular/`; without `--data`, that of `PUSHFORWARD_DATA`.
Figures are as measured, on the machine that stands below them; this page is written from
`results/*.json` by `python reproductions/table.py`.
"""


def main() -> None:
    """Write the page."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
    names = sorted(found, key=lambda name: (_position(name), name))
    parts = [INTRODUCTION, "| what | published | ours | |", "|---|---|---|---|"]
    for name in names:
        for line in found[name]["rows"]:
            cells = (line["what"], line["published"], line["ours"], line["note"])
            parts.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    parts += ["", *(_details(found[name]) for name in names)]
    parts += ["## Prepared, not run: they want a GPU\n"]
    parts += [f"- {what}: `{command}`" for what, command in PREPARED.items()]
    write_text(PAGE, "\n".join(parts).rstrip() + "\n")
    print(f"{len(names)} results in {PAGE}")


def _position(name: str) -> int:
    """Of the first in ORDER that it is, or begins with: ``mnist_single`` is with ``mnist``."""
    fits = (i for i, known in enumerate(ORDER) if name == known or name.startswith(f"{known}_"))
    return next(fits, len(ORDER))


def _details(result: dict[str, Any]) -> str:
    seeds = result["seed"]
    seed = f"seed {seeds}" if isinstance(seeds, int) else f"seeds {', '.join(map(str, seeds))}"
    known = result["environment"]
    lines = [
        f"## {result['name']}\n",
        f"    {result['command']}\n",
        result["protocol"] + "\n",
        f"{result['date']}; {seed}; {_time(result)}{result['threads']} thread(s) of "
        f"{known['processor']}; torch {known['torch']}.\n",
    ]
    lines += [f"![{name}](pictures/{name})\n" for name in result["pictures"]]
    return "\n".join(lines)


def _time(result: dict[str, Any]) -> str:
    if result["seconds"] is None:
        return ""
    return f"{result['seconds'] / 60:,.0f} min, {result['cpu_seconds'] / 60:,.0f} CPU min; "


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
