"""Many regressions at once against scikit-learn's one by one, against brute force, and against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sesame.tasks import softmax_regression
from sesame.tasks.softmax_regression import fit, standardised

RIDGE = 0.01


def problems(count: int = 3, things: int = 80, wide: int = 5, labels: int = 4, seed: int = 0):
    """The later ones are easier: their labels lie further apart."""
    random = np.random.default_rng(seed)
    label = random.integers(0, labels, things)
    label[:labels] = np.arange(labels)
    centre = random.standard_normal((count, labels, wide)) * np.arange(1, count + 1)[:, None, None]
    x = [torch.from_numpy(c[label] + random.standard_normal((things, wide))) for c in centre]
    return [standardised(each, things) for each in x], torch.from_numpy(label)


def objective(x: torch.Tensor, label: torch.Tensor, weight: torch.Tensor, ridge: float = RIDGE) -> float:
    return float(torch.nn.functional.cross_entropy(x @ weight, label) + ridge / 2 * weight.square().sum())


@pytest.mark.parametrize("ridge", [0.1, 0.003])
def test_every_problem_is_solved_as_scikit_learn_solves_it_alone(ridge):
    x, label = problems()
    found = fit(x, label, 4, ridge, tolerance=1e-14)
    for each, weight in zip(x, found.weight, strict=True):
        reference = LogisticRegression(C=1 / (ridge * len(label)), fit_intercept=False, tol=1e-10, max_iter=10_000)
        reference.fit(each.numpy(), label.numpy())
        np.testing.assert_allclose(weight.T, reference.coef_, atol=2e-5)
        assert objective(each, label, weight, ridge) == pytest.approx(
            objective(each, label, torch.from_numpy(reference.coef_.T), ridge), abs=1e-10
        )
        np.testing.assert_array_equal((each @ weight).argmax(1), reference.predict(each.numpy()))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    things=st.integers(3, 12),
    labels=st.integers(2, 3),
    ridge=st.sampled_from([1.0, 0.1, 0.001]),
    tolerance=st.sampled_from([1e-2, 1e-5]),
)
def test_the_loss_is_within_what_is_promised_of_the_minimum(seed, things, labels, ridge, tolerance):
    x, label = problems(2, things, 2, labels, seed)
    found = fit(x, label, labels, ridge, tolerance=tolerance)
    assert (found.above <= tolerance).all()
    for each, weight, above in zip(x, found.weight, found.above.tolist(), strict=True):
        brute = minimize(
            lambda w, each=each: objective(each, label, torch.from_numpy(w).view(3, labels), ridge),
            np.zeros(3 * labels), tol=1e-9,
        )  # fmt: skip
        assert brute.fun - 1e-7 <= objective(each, label, weight, ridge) <= brute.fun + above + 1e-7


def test_a_problem_does_not_depend_on_what_is_solved_with_it():
    x, label = problems(4)
    together = fit(x, label, 4, RIDGE)
    for each, weight in zip(x, together.weight, strict=True):
        assert torch.equal(fit([each], label, 4, RIDGE).weight[0], weight)


def test_single_precision_reaches_the_tolerance_of_the_probes():
    x, label = problems(3, 500, 40)
    found = fit([each.float() for each in x], label, 4, 0.003)
    assert found.weight.dtype == torch.float32 and (found.above <= 1e-4).all()
    exact = fit(x, label, 4, 0.003, tolerance=1e-12)
    for each, weight, best in zip(x, found.weight, exact.weight, strict=True):
        assert 0 <= objective(each, label, weight.double(), 0.003) - objective(each, label, best, 0.003) <= 1e-4


def test_features_that_follow_from_others_are_no_obstacle_in_single_precision():
    """600 of 5: rounding alone would leave their second moments no root under a small ridge."""
    random = np.random.default_rng(0)
    x = standardised(torch.from_numpy(random.standard_normal((400, 5)) @ random.standard_normal((5, 600))).float(), 400)
    found = fit([x], torch.from_numpy(random.integers(0, 3, 400)), 3, 1e-6, tolerance=1e-3)
    assert (found.above <= 1e-3).all()


def test_labels_that_a_line_divides_are_solved_too():
    x = [torch.tensor([[-1e3, 1.0], [-1.0, 1.0], [1.0, 1.0], [1e3, 1.0]])]
    label = torch.tensor([0, 0, 1, 1])
    found = fit(x, label, 2, 1e-6, tolerance=1e-5)
    assert (found.above <= 1e-5).all() and objective(x[0], label, found.weight[0], 1e-6) < 1e-3


def test_too_few_iterations_are_said():
    x, label = problems()
    found = fit(x, label, 4, 1e-4, tolerance=1e-12, most=2)
    assert found.iterations == 2 and (found.above > 1e-12).all()


def test_features_are_standardised_by_what_is_known_alone():
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.standard_normal((30, 4)) * 5 + 100)
    x[:20, 2] = 7.0  # of what is known; later it varies
    found = standardised(x, 20)
    expected = StandardScaler().fit(x[:20].numpy()).transform(x.numpy())
    np.testing.assert_allclose(found[:, [0, 1, 3]], expected[:, [0, 1, 3]], atol=1e-10)
    assert (found[:, 2] == 0).all() and (found[:, 4] == 1).all()


@pytest.mark.parametrize("known", [20, 5000])
def test_features_are_taken_from_rows_as_if_these_had_been_copied(known):
    """Also where what is known is more than a part."""
    random = np.random.default_rng(1)
    vectors = torch.from_numpy(random.standard_normal((50, 3)).astype(np.float32) + 1000)
    rows = [torch.from_numpy(random.integers(0, 50, known + 30)) for _ in range(2)]
    x = torch.cat([vectors[of] for of in rows], 1)
    found = standardised(vectors, known, rows)
    assert torch.equal(found, standardised(x, known))
    expected = StandardScaler().fit(x[:known].double().numpy()).transform(x.double().numpy())
    np.testing.assert_allclose(found[:, :-1], expected, atol=2e-4)  # of numbers near 1000, in single precision


@pytest.mark.parametrize("least, every", [(5000, 1), (10, 2)])
def test_the_preconditioner_is_the_second_derivatives_mean_over_labels(least, every, monkeypatch):
    """Against automatic differentiation, at any weights: the blocks of a label with itself, of all or every other."""
    monkeypatch.setattr(softmax_regression, "LEAST", least)
    x, label = problems(2)
    here = softmax_regression._Problems(x, label, 4, RIDGE)
    here.w = torch.from_numpy(np.random.default_rng(3).standard_normal(here.w.shape))
    here.scores = torch.stack([softmax_regression._product(w, each) for w, each in zip(here.w, x, strict=True)])
    here.precondition()
    for each, w, factor in zip(x, here.w, here.factors, strict=True):

        def loss(weight: torch.Tensor, each: torch.Tensor = each) -> torch.Tensor:
            entropy = torch.nn.functional.cross_entropy(each[::every] @ weight.T, label[::every])
            return entropy + RIDGE / 2 * weight.square().sum()

        second = torch.autograd.functional.hessian(loss, w)
        mean = torch.stack([second[k, :, k] for k in range(4)]).mean(0)
        np.testing.assert_allclose(factor @ factor.T, mean, atol=1e-12)


def test_weighing_the_undecided_takes_fewer_iterations(monkeypatch):
    pixels, digit = load_digits(return_X_y=True)
    x, label = standardised(torch.from_numpy(pixels).float(), len(digit)), torch.from_numpy(digit)
    weighed = fit([x], label, 10, 1e-4)
    monkeypatch.setattr(softmax_regression, "PRECONDITIONED", (0,))
    assert weighed.iterations < fit([x], label, 10, 1e-4).iterations


def test_a_step_too_short_to_change_a_number_is_no_obstacle():
    """Where the search finds nothing better within rounding, what L-BFGS remembers is 0 and 0."""
    here = softmax_regression._Problems([torch.tensor([[-2.0, 1.0], [1.0, 1.0]])], torch.tensor([0, 1]), 2, 1e-3)
    here.precondition()
    here.move()
    before = here.loss.clone()
    here.pairs.append((torch.zeros_like(here.w), torch.zeros_like(here.w), torch.zeros(1)))
    here.move()
    assert here.w.isfinite().all() and (here.loss < before).all()
