// Brings a figure to life when it comes into view: plotly's script is fetched then, once for the
// whole site, and a still picture stays where there is neither JavaScript nor WebGL.
(function () {
  "use strict";
  // a frame as high as its page, so that nothing scrolls within what scrolls
  for (const frame of document.querySelectorAll("iframe.whole")) {
    frame.addEventListener("load", () => {
      const page = frame.contentDocument && frame.contentDocument.documentElement;
      if (!page) return;
      const fit = () => { frame.style.height = page.querySelector("body").scrollHeight + 4 + "px"; };
      new ResizeObserver(fit).observe(page.querySelector("body"));
      fit();
    });
  }
  const places = document.querySelectorAll(".turning");
  if (!places.length || !("IntersectionObserver" in window)) return;
  const root = document.documentElement.dataset.content_root || "./";
  let library = null;
  function plotly() {
    library = library || new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = root + "_static/plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    });
    return library;
  }
  function needsWebGL(figure) {
    return figure.data.some((trace) => /3d|gl$|mesh|surface/.test(trace.type || ""));
  }
  function hasWebGL() {
    const canvas = document.createElement("canvas");
    return !!(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  }
  async function draw(place) {
    const figure = JSON.parse(place.querySelector("script").textContent);
    if (needsWebGL(figure) && !hasWebGL()) return;
    const Plotly = await plotly();
    // the camera sees so much from top to bottom: on a phone a scene is less high, or it is cut off
    const width = place.clientWidth, { scene, height, sliders } = figure.layout;
    if (scene && height > 0.85 * width) {
      figure.layout.height = Math.round(0.85 * width) + (sliders ? 80 : 0);
      place.style.minHeight = "0";
    }
    const stage = document.createElement("div");
    place.append(stage);
    const config = { responsive: true, displaylogo: false, displayModeBar: "hover",
      plotlyServerURL: "", topojsonURL: "none:" };
    await Plotly.newPlot(stage, figure.data, figure.layout, config);
    if (figure.frames) await Plotly.addFrames(stage, figure.frames);
    place.querySelectorAll(":scope > img").forEach((still) => still.remove());
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target).catch((error) => console.warn("a figure stays still:", error));
    }
  }, { rootMargin: "200px" });
  places.forEach((place) => watcher.observe(place));
})();
