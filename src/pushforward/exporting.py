"""A trained flow as a program that runs without this library: torch.export or ONNX."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import __version__
from .errors import InputError
from .files import writing
from .flow import Flow
from .layers import Layer, LULinear, Rotation

__all__ = ["FORMATS", "FUNCTIONS", "export"]

FORMATS = {"torch": ".pt2", "onnx": ".onnx"}
"""What a flow is exported as, and the ending of the file."""

FUNCTIONS = ("log_prob", "encode", "decode")
"""What of a flow can be exported."""

_TOLERANCE = 1e-5
_SIZES = (1, 2, 7)

Program = Callable[..., np.ndarray]


def export(
    flow: Flow,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    function: str = "log_prob",
) -> float:
    r"""Write one function of a flow, in evaluation mode, as a program of its own.

    The program takes ``x`` (``z`` for decode) and, for a conditional flow, ``context``, with any
    number of rows from 1 on. What was written is loaded again and run on batches of 1, 2 and 7
    events before the file gets its name: every result :math:`r` must agree with the flow's
    :math:`r_0` to :math:`|r - r_0| \le 10^{-5} (1 + |r_0|)`.

    Args:
        flow: any flow; it stays as it is.
        path: the file to write.
        format: ``torch`` (read by ``torch.export.load``) or ``onnx`` (by any ONNX runtime; needs
            the extra ``onnx``); by the ending ``.pt2`` or ``.onnx`` of ``path`` if not given.
        function: ``log_prob`` ``(N,)`` in nats, ``encode`` (x to z) or ``decode`` (z to x).

    Returns:
        the largest :math:`|r - r_0| / (1 + |r_0|)` that was seen.

    Raises:
        InputError: an unknown format or function, the extra is not installed, the place cannot
            be written, or the flow cannot be exported; says why.
    """
    path = Path(path)
    kind = _format_of(path, format)
    if function not in FUNCTIONS:
        raise InputError(f"a flow exports {', '.join(FUNCTIONS)}; got {function!r}.")
    if kind == "onnx":
        _require_onnx()
    reference = copy.deepcopy(flow).cpu().eval().requires_grad_(False)
    program = _Program(reference, function).eval()
    inputs = _inputs(reference, function, 3)
    about = {
        "pushforward": __version__,
        "flow": flow.name,
        "function": function,
        "unit": "nats",
        "levels": flow.levels,
    }
    with writing(path) as temporary:
        with _quiet(), torch.no_grad():
            try:
                write = _write_torch if kind == "torch" else _write_onnx
                write(program, inputs, temporary, about)
                written = _read_torch(temporary) if kind == "torch" else _read_onnx(temporary)
                worst = _difference(reference, function, written)
            except OSError:
                raise
            except Exception as error:  # tracing and conversion raise whatever they meet
                raise InputError(_refusal(flow, kind, function, error)) from error
        if not worst <= _TOLERANCE:
            raise InputError(
                f"{function} of {flow.name} was exported, but its results differ by {worst:.1e} "
                f"from the flow's, more than {_TOLERANCE:.0e}, so the file was not written. In "
                f"float64 (flow.double()) there is more room."
            )
    return worst


def _format_of(path: Path, format: str | None) -> str:
    if format is None:
        by_ending = {ending: name for name, ending in FORMATS.items()}
        if path.suffix not in by_ending:
            raise InputError(
                f"{path} does not tell the format by its ending: end it in .pt2 (torch) or .onnx, "
                f"or name the format."
            )
        return by_ending[path.suffix]
    if format not in FORMATS:
        raise InputError(f"a flow is exported as {' or '.join(FORMATS)}; got {format!r}.")
    return format


def _require_onnx() -> None:
    import importlib.util

    lacking = [
        name
        for name in ("onnx", "onnxscript", "onnxruntime")
        if importlib.util.find_spec(name) is None
    ]
    if lacking:
        raise InputError(
            f"exporting to ONNX needs {', '.join(lacking)}: pip install 'pushforward[onnx]'."
        )


def _refusal(flow: Flow, kind: str, function: str, error: Exception) -> str:
    first: BaseException = error
    while first.__cause__ is not None:  # what came of it has more lines than meaning
        first = first.__cause__
    said = next((line.strip() for line in str(first).splitlines() if line.strip()), "")
    said = re.sub(r"\x1b\[[0-9;]*m", "", said).split(". ")[0]
    reason = (said or type(first).__name__)[:160].rstrip(". ")
    way = "try format onnx, or replace the layer that it names"
    if kind == "onnx":
        way = "try format torch"
        if flow.dtype == torch.float64:
            way += ", or float32 (flow.float()): ONNX's runtime has few functions of float64"
    return f"{function} of {flow.name} cannot be exported to {kind} ({reason}); {way}."


# The program -----------------------------------------------------------------------------------


class _Program(nn.Module):
    """One function of a flow with frozen weights, ready to be traced."""

    def __init__(self, flow: Flow, function: str) -> None:
        super().__init__()
        self.flow = copy.deepcopy(flow)
        _freeze(self.flow.chain)
        self.function = function

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.function == "log_prob":
            return self.flow.log_prob(x, context, check=False)
        if self.function == "encode":
            return self.flow.latents(x, context)
        return self.flow.chain.inverse(x, context)[0]


class _Matrix(Layer):
    """A linear layer whose matrix will not change: product and inverse are plain numbers."""

    matrix: Tensor
    inverse_matrix: Tensor
    log_det: Tensor

    def __init__(self, layer: LULinear | Rotation) -> None:
        super().__init__()
        size = len(layer.order) if isinstance(layer, LULinear) else len(layer.bits)
        dtype = next((p.dtype for p in layer.parameters()), torch.float32)
        unit = torch.eye(size, dtype=torch.float64)
        double = copy.deepcopy(layer).double()
        z, log_det = double(unit)
        matrix = z.T.contiguous()
        self.register_buffer("matrix", matrix.to(dtype))
        self.register_buffer("inverse_matrix", torch.linalg.inv(matrix).to(dtype))
        self.register_buffer("log_det", log_det[0].to(dtype))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _product(self.matrix, x), self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _product(self.inverse_matrix, z), -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        pixels = 1
        for size in x.shape[2:]:
            pixels *= size
        return (self.log_det * pixels).expand(x.shape[0])


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    matrix = matrix.to(x.dtype)
    if x.ndim == 2:
        return x @ matrix.T
    # (N, C, H, W) -> (N, C, H W) -> (N, C, H, W)
    return (matrix @ x.flatten(2)).reshape(x.shape)


def _freeze(module: nn.Module) -> None:
    """Replace what ONNX has no words for: triangular systems, and floats kept as bits."""
    for name, child in module.named_children():
        if isinstance(child, LULinear | Rotation):
            setattr(module, name, _Matrix(child))
        else:
            _freeze(child)


def _inputs(flow: Flow, function: str, n: int) -> tuple[Tensor, ...]:
    """Events or latents to trace by and to compare on: the flow's own, spread a little wider."""
    generator = torch.Generator().manual_seed(n)
    given: tuple[Tensor, ...] = ()
    if flow.context:
        given = (torch.randn(n, flow.context, generator=generator).to(flow.dtype),)
    z = flow.base.sample(n, 1.0, generator).to(flow.dtype)
    if function == "decode":
        return (z, *given)
    with torch.no_grad():
        return (flow.chain.inverse(z, *given)[0], *given)


