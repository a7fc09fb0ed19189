"""The FFCV operations in stock `ffcv.Loader` pipelines, on files that stock ffcv wrote."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dailymae_hf import _native
from dailymae_hf.errors import RecipeError

pytest.importorskip("ffcv", reason="the operations are ffcv's")

import numba
from ffcv.fields import IntField, RGBImageField
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

from dailymae_hf.data.ffcv_ext.operations import CropDecodeCenterCrop, CropDecodeRandomResizedCrop

COUNT = 24
BATCH = 8


class Photographs:
    """COUNT views of different sizes, each with its index."""

    def __init__(self, photographs: list[tuple[str, Image.Image]]) -> None:
        self.images = []
        for index in range(COUNT):
            image = photographs[index % len(photographs)][1]
            size = 90 + 17 * (index % 7), 80 + 23 * (index % 5)
            self.images.append(np.asarray(image.resize(size)))

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.images[index], index


@pytest.fixture(scope="module")
def views(photographs) -> Photographs:
    return Photographs(photographs)


@pytest.fixture(scope="module")
def beton(views, tmp_path_factory) -> str:
    """JPEG and raw samples mixed."""
    path = str(tmp_path_factory.mktemp("stock") / "mixed.beton")
    write(path, views, "proportion")
    assert set(Reader(path).metadata["f0"]["mode"]) == {0, 1}
    return path


def write(path: str, dataset, mode: str) -> None:
    fields = {"image": RGBImageField(write_mode=mode), "label": IntField()}
    DatasetWriter(path, fields, num_workers=1).from_indexed_dataset(dataset)


def loader(path: str, operation, **options) -> Loader:
    settings = {"batch_size": BATCH, "num_workers": 2, "order": OrderOption.SEQUENTIAL, **options}
    return Loader(path, pipelines={"image": [operation, ToTensor()]}, **settings)


def epoch(of: Loader) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of the next epoch."""
    batches = [(images.numpy().copy(), labels.numpy().copy()) for images, labels in of]
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches]).ravel()


def stored(path: str) -> list[tuple[bytes, str, int, int]]:
    """(bytes, mode, height, width) of each sample, straight from the file."""
    reader = Reader(path)
    content = open(path, "rb").read()  # noqa: SIM115
    sizes = dict(zip(reader.alloc_table["ptr"].tolist(), reader.alloc_table["size"].tolist(), strict=True))
    samples = []
    for m in reader.metadata["f0"]:
        start = int(m["data_ptr"])
        samples.append(
            (content[start : start + sizes[start]], ("jpg", "raw")[m["mode"]], int(m["height"]), int(m["width"]))
        )
    return samples


def test_batches_are_the_kernels_crops(beton):
    images, labels = epoch(loader(beton, CropDecodeRandomResizedCrop(64, seed=5)))
    assert images.shape == (COUNT, 3, 64, 64)
    assert images.dtype == np.uint8
    assert labels.tolist() == list(range(COUNT))
    params = _native.crop_params(seed=5)
    for index, (data, mode, height, width) in enumerate(stored(beton)):
        box, flip = _native.random_resized_crop(params, index, height, width)
        want = _native.crop_decode(data, box, (64, 64), flip=flip, height=height, width=width, mode=mode)
        np.testing.assert_array_equal(images[index], want)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_and_order_do_not_matter(beton, threads):
    threads = min(threads, numba.config.NUMBA_NUM_THREADS)
    want, _ = epoch(loader(beton, CropDecodeRandomResizedCrop(64, seed=5)))
    operation = CropDecodeRandomResizedCrop(64, seed=5)
    images, labels = epoch(loader(beton, operation, num_workers=threads, order=OrderOption.RANDOM, seed=3))
    assert labels.tolist() != sorted(labels.tolist())
    np.testing.assert_array_equal(images, want[labels])


def test_tensors_are_contiguous(beton):
    images, _ = next(iter(loader(beton, CropDecodeCenterCrop((48, 64)))))
    assert images.shape == (BATCH, 3, 48, 64)
    assert images.is_contiguous()


