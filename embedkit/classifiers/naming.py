"""A classifier that names what is in an embedding folder, for programs."""

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.evaluate import predict
from embedkit.classifiers.tracks import Span, best
from embedkit.labels.join import Unit
from embedkit.store import EmbeddingTable


class NamingClassifier(Classifier):
    """What `embedkit.classify` gives; it is fitted, saved and loaded as every classifier."""

    def predict(self, table: EmbeddingTable, *, segments: bool = False) -> list[Span]:
        """The best label of each clip, or segment, of an embedding folder.

        Args:
            table: the embedding folder.
            segments: name every segment, not each clip as a whole.

        Returns:
            by clip and time; of whole clips the times are 0.

        Raises:
            EmbedkitError: its vectors are of another extractor, or size.
        """
        batches = predict(table, self, Unit.SEGMENT if segments else Unit.CLIP)
        return sorted(span for batch in batches for span in best(batch, self.labels))
