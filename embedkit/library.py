"""What `import embedkit` offers: the commands as functions, for programs and notebooks."""

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Channel, decode
from embedkit.audio.segments import BATCH, cut, in_batches, stack
from embedkit.config import DEFAULT_MODEL
from embedkit.errors import AudioError, EmbedkitWarning, Kind, UsageError, choices, require
from embedkit.extraction import Extraction, Settings
from embedkit.extraction import extract as run_extraction
from embedkit.extractor import Extractor
from embedkit.hearing import Band
from embedkit.runtime.installed import resolve
from embedkit.store import EmbeddingTable

if TYPE_CHECKING:
    import pandas

    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.naming import NamingClassifier
    from embedkit.field.filters import FieldFilter
    from embedkit.labels.stretches import Rule
    from embedkit.names.tagging import Tagged
    from embedkit.search.segments import Hit, SearchIndex
    from embedkit.search.words import Heard


def embed(
    path: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    dim: int | None = None,
    channel: str = "mix",
) -> NDArray[np.float32]:
    """Embed a sound file.

    If the file is damaged, what can be decoded is embedded, and an EmbedkitWarning says what is
    wrong. For many files, load an `Extractor` once, or call `extract`.

    Examples:
        >>> vectors = embedkit.embed("rooster.wav")
        >>> vectors.shape  # segments of a second, numbers
        (3, 256)

    Args:
        path: the sound file.
        model: a model folder, the description of somebody else's extractor, or a name, as
            `Extractor.load` takes it; by default embedkit's own model.
        dim: length of a vector, where the model was trained for several sizes.
        channel: `mix`, `left`, `right` or a number from 1 on.

    Returns:
        float32 [segments, D].

    Raises:
        AudioError: nothing of it can be decoded.
        ModelFolderError: there is no such model.
        UsageError: there is no such size.
    """
    extractor = Extractor.load(model, dim=dim)
    rate = extractor.sample_rate
    vectors: list[NDArray[np.float32]] = []
    damage: AudioError | None = None
    blocks = decode(Path(path), rate, Channel.parse(channel))
    try:
        for batch in in_batches(cut(blocks, extractor.segments, rate), BATCH):
            vectors.append(extractor.embed_segments(stack(batch)))
    except AudioError as error:
        damage = error
    if not vectors:
        kind = damage.kind if damage else Kind.EMPTY
        raise AudioError(kind, f"{path}: {damage or 'holds no sample'}") from damage
    if damage:
        warnings.warn(f"{path}: {damage.kind}: {damage}", EmbedkitWarning, stacklevel=2)
    return np.concatenate(vectors)


def extract(
    sounds: str | Path,
    out: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    extractor: Extractor | None = None,
    report: Callable[[Extraction], None] = lambda run: None,
    **settings: Any,
) -> Extraction:
    """Embed every sound file below a folder that the embedding folder does not have yet.

    Examples:
        >>> run = embedkit.extract("sounds", "embeddings", workers=2)
        >>> run.files, run.rows, dict(run.errors)
        (2, 5, {})

    Args:
        sounds: a folder of sounds, or one file.
        out: the embedding folder; it is made, or gone on with.
        model: a model folder, the description of somebody else's extractor, or a name, as
            `Extractor.load` takes it; by default embedkit's own model.
        extractor: a ready extractor instead of a model, such as `Extractor.of` makes of a function.
            It is called in this process, while other processes decode and write.
        report: is called with the state of the run at least twice a second.
        settings: those of `embedkit.extraction.Settings`: workers, dim, hop_s, channel, ...

    Returns:
        what the run did. Files that failed are listed in its `failures`; they raise nothing.

    Raises:
        UsageError: `sounds` does not exist or holds no audio, or there is no such setting.
        ModelFolderError: there is no such model.
        EmbeddingFolderError: `out` was made with other settings, or another run writes to it.
    """
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise UsageError(f"extract has no setting {name!r}{choices(name, known)}")
    if isinstance(settings.get("band"), str):
        settings["band"] = Band.parse(settings["band"])
    if isinstance(settings.get("channel"), str):
        settings["channel"] = Channel.parse(settings["channel"])
    made_by = resolve(Path(model)) if extractor is None else extractor.program
    return run_extraction(Path(sounds), made_by, Path(out), Settings(**settings), report)


