"""The probe against BatchNorm and a linear layer trained by hand, kNN against scikit-learn, and what it must not do."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as F

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.callbacks import OnlineProbeCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.probe_head import ProbeHead
from tests.support.in_memory import tiny_model
from tests.support.runs import arguments, loader, normalised, validation


def run(out, *, labels=True, train=None, evaluate=None, model=None, **options):
    given = {name: options.pop(name) for name in list(options) if name in ("num_train_epochs", "base_learning_rate")}
    count = 40 if train is None else len(train.images)
    probe = OnlineProbeCallback(bank=loader(count, 4, shuffle=False, drop_last=False, labels=labels), **options)
    trainer = DailyMAETrainer(
        tiny_model() if model is None else model,
        arguments(out, **given),
        train_beton=loader(labels=labels) if train is None else train,
        eval_beton=validation() if evaluate is None else evaluate,
        callbacks=[probe],
    )
    trainer.train()
    return trainer, probe


def features(model, images):
    with torch.no_grad():
        return model.encode(normalised(images)).mean(dim=1)


@pytest.mark.parametrize("every_n_steps", [1, 2])
def test_learns_as_batchnorm_and_a_linear_layer_trained_by_hand(tmp_path, every_n_steps):
    trainer, callback = run(tmp_path, every_n_steps=every_n_steps, base_learning_rate=1e-30)  # the encoder stands still

    start = ProbeHead(32, 4, seed=5)
    norm, head = nn.BatchNorm1d(32, affine=False, eps=1e-6), nn.Linear(32, 4)
    head.load_state_dict(start.head.state_dict())
    adam, step, data = torch.optim.Adam(head.parameters(), lr=1e-3), 0, loader()
    for epoch in range(2):
        data.set_epoch(epoch)
        for batch in data:
            step += 1
            if step % every_n_steps:
                continue
            loss = F.cross_entropy(head(norm(features(trainer.model, batch["pixel_values"]))), batch["labels"])
            adam.zero_grad()
            loss.backward()
            adam.step()
    assert torch.allclose(callback.probe.head.weight, head.weight, atol=1e-6)
    assert torch.allclose(callback.probe.norm.running_var, norm.running_var, atol=1e-6)

    data = validation()
    rows = features(trainer.model, data.images)
    expected = (head(norm.eval()(rows)).argmax(1) == data.labels).float().mean().item()
    assert callback.score()["probe_accuracy"] == pytest.approx(expected)


def test_knn_is_scikit_learns_with_cosine_and_exponential_weights(tmp_path):
    trainer, callback = run(tmp_path)
    bank, queries = callback.bank, validation()
    reference = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    reference.fit(features(trainer.model, bank.images), bank.labels)
    expected = reference.score(features(trainer.model, queries.images), queries.labels)
    assert callback.score()["knn_accuracy"] == pytest.approx(expected)


def test_rankme_is_the_effective_rank_of_the_banks_features(tmp_path):
    trainer, callback = run(tmp_path)
    rows = features(trainer.model, callback.bank.images).double()
    values = torch.linalg.svdvals(rows - rows.mean(dim=0))
    weights = values / values.sum()
    expected = torch.distributions.Categorical(weights).entropy().exp().item()
    assert callback.score()["rankme"] == pytest.approx(expected, rel=1e-3)


def test_scores_are_logged_at_the_end_of_epochs_and_above_chance(tmp_path):
    trainer, _ = run(tmp_path, train=loader(240), evaluate=validation(60), num_train_epochs=5, every_n_epochs=2)
    scored = [e for e in trainer.state.log_history if "probe_accuracy" in e]
    assert [e["epoch"] for e in scored] == [2, 4, 5], "every second epoch, and the last"
    assert all(e.keys() >= {"loss", "resolution", "rankme", "alpha_req"} for e in scored), (
        "one line holds what belongs together"
    )
    assert scored[-1]["knn_accuracy"] > 0.5, "chance is 0.25"


def test_the_model_does_not_feel_the_probe(tmp_path):
    with_probe, _ = run(tmp_path)
    without = DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader())
    without.train()
    for (name, a), b in zip(with_probe.model.named_parameters(), without.model.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_images_without_a_label_take_no_part(tmp_path):
    train, held_out = loader(), validation()
    train.labels = train.labels.masked_fill(torch.arange(40) % 2 == 0, -1)
    train.dataset.labels = train.labels.numpy()
    held_out.labels[:5] = -1
    _, callback = run(tmp_path, train=train, evaluate=held_out)
    assert callback.probe.head.bias.abs().sum() > 0
    assert callback.score()["probe_accuracy"] * 6 == pytest.approx(round(callback.score()["probe_accuracy"] * 6))


@pytest.mark.parametrize("missing", ["training labels", "validation labels", "validation file", "training file"])
def test_without_what_it_needs_it_says_so_once_and_the_run_goes_on(tmp_path, caplog, missing):
    """The self-supervised case: images without labels, or without a validation file, are no error."""
    said = {
        "training labels": "the training file has no labels",
        "validation labels": "the validation file has no labels",
        "validation file": "eval_beton names one",
        "training file": "this run trains on a data set",
    }[missing]
    train, held_out = loader(labels=missing != "training labels"), validation()
    if missing == "validation labels":
        held_out.dataset.labels = None
    given = {"train_beton": train, "eval_beton": held_out}
    if missing == "validation file":
        given.pop("eval_beton")
    if missing == "training file":
        given = {"train_dataset": [{"pixel_values": image} for image in normalised(train.images)]}
    args = arguments(tmp_path, save_strategy="epoch")
    trainer = DailyMAETrainer(tiny_model(), args, callbacks=[OnlineProbeCallback(bank=held_out)], **given)
    with caplog.at_level("WARNING"):
        trainer.train()
    lines = [record.getMessage() for record in caplog.records if "online_probe" in record.getMessage()]
    assert len(lines) == 1
    assert said in lines[0]
    assert trainer.state.global_step == 10
    assert not any("probe_accuracy" in entry for entry in trainer.state.log_history)
    resumed = DailyMAETrainer(tiny_model(), args, callbacks=[OnlineProbeCallback(bank=held_out)], **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


@pytest.mark.parametrize(
    ("names", "said"), [(["a", "b", "cat", "d"], "has a class 'cat'"), (["b", "a", "c", "d"], "in another order")]
)
def test_other_classes_in_the_validation_file_are_refused(tmp_path, names, said):
    train, held_out = loader(), validation()
    train.class_names, held_out.class_names = ["a", "b", "c", "d"], names
    with pytest.raises(RecipeError, match=said):
        run(tmp_path, train=train, evaluate=held_out)


def test_labels_beyond_the_training_files_are_refused(tmp_path):
    held_out = validation()
    held_out.dataset.labels = held_out.dataset.labels + 3
    with pytest.raises(RecipeError, match="labels up to 6, and train_beton 4 classes"):
        run(tmp_path, evaluate=held_out)
