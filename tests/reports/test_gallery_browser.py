"""The linked gallery in a real browser: what it says and shows is what the store holds."""

import math
import shutil

import numpy as np
import pytest
from streets import CLASS_NAMES, IGNORE, PALETTE, DrawnPack, draw_target

from bench.metrics import class_counts, score_counts
from reports.images.apart import colours_apart

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium"),
]
A, B = "resnet50-fcn8s", "resnet50-fcn16s"
NAMES = [DrawnPack().name(i) for i in range(8)]


@pytest.fixture
def show(browser, report):
    """Open the page with choices in its address, and wait until the gallery shows them."""

    def show(address="", width=1280, **how):
        tab = browser.open((report / "index.html").as_uri() + address, width, **how)
        wait(tab)
        return tab

    return show


def wait(tab, image=""):
    """Wait until the gallery shows an image, whichever without a name."""
    tab.run(
        f"""new Promise((done, fail) => {{
            const end = Date.now() + 10000, box = document.querySelector('.gallery');
            const look = () => {{
                if ((box.dataset.shown ?? '').startsWith('{image}') && box.dataset.shown) done();
                else if (Date.now() > end) fail(new Error('nothing is shown'));
                else setTimeout(look, 20);
            }};
            look();
        }})"""
    )


def pick(tab, selector, value):
    tab.run(
        f"(() => {{ const s = document.querySelector('.gallery {selector}');"
        f" s.value = [...s.options].find(o => o.text === '{value}' || o.value === '{value}').value;"
        " s.dispatchEvent(new Event('change')) })()"
    )


def sorted_names(tab):
    script = "[...document.querySelectorAll('.thumbs button')].map(b => b.title)"
    return tab.run(script)


def pressed(tab):
    return tab.run("document.querySelector('.thumbs [aria-current=true]').title")


def focus(tab, selector):
    tab.run(f"document.querySelector('.gallery {selector}').focus()")


@pytest.fixture(scope="module")
def masks(plan, store):
    """By variant, the stored predictions of its first seed."""
    return {
        variant: store.predictions(run.id, "test")
        for variant in (A, B, "alexnet-none")
        for run in [next(p.run for p in plan.runs if p.variant == variant)]
    }


def word(c):
    return "unlabelled" if c == IGNORE else CLASS_NAMES[c]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("index", [1, 6])
def test_the_classes_under_the_pointer_are_the_stored_ones(show, masks, index, width):
    name, target = NAMES[index], draw_target(index)
    tab = show(f"#image={name}", width)
    tab.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    left, top, across, down = tab.run(
        "(() => { const r = document.querySelector('.stage canvas').getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height] })()"
    )
    rng = np.random.default_rng(index)
    places = [(0, 0), (89, 119), (88, 60), *rng.integers(0, (90, 120), (12, 2)).tolist()]
    seen = set()
    for y, x in places:
        tab.point(left + (x + 0.5) * across / 120, top + (y + 0.5) * down / 90)
        expected = [word(classes[y, x]) for classes in (target, masks[A][name], masks[B][name])]
        told = tab.run("[...document.querySelectorAll('.readout b')].map(b => b.textContent)")
        assert told == expected
        text = tab.run("document.querySelector('.readout').textContent")
        assert text.startswith(f"x {x}, y {y}")
        seen |= set(expected)
    assert len(seen) > 3


def pixels(tab):
    """What the canvas holds, (H, W, 4)."""
    values = tab.run(
        "(() => { const c = document.querySelector('.stage canvas');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] })()"
    )
    return np.array(values, np.uint8).reshape(90, 120, 4)


@pytest.mark.parametrize("colours", ["own", "apart"])
def test_the_stage_has_the_colours_of_the_stored_classes(show, masks, colours):
    palette = np.array(PALETTE if colours == "own" else colours_apart(len(CLASS_NAMES)))
    tab = show(f"#image={NAMES[2]}&view=a&colours={colours}")
    assert (pixels(tab)[..., :3] == palette[masks[A][NAMES[2]]]).all()
    focus(tab, ".stage")
    tab.press("2")
    target = draw_target(2)
    known, shown = target != IGNORE, pixels(tab)
    assert (shown[known][:, :3] == palette[target[known]]).all()
    assert (np.ptp(shown[~known][:, :3], axis=1) == 0).all()  # grey
    tab.press("1")
    assert (pixels(tab)[..., 3] == 0).all()  # the image beneath


def test_the_slider_parts_two_views(show, masks):
    tab = show(f"#image={NAMES[3]}")
    palette, name = np.array(PALETTE), NAMES[3]
    for value, cut in ((500, 60), (250, 30), (1000, 120), (0, 0)):
        tab.run(
            f"(() => {{ const s = document.querySelector('.split'); s.value = {value};"
            " s.dispatchEvent(new Event('input')) })()"
        )
        shown = pixels(tab)[..., :3]
        assert (shown[:, :cut] == palette[masks[A][name]][:, :cut]).all()
        assert (shown[:, cut:] == palette[masks[B][name]][:, cut:]).all()
    names = "[...document.querySelectorAll('.stage .name')].map(n => n.textContent)"
    assert tab.run(names) == ["", f"B {B}"]


