"""Problems of ownership and permissions.

A user who can write the files of an appliance can run anything as its user. Rule: it decides from the facts alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, as_argument, counted, path_diagnostic
from schedappliance.doctor.facts import ConsoleSocket, Credentials, Executable, Facts, Folder, Needs, Reached, Step
from schedappliance.doctor.mounts import mount_of
from schedappliance.edge.programs.keeper_files import SOCKET
from schedappliance.edge.spool.folders import UNMOUNT
from schedappliance.kinds import other_kind, unusable_kind
from schedappliance.lockfile import MODE

READ, WRITE, ENTER = 4, 2, 1
# What a user wants to do with the file at the end of a way.
_VERBS = {ENTER: "execute", READ: "read", ENTER | READ: "read and execute"}
ROOT = 0
# The types of the file systems in which the kernel shows itself.
OF_THE_KERNEL = frozenset(
    (
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "efivarfs",
        "proc",
        "pstore",
        "securityfs",
        "sysfs",
        "tracefs",
    )
)


def access_mistakes(facts: Facts) -> Iterator[Diagnostic]:
    yield from _written_by_others(facts)
    yield from _owned_by_others(facts)
    for executable in facts.needs.executables:
        yield from _executable(facts, executable)
    yield from closed_to_programs(facts.needs, facts.names)
    yield from _closed_files(facts)
    yield from _closed_places(facts)
    yield from _read_only_places(facts)
    yield from _immutable(facts)
    yield from _open_store(facts)
    yield from _open_locks(facts)
    yield from _keeper_files(facts)
    yield from _open_spool(facts)
    yield from _closed_to_members(facts)
    yield from _open_socket(facts)


def _name(facts: Facts, uid: int) -> str:
    return _name_in(facts.names, uid)


def _name_in(names: Mapping[int, str], uid: int) -> str:
    return f"`{names.get(uid, f'uid-{uid}')}`"


def may(user: Credentials, step: Step, bits: int) -> bool:
    """Decides as the kernel does. An access control list is not read, so it is assumed to allow everything."""
    if user.uid == ROOT or step.acl:
        return True
    shift = 6 if user.uid == step.uid else 3 if step.gid in user.gids else 0
    return (step.mode >> shift) & bits == bits


def _homes(facts: Facts) -> list[tuple[Step, ...]]:
    """The existing ways to the directories in which the appliance creates files."""
    files = (facts.store, facts.console and facts.console.way)
    return [way.directories for way in files if way] + ([facts.spool.steps] if facts.spool else [])


def _trusted(facts: Facts) -> frozenset[int]:
    """The trusted users. The owner of the root directory can do everything; in a namespace it may be an unknown user."""
    return frozenset({ROOT, facts.user.uid, facts.files[0].steps[0].uid})


def _written_by_others(facts: Facts) -> Iterator[Diagnostic]:
    """Files that others can write. In a sticky directory others cannot replace files, but they can add files."""
    for way in facts.files:
        if way.exists and (classes := _writers(way.last, facts, facts.user)):
            yield _writable(way.named, way.last, classes, facts, facts.user)
    open_to_new = {way.last.path for way in facts.listed}
    open_to_new |= {home[-1].path for home in _homes(facts)}
    ways = [way.steps for way in (*facts.files, *facts.listed)] + _homes(facts)
    for step in {step.path: step for steps in ways for step in steps if step.is_directory}.values():
        classes = _writers(step, facts, facts.user)
        if classes and (not step.is_sticky or step.path in open_to_new):
            yield _writable(step.path, step, classes, facts, facts.user)


def _writers(step: Step, facts: Facts, user: Credentials) -> str:
    """The classes (`g`, `o`) whose mode lets users write other than the owner, the appliance's user and `user`."""
    others = facts.members.get(step.gid, frozenset()) - {ROOT, facts.user.uid, user.uid, step.uid}
    group = "g" if step.mode & stat.S_IWGRP and others else ""
    return group + ("o" if step.mode & stat.S_IWOTH else "")


