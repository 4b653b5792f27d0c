"""Becomes a program in a sandbox like a pod under the Kubernetes standard "restricted", made of Linux namespaces.

    python restricted_pod.py VOLUME PROGRAM [ARGS...]

A user of its own that is not root, no new privileges, no capability, every mount read-only but VOLUME (which the outside
sees, as with `emptyDir`), a process namespace, and a seccomp filter that answers EPERM where the default one of container
runtimes does. Exit status 77 if the kernel does not allow such a sandbox to be made.
"""

import ctypes
import os
import platform
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
USER_ID = 65534

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
LOCKED_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 24, 22, 38

#: Denied by the default filters of containerd and CRI-O to a container without capabilities: the ones that a profiler from
#: outside would need, and a choice of the rest. Number by machine.
DENIED = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "perf_event_open": 298, "bpf": 321,
        "kcmp": 312, "userfaultfd": 323, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308, "pivot_root": 155,
        "add_key": 248, "keyctl": 250, "init_module": 175, "pidfd_getfd": 438,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "perf_event_open": 241, "bpf": 280,
        "kcmp": 272, "userfaultfd": 282, "mount": 40, "umount2": 39, "unshare": 97, "setns": 268, "pivot_root": 41,
        "add_key": 217, "keyctl": 219, "init_module": 105, "pidfd_getfd": 438,
    },
}  # fmt: skip
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        print(f"restricted_pod: {what}: {os.strerror(number)}", file=sys.stderr)
        sys.exit(77)


def write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        print(f"restricted_pod: {path}: {error.strerror}", file=sys.stderr)
        sys.exit(77)


def mount(source, target, kind, flags):
    return LIBC.mount(source and source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None)


def make_read_only(volume):
    """Every mount but the volume, which is bound to itself first so that it is one."""
    check(mount(None, "/", None, MS_REC | MS_PRIVATE), "making mounts private")
    check(mount(volume, volume, None, MS_BIND), "binding the volume")
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    for words in mounts:
        target, options = words[4].replace("\\040", " "), words[5].split(",")
        if target == volume:
            continue
        flags = sum(LOCKED_FLAGS.get(option, 0) for option in options)
        # A mount that lies under another, or that the kernel keeps to itself, cannot be reached; nor can it be written to.
        result = mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
        if target == "/":
            check(result, "making / read-only")


def instruction(code, if_true, if_false, value):
    return struct.pack("HBBI", code, if_true, if_false, value)


def deny_system_calls():
    machine = platform.machine()
    load, equal, answer = 0x20, 0x15, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000 | 1
    program = [
        instruction(load, 0, 0, 4),
        instruction(equal, 1, 0, AUDIT_ARCH[machine]),
        instruction(answer, 0, 0, kill),
    ]
    program.append(instruction(load, 0, 0, 0))
    for number in DENIED[machine].values():
        program += [instruction(equal, 0, 1, number), instruction(answer, 0, 0, refuse)]
    program.append(instruction(answer, 0, 0, allow))
    text = ctypes.create_string_buffer(b"".join(program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    filter_ = Filter(len(program), ctypes.addressof(text))
    check(LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(filter_), 0, 0), "the seccomp filter")


def main():
    volume, *command = sys.argv[1:]
    if platform.machine() not in DENIED:
        sys.exit(77)
    user, group = os.getuid(), os.getgid()
    check(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC), "namespaces")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{USER_ID} {user} 1")
    write("/proc/self/gid_map", f"{USER_ID} {group} 1")
    make_read_only(volume)
    child = os.fork()
    if child:
        # What is sent to us ends the sandbox's first process, as a kubelet would.
        import signal

        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
        _, status = os.waitpid(child, 0)
        sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
    check(mount("proc", "/proc", "proc", 2 | 4 | 8), "/proc")
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    deny_system_calls()
    # A user that is not root loses all capabilities here.
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