# The two formats -------------------------------------------------------------------------------


def _dynamic(inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    batch = torch.export.Dim("batch", min=1)
    names = ("x", "context")[: len(inputs)]
    return {name: {0: batch} for name in names}


def _write_torch(
    program: _Program, inputs: tuple[Tensor, ...], path: Path, about: dict[str, Any]
) -> None:
    exported = torch.export.export(program, inputs, dynamic_shapes=_dynamic(inputs))
    torch.export.save(exported, path, extra_files={"pushforward.json": json.dumps(about)})


def _read_torch(path: Path) -> Program:
    module = torch.export.load(path).module()
    return lambda *inputs: module(*inputs).numpy()


def _write_onnx(
    program: _Program, inputs: tuple[Tensor, ...], path: Path, about: dict[str, Any]
) -> None:
    import onnx

    names = ["z" if program.function == "decode" else "x", "context"][: len(inputs)]
    output = {"log_prob": "log_prob", "encode": "z", "decode": "x"}[program.function]
    converted = torch.onnx.export(
        program,
        inputs,
        dynamo=True,
        dynamic_shapes=_dynamic(inputs),
        input_names=names,
        output_names=[output],
        verbose=False,
    )
    if converted is None:
        raise InputError("torch.onnx gave no program; update torch.")
    model = converted.model_proto
    for key, value in about.items():
        model.metadata_props.add(key=f"pushforward.{key}", value=str(value))
    onnx.save(model, path)


def _read_onnx(path: Path) -> Program:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Tensor) -> np.ndarray:
        fed = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        result: np.ndarray = session.run(None, fed)[0]
        return result

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that tracing gives to people who write exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _difference(flow: Flow, function: str, written: Program) -> float:
    """The largest error of the program, relative to 1 + the size of the result."""
    worst = 0.0
    for size in _SIZES:
        inputs = _inputs(flow, function, size)
        expected = getattr(flow, function)(*inputs).double().numpy()
        off = np.abs(np.asarray(written(*inputs), dtype=np.float64) - expected)
        if function == "decode" and flow.levels is not None and np.mean(off > 0) < 1e-3:
            off = np.where(off <= 1, 0, off)  # rounding decides now and then between neighbours
        worst = max(worst, float((off / (1 + np.abs(expected))).max()))
    return worst
