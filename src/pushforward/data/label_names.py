"""What the integers of a label column stand for, as Hugging Face writes it into Parquet."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["label_names"]


def label_names(schema: Any, label: str | None) -> tuple[str, ...] | None:
    """Read what Hugging Face's ClassLabel feature says about the label column."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if label is None or metadata is None:
        return None
    try:
        names = json.loads(metadata)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):
        return None
    return tuple(str(name) for name in names)
