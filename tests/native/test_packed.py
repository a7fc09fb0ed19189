"""Packed samples: nothing is lost, the specification says what the kernel does, and damage is a status."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from dailymae_hf import _native
from dailymae_hf._native import codec
from dailymae_hf.errors import CorruptSampleError
from tests.native import packed_reference
from tests.native.libjpeg_reference import LAYOUTS, encode_jpeg, read_coefficients, same_coefficients
from tests.native.packed_reference import extreme_sample

SIMD = ("scalar", "v128", "avx2", "avx512")


def jpeg_of(photographs, number: int = 0, size: tuple = (203, 149), layout: str = "4:2:0", **options) -> bytes:
    return encode_jpeg(photographs[number][1].resize(size), layout, **options)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_coefficient_changes_on_the_way_and_back(photographs, layout, progressive):
    jpeg = jpeg_of(photographs, layout=layout, progressive=progressive)
    back = codec.unpack_to_jpeg(codec.pack_jpeg(jpeg))
    assert same_coefficients(jpeg, back)
    if not progressive:  # libjpeg smooths blocks of progressive files that it knows little about
        np.testing.assert_array_equal(*(np.asarray(Image.open(io.BytesIO(j)).convert("RGB")) for j in (jpeg, back)))


@pytest.mark.parametrize("quality", [5, 50, 90, 95, 100])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 3), (64, 64), (65, 200)])
def test_no_coefficient_changes_at_any_size_and_quality(photographs, size, quality):
    jpeg = jpeg_of(photographs, 3, size, quality=quality)
    assert same_coefficients(jpeg, codec.unpack_to_jpeg(codec.pack_jpeg(jpeg)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_specification_read_by_another_gives_the_jpegs_coefficients(photographs, layout):
    jpeg = jpeg_of(photographs, 1, layout=layout, quality=97)
    packed = packed_reference.decode(codec.pack_jpeg(jpeg))
    expected = read_coefficients(jpeg)
    assert (packed.width, packed.height, len(packed.blocks)) == (203, 149, len(expected))
    for blocks, table, (coefficients, quant) in zip(packed.blocks, packed.tables, expected, strict=True):
        np.testing.assert_array_equal(blocks, coefficients.reshape(*blocks.shape)[..., packed_reference.ZIGZAG])
        np.testing.assert_array_equal(table, quant.ravel())


def test_the_specification_written_by_another_is_what_the_kernel_writes(photographs):
    packed = codec.pack_jpeg(jpeg_of(photographs, 2, layout="gray", quality=98))
    assert packed_reference.encode(packed_reference.decode(packed)) == packed


def test_size_stays_below_the_promise(photographs):
    """Less than 1.9 times the JPEG; measured 1.4 on photographs."""
    for quality in (90, 95):
        sizes = np.zeros(2)
        for _, photograph in photographs:
            small = photograph.copy()
            small.thumbnail((500, 500))
            jpeg = encode_jpeg(small, quality=quality)
            sizes += len(jpeg), len(codec.pack_jpeg(jpeg))
        assert sizes[1] / sizes[0] < 1.5


@pytest.mark.parametrize("scale", [8, 4, 2, 1])
@pytest.mark.parametrize("seed", range(6))
def test_instruction_sets_agree_on_any_coefficients(seed, scale):
    """Also where sums overflow: a damaged sample gives the same bytes on every machine."""
    data, packed = extreme_sample(seed)
    found = [
        codec.packed_planes(data, (packed.height, packed.width), (0, 0, packed.width, packed.height), scale, simd)[0]
        for simd in SIMD
        if _native.simd_level(simd) == simd
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.samples, found[0].samples)


@pytest.mark.parametrize("seed", range(4))
def test_any_coefficient_that_baseline_jpeg_can_say_survives(seed):
    data, packed = extreme_sample(seed, largest=1023)
    [(coefficients, quant)] = read_coefficients(codec.unpack_to_jpeg(data))
    np.testing.assert_array_equal(coefficients.reshape(5, 13, 64)[..., packed_reference.ZIGZAG], packed.blocks[0])
    np.testing.assert_array_equal(quant.ravel(), packed.tables[0])


def decode_everywhere(data: bytes, height: int, width: int) -> list[str]:
    """Decode with all instruction sets; each must give planes or CorruptSampleError."""
    outcomes = []
    for simd in SIMD:
        for scale in (8, 2):
            try:
                codec.packed_planes(data, (height, width), (0, 0, width, height), scale, simd)
                outcomes.append("planes")
            except CorruptSampleError as error:
                outcomes.append(str(error))
    with contextlib.suppress(CorruptSampleError):
        codec.unpack_to_jpeg(data)
    return outcomes


def test_truncated_samples_are_refused_at_every_length(photographs):
    packed = codec.pack_jpeg(jpeg_of(photographs, 4, (40, 24)))
    for length in range(len(packed)):
        assert "planes" not in decode_everywhere(packed[:length], 24, 40)


def test_damaged_samples_give_planes_or_a_status(photographs):
    """One bit, one byte or a run of bytes changed: never a crash, and the same outcome with every instruction set."""
    packed = codec.pack_jpeg(jpeg_of(photographs, 5, (72, 40), quality=95))
    random = np.random.default_rng(0)
    for _ in range(1500):
        damaged = bytearray(packed)
        at = int(random.integers(len(packed)))
        if random.integers(2):
            damaged[at] ^= 1 << int(random.integers(8))
        else:
            run = int(random.integers(1, 9))
            damaged[at : at + run] = random.bytes(len(damaged[at : at + run]))
        outcomes = decode_everywhere(bytes(damaged), 40, 72)
        assert len({outcome == "planes" for outcome in outcomes}) == 1


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"XYZ", "damaged"),
        (3, b"\x02", "not read"),
        (4, b"\x00\x00", "damaged"),
        (8, b"\x04", "damaged"),  # CMYK
        (9, b"\x02", "damaged"),
        (10, b"\x00", "damaged"),
        (10, b"\x04", "damaged"),
        (12, b"\x50", "damaged"),  # sampling factor 5 x 0
        (12, b"\x33", "damaged"),  # 3 x 3: legal, but then the tables are not where they should be
        (13, b"\x02", "damaged"),  # a table that is not there
        (18, b"\x03", "damaged"),  # a table of three-byte entries
    ],
)
def test_lying_heads_are_refused(photographs, at, value, message):
    packed = bytearray(codec.pack_jpeg(jpeg_of(photographs, 6, (64, 48))))
    packed[at : at + len(value)] = value
    with pytest.raises(CorruptSampleError, match=message):
        codec.unpack_to_jpeg(bytes(packed))


def test_another_size_than_the_files_table_gives_is_refused(photographs):
    packed = codec.pack_jpeg(jpeg_of(photographs, 6, (64, 48)))
    with pytest.raises(CorruptSampleError, match="size"):
        codec.packed_planes(packed, (64, 48), (0, 0, 8, 8))


@pytest.mark.parametrize("offset", [0, 5, 2**31, 2**32 - 1, "end"])
def test_lying_offsets_are_refused(photographs, offset):
    packed = bytearray(codec.pack_jpeg(jpeg_of(photographs, 7, (64, 48), layout="gray")))
    at = 12 + 2 + 65
    packed[at : at + 4] = (len(packed) - 1 if offset == "end" else offset).to_bytes(4, "little")
    assert "planes" not in decode_everywhere(bytes(packed), 48, 64)
