"""File systems that other machines, or the host of this one, change too. Rule: the table decides alone.

inotify does not report what others change there, a lease says nothing about their writers, and what SQLite needs of locks
and shared memory holds on one machine only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from schedappliance.edge.linux import file_system_magic


class FileSystem(NamedTuple):
    """`magics`: what statfs(2) gives as `f_type`. `types`: what the mount table calls it; see proc(5)."""

    name: str
    magics: tuple[int, ...]
    types: tuple[str, ...]


# Numbers from linux/magic.h and from `stat` of GNU coreutils.
NETWORK = (
    FileSystem("NFS", (0x6969,), ("nfs", "nfs4")),
    FileSystem("SMB", (0x517B,), ("smbfs",)),
    FileSystem("SMB2", (0xFE534D42,), ("smb3",)),
    FileSystem("CIFS", (0xFF534D42,), ("cifs",)),
    FileSystem("9P", (0x01021997,), ("9p",)),
    FileSystem("AFS", (0x5346414F, 0x6B414653), ("afs",)),
    FileSystem("Coda", (0x73757245,), ("coda",)),
    FileSystem("Ceph", (0x00C36400,), ("ceph",)),
    FileSystem("Lustre", (0x0BD00BD0,), ("lustre",)),
    FileSystem("GFS2", (0x01161970,), ("gfs2",)),
    FileSystem("OCFS2", (0x7461636F,), ("ocfs2",)),
    FileSystem("GPFS", (0x47504653,), ("gpfs",)),
    FileSystem("BeeGFS", (0x19830326,), ("beegfs",)),
    FileSystem("PanFS", (0xAAD7AAEA,), ("panfs",)),
    FileSystem("vboxsf", (0x786F4256,), ("vboxsf",)),
    FileSystem("vmhgfs", (0xBACBACBC,), ("vmhgfs", "fuse.vmhgfs-fuse")),
    FileSystem("Parallels", (0x7C7C6673,), ("prl_fs",)),
    FileSystem("drvfs", (0x53464846,), ("drvfs",)),
    # All of these have the number of FUSE, and so have local ones. By number each is polled, which is safe; where the type
    # is known, as in the mount table, these alone are network file systems.
    FileSystem(
        "FUSE",
        (0x65735546,),
        (
            *("virtiofs", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
            *("fuse.ceph", "fuse.ceph-fuse", "fuse.cephfs", "fuse.juicefs", "fuse.davfs2"),
            *("fuse.grpcfuse", "fuse.osxfs"),
        ),
    ),
)
_NAMES = {magic: system.name for system in NETWORK for magic in system.magics}
_TYPES = {kind for system in NETWORK for kind in system.types}


def network_name(magic: int) -> str | None:
    """The name of a network file system by its magic number, which may be longer or signed; None for all others."""
    return _NAMES.get(magic & 0xFFFFFFFF)


def is_network_type(name: str) -> bool:
    """Whether the mount table calls a network file system so."""
    return name in _TYPES


def on_network(path: Path) -> str | None:
    """The name of the network file system that holds a path; None if that is a local one, or the path does not exist."""
    try:
        return network_name(file_system_magic(str(path)))
    except OSError:
        return None
