"""A disk that fails: once at the n-th call, or from then on."""

from __future__ import annotations

import os
from pathlib import Path

import safetensors.torch


class Failing:
    """Let the n-th open, write, fsync or rename fail, once or from then on.

    A write that fails leaves half of the file behind, as a full disk does.
    """

    def __init__(self, monkeypatch, n, forever):
        self.calls, self.n, self.forever = 0, n, forever
        for owner, name in (
            (Path, "open"),
            (Path, "write_bytes"),
            (safetensors.torch, "save_file"),
            (Path, "replace"),
            (os, "fsync"),
        ):
            self._wrap(monkeypatch, owner, name)

    def _wrap(self, monkeypatch, owner, name):
        original = getattr(owner, name)

        def wrapper(*args, **kwargs):
            self.calls += 1
            if self.calls == self.n or (self.forever and self.calls > self.n):
                if name == "write_bytes":
                    original(args[0], args[1][: len(args[1]) // 2])
                if name == "save_file":
                    content = safetensors.torch.save(*args[:1], *args[2:])
                    Path(args[1]).write_bytes(content[: len(content) // 2])
                raise OSError(28, "No space left on device")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)
