"""A flow as bytes, in the safe format of saved models: safetensors and JSON, no code."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch

from ..errors import InputError
from ..flow import Flow
from ..models.registry import rebuild

__all__ = ["packed", "unpacked"]


def packed(flow: Flow) -> dict[str, Any]:
    """Weights as the bytes of a safetensors file; family, settings and facts as JSON."""
    state = {key: value.detach().cpu().contiguous() for key, value in flow.state_dict().items()}
    about = {
        "family": flow.config.family,
        "config": asdict(flow.config),
        "dtype": str(flow.dtype).removeprefix("torch."),
        "facts": flow.facts,
    }
    return {"weights": safetensors.torch.save(state), "about": json.dumps(about)}


def unpacked(pack: dict[str, Any]) -> Flow:
    """The flow of ``packed``, in evaluation mode, with the very same log_prob.

    Raises:
        InputError: the bytes or the text are not what ``packed`` gave.
    """
    try:
        about = json.loads(pack["about"])
        flow = rebuild(about["family"], about["config"])
        flow = flow.to({"float32": torch.float32, "float64": torch.float64}[about["dtype"]])
        flow.load_state_dict(safetensors.torch.load(pack["weights"]))
        flow.facts = about["facts"]
    except (KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"the pickled estimator is damaged or of another version ({error}); fit it again."
        ) from None
    assert isinstance(flow, Flow)
    return flow.eval()
