"use strict";
// The linked gallery: images under two variants, A and B. Masks are inflated to class indices here,
// so colours, errors and single classes are a matter of painting. Nothing is fetched.
{
  const PALE = [236, 238, 241], BOTH_WRONG = [75, 85, 99], RIGHT = [0, 114, 178], WRONG = [213, 94, 0];
  const UNLABELLED = 255;
  const BLINK_MS = 650;
  const VIEWS = ["image", "target", "a", "b", "errors"];
  const SORTS = {
    gain: "gain of A over B", loss: "gain of B over A", "worst-a": "lowest mIoU of A", "worst-b": "lowest mIoU of B",
    apart: "disagreement of A and B", "class-a": "lowest IoU of the class, A", "class-b": "lowest IoU of the class, B",
    "errors-a": "pixels of the class wrong in A", "errors-b": "pixels of the class wrong in B",
  };
  const OF_CLASS = ["class-a", "class-b", "errors-a", "errors-b"];

  // Scores within one image, from its stored counts: [right, in the target, in the prediction].
  const score = (data) => ({
    iou(variant, image, c) {
      const [hit, target, pred] = data.counts[variant][image];
      return hit[c] / (target[c] + pred[c] - hit[c]); // NaN for a class in neither
    },
    miou(variant, image) {
      const known = data.classes.map((_, c) => this.iou(variant, image, c)).filter((value) => !Number.isNaN(value));
      return known.reduce((sum, value) => sum + value, 0) / known.length;
    },
    wrong(variant, image, c) {
      const [hit, target, pred] = data.counts[variant][image];
      return target[c] + pred[c] - 2 * hit[c];
    },
    apart(one, other, image) {
      return one === other ? 0 : data.apart[Math.max(one, other)][Math.min(one, other)][image];
    },
    counted(image) {
      return data.counts[0][image][1].reduce((sum, pixels) => sum + pixels, 0);
    },
  });

  // What an image is sorted by: the larger the sooner; NaN comes last.
  function weigh(scores, state, image) {
    const { a, b, lit, sort } = state;
    switch (sort) {
      case "gain": return scores.miou(a, image) - scores.miou(b, image);
      case "loss": return scores.miou(b, image) - scores.miou(a, image);
      case "worst-a": return -scores.miou(a, image);
      case "worst-b": return -scores.miou(b, image);
      case "apart": return scores.apart(a, b, image) / scores.counted(image);
      case "class-a": return -scores.iou(a, image, lit);
      case "class-b": return -scores.iou(b, image, lit);
      case "errors-a": return scores.wrong(a, image, lit);
      case "errors-b": return scores.wrong(b, image, lit);
    }
  }

  function order(scores, state, images) {
    const weight = images.map((_, image) => Math.round(1e12 * weigh(scores, state, image)));
    const places = images.map((_, image) => image);
    const known = places.filter((image) => !Number.isNaN(weight[image]));
    known.sort((i, j) => weight[j] - weight[i]);
    return [...known, ...places.filter((image) => Number.isNaN(weight[image]))];
  }

  const percent = (value) => (Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)}`);
  const points = (value) => {
    const text = (100 * value).toFixed(1);
    if (Number.isNaN(value)) return "–";
    return Number(text) === 0 ? "0.0" : `${value > 0 ? "+" : "−"}${text.replace("-", "")}`;
  };
  const say = (state, value) => {
    if (Number.isNaN(value)) return "–";
    if (["gain", "loss"].includes(state.sort)) return `${points(value)} points`;
    if (state.sort === "apart") return `${percent(value)} % differ`;
    if (state.sort.startsWith("errors")) return `${value.toLocaleString("en")} px wrong`;
    return `${percent(-value)} %`;
  };

  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function swatch(colour) {
    const box = document.createElement("i");
    box.style.background = `rgb(${colour.join(",")})`;
    return box;
  }

  function start(box) {
    const data = JSON.parse(box.querySelector(".gallery-data").textContent);
    const scores = score(data);
    const find = (selector) => box.querySelector(selector);
    const [selectA, selectB, selectSort, selectColours] = ["a", "b", "sort", "colours"].map((name) => find(`select.${name}`));
    const stage = find(".stage"), canvas = find("canvas"), photo = find(".stage img");
    const split = find(".split"), readout = find(".readout"), cross = find(".cross"), blink = find(".blink");
    const masks = new Map(); // of all that was looked at: class indices, once inflated
    const state = {};
    let shown = null; // image, and masks of target, A and B, that are on the stage
    let layers = new Map();
    let timer = 0, isFlipped = false, point = null;

    const name = (variant) => data.variants[variant].shown;
    const palette = () => (state.colours === "apart" ? data.coloursApart : data.palette);
    const classAt = (c) => (c === UNLABELLED ? "unlabelled" : data.classes[c]);

    // The state and the address, each from the other.
    function read(choices) {
      const known = (list, value, otherwise) => (list.includes(value) ? list.indexOf(value) : otherwise);
      const names = data.variants.map((variant) => variant.name);
      state.a = known(names, choices.get("a"), data.a);
      state.b = known(names, choices.get("b"), data.b);
      state.lit = known(data.classes, choices.get("class"), -1);
      const sort = choices.get("sort");
      state.sort = Object.hasOwn(SORTS, sort) ? sort : state.lit < 0 ? "gain" : "errors-a";
      if (state.lit < 0 && OF_CLASS.includes(state.sort)) state.sort = "gain";
      const [left, right] = (choices.get("view") ?? "a-b").split("-");
      state.left = VIEWS.includes(left) ? left : "a";
      state.right = VIEWS.includes(right) ? right : "none";
      state.colours = choices.get("colours") === "apart" ? "apart" : "own";
      state.image = known(data.images, choices.get("image"), -1);
    }

    function write(step) {
      const usual = state.lit < 0 ? "gain" : "errors-a";
      const view = state.right === "none" ? state.left : `${state.left}-${state.right}`;
      address.write({
        image: state.image < 0 ? null : data.images[state.image],
        a: state.a === data.a ? null : data.variants[state.a].name,
        b: state.b === data.b ? null : data.variants[state.b].name,
        class: state.lit < 0 ? null : data.classes[state.lit],
        view: view === "a-b" ? null : view,
        sort: state.sort === usual ? null : state.sort,
        colours: state.colours === "own" ? null : state.colours,
      }, { step });
    }

    function choose(changes, step = true) {
      Object.assign(state, changes);
      write(step);
      render();
    }

    const light = (c) => choose(c === state.lit || c < 0 ? { lit: -1, sort: OF_CLASS.includes(state.sort) ? "gain" : state.sort } : { lit: c, sort: "errors-a" });
    const turn = (which, by) => choose({ [which]: (state[which] + by + data.variants.length) % data.variants.length });
    const move = (by) => {
      const sorted = order(scores, state, data.images);
      choose({ image: sorted[Math.max(0, Math.min(sorted.length - 1, sorted.indexOf(current()) + by))] });
    };
    const current = () => (state.image < 0 ? order(scores, state, data.images)[0] : state.image);

    // Choices, thumbnails and legend follow the state.
    function render() {
      selectA.value = state.a;
      selectB.value = state.b;
      selectColours.value = state.colours;
      for (const option of selectSort.options) option.disabled = OF_CLASS.includes(option.value) && state.lit < 0;
      selectSort.value = state.sort;
      for (const side of ["left", "right"]) find(`input[name=gallery-${side}][value=${state[side]}]`).checked = true;
      blink.disabled = split.disabled = state.right === "none";
      if (state.right === "none") stopBlinking();
      renderThumbs();
      renderLegend();
      renderAbout();
      load();
    }

    const thumbs = data.images.map((image, i) => {
      const item = document.createElement("li"), button = document.createElement("button"), picture = new Image();
      button.type = "button";
      picture.alt = "";
      picture.src = data.photos[i];
      button.append(picture, document.createElement("span"));
      button.title = image;
      button.addEventListener("click", () => choose({ image: i }));
      item.append(button);
      return item;
    });

    function renderThumbs() {
      const list = find(".thumbs"), held = list.contains(document.activeElement);
      list.setAttribute("aria-label", `Images by ${SORTS[state.sort]}`);
      list.append(...order(scores, state, data.images).map((image) => thumbs[image]));
      thumbs.forEach((item, image) => {
        const button = item.firstChild, value = say(state, weigh(scores, state, image));
        button.lastChild.textContent = value;
        button.setAttribute("aria-label", `${data.images[image]}, ${value}`);
        button.setAttribute("aria-current", String(image === current()));
        button.tabIndex = image === current() ? 0 : -1;
      });
      const item = thumbs[current()];
      if (held) item.firstChild.focus({ preventScroll: true });
      const [left, right] = [item.offsetLeft - list.offsetLeft, item.offsetLeft - list.offsetLeft + item.offsetWidth];
      if (left < list.scrollLeft || right > list.scrollLeft + list.clientWidth) list.scrollLeft = left - list.clientWidth / 3;
    }

    const inGallery = data.classes.map((_, c) => data.counts.some((images) => images.some(([, target, pred]) => target[c] + pred[c] > 0)));
    const rows = data.classes.map((title, c) => {
      const row = document.createElement("tr"), head = document.createElement("th"), button = document.createElement("button");
      head.scope = "row";
      button.type = "button";
      button.append(document.createElement("i"), title);
      button.addEventListener("click", () => light(c));
      head.append(button);
      row.append(head, document.createElement("td"), document.createElement("td"));
      for (const cell of [...row.cells].slice(1)) cell.className = "num";
      return row;
    });

    function makeLegend() {
      const table = document.createElement("table"), [head] = [table.createTHead().insertRow()];
      table.className = "legend";
      table.setAttribute("aria-label", "Classes: a button lights one; IoU within the image, in percent");
      for (const title of ["class, IoU %", "A", "B"]) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = title;
        if (title.length === 1) cell.className = "num";
        head.append(cell);
      }
      table.createTBody().append(...rows.filter((_, c) => inGallery[c]));
      find(".side .table").append(table);
      for (const [title, colour] of [["A is right, B is not", RIGHT], ["B is right, A is not", WRONG], ["both are wrong", BOTH_WRONG], ["both are right", PALE]]) {
        const line = document.createElement("span");
        line.append(swatch(colour), title);
        find(".errors-key").append(line);
      }
    }

    function renderLegend() {
      const image = current();
      rows.forEach((row, c) => {
        const [head, one, other] = row.cells;
        head.firstChild.setAttribute("aria-pressed", String(c === state.lit));
        head.querySelector("i").style.background = `rgb(${palette()[c].join(",")})`;
        one.textContent = percent(scores.iou(state.a, image, c));
        other.textContent = percent(scores.iou(state.b, image, c));
        row.classList.toggle("absent", data.counts[state.a][image][1][c] === 0);
      });
      find(".errors-key").hidden = ![state.left, state.right].includes("errors");
    }

    function renderAbout() {
      const image = current(), { a, b } = state;
      const [one, other] = [scores.miou(a, image), scores.miou(b, image)];
      find(".about").textContent =
        `${data.images[image]}. mIoU within the image: A, ${name(a)}, ${percent(one)} %; B, ${name(b)}, ${percent(other)} %; ` +
        `gain of A over B ${points(one - other)} points. They differ in ${percent(scores.apart(a, b, image) / scores.counted(image))} % of its labelled pixels.`;
    }

    // The stage: masks are inflated when they are first looked at; what comes too late is not painted.
    const mask = (key, text) => {
      if (!masks.has(key)) masks.set(key, inflate(text));
      return masks.get(key);
    };

    async function load() {
      const image = current(), { a, b } = state;
      if (shown === null) photo.src = data.photos[image]; // before the page counts as loaded
      const [target, predA, predB] = await Promise.all([
        mask(`target ${image}`, data.targets[image]),
        mask(`${a} ${image}`, data.predictions[a][image]),
        mask(`${b} ${image}`, data.predictions[b][image]),
      ]);
      if (image !== current() || a !== state.a || b !== state.b) return;
      if (shown === null || shown.image !== image) {
        const [height, width] = data.sizes[image];
        photo.src = data.photos[image];
        photo.width = canvas.width = width;
        photo.height = canvas.height = height;
      }
      shown = { image, target, a: predA, b: predB };
      layers = new Map();
      paint();
      tell();
      box.dataset.shown = `${data.images[image]} ${a} ${b}`;
    }

    // A view as pixels; null for the image, which lies beneath.
    function layer(view) {
      if (view === "image") return null;
      if (!layers.has(view)) {
        const surface = document.createElement("canvas");
        [surface.width, surface.height] = [canvas.width, canvas.height];
        const pixels = new ImageData(canvas.width, canvas.height);
        (view === "errors" ? paintErrors : paintClasses)(pixels.data, view);
        surface.getContext("2d").putImageData(pixels, 0, 0);
        layers.set(view, surface);
      }
      return layers.get(view);
    }

    function stripe(pixel) {
      const width = canvas.width, period = Math.max(4, Math.floor(canvas.height / 30));
      const shade = ((pixel % width) + Math.floor(pixel / width)) % period < period / 3 ? 150 : 215;
      return [shade, shade, shade];
    }

    function put(out, pixel, [red, green, blue], opacity = 255) {
      out[4 * pixel] = red;
      out[4 * pixel + 1] = green;
      out[4 * pixel + 2] = blue;
      out[4 * pixel + 3] = opacity;
    }

    function paintClasses(out, view) {
      const classes = shown[view], colours = palette();
      for (let pixel = 0; pixel < classes.length; pixel++) {
        const c = classes[pixel];
        if (state.lit >= 0 && c !== state.lit) put(out, pixel, PALE, 205);
        else if (c === UNLABELLED) put(out, pixel, stripe(pixel));
        else put(out, pixel, colours[c]);
      }
    }

    function paintErrors(out) {
      const { target, a, b } = shown, { lit } = state;
      for (let pixel = 0; pixel < target.length; pixel++) {
        const c = target[pixel];
        if (lit >= 0 && c !== lit && a[pixel] !== lit && b[pixel] !== lit) put(out, pixel, PALE, 205);
        else if (c === UNLABELLED) put(out, pixel, stripe(pixel));
        else if (a[pixel] === c) put(out, pixel, b[pixel] === c ? PALE : RIGHT);
        else put(out, pixel, b[pixel] === c ? WRONG : BOTH_WRONG);
      }
    }

    function paint() {
      if (shown === null) return;
      const { width, height } = canvas, brush = canvas.getContext("2d");
      const isAlone = state.right === "none", isBlinking = timer !== 0;
      const cut = isAlone ? width : isBlinking ? (isFlipped ? 0 : width) : Math.round((width * split.value) / split.max);
      brush.clearRect(0, 0, width, height);
      for (const [view, from, to] of [[state.left, 0, cut], [state.right, cut, width]]) {
        const pixels = to > from ? layer(view) : null;
        if (pixels) brush.drawImage(pixels, from, 0, to - from, height, from, 0, to - from, height);
      }
      const edge = find(".edge");
      edge.hidden = isAlone || isBlinking;
      edge.style.left = `${(100 * cut) / width}%`;
      const title = (view) => ({ a: `A ${name(state.a)}`, b: `B ${name(state.b)}`, errors: "errors, A beside B" })[view] ?? view;
      find(".name.left").textContent = cut > 0 ? title(state.left) : "";
      find(".name.right").textContent = cut < width && !isAlone ? title(state.right) : "";
      const lit = state.lit < 0 ? "" : `, only ${data.classes[state.lit]}`;
      stage.setAttribute("aria-label", `${data.images[shown.image]}: ${title(state.left)}${isAlone ? "" : `, beside it ${title(state.right)}`}${lit}. Arrow keys name the class of a pixel.`);
    }

    // Naming the classes of a pixel: the one under the pointer, or that of the arrow keys.
    function tell() {
      readout.replaceChildren();
      if (point === null || shown === null) {
        readout.textContent = "Point at the image to name the class of a pixel.";
        return;
      }
      const [x, y] = point, pixel = y * canvas.width + x, step = data.sizes[shown.image][2];
      readout.append(`x ${x * step}, y ${y * step}`);
      for (const [title, classes] of [["target", shown.target], ["A", shown.a], ["B", shown.b]]) {
        const c = classes[pixel], told = document.createElement("b");
        told.textContent = classAt(c);
        readout.append(c === UNLABELLED ? " " : swatch(palette()[c]), `${title} `, told);
      }
    }

    function pointAt(x, y, isCrossed) {
      point = [Math.max(0, Math.min(canvas.width - 1, x)), Math.max(0, Math.min(canvas.height - 1, y))];
      cross.hidden = !isCrossed;
      cross.style.left = `${(100 * (point[0] + 0.5)) / canvas.width}%`;
      cross.style.top = `${(100 * (point[1] + 0.5)) / canvas.height}%`;
      tell();
    }

    function follow(event) {
      const frame = canvas.getBoundingClientRect();
      const [x, y] = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
      pointAt(Math.floor(x * canvas.width), Math.floor(y * canvas.height), false);
      if (event.buttons & 1 && !split.disabled) {
        split.value = x * split.max;
        paint();
      }
    }

    function stopBlinking() {
      clearInterval(timer);
      timer = 0;
      isFlipped = false;
      blink.setAttribute("aria-pressed", "false");
    }

    function toggleBlinking() {
      if (timer !== 0 || blink.disabled) stopBlinking();
      else {
        timer = setInterval(() => { isFlipped = !isFlipped; paint(); }, BLINK_MS);
        blink.setAttribute("aria-pressed", "true");
      }
      paint();
    }

    stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); follow(event); });
    stage.addEventListener("pointermove", follow);
    stage.addEventListener("pointerleave", () => { point = null; tell(); });
    stage.addEventListener("blur", () => { point = null; cross.hidden = true; tell(); });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    split.addEventListener("input", paint);
    blink.addEventListener("click", toggleBlinking);
    find(".swap").addEventListener("click", () => choose({ a: state.b, b: state.a }));
    selectA.addEventListener("change", () => choose({ a: Number(selectA.value) }));
    selectB.addEventListener("change", () => choose({ b: Number(selectB.value) }));
    selectSort.addEventListener("change", () => choose({ sort: selectSort.value }, false));
    selectColours.addEventListener("change", () => choose({ colours: selectColours.value }, false));
    for (const side of ["left", "right"])
      for (const input of box.querySelectorAll(`input[name=gallery-${side}]`)) input.addEventListener("change", () => choose({ [side]: input.value }, false));

    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

    function pressOnStage(event) {
      const arrow = ARROWS[event.key];
      if (event.key === "Escape" && !cross.hidden) {
        point = null;
        cross.hidden = true;
        tell();
        return true;
      }
      if (!arrow || shown === null) return false;
      const [x, y] = point ?? [canvas.width >> 1, canvas.height >> 1], far = event.shiftKey ? 10 : 1;
      pointAt(x + far * arrow[0], y + far * arrow[1], true);
      return true;
    }

    function press(event) {
      const digit = /^Digit([0-5])$/.exec(event.code)?.[1]; // with Shift the key is another sign
      if (digit && event.shiftKey) choose({ right: digit === "0" ? "none" : VIEWS[digit - 1] }, false);
      else if (digit > 0) choose({ left: VIEWS[digit - 1] }, false);
      else if (event.key.toLowerCase() === "a") turn("a", event.shiftKey ? -1 : 1);
      else if (event.key.toLowerCase() === "b") turn("b", event.shiftKey ? -1 : 1);
      else if (event.key === "x") choose({ a: state.b, b: state.a });
      else if (event.key === "k") toggleBlinking();
      else if (event.key === "c") choose({ colours: state.colours === "own" ? "apart" : "own" }, false);
      else if (event.key === "n" || event.key === "p") move(event.key === "n" ? 1 : -1);
      else if (event.key === "Escape" && state.lit >= 0) light(-1);
      else if (find(".thumbs").contains(event.target) && ARROWS[event.key]?.[0]) move(ARROWS[event.key][0]);
      else return false;
      return true;
    }

    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, [type=range]")) return;
      if ((event.target === stage && pressOnStage(event)) || press(event)) event.preventDefault();
    });

    for (const select of [selectA, selectB]) data.variants.forEach((variant, i) => select.append(new Option(variant.shown, i)));
    for (const [value, title] of Object.entries(SORTS)) selectSort.append(new Option(title, value));
    if (data.classes.length > data.numApart) selectColours.options[1].textContent += `, ${data.numApart} of them`;
    makeLegend();
    box.hidden = false;
    address.follow((choices) => { read(choices); render(); });
    if (address.isNew() && ["image", "a", "b", "class", "view"].some((key) => address.read().has(key))) box.scrollIntoView();
  }

  // Fixed panels are what lies beneath on a screen; in print, where all is open, they are what is left.
  function fold(panels) {
    const details = document.createElement("details"), summary = document.createElement("summary");
    details.className = panels.className;
    summary.textContent = "Fixed panels: three images under all variants, and close-ups";
    details.append(summary, ...panels.childNodes);
    panels.replaceWith(details);
  }

  const box = document.querySelector(".gallery");
  if (box && typeof DecompressionStream !== "undefined") {
    start(box);
    fold(document.querySelector(".fixed"));
  }
}
