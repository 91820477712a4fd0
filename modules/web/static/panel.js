// What is better with a script: local times, filtering while typing, copying, selecting all, keys, the number of
// unread mails. Everything works without it. Nothing makes HTML out of text.
"use strict";

const words = document.body.dataset;
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

function add(parent, tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  parent.append(made);
  return made;
}

// Times in the visitor's zone; the exact one is in the title.
const language = document.documentElement.lang;
const exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
const short = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const hour = new Intl.DateTimeFormat(language, { timeStyle: "short" });
for (const time of all("time[datetime]")) {
  const date = new Date(time.dateTime);
  const today = date.toDateString() === new Date().toDateString();
  time.textContent = (today ? hour : short).format(date);
  time.title = exact.format(date);
}

// A search field filters the rows that are shown.
for (const field of all("input[data-filters]")) {
  const list = document.getElementById(field.dataset.filters);
  if (!list) continue;
  const hint = add(field.form, "small", words.filter);
  hint.id = "filter-hint";
  field.setAttribute("aria-describedby", hint.id);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of all("tbody tr", list)) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    for (const part of all("section", list)) part.hidden = all("tbody tr", part).every((row) => row.hidden);
  });
}

// Passwords can be shown, secrets copied.
for (const form of all("form")) {
  const fields = all("input[type=password]", form);
  if (!fields.length) continue;
  const box = add(fields.at(-1).parentElement, "div", "", { className: "check" });
  const button = add(box, "input", "", { type: "checkbox", id: `${fields[0].id}-shown` });
  add(box, "label", words.show, { htmlFor: button.id });
  const show = (shown) => fields.forEach((field) => { field.type = shown ? "text" : "password"; });
  button.addEventListener("change", () => show(button.checked));
  form.addEventListener("submit", () => show(false));
}
for (const code of all("[data-copies]")) {
  if (!navigator.clipboard) continue;
  const button = add(code.parentElement, "button", words.copy, { type: "button" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = words.copied;
  });
}

// A box in the head of a table selects all rows.
for (const table of all("table[data-selectable]")) {
  const head = table.querySelector("thead th");
  const box = add(head, "input", "", { type: "checkbox" });
  box.setAttribute("aria-label", words.all);
  box.addEventListener("change", () => {
    for (const each of all("tbody input[type=checkbox]", table)) each.checked = box.checked;
  });
}

// The page begins at what is wrong. The key / goes to the search field.
const wrong = document.querySelector("[aria-invalid]");
if (wrong) {
  const closed = wrong.closest("details");
  if (closed) closed.open = true;
  wrong.focus();
}
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("input[type=search]");
  if (event.key === "/" && field && !event.ctrlKey && !event.metaKey && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    field.focus();
  }
});

// Addresses of a domain can be dragged to another place in it, by their order.
for (const row of all("tr[id^=order-]:has([name^=this_])")) {
  const grip = row.cells[0];
  grip.draggable = true;
  grip.addEventListener("dragstart", (event) => {
    row.classList.add("dragged");
    event.dataTransfer.setDragImage(row, 0, 0);
  });
  grip.addEventListener("dragend", () => row.classList.remove("dragged"));
  row.addEventListener("dragover", (event) => {
    if (row.parentElement.querySelector(".dragged")) event.preventDefault();
  });
  row.addEventListener("drop", (event) => {
    const rows = [...row.parentElement.rows];
    const [from, to] = [rows.findIndex((each) => each.matches(".dragged")), rows.indexOf(row)];
    event.preventDefault();
    if (from < 0 || from === to) return;
    const some = rows.slice(Math.min(from, to), Math.max(from, to) + 1);
    some.splice(to - Math.min(from, to), 0, some.splice(from - Math.min(from, to), 1)[0]);
    const value = (each, name) => each.querySelector(`[name=${name}]`).value;
    const form = add(document.body, "form", "", { method: "post", hidden: true });
    const send = (name, text) => add(form, "input", "", { type: "hidden", name, value: text });
    send("token", value(row, "token"));
    send("form", "reorder-addresses");
    send("moved_to", value(row, "this_address_order"));
    for (const each of some) {
      send("address_expression", value(each, "this_address_expression"));
      send("address_order", value(each, "this_address_order"));
    }
    form.submit();
  });
}

// In a list of mails the arrow keys lead from one to the next.
for (const list of all(".mails")) {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = all("a", list);
    const next = step && links[links.indexOf(document.activeElement) + step];
    if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    next.focus();
  });
}

// The number of unread mails, every minute while the page is seen.
const badge = document.querySelector("[data-unread]");
async function count() {
  if (document.hidden) return;
  const answer = await fetch("unread", { redirect: "error" }).catch(() => null);
  const number = answer && answer.ok ? await answer.text() : "0";
  badge.textContent = number;
  badge.hidden = number === "0";
}
if (badge) {
  count();
  setInterval(count, 60000);
}
