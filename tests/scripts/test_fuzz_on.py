"""Fuzzing goes on where it ended: seeds are counted up, kinds keep their parts, nothing is run twice."""

from collections import Counter

from scripts.fuzz_on import KINDS, add, next_piece, total


def test_pieces_follow_each_other_and_kinds_keep_their_parts():
    results = {"commit": "c", "kinds": {}}
    seen = Counter()
    for number in range(300):
        if number == 200:
            results["commit"] = "d"
        kind, seed = next_piece(results)
        assert (kind, seed) not in seen
        seen[kind, seed] += 1
        add(results, kind, KINDS[kind][1], seed, 1.0)
    kernel, beton, recipe = (results["kinds"][kind]["inputs"] for kind in KINDS)
    assert total(results) == kernel + beton + recipe
    assert 0.75 < kernel / total(results) < 0.85
    assert abs(beton - recipe) <= 20_000
    ranges = results["kinds"]["kernel"]["pieces"]
    assert [piece["commit"] for piece in ranges] == ["c", "d"]
    assert ranges[0]["seeds"] == [1, ranges[1]["seeds"][0] - 1]
    assert sum(piece["count"] * (piece["seeds"][1] - piece["seeds"][0] + 1) for piece in ranges) == kernel
