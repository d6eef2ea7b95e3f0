// Run inside the page by a headless browser: uses the page as a reader would, and writes what came of it into the title
// element of the document, one line a check.
(() => {
  const out = [];
  const check = (name, ok, more = "") => out.push(`${ok ? "ok" : "FAILED"} ${name}${ok ? "" : ` ${more}`}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (e) => e.getClientRects().length > 0;
  const rows = () => all("#points tbody tr").filter(visible);
  const points = () => all("#chart .point");
  const point = (id) => document.querySelector(`#chart [data-id="${id}"]`);
  const tip = document.getElementById("tip");
  const box = (field, value) => all(`fieldset[data-filter="${field}"] label`).find((l) => l.textContent.trim().startsWith(value)).querySelector("input");
  const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const mouse = (target, name, more = {}) => target.dispatchEvent(new MouseEvent(name, { bubbles: name !== "mouseenter" && name !== "mouseleave", cancelable: true, ...more }));

  // The corners of a text on the screen, which may be turned; a pixel smaller all around, for halos and rounding.
  const corners = (text) => {
    const b = text.getBBox(), m = text.getScreenCTM();
    const at = (x, y) => [m.a * x + m.c * y + m.e, m.b * x + m.d * y + m.f];
    return [at(b.x + 1, b.y + 1), at(b.x + b.width - 1, b.y + 1), at(b.x + b.width - 1, b.y + b.height - 1), at(b.x + 1, b.y + b.height - 1)];
  };
  // Turned rectangles are apart where the projections on a side's normal are (the separating axis theorem).
  const apart = (p, q) => [p, q].some((r) => [0, 1].some((i) => {
    const n = [r[i + 1][1] - r[i][1], r[i][0] - r[i + 1][0]];
    const span = (s) => s.map(([x, y]) => x * n[0] + y * n[1]);
    return Math.max(...span(p)) <= Math.min(...span(q)) || Math.max(...span(q)) <= Math.min(...span(p));
  }));
  const inside = (quad, box) => quad.every(([x, y]) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top - 1 && y <= box.bottom + 1);
  // No text of the chart covers another or leaves the picture; the labels of ceilings are clipped to its frame.
  const texts = (when, least) => {
    const svg = document.querySelector("#chart svg"), picture = svg.getBoundingClientRect();
    const found = all("#chart svg text").filter((t) => visible(t) && t.textContent !== "").map((t) => [t.textContent, corners(t)]);
    const wrong = [];
    found.forEach(([name, quad], i) => {
      if (!inside(quad, picture)) wrong.push(`'${name}' leaves the picture`);
      for (const [other, q] of found.slice(i + 1)) if (!apart(quad, q)) wrong.push(`'${name}' covers '${other}'`);
    });
    check(`labels are apart ${when}`, found.length >= least && wrong.length === 0, `${found.length} texts; ${wrong.join(", ")}`);
  };

  try {
    texts("at first", 8);
    check("ceilings have names", all("#chart .halo").length >= 2, all("#chart .halo").length);
    check("the chart answers in the place of the picture", visible(document.getElementById("chart")) && !visible(document.getElementById("figure-roofline")));
    const drawn = points().length;
    check("every point with numbers is drawn", drawn > 5 && drawn <= rows().length, `${drawn} of ${rows().length}`);
    check("no picture is wider than the page", document.documentElement.scrollWidth <= innerWidth + 1, `${document.documentElement.scrollWidth} > ${innerWidth}`);

    // Hover.
    check("nothing is said before", !visible(tip));
    const first = points()[0], id = first.dataset.id, row = document.querySelector(`#points tr[data-id="${id}"]`);
    mouse(first, "mouseenter");
    const said = tip.textContent;
    check("hover names the point", visible(tip) && said.includes(row.cells[0].textContent), said);
    check("hover shows the inputs of its formulas with their sources", /FLOPs: .*\(.+\)/.test(said) && said.includes("intensity = FLOPs / bytes") && said.includes("time: "), said);
    check("hover marks the row", row.classList.contains("hot"));
    mouse(first, "mouseleave");
    check("leaving hides it", !visible(tip) && !row.classList.contains("hot"));

    // Filters.
    const before = rows().length;
    box("version", "v0").click();
    check("a filter takes its points and rows away", points().length < drawn && rows().length < before && rows().every((r) => !r.textContent.includes("v0 ")), `${points().length} of ${drawn}`);
    check("and says how many are left", document.getElementById("count").textContent === `${rows().length} of ${before} points`, document.getElementById("count").textContent);
    texts("under a filter", 8);
    box("version", "v0").click();
    check("and gives them back", points().length === drawn && rows().length === before);
    for (const field of ["stage", "phase", "bound"]) check(`there is a filter by ${field}`, document.querySelector(`fieldset[data-filter="${field}"]`) !== null);
    const name = document.getElementById("name-filter");
    name.value = "attention"; name.dispatchEvent(new Event("input"));
    check("a name filters too", rows().length > 0 && rows().every((r) => r.textContent.includes("attention")), rows().length);
    name.value = ""; name.dispatchEvent(new Event("input"));
    const roofs = () => all("#chart .roof, #chart .cache").length, lines = roofs();
    box("ceilings", "DRAM").click();
    check("a ceiling can be left out", roofs() === lines - 1);
    texts("without a ceiling", 7);
    box("ceilings", "DRAM").click();

    // Selection, both ways.
    mouse(point(id), "click");
    check("a click on a point selects its row", row.classList.contains("chosen") && point(id).classList.contains("chosen"));
    mouse(point(id), "click");
    check("another click lets it go", !row.classList.contains("chosen"));
    mouse(row, "click");
    check("a click on a row selects its point", point(id).classList.contains("chosen") && row.getAttribute("aria-selected") === "true");
    key(row, "Enter");
    check("Enter on a row does the same", !point(id).classList.contains("chosen"));
    const tabbed = all('#chart .point[tabindex="0"]');
    check("one point is in the order of tabs", tabbed.length === 1, tabbed.length);
    tabbed[0].focus();
    check("focus says what hover says", visible(tip));
    key(tabbed[0], "ArrowRight");
    check("an arrow key goes to another point", document.activeElement.classList.contains("point") && document.activeElement.dataset.id !== tabbed[0].dataset.id);
    const reached = document.activeElement.dataset.id;
    key(document.activeElement, "Enter");
    check("Enter on a point selects it", document.querySelector(`#points tr[data-id="${reached}"]`).classList.contains("chosen"));
    document.activeElement.blur();

    // Zoom.
    const labels = () => all("#chart text").map((t) => t.textContent).join(" "), whole = labels();
    const button = (text) => all("#filters button").find((b) => b.textContent === text);
    button("Zoom in").click(); button("Zoom in").click();
    check("zoom changes the axes", labels() !== whole);
    texts("zoomed in", 5);
    for (let i = 0; i < 12; i += 1) { button("Zoom in").click(); texts(`zoomed in ${i + 3} times`, 4); }
    button("Whole chart").click();
    for (let i = 0; i < 14; i += 1) { button("Zoom out").click(); texts(`zoomed out ${i + 1} times`, 5); }
    button("Whole chart").click();
    check("and comes back", labels() === whole);
    const svg = document.querySelector("#chart svg");
    mouse(svg, "mousedown", { clientX: 300, clientY: 300 });
    mouse(window, "mousemove", { clientX: 200, clientY: 250 });
    mouse(window, "mouseup");
    texts("moved", 5);
    check("dragging moves it", labels() !== whole || document.querySelector("#chart svg") !== svg);
    button("Whole chart").click();

    // Paper.
    const hidden = [...document.styleSheets].flatMap((s) => [...s.cssRules])
      .filter((r) => r.media && r.media.mediaText === "print").flatMap((r) => [...r.cssRules]).filter((r) => r.style.display === "none");
    const printed = (e) => hidden.every((r) => !e.matches(r.selectorText));
    check("titles of columns are printed, and what only a screen can use is not",
      hidden.length > 0 && all("th button").every(printed) && !printed(document.getElementById("theme")));

    // Tables.
    const table = all("table.sortable").find((t) => t.id !== "points" && t.tBodies[0].rows.length >= 8);
    const column = [...table.tHead.rows[0].cells].findIndex((th) => th.textContent.startsWith("time"));
    const sorted = () => [...table.tBodies[0].rows].map((r) => parseFloat(r.cells[column].textContent)).filter((n) => !Number.isNaN(n));
    const header = table.tHead.rows[0].cells[column];
    header.querySelector("button").click();
    const up = sorted();
    check("a header sorts", header.getAttribute("aria-sort") === "ascending" && up.every((v, i) => i === 0 || up[i - 1] <= v), up.join(" "));
    header.querySelector("button").click();
    const down = sorted();
    check("and turns around", header.getAttribute("aria-sort") === "descending" && down.every((v, i) => i === 0 || down[i - 1] >= v), down.join(" "));
    const search = table.closest(".scroll").previousElementSibling.querySelector("input");
    search.value = "decode mlp"; search.dispatchEvent(new Event("input"));
    const found = [...table.tBodies[0].rows].filter(visible);
    check("a table is searched by words", found.length > 0 && found.every((r) => r.textContent.includes("decode") && r.textContent.includes("mlp")), found.length);

    // Themes.
    const ground = () => getComputedStyle(document.body).backgroundColor, was = ground();
    document.getElementById("theme").click();
    check("the theme turns over", ground() !== was);
    const figure = document.querySelector("#figure-phases svg rect");
    check("and figures with it", getComputedStyle(figure).fill === ground(), `${getComputedStyle(figure).fill} ${ground()}`);
    document.getElementById("theme").click();
    check("every field has a name", all("input").every((i) => i.labels.length > 0 || i.getAttribute("aria-label")));
  } catch (error) {
    check("the checks ran to their end", false, `${error} ${error.stack}`);
  }
  for (const problem of window.kprofProblems) check("nothing is complained of", false, problem);
  check("there were checks", out.length > 30, out.length);
  document.title = out.join("\n");
})();
