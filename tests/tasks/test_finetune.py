"""One training: exact to the seed, best on dev, at the rates that were asked for."""

import copy
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from small_model import LENGTH, make
from small_task import task_data

from sesame import config, models
from sesame.config import FineTune
from sesame.data.batch import Rows
from sesame.engine.build import build
from sesame.engine.optim import Optimizer
from sesame.errors import UserError
from sesame.tasks.arms import Embeddings, fresh, network_of, with_dropout
from sesame.tasks.base import Notes, TaskData
from sesame.tasks.classification import Classification
from sesame.tasks.finetune import Diverged, Encoded, batches, encode, fine_tune, layer_rates, schedule_of
from sesame.tasks.images import ImageClassification, ImageNetwork, LinearHead, Picture
from sesame.tasks.loss_curve import loss_curve
from sesame.tasks.network import Network
from sesame.tasks.sequences import batch_of
from sesame.tasks.span_qa import NO_ANSWER, SpanQA
from sesame.tasks.squad import Question

QUICK = FineTune(epochs=2.0, min_steps=0, rows=12, lr=3e-3, evaluations=2)


@pytest.fixture(scope="module")
def small():
    """A model with pretend pretraining, and the encoded task."""
    model = make(init=0.05)
    return model, encode(model, task_data())


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def tuned(small, settings=QUICK, arm="pretrained", **more):
    model, encoded = small
    network = network_of(arm, model, encoded.data.task, settings.seed, settings.dropout)
    return fine_tune(network, encoded, settings, **more)


# -------------------------------------------------------------------------------------------- exactness
def test_the_seed_decides_everything_and_the_model_stays_as_it_was(small):
    before = weights(small[0].objective)
    first, again = tuned(small), tuned(small)
    assert same(weights(first.network), weights(again.network))
    assert [e.dev for e in first.evaluations] == [e.dev for e in again.evaluations]
    other = tuned(small, msgspec.structs.replace(QUICK, seed=1))
    assert not same(weights(first.network), weights(other.network))
    assert same(weights(small[0].objective), before)


def test_an_epoch_reads_every_sequence_once_in_an_order_of_its_own():
    chosen = np.array([3, 5, 8, 13, 21, 34, 55])
    found = batches(chosen, 3, seed=4)
    epochs = [[next(found) for _ in range(3)] for _ in range(2)]
    assert [len(some) for some in epochs[0]] == [3, 3, 1]
    first, second = (np.concatenate(epoch).tolist() for epoch in epochs)
    assert sorted(first) == sorted(second) == chosen.tolist()
    assert first != second
    assert next(batches(chosen, 7, seed=4)).tolist() == first
    assert next(batches(chosen, 7, seed=5)).tolist() != first


def test_chosen_sequences_alone_are_trained_on(small):
    seen = []
    model, encoded = small
    kind = type(
        "Watching", (Classification,), {"loss": lambda self, s, b: seen.append(b) or Classification.loss(self, s, b)}
    )
    watched = replace(encoded, data=task_data(kind=kind))
    network = network_of("pretrained", model, watched.data.task, 0, 0.0)
    chosen = np.array([1, 4, 6])
    fine_tune(network, watched, FineTune(epochs=1, min_steps=0, rows=2, evaluations=1), chosen)
    tokens = sum(int(batch.rows.valid.sum()) for batch in seen)
    assert (len(seen), tokens) == (2, encoded.train.lengths[chosen].sum())


def test_it_learns(small):
    settings = FineTune(epochs=8, min_steps=0, rows=8, lr=5e-3, evaluations=2, dropout=0.0)
    first, last = tuned(small, settings).evaluations
    assert last.train_loss < 0.4 < first.train_loss


# -------------------------------------------------------------------------------------------- best on dev
class Scripted(Classification):
    """Scores on dev as they are told."""

    scores: tuple[float, ...] = ()

    def metrics(self, examples, predictions):
        score, *rest = self.scores
        self.scores = tuple(rest)
        return {"accuracy": score}


def scripted(small, *scores: float, **more):
    """A training whose looks at dev have these scores, and the weights at each look."""
    model, encoded = small
    data = task_data(kind=Scripted)
    data.task.scores = scores
    network = network_of("pretrained", model, data.task, 0, 0.1)
    looks = []
    settings = FineTune(epochs=2, min_steps=0, rows=8, evaluations=len(scores), **more)
    found = fine_tune(network, replace(encoded, data=data), settings, tell=lambda _: looks.append(weights(network)))
    return found, looks


