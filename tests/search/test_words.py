"""Search by words against a look at every segment, and the command that does it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Finished, run, succeed
from made import Vectors, draw, namer, write_table_of

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.errors import EmbedkitError
from embedkit.names.vocabulary import Vocabulary
from embedkit.search.choice import EVERY, Choice
from embedkit.search.words import find_heard
from embedkit.store import EmbeddingTable, writer

LABELS = "Dog", "Bark", "Rain", "Thunder"
TEXTS = ["bark", "dog", "rain and thunder"]
Found = list[tuple[str, float, float, str]]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Clips of 1 to 9 segments in small row groups; many scores are equal."""
    vectors = np.round(draw(400))
    ends = np.cumsum(1 + np.arange(80) % 9)
    clips = {
        f"{'ba'[n % 2]}/{n}.wav": vectors[start:end]
        for n, (start, end) in enumerate(zip([0, *ends], ends[ends <= 400], strict=False))
    }
    folder = tmp_path_factory.mktemp("words") / "emb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "ROW_GROUP_BYTES", 500)
        table = write_table_of(folder, clips)
    assert sum(1 for _ in table.batches()) > 10
    return table


def look(table: EmbeddingTable, text: str, *, by_clip: bool, among: str = "") -> Found:
    """What is heard, by the logistic function, segment after segment."""
    rows = table.rows()
    found = []
    for clip, start_s, vector in zip(rows.clips, rows.start_s, rows.embeddings, strict=True):
        dog, bark, rain, thunder = 1 / (1 + np.exp(-vector.astype(float)))
        score, name = {
            "bark": (bark, "Bark"),
            "dog": (max(dog, bark), "Dog" if dog >= bark else "Bark"),
            "rain and thunder": (np.sqrt(rain * thunder), "Rain + Thunder"),
        }[text]
        if clip.startswith(among):
            found.append((clip, start_s, score, name))
    found.sort(key=lambda hit: (-round(hit[2], 9), hit[0], hit[1]))
    if by_clip:
        seen: set[str] = set()
        found = [hit for hit in found if hit[0] not in seen and not seen.add(hit[0])]
    return found


@pytest.mark.parametrize("by_clip", [True, False])
@pytest.mark.parametrize("top", [1, 7, 1000])
def test_what_is_found_is_what_a_look_at_every_segment_finds(
    table: EmbeddingTable, top: int, by_clip: bool
) -> None:
    meanings = list(map(Vocabulary(LABELS).find, TEXTS))
    for among in ("", "a/"):
        clips = np.concatenate([batch.clips for batch in table.batches()])
        allowed = np.array([clip.startswith("a/") for clip in clips])
        answers = find_heard(
            table,
            namer(*LABELS),
            meanings,
            top,
            among=allowed if among else None,
            choice=Choice(per_clip=1 if by_clip else None),
        )
        for text, hits in zip(TEXTS, answers, strict=True):
            expected = look(table, text, by_clip=by_clip, among=among)[:top]
            assert [(hit.clip, hit.start_s, hit.name) for hit in hits] == [
                (clip, start_s, name) for clip, start_s, _, name in expected
            ]
            np.testing.assert_allclose(
                [hit.score for hit in hits], [score for _, _, score, _ in expected], rtol=1e-6
            )


@pytest.mark.parametrize("choice", [
    Choice(per_folder=2), Choice(per_clip=2, per_folder=5), Choice(threshold=0.6),
    Choice(farthest=True, per_clip=None),
], ids=str)  # fmt: skip
def test_what_is_kept_of_words_is_what_a_look_at_every_segment_keeps(
    table: EmbeddingTable, choice: Choice
) -> None:
    expected: Found = []
    every = look(table, "dog", by_clip=False)
    if choice.farthest:
        every.sort(key=lambda hit: (round(hit[2], 9), hit[0], hit[1]))
    for hit in every:
        clips = [clip for clip, *_ in expected]
        folders = [clip.split("/")[0] for clip in clips]
        if choice.threshold is not None and hit[2] < choice.threshold:
            break
        full = choice.per_clip is not None and clips.count(hit[0]) >= choice.per_clip
        if full or folders.count(hit[0].split("/")[0]) >= (choice.per_folder or 10_000):
            continue
        expected.append(hit)
    meaning = Vocabulary(LABELS).find("dog")
    [hits] = find_heard(table, namer(*LABELS), [meaning], 9, choice=choice)
    assert [(hit.clip, hit.start_s, hit.name) for hit in hits] == [
        (clip, start_s, name) for clip, start_s, _, name in expected[:9]
    ]


def test_copies_of_what_is_heard_are_left_out_and_more_is_looked_at(tmp_path: Path) -> None:
    loud = np.array([[9, 0, 0, 0]], np.float32)
    clips = {f"copy/{n:02d}.wav": loud - n / 1000 for n in range(60)}
    others = {f"b/{n}.wav": draw(1, seed=n) for n in range(9)}
    table = write_table_of(tmp_path / "emb", clips | others, last_s=1.0)
    meaning = Vocabulary(LABELS).find("dog")
    [hits] = find_heard(table, namer(*LABELS), [meaning], 5, choice=Choice(distinct=True))
    assert [hit.clip.split("/")[0] for hit in hits] == ["copy", *4 * ["b"]]


def test_slivers_are_not_listened_to(tmp_path: Path) -> None:
    loud = np.array([[0, 0, 0, 0], [9, 9, 9, 9]], np.float32)
    table = write_table_of(tmp_path / "emb", {"a.wav": loud, "b.wav": loud[1:]}, last_s=0.4)
    [hits] = find_heard(table, namer(*LABELS), [Vocabulary(LABELS).find("dog")], 9, choice=EVERY)
    # The first segment of a clip counts, however short.
    assert [(hit.clip, hit.start_s, hit.end_s) for hit in hits] == [
        ("b.wav", 0.0, 0.4), ("a.wav", 0.0, 1.0),
    ]  # fmt: skip


