"""docs/first-recipe.md does its arithmetic by the rules that the code has."""

from pathlib import Path

import pytest

from dailymae_hf.schedule import scaled_learning_rate
from dailymae_hf.training.training_args import DailyMAETrainingArguments

PAGE = Path(__file__).parents[2] / "docs" / "first-recipe.md"
ROWS = [
    [float(cell.replace(",", "")) for cell in line.strip("| ").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| 1")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]:.0f} images")
def test_a_row_follows_from_images_batch_and_epochs(row, tmp_path):
    images, batch, epochs, steps, base, peak, warmup = row
    assert steps == images // batch * epochs
    assert peak == pytest.approx(scaled_learning_rate(base, int(batch)))
    usual = DailyMAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, num_train_epochs=epochs)
    assert usual.warmup_epochs == pytest.approx(warmup)
    assert usual.base_learning_rate == base


def test_there_is_a_row_for_each_size():
    assert [row[0] for row in ROWS] == [1e4, 1e6, 1e8]
