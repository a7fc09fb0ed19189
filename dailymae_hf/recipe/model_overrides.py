"""The key `model_overrides`: fields of ViTMAEConfig, checked before a model is made of them."""

import difflib
from collections.abc import Mapping
from typing import Any

from transformers import ViTMAEConfig
from transformers.activations import ACT2FN

from dailymae_hf.errors import RecipeError
from dailymae_hf.keys import Allowed
from dailymae_hf.recipe.values import convert

_FRACTION = Allowed(at_least=0, below=1)
_ALLOWED = {
    "hidden_act": Allowed(choices=tuple(ACT2FN)),
    "hidden_dropout_prob": _FRACTION,
    "attention_probs_dropout_prob": _FRACTION,
    "initializer_range": Allowed(at_least=0),
    "layer_norm_eps": Allowed(above=0),
    "mask_ratio": Allowed(above=0, below=1),
}
_COUNT = Allowed(at_least=1)


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Refuse what ViTMAEConfig has no field for, and values that no model can have.

    Raises:
        RecipeError: naming `model_overrides.` and the field.
    """
    types = ViTMAEConfig.__annotations__
    for name, value in overrides.items():
        key = f"model_overrides.{name}"
        if name not in types:
            nearest = difflib.get_close_matches(str(name), types, n=1, cutoff=0.0)[0]
            raise RecipeError(f"{key}: ViTMAEConfig has no such field; the nearest is {nearest!r}")
        problem = _ALLOWED.get(name, _COUNT).problem(convert(value, types[name], key))
        if problem is not None:
            raise RecipeError(f"{key}{problem}")
