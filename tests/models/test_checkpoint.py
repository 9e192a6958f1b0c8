import dataclasses
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embedkit.checkpoint import CONFIG, WEIGHTS, ModelConfig, fingerprint, load_model, save_model
from embedkit.config import (
    Activation,
    FeatureSpec,
    FrontEnd,
    ModelSpec,
    Precision,
    Sampling,
    Schedule,
    SegmentSpec,
    Spec,
    TrainSpec,
)
from embedkit.errors import ModelFolderError, UsageError
from embedkit.models.module import ExtractorModule
from embedkit.recipe import DistilSpec, Heads, TeacherSpec

# One of each spec, no value a default.
SPECS = [
    ModelSpec(name="gap", classes=3, dim=99, dims=(64, 99), dropout=0.25),
    FeatureSpec(
        **{"kind": FrontEnd.MFCC, "sample_rate": 32000, "window_s": 0.02, "hop_s": 0.005},
        **{"n_fft": 1024, "bands": 48, "log_floor": 1e-3, "coefficients": 20, "min_hz": 55.0},
        bins_per_octave=12,
    ),
    SegmentSpec(duration_s=2.5, hop_s=0.5),
    TrainSpec(
        **{"epochs": 3, "batch_size": 7, "learning_rate": 0.02, "schedule": Schedule.COSINE},
        **{"halve_every": 2, "beta1": 0.8, "beta2": 0.99, "weight_decay": 0.0, "validation": 0.2},
        **{"mixup": 0.4, "time_mask": 5, "band_mask": 6, "hold_out_fold": "2"},
        **{"segment_hop_s": 0.75, "sampling": Sampling.BALANCED, "seed": 11},
        precision=Precision.BFLOAT16,
    ),
    DistilSpec(
        **{"segments": 9, "batch_size": 3, "learning_rate": 0.1, "weight_decay": 0.2},
        **{"heads": Heads.LINEAR, "names_weight": 1.0, "teacher_window_s": 5.0, "kinds": "a=1"},
        **{"hold_out": ("b/*", "c/*"), "validation": 4, "speed": 0.1, "second": 0.3, "third": 0.1},
        **{"cut": 0.1, "equaliser": 0.1, "reverberation": 0.1, "noise": 0.1, "seed": 11},
        precision=Precision.BFLOAT16,
    ),
    TeacherSpec(name="t", licence="MIT", source="https://t", fingerprint="f" * 64),
]
REQUIRED: dict[type[Spec], dict[str, Any]] = {
    ModelSpec: {"name": "x", "classes": 1},
    DistilSpec: {"segments": 1, "batch_size": 2, "learning_rate": 1.0},
    TeacherSpec: dict.fromkeys(("name", "licence", "source", "fingerprint"), ""),
}


@pytest.fixture
def folder(model_dir: Path, tmp_path: Path) -> Path:
    """A model folder to damage."""
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_saved_and_loaded_again_config_weights_and_embeddings_are_the_same(tmp_path: Path) -> None:
    model, features, segments, training, *_ = SPECS
    config = ModelConfig(
        model=dataclasses.replace(model, dim=70, dims=(64, 70)),
        features=features,
        segments=segments,
        training=training,
        activation=Activation.SIGMOID,
        labels=("Ärger, laut", "b\n;c", "鸟"),
    )
    extractor = ExtractorModule(config, torch.randn(20), torch.rand(20) + 0.5)
    for _ in range(2):  # the second time it replaces a model
        extractor.save(tmp_path / "model")
    loaded = ExtractorModule.load(tmp_path / "model")
    assert loaded.config == config
    expected, found = extractor.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    waveform = np.random.default_rng(0).standard_normal(3 * 32000).astype(np.float32)
    np.testing.assert_array_equal(loaded.embed(waveform), extractor.eval().embed(waveform))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [CONFIG, WEIGHTS]


