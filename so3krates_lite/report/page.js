// Draws the figures found in the page and links the attention views: one set of controls (block,
// layer, channel, quantity, atom, threshold) drives the molecule, the matrix and the distance plot.
// Tube geometry comes ready from Python; here tubes only get widths and colours. Where WebGL is
// missing, the still picture that stands in the page stays where it is.
(function () {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const read = (id) => { const e = $(id); return e ? JSON.parse(e.textContent) : null; };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const ink = () => (dark.matches ? "#b9c2cd" : "#4a5460");
  const config = { responsive: true, displaylogo: false, showSendToCloud: false,
    displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false,
    plotlyServerURL: "", topojsonURL: "none:",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "resetCameraLastSave3d",
      "tableRotation"], toImageButtonOptions: { scale: 2 } };
  const drawn = [];
  function draw(id) {
    const spec = read("data-" + id);
    if (!spec || !window.Plotly) return Promise.resolve(null);
    const place = $("figure-" + id);
    spec.layout.font = Object.assign({}, spec.layout.font, { color: ink() });
    spec.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(125,133,144,.75)",
      activecolor: ink() };
    return Plotly.newPlot(place, spec.data, spec.layout, config).then(() => {
      drawn.push(place);
      return place;
    });
  }
  dark.addEventListener("change", () => drawn.forEach((place) =>
    Plotly.relayout(place, { "font.color": ink(), "modebar.activecolor": ink() })));
  function hasWebGL() {
    try {
      const canvas = document.createElement("canvas");
      return !!(canvas.getContext("webgl2") || canvas.getContext("webgl"));
    } catch (error) { return false; }
  }

  const plain = ["curve", "force", "energy"].filter((id) => $("figure-" + id));
  const A = read("attention");
  plain.reduce((before, id) => before.then(() => draw(id)), Promise.resolve()).then(explore);

  function explore() {
    if (!A) return;
    const views = {};
    const box = { block: $("block"), layer: $("layer"), channel: $("channel"),
      quantity: $("quantity"), atom: $("atom"), role: $("role"), threshold: $("threshold") };
    const fill = (select, names) => {
      const old = select.value;
      select.replaceChildren(...names.map((name, n) => new Option(name, n)));
      select.value = +old < names.length && old !== "" ? old : 0;
    };
    fill(box.layer, Array.from({ length: A.layers }, (_, n) => "layer " + n));
    fill(box.channel, A.channels[A.start.block]);
    box.atom.replaceChildren(new Option("all atoms", -1),
      ...A.labels.map((name, n) => new Option(name, n)));
    for (const name of ["block", "layer", "channel", "quantity"]) box[name].value = A.start[name];
    const state = () => ({ block: box.block.value, layer: +box.layer.value,
      channel: +box.channel.value, quantity: box.quantity.value, atom: +box.atom.value,
      role: box.role.value, threshold: +box.threshold.value / 100 });
    const values = (s, quantity) =>
      A.values[s.block][quantity || s.quantity][s.layer].map((row) => row[s.channel]);
    const pairs = (s) => A.lists[A.list_of[s.block]];
    const mine = (s, p) => s.atom < 0 || pairs(s)[s.role][p] === s.atom;
    for (const list of Object.values(A.lists)) {
      list.offset = Int8Array.from(atob(list.offset), (c) => c.charCodeAt(0));
    }
    function tubes(s, value, limit) {
      const list = pairs(s), offset = list.offset;
      const size = offset.length / Math.max(list.path.length, 1);
      const x = [], y = [], z = [], i = [], j = [], k = [], intensity = [];
      value.forEach((v, p) => {
        if (v === 0 || Math.abs(v) < s.threshold * limit || !mine(s, p)) return;
        const width = A.widest / 127 * Math.sqrt(Math.min(Math.abs(v) / limit, 1));
        const base = x.length, path = list.path[p], first = p * size;
        const kind = v < 0 ? 0 : s.quantity === "contribution" ? 1 : 2;
        for (let n = 0; n < size; n += 3) {
          const c = 3 * Math.floor(n / 3 / A.sides), o = first + n;
          x.push(path[c] + width * offset[o]);
          y.push(path[c + 1] + width * offset[o + 1]);
          z.push(path[c + 2] + width * offset[o + 2]);
          intensity.push(kind);
        }
        for (const face of A.faces) {
          i.push(base + face[0]); j.push(base + face[1]); k.push(base + face[2]);
        }
      });
      return { x: [x], y: [y], z: [z], i: [i], j: [j], k: [k], intensity: [intensity] };
    }
    function sentence(s, value, limit) {
      let best = -1, shown = 0, all = 0;
      value.forEach((v, p) => {
        if (!mine(s, p)) return;
        all += 1;
        if (v !== 0 && Math.abs(v) >= s.threshold * limit) shown += 1;
        if (best < 0 || Math.abs(v) > Math.abs(value[best])) best = p;
      });
      const who = best < 0 ? "" : " Strongest: " + A.labels[pairs(s).receiver[best]]
        + " attends to "
        + A.labels[pairs(s).sender[best]] + " with "
        + (value[best] < 0 ? "\u2212" : s.quantity === "contribution" ? "" : "+")
        + Math.abs(value[best]).toPrecision(3) + ".";
      return shown + " of " + all + " directed pairs drawn; the scale ends at "
        + limit.toPrecision(3) + " for every layer and channel of this block." + who;
    }
    function update() {
      const s = state(), value = values(s), limit = A.limit[s.block][s.quantity] || 1;
      const signed = s.quantity !== "contribution";
      const name = s.block + " attention, layer " + s.layer + " · " +
  A.channels[s.block][s.channel];
      if (views.molecule) Plotly.restyle(views.molecule, tubes(s, value, limit), [1]);
      if (views.matrix) {
        const z = A.labels.map(() => new Array(A.labels.length).fill(0));
        value.forEach((v, p) => { z[pairs(s).receiver[p]][pairs(s).sender[p]] += v; });
        Plotly.update(views.matrix, { z: [z], zmin: signed ? -limit : 0, zmax: limit,
          colorscale: [signed ? A.diverging : A.sequential],
          "colorbar.title.text": A.axis[s.block][s.quantity] },
          { "title.text": name, shapes: s.atom < 0 ? [] : [Object.assign(
            { type: "rect", line: { color: ink(), width: 2 } }, s.role === "receiver"
              ? { x0: -.5, x1: A.labels.length - .5, y0: s.atom - .5, y1: s.atom + .5 }
              : { y0: -.5, y1: A.labels.length - .5, x0: s.atom - .5, x1: s.atom + .5 })] });
      }
      if (views.distance) {
        const most = Math.max(0, ...values(s, "coefficient").map(Math.abs));
        const here = A.list_of[s.block], wave = s.quantity === "weighted" && here === "local";
        const y = A.phi ? [A.phi.map((f) => most * f), A.phi.map((f) => -most * f)] : [];
        const opacity = y.map(() => 1), visible = y.map(() => wave);
        for (const trace of A.traces) {
          const shown = trace.list === here;
          y.push(trace.pairs.map((p) => (shown ? value[p] : 0)));
          opacity.push(trace.pairs.map((p) => (shown && mine(s, p) ? .95 : .1)));
          visible.push(shown);
        }
        Plotly.update(views.distance, { y: y, "marker.opacity": opacity,
          visible: visible },
          { "title.text": name, "yaxis.title.text": A.axis[s.block][s.quantity],
            "xaxis.range": [0, 1.02 * pairs(s).reach],
            "yaxis.range": [signed ? -1.06 * limit : 0, 1.06 * limit] });
      }
      document.querySelectorAll(".key .signed").forEach((e) => { e.hidden = !signed; });
      document.querySelector(".key .size").hidden = signed;
      $("share").textContent = box.threshold.value + " %";
      $("formula").textContent = A.formula[s.block][s.quantity];
      $("say").textContent = sentence(s, value, limit);
    }
    function choose(atom) {
      box.atom.value = +box.atom.value === atom ? -1 : atom;
      update();
    }
    for (const name in box) box[name].addEventListener("change", () => {
      if (name === "block") fill(box.channel, A.channels[box.block.value]);
      update();
    });
    box.threshold.addEventListener("input", update);
    $("reset").addEventListener("click", () => {
      if (views.molecule) Plotly.relayout(views.molecule, { "scene.camera": JSON.parse(home) });
    });
    $("controls").hidden = false;
    let home = "null";
    const stage = $("figure-molecule"), still = $("still");
    let start = Promise.resolve(null);
    if (hasWebGL()) {
      stage.hidden = false;
      const spec = read("data-molecule"), eye = spec.layout.scene.camera.eye;
      const wide = Math.max(stage.clientWidth, 1);
      spec.layout.height = Math.round(Math.min(spec.layout.height, Math.max(360, 0.75 * wide)));
      const narrow = Math.max(1, 1.2 * spec.layout.height / wide);
      for (const axis of "xyz") eye[axis] *= narrow;
      home = JSON.stringify(spec.layout.scene.camera);
      $("data-molecule").textContent = JSON.stringify(spec);
      start = draw("molecule").then((place) => {
        views.molecule = place;
        still.hidden = true;
        // plotly repeats its 3D click while the button is down, and a drag begins with one too
        let under = null, down = null;
        place.on("plotly_hover", (event) => { under = event.points[0].text; });
        place.on("plotly_unhover", () => { under = null; });
        stage.addEventListener("pointerdown", (event) => { down = event; }, true);
        stage.addEventListener("pointerup", (event) => {
          const atom = A.labels.indexOf(under);
          const far = (axis) => (down ? Math.abs(event[axis] - down[axis]) : 9);
          if (atom >= 0 && far("clientX") + far("clientY") < 6) choose(atom);
        }, true);
      }).catch(() => { views.molecule = null; stage.hidden = true; });
    }
    start.then(() => {
      $("flat").hidden = !!views.molecule;
      if (!views.molecule) $("reset").hidden = true;
      return draw("matrix");
    }).then((place) => {
      views.matrix = place;
      if (place) place.on("plotly_click", (event) => {
        const cell = event.points[0].pointNumber || event.points[0].pointIndex;
        choose(cell[box.role.value === "receiver" ? 0 : 1]);
      });
      return draw("distance");
    }).then((place) => {
      views.distance = place;
      update();
      document.body.dataset.ready = "yes";
    });
  }
})();