def test_the_weights_that_are_best_on_dev_come_back(small):
    found, looks = scripted(small, 0.2, 0.9, 0.4, 0.9, 0.1)
    assert len(looks) == len(found.evaluations) == 5
    assert found.best is found.evaluations[1]
    assert same(weights(found.network), looks[1])
    assert not same(looks[1], looks[4])
    assert not found.network.training


def test_without_a_better_score_training_stops_after_its_patience(small):
    found, _ = scripted(small, 0.2, 0.5, 0.5, 0.4, 0.9, 0.9, patience=2)
    assert [e.dev["accuracy"] for e in found.evaluations] == [0.2, 0.5, 0.5, 0.4]
    assert found.best is found.evaluations[1]


def test_looks_at_dev_are_even_and_end_with_the_last_step(small):
    found, _ = scripted(small, 0.1, 0.2, 0.3)
    assert [e.step for e in found.evaluations] == [2, 4, 6]
    assert [e.epoch for e in found.evaluations] == [2 / 3, 4 / 3, 2.0]


def test_few_examples_are_trained_on_for_the_least_number_of_steps(small):
    found = tuned(small, FineTune(epochs=1, min_steps=5, rows=24, evaluations=1))
    assert (found.best.step, found.best.epoch) == (5, 5.0)


def test_what_the_task_chooses_on_dev_is_kept_with_the_network(small):
    class Choosing(Classification):
        def tuned(self, dev, predictions):
            assert [len(dev), len(predictions)] == [8, 8]
            return Classification(config.Classification(metric="macro_f1"), self.labels), predictions

    model, encoded = small
    data = task_data(kind=Choosing)
    network = network_of("pretrained", model, data.task, 0, 0.1)
    assert fine_tune(network, replace(encoded, data=data), QUICK).task.metric == "macro_f1"


def test_a_threshold_is_fitted_at_every_look_and_the_score_on_dev_is_that_with_it():
    model = make(init=0.05)
    texts = ["the list is sorted in order.", "every item of the list is empty.", "a value and a list return none."]
    asked = [
        Question(f"{n}", f"here: {n}", "the value?", text, () if n % 3 else (text[-6:],), () if n % 3 else
                 (len(text) - 6,), bool(n % 3))
        for n, text in enumerate(texts * 4)
    ]  # fmt: skip
    task = SpanQA(config.SpanQA(), (NO_ANSWER,))
    encoded = encode(model, TaskData("asked", task, asked, asked, asked, Notes()))
    network = network_of("pretrained", model, task, 0, 0.0)
    with torch.no_grad():
        network.head.out.bias.fill_(9.0)
        network.head.out.weight *= 30
    found = fine_tune(network, encoded, FineTune(epochs=2.0, min_steps=0, rows=12, lr=1e-9, evaluations=2))
    assert found.task.config.null_threshold not in (None, 0.0)
    assert found.best.dev == found.test(encoded)
    set_by_user = SpanQA(config.SpanQA(null_threshold=0.25), (NO_ANSWER,))
    encoded = replace(encoded, data=replace(encoded.data, task=set_by_user))
    assert fine_tune(network, encoded, QUICK).task.config.null_threshold == 0.25


# -------------------------------------------------------------------------------------------- what is trained
def test_a_frozen_backbone_keeps_every_weight_and_drops_nothing(small):
    model, encoded = small
    start, network = (network_of("pretrained", model, encoded.data.task, 0, 0.5) for _ in range(2))
    modes = set()
    network.backbone.register_forward_hook(lambda backbone, *_: modes.update(m.training for m in backbone.modules()))
    found = fine_tune(network, encoded, msgspec.structs.replace(QUICK, freeze=True, dropout=0.5))
    assert modes == {False}
    assert same(weights(found.network.backbone), weights(start.backbone))
    assert not same(weights(found.network.head), weights(start.head))


def test_the_rate_falls_with_each_layer_from_the_head(small):
    network = network_of("pretrained", make(norm="pre"), small[1].data.task, 0, 0.0)
    rates = layer_rates(network, 0.5)
    assert rates.keys() == dict(network.named_parameters()).keys()
    wanted = {"head.": 1.0, "backbone.norm.": 0.5, "backbone.blocks.1.": 0.5, "backbone.blocks.0.": 0.25,
              "backbone.embed.": 0.125}  # fmt: skip
    for name, rate in rates.items():
        assert rate == next(wanted[stem] for stem in wanted if name.startswith(stem)), name
    assert set(layer_rates(network, 1.0).values()) == {1.0}


