"""own_root.py COMMAND...: run it where / is the root of its mount namespace.

Whoever joins the mount namespace of a container lands at that namespace's root. Docker
started in a plain chroot makes namespaces whose root is the computer's, outside the
chroot: `docker exec` then runs there. So in a chroot COMMAND gets a mount namespace of
its own, with the chroot for a root; elsewhere it is run as it is.
"""

import ctypes
import os
import sys

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PLACE = b"/mnt"  # covered in the new namespace alone, and until it has its root

libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> None:
    """A function of libc; raises OSError."""
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def leave_chroot() -> bool:
    """Move to the root of the mount namespace; False if that is where this process was."""
    before = os.stat("/")
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    call("setns", namespace, CLONE_NEWNS)
    os.close(namespace)
    return not os.path.samestat(before, os.stat("/"))


def move_into(directory: int) -> None:
    """Make an open directory this process's root."""
    os.fchdir(directory)
    os.chroot(".")


def make_root_of_namespace() -> None:
    """From a chroot: a mount namespace with nothing but the chroot in it, and this process at its root."""
    chroot = os.open("/", os.O_RDONLY)
    if not leave_chroot():
        os.chdir("/")
        return
    move_into(chroot)
    call("unshare", CLONE_NEWNS)
    chroot = os.open("/", os.O_RDONLY)  # of the new namespace
    leave_chroot()
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    move_into(chroot)
    call("mount", b"/", PLACE, None, MS_BIND | MS_REC, None)  # for a new root must be a mount point
    root = os.open(PLACE, os.O_RDONLY)
    leave_chroot()
    os.fchdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")


if __name__ == "__main__":
    make_root_of_namespace()
    os.execvp(sys.argv[1], sys.argv[1:])