def test_blinking_shows_one_whole_view_then_the_other(show, masks):
    tab = show(f"#image={NAMES[3]}")
    focus(tab, ".stage")
    tab.press("k")
    seen = set()
    for _ in range(30):
        shown = pixels(tab)[..., :3]
        for variant in (A, B):
            if (shown == np.array(PALETTE)[masks[variant][NAMES[3]]]).all():
                seen.add(variant)
        if len(seen) == 2:
            break
        tab.run("new Promise(done => setTimeout(done, 100))")
    assert seen == {A, B}
    assert tab.run("document.querySelector('.blink').getAttribute('aria-pressed')") == "true"
    tab.press("k")
    assert tab.run("document.querySelector('.blink').getAttribute('aria-pressed')") == "false"


def test_the_error_map_says_who_is_right(show, masks):
    tab = show(f"#image={NAMES[4]}&view=errors")
    target, a, b = draw_target(4), masks[A][NAMES[4]], masks[B][NAMES[4]]
    shown, known = pixels(tab)[..., :3], target != IGNORE
    for right_a, right_b, colour in (
        (True, False, (0, 114, 178)),
        (False, True, (213, 94, 0)),
        (False, False, (75, 85, 99)),
        (True, True, (236, 238, 241)),
    ):
        where = ((a == target) == right_a) & ((b == target) == right_b) & known
        assert where.any()
        assert (shown[where] == colour).all()
        assert not (shown[~where & known] == colour).all(1).any()


def test_a_lit_class_alone_is_shown_and_sorts_by_its_errors(show, masks, scores):
    tab = show("#view=a")
    car = CLASS_NAMES.index("car")
    tab.run(
        "[...document.querySelectorAll('.legend tbody button')]"
        ".find(b => b.textContent === 'car').click()"
    )
    assert sorted_names(tab) == order(scores["wrong"][A][:, car])
    name = pressed(tab)
    wait(tab, name)
    shown, mask = pixels(tab), masks[A][name]
    assert (shown[mask == car] == (*PALETTE[car], 255)).all()
    assert (shown[mask != car][:, 3] == 205).all()  # the rest is a veil over the image
    assert "class=car" in tab.run("location.hash")
    focus(tab, ".stage")
    tab.press("Escape")
    assert "class" not in tab.run("location.hash")
    assert sorted_names(tab) == order(scores["miou"][A] - scores["miou"][B])


@pytest.fixture(scope="module")
def scores(plan, store, masks):
    """By variant, scores of each image from its stored counts, and from masks where they differ."""
    found = {"miou": {}, "iou": {}, "wrong": {}}
    for variant in masks:
        run = next(p.run for p in plan.runs if p.variant == variant)
        names, confusions = store.confusions(run.id, "test")
        assert names == NAMES
        counts = class_counts(confusions)
        found["miou"][variant] = score_counts(counts)["miou"]
        found["iou"][variant] = score_counts(counts)["iou"]
        found["wrong"][variant] = counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]
    found["apart"] = np.array(
        [
            ((masks[A][n] != masks[B][n]) & (draw_target(i) != IGNORE)).sum()
            / (draw_target(i) != IGNORE).sum()
            for i, n in enumerate(NAMES)
        ]
    )
    return found


def order(weight):
    """Names of images by falling weight; what has none is last."""
    known = [i for i in range(8) if not math.isnan(weight[i])]
    ranked = sorted(known, key=lambda i: -round(float(weight[i]), 12))
    return [NAMES[i] for i in [*ranked, *(i for i in range(8) if i not in known)]]


def test_images_are_sorted_as_their_counts_say(show, scores):
    pole = CLASS_NAMES.index("pole")
    miou, iou = scores["miou"], scores["iou"]
    expected = {
        "gain": miou[A] - miou[B],
        "loss": miou[B] - miou[A],
        "worst-a": -miou[A],
        "worst-b": -miou[B],
        "apart": scores["apart"],
        "class-a": -iou[A][:, pole],
        "class-b": -iou[B][:, pole],
        "errors-a": scores["wrong"][A][:, pole],
        "errors-b": scores["wrong"][B][:, pole],
    }
    tab = show("#class=pole")
    orders = set()
    for sort, weight in expected.items():
        pick(tab, "select.sort", sort)
        assert sorted_names(tab) == order(weight), sort
        orders.add(tuple(order(weight)))
    assert len(orders) > 5
    pick(tab, "select.sort", "gain")
    pick(tab, "select.b", "alexnet-none")
    assert sorted_names(tab) == order(miou[A] - miou["alexnet-none"])
    value = tab.run("document.querySelector('.thumbs button span').textContent")
    best = max(miou[A] - miou["alexnet-none"])
    assert value == f"{100 * best:+.1f} points"


