"""The Ray engine on a cluster of two nodes, with the local engine as the oracle."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit.errors import EmbeddingFolderError
from embedkit.extraction import Settings, Shard, extract
from embedkit.extraction.cluster import extract_on_ray
from embedkit.store import EmbeddingTable

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

CLIPS = 24


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes of one processor each."""
    ray = pytest.importorskip("ray")  # takes seconds, and no other process of tests needs it
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes.address
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def audio(
    tmp_path_factory: pytest.TempPathFactory,
    make_sound: Callable[..., NDArray[np.float32]],
    write_audio: Callable[..., Path],
) -> Path:
    root = tmp_path_factory.mktemp("audio")
    for seed in range(CLIPS):
        write_audio(root / f"{seed:02}.wav", make_sound(3, seed=seed))
    (root / "bad.mp3").write_text("no audio")
    return root


def worker_processes() -> list[int]:
    """Processes of Ray's actors."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


ALONE = """
import sys, ray
from pathlib import Path
from embedkit.extraction.cluster import extract_on_ray

ray.init(num_cpus=1, log_to_driver=False)
extract_on_ray(*map(Path, sys.argv[1:]), shards=2)
"""


def test_one_processor_is_enough(audio: Path, model_dir: Path, tmp_path: Path) -> None:
    """Nothing waits for the processor that the only run holds."""
    emb = tmp_path / "emb"
    subprocess.run(
        [sys.executable, "-c", ALONE, audio, model_dir, emb],
        check=True,
        timeout=PATIENCE,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert len(EmbeddingTable.open(emb).clip_names()) == CLIPS


def test_rows_are_those_of_the_local_engine_though_a_worker_is_killed(
    cluster: str, audio: Path, model_dir: Path, tmp_path: Path
) -> None:
    emb = tmp_path / "emb"
    killed = []

    def kill_one() -> None:
        while not list(emb.glob("files/part-*")):
            time.sleep(0.05)
        for process in worker_processes()[:1]:
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    done = extract_on_ray(audio, model_dir, emb, shards=6)
    killer.join(PATIENCE)
    assert len(killed) == 1
    assert done.errors == {"unreadable": 1}
    assert done.files + done.already_done == CLIPS + 1
    extract(audio, model_dir, tmp_path / "here")
    found, expected = EmbeddingTable.open(emb), EmbeddingTable.open(tmp_path / "here")
    assert found.journal == expected.journal
    rows, wanted = found.rows(), expected.rows()
    assert rows.clips.tolist() == wanted.clips.tolist()
    np.testing.assert_allclose(rows.embeddings, wanted.embeddings, rtol=0, atol=1e-5)
    # Ray Data reads what it wrote.
    import ray

    table = ray.data.read_parquet(str(emb / "rows")).to_pandas()
    table = table.sort_values(["clip", "segment"])
    assert table["clip"].tolist() == rows.clips.tolist()
    np.testing.assert_array_equal(np.stack(table["embedding"]), rows.embeddings)
    # It can go on, and so can the other engine.
    arguments = ("extract", audio, "--model", model_dir, "--out", emb, "--json")
    again = run(*arguments, "--engine", "ray", "--address", cluster)
    assert (again.returncode, json.loads(again.stdout)["already_done"]) == (3, CLIPS + 1)
    assert extract(audio, model_dir, emb).files == 0


def test_the_errors_of_all_shards_together_stop_the_run(
    cluster: str, model_dir: Path, tmp_path: Path
) -> None:
    """Of six shards each has two bad files, and three are the most: none reaches it alone."""
    shards, names = 6, [f"bad-{number}.wav" for number in range(200)]
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(1, shards + 1):
        for name in [name for name in names if Shard(number, shards).owns(name)][:2]:
            (audio / name).write_text("no audio")
    arguments = (audio, model_dir, tmp_path / "emb", Settings(max_errors=3, batch_size=1))
    done = extract_on_ray(*arguments, shards=shards)
    assert done.stopped
    # Two shards run at a time: when the third begins, the first has told of two.
    assert 3 <= done.errors.total() <= 6
    left = extract_on_ray(*arguments[:3], shards=shards)
    assert not left.stopped
    assert left.files + done.files == 2 * shards


def test_an_error_of_a_shard_is_the_commands(
    cluster: str, audio: Path, model_dir: Path, tmp_path: Path
) -> None:
    emb = tmp_path / "emb"
    extract(audio, model_dir, emb, Settings(hop_s=0.5))
    with pytest.raises(EmbeddingFolderError, match="was made with hop_s"):
        extract_on_ray(audio, model_dir, emb, shards=2)
    refused = run("extract", audio, "--model", model_dir, "--out", emb, "--address", cluster)
    assert refused.returncode == 2
    assert succeed("extract", "--help")
