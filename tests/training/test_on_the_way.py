"""Distillation on the way: the whole of it with a teacher whose answers have a closed form."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run as run_command
from foreign import NO_LOGITS, network, toy, write_extractor
from onnx import helper
from safetensors.numpy import load_file

from embedkit import Extractor
from embedkit.audio.files import find_audio
from embedkit.checkpoint import CONFIG, fingerprint, load_calibration, load_config
from embedkit.checkpoint import WEIGHTS as MODEL
from embedkit.config import DEFAULT_MODEL, FeatureSpec, SegmentSpec
from embedkit.errors import DatasetError, EmbedkitError, ModelFolderError, UsageError
from embedkit.export import write_network
from embedkit.models.build import count_macs
from embedkit.models.features import front_end
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.recipe import DistilSpec, Heads
from embedkit.runtime.foreign import open_foreign
from embedkit.training import Trained, distil_on_the_way, on_the_way, teachers
from embedkit.training import pool as pools
from embedkit.training.folder import CURVES, METRICS, SCRATCH
from embedkit.training.fresh import FreshScenes
from embedkit.training.lessons import Lessons
from embedkit.training.pool import gather
from embedkit.training.teachers import Teacher, open_teachers

pytestmark = pytest.mark.usefixtures("unexported")

RATE, SEGMENT_S = 16000, 0.4
SMALL: dict[str, Any] = {
    "model": resolve("gap-lite", dims=(64, 128), dropout=0.0),
    "features": FeatureSpec(bands=20, n_fft=512, hop_s=0.02),
    "segments": SegmentSpec(duration_s=SEGMENT_S, hop_s=SEGMENT_S),
}
RECIPE = DistilSpec(
    segments=60 * 16, batch_size=16, learning_rate=2e-3, validation=40, reverberation=0.1
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]) -> Path:
    """Two kinds, of two packages each: sines and noise, some of them shorter than a segment."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number in range(12):
        time = np.arange(round(rng.uniform(0.2, 1.5) * RATE)) / RATE
        sound = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 3000) * time)
        sound += rng.uniform(0, 0.1) * rng.standard_normal(len(time))
        name = f"{'ab'[number % 2]}/p{number // 2 % 2}/{number:02d}.wav"
        write_audio(folder / name, sound.astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extractor(tmp_path_factory.mktemp("teacher"), about={"licence": "MIT"})


def distil(sounds: Path, teacher: Path, folder: Path, **changes: Any) -> Trained:
    own = {key: changes.pop(key) for key in tuple(changes) if key in RECIPE.to_dict()}
    settings = {"checkpoint_segments": 320, **SMALL, **changes}
    return distil_on_the_way(sounds, [teacher], folder, spec=replace(RECIPE, **own), **settings)


@pytest.fixture(scope="module")
def distilled(
    tmp_path_factory: pytest.TempPathFactory, sounds: Path, teacher: Path
) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("runs") / "model"
    done = distil(sounds, teacher, folder)
    write_network(ExtractorModule.load(folder), folder)
    return folder, done


def lessons(sounds: Path, teacher: Path, scratch: Path, around: int = 0) -> Lessons:
    pool = gather(sounds, find_audio(sounds).paths, scratch / "sounds.i16", RATE)
    scenes = FreshScenes(
        pool, np.ones(len(pool.names)), RECIPE, sample_rate=RATE, segment=6400, around=around
    )
    module = front_end(SMALL["features"])
    return Lessons(scenes, open_teachers([teacher], RATE, 6400, "cpu"), module, seed=3, mfcc=True)


def test_the_network_learns_what_the_teacher_hears(distilled: tuple[Path, Trained]) -> None:
    """On sounds that it never heard: R2 of the teacher's embedding and of MFCC rise."""
    folder, trained = distilled
    assert [record["segments"] for record in trained.history] == [320, 640, 960]
    first, *_, last = trained.history
    assert last["validation_loss"] < first["validation_loss"]
    for name in ("toy", "toy logits", "MFCC"):
        assert last[f"validation_r2_{name}"] > first[f"validation_r2_{name}"]
        assert last[f"r2_{name}_at_64"] > first[f"r2_{name}_at_64"]
    assert last["validation_r2_toy logits"] > 0.5
    written = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert written == trained.history


def test_the_folder_holds_the_model_and_the_truth_about_it(
    distilled: tuple[Path, Trained], teacher: Path, sounds: Path
) -> None:
    folder, _ = distilled
    names = {"README.md", "calibration.safetensors", CONFIG, CURVES, METRICS, MODEL, "network.onnx"}
    assert {path.name for path in folder.iterdir()} == names
    config = load_config(folder)
    assert config.training == RECIPE
    [known] = config.teachers
    content = (teacher.parent / "toy.onnx").read_bytes()
    assert (known.name, known.licence) == ("toy", "MIT")
    assert known.fingerprint == hashlib.sha256(content).hexdigest()
    sizes = [(target.name, target.size, target.weight) for target in config.targets]
    assert sizes == [("toy", 3, 1.0), ("toy logits", 2, 1.0), ("MFCC", 60, 0.5)]
    assert not [name for name in load_file(folder / MODEL) if name.startswith("heads")]
    card = (folder / "README.md").read_text()
    assert known.fingerprint in card
    assert "| training segments | 960 |" in card
    statistics = ("mean", "std", "running_mean", "running_var", "num_batches_tracked")
    weights = load_file(folder / MODEL).items()
    learned = sum(it.size for name, it in weights if name.rpartition(".")[2] not in statistics)
    assert f"| parameters | {learned:,} |" in card
    whole = count_macs(config.model, config.feature_shape)
    assert f"multiply-accumulates a segment | {whole - 65 * (64 + 128):,} |" in card  # no heads
    assert load_calibration(folder).shape == (256, 1, 21, 20)


def test_both_runtimes_read_it(distilled: tuple[Path, Trained], make_sound: Callable) -> None:
    folder, _ = distilled
    sound = make_sound(1.2)
    expected = ExtractorModule.load(folder).embed(sound)
    np.testing.assert_allclose(Extractor.load(folder).embed(sound), expected, atol=2e-4)


def test_a_model_begins_with_another_and_learns_its_vectors_in_other_frames(
    distilled: tuple[Path, Trained], sounds: Path, tmp_path: Path
) -> None:
    """It begins far nearer to them than random weights come in as many segments."""
    known, _ = distilled
    found = {}
    for name, init in (("begun", known), ("random", None)):
        trained = distil(
            sounds,
            known,
            tmp_path / name,
            features=replace(SMALL["features"], hop_s=0.04),
            heads=Heads.NONE,
            mfcc_weight=0.0,
            segments=320,
            init=init,
        )
        [found[name]] = [record["validation_r2_model"] for record in trained.history]
    assert found["begun"] > 0.2 > found["random"] + 0.1
    config = load_config(tmp_path / "begun")
    assert config.init == config.teachers[0].fingerprint == fingerprint(known)


def test_an_interrupted_and_resumed_training_ends_as_an_uninterrupted_one(
    distilled: tuple[Path, Trained], sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    whole, trained = distilled
    folder = tmp_path / "model"

    def stop(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        for number, item in enumerate(items):
            if description == "Distilling" and number == 23:  # 3 steps after a checkpoint
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        distil(sounds, teacher, folder, track=stop)
    assert (folder / SCRATCH).exists()
    assert len((folder / METRICS).read_text().splitlines()) == 1
    with pytest.raises(UsageError, match="unfinished training; resume it"):
        distil(sounds, teacher, folder)
    with pytest.raises(UsageError, match=r"training.noise is 0.4 there, 0.3 was asked for"):
        distil(sounds, teacher, folder, resume=True, noise=0.3)
    resumed = distil(sounds, teacher, folder, resume=True)
    assert (folder / MODEL).read_bytes() == (whole / MODEL).read_bytes()
    assert resumed.history == trained.history
    again = distil(sounds, teacher, folder, resume=True)  # there is nothing left to do
    assert again.history == trained.history


def test_a_state_that_is_none_is_said_to_be_none(
    sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    def stop(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        yield from [] if description == "Distilling" else items
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(sounds, teacher, tmp_path / "m", track=stop)
    (tmp_path / "m" / SCRATCH / "state.pt").write_bytes(b"no state")
    with pytest.raises(ModelFolderError, match=r"remove .*training to begin anew"):
        distil(sounds, teacher, tmp_path / "m", resume=True)


def test_a_lesson_is_what_the_teacher_hears_of_the_scene(
    sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    """The toy's rate is half of ours: below half of that, every second sample is all there is."""
    given = lessons(sounds, teacher, tmp_path)
    lesson = given.make(4, 8)
    again = given.make(4, 8)
    assert all(torch.equal(*pair) for pair in zip(lesson.vectors, again.vectors, strict=True))
    seed = np.random.SeedSequence((3, 4)).generate_state(1, np.uint64)[0]
    scenes = given.scenes.draw(int(seed) % 2**63, 8)
    torch.testing.assert_close(lesson.features, front_end(SMALL["features"])(scenes))
    spectrum = torch.fft.rfft(torch.nn.functional.pad(scenes, (800, 800)))
    halved = torch.fft.irfft(spectrum[:, :2001], n=4000)[:, 400:3600] / 2
    embedding, logits = toy(halved.numpy())
    np.testing.assert_allclose(lesson.vectors[0], embedding, atol=1e-5)
    np.testing.assert_allclose(lesson.vectors[1], logits, atol=1e-4)


def test_a_teacher_may_hear_what_is_around_a_segment(
    sounds: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = lessons(sounds, teacher, tmp_path, around=1600)
    heard: list[torch.Tensor] = []
    plain = Teacher.hear
    monkeypatch.setattr(Teacher, "hear", lambda self, it: heard.append(it) or plain(self, it))
    lesson = given.make(0, 8)
    [scenes] = heard
    assert scenes.shape == (8, 6400 + 2 * 1600)
    middle = front_end(SMALL["features"])(scenes[:, 1600:8000])
    torch.testing.assert_close(lesson.features, middle)


def test_held_out_packages_are_never_learned_from(
    sounds: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def note(pool: Any, chances: Any) -> None:
        there = [pool.names[index] for index in np.flatnonzero(chances)]
        drawn.append({name.rpartition("/")[0] for name in there})

    class Scenes(FreshScenes):
        def __init__(self, pool: Any, chances: Any, *rest: Any, **options: Any) -> None:
            self.pool = pool
            note(pool, chances)
            super().__init__(pool, chances, *rest, **options)

        def of(self, chances: Any) -> FreshScenes:
            note(self.pool, chances)
            return super().of(chances)

    monkeypatch.setattr(on_the_way, "FreshScenes", Scenes)
    monkeypatch.setattr(on_the_way, "_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    packages = {"a/p0", "a/p1", "b/p0", "b/p1"}
    for name, changes in (
        ("all", {}),
        ("some", {"hold_out": ("a/p1/*",)}),
        ("k", {"kinds": "b=1"}),
    ):
        with pytest.raises(KeyboardInterrupt):
            distil(sounds, teacher, tmp_path / name, **changes)
    (training, held), (rest, named), (some, others) = drawn[:2], drawn[2:4], drawn[4:]
    assert len(held) == 1
    assert training | held == packages
    assert not training & held
    assert named == {"a/p1"}
    assert rest == packages - named
    assert some <= {"b/p0", "b/p1"}
    assert len(others) == 1
    assert not some & others


@pytest.mark.parametrize("heads", [Heads.HIDDEN, Heads.LINEAR])
def test_a_training_that_diverges_says_so(
    heads: Heads, sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(EmbedkitError, match=r"diverged .*lower learning rate than 1e\+06"):
        distil(sounds, teacher, tmp_path / "m", learning_rate=1e6, heads=heads)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"weights": [1.0, 2.0]}, UsageError, "2 weights for 1 teachers"),
        (
            {"teacher_window_s": 0.1},
            UsageError,
            "window of 0.1 s: must be at least the segment's 0.4 s",
        ),
        ({"kinds": "c=1"}, UsageError, "no folder 'c'"),
        ({"kinds": "a=much"}, UsageError, "FOLDER=CHANCE"),
        ({"kinds": "a=0"}, UsageError, "nothing has a chance"),
        ({"hold_out": ("nothing/*",)}, DatasetError, "fits all clips, or none"),
        ({"mfcc_weight": -1.0}, UsageError, "MFCC weight"),
        ({"features": FeatureSpec(bands=16, n_fft=512)}, UsageError, "at least 20 bands"),
        ({"device": "no-such"}, UsageError, "no-such"),
        ({"heads": Heads.NONE}, UsageError, "128 numbers, becomes .* found toy 3, toy logits 2, M"),
        ({"init": DEFAULT_MODEL}, UsageError, r"cannot begin with another network: model.dim is"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    changes: dict[str, Any], error: type[Exception], text: str, sounds: Path, teacher: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(error, match=text):
        distil(sounds, teacher, tmp_path / "m", **changes)
    assert not (tmp_path / "m").exists()


def test_a_teacher_on_a_gpu_is_the_same_in_torch(teacher: Path) -> None:
    """Here torch has no GPU: its own way is taken on the CPU."""
    foreign = open_foreign(teacher)
    sounds = torch.randn(4, 3200, generator=torch.Generator().manual_seed(0))
    pairs = zip(
        teachers._by_onnx(foreign)(sounds), teachers._by_torch(foreign, "cpu")(sounds), strict=True
    )
    for by_onnx, by_torch in pairs:
        torch.testing.assert_close(by_torch, by_onnx)


def test_a_teacher_that_cannot_hear_a_segment_is_refused_before_anything_begins(
    sounds: Path, tmp_path: Path
) -> None:
    nodes = [helper.make_node("ReduceMean", ["waveform"], ["embedding"], axes=[1])]
    fixed = network(nodes, shape=("batch", 800))  # 0.1 s at its rate
    path = write_extractor(tmp_path / "fixed", fixed, output=NO_LOGITS)
    with pytest.raises(ModelFolderError, match=r"toy.onnx"):
        distil(sounds, path, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_model_that_teaches_hears_segments_of_its_own_length(
    distilled: tuple[Path, Trained], sounds: Path, tmp_path: Path
) -> None:
    folder, _ = distilled
    with pytest.raises(UsageError, match=r"hears 0.4 s, and would have to hear 0.6 s"):
        distil(sounds, folder, tmp_path / "m", teacher_window_s=0.6)
    scenes = torch.randn(3, 6400, generator=torch.Generator().manual_seed(0)) / 10
    [own] = open_teachers([folder], RATE, 6400, "cpu")
    vectors, logits = own.hear(scenes)
    assert logits is None
    expected = ExtractorModule.load(folder).embed_segments(scenes.numpy())
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_two_teachers_of_one_name_are_refused(sounds: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two teachers are called 'toy'"):
        open_teachers([teacher, teacher], RATE, 6400, "cpu")


def test_sounds_are_decoded_once_and_a_changed_one_again(
    sounds: Path, tmp_path: Path, write_audio: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(sounds, tmp_path / "sounds"))
    paths = find_audio(root).paths
    first = gather(root, paths, tmp_path / "s.i16", RATE)
    content = first.open().copy()
    calls: list[Path] = []
    plain = pools.decode
    monkeypatch.setattr(pools, "decode", lambda path, rate: calls.append(path) or plain(path, rate))
    assert gather(root, paths, tmp_path / "s.i16", RATE).names == first.names
    assert calls == []
    write_audio(paths[0], np.full(100, 0.5, np.float32))
    changed = gather(root, paths, tmp_path / "s.i16", RATE)
    assert len(calls) == len(paths)
    assert changed.lengths[0] == 100
    np.testing.assert_array_equal(changed.open()[100:], content[first.starts[1] :])


def test_a_command_names_what_it_cannot_decode_and_ends_with_3(
    sounds: Path, teacher: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(sounds, tmp_path / "sounds"))
    (root / "a" / "p0" / "bad.wav").write_bytes(b"RIFF")
    done = run_command(
        "distil", root, "--teacher", teacher, "--segments", 100, "--batch-size", 50,
        "--validation-segments", 10, "--dims", "64", "--out", tmp_path / "model", "--json",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "a/p0/bad.wav: unreadable" in done.stderr
    found = json.loads(done.stdout)
    assert found["segments"] == 100
    assert load_config(tmp_path / "model").model.dims == (64,)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--teacher", "T", "--targets", "V"), "name one of --targets"),
        ((), "name one of --targets"),
        (("--teacher", "T", "--epochs", "20"), "--epochs goes with --targets, not with --teacher"),
        (("--teacher", "T", "--mixup", "0.1"), "--mixup goes with --targets"),
        (
            ("--targets", "V", "--segments", "9"),
            "--segments goes with --teacher, not with --targets",
        ),
        (("--targets", "V", "--noise", "0.4"), "--noise goes with --teacher"),
        (
            ("--targets", "V", "--checkpoint-minutes", "1"),
            "--checkpoint-minutes goes with --teacher",
        ),
    ],
)
def test_options_of_the_other_way_are_refused_by_name(
    options: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    done = run_command("distil", tmp_path, *options, "--out", tmp_path / "model")
    assert done.returncode == 2
    assert text in done.stderr
    assert not (tmp_path / "model").exists()
