"""What a network shall give: targets, losses and figures, each against another computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import r2_score
from torch import Tensor

from embedkit.audio.features import front_end
from embedkit.config import FeatureSpec, FrontEnd, Loss, TargetSpec
from embedkit.recipe import DistilSpec, Heads
from embedkit.training.goals import TOP, Goals, Target
from embedkit.training.learner import learning_rate
from embedkit.training.lessons import Lesson, mfcc_statistics
from embedkit.training.objective import FAR

SIZES = (2, 4)
TARGETS = (
    Target(TargetSpec(name="t", size=3, weight=2.0)),
    Target(TargetSpec(name="t logits", size=5, weight=2.0), names=True),
    Target(TargetSpec(name="MFCC", size=1, weight=0.5)),
)
RNG = np.random.default_rng(0)
VECTORS = [RNG.normal(mean, 2, (40, size)) for mean, size in ((7, 3), (-1, 5), (0, 1))]
EMBEDDING = RNG.standard_normal((40, 4)).astype(np.float32)


def lesson(vectors: list[np.ndarray] = VECTORS) -> Lesson:
    return Lesson(torch.zeros(0), [torch.from_numpy(v).float() for v in vectors])


def goals(loss: Loss = Loss.MSE, heads: Heads = Heads.HIDDEN, names_weight: float = 20.0) -> Goals:
    torch.manual_seed(0)
    targets = [replace(target, spec=replace(target.spec, loss=loss)) for target in TARGETS]
    made = Goals(targets, SIZES, heads, names_weight)
    made.begin([lesson()])
    return made


def outputs(made: Goals) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each size what the heads give and the names' logits."""
    tensor = torch.from_numpy(EMBEDDING)
    with torch.no_grad():
        return [
            (head(tensor[:, :size]).numpy(), reader(tensor[:, :size]).numpy())
            for size, head, reader in zip(SIZES, made.heads, made.readers, strict=True)
        ]


def test_targets_are_standardised_and_outliers_cut_off() -> None:
    made = goals()
    wanted = made.wanted(lesson()).numpy()
    joined = np.concatenate(VECTORS, axis=1)
    np.testing.assert_allclose(wanted, (joined - joined.mean(0)) / joined.std(0), atol=1e-5)
    far = [1000 * vectors for vectors in VECTORS]
    assert np.abs(made.wanted(lesson(far)).numpy()).max() == FAR


def test_a_number_that_never_changes_is_wanted_as_0() -> None:
    still = [VECTORS[0] * [1, 0, 1], *VECTORS[1:]]
    made = goals()
    made.begin([lesson(still)])
    assert (made.wanted(lesson(still))[:, 1] == 0).all()


@pytest.mark.parametrize("heads", [Heads.HIDDEN, Heads.LINEAR])
@pytest.mark.parametrize("loss", list(Loss))
def test_the_loss_is_that_of_the_formula(heads: Heads, loss: Loss) -> None:
    made = goals(loss, heads)
    wanted = np.split(made.wanted(lesson()).numpy(), [3, 8], axis=1)
    chances = expit(VECTORS[1])
    total = 0.0
    for given, logits in outputs(made):
        for weight, one, other in zip(
            (2, 2, 0.5), np.split(given, [3, 8], axis=1), wanted, strict=True
        ):
            if loss is Loss.MSE:
                total += weight * np.mean((one - other) ** 2)
            else:
                lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
                total += weight * np.mean(1 - (one * other).sum(axis=1) / lengths)
        found = expit(logits.astype(np.float64))
        entropy = -(chances * np.log(found) + (1 - chances) * np.log(1 - found))
        total += 20 * 2 * entropy.mean()
    with torch.no_grad():
        assert float(made(torch.from_numpy(EMBEDDING), lesson())) == pytest.approx(
            total / 2, rel=1e-5
        )


def test_names_begin_as_likely_as_they_are() -> None:
    """At an embedding of 0 a name has its mean probability: less is to be learned."""
    made = goals()
    expected = expit(VECTORS[1]).mean(axis=0)
    for reader in made.readers:
        np.testing.assert_allclose(
            torch.sigmoid(reader.get_parameter("bias")).detach(), expected, rtol=1e-5
        )


