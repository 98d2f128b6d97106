"use strict";
// Show the test image under the pointer, finger or arrow keys on each map.
(() => {
  const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);
  const tip = document.getElementById("tip");
  const [picture, text] = tip.children;

  for (const map of document.querySelectorAll(".map")) {
    const points = JSON.parse(document.getElementById(map.dataset.points).textContent);
    const image = map.querySelector("img");
    const ring = map.querySelector(".ring");
    let current = -1;

    const hide = () => { tip.hidden = ring.hidden = true; };
    const show = (index) => {
      current = index;
      const [x, y, label, thumbnail] = points[index];
      const box = image.getBoundingClientRect();
      ring.hidden = tip.hidden = false;
      ring.style.left = `${100 * x}%`;
      ring.style.top = `${100 * y}%`;
      picture.hidden = thumbnail < 0;
      if (thumbnail >= 0) picture.src = thumbnails[thumbnail];
      text.textContent = label;
      const left = box.left + x * box.width + 14;
      const top = box.top + y * box.height + 14;
      tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${Math.max(4, Math.min(top, innerHeight - tip.offsetHeight - 4))}px`;
    };
    const point = (event) => {
      const box = image.getBoundingClientRect();
      let nearest = -1;
      let best = 20;  // pixels
      points.forEach(([x, y], index) => {
        const distance = Math.hypot(box.left + x * box.width - event.clientX, box.top + y * box.height - event.clientY);
        if (distance < best) [nearest, best] = [index, distance];
      });
      if (nearest < 0) hide(); else show(nearest);
    };
    map.addEventListener("pointermove", point);
    map.addEventListener("click", point);
    map.addEventListener("pointerleave", hide);
    map.addEventListener("blur", hide);
    addEventListener("scroll", hide, { passive: true });
    map.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show((Math.max(current, step < 0 ? 0 : -1) + step + points.length) % points.length);
    });
  }
})();
