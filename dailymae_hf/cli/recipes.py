"""`dailymae recipes`: those that come with the package."""

import argparse
from typing import Any


def add_recipes(commands: Any) -> None:
    parser = commands.add_parser(
        "recipes",
        help="list the recipes that come with the package",
        description="List the recipes that come with the package; a command takes them by name: dailymae pretrain demo",
    )
    parser.add_argument("name", nargs="?", help="print this recipe instead, to be copied and changed")
    parser.set_defaults(run=run_recipes)


def run_recipes(options: argparse.Namespace) -> int:
    from dailymae_hf.recipe.shipped import find_recipe, shipped_recipes

    if options.name is not None:
        print(find_recipe(options.name).read_text(), end="")
        return 0
    for recipe in shipped_recipes():
        print(f"dailymae {recipe.command} {recipe.name}\n    {recipe.about}")
    return 0
