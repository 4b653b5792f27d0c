"""Runs a program in this process's console and presses Ctrl-C or Ctrl-Break there, once the program has said that it is ready.

    python press_keys.py CTRL_C_EVENT COMMAND ...

Prints as JSON how the program ended and what it wrote. Whoever calls gives this process a console of its own: the key goes to
every process that has the console.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys


def main(key, *command):
    # That Ctrl-C is ignored is inherited from whoever started this, and so is that it is not.
    ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, False)
    # It is pressed for this process too; a handler, unlike ignoring it, is not inherited.
    for number in (signal.SIGINT, signal.SIGBREAK):
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = process.stdout.readline()
    if said == "ready\n":
        os.kill(0, getattr(signal, key))
    output, errors = process.communicate()
    print(json.dumps({"status": process.returncode, "output": said + output, "errors": errors}))


main(*sys.argv[1:])
