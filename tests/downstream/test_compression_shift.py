"""Classes matched by name, names of variants, and the table, without a run."""

import pytest

from dailymae_hf.downstream.compression_shift import Score, as_records, label_map, table, variant_name, write_variant
from dailymae_hf.errors import RecipeError


def test_classes_are_matched_by_name_and_by_number_where_there_are_no_names():
    assert label_map(["cat", "dog"], ["dog", "bird", "cat"], "x") == {0: 2, 1: 0}
    assert label_map(None, ["a", "b"], "x") == {0: 0, 1: 1}
    with pytest.raises(RecipeError, match="photos: class 'horse' is none of the model's 2 classes"):
        label_map(["cat", "horse"], ["cat", "dog"], "photos")


def test_each_row_stands_beside_its_distance_to_the_first():
    scores = [
        Score("as trained", 200, 0.8, 0.95, 0.7, 12_345.6),
        Score("quality 50", 200, 0.775, None, 0.75, None),
    ]
    head, first, second = table(scores).splitlines()
    assert head.startswith("scored on   images")
    assert first.split() == ["as", "trained", "200", "80.00%", "95.00%", "0.700", "12,346", "+0.00", "points"]
    assert second.split() == ["quality", "50", "200", "77.50%", "-", "0.750", "-", "-2.50", "points"]
    assert len({len(line.split("points")[0]) for line in (first, second)}) == 1, "columns are aligned"
    assert as_records(scores)[1]["top5_accuracy"] is None


def test_a_variant_is_named_by_its_options_and_an_unknown_option_is_refused(tmp_path):
    assert variant_name({"quality": 50, "max_resolution": 160}) == "quality 50, max_resolution 160"
    with pytest.raises(RecipeError, match="variants: 'colour' is none of quality, max_resolution, mode"):
        write_variant(None, {"colour": "gray"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
