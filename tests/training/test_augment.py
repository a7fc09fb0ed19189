"""Augmentations against Pillow, scipy and the papers' formulas, on the packaged photographs."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage, stats

from dailymae_hf.errors import RecipeError
from dailymae_hf.training import augment
from dailymae_hf.training.augment import Mixing, ThreeAugment

SIZE = 96


@pytest.fixture(scope="module")
def pictures(photographs) -> list[Image.Image]:
    return [picture.resize((SIZE, SIZE)) for _, picture in photographs[:6]]


@pytest.fixture(scope="module")
def batch(pictures) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


def as_levels(pixels: torch.Tensor) -> np.ndarray:
    """[0, 1] (B, 3, H, W) -> levels 0..255 (B, H, W, 3), not rounded."""
    return (pixels * 255).permute(0, 2, 3, 1).numpy()


def pillow_levels(pictures) -> np.ndarray:
    return np.stack([np.array(picture.convert("RGB"), dtype=np.float32) for picture in pictures])


def test_solarize_is_pillows(batch, pictures):
    ours = as_levels(augment.solarize(augment.unit_pixels(batch)))
    np.testing.assert_allclose(ours, pillow_levels(ImageOps.solarize(p) for p in pictures), atol=1e-3)


def test_solarize_turns_at_128_of_255():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = np.array([255 - v if v >= 128 else v for v in range(256)])
    ours = as_levels(augment.solarize(augment.unit_pixels(levels)))[0, ..., 0]
    np.testing.assert_allclose(ours.ravel(), expected, atol=1e-4)


def test_grayscale_is_pillows(batch, pictures):
    ours = as_levels(augment.grayscale(augment.unit_pixels(batch)))
    np.testing.assert_allclose(ours, pillow_levels(p.convert("L") for p in pictures), atol=0.51)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_is_scipys_gaussian(batch, sigma):
    pixels = augment.unit_pixels(batch)
    ours = augment.gaussian_blur(pixels, torch.full((len(pixels),), sigma))
    expected = ndimage.gaussian_filter(pixels.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, 8, 8))
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_blur_is_close_to_pillows_box_approximation(batch, pictures, sigma):
    ours = as_levels(augment.gaussian_blur(augment.unit_pixels(batch), torch.full((len(batch),), sigma)))
    theirs = pillow_levels(p.filter(ImageFilter.GaussianBlur(sigma)) for p in pictures)
    assert np.abs(ours - theirs).mean() < 1.0  # levels of 255; Pillow approximates with three box filters


def test_blur_gives_each_image_its_own_sigma_and_leaves_zero_alone(batch):
    pixels = augment.unit_pixels(batch)
    mixed = augment.gaussian_blur(pixels, torch.tensor([0.0, 1.0, 2.0, 0.0, 0.3, 1.5]))
    assert torch.equal(mixed[0], pixels[0])
    assert torch.equal(mixed[3], pixels[3])
    alone = augment.gaussian_blur(pixels[2:3], torch.tensor([2.0]))
    torch.testing.assert_close(mixed[2:3], alone)


def test_blur_of_an_oblong_image(batch):
    pixels = augment.unit_pixels(batch)[:, :, :40]
    ours = augment.gaussian_blur(pixels, torch.full((len(pixels),), 1.2))
    expected = ndimage.gaussian_filter(pixels.numpy(), (0, 0, 1.2, 1.2), mode="nearest", radius=(0, 0, 8, 8))
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
@pytest.mark.parametrize(
    ("operation", "enhancer"),
    [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)],
    ids=["brightness", "contrast", "saturation"],
)
def test_each_jitter_is_pillows(batch, pictures, operation, enhancer, factor):
    factors = torch.ones(len(batch), 3)
    factors[:, operation] = factor
    ours = as_levels(augment.color_jitter(augment.unit_pixels(batch), factors, torch.tensor([[0, 1, 2]] * len(batch))))
    theirs = pillow_levels(enhancer(p).enhance(factor) for p in pictures)
    np.testing.assert_allclose(ours, theirs, atol=1.3)  # Pillow rounds the luma, the mean and the result


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_jitter_follows_the_order(batch, pictures, order):
    factors = (1.35, 0.7, 1.3)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    expected = pictures
    for number in order:
        expected = [enhancers[number](p).enhance(factors[number]) for p in expected]
    orders = torch.tensor([order] * len(batch))
    ours = augment.color_jitter(augment.unit_pixels(batch), torch.tensor([factors] * len(batch)), orders)
    np.testing.assert_allclose(as_levels(ours), pillow_levels(expected), atol=5)


def test_exactly_one_of_three_is_applied_to_each_image(batch):
    images = batch[:1].expand(300, -1, -1, -1)
    module = ThreeAugment(color_jitter=0)
    augmented = module(images, epoch=3, index=torch.arange(300))
    original = augment.unit_pixels(batch[:1])
    is_gray = (augmented == augment.grayscale(original)).flatten(1).all(1)
    is_solarized = (augmented == augment.solarize(original)).flatten(1).all(1)
    # A blurred image keeps each channel's mean (but for the border), and its neighbours come closer.
    roughness = (augmented[..., 1:] - augmented[..., :-1]).abs().mean((1, 2, 3))
    is_blurred = ~is_gray & ~is_solarized
    assert (roughness[is_blurred] <= (original[..., 1:] - original[..., :-1]).abs().mean()).all()
    torch.testing.assert_close(
        augmented[is_blurred].mean((2, 3)), original.mean((2, 3)).expand(int(is_blurred.sum()), -1), atol=0.01, rtol=0
    )
    counts = np.array([is_gray.sum(), is_solarized.sum(), is_blurred.sum()])
    assert counts.sum() == 300
    assert stats.chisquare(counts).pvalue > 1e-3


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(batch):
    module = ThreeAugment(seed=5)
    index = torch.tensor([7, 1, 900_000_000_000, 3, 11, 4])
    whole = module(batch, 2, index)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    alone = torch.cat([module(batch[i : i + 1], 2, index[i : i + 1]) for i in range(len(batch))])
    torch.testing.assert_close(whole, alone, atol=1e-6, rtol=0)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(whole, module(batch, 3, index))
    assert not torch.equal(whole, ThreeAugment(seed=6)(batch, 2, index))


def test_values_stay_in_range_and_solarizing_happens_on_pixels(batch):
    augmented = ThreeAugment(color_jitter=1.0)(batch, 0, torch.arange(len(batch)))
    assert augmented.dtype == torch.float32
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    torch.testing.assert_close(
        ThreeAugment()(augment.unit_pixels(batch), 0, torch.arange(len(batch))),
        ThreeAugment()(batch, 0, torch.arange(len(batch))),
    )


def test_autocast_does_not_coarsen_the_pixels(batch):
    plain = ThreeAugment()(batch, 0, torch.arange(len(batch)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = ThreeAugment()(batch, 0, torch.arange(len(batch)))
    torch.testing.assert_close(plain, mixed)


@pytest.mark.parametrize("alpha", [0.4, 0.8, 1.0])
def test_shares_are_beta_distributed(alpha):
    draws = torch.rand(20_000, 48, generator=torch.Generator().manual_seed(1))
    shares = augment.beta_quantities(draws, torch.full((20_000,), alpha))
    assert stats.kstest(shares.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_is_the_convex_combination_of_the_mirror_pairs(batch):
    pixels, labels = augment.unit_pixels(batch), torch.arange(6)
    mixed, targets = Mixing(6, mixup=0.8, cutmix=0, label_smoothing=0)(pixels, labels, 0, torch.arange(6))
    for i in range(6):
        share = float(targets[i, i])
        assert float(targets[i].sum()) == pytest.approx(1, abs=1e-5)
        assert float(targets[i, 5 - i]) == pytest.approx(1 - share, abs=1e-5)
        torch.testing.assert_close(mixed[i], share * pixels[i] + (1 - share) * pixels[5 - i], atol=1e-5, rtol=0)


def test_cutmix_pastes_a_box_of_the_partner_and_counts_its_area():
    pixels = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 48, 48)
    mixed, targets = Mixing(8, mixup=0, cutmix=1, label_smoothing=0)(pixels, torch.arange(8), 4, torch.arange(8))
    areas = set()
    for i in range(8):
        pasted = mixed[i, 0] == 7 - i
        assert ((mixed[i] == i) | pasted).all(), "every pixel is one of the two images', none is a blend"
        rows, columns = pasted.any(1).nonzero(), pasted.any(0).nonzero()
        if len(rows):
            assert pasted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "the pasted pixels are one box"
        assert float(targets[i, i]) == pytest.approx(1 - float(pasted.float().mean()), abs=1e-6)
        areas.add(int(pasted.sum()))
    assert len(areas) > 4, "each image draws its own box"


@pytest.mark.parametrize(("row", "column", "share"), [(0.5, 0.5, 0.75), (0.0, 0.99, 0.36), (0.3, 0.1, 0.0)])
def test_cutmix_box_is_the_papers_algorithm(row, column, share):
    height, width = 40, 60
    cut_height, cut_width = int(height * (1 - share) ** 0.5), int(width * (1 - share) ** 0.5)
    y, x = int(row * height), int(column * width)
    top, bottom = np.clip([y - cut_height // 2, y + cut_height // 2], 0, height)
    left, right = np.clip([x - cut_width // 2, x + cut_width // 2], 0, width)
    expected = np.zeros((height, width), dtype=bool)
    expected[top:bottom, left:right] = True
    box = augment.cutmix_box(torch.tensor([share]), torch.tensor([[row, column]]), height, width)
    np.testing.assert_array_equal(box[0].numpy(), expected)


def test_the_coin_between_mixup_and_cutmix_is_even():
    pixels = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 16, 16).repeat(1000, 1, 1, 1)
    mixed, _ = Mixing(2)(pixels, torch.arange(2).repeat(1000), 0, torch.arange(2000))
    blended = ((mixed > 0) & (mixed < 1)).flatten(1).any(1).float().mean()
    assert float(blended) == pytest.approx(0.5, abs=0.05)


def test_label_smoothing_spreads_over_all_classes():
    targets = Mixing(10, mixup=0, cutmix=0, label_smoothing=0.1)(
        torch.zeros(2, 3, 8, 8), torch.tensor([3, 4]), 0, torch.arange(2)
    )[1]
    expected = torch.full((2, 10), 0.01)
    expected[0, 3] = expected[1, 4] = 0.91
    torch.testing.assert_close(targets, expected)
    logits = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        torch.nn.functional.cross_entropy(logits, targets),
        torch.nn.functional.cross_entropy(logits, torch.tensor([3, 4]), label_smoothing=0.1),
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: ThreeAugment(color_jitter=1.5),
        lambda: ThreeAugment(sigma=(2.0, 0.1)),
        lambda: Mixing(10, mixup=1.2),
        lambda: Mixing(10, cutmix=-0.1),
        lambda: Mixing(10, label_smoothing=1.0),
    ],
    ids=["color_jitter", "sigma", "mixup", "cutmix", "label_smoothing"],
)
def test_impossible_settings_are_named(build, request):
    with pytest.raises(RecipeError, match=request.node.callspec.id):
        build()


@pytest.mark.gpu
def test_a_gpu_draws_what_a_cpu_draws(batch):
    index = torch.arange(len(batch))
    on_cpu = ThreeAugment()(batch, 1, index)
    on_gpu = ThreeAugment()(batch.cuda(), 1, index.cuda())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-5, rtol=0)
    labels = torch.arange(len(batch))
    for ours, theirs in zip(
        Mixing(6)(on_cpu, labels, 1, index), Mixing(6)(on_gpu, labels.cuda(), 1, index.cuda()), strict=True
    ):
        torch.testing.assert_close(theirs.cpu(), ours, atol=1e-5, rtol=0)
