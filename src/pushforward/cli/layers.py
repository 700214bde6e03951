"""The layers of a flow as a short tree: repetitions are counted, not listed; other networks too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..flow import Flow
from ..layers import Chain, Coupling, Inverted, Layer, Multiscale
from ..model import Model

__all__ = ["layer_tree"]

WIDTH = 74
"""The longest line of a group; a longer one is broken up, a layer a line."""
LONGEST = 8
"""The longest pattern of layers that is looked for."""


def layer_tree(flow: Model) -> list[str]:
    """One line for each layer or repeated group of layers, from data to latent.

    Of other models than flows, a line for each network, with what is invertible in it.
    """
    if not isinstance(flow, Flow):
        return [line for name, part in flow.named_children() for line in _network(name, part)]
    return [*_lines(list(flow.chain)), type(flow.base).__name__ + " base"]


def _network(name: str, part: nn.Module) -> list[str]:
    if isinstance(part, Chain):
        return [f"{name}: invertible", *_indented(_lines(list(part)))]
    if isinstance(part, nn.ModuleList):
        inner = [line for key, child in part.named_children() for line in _network(key, child)]
        return [f"{name}:", *_indented(inner)]
    count = sum(p.numel() for p in part.parameters())
    return [f"{name}: {type(part).__name__} ({count:,} parameters)"]


def _lines(layers: Sequence[Layer]) -> list[str]:
    """The lines of a list of layers: ``4 x ActNorm, Coupling`` for what comes four times."""
    described = ["\n".join(_describe(layer)) for layer in layers]
    lines: list[str] = []
    start = 0
    while start < len(described):
        length, times = _repetition(described, start)
        group = described[start : start + length]
        if times == 1:
            lines += group[0].split("\n")
        else:
            line = f"{times} x {', '.join(group)}"
            if "\n" not in line and len(line) <= WIDTH:
                lines.append(line)
            else:
                lines.append(f"{times} x")
                lines += [f"  {part}" for item in group for part in item.split("\n")]
        start += length * times
    return lines


def _repetition(items: Sequence[str], start: int) -> tuple[int, int]:
    """The pattern at ``start`` that covers most: its length, and how often it comes in a row."""
    best = (1, 1)
    for length in range(1, LONGEST + 1):
        pattern = items[start : start + length]
        times = 1
        while items[start + times * length : start + (times + 1) * length] == pattern:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _describe(layer: Layer) -> list[str]:
    """The class of a layer, what is in it, and the size of a coupling's conditioner."""
    name = type(layer).__name__
    if isinstance(layer, Multiscale):
        inner = list(layer.inner) if isinstance(layer.inner, Chain) else [layer.inner]
        return [f"{name}, of which {layer.keep} channels go on:", *_indented(_lines(inner))]
    if isinstance(layer, Inverted):
        return [f"{name} {_describe(layer.layer)[0]}"]
    if isinstance(layer, Coupling):
        net = layer.conditioner
        count = sum(p.numel() for p in net.parameters())
        law = type(layer.law).__name__
        return [f"{name} ({law}; {type(net).__name__} of {count:,} parameters)"]
    if isinstance(layer, Chain):
        return [f"{name}:", *_indented(_lines(list(layer)))]
    return [name]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
