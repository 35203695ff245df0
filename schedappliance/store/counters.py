"""The counters of `metrics` that survive a restart. Rule: a counter grows in the transaction that stores what it counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping

from schedappliance.engine.metrics import CounterKey
from schedappliance.store.database import Table

_ENDED_RUNS = "ended_runs"


class Counters(Table):
    file = "counters"

    def all(self) -> dict[CounterKey, int]:
        rows = self._database.rows(self._sql["counters"])
        return {(name, tuple(json.loads(labels))): value for name, labels, value in rows}

    def add(self, numbers: Mapping[CounterKey, int]) -> None:
        """Adds to counters."""
        for (name, labels), number in numbers.items():
            self._database.execute(self._sql["add_to_counter"], (name, json.dumps(labels), number))

    def delete(self, key: CounterKey) -> None:
        self._database.execute(self._sql["delete_counter"], (key[0], json.dumps(key[1])))

    def count_end(self, job: int, state: str) -> None:
        """Counts a run of a declared job that has ended."""
        self._database.batch.add(_ENDED_RUNS, self._sql["count_end"], (job, state))

    def ended_runs(self, jobs: Collection[int]) -> dict[int, Counter[str]]:
        """How many runs of each of these jobs ended in each state."""
        ended: dict[int, Counter[str]] = {job: Counter() for job in jobs}
        for job, state, number in (
            self._database.rows(self._sql["ended_runs"], (json.dumps(list(jobs)),)) if jobs else ()
        ):
            ended[job][state] = number
        return ended

    def forget_job(self, job: int) -> None:
        """Removes what is counted of a job that is not declared any more."""
        self._database.batch.add(_ENDED_RUNS, self._sql["forget_job"], (job,))