def _writable(path: Path, step: Step, classes: str, facts: Facts, user: Credentials) -> Diagnostic:
    who = "everybody" if "o" in classes else f"group `{facts.groups.get(step.gid, step.gid)}`"
    message = f"{who} can write here, and can therefore run anything as {_name(facts, user.uid)}"
    if step.is_directory and step.is_sticky:
        return path_diagnostic("E606", path, message, "use a directory of the appliance's own")
    return path_diagnostic("E606", path, message, f"`chmod {classes}-w {as_argument(path)}`")


def _owned_by_others(facts: Facts) -> Iterator[Diagnostic]:
    trusted, user = _trusted(facts), _name(facts, facts.user.uid)
    ways = (*facts.files, *facts.listed)
    shown = {way.last.path: way.named for way in ways if way.exists}
    steps = [step for steps in (*(way.steps for way in ways), *_homes(facts)) for step in steps]
    steps += [folder.step for folder in facts.folders]
    for step in {step.path: step for step in steps}.values():
        if step.uid not in trusted:
            path = shown.get(step.path, step.path)
            message = f"it belongs to {_name(facts, step.uid)}, who can therefore run anything as {user}"
            yield path_diagnostic(
                "W607",
                path,
                message,
                f"`chown {user.strip('`')} {as_argument(path)}`, or run the appliance as its owner",
            )


def _executable(facts: Facts, executable: Executable) -> Iterator[Diagnostic]:
    """Executables that others can change or replace: they can run anything as the user of the program."""
    way, user = executable.way, executable.user
    for step in way.steps:
        classes = _writers(step, facts, user)
        if classes and not (step.is_directory and step.is_sticky):
            yield _writable(step.path, step, classes, facts, user)
        if step.uid not in _trusted(facts) | {user.uid}:
            owner, runner = _name(facts, step.uid), _name(facts, user.uid)
            message = f"it belongs to {owner}, who can therefore run anything as {runner}"
            yield path_diagnostic(
                "W607",
                step.path,
                message,
                f"`chown root {as_argument(step.path)}`, or let the program run as its owner",
            )


def closed_to_programs(needs: Needs, names: Mapping[int, str]) -> Iterator[Diagnostic]:
    """What a program needs at its start and its user cannot reach, one finding for each path and user.

    A script must also be readable for its interpreter. About some executables the linter has asked the kernel.
    """
    closed: dict[tuple[Step, int, str, bool], list[str]] = {}
    for one in (*(_as_reached(file) for file in needs.executables if not file.is_checked), *needs.reached):
        if step := _first_barrier(one):
            verb = "enter" if step.is_directory else _VERBS[one.bits]
            closed.setdefault((step, one.user.uid, verb, one.by_appliance), []).append(one.program)
    for (step, uid, verb, by_appliance), programs in closed.items():
        whose = _some_programs(list(dict.fromkeys(programs)))
        message = f"{_name_in(names, uid)}, the user of {whose}, cannot {verb} it"
        remedy = "change its permissions, or `user` of the program"
        if by_appliance:
            message = (
                f"{_name_in(names, uid)}, the user of the appliance, cannot {verb} it for the `env_file` of {whose}"
            )
            remedy = "change its owner or its permissions, or use another file"
        yield path_diagnostic("E608", step.path, f"{message}; {_owner(names, step)}", remedy)


def _as_reached(executable: Executable) -> Reached:
    bits = ENTER | READ if executable.is_script else ENTER
    return Reached(executable.program, executable.way, executable.user, bits)


def _first_barrier(one: Reached) -> Step | None:
    """The first step of a way that its user may not pass. Behind a closed directory, the way may end too early."""
    for step in one.way.steps:
        bits = one.bits if step is one.way.last and one.way.exists else ENTER
        if not may(one.user, step, bits):
            return step
    return None


def _some_programs(names: Sequence[str]) -> str:
    """The first of many programs, with their number."""
    first = f"program `{names[0]}`"
    return first if len(names) == 1 else f"{first} and {counted(len(names) - 1, 'other')}"


