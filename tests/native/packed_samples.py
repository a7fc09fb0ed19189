"""Packed samples for tests and for fuzzing: small photographs in every layout, and what no image holds."""

import numpy as np
from PIL import Image

from dailymae_hf._native import codec
from tests.native import packed_reference
from tests.native.libjpeg_reference import LAYOUTS, encode_jpeg


def extreme_sample(seed: int, color: int = 1, largest: int = 32767) -> tuple[bytes, packed_reference.Packed]:
    """Coefficients and tables as no image has them: what a damaged or malicious file may say."""
    random = np.random.default_rng(seed)
    high, wide = 5, 13
    density = random.uniform(0, 1, (high, wide, 1))
    magnitude = 10 ** random.uniform(0, np.log10(largest), (high, wide, 64))
    blocks = (magnitude * random.choice([-1, 1], (high, wide, 64))).astype(np.int64)
    blocks[random.uniform(0, 1, blocks.shape) > density] = 0
    table = random.integers(1, 65536 if seed % 2 else 256, 64)
    packed = packed_reference.Packed(8 * wide - 3, 8 * high - 2, color, [(1, 1)], [table], [blocks])
    return packed_reference.encode(packed), packed


def packed_seeds(photographs: list[Image.Image]) -> dict[str, bytes]:
    """What a fuzzer should start from, by name: each is whole, and reaches another part of the readers."""
    seeds = {}
    for image, layout in zip(photographs, LAYOUTS, strict=False):
        name = layout.replace(":", "")
        seeds[f"{name}-small"] = codec.pack_jpeg(encode_jpeg(image.resize((17, 9)), layout, quality=100))
        seeds[f"{name}-wide-blocks"] = codec.pack_jpeg(encode_jpeg(image.resize((72, 40)), layout, quality=98))
        seeds[f"{name}-several-groups"] = codec.pack_jpeg(encode_jpeg(image.resize((203, 75)), layout, quality=75))
    for seed in range(4):
        seeds[f"extreme-{seed}"] = extreme_sample(seed)[0]
    return seeds
