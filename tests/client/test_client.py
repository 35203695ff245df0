"""The client library against a real daemon: both twins, paging, resuming, and what they raise."""

from __future__ import annotations

import asyncio
import inspect
import os
import pydoc
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schedappliance import client as library
from schedappliance.client import (
    AsyncClient,
    Client,
    Gap,
    NewRun,
    NotAuthorized,
    PausedJob,
    Rejected,
    RunDetails,
    RunEvent,
    TimedOut,
    Unavailable,
    questions,
)
from schedappliance.client.questions import CommandLike
from schedappliance.clock import SystemClock
from tests.support.daemon import STANZAS, Daemon, begin
from tests.support.waiting import PATIENCE_SECONDS, eventually

DECLARED = 'job "nightly" { every = 1d  command = "run hello" }\n'
ARGUMENTS = 'program "echo" { argv = ( "/bin/echo" ) args = ( ".*" ".*" ) }\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("client")
    daemon = Daemon(root, STANZAS % (root / "etc") + DECLARED + ARGUMENTS).start()
    yield daemon
    daemon.end()


@pytest.fixture
def sched(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.socket_path, spool=daemon.var / "spool", timeout=PATIENCE_SECONDS) as sched:
        yield sched


def test_jobs_are_made_shown_and_deleted(sched: Client) -> None:
    now = datetime.fromtimestamp(SystemClock().moment().wall / 1000, UTC)
    tomorrow = now + timedelta(days=1)
    jobs = [
        sched.every("15m", "run hello"),
        sched.every(timedelta(minutes=15), ["run", "echo", "a b", '"']),
        sched.in_(900, "run hello"),
        sched.at(tomorrow, "run hello"),
        sched.cron("TZ=UTC 30 2 * * *", "run hello"),
        sched.calendar("02:30 UTC", "run hello"),
    ]
    assert all(now < job.next_run <= tomorrow + timedelta(days=1) for job in jobs)
    assert sched.show(jobs[1]).command == 'run echo "a b" "\\""'
    listed = {job.id: job for job in sched.jobs(find="run hello")}
    assert listed[jobs[3].id].next_run == tomorrow.replace(microsecond=tomorrow.microsecond // 1000 * 1000)
    assert sched.next(jobs[0], 2).next[0].due_ms == jobs[0].next_run_ms
    assert sched.why(jobs[0]).state == "waiting"
    for job in jobs:
        sched.delete(job)
    with pytest.raises(Rejected) as rejected:
        sched.delete(jobs[0])
    assert rejected.value.diagnostics[0].code == "E501"


def test_a_program_runs_and_its_end_is_awaited(sched: Client) -> None:
    run = sched.run("echo", "a  b", "'\"\\", wait=True)
    assert (run.state, run.exit_status, run.output, run.succeeded) == ("succeeded", 0, "a  b '\"\\\n", True)
    assert sched.output(run) == run.output == "".join(sched.follow(run))
    new = sched.run("sleep", "600")
    with pytest.raises(TimedOut):
        sched.wait(new, timeout=0.01)
    sched.stop(new)
    ended = sched.wait(new)
    assert ended.state == "cancelled" and not ended.succeeded


def test_the_history_and_the_list_are_paged(sched: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PAGE", 2)
    runs = [sched.run("hello", wait=True).run for _ in range(5)]
    assert [run.run for run in sched.history(limit=5)] == runs[::-1]
    assert [run.run for run in sched.history(runs[0].rpartition("/")[0])] == runs[:1]
    assert {run.state for run in sched.history(state=["succeeded"], since=timedelta(hours=1))} == {"succeeded"}
    jobs = [sched.in_(1000 + number, "version").id for number in range(5)]
    assert [job.id for job in sched.jobs(find="version")] == jobs
    rows = sched.jobs(find="version")
    first = [next(rows), next(rows)]
    # The job at the end of a page is gone before the next page is asked for.
    sched.delete(first[1])
    assert [job.id for job in (*first, *rows)] == jobs
    assert len(list(sched.jobs(find="version", limit=3))) == 3
    for job in {*jobs} - {first[1].id}:
        sched.delete(job)


def test_pause_hold_and_the_state_of_the_appliance(sched: Client) -> None:
    paused = sched.pause("nightly")
    assert isinstance(paused, PausedJob) and paused.paused and not paused.was_paused
    resumed = sched.resume("nightly*")
    assert not isinstance(resumed, PausedJob) and resumed.jobs == ("nightly",)
    held = sched.hold("a 'new' disk", duration="1h")
    assert (held.held.reason, held.held.ends) == ("a 'new' disk", held.held.since + timedelta(hours=1))
    waiting = sched.run("hello")
    assert waiting.state == "queued"
    assert sched.health().held == held.held
    assert sched.release().was == held.held
    assert sched.wait(waiting).succeeded
    assert isinstance(sched.run_now("nightly"), NewRun)
    assert sched.summary().ready
    assert sched.version() == sched.command("version")["version"]
    assert sched.command(["config", "get", "message_expiration"])["value"] == "86400"


def test_errors_say_what_is_wrong(sched: Client, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="program `helo` is not declared") as rejected:
        sched.run("helo")
    assert not isinstance(rejected.value, NotAuthorized)
    (mistake,) = rejected.value.diagnostics
    assert (mistake.column, mistake.end_column) == (5, 9), "in the line without `json`"
    with pytest.raises(Rejected, match="program `--wait` is not declared"):
        sched.run("--wait", "hello")
    with pytest.raises(Unavailable, match="no appliance answers") as unavailable:
        Client(tmp_path / "none.sock").version()
    assert not unavailable.value.unanswered
    with pytest.raises(Unavailable, match=r"no appliance file|cannot read"):
        Client(config=tmp_path / "none.yaml").version()
    with pytest.raises(ValueError, match="no time zone"):
        sched.at(datetime(2030, 1, 1), "run hello")


def test_a_job_is_no_run_and_a_run_is_no_job(sched: Client) -> None:
    run = sched.run("hello", wait=True).run
    for question in (sched.show, sched.why):
        with pytest.raises(ValueError, match=f"^`{run}` is a run; use "):
            question(run)
    with pytest.raises(ValueError, match=r"^`nightly` is a job; use `show`$"):
        sched.show_run("nightly")
    assert sched.show("nightly").name == "nightly"


@pytest.mark.parametrize("line", ["watch", " JSON  Watch 5", ["watch"], ["json", "watch"]])
def test_a_command_that_sends_events_is_refused(sched: Client, line: CommandLike) -> None:
    with pytest.raises(ValueError, match="iterate over the method `watch`"):
        sched.command(line)
    assert all(sched.run("hello", wait=True).succeeded for _ in range(2))


def test_drops(sched: Client) -> None:
    name = sched.submit(["sched in 1d run hello", ["run", "echo", "a b", "c"]], token="deploy-7")
    result = sched.result(name, timeout=PATIENCE_SECONDS)
    again = sched.result(sched.submit(["sched in 1d run hello", ["run", "echo", "a b", "c"]], token="deploy-7"))
    assert again.results == result.results and str(again.repeats).endswith(name)
    with pytest.raises(Rejected, match="helo"):
        sched.result(sched.submit(["run helo"]))
    wrong: list[list[CommandLike]] = [
        ["version\nshutdown"],
        ["version\r"],
        [["run", "a\n"]],
        ["# no command"],
        [" "],
        [],
    ]
    for lines in wrong:
        with pytest.raises(ValueError):
            sched.submit(lines)
    with pytest.raises(ValueError, match="token"):
        sched.submit(["version"], token="a b")
    with pytest.raises(TimedOut):
        sched.result("not-dropped", timeout=0)
    sched.delete(str(result.results[0].output))


def test_threads_and_a_fork_share_a_client(sched: Client) -> None:
    outputs: list[str | None] = []
    threads = [
        threading.Thread(target=lambda n=n: outputs.append(sched.run("echo", f"{n}", "x", wait=True).output))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert sorted(map(str, outputs)) == [f"{n} x\n" for n in range(4)]
    version = sched.version()
    child = os.fork()
    if child == 0:
        os._exit(0 if all(sched.version() == version for _ in range(100)) else 1)
    assert all(sched.version() == version for _ in range(100))
    assert os.waitpid(child, 0)[1] == 0


def test_the_asynchronous_twin(daemon: Daemon) -> None:
    async def conversation() -> None:
        async with AsyncClient(daemon.socket_path, spool=daemon.var / "spool", timeout=PATIENCE_SECONDS) as sched:
            watched = sched.watch()
            slow = asyncio.create_task(sched.run("sleep", "0", wait=True))
            outputs = await asyncio.gather(*(sched.run("echo", str(n), "x", wait=True) for n in range(4)))
            assert [run.output for run in outputs] == [f"{n} x\n" for n in range(4)]
            assert (await slow).succeeded
            assert await sched.output(outputs[0]) == "0 x\n"
            assert "".join([text async for text in sched.follow(outputs[0])]) == "0 x\n"
            assert len([run async for run in sched.history(limit=3)]) == 3
            event = asyncio.ensure_future(anext(watched))
            new = await sched.in_(1000, "version")
            name = await sched.submit(["sched list"])
            assert (await sched.result(name, timeout=PATIENCE_SECONDS)).accepted
            while not event.done():
                await sched.command("config set a 1")
            assert (await event).seq > 0
            await sched.delete(new)
            with pytest.raises(Rejected):
                await sched.delete(new)
            with pytest.raises(TimedOut):
                await sched.result("not-dropped", timeout=0.01)
            # A task that is cancelled in the middle of a question leaves no answer for the next one.
            endless = await sched.run("sleep", "600")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await sched.command(["sched", "wait", endless.run])
            await sched.stop(endless)
            assert (await sched.health()).live

    asyncio.run(asyncio.wait_for(conversation(), PATIENCE_SECONDS))


def test_watch_goes_on_after_a_restart(daemon: Daemon) -> None:
    with Client(daemon.socket_path, timeout=PATIENCE_SECONDS) as sched:
        version = sched.version()
        events = sched.watch()
        threading.Thread(target=lambda: sched.run("hello", wait=True)).start()
        while not (isinstance(event := next(events), RunEvent) and event.state == "succeeded"):
            pass
        after = event.seq
        daemon.stop()
        with pytest.raises(Unavailable):
            sched.version()
        daemon.start()
        while not isinstance(event := next(events), Gap):
            pass
        assert event.seq > after
        # A connection that has ended while it was idle is opened again.
        assert sched.version() == version
        assert list(sched.watch(timeout=0.01)) == []


def test_waits_go_on_after_a_restart(daemon: Daemon) -> None:
    """Those of the library, and those of the command line, which ended with 69."""
    config, endpoint = str(daemon.etc / "appliance.yaml"), daemon.socket_path
    drop = daemon.root / "sleeps.cmd"
    drop.write_text("run sleep 600\n")
    words = (["run", "--wait", "sleep", "600"], ["submit", "--wait-runs", str(drop)])

    def wait(run: NewRun) -> RunDetails:
        async def waits() -> RunDetails:
            async with AsyncClient(endpoint) as sched:
                return await sched.wait(run)

        return asyncio.run(waits())

    with Client(endpoint, timeout=PATIENCE_SECONDS) as sched, ThreadPoolExecutor(2) as threads, ExitStack() as stack:
        run = sched.run("sleep", "600")
        waits = [threads.submit(sched.wait, run), threads.submit(wait, run)]
        waiting = []
        for word, *rest in words:
            waiting.append(stack.enter_context(begin(word, "--config", config, *rest)))
            stack.callback(waiting[-1].kill)
        # This client, two that wait in it, two connections of `run --wait`, and one of `submit`.
        eventually(lambda: clients_of(sched) >= 6, "the waits")
        daemon.kill()
        daemon.start()
        for one in sched.history(state="started"):
            sched.stop(one)
        assert [one.result(PATIENCE_SECONDS).state for one in waits] == ["cancelled"] * 2
        assert {process.wait(PATIENCE_SECONDS) for process in waiting} <= {1, 128 + signal.SIGTERM}


def clients_of(sched: Client) -> float:
    """How many clients the console has."""
    families = {family["name"]: family["samples"] for family in sched.command("metrics")["families"]}
    (((_labels, value),),) = (families["console_clients"],)
    return float(value)


def test_a_wait_without_an_appliance_ends() -> None:
    waiting = questions.Wait("example.com-000000001/1", None, 0)
    with pytest.raises(Unavailable):
        waiting.pause_after(Unavailable("no appliance answers"), 1)
    lost = Unavailable("the connection is lost", unanswered=True)
    assert waiting.pause_after(lost, 10) == questions.AGAIN_S
    assert waiting.pause_after(Unavailable("no appliance answers"), 60) == questions.AGAIN_S
    with pytest.raises(Unavailable):
        waiting.pause_after(Unavailable("no appliance answers"), 71)
    limited = questions.Wait("example.com-000000001/1", 5, 0)
    assert limited.question(2).request.endswith(" timeout 3.000")
    with pytest.raises(TimedOut):
        limited.pause_after(lost, 6)


def test_the_twins_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        public = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
        return {
            name: list(inspect.signature(value).parameters.values()).__repr__().split()
            for name, value in public.items()
        }

    assert methods(Client) == methods(AsyncClient)


def test_the_help_of_python_describes_the_package() -> None:
    text = pydoc.plain(pydoc.render_doc(library))
    assert "sched.every" in text
    for name in ("Client", "AsyncClient", "Gap", "Rejected", "RunDetails"):
        assert f"class {name}" in text
    assert text.count("Schedules a command every `period`") == 2
