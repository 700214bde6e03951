"""What a run was computed with and on: versions and processors; no names of people or machines."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import torch

from .. import __version__

__all__ = ["environment", "peak_memory"]


def environment(device: str | None = None) -> dict[str, str]:
    """Versions, operating system, processor and, where ``device`` is one, the GPU."""
    known = {
        "pushforward": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()}".strip(),
        "processor": _processor(),
        "device": device or "cpu",
    }
    if device is not None and torch.device(device).type == "cuda" and torch.cuda.is_available():
        known["gpu"] = torch.cuda.get_device_name(torch.device(device))
        known["cuda"] = str(torch.version.cuda)
    return known


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held so far; None where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest


def _processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name.strip() == "model name" and value.strip():
                    return value.strip()
        except OSError:
            pass
    return platform.processor() or platform.machine() or "unknown"