def test_choices_survive_a_reload_and_the_back_button(show, masks):
    tab = show()
    pick(tab, "select.b", "alexnet-none")
    pause = "new Promise(done => setTimeout(done, 700))"  # what follows at once is one step
    tab.run(pause)
    tab.run(f"document.querySelector('.thumbs button[title={NAMES[5]}]').click()")
    tab.run("document.querySelector('.views .left input[value=target]').click()")
    tab.run("document.querySelector('.views .right input[value=errors]').click()")
    wait(tab, NAMES[5])
    address = tab.run("location.hash")
    assert address == f"#b=alexnet-none&image={NAMES[5]}&view=target-errors"
    before = pixels(tab)
    tab.reload()
    wait(tab, NAMES[5])
    assert tab.run("location.hash") == address
    assert (pixels(tab) == before).all()
    assert tab.run("document.querySelector('.gallery select.b').selectedOptions[0].text") == (
        "alexnet-none"
    )
    tab.run(f"{pause}, history.back()")
    tab.run(pause)
    assert NAMES[5] not in tab.run("location.hash")
    assert "b=alexnet-none" in tab.run("location.hash")
    assert tab.run("document.querySelector('.gallery select.b').selectedOptions[0].text") == (
        "alexnet-none"
    )
    tab.run("history.back()")
    tab.run(pause)
    assert tab.run("document.querySelector('.gallery select.b').selectedOptions[0].text") == B


def test_an_address_of_names_that_are_not_there_is_no_error(show):
    tab = show("#image=nothing&a=none&class=%ZZ&view=x-y&sort=constructor")
    assert tab.run("document.querySelector('.gallery select.a').selectedOptions[0].text") == A
    assert tab.run("document.querySelector('.gallery select.sort').value") == "gain"
    assert tab.complaints() == []


def test_everything_is_done_by_keys(show, masks):
    tab = show()
    first, second = sorted_names(tab)[:2]
    focus(tab, ".thumbs [aria-current=true]")
    tab.press("ArrowRight")
    assert pressed(tab) == second
    assert tab.run("document.activeElement.title") == second
    tab.press("p")
    assert pressed(tab) == first
    choice = "[...document.querySelectorAll('.gallery :is(select.a, select.b)')]"
    choice += ".map(s => s.selectedOptions[0].text)"
    tab.press("x")
    assert tab.run(choice) == [B, A]
    tab.press("x")
    tab.press("a")
    assert tab.run(choice)[0] not in (A,)
    tab.press("a", shift=True)
    assert tab.run(choice) == [A, B]
    tab.press("5")
    tab.press("1", shift=True)
    assert "view=errors-image" in tab.run("location.hash")
    tab.press("0", shift=True)
    assert "view=errors&" in tab.run("location.hash") + "&"
    tab.press("c")
    assert "colours=apart" in tab.run("location.hash")
    wait(tab, pressed(tab))
    focus(tab, ".stage")
    tab.press("ArrowDown")
    tab.press("ArrowRight", shift=True)
    name = pressed(tab)
    index, at = NAMES.index(name), (46, 70)  # one down and ten right of the middle
    expected = [word(m[at]) for m in (draw_target(index), masks[A][name], masks[B][name])]
    assert tab.run("[...document.querySelectorAll('.readout b')].map(b => b.textContent)") == (
        expected
    )


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_a_gallery_in_use_asks_nobody_and_overflows_nothing(show, report, width, dark):
    tab = show("#class=car", width, dark=dark)
    focus(tab, ".stage")
    for key in "ab5kxcn12k":
        tab.press(key)
    tab.run("new Promise(done => setTimeout(done, 300))")
    assert [u.split("#")[0] for u in tab.requests()] == [(report / "index.html").as_uri()]
    assert tab.complaints() == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    unnamed = tab.run(
        "[...document.querySelectorAll('.gallery :is(button, select, input, [role=img])')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.[0]?.textContent.trim()))"
        ".length"
    )
    assert unnamed == 0


def test_print_and_a_page_without_script_have_the_fixed_panels(browser, report, show, tmp_path):
    visible = (
        "[...document.querySelectorAll('figure.image')].map(f => f.checkVisibility("
        "{contentVisibilityAuto: true}) && f.offsetHeight > 50)"
    )
    tab = show()
    assert not any(tab.run(visible))
    tab.send("Emulation.setEmulatedMedia", {"media": "print"})
    tab.run("new Promise(requestAnimationFrame)")
    assert tab.run(visible) == [True] * 5
    assert not tab.run("document.querySelector('.gallery').checkVisibility()")
    plain = tmp_path / "plain.html"
    html = (report / "index.html").read_text()
    plain.write_text(html.replace('"use strict";', '"use strict"; '))  # no longer what is pinned
    tab = browser.open(plain.as_uri(), 1280)
    assert tab.run(visible) == [True] * 5
    assert not tab.run("document.querySelector('.gallery').checkVisibility()")