def _closed_files(facts: Facts) -> Iterator[Diagnostic]:
    for way, needed in [(way, READ) for way in facts.files] + [(way, READ | ENTER) for way in facts.listed]:
        if way.exists and (closed := _first_closed(facts, way.steps[:-1], way.last, needed)):
            yield closed


def _closed_places(facts: Facts) -> Iterator[Diagnostic]:
    for home in [*_homes(facts), *([facts.log_home.steps] if facts.log_home else [])]:
        if closed := _first_closed(facts, home[:-1], home[-1], WRITE | ENTER):
            yield closed
    if facts.store and facts.store.exists and not may(facts.user, facts.store.last, READ | WRITE):
        yield _closed(facts, facts.store.last, READ | WRITE)
    for step in (*facts.store_files, *facts.locks, *facts.keeper_files):
        bits = READ | WRITE | ENTER if step.is_directory else READ | WRITE
        if (not facts.store or step.path != facts.store.last.path) and not may(facts.user, step, bits):
            yield _closed(facts, step, bits)
    if facts.log and not may(facts.user, facts.log, WRITE):
        yield _closed(facts, facts.log, WRITE)
    for folder in facts.folders:
        if not may(facts.user, folder.step, READ | WRITE | ENTER):
            yield _closed(facts, folder.step, READ | WRITE | ENTER)


def _read_only_places(facts: Facts) -> Iterator[Diagnostic]:
    """The places where the appliance writes on a file system that is read-only or takes no files, one for each mount.

    Modes do not show that.
    """
    steps = [home[-1] for home in _homes(facts)] + [*facts.keeper_files]
    steps += [facts.log] if facts.log else [facts.log_home.last] if facts.log_home else []
    # A store that cannot be opened is a finding of its own.
    refused = facts.store.directories[-1] if facts.store and facts.store_refusal else None
    seen: set[Path] = set()
    for step in steps:
        mount = mount_of(step.path, facts.mounts)
        if step == refused or mount is None or mount.point in seen:
            continue
        if mount.type in OF_THE_KERNEL:
            seen.add(mount.point)
            message = f"its file system ({mount.type}) is one of the kernel, and takes no other files"
            yield path_diagnostic("E608", step.path, message, "name a path on another file system")
        elif mount.is_read_only:
            seen.add(mount.point)
            message = f"its file system is read-only ({mount.type}, {mount.source} on {mount.point})"
            remedy = "make it writable; if an error of the disk made it read-only, the log of the kernel names it"
            yield path_diagnostic("E608", step.path, message, remedy)


def _immutable(facts: Facts) -> Iterator[Diagnostic]:
    for step in facts.immutable:
        message = "nobody can write it, although its owner and mode allow that: it may be immutable"
        path = as_argument(step.path)
        yield path_diagnostic(
            "E608", step.path, message, f"`lsattr -d {path}` shows that; `chattr -i {path}` changes it"
        )


def _first_closed(facts: Facts, before: Iterable[Step], last: Step, needed: int) -> Diagnostic | None:
    for step, bits in [*((step, ENTER) for step in before), (last, needed)]:
        if not may(facts.user, step, bits):
            return _closed(facts, step, bits)
    return None


def _closed(facts: Facts, step: Step, bits: int) -> Diagnostic:
    verbs = {READ: "read", WRITE: "write", ENTER: "enter"}
    missing = " and ".join(verb for bit, verb in verbs.items() if bits & bit and not may(facts.user, step, bit))
    user = _name(facts, facts.user.uid)
    message = f"{user}, the user of the appliance, cannot {missing} it; {_owner(facts.names, step)}"
    return path_diagnostic("E608", step.path, message, f"change its owner or its permissions for {user}")


def _owner(names: Mapping[int, str], step: Step) -> str:
    return f"it belongs to {_name_in(names, step.uid)} and has mode {_mode(step)}"


def _mode(step: Step) -> str:
    return f"{stat.S_IMODE(step.mode):04o}"


