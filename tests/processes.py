"""Python programs in processes of their own."""

import os
import signal
import subprocess
import sys


def run_python(program, timeout=60, arguments=(), **environment):
    """Run a program in a fresh interpreter; a deadlock, also of its children, fails by the timeout."""
    command = [sys.executable, "-c", program, *arguments]
    everything = {**os.environ, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=everything, start_new_session=True, **pipes) as process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except BaseException:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # its forked children, too
            process.kill()
            raise
    assert process.returncode == 0, out + errors
    return out
