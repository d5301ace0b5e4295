// One canvas that draws a matrix, points, lines, bars or many small matrices, and reports clicks.
// Data come from Python complete; nothing is loaded from anywhere.

const IN_MEMORY = { willReadFrequently: true };
const ABOVE = 30, BELOW = 44;  // px of a plot with axes, for its title and for its numbers

function interpolate(scale, t) {
  let k = 1;
  while (k < scale.length - 1 && scale[k].at < t) k += 1;
  const a = scale[k - 1], b = scale[k];
  const f = b.at > a.at ? (t - a.at) / (b.at - a.at) : 0;
  return a.rgba.map((v, n) => v + f * (b.rgba[n] - v));
}

const STEPS = 511;  // odd, so that zero has a colour of its own
const tables = new Map();

// The colours of a scale, made once.
function tableOf(data) {
  const name = String(data.scale);
  if (!tables.has(name)) {
    const scale = data.scale.map(([at, text]) => ({ at, rgba: text.match(/[\d.]+/g).map(Number) }));
    const parts = Array.from({ length: STEPS }, (_, k) => interpolate(scale, k / (STEPS - 1)));
    const texts = parts.map(([r, g, b, a]) => `rgba(${r | 0},${g | 0},${b | 0},${a})`);
    tables.set(name, { parts, texts });
  }
  return tables.get(name);
}

function stepOf(value, data) {
  const place = data.signed ? (value / data.limit + 1) / 2 : value / data.limit;
  return Math.round((STEPS - 1) * Math.min(Math.max(place, 0), 1));
}

function colours(data) {
  const { texts } = tableOf(data);
  return (value) => texts[stepOf(value, data)];
}

function floats(view) {
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// A square matrix as a picture of one pixel per entry, to be drawn at any size.
function picture(values, first, n, data) {
  const { parts } = tableOf(data), image = new ImageData(n, n);
  for (let k = 0; k < n * n; k += 1) {
    const value = values[first + k];
    if (value === 0) continue;
    const [r, g, b, a] = parts[stepOf(value, data)];
    image.data.set([r, g, b, 255 * a], 4 * k);
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = n;
  canvas.getContext("2d", IN_MEMORY).putImageData(image, 0, 0);
  return canvas;
}

function number(value, data) {
  if (value === 0) return "0";
  const text = Math.abs(value).toPrecision(3);
  return (value < 0 ? "\u2212" : data.signed ? "+" : "") + text;
}

function ticks(low, high, most) {
  const span = high - low || 1, raw = span / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= most);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * span; v += step) {
    found.push(Math.abs(v) < 1e-9 * span ? 0 : v);
  }
  return found;
}

const pairName = (data, i, j) => data.labels[i] + (data.between || " attends to ") + data.labels[j];
const label = (v) => String(+v.toPrecision(4)).replace("-", "\u2212");

class Plot {
  constructor(canvas, tip) {
    this.canvas = canvas; this.tip = tip; this.hit = () => null;
    // drawn by the processor: where WebGL runs in software, so would the graphics card's way of
    // drawing this, and a hundred times slower
    this.pen = canvas.getContext("2d", IN_MEMORY);
  }

