"""The package where Python lacks what only Linux, or no Windows, has; tried by taking it away."""

import subprocess
import sys

# Run in a process of its own. Libraries have builds of their own for each system: they are loaded
# before anything is taken away.
PRELUDE = """
import importlib, multiprocessing.context, os, pkgutil, signal, sys, warnings

def load(package):
    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        importlib.import_module(found.name)

warnings.simplefilter("ignore")

MAC = '''O_DIRECT O_PATH O_TMPFILE posix_fadvise posix_fallocate sched_getaffinity sched_setaffinity
    memfd_create getrandom getxattr copy_file_range pipe2'''.split()
MODULES = "fcntl grp pwd resource termios tty pty syslog".split()
OS = '''O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_LARGEFILE O_NDELAY O_NOATIME O_NOCTTY
    O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE chown chroot confstr ctermid fchown fork forkpty
    fstatvfs getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid
    getsid getuid killpg lchown lockf major minor mkfifo mknod nice openpty pathconf posix_fadvise
    posix_fallocate posix_spawn pread preadv pwrite pwritev sched_getaffinity sched_setaffinity
    sched_yield sendfile setgid setpgid setpriority setsid setuid statvfs sync sysconf ttyname uname
    wait wait3 wait4 waitid memfd_create getrandom getxattr copy_file_range pipe2'''.split()
SIGNALS = '''SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP
    SIGSYS SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ
    alarm pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait'''.split()

def take_away(modules, os_names, signal_names):
    for name in modules:
        sys.modules[name] = None
    for module, names in ((os, os_names), (signal, signal_names)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)

def without(*methods):
    for name in methods:
        del multiprocessing.context._concrete_contexts[name]
    multiprocessing.get_all_start_methods = lambda: ["spawn"]

def load_anew():
    ours = [name for name in sys.modules if name.split(".")[0] in ("embedkit", "embedkit_cli")]
    assert len(ours) > 100
    for name in ours:
        del sys.modules[name]
    load("embedkit")
    load("embedkit_cli")
    from embedkit.extraction.settings import count_processors
    from embedkit.processes import worker_context
    print(worker_context().get_start_method(), count_processors() == os.cpu_count())
"""

# What is read and written, with what Windows has and as Windows does it.
ON_WINDOWS = """
import pathlib, tempfile
import numpy as np, soundfile
from embedkit.audio.decode import decode
from embedkit.extraction.worker import peak_memory
from embedkit.atomic import atomic_write
from embedkit.processes import start_server

linux = os.open, sys.platform

def open_no_folder(path, flags, *rest, **others):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return linux[0](path, flags, *rest, **others)

start_server()
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    sound = np.linspace(-0.5, 0.5, 16000, dtype="f4")
    soundfile.write(folder / "a.wav", sound, 16000, subtype="FLOAT")
    os.open, sys.platform = open_no_folder, "win32"
    print(np.array_equal(np.concatenate(list(decode(folder / "a.wav", 16000))), sound))
    with atomic_write(folder / "b") as file:
        file.write(b"whole")
    print((folder / "b").read_text(), peak_memory())
    os.open, sys.platform = linux  # as the rest of Python is
"""


def test_every_module_is_imported_on_macos_and_windows() -> None:
    code = [
        PRELUDE,
        "load('embedkit'); load('embedkit_cli')",
        "take_away([], MAC, []); load_anew()",
        "take_away(MODULES, OS, SIGNALS); without('fork', 'forkserver'); load_anew()",
        ON_WINDOWS,
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["forkserver True", "spawn True", "True", "whole 0"]
