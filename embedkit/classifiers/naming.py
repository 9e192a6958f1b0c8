"""A classifier that names what is in an embedding folder, for programs."""

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.evaluate import predict
from embedkit.classifiers.tracks import Span, best
from embedkit.labels.join import Unit
from embedkit.store import EmbeddingTable


class NamingClassifier(Classifier):
    """The classifier that `embedkit.classify` gives; it is saved and loaded like any other."""

    def predict(self, table: EmbeddingTable, *, segments: bool = False) -> list[Span]:
        """The best label of each clip, or segment, of an embedding folder.

        Args:
            table: the embedding folder.
            segments: name every segment, not each clip as a whole.

        Returns:
            one span for each, by clip and time; for whole clips the times are 0.

        Raises:
            EmbedkitError: its vectors are of another extractor, or of another size.
        """
        batches = predict(table, self, Unit.SEGMENT if segments else Unit.CLIP)
        return sorted(span for batch in batches for span in best(batch, self.labels))