def _open_store(facts: Facts) -> Iterator[Diagnostic]:
    for step in facts.store_files:
        is_output = step.path.suffix == ".output"
        # Another kind of file beside the store is a finding of its own.
        has_its_kind = step.is_directory if is_output else not other_kind(step.mode)
        if is_output and not has_its_kind:
            message = "it is a link or not a directory: no program can start"
            yield path_diagnostic("E616", step.path, message, "move it away: the appliance creates the directory again")
        elif is_output and step.uid != facts.user.uid and may(facts.user, step, READ | WRITE | ENTER):
            owner = _name(facts, facts.user.uid)
            message = f"it belongs to {_name(facts, step.uid)}, and not to {owner}, the user of the appliance: no program can start"
            remedy = f"`chown {owner.strip('`')} {as_argument(step.path)}`, or move it away"
            yield path_diagnostic("E616", step.path, message, remedy)
        elif has_its_kind and step.mode & (stat.S_IRWXG | stat.S_IRWXO) and not facts.store_refusal:
            wanted = "0700" if step.is_directory else "0600"
            message = f"its mode is {_mode(step)}, not {wanted}: others can read commands and outputs"
            yield path_diagnostic("W609", step.path, message, f"`chmod {wanted} {as_argument(step.path)}`")


def _open_locks(facts: Facts) -> Iterator[Diagnostic]:
    for step in facts.locks:
        if unusable := unusable_kind(step.path, step.mode):
            yield path_diagnostic("E616", step.path, unusable.message, unusable.help)
        elif step.mode & (stat.S_IRWXG | stat.S_IRWXO):
            message = (
                f"its mode is {_mode(step)}, not {MODE:04o}: others may lock it, and the appliance cannot start then"
            )
            yield path_diagnostic("W609", step.path, message, "restart the appliance: it makes its lock files again")


def _keeper_files(facts: Facts) -> Iterator[Diagnostic]:
    for step in facts.keeper_files:
        is_socket = step.path.name == SOCKET
        if not (stat.S_ISSOCK if is_socket else stat.S_ISREG)(step.mode):
            message = f"it is not a {'socket' if is_socket else 'file'}: the keeper cannot use it"
            remedy = "move it away: the appliance makes it again"
            yield path_diagnostic("E616", step.path, message, remedy)


def _open_spool(facts: Facts) -> Iterator[Diagnostic]:
    points = {mount.point for mount in facts.mounts}
    for folder in facts.folders:
        if not folder.step.is_directory:
            message = "it is a link or not a directory: the appliance follows no links in the spool"
            remedy = "move it away: the appliance creates the directory again"
            yield path_diagnostic("E615", folder.step.path, message, remedy)
        elif facts.spool and facts.spool.last.path / folder.step.path.name in points:
            message = "it is a mount of its own: drops cannot be claimed or published by renaming them"
            yield path_diagnostic("E615", folder.step.path, message, UNMOUNT)
        else:
            yield from _changed_folder(facts, folder)


def _is_used(facts: Facts, what: str) -> bool:
    """Whether the appliance uses its spool or its socket now. The next start corrects their modes and groups."""
    return any(holding.what == what and holding.own is not False for holding in facts.holdings)


def _group(facts: Facts, gid: int) -> str:
    return f"`{facts.groups.get(gid, f'gid-{gid}')}`"


def _changed_folder(facts: Facts, folder: Folder) -> Iterator[Diagnostic]:
    """Whether a directory has another mode, group or owner than the appliance gave it.

    Too few permissions of its owner are a finding of their own.
    """
    step, path = folder.step, as_argument(folder.step.path)
    mode, is_used = stat.S_IMODE(step.mode), _is_used(facts, "spool")
    less = folder.wanted & ~mode & ~stat.S_IRWXU
    effect = None
    if mode & ~folder.wanted:
        effect = "others can read or add drops"
    elif less & stat.S_ISVTX and mode & stat.S_IWGRP:
        effect = "users can remove or replace the drops of others"
    elif less and is_used:
        effect = _lack(folder, less)
    if effect:
        message = f"its mode is {_mode(step)}, not {folder.wanted:04o}: {effect}"
        yield path_diagnostic("W609", step.path, message, f"`chmod {folder.wanted:04o} {path}`")
    if folder.gid not in (None, step.gid) and is_used:
        group = _group(facts, folder.gid)
        message = f"its group is {_group(facts, step.gid)}, not {group}: {_lack(folder, stat.S_IRWXG)}"
        yield path_diagnostic("W609", step.path, message, f"`chgrp {group.strip('`')} {path}`")
    if step.is_sticky and step.uid != facts.user.uid and step.uid in _trusted(facts) and facts.user.uid != ROOT:
        user = _name(facts, facts.user.uid)
        message = f"it belongs to {_name(facts, step.uid)}, and not to {user}, the user of the appliance, who can move no drop"
        yield path_diagnostic("W607", step.path, message, f"`chown {user.strip('`')} {path}`")


