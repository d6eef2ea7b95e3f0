// Tables that sort and search, the theme, and buttons that copy. The page reads without any of it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  const theme = document.getElementById("theme");
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  label();

  // A cell's number where it has one, so that 9 comes before 10 and n/a last.
  const key = (row, column) => {
    const text = row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
    const number = parseFloat(text.replace(/^[\[<≥~ ]+/, "").replace(/,/g, ""));
    return { text, number: Number.isNaN(number) ? null : number };
  };
  const compare = (a, b) => {
    if (a.number !== null && b.number !== null) return a.number - b.number;
    if (a.number !== null) return -1;
    if (b.number !== null) return 1;
    return a.text.localeCompare(b.text);
  };
  const sort = (table, column, heading) => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    all("th", table).forEach((th) => th.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    const known = (k) => k.number !== null || (k.text !== "" && k.text !== "n/a");
    rows.sort((a, b) => {
      if (known(a.key) !== known(b.key)) return known(a.key) ? -1 : 1;
      return up ? compare(a.key, b.key) : compare(b.key, a.key);
    });
    body.append(...rows.map((r) => r.row));
  };
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...heading.childNodes);
      heading.replaceChildren(button);
      button.addEventListener("click", () => sort(table, column, heading));
    });
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 8 || table.id === "points") continue;
    const box = document.createElement("input");
    box.type = "search";
    box.placeholder = "Search these rows";
    box.setAttribute("aria-label", "Search the rows of the table below");
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.append(box);
    table.closest(".scroll").before(tools);
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  for (const block of all("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block);
        button.textContent = "Selected: press Ctrl-C";
      }
    });
    block.after(button);
  }
})();