def open(folder: str | Path) -> "Embeddings":  # noqa: A001  # embedkit.open, as gzip.open
    """Open an embedding folder.

    Examples:
        >>> table = embedkit.open("embeddings")
        >>> len(table), table.embedding_size
        (5, 256)

    Raises:
        EmbeddingFolderError: it is no embedding folder, or it is damaged.
    """
    return Embeddings.open(folder)


def classify(
    table: EmbeddingTable,
    labels: str | Path,
    *,
    method: str = "logistic",
    segments: bool = False,
    rule: "Rule | None" = None,
    label_column: str = "",
    **settings: Any,
) -> "NamingClassifier":
    """Fit a classifier on the labelled clips of an embedding folder.

    Examples:
        >>> classifier = embedkit.classify(table, labels="labels.csv", c=0.1)
        >>> [(span.clip, span.label) for span in classifier.predict(table)]
        [('crow.wav', 'bird'), ('rooster.wav', 'farm')]

    Args:
        table: an embedding folder.
        labels: a CSV or Parquet manifest with the columns path and label, and with start_s and
            end_s where labels are of stretches; a label file of another tool, or a folder of such
            files; or the word `folders`: then the first folder of a clip's path is its label.
        method: logistic, knn, plda or mlp.
        segments: fit on every segment instead of the mean of each clip. Where labels have times,
            segments are always used.
        rule: which segment has which label, where labels have times; see
            `embedkit.labels.stretches`.
        label_column: the heading of the labels, where the table has none of the known headings.
        settings: settings of the method, such as `c=0.1`.

    Returns:
        the classifier, which can be saved and can predict.

    Raises:
        DatasetError: the labels cannot be read, or are too few.
        UsageError: there is no such method, or it has no such setting.
    """
    from embedkit.classifiers.classifier import find_method
    from embedkit.classifiers.naming import NamingClassifier
    from embedkit.labels.join import Unit, join_labels

    unit = Unit.SEGMENT if segments else Unit.CLIP
    data = join_labels(table, str(labels), unit, rule=rule, label_column=label_column)
    rows = np.arange(len(data.clips))
    chosen = find_method(method, **settings)
    return NamingClassifier.fit(data, rows, chosen, fingerprint=table.provenance.fingerprint)


