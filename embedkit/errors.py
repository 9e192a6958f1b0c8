"""Everything that embedkit raises on purpose.

EmbedkitError                  a message for a person: what was found, expected, and what to do
├── UsageError                 arguments that contradict each other or name nothing
├── DatasetError               a labelled collection that cannot be read or split
├── ModelFolderError           a model folder that cannot be read or does not fit
├── EmbeddingFolderError       an embedding folder that cannot be read, mixed or resumed
└── AudioError                 one audio file; `kind` says what is wrong with it

EmbedkitWarning is the category of embedkit's warnings.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from importlib import import_module
from types import ModuleType


class EmbedkitError(Exception):
    """Base of all errors that embedkit raises on purpose."""


class UsageError(EmbedkitError):
    """Arguments that contradict each other or name nothing that exists."""


class DatasetError(EmbedkitError):
    """A labelled collection that cannot be read, joined or split as asked."""


class ModelFolderError(EmbedkitError):
    """A model folder that is not one, is damaged, or does not fit its use."""


class EmbeddingFolderError(EmbedkitError):
    """An embedding folder that is not one, is damaged, locked, or made with other settings."""


class EmbedkitWarning(UserWarning):
    """Something that the reader of the results should know."""


class Kind(StrEnum):
    """What is wrong with an audio file, as a word that a program can act on."""

    CRASHED = "crashed"  # the decoder took its process with it
    EMPTY = "empty"  # it opens as audio and holds no sample, or has no byte
    GAPS = "gaps"  # pieces are missing midway; silence stands for them
    NO_AUDIO = "no-audio"  # a container without a sound track
    NO_BAND = "no-band"  # its sample rate is too low for the band asked for
    NO_CHANNEL = "no-channel"  # the channel asked for does not exist, or not to the end
    NO_TRACK = "no-track"  # the sound track asked for does not exist
    NON_FINITE = "non-finite"  # NaN or infinite samples
    NOT_A_FILE = "not-a-file"  # a pipe, socket, device or folder named like audio
    TIMEOUT = "timeout"  # the decoder hung
    TRUNCATED = "truncated"  # ends before its end
    UNREADABLE = "unreadable"  # missing, forbidden, or no decoder knows it


class AudioError(EmbedkitError):
    """An audio file that gives no samples, or no more samples.

    Attributes:
        kind: what is wrong, for programs; the message is for people.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(kind, message)  # both, so that another process can make it anew
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


def choices(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: it names the nearest known one, or all of them.

    Args:
        name: the unknown name.
        known: the names that exist.

    Returns:
        the text to add to the message.
    """
    there = list(dict.fromkeys(map(str, known)))
    near = get_close_matches(name, there, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(there)}"


def words(error: Exception) -> str:
    """The system's reason for an error with a file, for a person."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


# What brings a module that the base installation does not have.
EXTRAS = {
    "onnx": "train",
    "onnxscript": "train",
    "torch": "train",
    "torchaudio": "train",
}


def missing(module: str, extra: str) -> UsageError:
    """The error for a module of an extra that is not installed.

    Args:
        module: name of the module.
        extra: name of the extra that brings it.

    Returns:
        the error; its message says how to install the extra.
    """
    return UsageError(
        f"this needs {module}, which is not installed: pip install 'embedkit[{extra}]'"
    )


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra of the installation brings.

    Args:
        module: name of the module.
        extra: name of the extra that brings it.

    Returns:
        the module.

    Raises:
        UsageError: it is not installed, or numba finds no place for what it compiles; the message
            says what to do.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing(str(error.name), extra) from error
    except RuntimeError as error:
        if "no locator" not in str(error):
            raise
        # Beside the library it may not write, nor into the user's cache.
        raise UsageError(
            f"{module} keeps compiled code, and neither its own folder nor the user's cache can be"
            " written: NUMBA_CACHE_DIR names another folder"
        ) from error
