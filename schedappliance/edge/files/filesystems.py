"""What kind of file system a path stands on, by the magic number that statfs(2) tells. The table decides alone."""

from __future__ import annotations

from pathlib import Path

from schedappliance.edge.linux import file_system_magic

# Those on which another machine may change a file, which inotify does not tell, and on which a lease says nothing.
NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x01021997: "9P",
    0x65735546: "FUSE",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0xAAD7AAEA: "PanFS",
    0x786F4256: "vboxsf",
}


def network_name(magic: int) -> str | None:
    """The name of a network file system by its magic number; None for all others."""
    return NETWORK.get(magic & 0xFFFFFFFF)


def on_network(path: Path) -> str | None:
    """The name of the network file system that a path stands on; None when it is a local one, or not there."""
    try:
        return network_name(file_system_magic(str(path)))
    except OSError:
        return None
