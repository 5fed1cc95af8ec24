"use strict";
(function () {
  const all = (what, within) => Array.from((within || document).querySelectorAll(what));
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  // Of a group of elements only one is reached by Tab; arrow keys move within the group.
  function roving(group, choose, backward, forward) {
    const go = (i) => {
      const to = group[Math.max(0, Math.min(group.length - 1, i))];
      group.forEach((e) => e.setAttribute("tabindex", e === to ? "0" : "-1"));
      to.focus();
      choose(to);
    };
    group.forEach((element, i) => {
      element.addEventListener("keydown", (event) => {
        if (event.altKey || event.ctrlKey || event.metaKey) return;
        if (backward.includes(event.key)) go(i - 1);
        else if (forward.includes(event.key)) go(i + 1);
        else if (event.key === "Home") go(0);
        else if (event.key === "End") go(group.length - 1);
        else if (event.key === "Enter" || event.key === " ") choose(element);
        else return;
        event.preventDefault();
      });
      element.addEventListener("click", () => go(i));
    });
  }
  const BACK = ["ArrowUp", "ArrowLeft"], ON = ["ArrowDown", "ArrowRight"];

  const tabs = all("[role=tab]");
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  function open(tab) {
    tabs.forEach((t) => {
      const chosen = t === tab;
      t.setAttribute("aria-selected", String(chosen));
      t.setAttribute("tabindex", chosen ? "0" : "-1");
      panel(t).hidden = !chosen;
    });
  }
  document.querySelector("[role=tablist]").hidden = false;
  roving(tabs, open, ["ArrowLeft"], ["ArrowRight"]);
  document.documentElement.classList.add("scripted");
  open(tabs.find((t) => "#" + t.id.slice(4) === location.hash) || tabs[0]);

  function select(group, chosen) {
    group.forEach((e) => e.setAttribute("aria-selected", String(e === chosen)));
  }
  const SIGN = { worse: "✗ ", better: "✓ " };
  const details = JSON.parse(document.getElementById("details").textContent);
  const nodes = all(".node"), detail = document.getElementById("detail");
  function show(node) {
    select(nodes, node);
    const found = details[nodes.indexOf(node)];
    const list = make("dl");
    for (const [what, value, verdict] of found.rows) {
      list.append(make("dt", what), make("dd", (SIGN[verdict] || "") + value, verdict));
    }
    const notes = make("ul");
    for (const note of found.notes) notes.append(make("li", note));
    const room = node.closest(".graph-scroll"), seen = room.getBoundingClientRect();
    const box = node.getBoundingClientRect();
    if (box.left < seen.left || box.right > seen.right) {
      room.scrollLeft += (box.left + box.right - seen.left - seen.right) / 2;
    }
    detail.replaceChildren(make("h2", found.title), make("p", found.subtitle, "dim"), list, notes);
  }
  if (nodes.length) {
    roving(nodes, show, BACK, ON);
    const first = nodes.findIndex((n) => n.classList.contains("layer"));
    if (first >= 0) show(nodes[first]);
    nodes.forEach((n, i) => n.setAttribute("tabindex", i === Math.max(first, 0) ? "0" : "-1"));
  }

  const buffers = all(".item"), readout = document.getElementById("buffer");
  roving(buffers, (chosen) => {
    select(buffers, chosen);
    readout.textContent = chosen.getAttribute("aria-label");
  }, BACK, ON);

  const sources = all(".source");
  const choose = (which) => sources.forEach((s) => { s.hidden = s.dataset.source !== which; });
  all("[name=source]").forEach((radio) => radio.addEventListener("change", () => choose(radio.value)));
  if (sources.length > 1) choose("0");

  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
  };
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  all("table.sortable").forEach((table) => {
    const heads = all("thead th", table), body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending" &&
        (head.getAttribute("aria-sort") === "ascending" || !head.classList.contains("left"));
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(body.rows);
      rows.sort((a, b) => order(key(a, column), key(b, column)) * (down ? -1 : 1));
      body.append(...rows);
    }));
  });
})();