def test_an_empty_folder_holds_nothing_and_a_classifier_of_other_vectors_is_refused(
    tmp_path: Path,
) -> None:
    table = write_table_of(tmp_path / "emb", {})
    meaning = Vocabulary(LABELS).find("dog")
    assert find_heard(table, namer(*LABELS), [meaning], 9) == [[]]
    with pytest.raises(EmbedkitError, match="the classifier was fitted on those of 0000"):
        find_heard(table, namer(*LABELS, fingerprint="0" * 64), [meaning], 9)


# The command


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked")
    clips: dict[str, Vectors] = {
        "a/bark.wav": np.array([[0, 1, -9, -9], [0, 2, -9, -9]], np.float32),
        "a/rain.wav": np.array([[-9, -9, 3, 1]], np.float32),
        "b/dog.wav": np.array([[1, 0, -9, -9]], np.float32),
    }
    write_table_of(root / "emb", clips)
    namer(*LABELS).save(root / "names")
    (root / "labels.csv").write_text("path,label\na/bark.wav,mine\na/rain.wav,mine\n")
    return root


def ask(work: Path, *arguments: object) -> Finished:
    return run("search", work / "emb", "--classifier", work / "names", *arguments)


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_the_command_prints_what_is_heard_and_says_what_it_listens_for(work: Path) -> None:
    done = ask(work, "--text", "dogs", "--top", 2)
    assert done.stderr.rstrip("\n") == "searching for Dog (and 1 below)"
    assert done.stdout.splitlines() == [
        " score  start_s  end_s  clip        name",
        "0.8808     1.00   1.50  a/bark.wav  Bark",
        "0.7311     0.00   0.50  b/dog.wav   Dog",
    ]
    answers = json.loads(ask(work, "--text", "puppies", "--text", "rain, thunder", "--json").stdout)
    assert [answer["query"] for answer in answers] == ["puppies", "rain, thunder"]
    assert answers[0]["sounds"] == [
        {"words": "puppies", "how": "synonym", "found": ["Dog"], "names": ["Dog", "Bark"]}
    ]
    assert [hit["clip"] for hit in answers[0]["results"]] == [
        "a/bark.wav", "b/dog.wav", "a/rain.wav",
    ]  # fmt: skip
    best = answers[1]["results"][0]
    assert (best["clip"], best["name"]) == ("a/rain.wav", "Rain + Thunder")
    assert best["score"] == pytest.approx(np.sqrt(sigmoid(3) * sigmoid(1)))


def test_a_label_does_not_steer_the_terminal(work: Path, tmp_path: Path) -> None:
    namer("Zeb \x1b[31m", size=4).save(tmp_path / "names")
    done = run("search", work / "emb", "--classifier", tmp_path / "names", "--text", "zeb")
    assert done.stderr.rstrip("\n") == "searching for Zeb \\x1b[31m"
    assert "\x1b" not in done.stdout


def test_filters_segments_and_csv(work: Path) -> None:
    done = ask(work, "--text", "dog", "--segments", "--among", "a/*", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["query"], row["rank"], row["clip"], row["start_s"]) for row in rows] == [
        ("dog", "1", "a/bark.wav", "1.0"), ("dog", "2", "a/bark.wav", "0.0"),
        ("dog", "3", "a/rain.wav", "0.0"),
    ]  # fmt: skip
    assert float(rows[1]["score"]) == pytest.approx(sigmoid(1))
    labelled = ask(
        *(work, "--text", "rain", "--labels", work / "labels.csv", "--where", "mine"),
        *("--json", "--top", 9),
    )
    [answer] = json.loads(labelled.stdout)
    assert [hit["clip"] for hit in answer["results"]] == ["a/rain.wav", "a/bark.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dog.wav", "--text", "dog"), "or --text"),
        (("--text", "dog", "--like", "a/bark.wav"), "or --text"),
        (("--text", "dog", "--unlike", "a/bark.wav"), "or --text"),
        (("--text", "dog", "--index", "flat"), "--index and --metric are for sounds"),
        (("--text", "dog", "--metric", "dot"), "--index and --metric are for sounds"),
        (("a/bark.wav",), "--classifier is for --text"),
        (("--text", "dog singing"), "no name for 'singing'; there are: Dog"),
        (("--text", "Purr"), "no name for 'purr'; there are: Dog; Bark; Rain; Thunder"),
        (("--text", ""), "no words; expected those of a sound"),
    ],
)
def test_usage_errors(work: Path, arguments: tuple[str, ...], message: str) -> None:
    done = ask(work, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_names_of_the_model_are_the_default(
    tmp_path: Path,
    save_model: Callable[[int], Path],
    write_audio: Callable[..., Path],
    make_sound: Callable[..., Vectors],
) -> None:
    model_dir = save_model(0)
    write_audio(tmp_path / "audio" / "one.wav", make_sound(2.0))
    succeed("extract", tmp_path / "audio", "--model", model_dir, "--out", tmp_path / "emb")
    done = run("search", tmp_path / "emb", "--text", "dog")
    assert done.returncode == 1
    assert "this model brings no names" in done.stderr
    names = namer("Dog", "Rain", size=64, fingerprint=weights_fingerprint(model_dir))
    names.save(model_dir / "names" / "64")
    [answer] = json.loads(succeed("search", tmp_path / "emb", "--text", "rain", "--json"))
    vectors = EmbeddingTable.open(tmp_path / "emb").rows().embeddings
    assert [hit["score"] for hit in answer["results"]] == [
        pytest.approx(max(map(sigmoid, vectors[:, 1])), rel=1e-5)
    ]
