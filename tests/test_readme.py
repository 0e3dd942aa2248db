"""What the README shows of a report is what the report says, to the byte."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_figure_and_table_are_those_of_the_report_that_is_named(tmp_path):
    text = (ROOT / "README.md").read_text()
    ((figure, report),) = re.findall(r"\(((docs/results/\S+?)/(?:figures/)?scores.png)\)", text)
    # Written anew into a README with the places alone, it has to come out the same.
    emptied = re.sub(r"(<!-- (?:figure|table) -->\n).*?(<!-- end -->)", r"\1\2", text, flags=re.S)
    assert emptied != text
    copy = tmp_path / "README.md"
    copy.write_text(emptied)
    subprocess.run([sys.executable, ".ci/readme", report, str(copy)], cwd=ROOT, check=True)
    assert copy.read_text() == text
    assert (ROOT / figure).exists()
