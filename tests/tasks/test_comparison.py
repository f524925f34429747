"""Arms beside each other: the same examples for the arms of a seed, a rate for each arm, honest means and errors."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from small_model import make
from small_task import examples, task_data

from sesame import config
from sesame.config import FineTune
from sesame.errors import UserError
from sesame.tasks import comparison
from sesame.tasks.base import keyed_order
from sesame.tasks.classification import Classification, Regression
from sesame.tasks.comparison import compare, gain_of, mean_of
from sesame.tasks.finetune import Diverged, Evaluation, Tuning

OURS, THEIRS = [0.71, 0.78, 0.69, 0.8], [0.6, 0.74, 0.61, 0.7]


def test_means_and_errors_are_scipy_s():
    assert (mean_of(OURS).mean, mean_of(OURS).n) == (pytest.approx(0.745), 4)
    assert mean_of(OURS).se == pytest.approx(stats.sem(OURS))


def test_the_gain_is_paired():
    gain = gain_of(OURS, THEIRS)
    t = stats.ttest_rel(OURS, THEIRS)
    assert gain.mean == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert gain.mean / gain.se == pytest.approx(t.statistic)


def test_a_single_seed_has_no_error():
    assert (mean_of([0.5]).se, gain_of([0.5], [0.25]).se) == (None, None)


# ------------------------------------------------------------------------------------- choice of examples
def test_a_choice_is_keyed_and_moves_with_no_other_example():
    whole = examples(40)
    order = keyed_order(whole, "labels", 3)
    assert sorted(order) == list(range(40))
    less = [example for example in whole if example.key != "text-7"]
    names = [whole[i].key for i in order if whole[i].key != "text-7"]
    assert [less[i].key for i in keyed_order(less, "labels", 3)] == names
    assert keyed_order(whole, "labels", 4).tolist() != order.tolist()


def test_per_class_takes_as_many_of_each_label_of_a_text():
    whole = examples(40)
    order = task_data().task.order(whole, 3, balanced=True)
    assert sorted(order) == list(range(40))
    assert set(Counter(whole[i].label for i in order[:8]).values()) == {4}
    assert comparison.sizes_of(FineTune(per_class=(4,), labels=(5,)), task_data()) == {5: False, 8: True}
    numbers = replace(task_data(), task=Regression(config.Regression()))
    with pytest.raises(UserError, match="no classes"):
        comparison.sizes_of(FineTune(per_class=(4,)), numbers)


# --------------------------------------------------------------------------------- training, pretended
class Pretended(Tuning):
    def test(self, encoded):
        return {"accuracy": self.best.dev["accuracy"] / 2}


@pytest.fixture
def trained(monkeypatch):
    """Every training that is asked for: (lr, seed, sequences), and what it pretends to reach on dev."""
    asked = []

    def pretend(network, encoded, settings, chosen, tell):
        blocks = hasattr(network.backbone, "blocks")
        asked.append((settings.lr, settings.seed, tuple(chosen.tolist()), blocks, network))
        if settings.lr > 1:
            raise Diverged("too fast")
        score = {0.1: 0.5, 0.2: 0.8 if blocks else 0.4, 0.3: 0.6}[settings.lr] + settings.seed / 100
        score += 0.05 * (blocks and network.backbone.config.start == "mimetic")
        look = Evaluation(1.0, 1, 0.1, 0.5, {"accuracy": score})
        tell(look)
        return Pretended(network, encoded.data.task, (look,), look)

    monkeypatch.setattr(comparison, "fine_tune", pretend)
    return asked


def test_the_arms_of_a_seed_learn_from_the_same_examples_and_small_choices_are_part_of_larger_ones(trained):
    events = []
    settings = FineTune(lr=0.1, labels=(12, 6), seed=5)
    found = compare(make(), task_data(), settings, seeds=2, tell=events.append)
    assert len(trained) == 3 * 3 * 2
    by_seed = {seed: Counter(chosen for _, s, chosen, _, _ in trained if s == seed) for seed in (5, 6)}
    for chosen in by_seed.values():
        assert set(chosen.values()) == {3}  # the three arms
        six, twelve, whole = sorted(chosen, key=len)
        assert (len(six), len(twelve), len(whole)) == (6, 12, 24)
        assert set(six) < set(twelve) < set(whole)
    assert by_seed[5].keys() != by_seed[6].keys()
    assert list(found.result.labels) == ["6", "12"]
    results = [event for event in events if event["event"] == "result"]
    assert Counter((e["arm"], e["labels"]) for e in results) == {
        (arm, n): 2 for arm in ("embeddings", "scratch", "pretrained") for n in (0, 6, 12)
    }
    assert all(e["test"] == {"accuracy": e["dev"]["accuracy"] / 2} for e in results)


def test_each_arm_takes_its_best_rate_and_the_trial_counts_as_its_first_seed(trained):
    events = []
    settings = FineTune(sweep=(0.1, 0.2, 0.3))
    found = compare(make(), task_data(), settings, seeds=3, tell=events.append)
    assert found.result.lr == {"embeddings": 0.3, "scratch": 0.2, "pretrained": 0.2}
    assert Counter((lr, seed) for lr, seed, _, blocks, _ in trained if blocks) == {
        (0.1, 0): 3, (0.2, 0): 3, (0.3, 0): 3, (0.2, 1): 2, (0.2, 2): 2,
    }  # fmt: skip
    assert found.result.start == "mimetic"
    assert found.result.scratch.mean == pytest.approx(np.mean([0.425, 0.43, 0.435]))  # every seed from that start
    assert found.result.pretrained.mean == pytest.approx(np.mean([0.4, 0.405, 0.41]))
    shown = Counter((e["event"], e["arm"], e["seed"], e["lr"]) for e in events if e["event"] in ("evaluate", "trial"))
    assert shown["trial", "scratch", 0, 0.1] == 2  # from both starts
    assert shown["trial", "pretrained", 0, 0.1] == shown["evaluate", "scratch", 0, 0.2] == 1
    assert shown["evaluate", "scratch", 0, 0.1] == 0


def test_heads_on_frozen_networks_learn_at_the_rate_of_heads(trained):
    found = compare(make(), task_data(), FineTune(lr=0.1, head_lr=0.2, freeze=True), seeds=1)
    assert set(found.result.lr.values()) == {0.2}
    assert {lr for lr, *_ in trained} == {0.2}


def test_the_network_that_is_kept_is_the_pretrained_one_that_is_best_on_dev(trained):
    found = compare(make(), task_data(), FineTune(lr=0.1), seeds=3)
    assert (found.arm, found.best.best.dev["accuracy"]) == ("pretrained", 0.52)
    assert found.best.network is trained[-1][-1]


def test_one_arm_alone_has_no_gain(trained):
    found = compare(make(), task_data(), FineTune(lr=0.1), seeds=1, arms=("scratch",))
    assert (found.arm, found.result.gain, found.result.pretrained) == ("scratch", None, None)
    assert found.result.scratch == mean_of([0.25])


def test_a_rate_that_breaks_is_passed_over_and_if_all_do_it_is_said(trained):
    found = compare(make(), task_data(), FineTune(sweep=(2.0, 0.1)), seeds=1)
    assert found.result.lr["scratch"] == 0.1
    with pytest.raises(UserError, match=r"embeddings learns at none of the rates 2, 3"):
        compare(make(), task_data(), FineTune(sweep=(2.0, 3.0)), seeds=1)


def test_what_needs_no_network_stands_beside(trained):
    events = []
    data = task_data(kind=Classification)
    found = compare(make(), data, FineTune(lr=0.1, labels=(12,)), seeds=2, tell=events.append)
    gold = [example.label for example in data.test]
    common = Counter(example.label for example in data.train).most_common(1)[0][0]
    assert found.result.majority == pytest.approx(gold.count(common) / len(gold))
    baselines = [e for e in events if e["event"] == "baseline"]
    assert Counter((e["arm"], e["labels"]) for e in baselines) == {
        ("majority", 0): 1, ("tfidf", 0): 1, ("majority", 12): 2, ("tfidf", 12): 2,
    }  # fmt: skip
    tfidf = [e["test"]["accuracy"] for e in baselines if (e["arm"], e["labels"]) == ("tfidf", 12)]
    assert found.result.labels["12"].tfidf == pytest.approx(np.mean(tfidf))


@pytest.mark.parametrize(
    ("settings", "seeds", "message"),
    [
        (FineTune(labels=(25,)), 1, "--labels 25: small has 24 training examples"),
        (FineTune(labels=(1,)), 1, "--labels 1, seed 0: .* Ask for more examples"),
        (FineTune(), 0, "--seeds 0"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(trained, settings, seeds, message):
    with pytest.raises(UserError, match=message):
        compare(make(), task_data(), settings, seeds=seeds)
    assert not trained


def test_notes_of_the_data_are_reported(trained):
    data = replace(task_data())
    data.notes.counts["skipped: no label"] = 3
    assert compare(make(), data, FineTune(lr=0.1), seeds=1).result.notes["skipped: no label"] == 3
