"""Pictures with class masks, for the tests of this room."""

import datasets
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def scenes(photographs) -> datasets.Dataset:
    """Twelve pictures whose mask says where they are bright; the border has no class."""
    rows: dict[str, list] = {"image": [], "annotation": []}
    for number, (_, photograph) in enumerate(photographs[:6] * 2):
        picture = photograph.resize((80, 64) if number % 3 else (56, 72))
        mask = (np.asarray(picture.convert("L")) > 127).astype(np.uint8)
        mask[:2] = 255
        rows["image"].append(picture)
        rows["annotation"].append(Image.fromarray(mask))
    return datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    )
