"""The page in a real browser, against a real server and worker: upload, look, compress, restore, ask why."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from served import PATIENCE_S, Served, made_cube, written

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"),
]
SPITEFUL = "<img src=x onerror=document.title='struck'>"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    service = Served(tmp_path_factory.mktemp("page") / "home")
    service.worker()
    yield service
    service.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # Containers run tests as root, where Chromium's own sandbox does not start.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served):
    opened = browser.new_page(base_url=f"http://127.0.0.1:{served.port}")
    opened.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    complaints = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    opened.goto("/")
    yield opened
    opened.close()
    # The browser itself reports a refused request, which one test provokes.
    assert [one for one in complaints if "422" not in one] == []


def pixels(page, canvas):
    """How many different colours a canvas shows."""
    return page.evaluate(
        """id => { const c = document.getElementById(id);
        const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
        return new Set(d).size; }""",
        canvas,
    )


def run(page, what):
    """Submit a job and wait for its end; the page hears of it by server-sent events."""
    page.click(f"#run button[value={what}]")
    said = page.locator("#said")
    expect(said).to_have_text(re.compile(r"Job (successful|failed)"), timeout=PATIENCE_S * 1000)
    expect(said).to_have_text("Job successful.")
    page.click(f"#jobs button:has-text('{what}: successful')")


def test_a_cube_goes_up_and_its_restored_pixel_is_explained(page, served, tmp_path):
    page.set_input_files("#files", [str(path) for path in written(tmp_path, made_cube())])
    page.click("#upload button")
    expect(page.locator("#said")).to_contain_text("is here: 30 bands, 24 x 20")
    expect(page.locator("#view-title")).to_have_text("made")
    expect(page.locator("#legend")).to_contain_text("stored: blue")
    assert pixels(page, "canvas") > 10
    assert pixels(page, "plot") > 2
    run(page, "restore")
    expect(page.locator("#view-title")).to_have_text("restore result")
    expect(page.locator("#legend")).to_contain_text("restored: blue")
    page.focus("#canvas")
    row, col = 12, 10  # the middle, where the page begins; the dead line runs through column 7
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#pixel-title")).to_have_text(f"Pixel {row}, {col - 3}")
    expect(page.locator("#why tbody")).to_contain_text("trust")
    expect(page.locator("#why tbody")).to_contain_text("counts for nothing")
    expect(page.locator("#in-words")).to_contain_text("The recorded 90 % interval")


def test_a_stream_is_made_and_opened(page, served, tmp_path):
    page.set_input_files("#files", [str(path) for path in written(tmp_path, replace(made_cube(seed=4), name="other"))])
    page.click("#upload button")
    expect(page.locator("#view-title")).to_have_text("other")
    page.fill("#amount", "1.5")
    run(page, "compress")
    expect(page.locator("#legend")).to_contain_text("original: grey   decoded: blue")
    page.locator("#band").fill("3")
    expect(page.locator("#band-name")).to_contain_text("3: ")
    with page.expect_download() as got:
        page.click("#downloads a:has-text('native')")
    assert got.value.path().read_bytes()[:4] == b"\x89PLM"


def test_what_is_refused_is_said_and_a_name_is_no_markup(page, served, tmp_path):
    broken = tmp_path / "broken.hdr"
    broken.write_text("ENVI\nsamples = 4\nlines = 4\nbands = 9\ndata type = 2\ninterleave = bsq\nbyte order = 0\n")
    (tmp_path / "broken.img").write_bytes(np.zeros(7, np.int16).tobytes())
    page.set_input_files("#files", [str(broken), str(tmp_path / "broken.img")])
    with page.expect_response(lambda answer: answer.url.endswith("/v1/cubes") and answer.status >= 400):
        page.click("#upload button")
    expect(page.locator("#said.wrong")).to_contain_text("bytes")
    served.upload(*written(tmp_path, replace(made_cube(seed=5), name="plain")), name=SPITEFUL)
    page.reload()
    expect(page.locator("#cubes")).to_contain_text(SPITEFUL)
    expect(page).to_have_title("Palimpsest")


def test_ticked_cubes_are_restored_together_and_shown_with_their_group(page, served, tmp_path):
    spring = replace(made_cube(14, 12, 20, seed=8), name="spring")
    for name in ("spring", "summer"):
        served.upload(*written(tmp_path, replace(spring, name=name)))
    page.reload()
    for name in ("spring", "summer"):
        page.check(f"#cubes input[aria-label='tick {name}']")
    page.click("#together button[value=restore-group]")
    expect(page.locator("#said")).to_have_text("Job successful.", timeout=PATIENCE_S * 1000)
    page.click("#jobs button:has-text('restore-group: successful')")
    groups = page.locator("#groups button")
    expect(groups).to_have_count(2)
    expect(groups.nth(1)).to_contain_text("place of ")
    groups.nth(1).click()
    expect(page.locator("#view-title")).to_contain_text("restored")
    expect(page.locator("#in-words")).not_to_be_empty()
