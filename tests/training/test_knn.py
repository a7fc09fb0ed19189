"""Weighted kNN against a loop over neighbours and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.knn import knn_accuracy, knn_votes


@pytest.fixture(scope="module")
def features():
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(7, 24, generator=rng)
    bank_labels = torch.randint(7, (150,), generator=rng)
    query_labels = torch.randint(7, (60,), generator=rng)
    bank = centres[bank_labels] + 1.5 * torch.randn(150, 24, generator=rng)
    queries = centres[query_labels] + 1.5 * torch.randn(60, 24, generator=rng)
    return bank, bank_labels, queries, query_labels


@pytest.mark.parametrize("k", [1, 10, 20, 100])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_votes_are_a_plain_loop(features, k, chunk):
    bank, labels, queries, _ = features
    unit_bank = bank.numpy() / np.linalg.norm(bank.numpy(), axis=1, keepdims=True)
    for rows, votes in knn_votes(bank, labels, queries, num_classes=7, k=[k, 3], chunk=chunk):
        for query, ours in zip(queries[rows].numpy(), votes[k], strict=True):
            similarity = unit_bank @ (query / np.linalg.norm(query))
            expected = np.zeros(7)
            for neighbour in np.argsort(-similarity)[:k]:
                expected[labels[neighbour]] += np.exp((similarity[neighbour] - similarity.max()) / 0.07)
            np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_accuracy_is_scikit_learns(features):
    bank, labels, queries, query_labels = features
    unit = torch.nn.functional.normalize
    for k, accuracy in knn_accuracy(bank, labels, queries, query_labels, num_classes=7).items():
        reference = KNeighborsClassifier(
            min(k, 150), metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
        ).fit(unit(bank).numpy(), labels.numpy())
        assert accuracy == pytest.approx(reference.score(unit(queries).numpy(), query_labels.numpy())), k


def test_more_neighbours_than_features_are_all_features(features):
    bank, labels, queries, query_labels = features
    scores = knn_accuracy(bank, labels, queries, query_labels, num_classes=7, k=[150, 10_000])
    assert scores[150] == scores[10_000]


def test_low_precision_and_a_tiny_temperature_stay_finite(features):
    bank, labels, queries, query_labels = features
    scores = knn_accuracy(
        bank.bfloat16(), labels, queries.bfloat16(), query_labels, num_classes=7, k=[5], temperature=1e-3
    )
    nearest = knn_accuracy(bank.bfloat16(), labels, queries.bfloat16(), query_labels, num_classes=7, k=[1])
    assert scores[5] == pytest.approx(nearest[1], abs=0.05)


@pytest.mark.parametrize("wrong", [{"k": [0]}, {"temperature": 0.0}, {"bank": torch.zeros(0, 24)}])
def test_impossible_settings_are_refused(features, wrong):
    arguments = {"bank": features[0], "bank_labels": features[1], "queries": features[2], "num_classes": 7, **wrong}
    with pytest.raises(RecipeError, match="kNN"):
        next(knn_votes(arguments.pop("bank"), arguments.pop("bank_labels"), arguments.pop("queries"), **arguments))
