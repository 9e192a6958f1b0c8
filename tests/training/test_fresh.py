"""Scenes that nobody has heard: where their sounds are from, and that a seed tells all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embedkit.errors import UsageError
from embedkit.recipe import DistilSpec
from embedkit.training import fresh
from embedkit.training.effects import rms
from embedkit.training.fresh import Draw, FreshScenes, chances, kind, package
from embedkit.training.pool import FULL_SCALE, Pool

RATE, SEGMENT = 8000, 2000
PLAIN = DistilSpec(
    segments=1, batch_size=2, learning_rate=1.0, speed=0.0, second=0.0, third=0.0, cut=0.0,
    equaliser=0.0, reverberation=0.0, noise=0.0,
)  # fmt: skip
CPU = torch.device("cpu")


def pool_of(path: Path, *clips: np.ndarray) -> Pool:
    path.write_bytes(np.concatenate(clips).astype(np.int16).tobytes())
    starts = np.cumsum([0, *map(len, clips)]).astype(np.int64)
    return Pool(path, tuple(f"{n}.wav" for n in range(len(clips))), starts, [])


def scenes_of(pool: Pool, around: int = 0, **changes: float) -> FreshScenes:
    even = np.ones(len(pool.names))
    spec = replace(PLAIN, **changes)
    return FreshScenes(pool, even, spec, sample_rate=RATE, segment=SEGMENT, around=around)


def ramps(*lengths: int) -> list[np.ndarray]:
    """Clips in which no sample is twice, nor in two of them."""
    return np.split(np.arange(1, sum(lengths) + 1), np.cumsum(lengths)[:-1])


def test_an_excerpt_is_samples_of_its_clip_one_after_the_other(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "p", *ramps(5000, 3000))
    clips = torch.arange(60) % 2
    found = scenes_of(pool).excerpts(clips, Draw(0, CPU)) * FULL_SCALE
    begins = found[:, 0].round().long()
    for excerpt, begin, clip in zip(found, begins, clips, strict=True):
        first, last = pool.starts[clip] + 1, pool.starts[clip + 1]
        assert first <= begin <= last - SEGMENT + 1
        torch.testing.assert_close(
            excerpt, torch.arange(begin, begin + SEGMENT).float(), atol=1e-2, rtol=0
        )
    assert len(set(begins.tolist())) > 50
    spread = begins[clips == 0].float().mean()  # of 3,001 places
    assert float(spread) == pytest.approx(1501, rel=0.2)


def test_a_short_clip_stands_whole_in_the_segment_and_silence_around_it(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "p", *ramps(300))
    scenes = scenes_of(pool, around=1000)
    found = scenes.excerpts(torch.zeros(50, dtype=torch.long), Draw(0, CPU)) * FULL_SCALE
    assert found.shape == (50, 4000)
    places = set()
    for excerpt in found:
        place = int(excerpt.nonzero()[0])
        places.add(place)
        assert 1000 <= place <= 1000 + SEGMENT - 300
        torch.testing.assert_close(
            excerpt[place : place + 300], torch.arange(1, 301).float(), atol=1e-2, rtol=0
        )
        assert int((excerpt != 0).sum()) == 300
    assert len(places) > 40


def test_around_a_segment_is_what_the_clip_has_there(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "p", *ramps(9000, 400))
    around = scenes_of(pool, around=1500)
    same = scenes_of(pool).excerpts(torch.zeros(30, dtype=torch.long), Draw(3, CPU))
    long = around.excerpts(torch.zeros(30, dtype=torch.long), Draw(3, CPU))
    torch.testing.assert_close(long[:, around.heard], same)
    steps = (long[:, 1:] - long[:, :-1]) * FULL_SCALE
    inside = (long[:, 1:] != 0) & (long[:, :-1] != 0)
    torch.testing.assert_close(steps[inside], torch.ones_like(steps[inside]), atol=1e-2, rtol=0)
    assert long.max() * FULL_SCALE <= 9000.01  # never the next clip's


def test_a_speed_multiplies_the_frequency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = 20000 * np.sin(2 * np.pi * 500 * np.arange(3 * RATE) / RATE)
    scenes = scenes_of(pool_of(tmp_path / "p", tone), speed=1.0)
    monkeypatch.setattr(Draw, "between", lambda self, low, high, *shape: torch.full(shape, high))
    monkeypatch.setattr(Draw, "some", lambda self, count, share: torch.arange(count))
    [found] = scenes.excerpts(torch.zeros(1, dtype=torch.long), Draw(0, CPU))
    peak = int(torch.fft.rfft(found).abs().argmax()) * RATE / SEGMENT
    assert peak == 1000  # an octave up


def test_scenes_have_the_level_that_was_drawn_and_no_more_than_full_scale(tmp_path: Path) -> None:
    hiss = 3000 * np.random.default_rng(0).standard_normal(20000)
    pool = pool_of(tmp_path / "p", hiss.clip(-32767, 32767))
    found = scenes_of(pool, second=0.5, third=0.5, speed=0.5, equaliser=0.5, noise=0.5).draw(7, 200)
    levels = 20 * torch.log10(rms(found))
    low, high = fresh.LEVEL_DB
    assert levels.min() > low - 1e-3
    assert levels.max() < high + 1e-3
    assert float(levels.mean()) == pytest.approx((low + high) / 2, abs=2)
    assert found.abs().max() <= 1


def test_two_sounds_are_mixed_where_two_are_asked_for(tmp_path: Path) -> None:
    """Each tone is found by its frequency; the second is as loud, or up to 18 dB softer."""
    time = np.arange(3 * RATE) / RATE
    pool = pool_of(tmp_path / "p", *(9000 * np.sin(2 * np.pi * hz * time) for hz in (500, 1500)))
    single = np.abs(np.fft.rfft(scenes_of(pool).draw(1, 64).numpy()))[:, [125, 375]]
    assert (single.min(axis=1) < 1e-2 * single.max(axis=1)).all()
    double = np.abs(np.fft.rfft(scenes_of(pool, second=1.0).draw(1, 64).numpy()))[:, [125, 375]]
    both = double[double.min(axis=1) > 1e-2 * double.max(axis=1)]
    assert 16 < len(both) < 48  # else one tone twice
    apart = np.abs(20 * np.log10(both[:, 0] / both[:, 1]))
    assert apart.max() < 18.1
    assert apart.mean() == pytest.approx(9, abs=2.5)


def test_a_seed_tells_everything_and_another_one_something_else(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "p", *ramps(5000, 300))
    scenes = FreshScenes(
        pool, np.ones(2), replace(DistilSpec(segments=1, batch_size=2, learning_rate=1.0)),
        sample_rate=RATE, segment=SEGMENT,
    )  # fmt: skip
    assert torch.equal(scenes.draw(5, 16), scenes.draw(5, 16))
    assert not torch.equal(scenes.draw(5, 16), scenes.draw(6, 16))


def test_clips_are_drawn_as_often_as_their_chances_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(tmp_path / "p", np.full(3000, 100), np.full(3000, 200), np.full(3000, 300))
    scenes = FreshScenes(
        pool, np.array([0.75, 0.0, 0.25]), PLAIN, sample_rate=RATE, segment=SEGMENT
    )
    seen: list[int] = []

    def excerpts(clips: torch.Tensor, draw: Draw) -> torch.Tensor:
        seen.extend(clips.tolist())
        return torch.ones(len(clips), SEGMENT)

    monkeypatch.setattr(scenes, "excerpts", excerpts)
    scenes.draw(0, 4000)
    assert 1 not in seen
    assert seen.count(0) / len(seen) == pytest.approx(0.75, abs=0.02)


NAMES = ("sfx/a/1", "sfx/a/2", "sfx/b/deep/3", "music/c/4", "alone", "sfx/b/5")
LENGTHS = np.array([300, 100, 0, 900, 400, 1600])


def test_a_clips_chance_is_its_kinds_times_its_packages_times_its_own() -> None:
    found = chances(NAMES, LENGTHS, {}, least=200)
    kinds = np.sqrt([2000, 900, 400])
    kinds /= kinds.sum()  # sfx, music, and what lies in no folder
    packages = np.sqrt([400, 1600]) / np.sqrt([400, 1600]).sum()
    own = [
        kinds[0] * packages[0] * 300 / 500, kinds[0] * packages[0] * 200 / 500, 0,
        kinds[1], kinds[2], kinds[0] * packages[1],
    ]  # fmt: skip
    np.testing.assert_allclose(found, own)


def test_kinds_are_as_likely_as_asked_for_and_others_are_not_drawn() -> None:
    found = chances(NAMES, LENGTHS, {"sfx": 3, "music": 1}, least=1)
    assert found[4] == 0
    assert found[3] == pytest.approx(0.25)
    assert found.sum() == pytest.approx(1)


def test_where_nothing_can_be_drawn_it_is_said() -> None:
    with pytest.raises(UsageError, match="no sounds in music"):
        chances(NAMES, LENGTHS, {"music": 0}, least=1)


def test_a_kind_is_a_folder_and_a_package_two() -> None:
    names = ("k/p/x/1", "k/p/1", "k/1", "1")
    assert [package(name) for name in names] == ["k/p", "k/p", "k", ""]
    assert [kind(name) for name in names] == ["k", "k", "k", ""]


def test_scenes_of_other_clips_are_those_of_a_pool_of_their_own_and_hold_no_sound_twice(
    tmp_path: Path,
) -> None:
    pool = pool_of(tmp_path / "p", *ramps(5000, 4000, 3000))
    scenes, chances = scenes_of(pool), np.array([0.1, 0.0, 0.9])
    other = scenes.of(chances)
    expected = FreshScenes(pool, chances, PLAIN, sample_rate=RATE, segment=SEGMENT)
    assert torch.equal(other.draw(3, 16), expected.draw(3, 16))
    assert not torch.equal(other.draw(3, 16), scenes.draw(3, 16))
    assert other.samples.data_ptr() == scenes.samples.data_ptr()
