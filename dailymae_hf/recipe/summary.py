"""The last words of a run that was scored."""

from dailymae_hf.recipe.recipe import Recipe


def scored(measure: str, value: float, kind: str, recipe: Recipe) -> str:
    """The score, and where model and results are."""
    folder = recipe.training.output_dir
    return f"{measure} {value:.2%}\n{kind}, processor, recipe, results and log.jsonl are in {folder}"
