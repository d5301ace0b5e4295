// What a browser, plotly, a notebook's widgets and NGL offer to our scripts, as far as they ask for
// it. Nothing is drawn: every stroke and every call is written down, to be read by the tests.

globalThis.window = globalThis;
globalThis.devicePixelRatio = 1;
globalThis.performance ??= { now: () => 0 };
globalThis.console ??= { error: (error) => { throw error; } };
globalThis.getComputedStyle = () => ({ color: "ink" });
globalThis.atob ??= (text) => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const bits = [...text.replace(/=/g, "")].map((c) => letters.indexOf(c).toString(2).padStart(6, "0"));
  return bits.join("").match(/.{8}/g).map((byte) => String.fromCharCode(parseInt(byte, 2))).join("");
};

const screen = { webgl: true, dark: false, elements: {}, classes: [], darkened: [] };

class Element {
  constructor(tag, { id, hidden, value, text, classes, options } = {}) {
    Object.assign(this, { tag, id, hidden: !!hidden, textContent: text || "", options: options || [] });
    Object.assign(this, { classes: classes || [], dataset: {}, style: {}, listeners: [], children: [] });
    this.clientWidth = 420; this.clientHeight = 360;
    this.value = options ? options[0] : value;
  }

  // a choice holds one of its options or nothing, whatever it is told
  get value() { return this.held; }
  set value(value) {
    const text = String(value);
    this.held = this.tag !== "select" || this.options.includes(text) ? text : "";
  }

  replaceChildren(...options) {
    this.texts = options.map((option) => option.text);
    this.options = options.map((option) => option.value);
    this.held = this.options[0];
  }

  addEventListener(name, act) { this.listeners.push([name, act]); }
  on(name, act) { this.listeners.push([name, act]); }
  fire(name, event) { for (const [n, act] of [...this.listeners]) if (n === name) act(event || {}); }
  choose(value) { this.value = value; this.fire("change"); }
  append(...children) { this.children.push(...children); }
  setAttribute(name, value) { this[name] = value; }
  getBoundingClientRect() { return { left: 7, top: 11 }; }
  getContext(kind) {
    if (kind !== "2d") return screen.webgl ? {} : null;
    this.pen ??= new Pen();
    this.pen.canvas = this;
    return this.pen;
  }
}

globalThis.document = {
  body: new Element("body"),
  createElement: (tag) => new Element(tag),
  getElementById: (id) => screen.elements[id] || null,
  querySelectorAll: (selector) =>
    screen.classes.filter((e) => e.classes.includes(selector.split(".").pop())),
  querySelector: (selector) => document.querySelectorAll(selector)[0] || null,
};
globalThis.matchMedia = (query) => ({
  get matches() { return query.includes("dark") ? screen.dark : true; },
  addEventListener: (_, act) => screen.darkened.push(act),
});
globalThis.Option = function (text, value) { this.text = text; this.value = String(value); };

function openPage(parts) {
  for (const part of parts) {
    const element = new Element(part.tag, part);
    if (part.id) screen.elements[part.id] = element;
    screen.classes.push(element);
  }
}

// -- a canvas ----------------------------------------------------------------------------------

class Pen {
  constructor() { this.strokes = []; this.kept = []; this.at = [0, 0, 0]; this.dash = []; this.path = []; }
  setTransform(...matrix) { this.matrix = matrix; }
  clearRect() { this.strokes = []; }
  save() { this.kept.push([this.at, this.fillStyle, this.font, this.textAlign]); }
  restore() { [this.at, this.fillStyle, this.font, this.textAlign] = this.kept.pop(); }
  translate(x, y) { this.at = [x, y, this.at[2]]; }
  rotate(turn) { this.at = [this.at[0], this.at[1], turn]; }
  note(what, more) {
    this.strokes.push({ what, fill: this.fillStyle, line: this.strokeStyle, width: this.lineWidth,
      alpha: this.globalAlpha ?? 1, dash: this.dash, ...more });
  }
  fillText(text, x, y) {
    const [left, top, turn] = this.at;
    this.note("text", { text, x: left + x, y: top + y, turn, align: this.textAlign, font: this.font });
  }
  fillRect(x, y, w, h) { this.note("rect", { x, y, w, h }); }
  strokeRect(x, y, w, h) { this.note("box", { x, y, w, h }); }
  setLineDash(dash) { this.dash = dash; }
  beginPath() { this.path = []; }
  moveTo(x, y) { this.path.push([x, y]); }
  lineTo(x, y) { this.path.push([x, y]); }
  arc(x, y, r) { this.round = [x, y, r]; this.path = null; }
  stroke() {
    if (this.path) this.note("line", { points: this.path });
    else this.note("ring", { x: this.round[0], y: this.round[1], r: this.round[2] });
  }
  fill() { this.note("dot", { x: this.round[0], y: this.round[1], r: this.round[2] }); }
  putImageData(image) { this.canvas.pixels = Array.from(image.data); }
  drawImage(image, x, y, w, h) {
    this.note("image", { x, y, w, h, size: image.width, pixels: image.pixels,
      smooth: this.imageSmoothingEnabled });
  }
}

