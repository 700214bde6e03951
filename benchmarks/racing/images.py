"""The contenders over images: the paper's CIFAR-10 model, a small one, and Glow by normflows.

normflows has no Real NVP over images. Its multi-scale Glow is given as many parameters; since its
networks are wide where the images are small, it does fewer multiplications with them. So each
model has a floor of its own: its convolutions and products alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import floor
from .rounds import Lane, Task
from .rows import Model, keep, stepper

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NOTES", "glow", "lanes", "ours"]

LEVERS = ("bfloat16", "constant", "compile")
NOTES = {
    "pushforward": "the plain layers, float32, activations stored: the reference for the levers",
    "pushforward, bfloat16": "conditioners in bfloat16",
    "pushforward, constant": 'memory="constant"',
    "pushforward, compile": "torch.compile",
    "normflows": "multi-scale Glow, channel-wise couplings, about as many parameters",
}

# For each of our models: levels, blocks a level and hidden channels of a Glow of its size.
_GLOW = {"cifar10": (3, 14, 512), "small": (3, 8, 144)}


def ours(model: str, job: str, batch: int, side: int = 32, lever: str = "", **options: Any) -> Task:
    """A training step, log_prob or a sample of ``batch`` images.

    Args:
        model: ``cifar10``, the paper's preset, or ``small``, ``RealNVP((3, side, side))``.
        job: ``train``, ``log_prob`` or ``sample``.
        batch: images.
        side: of the images.
        lever: one of ``LEVERS``, or none.
        **options: of the model.
    """
    import torch

    import pushforward as pf
    from pushforward.layers.coupling import conditioners_in

    shape = (3, side, side)
    make = pf.RealNVP if model == "small" else _preset
    flow = make(shape, **options)
    torch.manual_seed(0)
    x = torch.randint(256, (batch, *shape), dtype=torch.uint8)
    flow.initialise(x)
    parameters = sum(p.numel() for p in flow.parameters())
    if lever == "bfloat16":
        keep(conditioners_in(flow, torch.bfloat16))
    if lever == "constant":
        flow.memory = "constant"
    run: Callable[[Tensor], Tensor] = lambda x: flow.log_prob(x, check=False)  # noqa: E731
    if lever == "compile":
        run = torch.compile(run)
    return _task(Model(flow, run, flow.sample), job, x, parameters)


def glow(model: str, job: str, batch: int) -> Task:
    """The same of the multi-scale Glow of normflows' own example, over numbers in [0, 1]."""
    import normflows as nf
    import torch

    torch.manual_seed(0)
    levels, blocks, hidden = _GLOW[model]
    base, merges, flows = [], [], []
    for i in range(levels):
        channels = 3 * 2 ** (levels + 1 - i)
        flows.append(
            [nf.flows.GlowBlock(channels, hidden) for _ in range(blocks)] + [nf.flows.Squeeze()]
        )
        if i:
            merges.append(nf.flows.Merge())
        down = levels - i
        shape = (3 * 2 ** (down + (i == 0)), 32 // 2**down, 32 // 2**down)
        base.append(nf.distributions.DiagGaussian(shape))
    flow = nf.MultiscaleFlow(base, flows, merges, class_cond=False)
    x = torch.rand(batch, 3, 32, 32)
    with torch.no_grad():
        flow.log_prob(x, None)  # its ActNorm reads the first batch
    parameters = sum(p.numel() for p in flow.parameters())
    built = Model(flow, lambda x: flow.log_prob(x, None), flow.sample)
    return _task(built, job, x, parameters)


def lanes(peers: list[str], levers: list[str]) -> list[Lane]:
    """Ours, with each lever alone, the peer, and the floor of each."""
    own, other = ("torch", "pushforward.models"), ("torch", "normflows")
    result = [Lane("pushforward", ours, {}, own)]
    result += [Lane(f"pushforward, {lever}", ours, {"lever": lever}, own) for lever in levers]
    result.append(Lane("floor of pushforward", floor.convolutions, {"build": ours}, own))
    if "normflows" in peers:
        result.append(Lane("normflows", glow, {}, other))
        result.append(Lane("floor of normflows", floor.convolutions, {"build": glow}, other))
    return result


def _preset(shape: tuple[int, int, int], **options: Any) -> Any:
    import pushforward as pf

    return pf.create("realnvp-cifar10", shape=shape, **options)


def _task(model: Model, job: str, x: Tensor, parameters: int) -> Task:
    import torch

    if job == "train":
        return Task(stepper(model.module, model.log_prob, x), parameters)
    model.module.eval()

    @torch.no_grad()
    def run() -> None:
        if job == "sample":
            model.sample(len(x))
        else:
            model.log_prob(x)

    return Task(run, parameters)
