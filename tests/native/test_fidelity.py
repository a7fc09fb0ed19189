"""What the kernel makes of good samples, beside Pillow's full decode and antialiased resize."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from dailymae_hf._native import SIMD_LEVELS, crop_decode, simd_level

from .samples import decode, jpeg, pillow_crop, psnr

BOXES = {
    "whole": (0, 0, 500, 375),
    "inner": (37, 41, 301, 253),
    "corner": (260, 150, 240, 225),
    "fractional": (100.5, 20.25, 220.3, 210.7),
    "small": (203, 88, 61, 59),
}
LEVELS = [name for name in SIMD_LEVELS if name != "auto"]


@pytest.fixture(scope="module")
def views(photographs) -> list[Image.Image]:
    """500 x 375 pixels of each photograph, scaled down as a writer would."""
    out = []
    for _, photograph in photographs:
        scale = max(500 / photograph.width, 375 / photograph.height)
        size = max(500, round(photograph.width * scale)), max(375, round(photograph.height * scale))
        out.append(photograph.resize(size, Image.Resampling.BICUBIC).crop((0, 0, 500, 375)))
    return out


def compare(data: bytes, box: tuple, size: tuple[int, int], **options) -> tuple[float, float]:
    """(mean absolute error in levels, PSNR in dB) against Pillow in floating point."""
    image = decode(data)
    want = pillow_crop(image, box, size, options.get("flip", False))
    got = crop_decode(data, box, size, height=image.height, width=image.width, **options)
    return float(np.abs(got - want).mean()), psnr(got, want)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("box", BOXES)
def test_full_scale_is_within_a_level_of_pillow(views, subsampling, box):
    errors = [compare(jpeg(view, subsampling=subsampling), BOXES[box], (224, 224)) for view in views]
    mean_error, mean_psnr = np.mean(errors, axis=0)
    assert mean_error <= 1
    assert mean_psnr >= 40


@pytest.mark.parametrize(
    ("box", "side"), [("whole", 160), ("whole", 90), ("whole", 40), ("inner", 120), ("corner", 25)]
)
def test_scaled_inverse_dct_stays_close_to_pillow(views, box, side):
    errors = [compare(jpeg(view, subsampling="4:2:0"), BOXES[box], (side, side)) for view in views]
    assert np.mean([value for _, value in errors]) >= 34


@pytest.mark.parametrize("layout", ["440", "411"])
@pytest.mark.parametrize("options", [{}, {"IMWRITE_JPEG_RST_INTERVAL": 3}], ids=["plain", "restarts"])
def test_chroma_layouts_that_pillow_does_not_write(views, layout, options):
    cv2 = pytest.importorskip("cv2", reason="writes 4:4:0 and 4:1:1")
    flags = {"IMWRITE_JPEG_SAMPLING_FACTOR": getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{layout}"), **options}
    arguments = [number for name, value in flags.items() for number in (getattr(cv2, name), value)]
    errors = []
    for view in views:
        _, data = cv2.imencode(".jpg", np.asarray(view)[:, :, ::-1], arguments)
        errors.append(compare(data.tobytes(), BOXES["inner"], (224, 224)))
    mean_error, mean_psnr = np.mean(errors, axis=0)
    assert mean_error <= 1
    assert mean_psnr >= 40


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_other_colours(views, mode, options):
    mean_error, quality = compare(jpeg(views[0].convert(mode), **options), BOXES["inner"], (200, 180), flip=True)
    assert mean_error <= 1
    assert quality >= 40


def test_progressive_equals_baseline(views):
    arguments = BOXES["inner"], (224, 224)
    baseline = crop_decode(jpeg(views[0]), *arguments, height=375, width=500)
    progressive = crop_decode(jpeg(views[0], progressive=True), *arguments, height=375, width=500)
    np.testing.assert_array_equal(progressive, baseline)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(224, 224), (61, 333), (7, 5), (1, 1)])
def test_raw_is_pillow_to_a_level(views, size, flip):
    image = views[1]
    want = pillow_crop(image, BOXES["fractional"], size, flip)
    got = crop_decode(np.asarray(image), BOXES["fractional"], size, flip=flip, height=375, width=500, mode="raw")
    assert np.abs(got - want).max() <= 2
    assert np.abs(got - want).mean() <= 0.6


def test_a_raw_crop_of_the_output_size_is_copied(views):
    image = np.asarray(views[2])
    got = crop_decode(image, (13, 57, 224, 192), (192, 224), height=375, width=500, mode="raw")
    np.testing.assert_array_equal(got, image[57 : 57 + 192, 13 : 13 + 224].transpose(2, 0, 1))


@pytest.mark.parametrize("reduction", [3.3, 6.1, 20, 90])
def test_great_reductions_of_raw_samples(photographs, reduction):
    image = max((p for _, p in photographs), key=lambda p: p.width)
    size = max(1, int(image.height / reduction)), max(1, int(image.width / reduction))
    box = (0, 0, image.width, image.height)
    got = crop_decode(np.asarray(image), box, size, height=image.height, width=image.width, mode="raw")
    assert np.abs(got - pillow_crop(image, box, size)).mean() <= 1


@pytest.mark.parametrize("seed", range(40))
def test_every_instruction_set_gives_the_same_bytes(views, seed):
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(1, 501)), int(rng.integers(1, 376))
    view = views[seed % len(views)].crop((0, 0, width, height)).convert(["RGB", "RGB", "L", "CMYK"][seed % 4])
    if seed % 5 == 0:
        data, mode = np.asarray(view.convert("RGB")), "raw"
    else:
        data, mode = jpeg(view, **({} if view.mode == "L" else {"subsampling": seed % 3})), "jpg"
    w, h = rng.uniform(0.01, width), rng.uniform(0.01, height)
    box = rng.uniform(0, width - w), rng.uniform(0, height - h), w, h
    size = int(rng.integers(1, 300)), int(rng.integers(1, 300))
    results = [
        crop_decode(data, box, size, height=height, width=width, flip=seed % 2 == 1, mode=mode, simd=level)
        for level in LEVELS
    ]
    for level, result in zip(LEVELS, results, strict=True):
        np.testing.assert_array_equal(result, results[0], err_msg=f"{level} (runs as {simd_level(level)})")


@pytest.mark.parametrize(
    "options", [{"restart_marker_blocks": n} for n in (1, 3, 4, 7, 32)] + [{"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("box", BOXES)
def test_restart_segments_change_nothing(views, options, box):
    """With restart markers only the crop's segments are decoded; the same coefficients give the same pixels."""
    for view, size in zip(views[:4], [(224, 224), (96, 96), (300, 50), (17, 200)], strict=True):
        plain = crop_decode(jpeg(view), BOXES[box], size, height=375, width=500)
        cut = crop_decode(jpeg(view, **options), BOXES[box], size, height=375, width=500)
        np.testing.assert_array_equal(cut, plain)


