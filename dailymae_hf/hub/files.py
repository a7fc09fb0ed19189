"""What a pushed folder consists of: the names, and nothing that only training needs."""

from pathlib import Path

from dailymae_hf.run_files import LOG_NAME, RECIPE_NAME, RESULTS_NAME

PICTURES = "images"
RECONSTRUCTION, CURVES, SCHEDULE = (f"{PICTURES}/{name}.png" for name in ("reconstruction", "curves", "schedule"))

# Patterns below a run's output folder. Optimizer states, checkpoints and trackers' files match none of them.
MODEL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)
ENCODER_FILES = tuple(f"encoder/{name}" for name in ("config.json", "preprocessor_config.json", "model.safetensors"))
RECORD_FILES = (RECIPE_NAME, LOG_NAME, RESULTS_NAME, RECONSTRUCTION, CURVES, SCHEDULE)


def matching(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder that match, by their name in the repository."""
    return {path.relative_to(folder).as_posix(): path for pattern in patterns for path in sorted(folder.glob(pattern))}


def latest_reconstruction(folder: Path) -> Path | None:
    """The newest picture of `ReconstructionCallback` in a run's output folder, or None."""
    drawn = list((folder / "reconstructions").glob("*.png"))
    # By time first, as an earlier and longer run may have left later epochs; a copied folder has one second for all.
    return max(drawn, key=lambda path: (int(path.stat().st_mtime), path.name), default=None)
