"""Many clients who read the same thing over and over, each a moment after its last answer, so that the
machine has time for others: what wrk is here for is its many connections."""

import os
import re
import subprocess

import requests

CLIENTS = 32
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crowd.lua")


class Crowd:
    def __init__(self, url, token):
        self.arguments = ["wrk", "-t1", f"-c{CLIENTS}", "-d1h", "-s", SCRIPT, "-H"]
        self.arguments += [f"Authorization: Bearer {token}", url]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def counter(url, name):
    text = requests.get(url + "/metrics", timeout=60).text
    return float(re.search(rf"^till_api_{name} (\S+)$", text, re.MULTILINE)[1])
