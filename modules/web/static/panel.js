// What is better with a script: local times, filtering while typing, copying, selecting all, keys, questions in
// dialogs, progress, the number of unread mails. Everything works without it. Nothing makes HTML out of text: pages
// that are asked for come as documents of XMLHttpRequest.
"use strict";

const words = document.body.dataset;
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
function add(parent, tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  parent.append(made);
  return made;
}

// ---- What is on the page, or was just put there

const format = (options) => new Intl.DateTimeFormat(document.documentElement.lang, options);
const exact = format({ dateStyle: "full", timeStyle: "long" });
const short = format({ dateStyle: "medium", timeStyle: "short" }), hour = format({ timeStyle: "short" });

// Times in the visitor's zone; the exact one is in the title.
function showTimes(inside) {
  for (const time of all("time[datetime]", inside)) {
    const date = new Date(time.dateTime), today = date.toDateString() === new Date().toDateString();
    time.textContent = (today ? hour : short).format(date);
    time.title = exact.format(date);
  }
}

// A search field filters the rows that are shown.
function filterWhileTyping(inside) {
  for (const field of all("input[data-filters]", inside)) {
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
}

function showPasswords(inside) {
  for (const form of all("form", inside)) {
    const fields = all("input[type=password]", form);
    if (!fields.length) continue;
    const box = add(fields.at(-1).parentElement, "div", "", { className: "check" });
    const button = add(box, "input", "", { type: "checkbox", id: `${fields[0].id}-shown` });
    add(box, "label", words.show, { htmlFor: button.id });
    const show = (shown) => fields.forEach((field) => { field.type = shown ? "text" : "password"; });
    button.addEventListener("change", () => show(button.checked));
    form.addEventListener("submit", () => show(false));
  }
}

function copySecrets(inside) {
  for (const code of navigator.clipboard ? all("[data-copies]", inside) : []) {
    const button = add(code.parentElement, "button", words.copy, { type: "button" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = words.copied;
    });
  }
}

// A box in the head of a table selects all rows.
function selectAll(inside) {
  for (const table of all("table[data-selectable]", inside)) {
    const box = add(table.querySelector("thead th"), "input", "", { type: "checkbox" });
    box.setAttribute("aria-label", words.all);
    box.addEventListener("change", () => {
      for (const each of all("tbody input[type=checkbox]", table)) each.checked = box.checked;
    });
  }
}

// The page begins at what is wrong.
function beginAtWhatIsWrong(inside) {
  const wrong = inside.querySelector("[aria-invalid]"), closed = wrong?.closest("details");
  if (closed) closed.open = true;
  wrong?.focus();
}

function improve(inside) {
  const improvements = [showTimes, filterWhileTyping, showPasswords, copySecrets, selectAll, beginAtWhatIsWrong];
  for (const each of improvements) each(inside);
}

// ---- Questions: a link or form with data-asks leads to a page with a form. It is asked in a dialog.

function openDialog(title, content, cancel, opener) {
  const dialog = add(document.body, "dialog", "");
  add(dialog, "h2", title, { id: "dialog-title" });
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.setAttribute("aria-describedby", "dialog-text");
  dialog.append(content);
  content.querySelector("p").id = "dialog-text";
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { dialog.remove(); opener.focus(); });
  dialog.showModal();
  cancel.focus();
  return dialog;
}

const addButton = (row, text, className) => add(row, "button", text, { type: "button", className });
function askByPage(address, opener) {
  const request = new XMLHttpRequest();
  request.responseType = "document";
  request.addEventListener("loadend", () => {
    const main = request.responseURL === address && request.responseXML?.querySelector("main");
    if (!main) return location.assign(address);
    const form = main.querySelector("form");
    const content = document.createElement("div");
    content.append(document.importNode(form || main.querySelector(".empty"), true));
    const row = content.querySelector(".buttons") || add(content, "div", "", { className: "buttons" });
    row.querySelector("a")?.remove();
    content.firstChild.className = "";
    if (form) content.firstChild.setAttribute("action", address);
    const cancel = addButton(row, form ? words.cancel : words.close, "quiet");
    openDialog(main.querySelector("h1").textContent, content, cancel, opener);
  });
  request.open("GET", address);
  request.send();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-asks]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  askByPage(link.href, link);
});

// A button with data-confirm has the question itself.
let confirmed = null;
function confirmFirst(form, button) {
  const content = document.createElement("div"), label = button.getAttribute("aria-label") || button.textContent;
  add(content, "p", button.dataset.confirm);
  const row = add(content, "div", "", { className: "buttons" });
  const yes = addButton(row, label, "danger");
  const dialog = openDialog(label, content, addButton(row, words.cancel, "quiet"), button);
  yes.addEventListener("click", () => {
    dialog.close();
    confirmed = button;
    form.requestSubmit(button);
    confirmed = null;
  });
}