@pytest.mark.parametrize("seed", range(60))
def test_restart_segments_of_odd_sizes(views, seed):
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(1, 200)), int(rng.integers(1, 200))
    view = views[seed % len(views)].crop((0, 0, width, height)).convert(["RGB", "L", "CMYK"][seed % 3])
    layout = {} if view.mode == "L" else {"subsampling": seed % 3}
    w, h = rng.uniform(1, width) if width > 1 else 1, rng.uniform(1, height) if height > 1 else 1
    box = rng.uniform(0, width - w), rng.uniform(0, height - h), w, h
    plain = crop_decode(jpeg(view, **layout), box, (64, 48), height=height, width=width)
    cut = crop_decode(
        jpeg(view, restart_marker_blocks=1 + seed % 11, **layout), box, (64, 48), height=height, width=width
    )
    np.testing.assert_array_equal(cut, plain)


def test_four_threads_give_the_bytes_of_one(views):
    """Each thread has scratch memory of its own; samples of different kinds follow each other in it."""
    samples = [
        jpeg(view, progressive=k == 3, **({"restart_marker_blocks": 4} if k % 2 else {}))
        for k, view in enumerate(views)
    ]
    jobs = [
        (samples[k % len(samples)], list(BOXES.values())[k % len(BOXES)], (16 + 13 * (k % 9), 200 - 11 * (k % 7)))
        for k in range(200)
    ]

    def run(job):
        return crop_decode(job[0], job[1], job[2], height=375, width=500)

    want = [run(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for result, expected in zip(pool.map(run, jobs), want, strict=True):
            np.testing.assert_array_equal(result, expected)


def test_a_short_last_segment_before_the_last_row(views):
    """9 x 6 blocks in segments of 7: rows of three segments, so the fifth row already ends with the short last one."""
    view = views[0].convert("L").crop((0, 0, 70, 45))
    plain, cut = (
        crop_decode(data, (0, 0, 70, 45), (33, 44), height=45, width=70)
        for data in (jpeg(view), jpeg(view, restart_marker_blocks=7))
    )
    np.testing.assert_array_equal(cut, plain)
