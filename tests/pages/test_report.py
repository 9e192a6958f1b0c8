import base64
import hashlib
import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from embedkit.pages.plots import confusion_matrix, embedding_map, spectrogram, training_curves
from embedkit.pages.report import ReportCard, write_report

NASTY_NAMES = [
    "plain",
    "two words",
    "<script>alert(1)</script>",
    "\"double\" 'single'",
    "100% #1? a&amp;b=c;d",
    "javascript:alert(1)",
    "$x_1$",
    "_hidden",
    "鸟鸣 – größer",
    "bell\x07",
]


class Page(HTMLParser):
    """What a browser finds in a page: its start tags, and its text but for styles and scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in {"style", "script"} and data.strip():
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [
            {key: value or "" for key, value in attributes.items()}
            for name, attributes in self.tags
            if name == tag
        ]

    def pictures(self) -> list[ElementTree.Element]:
        prefix = "data:image/svg+xml;base64,"
        sources = [image["src"] for image in self.all("img")]
        assert all(source.startswith(prefix) for source in sources)
        return [ElementTree.fromstring(base64.b64decode(s.removeprefix(prefix))) for s in sources]


def make_card(name: str = "clip", **changes: Any) -> ReportCard:
    values: dict[str, Any] = {
        "clip": f"{name}.wav",
        "label": name,
        "start_s": 1.0,
        "end_s": 2.0,
        "similarity": 0.5,
        "audio_href": f"audio/{name}.wav",
        "picture": Figure(),
    }
    return ReportCard(**(values | changes))


def write(path: Path, **changes: Any) -> Page:
    values: dict[str, Any] = {
        "title": "Report",
        "facts": [],
        "figures": [],
        "query": make_card(similarity=None),
        "neighbours": [],
        "commands": "",
    }
    write_report(path, **(values | changes))
    return Page(path)


def written(figure: Figure, tmp_path: Path) -> list[str]:
    """The texts in the figure as the page shows it, in the order in which they are drawn."""
    picture = write(tmp_path / "figure.html", figures=[("h", "c", figure)]).pictures()[0]
    return ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def an_epoch(epoch: int, **changes: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "learning_rate": 0.001,
        "train_loss": 2.0 / epoch,
        "validation_loss": 2.5 / epoch,
        "validation_accuracy": 1 - 0.5 / epoch,
        "validation_map": 1 - 0.7 / epoch,
        "seconds": 3.0,
    } | changes


def test_training_curves_hold_the_values_of_each_epoch() -> None:
    epochs = [an_epoch(1), an_epoch(2, validation_loss=3.25), an_epoch(3, validation_map=0.125)]
    loss, score = training_curves(epochs).axes
    drawn = {line.get_label(): line for axes in (loss, score) for line in axes.get_lines()}
    keys = {
        "training": "train_loss",
        "validation": "validation_loss",
        "accuracy": "validation_accuracy",
        "mean average precision": "validation_map",
    }
    assert set(drawn) == set(keys)
    for name, key in keys.items():
        values = [epoch[key] for epoch in epochs]
        assert np.array_equal(drawn[name].get_xydata(), np.transpose([[1, 2, 3], values]))
    assert {line.get_label() for line in loss.get_lines()} == {"training", "validation"}


def test_training_curves_of_a_multi_label_run_have_no_accuracy() -> None:
    epochs = [an_epoch(1)]
    del epochs[0]["validation_accuracy"]
    score = training_curves(epochs).axes[1]
    assert [line.get_label() for line in score.get_lines()] == ["mean average precision"]


def test_training_curves_need_an_epoch() -> None:
    with pytest.raises(ValueError, match="no epochs"):
        training_curves([])


def test_confusion_matrix_writes_each_count_in_its_cell_on_the_colour_of_its_share() -> None:
    counts = np.array([[7, 1, 0], [2, 30, 8], [0, 0, 0]])
    axes = confusion_matrix(counts, ["rain", "wind", "never heard"]).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(x, y): str(counts[y, x]) for y in range(3) for x in range(3)}
    shares = np.asarray(axes.get_images()[0].get_array())
    assert np.allclose(shares, [[0.875, 0.125, 0.0], [0.05, 0.75, 0.2], [0.0, 0.0, 0.0]])


def test_confusion_matrix_says_in_words_what_is_right_and_what_most_often_wrong() -> None:
    label = confusion_matrix(np.array([[7, 1], [3, 30]]), ["rain", "wind"]).get_label()
    assert "37 of 41 right" in str(label)
    assert "wind taken for rain, 3 times" in str(label)


@pytest.mark.parametrize("classes", [2, 20, 50])
def test_confusion_matrix_names_all_classes_without_overlap(classes: int) -> None:
    labels = [f"some species {index}" for index in range(classes)]
    figure = confusion_matrix(np.eye(classes, dtype=np.int64), labels)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == labels
    assert [tick.get_text() for tick in axes.get_yticklabels()] == labels
    assert len(axes.texts) == (classes**2 if classes <= 20 else 0)
    boxes = [tick.get_window_extent() for tick in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
    # Slanted words lie apart if the columns are wider than a line of text is when cut across.
    height = boxes[0].height * np.sqrt(2)
    assert axes.bbox.width / classes >= 0.9 * height
    assert all(box.x0 >= 0 for box in boxes)


def test_confusion_matrix_refuses_counts_that_do_not_fit_the_labels() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) for 2 labels"):
        confusion_matrix(np.zeros((2, 3), dtype=np.int64), ["a", "b"])


def test_embedding_map_draws_each_class_at_its_own_points() -> None:
    points = np.random.default_rng(0).normal(size=(200, 2))
    labels = [f"class {index % 9}" for index in range(200)]
    axes = embedding_map(points, labels).axes[0]
    assert len(axes.collections) == 9
    for index, dots in enumerate(axes.collections):
        # The dots of the 9 classes, which are in the order of their names.
        assert np.array_equal(dots.get_offsets(), points[index::9])


@pytest.fixture(scope="module")
def crowded_map() -> Figure:
    points = np.random.default_rng(0).normal(size=(112, 2))
    return embedding_map(points, [f"class {index:02}" for index in range(56)] * 2)


def test_embedding_map_tells_56_classes_apart_by_colour_and_shape(crowded_map: Figure) -> None:
    dots = crowded_map.axes[0].collections
    assert len({(str(each.get_facecolor()), str(each.get_paths()[0])) for each in dots}) == 56


def test_embedding_map_names_56_classes_beside_the_points(crowded_map: Figure) -> None:
    crowded_map.draw_without_rendering()
    axes = crowded_map.axes[0]
    marks = [text.get_text() for text in axes.texts]
    assert marks == [str(number) for number in range(1, 57)]
    legend = crowded_map.legends[0]
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries == [f"{mark}  class {index:02}" for index, mark in enumerate(marks)]
    box = legend.get_window_extent()
    assert not box.overlaps(axes.bbox)
    assert crowded_map.bbox.x0 <= box.x0
    assert box.x1 <= crowded_map.bbox.x1
    assert axes.bbox.height / crowded_map.dpi > 5  # inches, however many names there are


def test_embedding_map_names_few_classes_in_place_and_in_its_legend() -> None:
    figure = embedding_map(np.eye(4, 2), ["wind", "rain", "rain", "owl"])
    texts = (figure.axes[0].texts, figure.legends[0].get_texts())
    assert [[text.get_text() for text in each] for each in texts] == [["owl", "rain", "wind"]] * 2


def test_embedding_map_marks_medians_and_keeps_crowded_names_apart() -> None:
    # All classes lie on one another but the last, which is far away and need not move.
    labels = [f"class {index:02}" for index in range(14)] * 3
    points = np.random.default_rng(0).normal(scale=0.01, size=(42, 2))
    points[13::14] += 5
    figure = embedding_map(points, labels)
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    for index, text in enumerate(texts):
        assert text.xy == pytest.approx(np.median(points[index::14], axis=0))
    assert texts[13].get_position() == pytest.approx((0, 0))
    patches = [text.get_bbox_patch() for text in texts]
    boxes = [patch.get_window_extent() for patch in patches if patch is not None]
    assert len(boxes) == 14
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(figure.axes[0].bbox.contains(box.x0, box.y0) for box in boxes)
    assert all(figure.axes[0].bbox.contains(box.x1, box.y1) for box in boxes)


def test_embedding_map_refuses_points_that_do_not_fit_the_labels() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) for 2 labels"):
        embedding_map(np.zeros((3, 2)), ["a", "b"])


def test_spectrogram_has_time_to_the_right_and_low_bands_at_the_foot() -> None:
    features = np.zeros((10, 4))
    features[9, 0] = 1.0  # the end of the lowest band
    figure = spectrogram(features, 2.5)
    assert figure.axes[0].get_xlim() == (0, 2.5)
    width, height = 280, 140
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", dpi=100)
    pixels = np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)
    light = pixels[:, :, :3].sum(axis=2)  # rows from the top
    rows, columns = np.nonzero(light == light.max())
    assert rows.min() == pytest.approx(height * 3 / 4, abs=1)
    assert rows.max() == height - 1
    assert columns.min() == pytest.approx(width * 9 / 10, abs=1)
    assert columns.max() == width - 1


def test_figures_show_names_as_they_are(tmp_path: Path) -> None:
    counts = np.eye(len(NASTY_NAMES), dtype=np.int64)
    shown = [name.replace("\x07", "\ufffd") for name in NASTY_NAMES]
    texts = written(confusion_matrix(counts, NASTY_NAMES), tmp_path)
    assert texts[: len(shown)] == shown
    texts = written(embedding_map(np.eye(len(shown), 2), NASTY_NAMES), tmp_path)
    assert [texts.count(name) for name in shown] == [2] * len(shown)  # in place and in the legend


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_report_shows_names_as_text_and_links_to_their_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "report.html"
    page = write(
        path,
        title=name,
        facts=[(f"fact {name}", f"value {name}")],
        figures=[(f"heading {name}", f"caption {name}", Figure())],
        query=make_card(f"q {name}", similarity=None),
        neighbours=[make_card(name, start_s=7203.0625, end_s=7204.5, heard=f"heard {name}")],
        commands=f"embedkit {name}\nembedkit again",
    )
    texts = [text.strip() for text in page.texts]
    for text in (name, f"fact {name}", f"value {name}", f"heading {name}", f"caption {name}"):
        assert text.strip() in texts
    assert [text for text in texts if text.startswith("heard")] == [
        "heard:", f"heard {name}".strip()
    ]  # fmt: skip
    assert texts.count(name) >= 3  # in the title of the tab, the heading and the card
    assert f"{name}.wav" in texts
    assert f"embedkit {name}\nembedkit again" in texts
    assert not {"b", "link", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert page.all("script") == [{}]  # the page's own, the only one that its policy lets run
    [script] = re.findall("<script>(.*?)</script>", path.read_text("utf-8"), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert re.findall("script-src ([^;]*)", policy) == [f"'sha256-{digest}'"]
    query, neighbour = (urlsplit(audio["src"]) for audio in page.all("audio"))
    assert unquote(query.path) == f"audio/q {name}.wav"
    assert query.fragment == "t=1.000,2.000"
    assert unquote(neighbour.path) == f"audio/{name}.wav"
    assert neighbour.fragment == "t=7203.062,7204.500"
    for link in (query, neighbour):
        assert (link.scheme, link.netloc, link.query) == ("", "", "")


def test_link_of_a_name_that_is_no_scheme_or_text(tmp_path: Path) -> None:
    # The second is how Python gives a file name whose bytes are not UTF-8.
    names = ["javascript:alert(1)", "caf\udce9.wav", "../other/a.wav"]
    page = write(
        tmp_path / "report.html",
        neighbours=[make_card(clip=name, audio_href=name) for name in names],
    )
    sources = [audio["src"].removesuffix("#t=1.000,2.000") for audio in page.all("audio")[1:]]
    assert sources == ["javascript%3Aalert%281%29", "caf%E9.wav", "../other/a.wav"]
    assert "caf?.wav" in page.texts


def test_report_loads_nothing_but_the_sounds_it_is_asked_to_play(tmp_path: Path) -> None:
    page = write(
        tmp_path / "report.html",
        figures=[("h", "c", confusion_matrix(np.eye(3, dtype=np.int64), ["a", "b", "c"]))],
        neighbours=[make_card("a")],
    )
    policies = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policies[0]["content"]
    assert all(audio["preload"] == "none" for audio in page.all("audio"))
    links = {(tag, key) for tag, attributes in page.tags for key in attributes}
    links &= set(itertools.product({tag for tag, _ in page.tags}, {"src", "href", "srcset"}))
    assert links == {("audio", "src"), ("img", "src")}
    page.pictures()  # checks that each is in the page
    assert "url(" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_describes_each_picture_and_player(tmp_path: Path) -> None:
    matrix = confusion_matrix(np.array([[7, 1], [3, 30]]), ["rain", "wind"])
    picture = spectrogram(np.zeros((4, 3)), 1.0)
    page = write(
        tmp_path / "report.html",
        figures=[("Errors", "c", matrix), ("No words", "c", Figure())],
        query=make_card("owl", start_s=3599.999, end_s=3661.25, picture=picture),
    )
    assert page.all("html") == [{"lang": "en"}]
    alts = [image["alt"] for image in page.all("img")]
    assert alts[:2] == [matrix.get_label(), "No words"]
    assert alts[2].startswith("Log-mel spectrogram of 1 s")
    assert page.all("audio")[0]["aria-label"] == "owl, owl.wav, 1:00:00.00 – 1:01:01.25"


def test_report_says_how_similar_neighbours_are(tmp_path: Path) -> None:
    neighbours = [make_card(similarity=value) for value in (0.98765, -0.25)]
    texts = write(tmp_path / "report.html", neighbours=neighbours).texts
    assert [text for text in texts if text in {"0.988", "-0.250"}] == ["0.988", "-0.250"]
    assert len([text for text in texts if text.strip() == "similarity"]) == 2


def test_equal_reports_are_equal_bytes_and_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("one.html", "two.html"):
        figures = [("Curves", "c", training_curves([an_epoch(1)]))]
        write(tmp_path / name, figures=figures)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_report_of_a_large_run_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [f"some class {index % 8}" for index in range(20_000)]
    noise = rng.normal(size=(100, 64))  # which no picture format makes smaller
    cards = [make_card(picture=spectrogram(noise, 1.0)) for _ in range(12)]
    dots = embedding_map(rng.normal(size=(20_000, 2)), labels)
    write(tmp_path / "report.html", figures=[("Map", "c", dots)], neighbours=cards)
    # The curves and the confusion matrix add at most half a megabyte, and the limit is two.
    assert (tmp_path / "report.html").stat().st_size < 1_500_000


class BrokenFigure(Figure):
    def savefig(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("no picture")


def test_report_that_fails_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="no picture"):
        write(path, neighbours=[make_card("a"), make_card("b", picture=BrokenFigure())])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_report_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write(path, title="New")
    assert "<title>New</title>" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"start_s": 2.0, "end_s": 2.0},
        {"start_s": -0.5},
        {"start_s": float("nan")},
        {"end_s": float("inf")},
        {"audio_href": ""},
        {"audio_href": "//example.org/a.wav"},
    ],
)
def test_card_refuses_what_is_no_segment_of_a_file_beside_the_page(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no segment|not a path"):
        make_card(**changes)
