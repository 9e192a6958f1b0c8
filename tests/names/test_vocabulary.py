"""Words to names: over the whole ontology, over a part of it, and over labels of one's own."""

from itertools import permutations

import numpy as np
import pytest

from embedkit.errors import UsageError
from embedkit.names.meaning import How, Match, Meaning
from embedkit.names.ontology import children, synonyms
from embedkit.names.vocabulary import Vocabulary

EVERY = list(children())
# As in AudioSet's labels, there are none for "Human voice", "Natural sounds" and "Oboe".
SOME = [
    "Speech", "Male speech, man speaking", "Laughter", "Animal", "Dog", "Bark", "Cat", "Hiss",
    "Chicken, rooster", "Wind instrument, woodwind instrument", "Flute", "Rain", "Raindrop",
    "Thunder", "Wind", "Waves, surf", "Bicycle", "Police car (siren)", "Lawn mower",
    "Walk, footsteps", "Electric guitar", "Electric piano", "Musical instrument",
    "Dishes, pots, and pans",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(SOME)


def below(name: str) -> set[str]:
    return {name}.union(*(below(child) for child in children()[name]))


def test_every_name_of_the_ontology_stands_for_itself_and_what_is_below_it() -> None:
    every = Vocabulary(EVERY)
    for name in EVERY:
        for text in (name, f" {name.upper()} "):
            [match] = every.find(text).matches
            assert (match.found, match.how) == ((name,), How.EXACT)
            assert set(match.names) == below(name)
            assert len(match.names) == len(set(match.names))


def test_every_synonym_stands_for_its_names() -> None:
    every = Vocabulary([name for name in EVERY if name != "Howl (wind)"])  # else that is exact
    for phrase, names in synonyms().items():
        assert set(names) <= set(EVERY), phrase
        [match] = every.find(phrase).matches
        assert (set(match.found), match.how) == (set(names), How.SYNONYM), phrase
        assert set(match.names) == set().union(*map(below, names)) - {"Howl (wind)"}, phrase


@pytest.mark.parametrize(
    ("text", "how", "found", "names"),
    [
        ("bark", "exact", "Bark", "Bark"),
        ("barking", "exact", "Bark", "Bark"),
        ("barks", "exact", "Bark", "Bark"),
        ("the sound of thunder", "exact", "Thunder", "Thunder"),
        ("lawnmower", "exact", "Lawn mower", "Lawn mower"),
        ("dogs", "exact", "Dog", "Dog/Bark"),
        ("rooster", "alternative", "Chicken, rooster", "Chicken, rooster"),
        ("surf", "alternative", "Waves, surf", "Waves, surf"),
        ("pans", "alternative", "Dishes, pots, and pans", "Dishes, pots, and pans"),
        ("police car", "alternative", "Police car (siren)", "Police car (siren)"),
        ("ocean", "ontology", "Ocean", "Waves, surf"),
        ("bike", "synonym", "Bicycle", "Bicycle"),
        ("footstep", "alternative", "Walk, footsteps", "Walk, footsteps"),
        ("talking", "synonym", "Speech", "Speech/Male speech, man speaking"),
        ("lightning", "synonym", "Thunder/Thunderstorm", "Thunder"),
        ("human voice", "ontology", "Human voice", "Speech/Male speech, man speaking/Laughter"),
        ("animal", "exact", "Animal", "Animal/Dog/Bark/Cat/Hiss/Chicken, rooster"),
        ("police siren", "part", "Police car (siren)", "Police car (siren)"),
        ("electric", "part", "Electric guitar/Electric piano", "Electric guitar/Electric piano"),
        ("thuner", "spelling", "Thunder", "Thunder"),
        ("flute", "exact", "Flute", "Flute"),
        ("woodwind instrumnet", "spelling", "Wind instrument, woodwind instrument",
         "Wind instrument, woodwind instrument/Flute"),
    ],
)  # fmt: skip
def test_words_stand_for_names(
    vocabulary: Vocabulary, text: str, how: str, found: str, names: str
) -> None:
    [match] = vocabulary.find(text).matches
    assert (match.how, match.found) == (how, tuple(found.split("/")))
    assert set(match.names) == set(names.split("/"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dog barking", "Bark"),
        ("cat hissing", "Hiss"),
        ("electric instrument", "Electric guitar/Electric piano"),
        ("animal dog bark", "Bark"),
        ("man speaking", "Male speech, man speaking"),
    ],
)
def test_words_of_one_sound_narrow_each_other_in_any_order(
    vocabulary: Vocabulary, text: str, names: str
) -> None:
    for order in permutations(text.split()):
        [match] = vocabulary.find(" ".join(order)).matches
        assert set(match.names) == set(names.split("/"))


@pytest.mark.parametrize(
    "text", ["rain and thunder", "rain, thunder", "Rain & a thunder", "rains with a thunder"]
)
def test_several_sounds_are_asked_for_at_once(vocabulary: Vocabulary, text: str) -> None:
    meaning = vocabulary.find(text)
    assert [match.names for match in meaning.matches] == [("Rain", "Raindrop"), ("Thunder",)]
    assert str(meaning) == "Rain (and 1 below) + Thunder"
    # A name may hold what joins sounds elsewhere; what is said twice counts once.
    assert len(vocabulary.find("dishes, pots, and pans").matches) == 1
    assert len(vocabulary.find("bark and bark").matches) == 1


@pytest.mark.parametrize("text", ["barks or the thunder", "bark/thunder", "Bark or thuner"])
def test_any_of_some_sounds_is_asked_for(vocabulary: Vocabulary, text: str) -> None:
    assert [match.names for match in vocabulary.find(text).matches] == [("Bark", "Thunder")]
    both = vocabulary.find(f"{text} and rain")
    assert [match.names for match in both.matches] == [("Bark", "Thunder"), ("Rain", "Raindrop")]
    with pytest.raises(
        UsageError, match=r"'cat speech' is Cat .* on both sides of `or` stands one"
    ):
        vocabulary.find(f"{text} or cat speech")


def test_a_word_without_a_name_says_what_is_near(vocabulary: Vocabulary) -> None:
    with pytest.raises(UsageError, match=r"^no name for 'thunk'; near: thunder$"):
        vocabulary.find("thunk")
    with pytest.raises(UsageError, match=r"^no name for 'loud'; "):
        vocabulary.find("loud dog")
    # The ontology knows it: what is above it is the nearest.
    with pytest.raises(UsageError, match=r"^no name for 'oboe'; near: Wind instrument, woodwind"):
        vocabulary.find("oboe")
    with pytest.raises(UsageError, match="there are: Speech; Male speech, man speaking; Laughter;"):
        vocabulary.find("zzzzzzzz")
    for text in ("", " ", "?!"):
        with pytest.raises(UsageError, match="no words; expected those of a sound"):
            vocabulary.find(text)


def test_labels_of_ones_own_are_asked_for_by_what_they_are() -> None:
    own = Vocabulary(["crying_baby", "dog", "rooster", "sea_waves", "machine 7", "über"])
    asked = {
        "crying baby": ("crying_baby",), "babies cry": ("crying_baby",),
        "Baby cry": ("crying_baby",),
        "animal": ("dog", "rooster"), "puppy": ("dog",), "chicken": ("rooster",),
        "SEA_WAVES": ("sea_waves",), "waves": ("sea_waves",), "7": ("machine 7",),
        "Über": ("über",),
        "human sounds": ("crying_baby",),
    }  # fmt: skip
    for text, names in asked.items():
        [match] = own.find(text).matches
        assert match.names == names, text
    with pytest.raises(UsageError, match="no name for 'gavotte'; there are: crying_baby; dog; "):
        own.find("gavotte")
    # A word of the ontology is no misspelling of another one.
    with pytest.raises(UsageError, match="no name for 'booing'"):
        Vocabulary(["Boing"]).find("booing")


def test_scores_are_the_surest_names_and_the_geometric_mean_of_sounds() -> None:
    labels = ("a", "b", "c")
    one = Match("x", How.EXACT, ("a",), ("a", "c"))
    other = Match("y", How.EXACT, ("b",), ("b",))
    probabilities = np.array([[0.1, 0.5, 0.4], [0.9, 0.0, 0.2], [0.3, 0.3, 0.3]], np.float32)
    single = Meaning(labels, (one,))
    np.testing.assert_allclose(single.scores(probabilities), [0.4, 0.9, 0.3], rtol=1e-6)
    assert single.names(probabilities) == ["c", "a", "a"]
    both = Meaning(labels, (one, other))
    scores = both.scores(probabilities)
    np.testing.assert_allclose(scores[[0, 2]], [np.sqrt(0.4 * 0.5), 0.3], rtol=1e-6)
    assert scores[1] < 1e-5  # what is surely not there is not made up for
    assert both.names(probabilities) == ["c + b", "a + b", "a + b"]


def test_a_word_as_it_is_written_comes_before_what_it_is_a_form_of() -> None:
    labels = ("Crow", "Caw", "Chicken, rooster", "Crowing, cock-a-doodle-doo")
    vocabulary = Vocabulary(labels)
    assert vocabulary.find("crowing").matches[0].names == ("Crowing, cock-a-doodle-doo",)
    assert vocabulary.find("rooster crowing").matches[0].names == ("Crowing, cock-a-doodle-doo",)
    assert vocabulary.find("crows").matches[0].names == ("Crow", "Caw")
