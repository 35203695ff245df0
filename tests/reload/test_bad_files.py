"""Every bad file of the golden set: programs run on, jobs keep their times, the mistake is reported, the repair accepted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from schedappliance.model.loading import load
from tests.reload.conftest import Watch
from tests.support.golden_files import FOLDER
from tests.support.watched_files import LONG, STANZAS, stanzas


def _bad_stanzas() -> list[Path]:
    """The stanza files of the golden set that are rejected by themselves."""
    paths = [*FOLDER.glob("E*.conf"), *FOLDER.glob("E*/*.conf")]
    return sorted(path for path in paths if not load(path).accepted)


BAD = _bad_stanzas()


def test_the_bad_files_are_found() -> None:
    assert len(BAD) >= 20
    assert {path.stem for path in FOLDER.glob("E*.conf")} <= {path.stem for path in BAD}


@pytest.mark.parametrize("bad", BAD, ids=[str(path.relative_to(FOLDER)) for path in BAD])
def test_a_bad_file_changes_nothing_and_its_repair_is_accepted(tmp_path: Path, watch: Watch, bad: Path) -> None:
    conf = tmp_path / "sched.conf"
    conf.write_text(STANZAS)
    watched = watch(conf)
    watched.say("sched in 600 run hello")
    jobs, shown = watched.say("sched list"), watched.say("config showrecurse")
    # The files that it includes.
    for other in bad.parent.glob("*.conf") if bad.parent != FOLDER else []:
        shutil.copy(other, tmp_path)
    shutil.copy(bad, conf)
    mistakes = {(d.code, d.message) for d in load(conf).diagnostics}
    watched.pass_time(LONG)
    attempt = watched.status()["last_attempt"]
    assert (watched.generation(), attempt["outcome"]) == (1, "rejected")
    assert {(d["code"], d["message"]) for d in attempt["diagnostics"]} == mistakes
    assert all(f"{code} {message}" in watched.say("config status") for code, message in mistakes)
    assert "error: the stanza files are rejected; the running configuration stays active" in watched.logged
    assert (watched.say("sched list"), watched.say("config showrecurse")) == (jobs, shown)
    conf.write_text(stanzas(3600))
    watched.pass_time(LONG)
    assert (watched.generation(), watched.outcome(), watched.value()) == (2, "accepted", 3600)
    assert watched.say("sched list") == jobs