def test_tensors_come_back_bit_for_bit(tmp_path: Path, model_dir: Path) -> None:
    config, _ = load_model(model_dir)
    weights = {
        "odd": np.array([np.nan, -0.0, 1e-42], np.float32),
        "whole": np.array(2**53 + 1),
        "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    }
    save_model(tmp_path, config, weights)
    _, loaded = load_model(tmp_path)
    for name, values in weights.items():
        assert (loaded[name].dtype, loaded[name].shape) == (values.dtype, values.shape)
        assert loaded[name].tobytes() == values.tobytes()


def test_weights_kept_in_half_precision_come_back_in_single(
    tmp_path: Path, model_dir: Path
) -> None:
    config, _ = load_model(model_dir)
    half, count = np.array([0.1, -2.5, 6e-5], np.float16), np.array([7], np.int64)
    save_model(tmp_path, config, {"half": half, "count": count})
    _, loaded = load_model(tmp_path)
    assert (loaded["half"].dtype, loaded["count"].dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(loaded["half"], [float(value) for value in half])


def test_fingerprint_is_the_sha256_of_the_weights_file(model_dir: Path) -> None:
    assert fingerprint(model_dir) == hashlib.sha256((model_dir / WEIGHTS).read_bytes()).hexdigest()


def test_fingerprint_of_nothing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=rf"{WEIGHTS}: cannot be read"):
        fingerprint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"not a model folder: it has no config\.json"),
        (b"", "not a model's settings"),
        (b"{", "not a model's settings"),
        (b"\xff\xfe\x00", "not a model's settings"),
        (b"[1, 2]", "not a model's settings"),
        (b"{}", "not a model's settings: 'format'"),
        (b'{"format": 99}', "format 99, this version of embedkit reads 1"),
        (b'{"format": 1}', "not a model's settings: 'model'"),
    ],
)
def test_a_config_that_is_none_is_refused(
    folder: Path, content: bytes | None, message: str
) -> None:
    (folder / CONFIG).unlink()
    if content is not None:
        (folder / CONFIG).write_bytes(content)
    with pytest.raises(ModelFolderError, match=message):
        ExtractorModule.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["features"].update(colour=1), "FeatureSpec: settings .*: colour"),
        (lambda c: c["training"].pop("seed"), "TrainSpec: settings .*: seed"),
        (lambda c: c.update(model=None), "not a model's settings"),
        (lambda c: c.update(features=[1]), "not a model's settings"),
        (lambda c: c.update(activation="relu"), "not a model's settings: 'relu'"),
        (lambda c: c.update(labels=3), "not a model's settings"),
        (lambda c: c.update(labels=["a", "b"]), "labels and targets for 2 of 3 outputs"),
        (lambda c: c["training"].update(schedule="steep"), "not a model's settings: 'steep'"),
        (lambda c: c["features"].update(bands="64"), "not a model's settings"),
        (lambda c: c["features"].update(sample_rate=12345), "sample rate 12345: choose one of"),
        (lambda c: c["model"].update(name="resnet"), "no model 'resnet'"),
        (lambda c: c["model"].update(dim=None), "needs an embedding size"),
        (lambda c: c["model"].update(dim=10**12), "embedding size 1000000000000"),
        (lambda c: c["model"].update(dim=128), "do not fit the settings"),
        (lambda c: c["features"].update(bands=32), "do not fit the settings: .* 32 bands"),
    ],
)
def test_a_changed_setting_that_cannot_be_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(ModelFolderError, match=message):
        ExtractorModule.load(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda weights: b"",
        lambda weights: b"garbage" * 100,
        lambda weights: weights[:1000],
        lambda weights: weights[:-4],
        lambda weights: b"\xff" * 8 + weights[8:],
        None,
    ],
    ids=["empty", "garbage", "header-only", "short", "huge-header", "missing"],
)
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes] | None) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    if damage is not None:
        (folder / WEIGHTS).write_bytes(damage(weights))
    with pytest.raises(ModelFolderError, match=rf"{WEIGHTS}: cannot be read"):
        ExtractorModule.load(folder)


def test_complex_weights_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"mean": tensors["mean"].to(torch.complex64)}, folder / WEIGHTS)
    with pytest.raises(ModelFolderError, match="mean holds complex numbers"):
        ExtractorModule.load(folder)


