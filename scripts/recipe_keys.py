"""Write docs/recipe-keys.md: every key of every recipe, from the classes that declare them.

python scripts/recipe_keys.py
"""

from pathlib import Path

from dailymae_hf.cli.run import RUNS, recipe_kind
from dailymae_hf.recipe.key_list import key_page

PAGE = Path(__file__).parents[1] / "docs" / "recipe-keys.md"


def page() -> str:
    """The whole page."""
    return key_page({name: recipe_kind(name) for name in RUNS})


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
