"""SECURITY.md and README.md name tests as proof: they are there."""

import os
import re

import pytest
from harness.programs import ROOT


@pytest.mark.parametrize("page", ["SECURITY.md", "README.md"])
def test_the_proofs_that_a_page_names_are_there(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = file.read()
    named = re.findall(r"`(?:tests/)?((?:unit|integration|faults|fuzz|browser)/[\w./]*)(?:::(\w+))?", text)
    assert len(named) > 15
    for path, test in named:
        whole = os.path.join(ROOT, "tests", path)
        assert os.path.exists(whole), path
        if test:
            with open(whole, encoding="utf-8") as file:
                assert f"def {test}(" in file.read(), f"{path}::{test}"