def test_what_is_explained_is_r2_by_variance() -> None:
    made = goals()
    wanted = made.wanted(lesson())
    with torch.no_grad():
        shares = made.explained(torch.from_numpy(EMBEDDING), wanted)
    for found, (given, _) in zip(shares, outputs(made), strict=True):
        for name, part in (("t", slice(0, 3)), ("t logits", slice(3, 8)), ("MFCC", slice(8, 9))):
            expected = r2_score(wanted[:, part], given[:, part], multioutput="variance_weighted")
            assert found[name] == pytest.approx(expected, abs=1e-5)


def test_without_heads_the_embedding_itself_is_compared() -> None:
    """Each prefix with as many of the teacher's numbers, in units of their deviation."""
    vectors = (2 + 3 * RNG.standard_normal((40, 4))).astype(np.float32)
    made = Goals([Target(TargetSpec(name="t", size=4, weight=2.0))], SIZES, Heads.NONE, 20.0)
    there = lesson([vectors])
    made.begin([there])
    missed = ((EMBEDDING - vectors) / vectors.std(axis=0)) ** 2
    expected = np.mean([2 * missed[:, :size].mean() for size in SIZES])
    assert float(made(torch.from_numpy(EMBEDDING), there)) == pytest.approx(expected, rel=1e-5)
    shares = made.explained(torch.from_numpy(EMBEDDING), made.wanted(there))
    assert [share["t"] for share in shares] == pytest.approx(
        [1 - missed[:, :size].mean() for size in SIZES], rel=1e-5
    )
    assert float(made(torch.from_numpy(vectors), there)) < 1e-10
    assert not list(made.parameters())


def test_names_that_a_teacher_gives_are_its_best() -> None:
    made = goals()
    with torch.no_grad():
        [(given, scores)] = made.named(torch.from_numpy(EMBEDDING), [lesson()])
    ranks = (-VECTORS[1]).argsort(axis=1).argsort(axis=1)
    np.testing.assert_array_equal(given.numpy(), ranks < TOP)
    _, logits = outputs(made)[-1]
    np.testing.assert_allclose(scores, logits, rtol=1e-6)


def test_a_name_that_every_scene_has_tells_nothing() -> None:
    always = [VECTORS[0], VECTORS[1] + [100, 0, 0, 0, -100], VECTORS[2]]
    with torch.no_grad():
        [(given, _)] = goals().named(torch.from_numpy(EMBEDDING), [lesson(always)])
    assert given.shape == (40, 3)


def test_without_names_there_are_none() -> None:
    made = Goals(TARGETS[:1], SIZES, Heads.LINEAR, 20.0)
    alone = lesson(VECTORS[:1])
    made.begin([alone])
    assert made.named(torch.from_numpy(EMBEDDING), [alone]) == []
    wanted = made.wanted(alone).numpy()
    with torch.no_grad():
        found = float(made(torch.from_numpy(EMBEDDING), alone))
        each = [
            np.mean((head(torch.from_numpy(EMBEDDING[:, :size])).numpy() - wanted) ** 2)
            for size, head in zip(SIZES, made.heads, strict=True)
        ]
    assert found == pytest.approx(2 * np.mean(each), rel=1e-5)


def test_statistics_of_mfcc_are_those_of_the_front_end(make_sound) -> None:
    sounds = np.stack([make_sound(1.0, seed=seed) for seed in range(3)])
    spec = FeatureSpec(kind=FrontEnd.MFCC, coefficients=20)
    series = front_end(spec)(sounds)[:, 0]
    change = series[:, 2:] - series[:, :-2]
    expected = [series.mean(1), series.std(1, ddof=1), change.std(1, ddof=1)]
    log_mel = torch.from_numpy(front_end(FeatureSpec())(sounds))
    found: Tensor = mfcc_statistics(log_mel)
    np.testing.assert_allclose(found.numpy(), np.concatenate(expected, axis=1), atol=2e-3)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    spec = DistilSpec(segments=1000, batch_size=10, learning_rate=0.5)  # 100 steps
    rates = np.array([learning_rate(spec, step) for step in range(spec.steps)]) / 0.5
    np.testing.assert_allclose(rates[:6], np.arange(1, 7) / 6)
    np.testing.assert_allclose(rates[6:50], 1)
    np.testing.assert_allclose(rates[74], 0.5)  # half of the way down
    np.testing.assert_allclose(rates[-1], 0.002)
    assert (np.diff(rates[49:-1]) < 0).all()  # the last two are the least


def test_a_recipe_hears_at_least_what_was_asked_for_in_whole_batches() -> None:
    spec = DistilSpec(segments=1001, batch_size=10, learning_rate=0.5)
    assert spec.steps == 101
