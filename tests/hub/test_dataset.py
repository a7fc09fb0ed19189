""".beton files to the Hub: one card that states what they hold, whoever pushed them."""

import pytest
import yaml

from dailymae_hf.cli.main import main
from dailymae_hf.data import inspect_beton
from dailymae_hf.errors import BetonError, HubError
from dailymae_hf.hub.dataset import push_dataset
from tests.support.card_facts import placeholders

ADDRESS = "hf://datasets/tester/photos/train.beton"


def test_card_states_counts_sizes_and_how_it_was_written(online, files, capsys):
    assert (
        main(["push", "--dataset", str(files / "train.beton"), "--repo", "tester/photos", "--license", "cc0-1.0"]) == 0
    )
    assert "/datasets/tester/photos/commit/" in capsys.readouterr().out
    pushed = online.files("tester/photos", "datasets")
    assert pushed["train.beton"] == (files / "train.beton").read_bytes()
    card = pushed["README.md"].decode()
    info = inspect_beton(files / "train.beton")
    assert f"| `train.beton` | 50 | 10 | {info['file_bytes'] / 1e6:.1f} MB |" in card
    assert "JPEG quality 90, longest side 160 pixels" in card
    assert f"train_beton: {ADDRESS}" in card
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["license"] == "cc0-1.0"
    assert metadata["size_categories"] == "n<1K"
    assert metadata["task_categories"] == ["image-classification"]
    assert placeholders(card) == []
    assert "\n\n\n" not in card


def test_another_file_joins_the_card_and_what_people_wrote_stays(online, files):
    push_dataset([files / "train.beton"], "tester/photos")
    online.files("tester/photos", "datasets")["README.md"] += b"\n## Source\n\nHolidays.\n"
    push_dataset([files / "validation.beton"], "tester/photos")
    pushed = online.files("tester/photos", "datasets")
    card = pushed["README.md"].decode()
    assert {"train.beton", "validation.beton"} <= set(pushed)
    assert "| `train.beton` | 50 | 10 |" in card
    assert "| `validation.beton` | 50 | no labels |" in card
    assert "eval_beton: hf://datasets/tester/photos/validation.beton" in card
    assert "Holidays." in card
    assert len(online.messages("tester/photos", "datasets")) == 3


def test_a_damaged_file_is_not_pushed(online, files, tmp_path):
    whole = (files / "train.beton").read_bytes()
    (tmp_path / "train.beton").write_bytes(whole[:-100])
    with pytest.raises(BetonError, match="truncated"):
        push_dataset([tmp_path / "train.beton"], "tester/photos")
    with pytest.raises(HubError, match="one name"):
        push_dataset([files / "train.beton", files / ".." / files.name / "train.beton"], "tester/photos")
    assert online.requests == []