// ---- Progress: how much was sent, and then that the server is at work

function showProgress(text, before) {
  const box = document.createElement("div");
  box.className = "notice busy";
  const label = add(box, "p", "", { id: "progress-text", role: "status" });
  const bar = add(box, "progress", "");
  bar.setAttribute("aria-labelledby", label.id);
  before.before(box);
  label.textContent = text;  // changed when it is there, so that screen readers say it
  return { box, label, bar };
}

function fieldsOf(form, button) {
  const fields = new FormData(form);
  if (button?.name) fields.append(button.name, button.value);
  return fields;
}

function showPage(page) {
  const main = document.importNode(page.querySelector("main"), true);
  document.querySelector("main").replaceWith(main);
  document.title = page.title;
  main.focus();
  scrollTo(0, 0);
  improve(main);
}

function send(form, button) {
  if (form.getAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  const { box, label, bar } = showProgress(words.upload, form.querySelector(".buttons"));
  const fields = fieldsOf(form, button);
  fields.append("by", "script");  // the answer is HTTP 201 then, as a redirect would be followed unseen
  const request = new XMLHttpRequest();
  request.responseType = "document";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) Object.assign(bar, { max: event.total, value: event.loaded });
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    label.textContent = words.work;
  });
  request.addEventListener("loadend", () => {
    if (request.status === 201) return location.assign(request.getResponseHeader("Location"));
    form.removeAttribute("aria-busy");
    const page = request.responseXML;
    if (page?.querySelector("main form")) return showPage(page);
    bar.remove();  // and what was typed stays
    label.textContent = page?.querySelector("main [role=alert]")?.textContent || words.broken;
  });
  request.open("POST", location.href);
  request.send(fields);
}

let waiting;
function sayThatItTakesTime() {
  clearTimeout(waiting);
  waiting = setTimeout(() => showProgress(words.wait, document.querySelector("main > :first-child")), 800);
}

addEventListener("pageshow", () => {
  clearTimeout(waiting);
  all(".busy").forEach((each) => each.remove());
});
for (const link of all(".pager a")) link.addEventListener("click", sayThatItTakesTime);

document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  const question = button?.dataset.confirm && button !== confirmed;
  if (question || "asks" in form.dataset || "progress" in form.dataset) event.preventDefault();
  if (question) confirmFirst(form, button);
  else if ("asks" in form.dataset) {
    const address = new URL(form.getAttribute("action"), location.href);
    address.search = new URLSearchParams(fieldsOf(form, button));
    askByPage(address.href, button);
  } else if ("progress" in form.dataset) send(form, button);
  else sayThatItTakesTime();
});

// ---- Keys and the number of unread mails

document.addEventListener("keydown", (event) => {
  const field = document.querySelector("input[type=search]");
  const typing = event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || !field || typing) return;
  event.preventDefault();
  field.focus();
});

// Addresses of a domain can be dragged to another place in it, by their order.
const value = (row, name) => row.querySelector(`[name=${name}]`).value;
for (const row of all("tr[id^=order-]:has([name^=this_])")) {
  const list = row.parentElement, dragged = () => list.querySelector(".dragged");
  row.cells[0].draggable = true;
  row.cells[0].addEventListener("dragstart", () => row.classList.add("dragged"));
  row.cells[0].addEventListener("dragend", () => row.classList.remove("dragged"));
  row.addEventListener("dragover", (event) => { if (dragged()) event.preventDefault(); });
  row.addEventListener("drop", (event) => {
    event.preventDefault();
    const [from, to] = [dragged().rowIndex, row.rowIndex].map((index) => index - 1);
    if (from !== to) row[from < to ? "after" : "before"](dragged());
    const form = add(document.body, "form", "", { method: "post", hidden: true });
    const put = (name, text) => add(form, "input", "", { type: "hidden", name, value: text });
    put("token", value(row, "token"));
    put("form", "reorder-addresses");
    put("moved_to", value(row, "this_address_order"));
    for (const each of [...list.rows].slice(Math.min(from, to), Math.max(from, to) + 1)) {
      put("address_expression", value(each, "this_address_expression"));
      put("address_order", value(each, "this_address_order"));
    }
    if (from !== to) form.submit();
  });
}

// The number of unread mails, every minute while the page is seen.
const badge = document.querySelector("[data-unread]");
async function count() {
  if (document.hidden) return;
  const answer = await fetch("unread", { redirect: "error" }).catch(() => null);
  const number = answer?.ok ? await answer.text() : "0";
  badge.textContent = number;
  badge.hidden = number === "0";
}
if (badge) count(), setInterval(count, 60000);
improve(document);
