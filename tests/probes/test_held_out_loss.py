"""Loss by frequency, and calibration: the same predictions as pretraining's own evaluation, taken apart."""

import numpy as np
import pytest
import readers
import torch

from sesame.errors import UserError
from sesame.probes import Ask, calibration, frequency, prediction
from sesame.probes.training_text import token_counts


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=["bert", "gpt"])
def model(request, data):
    return getattr(readers, request.param)(data)


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(prediction, "LIGHT_ROWS", 12)


def predictions(model, data) -> tuple[np.ndarray, np.ndarray, float]:
    """Log-probabilities and targets of all that is asked about held-out rows, and the mean loss as it is trained."""
    log_p, targets, total, count = [], [], 0.0, 0
    pretext, backbone = model.objective.pretext, model.objective.backbone
    causal = backbone.config.causal
    with torch.no_grad():
        for batch in pretext.stream(data, 7).held_out(prediction.LIGHT_ROWS):
            split = pretext.split(batch)
            (term,) = model.objective(split).values()
            total, count = total + float(term.sum), count + term.count
            h = backbone(split.seen).last
            if causal:
                scores = (h @ backbone.embed.token.weight.T).flatten(0, 1)[split.target["at"]]
                target = split.target["next"]
            else:
                where = torch.zeros(h.shape[:2], dtype=torch.bool)
                where[split.where.flat // split.where.time.shape[1], split.where.time.flatten()[split.where.flat]] = (
                    True
                )
                scores, target = pretext.logits(backbone, h[where]), split.target["masked_lm"]
            log_p.append(scores.log_softmax(-1).numpy())
            targets.append(target.numpy())
    return np.concatenate(log_p).astype(np.float64), np.concatenate(targets), total / count


def test_the_loss_by_frequency_is_the_held_out_loss_in_parts(model, data):
    with torch.no_grad():
        found = {(v.metric, v.group): v for v in frequency.measure(model, Ask(data=data))}
    log_p, target, mean = predictions(model, data)
    assert -log_p[np.arange(len(target)), target].mean() == pytest.approx(mean, abs=1e-4)
    text = target != data.vocabulary.sep  # the end of an example is no text
    assert text.all() != model.objective.backbone.config.causal
    log_p, target = log_p[text], target[text]
    assert found["loss", ""].value == pytest.approx(-log_p[np.arange(len(target)), target].mean(), abs=1e-4)
    groups = [group for metric, group in found if metric == "loss" and group]
    assert len(groups) >= 2
    counts = token_counts(data.store)
    for group in groups:
        name = "0 to 0" if group == "never" else group.removesuffix(" times")
        low, high = (int(part.replace(",", "")) for part in name.split(" to "))
        of = (counts[target] >= low) & (counts[target] <= high)
        loss = -log_p[of, target[of]]
        value = found["loss", group]
        assert (value.n, value.value) == (of.sum(), pytest.approx(loss.mean(), abs=1e-4))
        error = 1.96 * loss.std(ddof=1) / np.sqrt(len(loss))
        assert (value.low, value.high) == pytest.approx((loss.mean() - error, loss.mean() + error), abs=1e-4)
        unigram = -np.log((counts + 1) / (counts + 1).sum())
        assert found["loss_unigram", group].value == pytest.approx(unigram[target[of]].mean(), abs=1e-9)


def test_calibration_is_that_of_the_probabilities(model, data):
    with torch.no_grad():
        found = list(calibration.measure(model, Ask(data=data)))
    single = {v.metric: v.value for v in found if not v.group}
    log_p, target, _ = predictions(model, data)
    p = np.exp(log_p)
    truth = np.eye(p.shape[1])[target]
    confidence, right = p.max(1), p.argmax(1) == target
    assert single["accuracy"] == right.mean()
    assert single["confidence"] == pytest.approx(confidence.mean(), abs=1e-5)
    assert single["brier"] == pytest.approx(((p - truth) ** 2).sum(1).mean(), abs=1e-5)
    error, rows = 0.0, {}
    for i in range(15):  # Guo et al. 2017, equation 3
        of = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if of.any():
            error += of.mean() * abs(right[of].mean() - confidence[of].mean())
            rows[f"{i / 15:.2f} to {(i + 1) / 15:.2f}"] = (right[of].mean(), confidence[of].mean(), of.sum())
    assert single["ece"] == pytest.approx(error, abs=1e-5)
    curve = {v.group: v for v in found if v.metric == "reliability"}
    sure = {v.group: v.value for v in found if v.metric == "reliability_confidence"}
    assert {group: v.value for group, v in curve.items()} == pytest.approx({g: row[0] for g, row in rows.items()})
    assert sure == pytest.approx({g: row[1] for g, row in rows.items()}, abs=1e-5)
    assert {group: v.n for group, v in curve.items()} == {g: row[2] for g, row in rows.items()}


def test_a_model_that_is_as_often_right_as_it_is_sure_has_no_error():
    confidence = np.repeat([0.0, 0.25, 0.5, 1.0], 4)
    right = np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1], bool)
    assert calibration.expected_error(confidence, right) == pytest.approx(0)
    assert calibration.expected_error(confidence, ~right) == pytest.approx((1 + 0.5 + 0 + 1) / 4)


def test_the_full_form_reads_more_rows(model, data, monkeypatch):
    monkeypatch.setattr(prediction, "LIGHT_ROWS", 1)
    monkeypatch.setattr(prediction, "FULL_ROWS", 3)
    with torch.no_grad():
        light, full = (next(iter(calibration.measure(model, Ask(data=data, full=full)))).n for full in (False, True))
    assert full > light


@pytest.mark.parametrize("probe", [frequency, calibration])
def test_without_held_out_text_there_is_nothing_to_measure(model, tmp_path, probe):
    with pytest.raises(UserError, match="data are not here"):
        list(probe.measure(model, Ask()))
    data = readers.prepared(tmp_path)
    object.__setattr__(data.store, "held_out", np.zeros(len(data.store), bool))
    with pytest.raises(UserError, match=r"no text out.*--held-out"):
        list(probe.measure(model, Ask(data=data)))
