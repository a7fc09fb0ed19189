"""Scores against scikit-learn and torch; no test here has a network."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss, top_k_accuracy_score

from dailymae_hf.downstream.metrics import ClassificationMetrics, MeanIoU, MeanLoss, Top1Accuracy, Top5Accuracy
from dailymae_hf.errors import RecipeError


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 20, 200)
    logits = rng.normal(size=(200, 20)).astype(np.float32)
    logits[np.arange(200), classes] += 1.5
    return logits, classes


@pytest.mark.parametrize("batch_size", [1, 64, 200])
def test_scores_are_scikit_learns_and_compute_starts_afresh(scored, batch_size):
    logits, classes = scored
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    metrics = ClassificationMetrics(20)
    for _ in range(2):
        for start in range(0, 200, batch_size):
            rows = slice(start, start + batch_size)
            metrics.add_batch(torch.from_numpy(logits[rows]), torch.from_numpy(classes[rows]))
        assert metrics.compute() == {
            "accuracy": pytest.approx(accuracy_score(classes, logits.argmax(1))),
            "top5_accuracy": pytest.approx(top_k_accuracy_score(classes, logits, k=5, labels=range(20))),
            "loss": pytest.approx(log_loss(classes, probabilities, labels=range(20)), abs=1e-6),
        }


@pytest.mark.parametrize("metric", [Top1Accuracy, Top5Accuracy])
def test_a_metric_alone_takes_ranked_classes(scored, metric):
    logits, classes = scored
    expected = top_k_accuracy_score(classes, logits, k=metric.k, labels=range(20))
    alone = metric()
    assert alone.compute(predictions=np.argsort(-logits, axis=1), references=classes) == {
        metric.key: pytest.approx(expected)
    }
    for row, own in zip(np.argsort(-logits, axis=1), classes, strict=True):
        alone.add(prediction=row, reference=own)
    assert alone.compute() == {metric.key: pytest.approx(expected)}


def test_mean_loss_is_a_mean():
    assert MeanLoss().compute(predictions=[1.0, 2.0, 6.0]) == {"loss": pytest.approx(3.0)}


def test_mean_iou_is_scikit_learns_jaccard_score():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 5, 1000)
    predicted = np.where(rng.random(1000) < 0.7, masks, rng.integers(0, 6, 1000))
    scores = MeanIoU().compute(predictions=confusion_matrix(masks, predicted, labels=range(7)))
    assert scores == {  # class 5 is predicted but occurs in no mask, class 6 is in neither
        "mean_iou": pytest.approx(jaccard_score(masks, predicted, labels=range(6), average="macro")),
        "pixel_accuracy": pytest.approx(accuracy_score(masks, predicted)),
    }


def test_half_precision_logits_are_scored_in_single(scored):
    logits, classes = (torch.from_numpy(array) for array in scored)
    metrics = ClassificationMetrics(20)
    metrics.add_batch(logits.half(), classes)
    assert metrics.compute()["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits.half().float(), classes)), abs=1e-6
    )


def test_a_row_that_is_not_finite_is_never_right():
    metrics = ClassificationMetrics(3)
    metrics.add_batch(torch.tensor([[float("nan")] * 3, [5.0, 0.0, 0.0]]), torch.tensor([0, 0]))
    scores = metrics.compute()
    assert scores["accuracy"] == 0.5
    assert np.isnan(scores["loss"])


def test_few_classes_leave_top_5_out():
    metrics = ClassificationMetrics(3)
    metrics.add_batch(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([1]))
    assert set(metrics.compute()) == {"accuracy", "loss"}
    with pytest.raises(RecipeError, match="top-5 needs 5 ranked classes a sample, there are 3"):
        Top5Accuracy().compute(predictions=[[1, 2, 0]], references=[1])


@pytest.mark.parametrize(("rows", "width"), [(2, 4), (3, 3)])
def test_shapes_that_do_not_fit_are_named(rows, width):
    with pytest.raises(RecipeError, match=rf"\({rows}, {width}\) and labels \(2,\)"):
        ClassificationMetrics(3).add_batch(torch.zeros(rows, width), torch.zeros(2, dtype=torch.int64))


def test_gathered_rows_score_as_batches_do_and_unlabelled_images_do_not_count(scored):
    logits, classes = (torch.from_numpy(array) for array in scored)
    metrics = ClassificationMetrics(20)
    metrics.add_batch(logits, classes)
    expected = metrics.compute()
    unlabelled = torch.tensor([-1, -100])
    rows = torch.cat([metrics.rows(logits[:2], unlabelled), metrics.rows(logits, classes)])
    metrics.add_rows(rows[torch.randperm(len(rows))])
    assert metrics.compute() == pytest.approx(expected)


def test_a_class_that_the_model_does_not_have_is_named():
    metrics = ClassificationMetrics(3)
    metrics.add_batch(torch.zeros(2, 3), torch.tensor([1, 7]))
    with pytest.raises(RecipeError, match="class 7, the model has 3"):
        metrics.compute()


def test_nothing_to_score_is_an_error():
    with pytest.raises(RecipeError, match="nothing to score"):
        ClassificationMetrics(3).compute()
