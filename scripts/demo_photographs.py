"""The ten colour photographs that scikit-image and scikit-learn ship inside their wheels.

Nothing is downloaded: `skimage.data` has more pictures, but only behind pooch and the network.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

# Every colour photograph in the two wheels, once: the motorcycle is a stereo pair (its left half serves),
# and the colour wheel, the logo and the phantom are drawings.
_SKIMAGE = (
    ("astronaut", "astronaut"),
    ("cat", "cat"),
    ("coffee", "coffee"),
    ("hubble_deep_field", "hubble_deep_field"),
    ("immunohistochemistry", "immunohistochemistry"),
    ("motorcycle", "stereo_motorcycle"),
    ("retina", "retina"),
    ("rocket", "rocket"),
)
_SKLEARN = (("china", "china.jpg"), ("flower", "flower.jpg"))


def photographs() -> list[tuple[str, Image.Image]]:
    """Load them as `(name, RGB image)`, sorted by name; the sizes run from 451x300 to 1411x1411."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    pictures = []
    for name, function in _SKIMAGE:
        load: Callable[[], np.ndarray | tuple[np.ndarray, ...]] = getattr(data, function)
        loaded = load()
        pictures.append((name, Image.fromarray(loaded[0] if isinstance(loaded, tuple) else loaded)))
    pictures += [(name, Image.fromarray(load_sample_image(file))) for name, file in _SKLEARN]
    return sorted(pictures, key=lambda picture: picture[0])
