"""The parts of mail_sink.py, one duty a file. README.md one folder up tells what they are."""
