// The molecule in nglview's stage. Python sends arrays; this makes shapes of them, in every view of
// the stage that is open. Names are those that Python gave: a click tells the atom's.

const NEAR = { clipNear: 0, clipFar: 100, clipDist: 0, fogNear: 100, fogFar: 100 };
const LABELS = { labelParams: { attachment: "middle-center", zOffset: 1 } };
const IN_SOFTWARE = /swiftshader|llvmpipe|software/i;

const floats = (view) =>
  new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const triple = (array, k) => [array[3 * k], array[3 * k + 1], array[3 * k + 2]];

function drawnInSoftware(gl) {
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  return !!names && IN_SOFTWARE.test(gl.getParameter(names.UNMASKED_RENDERER_WEBGL));
}

function setUp(view) {
  view.executeCode("this.NGL = NGL");  // nglview keeps its NGL to itself
  const { stage } = view, { renderer, container } = stage.viewer;
  stage.setParameters({ tooltip: true, ...NEAR });
  // At rest NGL draws everything eight times over for smoother edges. Without a graphics card that
  // holds up the next click for half a second and more; edges are smoothed once as it is.
  if (drawnInSoftware(renderer.getContext())) stage.setParameters({ sampleLevel: -1 });
  stage.mouseControls.remove("clickPick-left");  // a click chooses, and does not move the view
  for (const part of [renderer.domElement, container]) part.style.backgroundColor = "transparent";
  if (view.$pickingInfo) view.$pickingInfo.hide();
  let picks = 0;
  stage.signals.clicked.add((proxy) => {
    const name = proxy && proxy.sphere && proxy.sphere.name;
    if (!name) return;
    picks += 1;
    view.model.set("picked", { sphere: name, count: picks });
    view.touch();
  });
  // One of each kind, too small to be seen, stays for good: the compiled shaders are thrown away
  // with their last user, and to compile them anew would take longer than all the rest.
  const kept = new view.NGL.Shape("kept", LABELS), nowhere = [0, 0, 0], tiny = 1e-6;
  kept.addSphere(nowhere, nowhere, tiny, "");
  kept.addCylinder(nowhere, [tiny, 0, 0], nowhere, tiny, "");
  kept.addText(nowhere, nowhere, tiny, ".");
  stage.addComponentFromObject(kept).addRepresentation("buffer", {});
}

// The molecule fills its stage, which may still grow, until it is turned by hand. (The stage's own
// autoView would make room for what setUp keeps.)
function fill(stage, molecule) {
  const { container } = stage.viewer;
  const resized = new ResizeObserver(() => { stage.handleResize(); molecule.autoView(0); });
  for (const touch of ["pointerdown", "wheel"]) {
    container.addEventListener(touch, () => resized.disconnect(), { once: true, capture: true });
  }
  resized.observe(container);
}

function shapeOf(NGL, data) {
  const shape = new NGL.Shape("molecule", LABELS);
  const places = floats(data.places), colours = floats(data.colours), inks = floats(data.inks);
  const radii = floats(data.radii);
  data.labels.forEach((name, k) => {
    shape.addSphere(triple(places, k), triple(colours, k), radii[k], name);
    if (data.written) shape.addText(triple(places, k), triple(inks, k), 0.5, name);
  });
  for (const [i, j] of data.bonds) {
    const a = triple(places, i), b = triple(places, j), middle = a.map((v, n) => (v + b[n]) / 2);
    for (const end of [a, b]) shape.addCylinder(end, middle, data.bond_colour, 0.09, "bond");
  }
  const paths = floats(data.paths), widths = floats(data.widths), rings = data.taper.length;
  data.tubes.forEach(([name, kind], n) => {
    for (let k = n * rings, ring = 1; ring < rings; k += 1, ring += 1) {
      const radius = widths[n] * data.taper[ring];
      shape.addCylinder(triple(paths, k), triple(paths, k + 1), data.tube_colours[kind], radius, name);
    }
  });
  return shape;
}

function show(view, data) {
  const begin = performance.now();
  if (!view.NGL) setUp(view);
  const shape = shapeOf(view.NGL, data), { stage } = view, { dataset } = stage.viewer.container;
  if (view.molecule) {  // another shape in the same component: nglview tells Python of new ones
    const [representation] = view.molecule.reprList;
    view.molecule.object = view.molecule.shape = shape;  // by which a click is known
    representation.repr.buffer = shape.getBufferList();
    representation.build();
  } else {
    view.molecule = stage.addComponentFromObject(shape);
    view.molecule.addRepresentation("buffer", {});
    fill(stage, view.molecule);
  }
  dataset.ms = (performance.now() - begin).toFixed(1);
  dataset.count = 1 + Number(dataset.count || 0);
}

function initialize({ model }) {
  const draw = async () => {
    const stage = await model.widget_manager.get_model(model.get("stage"));
    const views = await Promise.all(Object.values(stage.views || {}));
    const data = model.get("data");
    for (const view of views) if (view.stage && data.labels) show(view, data);
  };
  model.on("change:data", draw);
  model.on("msg:custom", draw);  // there is a new view
}

export default { initialize };
