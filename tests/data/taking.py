"""Streams read to their end, and images to put into them, for tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def take(stream, split="train", start=0):
    """Return values, labels, keys and the number of items read of a split."""
    pieces = list(stream.pieces(split, start))
    values = np.concatenate(
        [np.zeros((0, *stream.shape), stream.dtype), *[p.values for p in pieces]]
    )
    assert values.dtype == stream.dtype
    assert all(piece.values.dtype == stream.dtype for piece in pieces)
    labels = [piece.labels for piece in pieces if piece.labels is not None]
    assert len(labels) == (len(pieces) if stream.labelled else 0)
    keys = [piece.keys for piece in pieces if piece.keys is not None]
    return (
        values,
        np.concatenate(labels) if labels else None,
        np.concatenate(keys) if keys else None,
        sum(piece.read for piece in pieces),
    )


def encode(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, kind, **({"lossless": True} if kind == "WEBP" else options)
    )
    return buffer.getvalue()


def png16(pixels):
    """Encode 16-bit colour (H, W, 3), which Pillow can read, 8 bits of it, but not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*pair) for pair in chunks)
