// The roofline that answers: hover, filter, zoom, and a selection that the table below shares.
"use strict";
(() => {
  const source = document.getElementById("roofline-data");
  const box = document.getElementById("chart");
  if (!source || !box) return;
  const data = JSON.parse(source.textContent);
  const NS = "http://www.w3.org/2000/svg";
  const tip = document.getElementById("tip");
  const table = document.getElementById("points");
  const rowOf = new Map([...table.tBodies[0].rows].map((row) => [Number(row.dataset.id), row]));
  const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const digits = (v) => (Math.abs(v) >= 99.95 ? v.toFixed(0) : Math.abs(v) >= 9.995 ? v.toFixed(1) : v.toFixed(2));
  const si = (value, unit) => {
    if (value === null || value === undefined) return "n/a";
    const [factor, prefix] = PREFIXES.find(([f]) => Math.abs(value) * 1.0005 >= f) ?? [1, ""];
    return `${digits(value / factor)} ${prefix}${unit}`;
  };
  const plain = (value) => (value === null || value === undefined ? "n/a" : Number(value.toPrecision(3)).toString());

  const state = {
    off: { version: new Set(), stage: new Set(), phase: new Set(), file: new Set(), precision: new Set(), bound: new Set() },
    name: "", ceilingsOff: new Set(), levels: new Set(["dram"]), chosen: new Set(), view: null,
  };
  const FILTERS = [
    ["version", "Version"], ["stage", "Stage"], ["phase", "Phase"], ["file", "Run"], ["precision", "Precision"], ["bound", "Bound"],
  ];
  const LEVELS = [["dram", "intensity"], ["l2", "intensity_l2"], ["l1", "intensity_l1"]];
  const text = (p, field) => p[field] ?? "none";
  const shown = (p) => FILTERS.every(([field]) => !state.off[field].has(text(p, field)))
    && (state.name === "" || p.name.toLowerCase().includes(state.name));
  const drawable = (p) => p.rate > 0 && p.intensity > 0;

  // --- what the axes span ---------------------------------------------------------------------------------------
  const logs = (values) => values.filter((v) => v > 0 && Number.isFinite(v)).map(Math.log10);
  const whole = () => {
    const points = data.points.filter(drawable);
    const dram = data.ceilings.find((c) => c.dram);
    const peaks = data.ceilings.filter((c) => !c.bandwidth).map((c) => c.value);
    const xs = logs(points.flatMap((p) => LEVELS.map(([, key]) => p[key] ?? 0)).concat(dram ? peaks.map((v) => v / dram.value) : []));
    const ys = logs(points.map((p) => p.rate).concat(peaks));
    const span = (v, least) => {
      if (v.length === 0) return [0, least];
      let low = Math.floor(Math.min(...v) - 0.1), high = Math.ceil(Math.max(...v) + 0.1);
      while (high - low < least) { if ((high - low) % 2 === 0) high += 1; else low -= 1; }
      return [low, high];
    };
    return { x: span(xs, 3), y: span(ys, 2) };
  };
  const home = whole();
  state.view = structuredClone(home);

  // --- drawing --------------------------------------------------------------------------------------------------
  const el = (name, attributes, parent) => {
    const e = document.createElementNS(NS, name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (parent) parent.append(e);
    return e;
  };
  const SHAPES = [
    [24, 1, 0], [4, 1.25, 0.25], [3, 1.4, -0.5], [4, 1.3, -0.5], [3, 1.4, 0.5], [5, 1.2, -0.5],
  ];
  const outline = (shape, x, y, r) => {
    const [corners, scale, turn] = SHAPES[shape % SHAPES.length];
    const at = (i) => Math.PI * (turn + (2 * i) / corners);
    return Array.from({ length: corners }, (_, i) => `${(x + r * scale * Math.cos(at(i))).toFixed(1)},${(y + r * scale * Math.sin(at(i))).toFixed(1)}`).join(" ");
  };
  let frame, at, svg;
  // How wide a text of the chart is; its height is that of a line.
  const LINE = 13;
  const ruler = document.createElement("canvas").getContext("2d");
  const widthOf = (text) => {
    const style = getComputedStyle(box);
    ruler.font = `11px ${style.getPropertyValue("--chart-font") || style.fontFamily}`;
    return ruler.measureText(text).width;
  };
  const tick = (e, scale) => {
    const v = 10 ** e / scale;
    return v >= 1e-3 && v < 1e5 ? String(Number(v.toPrecision(6))) : `1e${Math.round(Math.log10(v))}`;
  };
  const draw = () => {
    const focused = document.activeElement?.dataset?.id;
    const width = Math.max(280, box.clientWidth), height = Math.max(340, Math.min(620, width * 0.62));
    const { x, y } = state.view;
    const widest = Math.max(...ticks(y, prefixed()[0]).map(([, label]) => widthOf(label)));
    frame = { x0: Math.max(58, 30 + widest), y0: 16, x1: width - 12, y1: height - 44 };
    at = (i, r) => [
      frame.x0 + ((Math.log10(i) - x[0]) / (x[1] - x[0])) * (frame.x1 - frame.x0),
      frame.y1 - ((Math.log10(r) - y[0]) / (y[1] - y[0])) * (frame.y1 - frame.y0),
    ];
    const fresh = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Roofline: achieved rate over arithmetic intensity" });
    const clip = el("clipPath", { id: "inside" }, el("defs", {}, fresh));
    el("rect", { x: frame.x0, y: frame.y0, width: frame.x1 - frame.x0, height: frame.y1 - frame.y0 }, clip);
    axes(fresh, width, height);
    const inside = el("g", { "clip-path": "url(#inside)" }, fresh);
    ceilings(inside);
    points(inside);
    if (svg) svg.replaceWith(fresh); else box.prepend(fresh);
    svg = fresh;
    if (focused !== undefined) svg.querySelector(`[data-id="${focused}"]`)?.focus({ preventScroll: true });
  };
  // Where the ticks of an axis are, and what stands there; rates are divided by their prefix.
  const ticks = ([low, high], scale) => {
    const decades = Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
    if (decades.length > 1) return decades.map((e) => [e, tick(e, scale)]);
    const between = Array.from({ length: 5 }, (_, i) => low + ((high - low) * i) / 4);
    return between.map((e) => [e, String(Number((10 ** e / scale).toPrecision(3)))]);
  };
  const prefixed = () => {
    const { y } = state.view, middle = 10 ** ((y[0] + y[1]) / 2);
    return PREFIXES.find(([f]) => middle >= f) ?? [1, ""];
  };
  const axes = (parent, width, height) => {
    const { x, y } = state.view;
    const [scale, prefix] = prefixed();
    // A label that would touch the one before it is left out; its line stays.
    let free = -Infinity;
    for (const [e, label] of ticks(x, 1)) {
      const [px] = at(10 ** e, 1), half = widthOf(label) / 2;
      el("line", { class: "grid", x1: px, x2: px, y1: frame.y0, y2: frame.y1 }, parent);
      if (px - half < free || px - half < 2 || px + half > width - 1) continue;
      free = px + half + 6;
      el("text", { x: px, y: frame.y1 + 18, "text-anchor": "middle" }, parent).textContent = label;
    }
    free = Infinity;
    for (const [e, label] of ticks(y, scale)) {
      const [, py] = at(1, 10 ** e);
      el("line", { class: "grid", x1: frame.x0, x2: frame.x1, y1: py, y2: py }, parent);
      if (py + LINE / 2 > free) continue;
      free = py - LINE / 2 - 2;
      el("text", { x: frame.x0 - 6, y: py + 4, "text-anchor": "end" }, parent).textContent = label;
    }
    el("text", { x: (frame.x0 + frame.x1) / 2, y: height - 8, "text-anchor": "middle" }, parent).textContent = "arithmetic intensity [FLOP/B]";
    const turned = { x: 13, y: (frame.y0 + frame.y1) / 2, "text-anchor": "middle", transform: `rotate(-90 13 ${(frame.y0 + frame.y1) / 2})` };
    el("text", turned, parent).textContent = `achieved rate [${prefix}FLOP/s]`;
  };
  const ceilings = (parent) => {
    const on = data.ceilings.filter((c) => !state.ceilingsOff.has(c.name));
    const top = Math.max(0, ...on.filter((c) => !c.bandwidth).map((c) => c.value)) || 10 ** state.view.y[1];
    const steep = Math.max(0, ...on.filter((c) => c.bandwidth).map((c) => c.value));
    // Where there is little room, the lines that points are held against have names; the filters name the others.
    const narrow = frame.x1 - frame.x0 < 520;
    // Corners of the texts that are there; a text is written where it is inside the frame and meets none of them.
    const taken = [];
    const corners = (x, y, slope, length) => {
      const [cos, sin] = [Math.cos(slope), Math.sin(slope)];
      return [[-2, -8], [length + 2, -8], [length + 2, 8], [-2, 8]].map(([u, v]) => [x + u * cos - v * sin, y + u * sin + v * cos]);
    };
    // Two turned rectangles meet unless a line along a side of one of them keeps them apart.
    const meet = (a, b) => [a, b].every((r) => [0, 1].every((i) => {
      const [nx, ny] = [r[i + 1][1] - r[i][1], r[i][0] - r[i + 1][0]];
      const span = (q) => { const d = q.map(([px, py]) => px * nx + py * ny); return [Math.min(...d), Math.max(...d)]; };
      const [a0, a1] = span(a), [b0, b1] = span(b);
      return a0 < b1 && b0 < a1;
    }));
    const free = (r) => r.every(([px, py]) => px > frame.x0 && px < frame.x1 && py > frame.y0 && py < frame.y1) && !taken.some((t) => meet(t, r));
    for (const c of on) {
      const [low, high] = [10 ** (state.view.x[0] - 1), 10 ** (state.view.x[1] + 1)];
      const from = c.bandwidth ? [low, c.value * low] : [steep > 0 ? c.value / steep : low, c.value];
      const to = c.bandwidth ? [top / c.value, top] : [high, c.value];
      const [x1, y1] = at(...from), [x2, y2] = at(...to);
      el("line", { x1, y1, x2, y2, class: c.bandwidth && !c.dram ? "cache" : "roof" }, parent);
      if (narrow && c.bandwidth && !c.dram) continue;
      const name = narrow ? c.text : `${c.name} ${c.text}`;
      const slope = Math.atan2(y2 - y1, x2 - x1), length = widthOf(name);
      // Over the line, along it, from its lower end on; a level line from its right end.
      const places = Array.from({ length: 60 }, (_, i) => {
        const along = c.bandwidth ? i * 12 : Math.hypot(x2 - x1, y2 - y1) - length - 12 * i;
        const sides = c.bandwidth ? [-9] : [-9, 10];
        return sides.map((side) => [x1 + Math.cos(slope) * along - Math.sin(slope) * side, y1 + Math.sin(slope) * along + Math.cos(slope) * side]);
      }).flat();
      const place = places.find(([x, y]) => free(corners(x, y, slope, length)));
      if (!place) continue;
      taken.push(corners(...place, slope, length));
      const [x, y] = place;
      // In the middle of its line, in the turned frame.
      el("text", { class: "halo", x, y, dy: 4, transform: `rotate(${((slope * 180) / Math.PI).toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)})` }, parent).textContent = name;
    }
  };
  const points = (parent) => {
    const drawn = data.points.filter((p) => drawable(p) && shown(p));
    // Chosen ones last, so that they lie on top.
    drawn.sort((a, b) => state.chosen.has(a.id) - state.chosen.has(b.id));
    const first = drawn.find((p) => state.chosen.has(p.id)) ?? drawn[0];
    for (const p of drawn) {
      const color = `var(--v${p.color % 6})`;
      const places = LEVELS.filter(([level, key]) => state.levels.has(level) && p[key] > 0).map(([, key]) => at(p[key], p.rate));
      places.slice(1).forEach(([x, y], i) => {
        el("line", { class: "tail", x1: places[i][0], y1: places[i][1], x2: x, y2: y, stroke: color }, parent);
        el("polygon", { points: outline(p.shape, x, y, 3.5), fill: color }, parent);
      });
      if (places.length === 0) continue;
      const [x, y] = places[0];
      const open = p.stage === "decode";
      const mark = el("polygon", {
        points: outline(p.shape, x, y, p.level === "stage" ? 8 : 6), class: `point${open ? " open" : ""}${state.chosen.has(p.id) ? " chosen" : ""}`,
        "data-id": p.id, tabindex: p === first ? 0 : -1, role: "button", "aria-pressed": state.chosen.has(p.id), "aria-label": `${p.name}: ${plain(p.intensity)} FLOP/B, ${si(p.rate, "FLOP/s")}`,
      }, parent);
      mark.style[open ? "stroke" : "fill"] = color;
      mark.addEventListener("mouseenter", () => tell(p, x, y));
      mark.addEventListener("mouseleave", hide);
      mark.addEventListener("focus", () => tell(p, x, y));
      mark.addEventListener("blur", hide);
      mark.addEventListener("click", () => choose(p.id, true));
      mark.addEventListener("keydown", (event) => move(event, p));
    }
  };

  // --- hover ----------------------------------------------------------------------------------------------------
  const line = (label, value, from) => {
    const div = document.createElement("div");
    div.append(`${label}: ${value} `);
    const i = document.createElement("i");
    i.textContent = from ? `(${from})` : "";
    div.append(i);
    return div;
  };
  const tell = (p, x, y) => {
    const bound = p.lower_bound ? "≥ " : "";
    const head = document.createElement("b");
    head.textContent = p.name;
    tip.replaceChildren(
      head,
      line("FLOPs", bound + si(p.flops, "FLOP"), p.sources.flops),
      line("bytes", si(p.bytes, "B"), p.sources.bytes),
      line("time", si(p.time_s, "s"), p.sources.time),
      line("intensity = FLOPs / bytes", `${bound}${plain(p.intensity)} FLOP/B`),
      line("rate = FLOPs / time", bound + si(p.rate, "FLOP/s")),
      line("floor / time", p.fraction === null ? "n/a" : `${(100 * p.fraction).toFixed(1)} % of the ceiling`, p.used.join(", ")),
      line("bound", p.bound),
    );
    if (p.launches > 1) tip.append(line("launches", p.launches));
    tip.style.display = "block";
    const scale = svg.clientWidth / svg.viewBox.baseVal.width;
    const left = Math.min(x * scale + 14, box.clientWidth - tip.offsetWidth - 6);
    const above = y * scale - tip.offsetHeight - 12;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${above > 0 ? above : y * scale + 14}px`;
    rowOf.get(p.id)?.classList.add("hot");
  };
  const hide = () => {
    tip.style.display = "none";
    for (const row of rowOf.values()) row.classList.remove("hot");
  };

  // --- selection, shared with the table -------------------------------------------------------------------------
  const choose = (id, scroll) => {
    if (!state.chosen.delete(id)) state.chosen.add(id);
    for (const [key, row] of rowOf) {
      row.classList.toggle("chosen", state.chosen.has(key));
      row.setAttribute("aria-selected", state.chosen.has(key));
    }
    const row = rowOf.get(id), list = table.closest(".scroll");
    if (scroll && row && state.chosen.has(id)) list.scrollTop = row.offsetTop - list.clientHeight / 2;
    draw();
  };
  for (const [id, row] of rowOf) {
    row.tabIndex = 0;
    row.addEventListener("click", () => choose(id, false));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(id, false); }
    });
    row.addEventListener("mouseenter", () => svg.querySelector(`[data-id="${id}"]`)?.classList.add("chosen"));
    row.addEventListener("mouseleave", () => { if (!state.chosen.has(id)) svg.querySelector(`[data-id="${id}"]`)?.classList.remove("chosen"); });
  }
  const move = (event, p) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); return choose(p.id, true); }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return undefined;
    event.preventDefault();
    const order = data.points.filter((q) => drawable(q) && shown(q));
    const next = order[(order.indexOf(p) + step + order.length) % order.length];
    return svg.querySelector(`[data-id="${next.id}"]`)?.focus();
  };

  // --- filters --------------------------------------------------------------------------------------------------
  const tools = document.getElementById("filters");
  const key = document.getElementById("keys");
  const keyed = new Set();
  const called = (p) => p.version ?? p.file;
  for (const p of [...data.points].sort((a, b) => called(a).localeCompare(called(b)))) {
    const name = called(p);
    if (keyed.has(name)) continue;
    keyed.add(name);
    const item = document.createElement("li");
    const sample = el("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
    el("polygon", { points: outline(p.shape, 8, 8, 6), fill: `var(--v${p.color % 6})` }, sample);
    item.append(sample, ` ${name}`);
    key.append(item);
  }
  const check = (parent, label, on, change) => {
    const l = document.createElement("label"), input = document.createElement("input");
    input.type = "checkbox";
    input.checked = on;
    input.addEventListener("change", () => { change(input.checked); update(); });
    l.append(input, ` ${label}`);
    parent.append(l);
  };
  const group = (title, name) => {
    const set = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = title;
    set.dataset.filter = name;
    set.append(legend);
    tools.append(set);
    return set;
  };
  for (const [field, title] of FILTERS) {
    const values = [...new Set(data.points.map((p) => text(p, field)))];
    if (field === "version" || field === "file") values.sort();
    if (values.length < 2) continue;
    const set = group(title, field);
    for (const value of values) {
      check(set, value === "none" && field === "phase" ? "whole stage" : value, true, (on) => on ? state.off[field].delete(value) : state.off[field].add(value));
    }
  }
  const names = group("Ceilings", "ceilings");
  for (const c of data.ceilings) {
    check(names, `${c.name} ${c.text}`, true, (on) => on ? state.ceilingsOff.delete(c.name) : state.ceilingsOff.add(c.name));
  }
  if (data.points.some((p) => p.intensity_l2 > 0 || p.intensity_l1 > 0)) {
    const set = group("Levels of memory", "levels");
    for (const [level] of LEVELS) check(set, level.toUpperCase(), level === "dram", (on) => on ? state.levels.add(level) : state.levels.delete(level));
  }
  const search = document.createElement("input");
  search.type = "search";
  search.id = "name-filter";
  search.placeholder = "Kernel or phase";
  search.setAttribute("aria-label", "Show points whose name contains this");
  search.addEventListener("input", () => { state.name = search.value.toLowerCase(); update(); });
  tools.append(search);
  const button = (label, act) => {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = label;
    b.addEventListener("click", act);
    tools.append(b);
  };
  const zoom = (factor, cx = 0.5, cy = 0.5) => {
    for (const [axis, c] of [["x", cx], ["y", cy]]) {
      const [low, high] = state.view[axis], middle = low + (high - low) * c;
      const span = Math.min(24, Math.max(0.05, (high - low) * factor));
      state.view[axis] = [middle - span * c, middle + span * (1 - c)];
    }
    draw();
  };
  button("Zoom in", () => zoom(0.7));
  button("Zoom out", () => zoom(1 / 0.7));
  button("Whole chart", () => { state.view = structuredClone(home); draw(); });
  button("Clear selection", () => { [...state.chosen].forEach((id) => choose(id, false)); });
  const count = document.createElement("span");
  count.id = "count";
  count.setAttribute("aria-live", "polite");
  tools.append(count);
  const update = () => {
    let visible = 0;
    for (const p of data.points) {
      const on = shown(p);
      visible += on ? 1 : 0;
      const row = rowOf.get(p.id);
      if (row) row.hidden = !on;
    }
    count.textContent = `${visible} of ${data.points.length} points`;
    draw();
  };

  // --- zoom and pan by pointer ----------------------------------------------------------------------------------
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const area = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / area.width;
    const cx = ((event.clientX - area.left) * scale - frame.x0) / (frame.x1 - frame.x0);
    const cy = 1 - ((event.clientY - area.top) * scale - frame.y0) / (frame.y1 - frame.y0);
    zoom(event.deltaY + event.deltaX > 0 ? 1.15 : 1 / 1.15, Math.min(1, Math.max(0, cx)), Math.min(1, Math.max(0, cy)));
  }, { passive: false });
  box.addEventListener("mousedown", (event) => {
    if (event.target.classList.contains("point")) return;
    const start = structuredClone(state.view), scale = svg.viewBox.baseVal.width / svg.clientWidth;
    const drag = (e) => {
      const dx = ((e.clientX - event.clientX) * scale * (start.x[1] - start.x[0])) / (frame.x1 - frame.x0);
      const dy = ((e.clientY - event.clientY) * scale * (start.y[1] - start.y[0])) / (frame.y1 - frame.y0);
      state.view.x = start.x.map((v) => v - dx);
      state.view.y = start.y.map((v) => v + dy);
      draw();
    };
    const stop = () => { removeEventListener("mousemove", drag); removeEventListener("mouseup", stop); };
    addEventListener("mousemove", drag);
    addEventListener("mouseup", stop);
  });
  addEventListener("resize", () => draw());
  update();
})();
