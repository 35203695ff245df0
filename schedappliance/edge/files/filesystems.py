"""Which file systems are network file systems: another machine, or the host of a virtual machine, may change their files.

Rule: only the table decides which file systems these are. On them, inotify does not report the changes of other machines,
a lease does not show their writers, and the locks and shared memory of SQLite do not work across machines.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from schedappliance.edge.linux import file_system_magic


class FileSystem(NamedTuple):
    """A file system.

    `magics`: its values of `f_type` in statfs(2). `types`: its names in the mount table; see proc(5).
    """

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
    # FUSE has one number for network and local file systems. By the number, all of them count as network file systems,
    # which is safe. By the type in the mount table, only these count.
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
    """The name of the network file system with this magic number; None for others.

    Only the low 32 bits are compared.
    """
    return _NAMES.get(magic & 0xFFFFFFFF)


def is_network_type(name: str) -> bool:
    """Whether this name in the mount table means a network file system."""
    return name in _TYPES


def on_network(path: Path) -> str | None:
    """The name of the network file system that holds a path; None for a local one, or if the path does not exist."""
    try:
        return network_name(file_system_magic(str(path)))
    except OSError:
        return None
