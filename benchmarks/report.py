"""What a workload found, as Markdown for people and JSON for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contenders import PEERS, version

__all__ = ["Report", "Variant", "figure", "mean_and_error", "table", "variants", "with_error"]


@dataclass
class Report:
    """A title, a Markdown body and the figures behind it."""

    workload: str
    title: str
    body: str
    figures: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=lambda: environment())

    def markdown(self) -> str:
        """The whole page."""
        versions = ", ".join(f"{k} {v}" for k, v in self.environment["versions"].items())
        return (
            f"# {self.title}\n\n{self.body}\n\n"
            f"{self.environment['date']}; {self.environment['processor']}; "
            f"{self.environment['threads']} thread(s); Python {self.environment['python']}; "
            f"{versions}.\n"
        )

    def save(self, folder: Path) -> None:
        """Write ``<workload>.md`` and ``<workload>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.workload}.md").write_text(self.markdown(), encoding="utf-8")
        text = json.dumps(_plain(asdict(self)), indent=1, allow_nan=False)
        (folder / f"{self.workload}.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Variant:
    """A named choice of options for our own model."""

    name: str
    options: dict[str, Any]


def variants(texts: Sequence[str]) -> list[Variant]:
    """Read ``"norm=none,lr=0.003"`` and the like; values are JSON where they can be."""
    result = []
    for text in texts:
        options: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            key, sign, value = part.partition("=")
            if not sign:
                raise SystemExit(f"--variant takes key=value,key=value; got {text!r}.")
            try:
                options[key.strip()] = json.loads(value)
            except json.JSONDecodeError:
                options[key.strip()] = value.strip()
        result.append(Variant(f"pushforward {text}".strip(), options))
    return result


def environment() -> dict[str, Any]:
    """Versions, processor, threads and date."""
    distributions = ["pushforward", "torch", *(peer[1] for peer in PEERS.values()), "scikit-learn"]
    versions = {name: version(name) for name in distributions}
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: text for name, text in versions.items() if text != "-"},
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float, digits: int = 4, sign: bool = False) -> str:
    """A number to print: fixed digits, or an exponent with ``digits=0``."""
    if not np.isfinite(value):
        return "not finite"
    if digits == 0:
        return f"{value:.1e}"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def with_error(value: float, error: float, digits: int = 4, sign: bool = False) -> str:
    """``0.0445 ± 0.0054``; without the error where one value has none."""
    text = figure(value, digits, sign)
    return f"{text} ± {figure(error, digits)}" if np.isfinite(error) else text


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and its standard error; NaN where there are too few values."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()) if len(values) else np.nan, float(error)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
