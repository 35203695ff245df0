"""How operators, editors and tools change files. Each change ends with the wanted text, or changes no content."""

from __future__ import annotations

import mmap
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.watched_files import STANZAS

SAVES = 1000
BURST = 500


def remove_tree(path: Path) -> None:
    """Removes a directory in one step: a process that adds a file meanwhile would find it, or keep it from being removed."""
    aside = path.with_name(f"{path.name}.removed")
    path.rename(aside)
    shutil.rmtree(aside)


class Place(NamedTuple):
    """A directory `etc` under `root`, with the stanza file `conf`; `text` is the wanted text after the change."""

    root: Path
    text: str

    @property
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def conf(self) -> Path:
        return self.etc / "sched.conf"


Step = Callable[[Place], None]


@dataclass(frozen=True)
class Change:
    """A change: how to prepare the files, how to change them, and how many new generations that gives."""

    name: str
    change: Step
    prepare: Step
    generations: int = 1


def plain(place: Place) -> None:
    place.etc.mkdir()
    place.conf.write_text(STANZAS)


CHANGES: list[Change] = []


def change(prepare: Step = plain, generations: int = 1) -> Callable[[Step], Step]:
    """Adds a change to the list."""

    def register(step: Step) -> Step:
        CHANGES.append(Change(step.__name__, step, prepare, generations))
        return step

    return register


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def write_slowly(path: Path, text: str) -> None:
    with path.open("w") as file:
        for start in range(0, len(text), 7):
            file.write(text[start : start + 7])
            file.flush()


@change()
def rename_over(place: Place) -> None:
    aside = place.etc / ".sched.conf.new"
    aside.write_text(place.text)
    aside.rename(place.conf)


@change()
def moved_in_from_elsewhere(place: Place) -> None:
    aside = place.root / "sched.conf"
    aside.write_text(place.text)
    aside.rename(place.conf)


@change()
def truncate_and_slow_write(place: Place) -> None:
    write_slowly(place.conf, place.text)


@change()
def written_through_memory(place: Place) -> None:
    """Writes through a memory mapping, which no event reports."""
    with place.conf.open("r+b") as file:
        file.truncate(len(place.text))
        with mmap.mmap(file.fileno(), len(place.text)) as memory:
            memory[:] = place.text.encode()


@change()
def deleted_and_recreated(place: Place) -> None:
    place.conf.unlink()
    place.conf.write_text(place.text)


@change()
def hard_link(place: Place) -> None:
    aside = place.root / "aside"
    aside.write_text(place.text)
    place.conf.unlink()
    place.conf.hardlink_to(aside)


@change()
def sed_in_place(place: Place) -> None:
    value = place.text.split()[2]
    run("sed", "-i", f"s/86400/{value}/", place.conf)


def _vim(place: Place, backup: str) -> None:
    vim = shutil.which("vim") or shutil.which("vim.tiny")
    if vim is None:
        pytest.skip("vim is not installed")
    value = place.text.split()[2]
    run(vim, "-N", "-u", "NONE", "-e", "-s", "-c", f"set {backup}", "-c", f"%s/86400/{value}/", "-c", "wq", place.conf)


@change()
def vim_as_it_comes(place: Place) -> None:
    _vim(place, "nocompatible")


@change()
def vim_renaming(place: Place) -> None:
    _vim(place, "writebackup backupcopy=no")


@change()
def vim_in_place(place: Place) -> None:
    _vim(place, "writebackup backupcopy=yes")


@change(generations=0)
def touch(place: Place) -> None:
    run("touch", place.conf)
    place.conf.chmod(0o640)


@change(generations=0)
def the_same_text_again(place: Place) -> None:
    place.conf.write_text(STANZAS)


@change(generations=0)
def open_for_writing_and_nothing_written(place: Place) -> None:
    with place.conf.open("r+"):
        pass


def _config_map(place: Place) -> None:
    """The layout of a ConfigMap that Kubernetes mounts."""
    version = place.etc / "..2026_01"
    version.mkdir(parents=True)
    (version / "sched.conf").write_text(STANZAS)
    (place.etc / "..data").symlink_to(version.name)
    place.conf.symlink_to("..data/sched.conf")


def _swap_config_map(place: Place, text: str) -> None:
    version = place.etc / "..2026_02"
    version.mkdir()
    (version / "sched.conf").write_text(text)
    (place.etc / "..data_tmp").symlink_to(version.name)
    (place.etc / "..data_tmp").rename(place.etc / "..data")
    shutil.rmtree(place.etc / "..2026_01")


@change(_config_map)
def kubernetes_swap(place: Place) -> None:
    _swap_config_map(place, place.text)


@change(_config_map, generations=0)
def kubernetes_swap_to_the_same(place: Place) -> None:
    _swap_config_map(place, STANZAS)


@change()
def directory_deleted_and_recreated(place: Place) -> None:
    shutil.rmtree(place.etc)
    place.etc.mkdir()
    place.conf.write_text(place.text)