def _lack(folder: Folder, bits: int) -> str:
    """What the users of a shared spool cannot do without these permissions of a directory."""
    if not folder.wanted & stat.S_IWGRP:
        return "users cannot read their results"
    if bits == stat.S_ISGID:
        return "a file that is written there does not get the group of the spool, and is rejected"
    return "users cannot drop files"


def _closed_to_members(facts: Facts) -> Iterator[Diagnostic]:
    """The first directory on the way to a shared spool that the members of its group cannot enter."""
    gid = next((folder.gid for folder in facts.folders if folder.gid is not None), None)
    if gid is None or facts.spool is None:
        return
    members = facts.members.get(gid, frozenset())
    for step in facts.spool.steps:
        is_theirs = step.gid == gid or (step.gid in facts.members and members <= facts.members[step.gid])
        if not step.acl and not step.mode & (stat.S_IXGRP if is_theirs else stat.S_IXOTH):
            message = f"its mode is {_mode(step)}: the members of {_group(facts, gid)}, the group of the spool, cannot enter it"
            remedy = f"`chmod {'g' if is_theirs else 'o'}+x {as_argument(step.path)}`"
            yield path_diagnostic("W609", step.path, message, remedy)
            return


def _open_socket(facts: Facts) -> Iterator[Diagnostic]:
    console = facts.console
    if console is None:
        return
    exists = console.way.exists and stat.S_ISSOCK(console.way.last.mode)
    mode = stat.S_IMODE(console.way.last.mode) if exists else console.mode
    path, remedy = console.way.named, f"`chmod {console.mode:04o} {as_argument(console.way.named)}`"
    if mode & stat.S_IWOTH and console.mode & stat.S_IWOTH and not facts.has_roles:
        message = "everybody on this machine can open the console and run every program"
        yield path_diagnostic(
            "W609", path, message, 'set `console: { mode: "0660", group: ... }`, or add an `Authorization`'
        )
    elif mode & ~console.mode and not mode & console.mode & stat.S_IWOTH:
        message = f"its mode is {mode:04o}, not {console.mode:04o}: more users than intended can give commands"
        yield path_diagnostic("W609", path, message, remedy)
    elif console.mode & ~mode and _is_used(facts, "socket"):
        message = f"its mode is {mode:04o}, not {console.mode:04o}: fewer users than intended can give commands"
        yield path_diagnostic("W609", path, message, remedy)
    if exists and _is_used(facts, "socket"):
        yield from _given_socket(facts, console)


def _given_socket(facts: Facts, console: ConsoleSocket) -> Iterator[Diagnostic]:
    """Whether somebody has given the socket of the running appliance to another user or group."""
    step, path = console.way.last, console.way.named
    if console.gid not in (None, step.gid):
        group = _group(facts, console.gid)
        message = f"its group is {_group(facts, step.gid)}, not {group}, whose members cannot give commands"
        yield path_diagnostic("W609", path, message, f"`chgrp {group.strip('`')} {as_argument(path)}`")
    if step.uid != facts.user.uid:
        user = _name(facts, facts.user.uid)
        message = f"it belongs to {_name(facts, step.uid)}, and not to {user}, the user of the appliance"
        yield path_diagnostic("W607", path, message, f"`chown {user.strip('`')} {as_argument(path)}`")
