"""What people write into a card survives; what we wrote there is replaced."""

from dailymae_hf.hub.card import generated_headings
from dailymae_hf.hub.handwritten import join_card, keep_handwritten, sections, split_card

GENERATED = {"Use", "Results"}
CARD = "---\nlicense: mit\ntags:\n- a\n- b\n---\n\n# x\n\n## Use\n\nnew use\n\n## Results\n\n- 5\n"
OLD = (
    "---\nlicense: gpl\ntags:\n- b\n- mine\nlanguage: en\n---\n\n# x\n\nold opening\n\n## Use\n\nold use\n\n"
    "## Who made this\n\nWe did.\n\n```bash\n## not a heading\n```\n\n### Thanks\n\nto you\n\n## Results\n\n- 4\n"
)


def test_sections_of_other_headings_are_kept_whole_and_ours_replaced():
    metadata, body = split_card(keep_handwritten(CARD, OLD, GENERATED))
    assert "new use" in body
    assert "- 5" in body
    assert "## Who made this\n\nWe did.\n\n```bash\n## not a heading\n```\n\n### Thanks\n\nto you" in body
    for old in ("old use", "- 4", "old opening"):
        assert old not in body
    assert metadata == {"license": "mit", "tags": ["a", "b", "mine"], "language": "en"}


def test_a_third_push_keeps_it_once():
    twice = keep_handwritten(CARD, keep_handwritten(CARD, OLD, GENERATED), GENERATED)
    assert twice == keep_handwritten(CARD, OLD, GENERATED)
    assert twice.count("Who made this") == 1


def test_a_card_without_readable_head_loses_nothing_but_that():
    for head in ("", "---\n: [\n---\n"):
        assert "We did." in keep_handwritten(CARD, f"{head}\n## Who made this\n\nWe did.", GENERATED)


def test_scores_of_an_older_card_do_not_come_back():
    new = join_card({"model-index": [{"name": "x", "results": [2]}]}, "# x")
    old = join_card({"model-index": [{"name": "x", "results": [1]}]}, "# x")
    assert split_card(keep_handwritten(new, old, set()))[0]["model-index"] == [{"name": "x", "results": [2]}]


def test_headings_of_every_template_are_known():
    assert {"Use", "Data", "Training", "Results", "Limits", "Files", "Classes"} <= generated_headings()
    assert set(sections("## Use\nx\n# other\n## Data\ny")) == {"Use", "Data"}