def test_epoch_and_size_change_without_a_new_loader(beton):
    operation = CropDecodeRandomResizedCrop(64, seed=5)
    of = loader(beton, operation)
    first, _ = epoch(of)
    operation.set_epoch(1)
    second, _ = epoch(of)
    operation.set_epoch(0)
    again, _ = epoch(of)
    assert (first != second).mean() > 0.5
    np.testing.assert_array_equal(again, first)
    operation.output_size = 32, 80
    sized, _ = epoch(of)
    assert sized.shape == (COUNT, 3, 32, 80)
    fresh, _ = epoch(loader(beton, CropDecodeRandomResizedCrop((32, 80), seed=5)))
    np.testing.assert_array_equal(sized, fresh)


def test_a_new_size_compiles_nothing(beton):
    operation = CropDecodeRandomResizedCrop(64)
    of = loader(beton, operation)
    epoch(of)
    compiled = [code for stage, _ in of.code[0] for code in stage.__globals__.values() if hasattr(code, "signatures")]
    before = [len(code.signatures) for code in compiled]
    operation.output_size = 96
    epoch(of)
    assert compiled
    assert [len(code.signatures) for code in compiled] == before


def test_evaluation_crop_is_near_stock_ffcv(photographs, tmp_path):
    """Where both crops are the same box: stock averages areas, ours is a triangle filter."""
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
    from ffcv.transforms import ToTorchImage

    path = str(tmp_path / "equal.beton")
    smooth = [p.resize((48, 36)).resize((256, 192), Image.Resampling.BICUBIC) for _, p in photographs[:BATCH]]
    write(path, [(np.asarray(image), number) for number, image in enumerate(smooth)], "jpg")
    ours, _ = epoch(loader(path, CropDecodeCenterCrop(48, 1.0)))
    pipeline = [CenterCropRGBImageDecoder((48, 48), 1.0), ToTensor(), ToTorchImage()]
    theirs, _ = epoch(Loader(path, batch_size=BATCH, num_workers=2, pipelines={"image": pipeline}))
    assert np.abs(ours.astype(int) - theirs).mean() < 2
    assert np.abs(ours[:, :, :, ::-1].astype(int) - theirs).mean() > 15


def test_evaluation_crop_is_pillows(beton):
    """Resize the shorter side to 73 pixels, then cut 64 x 64 out of the middle."""
    images, _ = epoch(loader(beton, CropDecodeCenterCrop(64, 64 / 73)))
    errors = []
    for got, (data, mode, height, width) in zip(images, stored(beton), strict=True):
        image = Image.frombytes("RGB", (width, height), data) if mode == "raw" else Image.open(io.BytesIO(data))
        short = min(width, height)
        size = int(73 * width / short), int(73 * height / short)
        left, top = (size[0] - 64) // 2, (size[1] - 64) // 2
        want = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 64, top + 64))
        errors.append(np.abs(got.astype(int) - np.asarray(want).transpose(2, 0, 1)).mean())
    assert np.mean(errors) <= 1


def test_damaged_samples_become_zeros_and_are_counted(views, tmp_path):
    path = str(tmp_path / "damaged.beton")
    write(path, views, "jpg")
    pointers = Reader(path).metadata["f0"]["data_ptr"]
    with open(path, "r+b") as file:
        for index in (17, 6):
            file.seek(int(pointers[index]) + 200)
            file.write(b"\xff\xd9" * 40)
    operation = CropDecodeRandomResizedCrop(64)
    assert operation.errors == (0, None, None)
    images, _ = epoch(loader(path, operation))
    count, first, status = operation.errors
    assert (count, first) == (2, 6)
    assert status in (_native.CORRUPT, _native.TRUNCATED)
    assert [index for index in range(COUNT) if not images[index].any()] == [6, 17]
    operation.clear_errors()
    assert operation.errors == (0, None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (0, 1)},
        {"scale": (0.5, 0.2)},
        {"scale": (0.2, 1.5)},
        {"ratio": (-1, 1)},
        {"hflip": 2.0},
        {"output_size": 0},
    ],
    ids=str,
)
def test_bad_arguments_are_named(options):
    (name,) = options
    with pytest.raises(RecipeError, match=name):
        CropDecodeRandomResizedCrop(**{"output_size": 64, **options})


def test_kernel_module_needs_no_ffcv():
    code = "import sys, dailymae_hf._native as n; n.load(); assert not {'ffcv', 'numba', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
