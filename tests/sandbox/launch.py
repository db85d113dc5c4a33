"""Starts a sandbox program as a private process on a free port, and ends it by its process id.

Owns: the process. For tests: `with start_gateway() as gateway: gateway.url`, and
`with start_mail_sink() as sink: sink.port, sink.control`.
"""

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"


class Program:
    def __init__(self, script, arguments):
        command = [PYTHON, "-B", str(HERE / script), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        if not self.line:
            raise RuntimeError(f"{script} did not start, exit code {self.process.wait()}")

    def stop(self):
        """Ends it as a service manager would; returns the exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self):
        self.process.kill()
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()


@contextmanager
def running(script, arguments):
    program = Program(script, arguments)
    try:
        yield program
    finally:
        if program.process.returncode is None:
            program.stop()


@contextmanager
def start_gateway(*arguments, port=0):
    with running("gateway.py", ["--port", str(port), *arguments]) as program:
        program.url = re.search(r"http://\S+", program.line).group()
        yield program


@contextmanager
def start_mail_sink(*arguments, port=0):
    with running("mail_sink.py", ["--port", str(port), *arguments]) as program:
        program.port = int(re.search(r"listening on \S+:(\d+),", program.line).group(1))
        program.control = re.search(r"http://\S+", program.line).group()
        yield program