globalThis.ImageData = class {
  constructor(width, height) { this.data = new Uint8ClampedArray(4 * width * height); }
};
const observers = [];
globalThis.ResizeObserver = class {
  constructor(act) { this.act = act; observers.push(this); }
  observe(what) { this.what = what; }
  disconnect() { this.what = null; }
};

// -- plotly: a change with a list in it gives each trace its part, as plotly's does ------------

function change(target, path, value) {
  const names = path.split("."), last = names.pop();
  names.reduce((part, name) => (part[name] ??= {}), target)[last] = value;
}
globalThis.Plotly = {
  newPlot: (place, data, layout, config) => {
    Object.assign(place, { data, layout, config });
    return Promise.resolve(place);
  },
  restyle: (place, changes, which) => {
    (which || place.data.map((_, n) => n)).forEach((trace, n) => {
      for (const [path, value] of Object.entries(changes)) {
        change(place.data[trace], path, Array.isArray(value) ? value[n % value.length] : value);
      }
    });
  },
  relayout: (place, changes) => {
    for (const [path, value] of Object.entries(changes)) change(place.layout, path, value);
  },
  update: (place, changes, layout) => { Plotly.restyle(place, changes); Plotly.relayout(place, layout); },
};

// -- widgets -----------------------------------------------------------------------------------

class Model {
  constructor(values, managed) {
    Object.assign(this, { values, listeners: [], sent: [] });
    this.widget_manager = { get_model: (id) => Promise.resolve(managed[id]) };
  }
  get(name) { return this.values[name]; }
  set(name, value) { this.values[name] = value; }
  save_changes() { this.sent.push({ ...this.values }); }
  on(name, act) { this.listeners.push([name, act]); }
  off(name) { this.listeners = this.listeners.filter(([n]) => n !== name); }
  fire(name, ...parts) { for (const [n, act] of [...this.listeners]) if (n === name) act(...parts); }
  tell(name, value) { this.set(name, value); this.fire("change:" + name); }
}

// Bytes come as a view into something larger, as a message's do.
function received(data) {
  for (const [name, value] of Object.entries(data)) {
    if (!value || !value.bytes) continue;
    const whole = new Uint8Array([9, 9, 9, 9, ...value.bytes, 9, 9, 9, 9]);
    data[name] = new DataView(whole.buffer, 4, value.bytes.length);
  }
  return data;
}

// -- NGL's stage, as nglview holds it ----------------------------------------------------------

class Shape {
  constructor() { this.parts = []; }
  addSphere(at, colour, radius, name) { this.parts.push({ what: "sphere", at, colour, radius, name }); }
  addText(at, colour, size, text) { this.parts.push({ what: "text", at, colour, text }); }
  addCylinder(from, to, colour, radius, name) {
    this.parts.push({ what: "cylinder", from, to, colour, radius, name });
  }
  getBufferList() { return this.parts; }
}

class StageView {
  constructor(renderer) {
    this.components = []; this.clicks = []; this.touched = 0;
    this.model = new Model({}, {});
    const gl = { getExtension: () => ({ UNMASKED_RENDERER_WEBGL: 1 }), getParameter: () => renderer };
    const container = new Element("div"), canvas = new Element("canvas");
    this.stage = {
      parameters: {}, removed: [],
      viewer: { renderer: { getContext: () => gl, domElement: canvas }, container },
      setParameters: (values) => Object.assign(this.stage.parameters, values),
      mouseControls: { remove: (name) => this.stage.removed.push(name) },
      signals: { clicked: { add: (act) => this.clicks.push(act) } },
      handleResize: () => {},
      addComponentFromObject: (shape) => {
        const component = { shape, reprList: [], autoView: () => { component.fitted = true; } };
        component.addRepresentation = () => {
          const repr = { buffer: shape.getBufferList() };
          component.reprList.push({ repr, build: () => { component.built = repr.buffer; } });
          component.built = repr.buffer;
        };
        this.components.push(component);
        return component;
      },
    };
  }
  executeCode(code) { new Function("NGL", code).call(this, { Shape }); }
  touch() { this.touched += 1; }
}