class Embeddings(EmbeddingTable):
    """An embedding folder that can be searched; `embedkit.open` opens one.

    Examples:
        >>> for hit in table.search("rooster.wav", top=10):
        ...     print(hit.clip)
        crow.wav
    """

    def search(
        self,
        sound: str | Path,
        *,
        top: int = 10,
        segments: bool = False,
        among: "FieldFilter | None" = None,
        longer: float | None = None,
        shorter: float | None = None,
        **choice: Any,
    ) -> "list[Hit]":
        """Find what sounds most alike; `search_text` finds what words stand for.

        Args:
            sound: a clip of the collection, which is left out of the results, or a file. Both may
                have a span of seconds, as in `long.wav@12.5-14`.
            top: the number of results.
            segments: find every segment, not the best one of each clip.
            among: take only what was recorded at some time or place; see `recorded`.
            longer: take only clips that last at least this many seconds.
            shorter: take only clips that last at most this many seconds.
            choice: which results are kept, as `embedkit.search.choice.Choice` says: per_clip,
                per_folder, distinct, threshold, farthest.

        Returns:
            the results, the most similar first.

        Raises:
            UsageError: there is neither such a clip nor such a file, or no clip lasts that long.
            AudioError: the file cannot be decoded.
            EmbeddingFolderError: the model that made the folder is not there.
        """
        from embedkit.search.choice import Choice, lasting
        from embedkit.search.queries import Queries

        queries = Queries(self)
        name = str(sound)
        every = self._index.segments
        fits = None if among is None else among.fits(every.names, every.owner, every.start_s)
        [hits] = self._index.search(
            queries.vector(name)[None],
            top,
            without=[{queries.clip(name)}],
            among=lasting(self, every, longer, shorter, fits),
            choice=Choice.of(segments=segments, **choice),
        )
        return hits

    def recorded(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        hours: str | None = None,
        sites: Collection[str] = (),
    ) -> "FieldFilter":
        """Select what was recorded at some time or place, as `embedkit describe` has noted it.

        `notes` has when and where each clip was recorded.

        Examples:
            >>> dawn = table.recorded(hours="4-9")
            >>> table.search("rooster.wav", among=dawn)  # nobody has described this folder
            []

        Args:
            after: the first moment: `2023-05-01`, `2023-05-01T04:30` by the clocks of each site, or
                `2023-05-01T04:30Z`.
            before: the moment from which on nothing is taken, written in the same way.
            hours: hours of the day by the clocks of each site, such as `4-9` or `22-4`.
            sites: the sites to take; by default all.

        Returns:
            the filter, for `search(among=...)`.

        Raises:
            UsageError: a time or an hour cannot be read, or there is no such site.
        """
        from embedkit.field.filters import FieldFilter
        from embedkit.field.recordings import Recordings

        return FieldFilter.parse(
            Recordings(self), after=after, before=before, hours=hours, sites=sites
        )

    def search_text(
        self,
        text: str,
        *,
        top: int = 10,
        segments: bool = False,
        classifier: "Classifier | None" = None,
        **choice: Any,
    ) -> "list[Heard]":
        """Find where what some words stand for is heard most surely.

        Examples:
            >>> [hit] = table.search_text("dog barking", top=1)
            >>> hit.name
            'Bark'

        Args:
            text: words for a sound, or for several at once: `rain and thunder`.
            top: the number of results.
            segments: find every segment, not the best one of each clip.
            classifier: the words are looked up in its labels; by default in the names that the
                folder's model brings.
            choice: as for `search`; its similarities are scores here.

        Returns:
            the results, the surest first.

        Raises:
            UsageError: a word leads to no name; the message says which names are near.
            EmbedkitError: the model is not there or brings no names, or the classifier was fitted
                on other vectors.
        """
        from embedkit.names.bundled import load_names
        from embedkit.names.vocabulary import Vocabulary
        from embedkit.search.choice import Choice
        from embedkit.search.words import find_heard

        namer = classifier or load_names(self)
        meaning = Vocabulary(namer.labels).find(text)
        [hits] = find_heard(
            self, namer, [meaning], top, choice=Choice.of(segments=segments, **choice)
        )
        return hits

    def tags(
        self,
        *,
        stretches: bool = False,
        top: int = 3,
        least: float = 0.2,
        classifier: "Classifier | None" = None,
    ) -> "list[Tagged]":
        """The most likely names of each clip.

        Examples:
            >>> for clip in table.tags(least=0):
            ...     print(clip.clip, len(clip.spans))
            crow.wav 3
            rooster.wav 3

        Args:
            stretches: name the stretches of each clip, not the whole.
            top: the most names of a clip, or of a segment.
            least: the probability that a name must have.
            classifier: its labels are the names; by default those that the folder's model brings.

        Returns:
            one entry for each clip; clips without a likely name have no spans.

        Raises:
            EmbedkitError: the model is not there or brings no names, or the classifier was fitted
                on other vectors.
        """
        from embedkit.names.bundled import load_names
        from embedkit.names.tagging import tag_clips, tag_stretches

        tag = tag_stretches if stretches else tag_clips
        tagged = tag(self, classifier or load_names(self), top=top, least=least)
        return sorted(tagged, key=lambda clip: clip.clip)

    def to_pandas(self) -> "pandas.DataFrame":
        """All rows: clip, segment, start_s, end_s and embedding (needs pandas).

        Examples:
            >>> table.to_pandas().columns.tolist()
            ['clip', 'segment', 'start_s', 'end_s', 'embedding']

        Raises:
            UsageError: pandas is not installed.
        """
        pandas = require("pandas", "pandas")
        rows = self.rows()
        columns: Mapping[str, Any] = {
            "clip": rows.clips,
            "segment": rows.segments,
            "start_s": rows.start_s,
            "end_s": rows.end_s,
            "embedding": list(rows.embeddings),
        }
        return pandas.DataFrame(columns)

    @cached_property
    def _index(self) -> "SearchIndex":
        from embedkit.search.segments import SearchIndex

        return SearchIndex(self)