@pytest.mark.parametrize("change", ["other", "without-mean", "extra"])
def test_weights_of_another_network_are_refused(folder: Path, change: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    if change == "other":
        tensors["classifier.output.weight"] = torch.zeros(4, 64)
    elif change == "without-mean":
        del tensors["mean"]
    else:
        tensors["embedding.fc1.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelFolderError, match="the weights do not fit the settings"):
        ExtractorModule.load(folder)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_pickle_in_a_model_folder_is_refused_and_never_run(
    folder: Path, tmp_path: Path, write: Callable[..., None], name: str
) -> None:
    with (folder / name).open("wb") as file:
        write(Payload(tmp_path / "was-run"), file)
    with pytest.raises(ModelFolderError):
        ExtractorModule.load(folder)
    assert not (tmp_path / "was-run").exists()
    with (folder / name).open("rb") as file:  # the payload does work where pickles are read
        if write is pickle.dump:
            pickle.load(file)
        else:
            torch.load(file, weights_only=False)
    assert (tmp_path / "was-run").exists()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_spec_goes_through_json_and_back(spec: Spec) -> None:
    default = type(spec)(**REQUIRED.get(type(spec), {}))
    values = json.loads(json.dumps(spec.to_dict()))
    # Nothing is left at its default.
    assert [name for name, value in default.to_dict().items() if values[name] == value] == []
    again = type(spec).from_dict(values)
    assert again == spec
    assert [type(value) for value in dataclasses.astuple(again)] == [
        type(value) for value in dataclasses.astuple(spec)
    ]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_spec_takes_no_default_for_a_missing_key_and_no_unknown_one(spec: Spec) -> None:
    values = spec.to_dict()
    for name in values:
        with pytest.raises(UsageError, match=f"settings do not match .*: {name}$"):
            type(spec).from_dict({key: value for key, value in values.items() if key != name})
    with pytest.raises(UsageError, match=r"settings do not match .*: surprise$"):
        type(spec).from_dict({**values, "surprise": 1})


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (FeatureSpec, {"sample_rate": 8000}, "16000, 22050, 32000, 44100, 48000"),
        (FeatureSpec, {"bands": 0}, "0 bands"),
        (FeatureSpec, {"log_floor": 0}, "log floor 0"),
        (FeatureSpec, {"log_floor": NAN}, "log floor nan"),
        (FeatureSpec, {"hop_s": 0}, "hop 0 s"),
        (FeatureSpec, {"hop_s": 1e-6}, "hop 1e-06 s"),
        (FeatureSpec, {"hop_s": NAN}, "hop nan s"),
        (FeatureSpec, {"hop_s": -0.01}, "hop -0.01 s"),
        (FeatureSpec, {"window_s": 0}, "a window of 0 s at 16000 Hz"),
        (
            FeatureSpec,
            {"n_fft": 399},
            r"a window of 0\.025 s at 16000 Hz does not fit an FFT of 399",
        ),
        (SegmentSpec, {"duration_s": 0.09, "hop_s": 0.09}, "segments of 0.09 s"),
        (SegmentSpec, {"hop_s": 1.01}, "hop of 1.01 s"),
        (SegmentSpec, {"hop_s": 0}, "hop of 0 s"),
        (SegmentSpec, {"hop_s": NAN}, "hop of nan s"),
        (ModelSpec, {"name": "gap", "classes": 0}, "0 classes"),
        (ModelSpec, {"name": "gap", "classes": 2, "dropout": 1}, "dropout 1"),
        (ModelSpec, {"name": "gap", "classes": 2, "dropout": -0.1}, "dropout -0.1"),
        (TrainSpec, {"epochs": 0}, "0 epochs"),
        (TrainSpec, {"batch_size": 1}, "batches of 1"),
        (TrainSpec, {"learning_rate": 0}, "learning rate 0"),
        (TrainSpec, {"learning_rate": NAN}, "learning rate nan"),
        (TrainSpec, {"beta1": 1.0}, r"betas \(1.0, 0.999\)"),
        (TrainSpec, {"beta2": -0.1}, r"betas \(0.9, -0.1\)"),
        (TrainSpec, {"halve_every": 0}, "halving every 0"),
        (TrainSpec, {"validation": 0}, "validation 0: a share"),
        (TrainSpec, {"validation": 1.5}, "validation 1.5: a share"),
        (TrainSpec, {"weight_decay": -1}, "weight decay -1"),
        (TrainSpec, {"mixup": -0.2}, "mixup -0.2"),
        (TrainSpec, {"time_mask": -1}, "SpecAugment"),
        (TrainSpec, {"band_mask": -1}, "SpecAugment"),
        (DistilSpec, {"segments": 0}, "segments 0: must be at least 1"),
        (DistilSpec, {"batch_size": 1}, "batch_size 1: must be at least 2"),
        (DistilSpec, {"learning_rate": NAN}, "learning rate nan"),
        (DistilSpec, {"noise": 1.5}, "noise 1.5: must be a share from 0 to 1"),
        (DistilSpec, {"speed": NAN}, "speed nan"),
        (DistilSpec, {"names_weight": -1.0}, "names_weight -1.0"),
        (DistilSpec, {"teacher_window_s": NAN}, "a teacher's window of nan s"),
        (DistilSpec, {"teacher_window_s": 61.0}, "a teacher's window of 61.0 s"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    kind: type[Spec], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**{**REQUIRED.get(kind, {}), **values})


@pytest.mark.parametrize(
    ("sample_rate", "window", "hop", "segment"),
    [(16000, 400, 160, 16000), (22050, 551, 220, 22050), (44100, 1102, 441, 44100)],
)
def test_seconds_become_whole_samples(
    sample_rate: int, window: int, hop: int, segment: int
) -> None:
    features = FeatureSpec(sample_rate=sample_rate)
    assert (features.window_length, features.hop_length) == (window, hop)
    assert SegmentSpec(hop_s=0.5).samples(sample_rate) == (segment, round(segment / 2))
