"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const tip = document.getElementById("tip");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const figures = new Map();

  // A figure in the page's colors, whichever they are now.
  function painted(figure) {
    const css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    const { layout } = figure;
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      hoverlabel: { bgcolor: color("--paper"), bordercolor: color("--line"), font: { color: color("--ink") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--accent") },
    });
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis/.test(name)) layout[name].gridcolor = color("--line");
    }
    for (const trace of figure.data) {
      if (trace.type === "heatmap") trace.colorscale = [[0, color("--paper")], [1, color("--accent")]];
    }
    return figure;
  }

  function draw(place) {
    if (figures.has(place)) return;
    const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    figures.set(place, figure);
    painted(figure);
    Plotly.newPlot(place, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      typesetMath: false,
      displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false,
      // No others: plotly has one that sends the figure to a server of its maker.
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      showSendToCloud: false,
      plotlyServerURL: "",
    });
    if (place.dataset.kind === "map") listen(place);
  }

  function repaint() {
    for (const [place, figure] of figures) {
      painted(figure);
      Plotly.react(place, figure.data, figure.layout);
    }
  }

  function show(place, point) {
    const [origin, answer, score, number] = point.customdata;
    const image = tip.querySelector("img");
    image.hidden = number < 0;
    if (number >= 0) image.src = pictures[number];
    tip.querySelector("div").textContent =
      `true: ${origin}\nanswer: ${answer}` + (score === null ? "" : `\nscore: ${Number(score.toPrecision(9))}`);
    tip.hidden = false;
    const box = place.getBoundingClientRect();
    const x = box.left + point.xaxis._offset + point.xaxis.l2p(point.x) + 14;
    const y = box.top + point.yaxis._offset + point.yaxis.l2p(point.y) + 14;
    tip.style.left = `${Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(y, innerHeight - tip.offsetHeight - 4))}px`;
  }

  // Pointer, finger or arrow keys: each shows the image under it.
  function listen(place) {
    const hide = () => { tip.hidden = true; };
    for (const seen of ["plotly_hover", "plotly_click"]) place.on(seen, (event) => show(place, event.points[0]));
    place.on("plotly_unhover", hide);
    place.addEventListener("blur", hide);
    addEventListener("scroll", hide, { passive: true });
    const points = place.data.flatMap(({ x, y, customdata }) =>
      x.map((_, i) => ({ x: x[i], y: y[i], customdata: customdata[i] })),
    );
    let at = -1;
    place.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !points.length) return;
      event.preventDefault();
      at = at < 0 && step < 0 ? points.length - 1 : (at + step + points.length) % points.length;
      const { xaxis, yaxis } = place._fullLayout;
      show(place, { ...points[at], xaxis, yaxis });
    });
  }

  // Drawn when they come near, so that a page of many plots opens at once.
  const near = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        if (isIntersecting) {
          near.unobserve(target);
          draw(target);
        }
      }
    },
    { rootMargin: "800px" },
  );
  plots.forEach((place) => near.observe(place));
  dark.addEventListener("change", repaint);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("print");
    plots.forEach(draw);
    repaint();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("print");
    repaint();
  });
})();
