"""The linear probe: frozen means frozen, folding changes nothing, cached features train the same head."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, ViTMAEForPreTraining

from dailymae_hf.downstream.classifier import build_classifier, classifier_logits, pooled_features
from dailymae_hf.downstream.features import FeatureTable, as_it_is, collect_features, frozen_encode
from dailymae_hf.downstream.probe import LinearProbe, LinearProbeTrainer
from dailymae_hf.downstream.training_args import ProbeTrainingArguments
from dailymae_hf.errors import RecipeError
from dailymae_hf.training.optim import LARS
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model

NAMES = ["a", "b", "c", "d"]


def arguments(folder, **overrides):
    values = {
        "output_dir": str(folder), "num_train_epochs": 4, "per_device_train_batch_size": 16, "warmup_epochs": 1,
        "per_device_eval_batch_size": 16, "use_cpu": True, "report_to": "none", "save_strategy": "no",
        "disable_tqdm": True, "bf16": False,
    }  # fmt: skip
    return ProbeTrainingArguments(**{**values, **overrides})


def probe_trainer(folder, pooling="mean", **overrides):
    images, labels = coloured_images(64)
    return LinearProbeTrainer(
        LinearProbe(build_classifier(tiny_model(), NAMES, pooling=pooling)),
        arguments(folder, **overrides),
        train_beton=ArrayLoader(images, labels, 16),
        eval_beton=ArrayLoader(images, labels, 16, shuffle=False, drop_last=False),
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_only_the_head_learns_and_the_encoder_stays_as_it_was(tmp_path, pooling):
    trainer = probe_trainer(tmp_path, pooling)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {
        "head.weight", "head.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    }  # fmt: skip
    assert isinstance(trainer.optimizer.optimizer, LARS)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_folding_keeps_the_logits_and_leaves_a_plain_classifier(tmp_path, pooling):
    trainer = probe_trainer(tmp_path, pooling)
    trainer.train()
    probe = trainer.model.eval()
    images = trainer.normalize(coloured_images(12)[0])
    with torch.no_grad():
        expected = probe(images).logits
        probe.fold().save_pretrained(tmp_path)
        plain = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(plain(images).logits, expected, atol=1e-4, rtol=1e-4)
        features = pooled_features(plain, images)
        # BatchNorm's formula with the running statistics, written out.
        norm, head = probe.norm, probe.head
        by_hand = F.linear((features - norm.running_mean) / (norm.running_var + 1e-6).sqrt(), head.weight, head.bias)
    torch.testing.assert_close(expected, by_hand, atol=1e-5, rtol=1e-4)


def test_the_encoder_is_never_in_training_mode():
    probe = LinearProbe(build_classifier(tiny_model(), NAMES, drop_path_rate=0.9)).train()
    assert probe.norm.training
    assert not any(module.training for module in probe.classifier.modules())


def test_cached_features_are_the_encoders_in_the_order_of_the_file(tmp_path):
    trainer = probe_trainer(tmp_path)
    images, labels = coloured_images(64)
    loader = ArrayLoader(images, labels, 16, shuffle=True, drop_last=False)
    probe = trainer.model.eval()
    table = collect_features(trainer, loader, lambda x: pooled_features(probe.classifier, x), name="train")
    with torch.no_grad():
        expected = pooled_features(probe.classifier, trainer.normalize(images))
    # The loader flips some images of this epoch; its indices say which image a row belongs to.
    assert torch.equal(table.labels, labels)
    straight = ~((torch.arange(64) + 0) % 2 == 1)
    torch.testing.assert_close(table.features[straight], expected[straight], atol=1e-5, rtol=1e-4)
    batch = table.__getitems__([3, 1])
    assert torch.equal(batch["features"], table.features[[3, 1]])
    assert torch.equal(batch["labels"], table.labels[[3, 1]])


def test_a_probe_on_cached_features_learns_what_logistic_regression_learns(tmp_path):
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 32, generator=rng)
    labels = torch.randint(4, (400,), generator=rng)
    features = centres[labels] + 1.2 * torch.randn(400, 32, generator=rng)
    train, test = FeatureTable(features[:300], labels[:300]), FeatureTable(features[300:], labels[300:])
    trainer = LinearProbeTrainer(
        LinearProbe(build_classifier(tiny_model(), NAMES)),
        arguments(tmp_path, num_train_epochs=40, warmup_epochs=2, base_learning_rate=40.0, eval_strategy="epoch"),
        train_dataset=train,
        eval_dataset=test,
        data_collator=as_it_is,
    )
    trainer.train()
    reference = LogisticRegression(max_iter=1000).fit(train.features.numpy(), train.labels.numpy())
    expected = reference.score(test.features.numpy(), test.labels.numpy())
    assert trainer.evaluate()["eval_accuracy"] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_frozen_features_are_stock_vitmaes_hidden_states(pooling):
    encoder = tiny_model().eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stock = ViTMAEForPreTraining(encoder.config).eval()
    stock.load_state_dict(encoder.state_dict())
    # Nothing is hidden at ratio 0, and noise in rising order leaves the patches in their places.
    stock.config.mask_ratio = stock.vit.config.mask_ratio = 0.0
    with torch.no_grad():
        outputs = stock.vit(images, noise=torch.arange(16.0).expand(3, -1), output_hidden_states=True)
        ours = frozen_encode(encoder, pooling)(images)
    tokens = outputs.hidden_states[-1]  # before the final LayerNorm, which last_hidden_state has behind it
    expected = tokens[:, 1:].mean(dim=1) if pooling == "mean" else outputs.last_hidden_state[:, 0]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_files_without_labels_are_refused(tmp_path):
    trainer = probe_trainer(tmp_path)
    loader = ArrayLoader(coloured_images(16)[0], None, 16, shuffle=False)
    with pytest.raises(RecipeError, match=r"train\.beton: the file has no labels"):
        collect_features(trainer, loader, lambda x: x, name="train.beton")


def test_logits_at_other_sizes_come_from_the_same_head():
    probe = LinearProbe(build_classifier(tiny_model(), NAMES)).eval()
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = probe(images).logits
        torch.testing.assert_close(classifier_logits(probe.fold().eval(), images), expected, atol=1e-5, rtol=1e-4)


def test_a_resumed_probe_equals_an_unbroken_one(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 5, "num_train_epochs": 2}
    torch.manual_seed(0)
    unbroken = probe_trainer(tmp_path / "a", **options)
    unbroken.train()
    resumed = probe_trainer(tmp_path / "b", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-5"))
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
