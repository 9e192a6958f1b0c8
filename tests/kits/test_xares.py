"""X-ARES's encoder: the kit itself takes and scores it, and its vectors are HEAR's."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from embedkit.errors import UsageError
from embedkit.kits import hear
from embedkit.kits.xares import EmbedkitEncoder


@pytest.fixture(scope="module")
def encoder() -> EmbedkitEncoder:
    return EmbedkitEncoder()


def test_it_is_an_encoder_as_the_kit_finds_and_calls_it(encoder: EmbedkitEncoder) -> None:
    assert type(encoder).__name__.endswith("Encoder")
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16000, 256, 100)
    audio = 0.1 * torch.randn(3, 40000, generator=torch.Generator().manual_seed(0))
    found = encoder(audio)
    assert found.shape == (3, 25, 256)  # 2.5 s, one each 100 ms
    assert found.dtype == torch.float32
    torch.testing.assert_close(encoder(audio[1]), found[[1]])
    # Each second timestamp of HEAR's.
    vectors, _ = hear.get_timestamp_embeddings(audio, hear.load_model())
    np.testing.assert_allclose(found, vectors[:, ::2], atol=1e-5)


def test_ten_minutes_survive(encoder: EmbedkitEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder.extractor, "embed_segments", lambda part: part[:, :256])
    assert encoder(torch.zeros(600 * 16000)).shape == (1, 6000, 256)


@pytest.mark.parametrize("shape", [(0,), (1, 2, 16000)])
def test_audio_of_another_shape_is_refused(
    encoder: EmbedkitEncoder, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match=r"expected audio \[B, samples\]"):
        encoder(torch.zeros(shape))


def write_shard(path: Path, clips: int) -> None:
    """Noise and tones in turn, 1.5 s each, as the kit's tar files hold them."""
    rng = np.random.default_rng(clips)
    with tarfile.open(path, "w") as tar:
        for clip in range(clips):
            tone = np.sin(2 * np.pi * (300 + 20 * clip) * np.arange(24000) / 16000)
            stream = io.BytesIO()
            samples = rng.standard_normal(24000) if clip % 2 else tone
            soundfile.write(stream, 0.2 * samples, 16000, format="WAV")
            label = json.dumps({"label": clip % 2}).encode()
            for suffix, content in (("wav", stream.getvalue()), ("json", label)):
                member = tarfile.TarInfo(f"{clip:03}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def read_wav(name: str, content: bytes) -> Any:
    if not name.endswith("wav"):
        return None
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


@pytest.mark.filterwarnings("ignore")  # the kit's own
def test_the_kit_takes_it_and_scores_a_task(
    encoder: EmbedkitEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xares")
    import webdataset
    from xares.audio_encoder_checker import check_audio_encoder
    from xares.task import TaskConfig, XaresTask
    from xares.utils import attr_from_py_path

    # The kit reads by torchaudio, which needs torchcodec and FFmpeg for it.
    monkeypatch.setattr(webdataset, "torch_audio", read_wav)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    assert attr_from_py_path("embedkit/kits/xares.py", endswith="Encoder") is EmbedkitEncoder
    assert check_audio_encoder(encoder)
    config = TaskConfig(
        name="tiny", env_root=tmp_path, private=True, encoder=encoder, output_dim=2, epochs=20,
        batch_size_train=4, num_encoder_workers=0, label_processor=lambda found: found["label"],
        eval_weight=6,
    )  # fmt: skip
    task = XaresTask(config)
    for split, clips in (("train", 40), ("valid", 4), ("test", 6)):
        write_shard(task.env_dir / f"{split}-000.tar", clips)
    (task.env_dir / config.xares_settings.audio_ready_filename).touch()
    task.make_encoded_tar()
    assert task.run_mlp() == (1.0, 6)
    assert task.run_knn() == (1.0, 6)
