"""What a line of the campaign found, and how it tries what may take its process with it."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

PATIENCE = 60.0  # seconds that one case may take on a machine that does other work
SHOWN = 3  # of what went wrong


class Case(NamedTuple):
    """What became of one case.

    Attributes:
        became: in a word, to be counted.
        wrong: what is wrong with that; empty: nothing.
    """

    became: str
    wrong: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What became of a line.

    Attributes:
        tried: what was done, in words.
        times: how often.
        became: how often what came of it.
        wrong: what was lost or went wrong.
    """

    tried: str
    times: int = 0
    became: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case, name: object = "") -> None:
        """Count a case."""
        self.times += 1
        self.became[case.became] += 1
        if case.wrong:
            self.wrong.append(f"{name}: {case.wrong}")

    def check(self, right: bool, name: object, wrong: str, became: str = "whole") -> None:
        """Count a case that is right, or wrong in these words."""
        self.add(Case(became) if right else Case("wrong", wrong), name)


def survey(tried: str, work: Callable[[Any], Case], cases: Sequence[Any]) -> Outcome:
    """Try cases in another process; one that crashes or hangs is wrong, and the rest goes on."""
    outcome = Outcome(tried=tried)
    for case, result in zip(cases, _survived(work, cases), strict=True):
        outcome.add(result, case)
    return outcome


def _survived(work: Callable[[Any], Case], cases: Sequence[Any]) -> Iterator[Case]:
    context = multiprocessing.get_context("spawn")
    done = 0
    while done < len(cases):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_try_all, args=(work, cases[done:], theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            while done < len(cases):
                if not ours.poll(PATIENCE):
                    process.kill()
                    yield Case("hung", f"nothing came of it in {PATIENCE:g} s")
                    done += 1
                    break
                yield ours.recv()
                done += 1
        except EOFError:
            process.join()
            code = process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            yield Case("crashed", f"took its process with it: {how}")
            done += 1
        process.join()


def _try_all(work: Callable[[Any], Case], cases: Sequence[Any], to: Connection) -> None:
    for case in cases:
        try:
            result = work(case)
        except Exception as error:
            result = Case("wrong", f"{type(error).__name__}: {error}")
        to.send(result)
