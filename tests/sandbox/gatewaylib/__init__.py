"""The parts of gateway.py, one duty a file. README.md one folder up tells what they are."""
