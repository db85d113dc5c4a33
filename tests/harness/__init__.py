"""Private servers, real programs, and the books that must balance: what the tests stand on.

See tests/README.md. Every process has an end here, by its pid; only wait.py ever sleeps.
"""
