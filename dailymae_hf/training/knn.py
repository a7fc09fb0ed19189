"""Weighted nearest-neighbour classification of frozen features, a score without training (Wu et al. 2018, sec. 3.4)."""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.functional import normalize

from dailymae_hf.errors import RecipeError


def knn_votes(
    bank: torch.Tensor,
    bank_labels: torch.Tensor,
    queries: torch.Tensor,
    *,
    num_classes: int,
    k: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    chunk: int = 1024,
) -> Iterator[tuple[slice, dict[int, torch.Tensor]]]:
    """Votes of the k most similar bank features for each class, a chunk of queries at a time.

    A neighbour of cosine similarity s votes for its class with exp(s / temperature).

    Args:
        bank: (N, D) features, any floating dtype; scaled to unit length here.
        bank_labels: (N,) int64, on the same device.
        queries: (M, D) features.
        num_classes: width of the votes.
        k: numbers of neighbours; more than N are N.
        temperature: 0.07 in the papers; smaller listens more to the nearest.
        chunk: queries per step; the similarities take chunk * N * 4 bytes.

    Yields:
        (rows of `queries`, {k: (rows, num_classes) float32 votes}).

    Raises:
        RecipeError: an empty bank, a k below 1, a temperature not above 0.
    """
    if not len(bank):
        raise RecipeError("kNN needs at least one training feature")
    if min(k) < 1 or temperature <= 0:
        raise RecipeError(f"kNN needs k >= 1 and temperature > 0, got k {tuple(k)} and temperature {temperature}")
    bank = normalize(bank.float(), dim=1)
    for start in range(0, len(queries), chunk):
        rows = slice(start, min(start + chunk, len(queries)))
        similarity = normalize(queries[rows].float(), dim=1) @ bank.T
        top, neighbours = similarity.topk(min(max(k), len(bank)), dim=1)
        # The largest exponent becomes 0: the votes' ratios are the same and a small temperature cannot overflow.
        weights = ((top - top[:, :1]) / temperature).exp()
        labels = bank_labels[neighbours]
        empty = weights.new_zeros(len(top), num_classes)
        yield rows, {n: empty.scatter_add(1, labels[:, :n], weights[:, :n]) for n in k}


def knn_accuracy(
    bank: torch.Tensor,
    bank_labels: torch.Tensor,
    queries: torch.Tensor,
    query_labels: torch.Tensor,
    *,
    num_classes: int,
    k: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
) -> dict[int, float]:
    """Top-1 accuracy in [0, 1] for each k; arguments as in `knn_votes`, `query_labels` (M,) int64."""
    right = dict.fromkeys(k, 0)
    votes = knn_votes(bank, bank_labels, queries, num_classes=num_classes, k=k, temperature=temperature)
    for rows, by_k in votes:
        for n, scores in by_k.items():
            right[n] += int((scores.argmax(dim=1) == query_labels[rows]).sum())
    return {n: count / max(len(queries), 1) for n, count in right.items()}
