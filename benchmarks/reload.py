"""How long a reload of many stanzas takes, and how long the console waits during it."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.appliances import Place, Session, lay_out, serving, until
from benchmarks.language import lark_stanzas, write_stanzas
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report

TITLE = "reload"
TYPED, UNCHANGED, BY_EVENT = (f"{OURS}, {how}" for how in ("`config reload`", "nothing changed", "by file event"))
WAITED, LARK = f"{OURS}, the console waits meanwhile", "Lark alone"
CHANGING = 'program "changing" {{ argv = ( "/bin/true" ) timeout = {} }}\n'
SCHED = 'sched { backing_store = "../var/sched.db" }\n'


def replace(place: Place, text: str) -> None:
    """Replaces the file as editors do: writes a new file and renames it."""
    aside = place.stanzas.with_name(".aside")
    aside.write_text(text)
    aside.replace(place.stanzas)


def reload(session: Session) -> float:
    """Milliseconds until the answer `OK`. Its other lines say what changed."""
    began = perf_counter()
    answer = session.ask("config reload")
    assert answer == "OK\n", answer
    return (perf_counter() - began) * 1000


class Waiting:
    """A second client that asks all the time. It measures its longest wait, in ms."""

    def __init__(self, place: Place) -> None:
        self._session, self._ended = Session(place), threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.wait(0.002):
            began = perf_counter()
            assert self._session.ask("pid").strip().isdigit()
            self.longest = max(self.longest, (perf_counter() - began) * 1000)

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        self._session.close()
        return self.longest


def typed(place: Place) -> float:
    with closing(Session(place)) as session:
        return reload(session)


def by_event(place: Place, text: str) -> float:
    """Milliseconds from the rename to the log message of the new generation, including the quiet window."""
    mark = place.log.stat().st_size
    replace(place, text)
    began = perf_counter()
    until(lambda: b" is active" in place.log.read_bytes()[mark:])
    return (perf_counter() - began) * 1000


def run(scale: Scale, folder: Path) -> Report:
    sites, rounds = scale.pick(5000, 1000, 10), scale.pick(5, 2, 1)
    report = Report(TITLE, f"{sites * 2:,} stanzas, of which one changed; from the command to its answer")
    text = SCHED + write_stanzas(folder, sites).read_text()
    place = lay_out(folder / "ours", text)
    milliseconds: dict[str, list[float]] = {name: [] for name in (UNCHANGED, TYPED, WAITED, BY_EVENT, LARK)}
    with serving(place):
        for number in range(rounds):
            milliseconds[BY_EVENT].append(by_event(place, text + CHANGING.format(1 + 2 * number)))
            milliseconds[UNCHANGED].append(typed(place))
            # The typed reload comes before the event, which would otherwise read the same files at once.
            replace(place, text + CHANGING.format(2 + 2 * number))
            waiting = Waiting(place)
            milliseconds[TYPED].append(typed(place))
            milliseconds[WAITED].append(waiting.end())
            milliseconds[LARK].append(lark_stanzas(place.stanzas) * 1000)
    report.add(milliseconds, "ms")
    times = median(milliseconds[TYPED]) / median(milliseconds[LARK])
    report.workload += f"; {times:.1f} times Lark alone"
    report.drawn = (TYPED, WAITED, LARK)
    return report
