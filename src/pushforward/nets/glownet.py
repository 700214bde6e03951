"""The conditioner of Glow: three convolutions, wide in the middle, zero at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

__all__ = ["GlowNet", "ZeroConv"]


class _ScaledConv(nn.Conv2d):
    r"""A convolution with a learned gain per channel: :math:`e^{k g} \odot (C * x + c)`.

    The gain multiplies the weights, which are fewer than what they make of a batch.
    """

    def __init__(self, inputs: int, outputs: int, size: int, speed: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.speed = speed
        self.gain = nn.Parameter(torch.zeros(outputs, 1, 1, 1))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        gain = torch.exp(self.speed * self.gain)
        bias = None if self.bias is None else self.bias * gain.flatten()
        return conv2d(x, self.weight * gain, bias, padding=self.padding)


class ZeroConv(nn.Module):
    r"""A 3x3 convolution that starts at zero, with a learned gain per channel.

    .. math:: \theta = e^{3 g} \odot (C * x + c)

    Alone it is the learned prior of what a scale factors out, given what it keeps.

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    Source: Kingma and Dhariwal 2018 (Glow), the authors' code (``conv2d_zeros``).
    """

    def __init__(
        self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], context: int = 0
    ) -> None:
        super().__init__()
        self.convolution = _ScaledConv(in_shape[0], out_shape[0], 3, speed=3.0)
        nn.init.zeros_(self.convolution.weight)
        self.context = nn.Linear(context, out_shape[0], bias=False) if context else None
        if self.context is not None:
            nn.init.zeros_(self.context.weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        h: Tensor = self.convolution(x)
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, :, None, None]
        return h


class GlowNet(nn.Module):
    r"""3x3 convolution, 1x1 convolution, 3x3 convolution from zero, ReLU between.

    .. math:: h_1 = \phi(e^{a} \odot (A * [x, 1] + a') + B c), \qquad
              h_2 = \phi(e^{m} \odot (M * h_1 + m')), \qquad \theta = Z(h_2)

    Z is a ``ZeroConv``. A channel of ones beside x tells the borders, where zeros are padded, from
    the inside. The authors set gains and shifts by the first batch; here weights of the right size
    do (He et al. 2015), so that a value never depends on a batch.

    Shapes: ``(N, C, H, W)`` and context ``(N, context)`` -> ``(N, *out_shape)``, same H and W.
    Source: Kingma and Dhariwal 2018 (Glow), section 3.3, and the authors' code.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        width: int = 64,
    ) -> None:
        super().__init__()
        channels, *size = in_shape
        self.first = _ScaledConv(channels + 1, width, 3)
        with torch.no_grad():  # the channel of ones has nothing to say yet
            self.first.weight[:, channels:] = 0
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.middle = _ScaledConv(width, width, 1)
        self.last = ZeroConv((width, *size), out_shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        ones = pad(x, (0, 0, 0, 0, 0, 1), value=1.0)  # (N, C, H, W) -> (N, C + 1, H, W)
        h = self.first(ones)
        if self.context is not None and context is not None:
            h = h + self.context(context)[:, :, None, None]
        h = self.middle(torch.relu(h))
        return self.last(torch.relu(h))
