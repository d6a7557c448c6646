"""Answers to queries: from the prediction cache, from an equal query under way, or made."""

import time
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from common.batcher import Gather
from common.errors import ServiceError
from inference.client import Role
from middle.cache import PredictionCache
from middle.embedder import choose_role
from middle.flights import HEAD_START_S, PREDICTION, Flight, Task, is_late
from middle.keys import normal_text, result_key
from middle.messages import Answer, Query
from middle.searcher import Made, Searcher
from middle.store import Entry
from middle.watch import ABSENT, Watch

Outcome = Literal["hit", "miss", "join", "bypass"]

_answers = msgspec.msgpack.Decoder(Answer)
_encode = msgspec.msgpack.Encoder().encode


class Served(NamedTuple):
    """An answer, how it came about, and how old it is."""

    answer: Answer
    outcome: Outcome
    age_s: float = 0.0


class Known(NamedTuple):
    """A query's key, and what its answer must be made with to be kept under it."""

    key: str
    seal: str
    digest: str


class Results:
    """Answers queries as a Searcher does, and no query twice."""

    def __init__(
        self, searcher: Searcher, cache: PredictionCache, watch: Watch, ef_search: int
    ) -> None:
        """All are started and closed by who made them."""
        self._searcher = searcher
        self._watch = watch
        self._ef_search = ef_search
        self._level = cache.level("result", read_answer)

    def answer(self, query: Query, deadline: float, *, fresh: bool) -> Served:
        """Answer a checked query, with `fresh` by no kept answer; raises a ServiceError."""
        started = time.perf_counter()
        if query.text is not None:
            query.text = normal_text(query.text)
        known = self._known(query)
        if self._level is None or known is None:
            if self._level:
                self._level.count("bypass")
            made = self._searcher.answer(query, deadline, fresh=fresh)
            return Served(made.answer, "bypass")
        if not fresh and (kept := self._level.peek(known.key)):
            return _as_own(kept, started)
        gather = Gather(1, deadline)
        task = Task(None, partial(keep_answer, known))
        if fresh:
            flight = self._level.bypass(known.key, task, gather)
            flight.begin()
            return self._lead(flight, gather, query, fresh=True)._replace(outcome="bypass")
        if flight_of_mine := self._level.join(known.key, task, gather):
            flight_of_mine.give_head_start(time.monotonic() + HEAD_START_S)
            served = self._lead(flight_of_mine, gather, query, fresh=False)
        else:
            served = self._follow(gather, query)
        return served if served.outcome == "miss" else _as_own(served, started)

    def _lead(self, flight: Flight, gather: Gather, query: Query, *, fresh: bool) -> Served:
        """The result of a flight that this thread opened: what was kept, or made here and now."""
        if not gather.is_settled():
            try:
                made: Any = self._searcher.answer(query, gather.deadline, fresh=fresh)
            except Exception as error:  # the edge of a flight: others wait for it
                made = error
            flight.settle(PREDICTION, made)
        return _served(gather.first(), "miss")

    def _follow(self, gather: Gather, query: Query) -> Served:
        """The result of another query's flight; its deadline was perhaps earlier than ours."""
        try:
            return _served(gather.first(), "join")
        except ServiceError as error:
            if not is_late(error, gather):
                raise
        return Served(self._searcher.answer(query, gather.deadline).answer, "miss")

    def _known(self, query: Query) -> Known | None:
        index = self._watch.index()
        models = self._models(query)
        if index is None or models is None:
            return None
        key = result_key(query, *index, *models, self._ef_search)
        return Known(key, index.seal, models[-1])

    def _models(self, query: Query) -> tuple[str, ...] | None:
        """The digest of what embeds a query, after that of what should have."""
        if query.text is None and query.image is None:
            return ("",)
        role: Role = "clip" if query.text is None else choose_role(query.text, query.model)
        chosen, clip = self._watch.digest(role), self._watch.digest("clip")
        if chosen is None or clip is None:
            return None
        return (chosen, clip) if chosen == ABSENT else (chosen,)


def keep_answer(known: Known, made: Any) -> bytes | None:
    """The value to keep of a result: an answer that is whole and made with what is known."""
    if not isinstance(made, Made) or made.answer.coverage.degraded:
        return None
    if made.seal != known.seal or made.digest != known.digest:
        return None
    return _encode(msgspec.structs.replace(made.answer, took_ms={}))


def read_answer(entry: Entry) -> Served:
    """The answer in an entry; raises DecodeError."""
    return Served(_answers.decode(entry.value), "hit", entry.age_s)


def _served(result: Served | Made, outcome: Outcome) -> Served:
    return result if isinstance(result, Served) else Served(result.answer, outcome)


def _as_own(served: Served, started: float) -> Served:
    """The answer for one of several that share it, with times of its own."""
    total_ms = round(1000 * (time.perf_counter() - started), 3)
    took_ms = {"embed": 0.0, "search": 0.0, "total": total_ms}
    return served._replace(answer=msgspec.structs.replace(served.answer, took_ms=took_ms))