@pytest.mark.parametrize(
    ("shape", "layers", "first"),
    [
        (config.ViT(layers=3, width=8, heads=2, ffn=8, image=8), [f"transformer.blocks.{i}" for i in range(3)],
         ("transformer.embed",)),
        (config.ConvNet(channels=(2, 4, 4)), [f"blocks.{i}" for i in range(3)], ("stem", "stem_norm")),
        (config.ResNet(depth=18), [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)], ("conv1", "bn1")),
    ],
)  # fmt: skip
def test_the_rate_falls_with_each_layer_of_a_network_on_images(shape, layers, first):
    backbone = models.build(shape)
    rates = layer_rates(Network(backbone, LinearHead(backbone.width, 2)), 0.5)
    wanted = {f"backbone.{layer}": 0.5 ** (len(layers) - i) for i, layer in enumerate(layers)}
    wanted |= {f"backbone.{name}": 0.5 ** (1 + len(layers)) for name in first}
    wanted |= {"head.out": 1.0, "backbone.transformer.norm": 0.5}  # the norm is a ViT's, after its last layer
    for name, rate in rates.items():
        assert rate == next(rate for stem, rate in wanted.items() if name.startswith(f"{stem}.")), name


def test_adam_s_first_step_is_as_long_as_the_layer_s_rate(small):
    model, encoded = small
    network = network_of("pretrained", model, encoded.data.task, 0, 0.0)
    before = weights(network)
    schedule = schedule_of(FineTune(lr=0.01, weight_decay=0.0))
    rates = layer_rates(network, 0.5)
    optimizer = Optimizer(network, schedule, rates)
    batch = batch_of(encoded.train, np.arange(8), encoded.pad)
    encoded.data.task.loss(network(batch), batch).sum.backward()
    optimizer.step(1.0)
    for name, value in network.named_parameters():
        longest = float((value.detach() - before[name]).abs().max())
        assert longest == pytest.approx(0.01 * rates[name], rel=0.02), name


# ------------------------------------------------------------------------------------------------- arms
def test_a_fresh_network_starts_as_a_run_of_that_seed_would():
    model = make()
    recipe = config.Recipe(
        name="x", data=config.TextData(), backbone=model.recipe.backbone, pretext=config.Bert(), seed=7
    )
    assert same(weights(fresh(model, 7)), weights(build(recipe, model).backbone))
    assert not same(weights(fresh(model, 7)), weights(fresh(model, 8)))


def test_a_published_model_has_a_fresh_twin_too():
    published = make(recipe=False)
    assert same(weights(fresh(published, 3)), weights(fresh(make(), 3)))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_embeddings_are_what_the_first_block_would_have_read(small, norm):
    backbone = make(norm=norm).objective.backbone.eval()
    batch = batch_of(small[1].train, np.arange(6), 0)
    with torch.no_grad():
        first = backbone(batch.rows, layers=True).layers[0]
        wanted = first if backbone.norm is None else backbone.norm(first)
        alone = Embeddings(backbone)
        np.testing.assert_allclose(alone(batch.rows).last, wanted, atol=1e-6)
        reads = wanted.flatten(0, 1)[torch.nonzero(batch.rows.valid.flatten())[:, 0]]
        np.testing.assert_allclose(alone(batch.rows, batch.at).last, reads, atol=1e-6)


def test_the_arms_of_a_seed_share_the_start_of_their_heads(small):
    heads = [weights(network_of(arm, small[0], small[1].data.task, 5, 0.1).head) for arm in ("pretrained", "scratch")]
    assert same(*heads)


def test_dropout_is_set_in_a_copy_everywhere_but_on_attention_weights():
    backbone = make().objective.backbone
    copied = with_dropout(backbone, 0.25)
    rates = {(type(m).__name__, m.dropout) for m in copied.modules() if hasattr(m, "dropout")}
    assert rates == {("Embedding", 0.25), ("Block", 0.25), ("SelfAttention", 0.0)}
    assert (copied.config.dropout, copied.config.attention_dropout) == (0.25, 0.0)
    assert {getattr(module, "dropout", None) for module in backbone.modules()} - {None} == {0.0}
    assert same(weights(copied), weights(backbone))
    assert all(p.requires_grad for p in copied.parameters())
    with torch.no_grad():
        copied.embed.token.weight.zero_()
    assert backbone.embed.token.weight.any()