  start(data) {
    const width = this.canvas.clientWidth || 420, height = this.canvas.clientHeight || 360;
    const dense = window.devicePixelRatio || 1;
    this.canvas.width = width * dense; this.canvas.height = height * dense;
    this.pen.setTransform(dense, 0, 0, dense, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    this.width = width; this.height = height;
    this.ink = getComputedStyle(this.canvas).color || "#555";
    this.faint = "rgba(125,133,144,0.3)";
    this.pen.textBaseline = "middle"; this.pen.textAlign = "left";
    this.write(data.title, 10, 13, { bold: true });
  }

  write(text, x, y, { align = "left", bold = false, size = 12, turn = 0 } = {}) {
    const pen = this.pen;
    pen.save();
    pen.font = `${bold ? "600 " : ""}${size}px system-ui, sans-serif`;
    pen.fillStyle = this.ink; pen.textAlign = align;
    pen.translate(x, y); pen.rotate(turn); pen.fillText(text, 0, 0);
    pen.restore();
  }

  box(x, y, w, h, style, width = 1) {
    this.pen.strokeStyle = style; this.pen.lineWidth = width; this.pen.strokeRect(x, y, w, h);
  }

  paste(image, x, y, side) {
    this.pen.imageSmoothingEnabled = image.width > side;
    this.pen.drawImage(image, x, y, side, side);
  }

  bar(data, x, y, h, colour) {
    for (let k = 0; k < h; k += 1) {
      const share = 1 - k / h, value = data.limit * (data.signed ? 2 * share - 1 : share);
      this.pen.fillStyle = colour(value); this.pen.fillRect(x, y + k, 12, 1.2);
    }
    this.box(x, y, 12, h, this.faint);
    const marks = data.signed ? [1, 0, -1] : [1, 0.5, 0];
    marks.forEach((m) => {
      const place = data.signed ? (1 - m) / 2 : 1 - m;
      this.write(label(m * data.limit), x + 17, y + place * h, { size: 11 });
    });
    this.write(data.unit, x + 62, y + h / 2, { align: "center", size: 11, turn: -Math.PI / 2 });
  }

  matrix(data) {
    const n = data.labels.length, colour = colours(data), pen = this.pen;
    const wide = 6.5 * Math.max(...data.labels.map((name) => name.length)); // pixels of a label
    const left = Math.max(40, wide + 20), top = 30, room = Math.min(this.width - left - 84, this.height - top - 46);
    const cell = room / n, side = cell * n, gap = cell > 7 ? 1 : 0;
    const values = floats(data.values);
    if (gap) values.forEach((value, k) => {
      if (value === 0) return;
      pen.fillStyle = colour(value);
      pen.fillRect(left + (k % n) * cell, top + Math.floor(k / n) * cell, cell - gap, cell - gap);
    });
    else this.paste(picture(values, 0, n, data), left, top, side);
    this.box(left, top, side, side, this.faint);
    const every = Math.max(1, Math.ceil(13 / cell)), apart = Math.ceil((wide + 6) / cell);
    data.labels.forEach((name, k) => {
      const x = left + (k + 0.5) * cell, y = top + (k + 0.5) * cell;
      if (k % every === 0) this.write(name, left - 5, y, { align: "right", size: 11 });
      if (k % Math.max(every, apart) === 0)
        this.write(name, x, top + side + 10, { align: "center", size: 11 });
    });
    const { receiver, sender } = data.chosen;
    if (receiver !== null) this.box(left, top + receiver * cell, side, cell, this.ink, 2);
    if (sender !== null) this.box(left + sender * cell, top, cell, side, this.ink, 2);
    this.write("answers (sender)", left + side / 2, top + side + 28, { align: "center", size: 11 });
    this.write("asks (receiver)", 8, top + side / 2,
      { align: "center", size: 11, turn: -Math.PI / 2 });
    this.bar(data, left + side + 14, top, side, colour);
    this.hit = (x, y) => {
      const j = Math.floor((x - left) / cell), i = Math.floor((y - top) / cell);
      if (i >= 0 && i < n && x < left && y > top) {
        return { picked: { atom: i }, text: data.labels[i] };
      }
      if (i < 0 || j < 0 || i >= n || j >= n) return null;
      const text = `${pairName(data, i, j)}: ${number(values[i * n + j], data)}`;
      return { picked: { receiver: i, sender: j }, text };
    };
  }

  axes(data, x0, x1, y0, y1) {
    const left = 64, right = this.width - 12, top = ABOVE, bottom = this.height - BELOW;
    const X = (v) => left + (v - x0) / (x1 - x0 || 1) * (right - left);
    const Y = (v) => bottom - (v - y0) / (y1 - y0 || 1) * (bottom - top);
    const pen = this.pen;
    pen.strokeStyle = this.faint; pen.lineWidth = 1;
    const line = (a, b, c, d) => { pen.beginPath(); pen.moveTo(a, b); pen.lineTo(c, d); pen.stroke(); };
    ticks(x0, x1, 6).forEach((v) => {
      line(X(v), top, X(v), bottom);
      this.write(label(v), X(v), bottom + 11, { align: "center", size: 11 });
    });
    ticks(y0, y1, 6).forEach((v) => {
      line(left, Y(v), right, Y(v));
      this.write(label(v), left - 6, Y(v), { align: "right", size: 11 });
    });
    pen.strokeStyle = this.ink; if (y0 < 0) line(left, Y(0), right, Y(0));
    this.write(data.x_title, (left + right) / 2, this.height - 12, { align: "center" });
    this.write(data.unit, 12, (top + bottom) / 2,
      { align: "center", size: 11, turn: -Math.PI / 2 });
    return { X, Y, left, right, top, bottom };
  }

  points(data) {
    const low = data.signed ? -1.06 * data.limit : 0, pen = this.pen;
    const { X, Y, right, top } = this.axes(data, 0, data.x_end, low, 1.06 * data.limit);
    if (data.envelope) {
      pen.strokeStyle = this.ink; pen.lineWidth = 1.2; pen.setLineDash([5, 4]);
      for (const sign of [1, -1]) {
        pen.beginPath();
        data.envelope.x.forEach((v, k) => {
          const y = Math.max(Math.min(sign * data.envelope.y[k], 1.06 * data.limit), low);
          if (k) pen.lineTo(X(v), Y(y)); else pen.moveTo(X(v), Y(y));
        });
        pen.stroke();
      }
      pen.setLineDash([]);
    }
    const dot = (k) => {
      const colour = data.palette[data.group[k] % data.palette.length];
      pen.globalAlpha = data.bright[k] ? 0.9 : 0.1;
      pen.beginPath(); pen.arc(X(data.x[k]), Y(data.y[k]), 4, 0, 7);
      pen.fillStyle = pen.strokeStyle = colour; pen.lineWidth = 1.5;
      if (data.open[k]) pen.stroke(); else pen.fill();
    };
    data.x.forEach((_, k) => { if (!data.bright[k]) dot(k); });
    data.x.forEach((_, k) => { if (data.bright[k]) dot(k); });
    pen.globalAlpha = 1;
    const wide = Math.max(45, ...data.groups.map((name) => 6.2 * name.length));
    data.groups.slice(0, 10).forEach((name, k) => {
      pen.fillStyle = pen.strokeStyle = data.palette[k % data.palette.length];
      pen.beginPath(); pen.arc(right - wide - 9, top + 10 + 15 * k, 4, 0, 7);
      if ((data.rings || []).includes(k)) pen.stroke(); else pen.fill();
      this.write(name, right - wide, top + 10 + 15 * k, { size: 11 });
    });
    this.hit = (x, y) => {
      let best = -1, near = 81;
      data.x.forEach((v, k) => {
        const d = (X(v) - x) ** 2 + (Y(data.y[k]) - y) ** 2 + (data.bright[k] ? 0 : 30);
        if (d < near) { near = d; best = k; }
      });
      if (best < 0) return null;
      const i = data.receiver[best], j = data.sender[best];
      const text = `${pairName(data, i, j)}: ${number(data.y[best], data)}`
        + ` at ${label(data.x[best])}`;
      return { picked: { receiver: i, sender: j }, text };
    };
  }

  series(data) {
    const low = Math.min(...data.x), high = Math.max(...data.x);
    const pad = (high - low) * 0.02 || 0.5, pen = this.pen;
    const least = data.lines.some((l) => l.y.some((v) => v < 0)) ? -1.1 * data.limit : 0;
    const room = this.height - ABOVE - BELOW;
    const named = Math.min((15 * data.lines.length + 14) / room, 0.5);  // above the lines
    const end = (data.limit - named * least) / (1 - named);
    const { X, Y, left, top, bottom } = this.axes(data, low - pad, high + pad, least, end);
    data.lines.forEach((line, n) => {
      pen.strokeStyle = pen.fillStyle = data.palette[n]; pen.lineWidth = 1.8;
      pen.beginPath();
      line.y.forEach((v, k) => (k ? pen.lineTo(X(data.x[k]), Y(v)) : pen.moveTo(X(data.x[k]), Y(v))));
      pen.stroke();
      if (line.y.length < 60) line.y.forEach((v, k) => {
        pen.beginPath(); pen.arc(X(data.x[k]), Y(v), 2.6, 0, 7); pen.fill();
      });
      pen.fillRect(left + 10, top + 8 + 15 * n, 14, 3);
      this.write(line.name, left + 30, top + 10 + 15 * n, { size: 11 });
    });
    pen.strokeStyle = this.ink; pen.lineWidth = 1.5; pen.beginPath();
    pen.moveTo(X(data.x[data.frame]), top); pen.lineTo(X(data.x[data.frame]), bottom); pen.stroke();
    this.hit = (x) => {
      let best = 0;
      data.x.forEach((v, k) => { if (Math.abs(X(v) - x) < Math.abs(X(data.x[best]) - x)) best = k; });
      const said = data.lines.map((l) => `${l.name}: ${number(l.y[best], data)}`).join("; ");
      return { picked: { frame: best }, text: `frame ${best}: ${said}` };
    };
  }

  // Lines over one axis, told apart by their dashes as well.
  curves(data) {
    const { X, Y, left, right, top, bottom } = this.axes(data, 0, data.x_end, 0, 1.06 * data.limit);
    const pen = this.pen, wide = 6.2 * Math.max(...data.lines.map((line) => line.name.length));
    const from = data.low_legend ? bottom - 15 * data.lines.length : top + 10;
    const stroke = (points) => {
      pen.beginPath();
      points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.stroke();
    };
    data.lines.forEach((line, n) => {
      const y = from + 15 * n, end = right - wide - 8;
      pen.strokeStyle = data.palette[n % data.palette.length]; pen.lineWidth = 2;
      pen.setLineDash(line.dash);
      stroke(data.x.map((v, k) => [X(v), Y(line.y[k])]));
      stroke([[end - 34, y], [end - 4, y]]);
      this.write(line.name, end, y, { size: 11 });
    });
    pen.setLineDash([]);
    this.hit = (x) => {
      if (x < left || x > right) return null;
      let best = 0;
      data.x.forEach((v, k) => { if (Math.abs(X(v) - x) < Math.abs(X(data.x[best]) - x)) best = k; });
      const said = data.lines.map((line) => `${line.name} ${label(line.y[best])}`).join("; ");
      return { picked: null, text: `${label(data.x[best])} %: ${said}` };
    };
  }

  // Named bars, one below the other; a click chooses what a bar stands for.
  bars(data) {
    const pen = this.pen, n = data.names.length, top = 30, bottom = this.height - 30;
    const left = 6.2 * Math.max(...data.names.map((name) => name.length)) + 16;
    const room = this.width - left - 70, step = Math.min((bottom - top) / n, 26);
    data.values.forEach((value, k) => {
      const y = top + k * step, long = Math.max(room * value / data.limit, 1);
      pen.fillStyle = data.colour; pen.fillRect(left, y + 2, long, step - 4);
      if (k === data.chosen) this.box(2, y, this.width - 4, step, this.ink, 1.5);
      this.write(data.names[k], left - 6, y + step / 2, { align: "right", size: 11 });
      this.write(label(+value.toPrecision(3)), left + long + 5, y + step / 2, { size: 11 });
    });
    this.write(data.unit, left + room / 2, top + n * step + 14, { align: "center", size: 11 });
    this.hit = (x, y) => {
      const k = Math.floor((y - top) / step);
      return k < 0 || k >= n ? null : { picked: data.picks[k], text: data.said[k] };
    };
  }

  overview(data) {
    const rows = data.layers, columns = data.channels.length, n = data.size;
    const colour = colours(data), left = 58, top = 44;
    const { buffer, byteOffset, byteLength } = data.steps;
    const values = new Int8Array(buffer, byteOffset, byteLength), scale = { ...data, limit: 127 };
    const tile = Math.min((this.width - left - 84) / columns, (this.height - top - 8) / rows);
    const side = tile - 8;
    data.channels.forEach((name, c) =>
      this.write(name, left + c * tile + side / 2, top - 11, { align: "center", size: 11 }));
    for (let r = 0; r < rows; r += 1) {
      this.write(`layer ${r}`, left - 6, top + r * tile + side / 2, { align: "right", size: 11 });
      for (let c = 0; c < columns; c += 1) {
        const x = left + c * tile, y = top + r * tile;
        this.paste(picture(values, (r * columns + c) * n * n, n, scale), x, y, side);
        const here = data.chosen[0] === r && data.chosen[1] === c;
        this.box(x, y, side, side, here ? this.ink : this.faint, here ? 2.5 : 1);
      }
    }
    this.bar(data, left + columns * tile + 6, top, Math.max(rows * tile - 8, 60), colour);
    this.hit = (x, y) => {
      const c = Math.floor((x - left) / tile), r = Math.floor((y - top) / tile);
      if (c < 0 || r < 0 || c >= columns || r >= rows) return null;
      return { picked: { layer: r, channel: c }, text: `layer ${r} · ${data.channels[c]}` };
    };
  }

  draw(data) {
    if (!data || !data.kind) return;
    this.start(data);
    this[data.kind](data);
  }
}

function hasWebGL() {
  try {
    const canvas = document.createElement("canvas");
    return !!(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  } catch (error) { return false; }
}

function render({ model, el }) {
  const canvas = document.createElement("canvas"), tip = document.createElement("div");
  canvas.style.cssText = `width:100%;height:${model.get("height")}px;display:block;cursor:crosshair`;
  canvas.setAttribute("role", "img");
  tip.style.cssText = "min-height:1.4em;font:12px system-ui,sans-serif;padding:0 10px;opacity:.85";
  el.style.width = "100%";
  el.append(canvas, tip);
  const plot = new Plot(canvas, tip);
  const draw = () => {
    const data = model.get("data");
    const begin = performance.now();
    plot.draw(data);
    canvas.setAttribute("aria-label", (data && data.title) || "plot");
    canvas.dataset.ms = (performance.now() - begin).toFixed(1);
    canvas.dataset.count = 1 + Number(canvas.dataset.count || 0);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return plot.hit(event.clientX - box.left, event.clientY - box.top);
  };
  canvas.addEventListener("mousemove", (event) => {
    const found = place(event);
    tip.textContent = found ? found.text : "";
  });
  canvas.addEventListener("mouseleave", () => { tip.textContent = ""; });
  let count = 0;
  canvas.addEventListener("click", (event) => {
    const found = place(event);
    if (!found || !found.picked) return;
    count += 1;
    model.set("picked", { ...found.picked, count });
    model.save_changes();
  });
  model.on("change:data", draw);
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  draw();
  model.set("webgl", hasWebGL() ? "yes" : "no");
  model.save_changes();
  return () => { observer.disconnect(); model.off("change:data", draw); };
}

export default { render };
