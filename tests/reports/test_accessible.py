"""The page as axe-core judges it, light and dark, wide and narrow: nothing serious is found.

axe-core comes from npm, for this test alone: `.ci/run` fetches it where there is an npm, and
FCN_BENCH_AXE names its `axe.min.js`.
"""

import os
import shutil
from pathlib import Path

import pytest

AXE = os.environ.get("FCN_BENCH_AXE", "")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium"),
    pytest.mark.skipif(not AXE, reason="needs axe-core: FCN_BENCH_AXE names its axe.min.js"),
]
JUDGE = """axe.run({resultTypes: ['violations']}).then(found => found.violations
    .filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => `${one.id}: ${one.help}: ` + one.nodes.slice(0, 3).map(n => n.html).join(' | ')))"""


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (390, False)])
def test_axe_finds_nothing_serious(browser, report, width, dark):
    tab = browser.open((report / "index.html").as_uri(), width, dark=dark)
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tab.run(Path(AXE).read_text(encoding="utf-8") + "; 0")
    assert tab.run(JUDGE) == []


def test_axe_sees_what_is_wrong(browser, tmp_path):
    """A page with a fault of each kind is not passed."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<title>x</title><img src='data:,'><button></button><p style='color:#ccc'>a</p>"
    )
    tab = browser.open(page.as_uri(), 800)
    tab.run(Path(AXE).read_text(encoding="utf-8") + "; 0")
    found = " ".join(tab.run(JUDGE))
    assert "image-alt" in found
    assert "button-name" in found
