"""How fast jobs are accepted, each durable: through the console and the spool, compared with raw SQLite and peers.

`python -m benchmarks.acceptance COUNT` profiles a daemon that sixteen clients talk to.
"""

from __future__ import annotations

import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter, time_ns

from benchmarks import peers
from benchmarks.appliances import APPLIANCE_FILE, NODE, STANZAS, Place, Session, lay_out, reading, serving, until
from benchmarks.daemon import top
from benchmarks.limits import RAW, raw_accept
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report
from schedappliance.edge.console.unix_socket import connect

TITLE = "jobs accepted"
CLIENTS = 16
SIXTEEN, MANY, SPOOL = (f"{OURS}, {what}" for what in ("16 clients", "many lines at once", "spool"))
AT = "at -t, a process each"
SHARE_OF_RAW = {OURS: 0.37, SIXTEEN: 1.9, MANY: 2.8}
LINES_OF_A_DROP = 100
PROFILED = 20_000
SPOOLING = APPLIANCE_FILE + "spool: { path: ../var/spool }\n"

Talk = Callable[[Place, int], None]


def line(number: int) -> str:
    return f"sched in {3600 + number} config set message_expiration {number}"


def one_client(place: Place, count: int) -> None:
    """One connection that waits for each answer."""
    with closing(Session(place)) as session:
        for number in range(count):
            answer = session.ask(line(number))
            assert answer.startswith(f"{NODE}-"), answer


def many_clients(place: Place, count: int) -> None:
    """Sixteen connections, each waiting for its answer; driven by one thread, so that the clients cost little."""
    selector, left = selectors.DefaultSelector(), count

    def say(connection: socket.socket) -> None:
        nonlocal left
        left -= 1
        connection.sendall(f"{line(left)}\n".encode())

    for _ in range(min(CLIENTS, count)):
        connection = connect(place.socket)
        selector.register(connection, selectors.EVENT_READ)
        say(connection)
    while selector.get_map():
        for key, _ in selector.select():
            connection = key.fileobj  # type: ignore[assignment]
            answer = connection.recv(4096)
            assert answer.startswith(NODE.encode()) and answer.endswith(b"\n"), answer
            if left:
                say(connection)
            else:
                selector.unregister(connection)
                connection.close()


def many_lines(place: Place, count: int) -> None:
    """One connection that sends all of its lines before it reads."""
    with closing(connect(place.socket)) as connection:
        sent = "".join(f"{line(number)}\n" for number in range(count)).encode()
        answers, view = 0, memoryview(sent)
        connection.setblocking(False)
        selector = selectors.DefaultSelector()
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while answers < count:
            for key, events in selector.select():
                assert key.fileobj is connection
                if events & selectors.EVENT_WRITE and view:
                    view = view[connection.send(view[:65536]) :]
                    if not view:
                        selector.modify(connection, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    answers += connection.recv(1 << 16).count(b"\n")


def drops(place: Place, count: int) -> None:
    """Files of a hundred lines, all at once."""
    spool, files = place.root / "var" / "spool", max(1, count // LINES_OF_A_DROP)
    for number in range(files):
        aside = spool / "tmp" / f"{number}"
        lines = (line(number * LINES_OF_A_DROP + n) for n in range(count // files))
        aside.write_text("".join(f"{one}\n" for one in lines))
        aside.rename(spool / "new" / f"{number}.cmd")
    until(lambda: len(list((spool / "done").glob("*.result"))) == files)


def daemon(folder: Path, count: int, talk: Talk, options: Sequence[str] = ()) -> float:
    """Jobs a second, as seen by the clients."""
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "ours", STANZAS, SPOOLING)
    with serving(place, daemon=options), reading(place) as number:
        began = perf_counter()
        talk(place, count)
        seconds = perf_counter() - began
        assert number("SELECT count(*) FROM jobs") == count
    return count / seconds


def raw(folder: Path, count: int) -> float:
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "raw")
    with serving(place):
        pass
    return raw_accept(place.store, count, time_ns() // 1_000_000)


def peer(name: str, count: int, folder: Path) -> float | None:
    rates = peers.ask(name, "accept", count, folder)
    return rates[0] if rates else None


def no_at() -> str | None:
    """Why `at` cannot be measured. The check leaves no job behind."""
    if shutil.which("at") is None or shutil.which("atrm") is None:
        return f"{AT}: no `at` here"
    done = subprocess.run(["at", "-l"], capture_output=True, text=True, check=False)
    return f"{AT}: {done.stderr.strip()}" if done.returncode else None


def at(count: int) -> float | None:
    """Jobs of a far year that `at` accepts a second. They are removed again."""
    if no_at():
        return None
    known = _at_jobs()
    try:
        began = perf_counter()
        for _ in range(count):
            subprocess.run(["at", "-t", "203701010000"], input=b"true\n", stderr=subprocess.DEVNULL, check=True)
        return count / (perf_counter() - began)
    finally:
        if added := _at_jobs() - known:
            subprocess.run(["atrm", *sorted(added)], check=True)


def _at_jobs() -> set[str]:
    return {row.split()[0] for row in subprocess.check_output(["at", "-l"], text=True).splitlines()}


def run(scale: Scale, folder: Path) -> Report:
    count, few = scale.pick(10_000, 2000, 40), scale.pick(2000, 300, 20)
    workload = f"{count:,} lines `sched in …`, a commit before each answer; {few:,} for one client and for peers"
    report = Report(TITLE, workload, drawn=(OURS, SIXTEEN, MANY, SPOOL, RAW, *peers.MODULES, AT))
    ways: dict[str, Way] = {
        OURS: partial(daemon, folder, few, one_client),
        SIXTEEN: partial(daemon, folder, count, many_clients),
        MANY: partial(daemon, folder, count, many_lines),
        SPOOL: partial(daemon, folder, count, drops),
        RAW: partial(raw, folder, few),
        **{name: partial(peer, name, few, folder) for name in peers.MODULES},
        AT: partial(at, min(few, 200)),
    }
    report.add(by_turns(ways, scale.pick(5, 2, 1)), "jobs/s")
    report.absent += filter(None, [*map(peers.absent, peers.MODULES), no_at()])
    for name, share in SHARE_OF_RAW.items():
        what = "one client" if name == OURS else name
        report.check_ratio(f"{what}, beside raw SQLite with a commit each", name, RAW, share)
    return report


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PROFILED
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        file = Path(name) / "profile"
        rate = daemon(Path(name), count, many_clients, ("--profile", str(file)))
        print(f"{rate:,.0f} jobs/s while profiled, all threads")
        top(file)


if __name__ == "__main__":
    main()