@change(generations=0)
def directory_renamed_away_and_back(place: Place) -> None:
    place.etc.rename(place.root / "away")
    (place.root / "away").rename(place.etc)


@change()
def directory_renamed_away_edited_and_back(place: Place) -> None:
    away = place.root / "away"
    place.etc.rename(away)
    (away / "sched.conf").write_text(place.text)
    away.rename(place.etc)


@change()
def directory_put_in_place_of_another(place: Place) -> None:
    new = place.root / "new"
    new.mkdir()
    (new / "sched.conf").write_text(place.text)
    place.etc.rename(place.root / "old")
    new.rename(place.etc)


def _releases(place: Place) -> None:
    """Two releases, of which the first is current."""
    for number, text in (("1", STANZAS), ("2", place.text)):
        release = place.root / "releases" / number
        release.mkdir(parents=True)
        (release / "sched.conf").write_text(text)
    place.etc.symlink_to("releases/1")


@change(_releases)
def symlinked_directory(place: Place) -> None:
    (place.root / "next").symlink_to("releases/2")
    (place.root / "next").rename(place.etc)


@change(_releases)
def edited_behind_a_symlinked_directory(place: Place) -> None:
    (place.root / "releases" / "1" / "sched.conf").write_text(place.text)


def _chain(place: Place) -> None:
    """etc/sched.conf -> deep/one/link -> deep/two/link -> three/real."""
    for name in ("deep/one", "deep/two", "deep/elsewhere", "three", "etc"):
        (place.root / name).mkdir(parents=True)
    (place.root / "three" / "real").write_text(STANZAS)
    (place.root / "deep" / "two" / "link").symlink_to("../../three/real")
    (place.root / "deep" / "one" / "link").symlink_to(place.root / "deep" / "two" / "link")
    place.conf.symlink_to("../deep/one/link")


@change(_chain)
def link_in_the_middle_of_a_chain(place: Place) -> None:
    (place.root / "deep" / "elsewhere" / "other").write_text(place.text)
    links = place.root / "deep" / "two"
    (links / "next").symlink_to("../elsewhere/other")
    (links / "next").rename(links / "link")


@change(_chain)
def file_at_the_end_of_a_chain(place: Place) -> None:
    (place.root / "three" / "real").write_text(place.text)


def _included(place: Place) -> None:
    plain(place)
    (place.etc / "conf.d").mkdir()
    (place.etc / "conf.d" / "10.conf").write_text("From_Ten = 1\n")
    place.conf.write_text(STANZAS + 'include "conf.d"\n')


@change(_included)
def file_added_to_an_included_directory(place: Place) -> None:
    (place.etc / "conf.d" / "20.conf").write_text(place.text.splitlines()[0] + "\n")


def _included_two(place: Place) -> None:
    _included(place)
    (place.etc / "conf.d" / "20.conf").write_text("From_Twenty = 1\n")
    value = place.text.splitlines()[0]
    (place.etc / "conf.d" / "10.conf").write_text(f"{value}\n")
    (place.etc / "conf.d" / "30.conf").write_text("Message_Expiration = 86400\n")


@change(_included_two)
def file_removed_from_an_included_directory(place: Place) -> None:
    """The value of an earlier file applies again."""
    (place.etc / "conf.d" / "30.conf").unlink()


@change(_included, generations=0)
def work_in_progress_in_an_included_directory(place: Place) -> None:
    (place.etc / "conf.d" / ".20.conf.swp").write_text("not { a stanza\n")


def _included_link(place: Place) -> None:
    plain(place)
    for name in ("shared", "elsewhere", "links"):
        (place.root / name).mkdir()
    (place.root / "shared" / "real.conf").write_text("Message_Expiration = 86400\n")
    (place.root / "links" / "link.conf").symlink_to("../shared/real.conf")
    (place.etc / "more.conf").symlink_to("../links/link.conf")
    place.conf.write_text(STANZAS + 'include "more.conf"\n')


@change(_included_link)
def included_link_to_a_link(place: Place) -> None:
    (place.root / "elsewhere" / "next.conf").write_text(place.text.splitlines()[0] + "\n")
    (place.root / "links" / "next").symlink_to("../elsewhere/next.conf")
    (place.root / "links" / "next").rename(place.root / "links" / "link.conf")


@change(_included)
def burst(place: Place) -> None:
    for number in range(BURST):
        (place.etc / "conf.d" / f"{number:04d}.conf").write_text(f"Option_{number} = {number}\n")
    (place.etc / "conf.d" / "last.conf").write_text(place.text.splitlines()[0] + "\n")


@change()
def many_saves(place: Place) -> None:
    """In place and by renaming in turn. All texts have one length. Most writes share a tick of the kernel's clock."""
    for number in range(SAVES):
        text = place.text if number == SAVES - 1 else STANZAS.replace("86400", f"{number % 10:0{len('86400')}d}")
        if number % 2:
            place.conf.write_text(text)
        else:
            (place.etc / "next").write_text(text)
            (place.etc / "next").rename(place.conf)