@pytest.mark.parametrize(
    "shape",
    [
        config.Elmo(vocab=9, filters=((1, 2), (2, 3)), character_width=3, width=4, cell=5, longest=6, dropout=0.0),
        config.Gru(features=3, width=4, layers=2, dropout=0.0),
    ],
)
def test_dropout_reaches_recurrent_networks_too(shape):
    backbone = models.build(shape)
    x = torch.randn(1, 6, 3) if isinstance(shape, config.Gru) else torch.arange(6)[None]
    number = torch.zeros(1, 6, dtype=torch.int64)
    rows = Rows(x, torch.arange(6)[None], number, number)
    without, dropped = (with_dropout(backbone, rate).train()(rows).last for rate in (0.0, 0.5))
    assert torch.equal(without, backbone(rows).last) and not torch.equal(dropped, without)


# -------------------------------------------------------------------------------------------- loss curve
def test_the_loss_curve_goes_through_start_and_end(small):
    model, encoded = small
    end = tuned(small).network
    start = network_of("pretrained", model, encoded.data.task, 0, 0.1)
    chosen = np.array([0, 2, 3, 7, 11])

    def loss_one_by_one(network) -> float:
        network.eval()
        losses = []
        with torch.no_grad():
            for i in chosen:
                batch = batch_of(encoded.train, np.array([i]), encoded.pad)
                losses.append(torch.nn.functional.cross_entropy(network(batch), batch.target))
        return float(torch.stack(losses).mean())

    between = copy.deepcopy(start)
    with torch.no_grad():
        for p, q in zip(between.parameters(), end.parameters(), strict=True):
            p.copy_((p + q) / 2)
    wanted = [loss_one_by_one(network) for network in (start, between, end)]
    found = loss_curve(start, end, encoded, chosen, (0.0, 0.5, 1.0))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert abs(wanted[2] - wanted[0]) > 1e-3


def test_the_loss_curve_moves_the_statistics_of_batch_norm_too():
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, 48)
    pixels = (random.integers(0, 80, (48, 1, 8, 8)) + 120 * bright[:, None, None, None]).astype(np.uint8)
    examples = [Picture(str(i), f"made:{i}", x, i, str(y)) for i, (x, y) in enumerate(zip(pixels, bright, strict=True))]
    task = ImageClassification(config.Images(), ("0", "1"))
    pictures = task.encode(examples, None, 0, Notes())
    encoded = Encoded(TaskData("made", task, *[examples] * 3, Notes()), *[pictures] * 3, pad=0, length=0)
    torch.manual_seed(0)
    start = ImageNetwork(models.build(config.ConvNet(channels=(2, 4))), task.head(4, 0.0))
    end = fine_tune(copy.deepcopy(start), encoded, FineTune(epochs=1, min_steps=40, rows=16, lr=1e-2)).network

    def loss(network) -> float:
        with torch.no_grad():
            return float(task.loss(network(network.eval().batch(pictures, np.arange(48), 0)), batch).sum) / 48

    batch = end.batch(pictures, np.arange(48), 0)
    wanted = [loss(start), loss(end)]
    found = loss_curve(start, end, encoded, np.arange(48), (0.0, 1.0, -3.0, 6.0))
    np.testing.assert_allclose(found[:2], wanted, atol=1e-5)
    assert np.isfinite(found).all()  # far out a variance would fall below 0
    assert abs(wanted[1] - wanted[0]) > 1e-2


# ------------------------------------------------------------------------------------------- what is said
def test_a_rate_at_which_the_loss_breaks_is_named(small):
    with pytest.raises(Diverged, match=r"small: the loss of step 2 is not finite. Try a lower --lr"):
        tuned(small, FineTune(epochs=1, min_steps=2, rows=12, lr=1e38, evaluations=1))


def test_a_length_beyond_the_positions_is_refused_and_one_beyond_training_is_said(caplog):
    model = make()
    with pytest.raises(UserError, match="--length 41: tiny has 40 positions"):
        encode(model, task_data(), 41)
    with caplog.at_level("WARNING"):
        assert encode(model, task_data(), LENGTH + 1).length == LENGTH + 1
    assert f"rows of {LENGTH}" in caplog.text
    assert encode(model, task_data()).length == LENGTH
